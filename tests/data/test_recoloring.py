"""Changes of colour and place on whole batches, against Pillow, SciPy and what they mean."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from polytask.data.random_augment import MOVING, RECOLORING, RandAugment
from polytask.data.recoloring import (
    Blur,
    Contrast,
    Grey,
    Hue,
    PixelNoise,
    Saturation,
    blurred,
    contrasted,
    saturated,
    turned_hue,
)
from polytask.data.transforms import Transform
from polytask.data.warping import Affine, warped
from polytask.encoders.colors import rgb_to_hsv
from polytask.errors import ConfigError
from polytask.types import Features

EVERY = [
    Contrast(),
    Saturation(amount=0.5),
    Hue(),
    Grey(p=0.5),
    Blur(),
    PixelNoise(),
    Affine(shear=0.1),
    RandAugment(),
    RandAugment(operations=4, magnitude=10, moving=False),
]
ONE = torch.ones(16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(channels: int = 3) -> Features:
    drawn = torch.randint(0, 256, (16, channels, 12, 10), generator=seeded())
    drawn[3] = 7  # one colour all over
    return Features(drawn.to(torch.uint8))


def pillow(values: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in values]


def close(found: torch.Tensor, expected: list[Image.Image], most: int = 1) -> bool:
    wanted = torch.stack([torch.from_numpy(np.array(e)).permute(2, 0, 1) for e in expected])
    return bool((found.round().clamp(0, 255) - wanted).abs().max() <= most)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_bytes_in_bytes_out_the_same_from_the_same_seed(
    transform: Transform, channels: int
) -> None:
    given, kept = pictures(channels), pictures(channels)
    if channels == 1 and isinstance(transform, Hue):
        with pytest.raises(ConfigError, match="no hue"):
            transform(given, seeded())
        return
    out, again = transform(given, seeded()), transform(given, seeded())
    assert torch.equal(given.values, kept.values)
    assert out.values.dtype == torch.uint8 and out.values.shape == given.values.shape
    assert torch.equal(out.values, again.values)
    if channels == 3:
        assert not torch.equal(out.values, given.values)
        assert not torch.equal(out.values, transform(given, seeded(1)).values)


def test_no_change_of_strength_0() -> None:
    given = pictures()
    for transform in (
        Contrast(amount=0),
        Saturation(amount=0),
        Hue(amount=0),
        Grey(p=0),
        PixelNoise(amount=0),
        Affine(degrees=0, shift=0, scale=0),
    ):
        found = transform(given, seeded()).values
        assert (found.int() - given.values.int()).abs().max() <= 1, type(transform)


def test_contrast_saturation_solarize_and_posterize_are_pillows() -> None:
    values = pictures().values
    images = pillow(values)
    for factor in (0.3, 1.7):
        strength = factor * ONE
        contrast = [ImageEnhance.Contrast(i).enhance(factor) for i in images]
        assert close(contrasted(values.float(), strength), contrast, 2)
        paler = [ImageEnhance.Color(i).enhance(factor) for i in images]
        assert close(saturated(values.float(), strength), paler, 2)
    half = [ImageOps.solarize(i, 128) for i in images]
    assert close(RECOLORING["solarize"](values.float(), 0.5 * ONE), half, 0)
    coarse = [ImageOps.posterize(i, 6) for i in images]
    assert close(RECOLORING["posterize"](values.float(), -0.5 * ONE), coarse, 0)
    stretched = [ImageOps.autocontrast(i) for i in images]
    assert close(RECOLORING["stretch"](values.float(), ONE), stretched)


def test_equalized_values_are_spread_evenly() -> None:
    dark = (torch.rand(2, 3, 60, 60, generator=seeded()).square() * 90).floor()
    dark[1, 0] = 7  # one value all over stays as it is
    even = RECOLORING["equalize"](dark, torch.ones(2))
    assert torch.equal(even[1, 0], dark[1, 0])
    for one, spread in zip(dark.flatten(0, 1), even.flatten(0, 1), strict=True):
        if one.min() < one.max():
            below = torch.stack([(one <= value).sum() for value in range(256)])
            first = below[int(one.min())]
            wanted = (below[one.long()] - first) / (one.numel() - first) * 255
            assert torch.allclose(spread, wanted, atol=1e-3)
            assert spread.max() == 255 and spread.min() == 0


def test_blur_is_a_gaussian_filter() -> None:
    scipy = pytest.importorskip("scipy.ndimage")
    values = pictures().values[:2].float()
    found = blurred(values, torch.tensor([0.6, 1.2]))
    for one, blurry, sigma in zip(values, found, (0.6, 1.2), strict=True):
        expected = scipy.gaussian_filter(one.numpy(), (0, sigma, sigma), mode="mirror", radius=3)
        assert np.abs(blurry.numpy() - expected).max() < 1e-2 * 255
    flat = blurred(torch.full((1, 1, 6, 6), 9.0), torch.tensor([1.0]))
    assert torch.allclose(flat, torch.tensor(9.0))


def test_a_turn_of_the_hue_changes_nothing_else() -> None:
    values = pictures().values.float()
    before, after = rgb_to_hsv(values / 255), rgb_to_hsv(turned_hue(values, 0.25 * ONE) / 255)
    assert torch.allclose(before[:, 1:], after[:, 1:], atol=1e-4)
    coloured = before[:, 1] > 0.05
    turn = ((after - before)[:, 0][coloured] - 0.25 + 0.5) % 1 - 0.5
    assert turn.abs().max() < 1e-3


def test_quarter_turns_and_whole_shifts_move_pixels_exactly() -> None:
    square = pictures().values[:, :, :10].float()
    still = {
        name: torch.zeros(16) for name in ("degrees", "right", "down", "shear_x", "shear_y")
    } | {"scale": ONE}
    turned = warped(square, **(still | {"degrees": 90 * ONE}))
    assert torch.allclose(turned, square.rot90(-1, (2, 3)), atol=1e-2)
    moved = warped(square, **(still | {"right": 0.2 * ONE, "down": -0.1 * ONE}))
    assert torch.allclose(moved[:, :, :9, 2:], square[:, :, 1:, :8], atol=1e-2)
    wide = torch.zeros(1, 1, 9, 21)
    wide[0, 0, 4, 18] = 1  # 8 right of the middle, to be 8 below it, or sheared there
    sheared = warped(wide, **{n: v[:1] for n, v in (still | {"shear_y": ONE * 0.25}).items()})
    assert sheared[0, 0, 6, 18] > 0.9
    larger = warped(wide, **{n: v[:1] for n, v in (still | {"scale": ONE * 0.5}).items()})
    assert larger[0, 0, 4].argmax() == 14


def test_what_moves_pixels_says_so() -> None:
    assert [t.moves_pixels for t in EVERY] == [False] * 6 + [True, True, False]
    assert not set(MOVING) & set(RECOLORING)
    corner = torch.zeros(64, 3, 8, 8, dtype=torch.uint8)
    corner[:, :, 0, 0] = 200
    still = RandAugment(operations=1, magnitude=8, moving=False)(Features(corner), seeded()).values
    lit = (still[:, 0].flatten(1).float() - still[:, 0, 7, 7].view(-1, 1).float()).abs().argmax(1)
    assert (lit == 0).all()


def test_mistakes_in_settings() -> None:
    for make in (
        lambda: Hue(amount=0.6),
        lambda: Contrast(amount=2),
        lambda: Blur(sigma=0),
        lambda: Affine(scale=1),
        lambda: RandAugment(operations=0),
        lambda: RandAugment(magnitude=11),
    ):
        with pytest.raises(ConfigError):
            make()
