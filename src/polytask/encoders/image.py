"""Pictures to normalised pixels.

Shapes: B examples, C channels, H x W pixels.
"""

from collections.abc import Sequence

import torch

from polytask.encoders.base import Encoder
from polytask.encoders.colors import ColorSpace, converted
from polytask.errors import DataError
from polytask.types import Features


class PixelEncoder(Encoder):
    """Pixels of 0..255 scaled to 0..1, in the input's colour space, standardised per channel.

    Args:
        channels: C of the pictures.
        mean: Mean of each channel over training pictures, on the scale 0..1.
        std: Standard deviation of each channel, on the scale 0..1.
        color: The space that red, green and blue are turned into; mean and std are of it.
        standardize: Whether to remove the mean and divide by the standard deviation. Without it
            pixels stay in 0..1, as the articles have them.
        mirror: Outside training, outputs are the mean over each picture and its mirror image
            (as in Jordan 2024, arXiv 2404.00498); outputs for pixels are mirrored back. Twice the
            time; for labels that a mirror image keeps.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        color: ColorSpace = "rgb",
        *,
        standardize: bool = True,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.out_features = channels
        self.color: ColorSpace = color
        self.mirror = mirror
        shift = torch.tensor(mean if standardize else [0.0] * channels)
        spread = torch.tensor(std if standardize else [1.0] * channels).clamp(min=1e-3)
        self.register_buffer("mean", shift.view(1, channels, 1, 1) * 255.0)
        self.register_buffer("scale", 1.0 / (spread.view(1, channels, 1, 1) * 255.0))

    def forward(self, raw: Features) -> Features:
        """Pixels `[B, C, H, W]` (uint8, or float on the same scale) to floats."""
        if raw.values.shape[1] != self.out_features:
            raise DataError(
                f"Pictures should have {self.out_features} channels. Found {raw.values.shape[1]}."
            )
        pixels = raw.values.to(dtype=self.mean.dtype, memory_format=torch.channels_last)
        if self.color in ("hsv", "lab"):
            pixels = converted(pixels / 255.0, self.color) * 255.0
        return Features((pixels - self.mean) * self.scale)

    def views(self, raw: Features) -> tuple[Features, ...]:
        """The pictures `[B, C, H, W]`, and with `mirror` their mirror images."""
        return (raw, Features(raw.values.flip(-1))) if self.mirror else (raw,)
