"""RandAugment on whole batches.

Letters: B pictures, C channels, H x W pixels.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from polytask.data.recoloring import as_bytes, blurred, contrasted, mixed_with, saturated
from polytask.data.transforms import Transform
from polytask.data.warping import warped
from polytask.errors import ConfigError
from polytask.types import Features

# An operation takes floats in 0..255 and a strength per picture in -1..1.
Operation = Callable[[Tensor, Tensor], Tensor]


def stretched(pictures: Tensor) -> Tensor:
    """Each channel scaled so that it goes from black to white."""
    low = pictures.amin((2, 3), keepdim=True)
    spread = pictures.amax((2, 3), keepdim=True) - low
    return torch.where(spread > 0, (pictures - low) * (255 / spread.clamp(min=1)), pictures)


def equalized(pictures: Tensor) -> Tensor:
    """Each channel's values replaced by their ranks, so that all are about as frequent."""
    count, channels, height, width = pictures.shape
    flat = pictures.view(count * channels, height * width)
    levels = flat.long().clamp(0, 255)
    hits = torch.zeros(len(flat), 256).scatter_add_(1, levels, torch.ones_like(flat))
    below = hits.cumsum(1)
    first = below.gather(1, levels.amin(1, keepdim=True))  # how many have the least value
    ranks = (below - first) / (height * width - first).clamp(min=1) * 255
    even = ranks.gather(1, levels).view_as(pictures)
    flatness = (levels.amax(1) > levels.amin(1)).view(count, channels, 1, 1)
    return torch.where(flatness, even, pictures)


def _moved(pictures: Tensor, **by: Tensor) -> Tensor:
    none = torch.zeros(len(pictures))
    still = {name: none for name in ("degrees", "right", "down", "shear_x", "shear_y")}
    return warped(pictures, **(still | {"scale": none + 1} | by))


# Strongest changes as in the authors' table (Cubuk et al. 2020), with strength 1.
RECOLORING: dict[str, Operation] = {
    "as it is": lambda x, m: x,
    "stretch": lambda x, m: stretched(x),
    "equalize": lambda x, m: equalized(x),
    "solarize": lambda x, m: torch.where(x >= 256 * (1 - m.abs()).view(-1, 1, 1, 1), 255 - x, x),
    "posterize": lambda x, m: _coarse(x, m),
    "color": lambda x, m: saturated(x, 1 + 0.9 * m),
    "contrast": lambda x, m: contrasted(x, 1 + 0.9 * m),
    "brightness": lambda x, m: x * (1 + 0.9 * m).view(-1, 1, 1, 1),
    "sharpness": lambda x, m: mixed_with(x, blurred(x, torch.full_like(m, 0.7)), 1 + 0.9 * m),
}
MOVING: dict[str, Operation] = {
    "turn": lambda x, m: _moved(x, degrees=30 * m),
    "shear x": lambda x, m: _moved(x, shear_x=0.3 * m),
    "shear y": lambda x, m: _moved(x, shear_y=0.3 * m),
    "right": lambda x, m: _moved(x, right=0.3 * m),
    "down": lambda x, m: _moved(x, down=0.3 * m),
}


def _coarse(pictures: Tensor, strength: Tensor) -> Tensor:
    """Fewer levels: from 8 bits down to 4."""
    step = 2 ** (4 * strength.abs()).round().view(-1, 1, 1, 1)
    return (pictures / step).floor() * step


class RandAugment(Transform):
    """A few operations for each picture, drawn from fourteen (Cubuk et al. 2020, 1909.13719).

    Every picture draws its own operations; those that drew the same are changed together.
    Deviations from the authors' code: a mirrored picture, not grey, stands beyond the border; the
    sign of every strength is random; the sharpness filter is a Gaussian one.

    Args:
        operations: How many, one after the other.
        magnitude: How strong, in 0..10.
        moving: Whether operations that move pixels (turns, shears, shifts) are among them.
    """

    def __init__(self, *, operations: int = 2, magnitude: float = 5.0, moving: bool = True) -> None:
        if operations < 1 or not 0 <= magnitude <= 10:
            raise ConfigError(
                "`operations` should be at least 1, `magnitude` in 0..10. Found "
                f"{operations}, {magnitude}."
            )
        self.operations, self.magnitude = operations, magnitude
        self.moves_pixels = moving
        self._known = list(({**RECOLORING, **MOVING} if moving else RECOLORING).values())

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each changed in its own way."""
        pictures = features.values.float()
        count = len(pictures)
        for _ in range(self.operations):
            drawn = torch.randint(0, len(self._known), (count,), generator=generator)
            signs = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
            for number in drawn.unique().tolist():
                rows = (drawn == number).nonzero().squeeze(1)
                strength = signs[rows] * (self.magnitude / 10)
                pictures[rows] = self._known[number](pictures[rows], strength).clamp_(0, 255)
        return Features(as_bytes(pictures))
