"""Colour spaces of pictures.

Shapes: B examples, H x W pixels. Values are floats in 0..1, in and out.
"""

from typing import Literal

import torch
from torch import Tensor

ColorSpace = Literal["rgb", "hsv", "lab", "grey"]

# From linear sRGB to CIE XYZ, each row divided by the white point D65 (IEC 61966-2-1).
_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601: how bright red, green and blue are


def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """Hue (0..1, once around the circle), saturation and value of `[B, 3, H, W]`."""
    red, green, blue = rgb.unbind(1)
    value, place = rgb.max(1)
    spread = value - rgb.amin(1)
    safe = spread.clamp(min=1e-12)
    sixths = torch.stack(
        [(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe], 1
    )
    hue = (sixths.gather(1, place.unsqueeze(1)).squeeze(1) / 6) % 1.0
    saturation = spread / value.clamp(min=1e-12)
    return torch.stack([torch.where(spread > 0, hue, 0.0), saturation, value], 1)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """Red, green and blue of hue, saturation and value `[B, 3, H, W]`."""
    hue, saturation, value = hsv.unbind(1)

    def channel(turn: int) -> Tensor:
        place = (turn + hue * 6) % 6
        return value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], 1)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB `[B, 3, H, W]` under D65, as L / 100, (a + 128) / 255, (b + 128) / 255."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("oc,bchw->bohw", linear.new_tensor(_XYZ), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack(
        [1.16 * y - 0.16, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255], 1
    )


def rgb_to_grey(rgb: Tensor) -> Tensor:
    """The luma of `[B, 3, H, W]`, `[B, 1, H, W]`."""
    return torch.einsum("c,bchw->bhw", rgb.new_tensor(LUMA), rgb).unsqueeze(1)


def converted(rgb: Tensor, space: ColorSpace) -> Tensor:
    """Pictures in another space; grey ones `[B, 1, H, W]` have only their own."""
    if space == "hsv":
        return rgb_to_hsv(rgb)
    return rgb_to_lab(rgb) if space == "lab" else rgb
