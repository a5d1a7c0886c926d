"""Random changes of colour and sharpness, a whole batch at once; every pixel stays in its place.

Pictures are `[B, C, H, W]` of uint8 before and after. The formulas take a strength per picture and
work on floats in 0..255. Letters: B pictures, C channels (3, or 1 for grey), H x W pixels.
"""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from polytask.data.transforms import Transform, probability
from polytask.encoders.colors import hsv_to_rgb, rgb_to_grey, rgb_to_hsv
from polytask.errors import ConfigError, require_number
from polytask.types import Features


def mixed_with(pictures: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """`others + factor (pictures - others)`: at factor 1 the pictures, beyond it further away."""
    return torch.lerp(others, pictures, factor.view(-1, 1, 1, 1))


def contrasted(pictures: Tensor, factor: Tensor) -> Tensor:
    """Differences from each picture's mean luma times a factor."""
    return mixed_with(pictures, luma(pictures).mean((2, 3), keepdim=True), factor)


def saturated(pictures: Tensor, factor: Tensor) -> Tensor:
    """Differences from the pixel's own grey times a factor."""
    return mixed_with(pictures, luma(pictures), factor)


def turned_hue(pictures: Tensor, turn: Tensor) -> Tensor:
    """Hues moved around their circle; 1 is once around."""
    hsv = rgb_to_hsv(pictures / 255)
    hsv[:, 0] = (hsv[:, 0] + turn.view(-1, 1, 1)) % 1.0
    return hsv_to_rgb(hsv) * 255


def blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian filter of standard deviation `sigma` pixels each, the border mirrored."""
    reach = max(1, math.ceil(2 * float(sigma.max())))
    reach = min(reach, pictures.shape[2] - 1, pictures.shape[3] - 1)
    offset = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3).unsqueeze(1)).square())
    weights = (weights / weights.sum(1, keepdim=True)).view(len(pictures), -1, 1, 1, 1)
    for dim in (2, 3):  # sums of shifted pictures: each picture has a filter of its own
        pad = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        padded = F.pad(pictures, pad, mode="reflect")
        size = pictures.shape[dim]
        pictures = weights[:, 0] * padded.narrow(dim, 0, size)
        for k in range(1, 2 * reach + 1):
            pictures = torch.addcmul(pictures, weights[:, k], padded.narrow(dim, k, size))
    return pictures


def luma(pictures: Tensor) -> Tensor:
    """How bright each pixel is, `[B, 1, H, W]`."""
    return pictures if pictures.shape[1] == 1 else rgb_to_grey(pictures)


def as_bytes(pictures: Tensor) -> Tensor:
    """Floats rounded to uint8."""
    return pictures.round().clamp_(0, 255).to(torch.uint8)


class _Jitter(Transform):
    """Draws a number per picture and applies a formula."""

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each changed by its own strength."""
        draw = torch.rand(len(features.values), generator=generator)
        return Features(as_bytes(self._changed(features.values.float(), draw)))

    @abstractmethod
    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        """Pictures in 0..255, by strengths drawn evenly from 0..1."""


class Contrast(_Jitter):
    """Multiplies the differences from each picture's mean brightness by a random factor.

    Args:
        amount: Factors lie in `1 - amount` to `1 + amount`.
    """

    def __init__(self, *, amount: float = 0.2) -> None:
        self.amount = probability(amount)

    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        return contrasted(pictures, 1 + self.amount * (2 * draw - 1))


class Saturation(_Jitter):
    """Makes colours stronger or paler.

    Args:
        amount: Differences from grey are multiplied by `1 - amount` to `1 + amount`.
    """

    def __init__(self, *, amount: float = 0.2) -> None:
        self.amount = probability(amount)

    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        return saturated(pictures, 1 + self.amount * (2 * draw - 1))


class Hue(_Jitter):
    """Turns all hues of a picture by one angle.

    Args:
        amount: The greatest turn either way, as a share of the whole circle; at most 0.5.
    """

    def __init__(self, *, amount: float = 0.05) -> None:
        if not 0 <= amount <= 0.5:
            raise ConfigError(f"`amount` should be in 0..0.5. Found {amount}.")
        self.amount = amount

    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        if pictures.shape[1] == 1:
            raise ConfigError("Grey pictures have no hue: leave `hue` out of `augment`.")
        return turned_hue(pictures, self.amount * (2 * draw - 1))


class Grey(_Jitter):
    """Takes the colour out of some pictures.

    Args:
        p: The probability for each picture.
    """

    def __init__(self, *, p: float = 0.1) -> None:
        self.p = probability(p)

    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        return saturated(pictures, (draw >= self.p).float())


class Blur(_Jitter):
    """Blurs every picture by a Gaussian filter.

    Args:
        sigma: The strongest filter's standard deviation in pixels; the weakest's is 0.1.
    """

    def __init__(self, *, sigma: float = 1.0) -> None:
        require_number("sigma", sigma, 0.1)
        self.sigma = sigma

    def _changed(self, pictures: Tensor, draw: Tensor) -> Tensor:
        return blurred(pictures, 0.1 + (self.sigma - 0.1) * draw)


class PixelNoise(Transform):
    """Adds white noise to every value.

    Args:
        amount: The strongest noise's standard deviation, as a share of the range from black to
            white. Each picture has its own, evenly from 0.
    """

    def __init__(self, *, amount: float = 0.05) -> None:
        self.amount = probability(amount)

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each with its own noise."""
        draw = torch.rand(len(features.values), generator=generator).view(-1, 1, 1, 1)
        noise = torch.randn(features.values.shape, generator=generator)
        return Features(as_bytes(features.values + 255 * self.amount * draw * noise))
