"""Colour spaces against the standard library and kornia."""

import colorsys

import pytest
import torch

from polytask.encoders.colors import (
    converted,
    hsv_to_rgb,
    rgb_to_grey,
    rgb_to_hsv,
    rgb_to_lab,
)


def pixels() -> torch.Tensor:
    drawn = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    drawn[0, :, 0, :6] = edges.T
    return drawn


def test_hue_saturation_and_value_are_those_of_the_standard_library() -> None:
    rgb = pixels()
    found = rgb_to_hsv(rgb).permute(0, 2, 3, 1).reshape(-1, 3)
    for given, hsv in zip(rgb.permute(0, 2, 3, 1).reshape(-1, 3).tolist(), found, strict=True):
        assert hsv.tolist() == pytest.approx(colorsys.rgb_to_hsv(*given), abs=1e-5)
    assert torch.allclose(hsv_to_rgb(rgb_to_hsv(rgb)), rgb, atol=1e-5)


def test_lab_is_that_of_kornia() -> None:
    kornia = pytest.importorskip("kornia.color")
    expected = kornia.rgb_to_lab(pixels())
    found = rgb_to_lab(pixels())
    assert torch.allclose(found[:, 0] * 100, expected[:, 0], atol=0.05)
    assert torch.allclose(found[:, 1:] * 255 - 128, expected[:, 1:], atol=0.05)
    assert torch.allclose(rgb_to_grey(pixels()), kornia.rgb_to_grayscale(pixels()), atol=1e-5)
    assert found.min() > -1e-3 and found.max() < 1 + 1e-6


def test_other_spaces_keep_their_values() -> None:
    assert torch.equal(converted(pixels(), "rgb"), pixels())
    assert not torch.equal(converted(pixels(), "hsv"), pixels())
