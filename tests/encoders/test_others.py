"""Pixels, vectors, and a front end with a network of its own."""

import pytest
import torch

from polytask.backbones import RecurrentBackbone, ResidualBackbone
from polytask.backbones.convolutional import WhiteningStem
from polytask.encoders import LogMelEncoder, PixelEncoder, StackedEncoder, VectorEncoder
from polytask.errors import DataError
from polytask.types import Features

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def pictures(batch: int = 4, size: int = 8, channels: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    shape = (batch, channels, size, size)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


def test_bytes_are_the_floats_standardised() -> None:
    encoder, raw = PixelEncoder(3, MEAN, STD), pictures()
    ours = encoder(Features(raw)).values
    assert torch.equal(ours, encoder(Features(raw.float())).values)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(ours, (raw / 255 - mean) / std)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_without_standardising_pixels_stay_in_zero_to_one() -> None:
    raw = pictures()
    values = PixelEncoder(3, MEAN, STD, standardize=False)(Features(raw)).values
    torch.testing.assert_close(values, raw / 255)


def test_a_channel_without_contrast_stays_finite() -> None:
    encoder = PixelEncoder(1, [0.0], [0.0])
    assert encoder(Features(pictures(channels=1))).values.isfinite().all()


def test_pictures_of_another_number_of_channels_are_refused() -> None:
    with pytest.raises(DataError, match=r"3 channels. Found 1"):
        PixelEncoder(3, MEAN, STD)(Features(pictures(channels=1)))


def test_vectors_become_single_precision() -> None:
    values = VectorEncoder(4)(Features(torch.ones(2, 4, dtype=torch.float64))).values
    assert values.dtype == torch.float32 and values.shape == (2, 4)


def test_a_body_pooled_and_projected() -> None:
    front = LogMelEncoder(8000, mels=8)
    body = RecurrentBackbone(8, width=5)
    raw = Features(torch.randn(3, 900), torch.arange(900) < torch.tensor([[900], [300], [0]]))
    frames = StackedEncoder(front, body)
    assert frames.out_features == 10 and frames(raw).values.shape == (3, 12, 10)
    assert frames(raw).mask is not None
    pooled = StackedEncoder(front, body, pool="mean")
    assert pooled.out_features == 10 and pooled(raw).values.shape == (3, 10)
    assert pooled(raw).mask is None
    projected = StackedEncoder(front, body, pool="max", width=7)
    assert projected.out_features == 7 and projected(raw).values.shape == (3, 7)
    assert StackedEncoder(front, body, width=7)(raw).values.shape == (3, 12, 7)
    assert StackedEncoder(front).out_features == 8


def test_fitting_reaches_the_bodys_stem() -> None:
    body = ResidualBackbone(3, widths=(8,))
    encoder = StackedEncoder(PixelEncoder(3, MEAN, STD), body, pool="mean").eval()
    stem = body.stages[0].module
    assert isinstance(stem, WhiteningStem)
    before = stem.weight.clone()
    raw = Features(pictures(batch=16))
    with torch.no_grad():
        encoder.fit_to(raw)
    assert not torch.equal(stem.weight, before)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_sees_valid_frames_only(how: str) -> None:
    values = torch.randn(4, 5, 3)
    lengths = torch.tensor([5, 3, 1, 0])
    mask = torch.arange(5) < lengths[:, None]
    pooled = Features(values, mask).pooled(how)  # type: ignore[arg-type]
    for row, length in enumerate(lengths.tolist()):
        part = values[row, :length]
        expected = torch.zeros(3)
        if length:
            expected = part.mean(0) if how == "mean" else part.amax(0)
        torch.testing.assert_close(pooled[row], expected)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_an_empty_sequence_has_a_finite_gradient(how: str) -> None:
    values = torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[True, False, False], [False, False, False]])
    Features(values, mask).pooled(how).sum().backward()  # type: ignore[arg-type]
    assert values.grad is not None and values.grad.isfinite().all()
    assert values.grad[1].eq(0).all()
