"""Random turns, shifts, scales and shears of pictures, a whole batch at once.

Letters: B pictures, C channels, H x W pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from polytask.data.recoloring import as_bytes
from polytask.data.transforms import Maps, Transform, probability
from polytask.errors import ConfigError
from polytask.types import Features


def warped(
    pictures: Tensor,
    between: Literal["bilinear", "nearest"] = "bilinear",
    /,
    *,
    degrees: Tensor,
    right: Tensor,
    down: Tensor,
    scale: Tensor,
    shear_x: Tensor,
    shear_y: Tensor,
) -> Tensor:
    """Pictures `[B, C, H, W]` of floats, sheared, scaled, turned and moved about their middle.

    Beyond the border stands the mirrored picture.

    Args:
        pictures: The pictures.
        between: Whether values between pixels are interpolated or those of the nearest pixel.
        degrees: `[B]` turns, clockwise.
        right: `[B]` shifts as shares of the width.
        down: `[B]` shifts as shares of the height.
        scale: `[B]` factors of the size.
        shear_x: `[B]` how far right a pixel goes for each that it lies below the middle.
        shear_y: `[B]` how far down for each that it lies right of the middle.
    """
    height, width = pictures.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    one = torch.ones_like(scale)
    shear = torch.stack([one, shear_x, shear_y, one], 1).view(-1, 2, 2)
    forth = turn @ shear * scale.view(-1, 1, 1)
    # `affine_grid` asks where a pixel comes from, with both sides of the picture of length 2.
    back = torch.linalg.inv(forth)
    sides = torch.tensor([width, height], dtype=torch.float32)
    back = back * sides.view(1, 1, 2) / sides.view(1, 2, 1)
    shift = 2 * torch.stack([right, down], 1).unsqueeze(2)
    grid = F.affine_grid(
        torch.cat([back, -back @ shift], 2), list(pictures.shape), align_corners=False
    )
    return F.grid_sample(
        pictures, grid, mode=between, padding_mode="reflection", align_corners=False
    )


class Affine(Transform):
    """Turns, moves, scales and shears every picture; beyond the border stands its mirror image.

    Args:
        degrees: The greatest turn, either way.
        shift: The greatest shift, as a share of width and height.
        scale: Sizes are multiplied by `1 - scale` to `1 + scale`.
        shear: The greatest slope, either way, of lines that were horizontal or vertical.
    """

    moves_pixels = True

    def __init__(
        self, *, degrees: float = 10.0, shift: float = 0.05, scale: float = 0.1, shear: float = 0.0
    ) -> None:
        if degrees < 0 or not 0 <= scale < 1 or not 0 <= shear < 1:
            raise ConfigError(
                "`degrees` should be at least 0, `scale` and `shear` in 0..1. Found "
                f"{degrees}, {scale}, {shear}."
            )
        self.degrees, self.scale, self.shear = degrees, scale, shear
        self.shift = probability(shift)

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each changed in its own way."""
        return Features(as_bytes(self._warped(features.values.float(), generator, "bilinear")))

    def moved(self, maps: Maps, generator: Generator) -> Tensor:
        """Changed alike: each pixel takes the nearest label."""
        if maps.vectors:
            raise ConfigError(
                "The augmentation 'affine' can't turn the directions of pixels along with their "
                "pictures. Leave it out, or the task about directions."
            )
        values = maps.values if maps.values.ndim == 4 else maps.values.unsqueeze(1)
        found = self._warped(values.float(), generator, "nearest")
        return found.to(maps.values.dtype).view(maps.values.shape)

    def _warped(
        self, pictures: Tensor, generator: Generator, between: Literal["bilinear", "nearest"]
    ) -> Tensor:
        draw = torch.rand(6, len(pictures), generator=generator) * 2 - 1
        return warped(
            pictures,
            between,
            degrees=draw[0] * self.degrees,
            right=draw[1] * self.shift,
            down=draw[2] * self.shift,
            scale=1 + draw[3] * self.scale,
            shear_x=draw[4] * self.shear,
            shear_y=draw[5] * self.shear,
        )
