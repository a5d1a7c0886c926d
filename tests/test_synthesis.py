"""Words that become sounds, from files to a run and what one can listen to."""

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polytask.config import load_config
from polytask.errors import DataError
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, predict_run, train

WORDS = """\
name: words
sources: {table: {kind: table, path: table.csv, media: {sound: sound}}}
inputs:
  word: {kind: text, column: word, level: characters, split: spaces, width: 16}
  heard: {kind: sound, column: sound, seconds: 0.2, encoder: {kind: logmel, mels: 16}, width: 16}
tasks:
  voice:
    {kind: synthesis, input: word, target: sound, seconds: 0.2, mels: 32, width: 32, level: rms}
  pitch: {kind: multiclass, input: heard, target: pitch}
trunk: {kind: independent, backbone: {kind: recurrent, width: 16}}
batches: {size: 8}
optimizer: {kind: adam, lr: 0.01}
training: {epochs: 12, threads: 1}
"""
TONES = {"low": (500, 0.08), "high": (2500, 0.16)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))


def write_words(folder: Path, rows: int = 48) -> Path:
    """Tones of two pitches and lengths, by a word; of the fifth row there is no sound."""
    rng = np.random.default_rng(0)
    lines = ["word,sound,pitch"]
    for k in range(rows):
        word = ("low", "high")[k % 2]
        pitch, seconds = TONES[word]
        time = np.arange(round(seconds * 8000 * rng.uniform(0.95, 1.05))) / 8000
        wave = 9000 * np.sin(2 * np.pi * pitch * time) + rng.normal(0, 30, len(time))
        soundfile.write(folder / f"{k}.wav", wave.astype(np.int16), 8000)
        lines.append(f"{word},{k}.wav,{pitch}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def trained(folder: Path, text: str = WORDS) -> Run:
    """The run of a configuration in a folder."""
    (folder / "mine.yaml").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train(load_config(folder / "mine.yaml"), folder / "runs", Silent(), ["test"])
    return Run.newest(folder / "runs")


def test_words_are_spoken_at_their_pitch_and_length(tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    write_words(tmp_path)
    run = trained(tmp_path)
    scores: dict[str, Any] = evaluate_run(run, "test")  # type: ignore[assignment]
    assert scores["voice"]["d2"] > 0.4 and scores["voice"]["length_error"] < 0.02
    (tmp_path / "say.csv").write_text("word\nhigh\nlow\n")
    lines = list(predict_run(run, tmp_path / "say.csv", sounds=tmp_path / "out"))
    for line, word in zip(lines, ("high", "low"), strict=True):
        wave, rate = soundfile.read(line["voice"], dtype="int16")
        pitch, seconds = TONES[word]
        assert rate == 8000 and len(wave) / rate == pytest.approx(line["voice.seconds"])
        assert line["voice.seconds"] == pytest.approx(seconds, abs=0.02)
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert np.argmax(spectrum) * rate / len(wave) == pytest.approx(pitch, rel=0.1)
    said = next(iter(predict_run(run, tmp_path / "say.csv")))
    assert "voice" not in said and said["voice.seconds"] > 0


def without(path: Path, row: int) -> None:
    """Leaves the sound of a row blank."""
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    lines[row + 1][1] = ""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def test_a_blank_sound_is_a_missing_label_and_a_broken_one_an_error(tmp_path: Path) -> None:
    table = write_words(tmp_path, rows=20)
    without(table, 4)
    alone = WORDS.replace("epochs: 12", "epochs: 1").replace(
        "  pitch: {kind: multiclass, input: heard, target: pitch}\n",
        "  again: {kind: multiclass, input: word, target: pitch}\n",
    )
    alone = "\n".join(line for line in alone.splitlines() if not line.startswith("  heard")) + "\n"
    summary = trained(tmp_path, alone).read_json("data.json")
    labels = {task: sum(parts.values()) for task, parts in summary["labels"].items()}
    assert labels == {"voice": 19, "again": 20}
    (tmp_path / "7.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"row 9.*column 'sound'.*not a readable sound"):
        trained(tmp_path, alone)
