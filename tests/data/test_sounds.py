"""Sounds of every container, cleaned; from files made here."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from polytask.config import load_config
from polytask.data.decoding import decode_channels, mixed
from polytask.data.inputs import SoundInput
from polytask.data.media import FileMedia
from polytask.data.predicting import read_unlabelled
from polytask.data.preparing import prepare
from polytask.data.sound_cleaning import (
    Cleaning,
    audible,
    denoised,
    levelled,
    preemphasized,
)
from polytask.data.splits import Split
from polytask.data.tables import TableFile
from polytask.data.timit import Timit
from polytask.encoders.audio import LogMelEncoder
from polytask.errors import ConfigError, DataError
from polytask.tasks import Multiclass
from polytask.workflow import prepare_data
from tests.data.conftest import riff, sphere, timit_folder, wave

RATE = 8000


def floats(seconds: float = 0.5, pitch: float = 440.0) -> np.ndarray:
    return wave(seconds, RATE, pitch).astype(np.float32) / 32768


def spoken() -> np.ndarray:
    """Silence, a tone, a pause, a tone, silence: 0.2 s each."""
    quiet = np.zeros(1600, np.float32)
    return np.concatenate([quiet, floats(0.2), quiet, floats(0.2, 300), quiet])


def media(tmp_path: Path, *contents: bytes) -> FileMedia:
    paths: list[Path | None] = []
    for k, content in enumerate(contents):
        paths.append(tmp_path / f"{k}.wav")
        (tmp_path / f"{k}.wav").write_bytes(content)
    return FileMedia("sound", paths)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "SPHERE"])
def test_every_container_gives_the_same_sound(kind: str) -> None:
    samples = wave(0.4, 16000)
    content = (
        sphere(samples)
        if kind == "SPHERE"
        else riff(samples, 16000, "VORBIS" if kind == "OGG" else "PCM_16", kind)
    )
    channels, rate = decode_channels(content)
    found, _ = mixed(channels)
    assert rate == 16000 and len(found) == len(samples)
    close = found.astype(np.float32) / (32768 if found.dtype == np.int16 else 1)
    exact = 0.05 if kind == "OGG" else 0.0
    assert np.abs(close - samples.astype(np.float32) / 32768).max() <= exact


def test_silence_is_trimmed_at_the_ends_or_removed_everywhere() -> None:
    sound = spoken()
    trimmed = sound[audible(sound, RATE, below=40, inside="trim")]
    removed = sound[audible(sound, RATE, below=40, inside="remove")]
    margin = 0.03 * RATE
    assert len(trimmed) == 4800 + 2 * margin and len(removed) == 3200 + 4 * margin
    assert (trimmed == sound[1600 - 240 : 6400 + 240]).all()
    faint = sound + 1e-3 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    assert audible(faint, RATE, below=60, inside="remove").all()
    assert (audible(faint, RATE, below=30, inside="remove").mean() < 0.6).all()
    assert audible(np.zeros(100, np.float32), RATE, below=40, inside="trim").all()


def test_levels_are_what_they_say() -> None:
    sound = floats()
    assert np.abs(levelled(sound, "peak")).max() == pytest.approx(0.9, abs=1e-4)
    rms = levelled(sound, "rms")
    assert np.sqrt((rms**2).mean()) == pytest.approx(0.1, abs=1e-4)
    click = np.zeros(8000, np.float32)
    click[4000] = 0.5
    assert np.abs(levelled(click, "rms")).max() == pytest.approx(1.0)
    assert (levelled(np.zeros(10, np.float32), "rms") == 0).all()


def test_emphasis_is_a_difference() -> None:
    sound = floats()
    scipy = pytest.importorskip("scipy.signal")
    expected = scipy.lfilter([1, -0.97], [1], sound)
    assert np.abs(preemphasized(sound, 0.97) - expected).max() < 1e-6


def test_denoising_takes_the_noise_rather_than_the_tone() -> None:
    pytest.importorskip("noisereduce")
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(spoken())).astype(np.float32)
    noisy = spoken() + noise
    clean = denoised(noisy, RATE)
    quiet, loud = (
        np.square(clean[part]).mean() / np.square(noisy[part]).mean()
        for part in (slice(3500, 4500), slice(2000, 2800))
    )
    assert quiet < 0.05 and loud > 5 * quiet
    assert (denoised(noisy, RATE) == clean).all()
    with pytest.raises(DataError, match="too short to tell noise"):
        denoised(noisy[:100], RATE)


def test_cleaning_is_done_before_a_sound_is_cut(tmp_path: Path) -> None:
    sounds = media(tmp_path, riff((spoken() * 32767).astype(np.int16), RATE))
    plain = SoundInput(columns={}, seconds=0.3).decode(sounds, 0)
    assert len(plain) == 2400 and np.abs(plain[:1500]).max() == 0
    heard = SoundInput(columns={}, seconds=0.3, silence="trim", level="peak").decode(sounds, 0)
    assert len(heard) == 2400 and np.abs(heard[:500]).max() == pytest.approx(0.9 * 32767, abs=3)
    assert Cleaning().needs_all is False and Cleaning(denoise=True).needs_all


def test_cleaning_is_part_of_the_caches_key() -> None:
    changed = [
        {"denoise": True},
        {"silence": "trim"},
        {"silence_below": 30.0},
        {"preemphasis": 0.97},
        {"level": "rms"},
        {"resample": False},
        {"shortest": 0.1},
        {"seconds": 2.0},
        {"sample_rate": 16000},
    ]
    keys = [str(SoundInput(columns={}, **c).settings) for c in [{}, *changed]]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)


def test_sounds_are_resampled_or_refused(tmp_path: Path) -> None:
    soxr = pytest.importorskip("soxr")
    sounds = media(tmp_path, riff(wave(0.4, 16000), 16000))
    found = SoundInput(columns={}, sample_rate=8000).decode(sounds, 0)
    expected = soxr.resample(wave(0.4, 16000), 16000, 8000)
    assert len(found) == 3200 and np.abs(found - expected).max() <= 1
    with pytest.raises(DataError, match="16000 samples a second, where 8000 are expected"):
        SoundInput(columns={}, resample=False).decode(sounds, 0)


def test_bad_sounds_are_errors_or_counted(tmp_path: Path) -> None:
    bad = np.full(800, np.nan, np.float32)
    contents = {
        "good": riff(wave(0.2), RATE),
        "more": riff(wave(0.2), RATE),
        "nan": riff(bad, RATE, "FLOAT"),
        "empty": riff(wave(0), RATE),
        "short": riff(wave(0.02), RATE),
        "rate": riff(wave(0.2, 4000), 4000),
    }
    lines = ["sound,word"]
    for name, content in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
        lines.append(f"{name}.wav,{'a' if name == 'good' else 'b'}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    given = (
        {"s": TableFile(path=tmp_path / "t.csv", media={"sound": "sound"})},
        {"i": SoundInput(columns={"s": "sound"}, shortest=0.1, resample=False)},
        [Multiclass(name="word", input="i", target={"s": "word"})],
    )
    with pytest.raises(DataError) as error:
        prepare(*given, splits=Split(test=0, validation=0))
    for part in (
        "4 rows cannot be read",
        "nan.wav: the sound has samples that are not finite numbers",
        "empty.wav: the sound has no samples",
        "short.wav: 160 samples are left of the sound, at 8000 a second; 'shortest' asks for 0.1 s",
        "rate.wav: the sound has 4000 samples a second",
    ):
        assert part in str(error.value)
    ready = prepare(*given, splits=Split(test=0, validation=0), on_bad="skip")
    assert ready.summary()["skipped"] == {"s": 4}
    assert ready.parts["train"]["s"].tolist() == [0, 1]
    batch = ready.datasets["s"].gather(torch.tensor([0]))
    assert batch.inputs["i"].values.dtype == torch.int16


def test_frames_keep_their_silence(tmp_path: Path) -> None:
    table = Timit(path=timit_folder(tmp_path / "timit"), context=2).load()
    with pytest.raises(ConfigError, match="has to be kept in recordings that are read in windows"):
        SoundInput(columns={}, sample_rate=16000, silence="trim").decode(table.media["audio"], 0)
    plain = SoundInput(columns={}, sample_rate=16000, preemphasis=0.9, level="rms")
    assert len(plain.decode(table.media["audio"], 0)) == 6400


def test_mistakes_in_settings() -> None:
    for settings in ({"preemphasis": 1.0}, {"silence_below": 0.0}):
        with pytest.raises(ConfigError):
            SoundInput(columns={}, **settings)  # type: ignore[arg-type]


def test_channels_that_cancel_each_other_out_are_not_averaged() -> None:
    one = wave(0.2).astype(np.int16)
    for quieter in (1.0, 0.97):  # as two microphones have it, not to the last bit
        found, opposed = mixed(np.stack([one, (-quieter * one).astype(np.int16)], 1))
        assert opposed and np.array_equal(found, one)
    found, opposed = mixed(np.stack([(one // 2), -one, one // 2], 1))
    assert opposed and np.array_equal(found, -one)
    noise = np.random.default_rng(0).normal(0, 3000, (4000, 2)).astype(np.int16)
    for both in (noise, np.stack([one, one], 1), np.stack([one, 0 * one], 1), 0 * noise):
        found, opposed = mixed(both)
        assert not opposed
        assert np.array_equal(found, both.mean(1, dtype=np.float32).astype(np.int16))


def described(folder: Path, sounds: Mapping[str, bytes], settings: str) -> Path:
    """A configuration over a table of sounds and numbers, with settings of their input."""
    lines = ["sound,y"]
    for k, (name, content) in enumerate(sounds.items()):
        (folder / name).write_bytes(content)
        lines.append(f"{name},{k}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "c.yaml").write_text(
        "sources: {t: {kind: table, path: t.csv, media: {sound: sound}}}\n"
        f"inputs: {{s: {{kind: sound, column: sound, {settings}}}}}\n"
        "tasks: {y: {kind: regression, target: y}}\n"
        "training: {epochs: 1, threads: 1}\n"
    )
    return folder / "c.yaml"


def test_opposed_channels_are_said_also_from_the_cache(tmp_path: Path) -> None:
    sounds = {}
    for k in range(12):
        one = wave(0.1, pitch=200.0 + 20 * k)
        sounds[f"{k}.wav"] = riff(np.stack([one, -one if k % 4 == 0 else one], 1))
    config = load_config(described(tmp_path, sounds, "sample_rate: 8000, seconds: 0.1"))
    for _ in range(2):  # decoded, then opened
        prepared = prepare_data(config, None)
        (said,) = [d for d in prepared.summary()["doubts"] if "cancel" in d]
        assert said.startswith("column sound of t: its channels cancel each other out")
        assert said.endswith(f"alone is read: 3, such as {tmp_path / '0.wav'}")
        loud = prepared.datasets["t"].stores["s"].gather(np.arange(12)).values.float()
        assert (loud.square().mean(1) > 0.001).all()
    some = prepared.inputs
    with pytest.warns(UserWarning, match=r"0.wav: its channels cancel each other out"):
        list(read_unlabelled(tmp_path / "0.wav", some).batches(2))


@pytest.mark.parametrize(
    ("channels", "rate", "said"),
    [
        (1, 99, "fewer than 100 samples a second"),
        (17, 8000, "more than 16 channels"),
        (16, 100, ""),
    ],
)
def test_headers_that_no_sound_has_are_told(
    channels: int, rate: int, said: str, tmp_path: Path
) -> None:
    sounds = {}
    for k in range(12):
        strange = k % 4 == 0
        one = wave(4.0 if strange else 0.1, rate if strange else 8000, pitch=10.0 + k)
        both = np.repeat(one[:, None], channels, 1) if strange else one
        sounds[f"{k}.wav"] = riff(both, rate if strange else 8000)
    config = load_config(described(tmp_path, sounds, "sample_rate: 8000, seconds: 0.1"))
    doubts = prepare_data(config, None).summary()["doubts"]
    found = [d for d in doubts if "is its header right?" in d]
    assert len(found) == bool(said)
    assert all(said in d and d.endswith(f"3, such as {tmp_path / '0.wav'}") for d in found)


def test_sounds_in_which_nothing_is_heard_are_told(tmp_path: Path) -> None:
    sounds = {}
    odd = [np.zeros(800), np.full(800, 700), np.full(1, 700), np.zeros((800, 2))]
    for k in range(24):
        some = odd[k % 6].astype(np.int16) if k % 6 < 4 else wave(0.1, pitch=200.0 + k)
        sounds[f"{k}.wav"] = riff(some)
    file = described(tmp_path, sounds, "seconds: 0.1, level: rms, silence: trim")
    prepared = prepare_data(load_config(file), None)
    doubts = prepared.summary()["doubts"]
    (silent,) = [d for d in doubts if "silence from end to end" in d]
    (short,) = [d for d in doubts if "shorter than a hundredth of a second" in d]
    assert silent.endswith(f": 12, such as {tmp_path / '0.wav'}")
    assert short.endswith(f": 4, such as {tmp_path / '2.wav'}")
    features = prepared.datasets["t"].stores["s"].gather(np.arange(24))
    for normalize in ("example", "unit", "none"):
        encoder = LogMelEncoder(8000, normalize=normalize, deltas=True)
        assert encoder(features).values.isfinite().all()
    with pytest.warns(UserWarning, match=r"0.wav: all of its samples are alike"):
        list(read_unlabelled(tmp_path / "0.wav", prepared.inputs).batches(2))
