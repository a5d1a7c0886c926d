"""Cepstral coefficients against SciPy's cosine transform; learned filters against their mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.encoders import LogMelEncoder, MFCCEncoder, WaveEncoder
from polytask.types import Features
from tests.encoders.test_audio import RATE, waves

SMALL = {"window": 0.008, "hop": 0.004}


def test_coefficients_are_the_cosine_transform_of_log_mel_energies() -> None:
    fft = pytest.importorskip("scipy.fft")
    raw = Features(waves(2, 500))
    bands = LogMelEncoder(RATE, mels=20, normalize="none", **SMALL)(raw).values  # type: ignore[arg-type]
    encoder = MFCCEncoder(RATE, mels=20, coefficients=13, deltas=False, normalize="none", **SMALL)  # type: ignore[arg-type]
    expected = fft.dct(bands.double().numpy(), type=2, norm="ortho", axis=2)[..., :13]
    found = encoder(raw).values.double()
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)
    assert encoder.out_features == 13


def test_coefficients_are_normalised_and_have_differences() -> None:
    encoder = MFCCEncoder(RATE, mels=20, normalize="training", **SMALL)  # type: ignore[arg-type]
    raw = Features(waves(3, 640))
    encoder.fit_to(raw)
    frames = encoder(raw).values
    static, slope = frames.chunk(2, dim=2)
    assert frames.shape[2] == encoder.out_features == 26
    assert static.mean((0, 1)).abs().max() < 1e-4
    torch.testing.assert_close(slope[:, 1:], static[:, 1:] - static[:, :-1])
    with pytest.raises(ValueError, match="from 1 to the 20 `mels`"):
        MFCCEncoder(RATE, mels=20, coefficients=21)


@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=4),
    padding=st.integers(0, 90),
    normalize=st.sampled_from(["example", "none"]),
)
@settings(max_examples=30, deadline=None)
def test_filters_hear_neither_padding_nor_batch_mates(
    lengths: list[int], padding: int, normalize: str
) -> None:
    torch.manual_seed(0)
    encoder = WaveEncoder(RATE, width=6, normalize=normalize, **SMALL).eval()  # type: ignore[arg-type]
    longest = max(lengths) + padding
    batch = waves(len(lengths), longest)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    together = encoder(Features(batch, mask))
    assert together.mask is not None
    for row, length in enumerate(lengths):
        alone = encoder(Features(batch[row : row + 1, :length]))
        frames = alone.values.shape[1]
        assert frames == -(-length // encoder.hop) == int(together.mask[row].sum())
        torch.testing.assert_close(
            together.values[row, :frames], alone.values[0], rtol=1e-4, atol=1e-4
        )
        assert together.values[row, frames:].eq(0).all()


def test_filters_take_bytes_learn_and_refuse_frames_of_no_sample() -> None:
    encoder = WaveEncoder(RATE, width=6)
    integers = (waves(2, 900) * 20000).to(torch.int16)
    found = encoder(Features(integers)).values
    torch.testing.assert_close(
        found, encoder(Features(integers.float() / 32768)).values, rtol=1e-3, atol=1e-3
    )
    found.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert encoder(Features(torch.zeros(2, 0))).values.shape == (2, 1, 6)
    with pytest.raises(ValueError, match="at least one sample"):
        WaveEncoder(RATE, hop=0)
