"""Log-mel frames against a direct Fourier transform in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.encoders import LogMelEncoder
from polytask.encoders.audio import mel_bands
from polytask.types import Features

RATE = 8000


def small(**settings: object) -> LogMelEncoder:
    return LogMelEncoder(RATE, mels=12, window=0.008, hop=0.004, **settings).eval()  # type: ignore[arg-type]


def waves(batch: int, samples: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(batch, samples, generator=random)


def directly(wave: np.ndarray, encoder: LogMelEncoder) -> np.ndarray:
    """The definition, written out: window, sum of sines and cosines, bands, logarithm."""
    length, hop, points = encoder.length, encoder.hop, encoder.points
    padded = np.concatenate([np.zeros(points // 2), wave, np.zeros(points)])
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(length) / length)
    before = (points - length) // 2
    window = np.concatenate([np.zeros(before), window, np.zeros(points - length - before)])
    turns = np.outer(np.arange(points // 2 + 1), np.arange(points)) / points
    sines = np.exp(-2j * math.pi * turns)
    frequency = np.arange(points // 2 + 1) * RATE / points
    mel = 2595 * np.log10(1 + frequency / 700)
    edges = np.linspace(0, 2595 * math.log10(1 + RATE / 2 / 700), encoder.mels + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bands = np.zeros((len(frequency), encoder.mels))
    for m in range(encoder.mels):
        for k, f in enumerate(frequency):
            if hertz[m] < f <= hertz[m + 1]:
                bands[k, m] = (f - hertz[m]) / (hertz[m + 1] - hertz[m])
            elif hertz[m + 1] < f < hertz[m + 2]:
                bands[k, m] = (hertz[m + 2] - f) / (hertz[m + 2] - hertz[m + 1])
        if not bands[:, m].any():
            bands[np.abs(frequency - hertz[m + 1]).argmin(), m] = 1.0
    assert (np.diff(mel) > 0).all()
    frames = []
    for centre in range(0, len(wave), hop):
        spectrum = sines @ (window * padded[centre : centre + points])
        frames.append(np.log(np.abs(spectrum) ** 2 @ bands + 1e-8))
    return np.stack(frames)


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 320, 500])
@pytest.mark.parametrize("window", [0.008, 0.006])
def test_frames_are_the_definitions(samples: int, window: float) -> None:
    encoder = LogMelEncoder(RATE, mels=12, window=window, hop=0.004, normalize="none").eval()
    wave = waves(1, samples)
    ours = encoder(Features(wave)).values[0]
    theirs = directly(wave[0].double().numpy(), encoder)
    torch.testing.assert_close(ours.double(), torch.from_numpy(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rate", "bins", "mels"), [(8000, 129, 64), (16000, 257, 40), (8000, 33, 20)]
)
def test_bands_lie_inside_the_spectrum_and_none_is_empty(rate: int, bins: int, mels: int) -> None:
    bands = mel_bands(rate, bins, mels)
    assert bands.shape == (bins, mels)
    assert (bands >= 0).all() and (bands <= 1).all()
    assert (bands.sum(0) > 0).all()
    peaks = bands.argmax(0)
    assert (peaks.diff() >= 0).all()
    assert bands[0].sum() <= 1 and bands[-1].sum() < 1e-6


@given(
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    padding=st.integers(0, 90),
    deltas=st.booleans(),
    normalize=st.sampled_from(["example", "training", "unit", "none"]),
)
@settings(max_examples=40, deadline=None)
def test_an_example_is_independent_of_its_batch_mates_and_of_what_pads_it(
    lengths: list[int], padding: int, deltas: bool, normalize: str
) -> None:
    encoder = small(deltas=deltas, normalize=normalize)
    longest = max(*lengths, 1) + padding
    batch = waves(len(lengths), longest)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    together = encoder(Features(batch, mask))
    assert together.mask is not None
    for row, length in enumerate(lengths):
        alone = encoder(Features(batch[row : row + 1, :length]))
        frames = alone.values.shape[1]
        assert alone.mask is None and int(together.mask[row].sum()) == frames
        torch.testing.assert_close(
            together.values[row, :frames], alone.values[0], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("masked", [False, True])
def test_an_empty_wave_is_one_finite_frame(masked: bool) -> None:
    mask = torch.zeros(2, 0, dtype=torch.bool) if masked else None
    values, valid = small()(Features(torch.zeros(2, 0), mask))
    assert values.shape == (2, 1, 12) and values.isfinite().all()
    assert valid is None or valid.all()


def test_sixteen_bit_integers_are_the_floats() -> None:
    integers = (waves(2, 300) * 20000).to(torch.int16)
    encoder = small()
    torch.testing.assert_close(
        encoder(Features(integers)).values, encoder(Features(integers.float() / 32768)).values
    )


def test_normalised_bands_have_mean_zero_and_do_not_hear_loudness() -> None:
    encoder, wave = small(), waves(2, 800)
    frames = encoder(Features(wave)).values
    torch.testing.assert_close(frames.mean(1), torch.zeros(2, 12), atol=1e-5, rtol=0)
    assert ((frames.std(1) > 0.8) & (frames.std(1) < 1.01)).all()
    torch.testing.assert_close(encoder(Features(wave * 3)).values, frames, atol=1e-2, rtol=1e-2)
    assert encoder(Features(torch.zeros(2, 800))).values.abs().max() < 1e-3


def test_statistics_of_training_examples_are_those_of_their_valid_frames() -> None:
    encoder = small(normalize="training")
    mask = torch.arange(640) < torch.tensor([[640], [200]])
    raw = Features(waves(2, 640), mask)
    plain, valid = small(normalize="none")(raw)
    assert valid is not None
    encoder.fit_to(raw)
    frames = encoder(raw).values[valid]
    torch.testing.assert_close(frames.mean(0), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        frames.std(0, correction=0), plain[valid].std(0, correction=0) / encoder.std
    )
    again = small(normalize="training")
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(raw).values, encoder(raw).values)


def test_the_unit_scale_is_zero_to_one_per_example() -> None:
    frames = small(normalize="unit")(Features(waves(3, 640))).values
    torch.testing.assert_close(frames.amin((1, 2)), torch.zeros(3))
    torch.testing.assert_close(frames.amax((1, 2)), torch.ones(3), rtol=1e-3, atol=1e-3)
    assert small(normalize="unit")(Features(torch.zeros(1, 640))).values.isfinite().all()


def test_blanks_only_while_training_and_within_their_share() -> None:
    encoder = small(time_masks=1, frequency_masks=1, mask_share=0.25)
    wave = waves(64, 3200)
    plain = small()(Features(wave)).values
    assert torch.equal(encoder(Features(wave)).values, plain)
    torch.manual_seed(0)
    blanked = encoder.train()(Features(wave)).values
    same = blanked == plain
    assert blanked[~same].eq(0).all()
    whole_frames = (~same).all(2).sum(1)
    whole_bands = (~same).all(1).sum(1)
    assert 0 < whole_frames.max() <= 0.25 * plain.shape[1] + 1
    assert 0 < whole_bands.max() <= 0.25 * plain.shape[2] + 1
    assert len(whole_frames.unique()) > 3, "each example has its own"


def test_blanks_of_frames_that_are_not_normalised_are_their_mean() -> None:
    encoder = small(normalize="none", time_masks=1, mask_share=0.9).train()
    wave = waves(8, 3200)
    plain = encoder.eval()(Features(wave)).values
    torch.manual_seed(1)
    blanked = encoder.train()(Features(wave)).values
    changed = blanked != plain
    mean = plain.mean(1, keepdim=True).expand_as(plain)
    assert changed.any()
    torch.testing.assert_close(blanked[changed], mean[changed])


def test_deltas_are_differences_between_frames() -> None:
    frames = small(deltas=True)(Features(waves(2, 400))).values
    static, slope = frames.chunk(2, dim=2)
    torch.testing.assert_close(slope[:, 1:], static[:, 1:] - static[:, :-1])
    assert slope[:, 0].eq(0).all()


def test_stays_in_single_precision_under_autocast() -> None:
    encoder, wave = small(), waves(2, 400)
    with torch.autocast("cpu", torch.bfloat16):
        frames = encoder(Features(wave)).values
    torch.testing.assert_close(frames, encoder(Features(wave)).values)


@pytest.mark.parametrize("settings", [{"hop": 1e-5}, {"window": 1e-5}, {"hop": 0.0}])
def test_frames_shorter_than_a_sample_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        LogMelEncoder(RATE, **settings)  # type: ignore[arg-type]
