"""Augmentation of whole batches: what pictures and sounds have in common, and pictures. They stay
uint8, waves int16.

Every transform is a function of the features and the state of a generator. Letters: B examples,
H x W pixels, M frames that have labels.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from polytask.errors import ConfigError
from polytask.types import Features


class Maps(NamedTuple):
    """Targets of the pixels of a batch of pictures.

    Attributes:
        values: `[B, H, W]` or `[B, K, H, W]`.
        blank: What a pixel without a label has.
        vectors: Whether the first of the K values points to the right.
    """

    values: Tensor
    blank: float
    vectors: bool = False


class Times(NamedTuple):
    """Labels of the frames of a batch of sounds.

    Attributes:
        values: `[B, M]`, `PADDING` past a sound's last frame.
        samples: How many samples a frame has.
        rest: The label of frames of which nothing is said.
    """

    values: Tensor
    samples: float
    rest: int


class Transform(ABC):
    """Changes a batch of raw features at random.

    Attributes:
        moves_pixels: Whether what was at one place of a picture may be at another afterwards.
        moves_times: Whether what was heard at one time of a sound may be heard at another.
    """

    moves_pixels: bool = False
    moves_times: bool = False

    @abstractmethod
    def __call__(self, features: Features, generator: Generator) -> Features:
        """The changed batch; the given one stays as it is."""

    def moved(self, maps: Maps, generator: Generator) -> Tensor:
        """The targets of pixels, as the pictures that they belong to were changed.

        Args:
            maps: The targets.
            generator: In the state that it had when the pictures were changed.

        Raises:
            ConfigError: If this transform moves pixels and has no way to do so.
        """
        if not self.moves_pixels:
            return maps.values
        raise ConfigError(
            f"The augmentation {type(self).__name__} can't change targets of pixels along with "
            "their pictures. Leave it out, or the task about pixels."
        )

    def retimed(self, times: Times, sounds: Features, generator: Generator) -> Tensor:
        """The labels of frames, as the sounds that they belong to were changed.

        Args:
            times: The labels.
            sounds: As they were before.
            generator: In the state that it had when they were changed.

        Raises:
            ConfigError: If this transform moves sounds in time and has no way to do so.
        """
        if not self.moves_times:
            return times.values
        raise ConfigError(
            f"The augmentation {type(self).__name__} can't change the times of labels along with "
            "their sounds. Leave it out, or the task whose labels have times."
        )

    def applies(self, epoch: int) -> bool:
        """Whether batches of an epoch, counted from 0, are changed."""
        return True


class RandomCrop(Transform):
    """Pads every picture on all sides and cuts a random part of the old size out of it.

    Args:
        padding: Pixels on each side.
        mode: What is padded: the mirrored picture, or black.
    """

    moves_pixels = True

    def __init__(self, *, padding: int = 4, mode: Literal["reflect", "zero"] = "reflect") -> None:
        if padding < 1:
            raise ConfigError(f"`padding` should be at least 1. Found {padding}.")
        self.padding = padding
        self.mode = mode

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each moved by its own offset."""
        return Features(self._cropped(features.values, 0, generator))

    def moved(self, maps: Maps, generator: Generator) -> Tensor:
        """With the same offsets; beside a picture there are no labels, and mirrored ones beside a
        mirrored picture."""
        if maps.vectors and self.mode == "reflect":
            raise ConfigError(
                "A crop can't mirror a picture's border where its pixels have directions: set "
                "'mode: zero'."
            )
        values = maps.values if maps.values.ndim == 4 else maps.values.unsqueeze(1)
        return self._cropped(values, maps.blank, generator).view(maps.values.shape)

    def _cropped(self, pictures: Tensor, outside: float, generator: Generator) -> Tensor:
        count, _, height, width = pictures.shape
        offsets = torch.randint(0, 2 * self.padding + 1, (2, count), generator=generator).tolist()
        padded = self._pad(pictures.numpy(), outside)
        result = np.empty(pictures.shape, dtype=padded.dtype)
        for k, (y, x) in enumerate(zip(*offsets, strict=True)):
            result[k] = padded[k, :, y : y + height, x : x + width]
        return torch.from_numpy(result)

    def _pad(self, pictures: NDArray[Any], outside: float) -> NDArray[Any]:
        p = self.padding
        count, channels, height, width = pictures.shape
        if self.mode == "reflect" and p >= min(height, width):
            raise ConfigError(
                f"`padding` should be less than the pictures' size to mirror them. Found {p} for "
                f"{height} x {width} pixels."
            )
        shape = (count, channels, height + 2 * p, width + 2 * p)
        padded = np.full(shape, outside, pictures.dtype)
        padded[:, :, p:-p, p:-p] = pictures
        if self.mode == "reflect":
            padded[:, :, :p, p:-p] = pictures[:, :, p:0:-1]
            padded[:, :, -p:, p:-p] = pictures[:, :, -2 : -p - 2 : -1]
            padded[:, :, :, :p] = padded[:, :, :, 2 * p : p : -1]
            padded[:, :, :, -p:] = padded[:, :, :, -p - 2 : -2 * p - 2 : -1]
        return padded


class HorizontalFlip(Transform):
    """Mirrors pictures left to right.

    Args:
        p: The probability for each picture.
    """

    moves_pixels = True

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, some of them mirrored."""
        chosen = torch.rand(len(features.values), generator=generator) < self.p
        result = features.values.clone()
        result[chosen] = features.values[chosen].flip(-1)
        return Features(result)

    def moved(self, maps: Maps, generator: Generator) -> Tensor:
        """The same ones mirrored; what points to the right then points to the left."""
        chosen = torch.rand(len(maps.values), generator=generator) < self.p
        result = maps.values.clone()
        result[chosen] = maps.values[chosen].flip(-1)
        if maps.vectors:
            result[chosen, 0] = -result[chosen, 0]
        return result


class Cutout(Transform):
    """Blackens a square at a random place (DeVries and Taylor 2017).

    Args:
        size: The square's side in pixels; at the border only a part of it lies in the picture.
    """

    def __init__(self, *, size: int = 8) -> None:
        if size < 1:
            raise ConfigError(f"`size` should be at least 1 pixel. Found {size}.")
        self.size = size

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each with its own square."""
        count, _, height, width = features.values.shape
        ys = torch.randint(0, height, (count,), generator=generator) - self.size // 2
        xs = torch.randint(0, width, (count,), generator=generator) - self.size // 2
        result = features.values.clone()
        pixels = result.numpy()
        for k, (y, x) in enumerate(zip(ys.tolist(), xs.tolist(), strict=True)):
            pixels[k, :, max(y, 0) : y + self.size, max(x, 0) : x + self.size] = 0
        return Features(result)


class Brightness(Transform):
    """Multiplies a picture's values by a random factor.

    Args:
        amount: Factors lie in `1 - amount` to `1 + amount`.
    """

    def __init__(self, *, amount: float = 0.2) -> None:
        if not 0 <= amount <= 1:
            raise ConfigError(f"`amount` should be in 0..1. Found {amount}.")
        self.amount = amount

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]`, each with its own factor."""
        draw = torch.rand(len(features.values), generator=generator) * 2 - 1
        factors = (256 * (1 + self.amount * draw)).round().to(torch.int32)
        scaled = features.values.int() * factors.view(-1, 1, 1, 1)
        return Features((scaled >> 8).clamp_(max=255).to(torch.uint8))


class Shrink(Transform):
    """Makes pictures smaller in the first epochs, which costs less; later ones see them whole.

    Networks that pool their last map take any size. Small pictures first and large ones last is
    as good as large ones throughout, for half of the time (as in the DAWNBench records of 2018;
    Touvron et al. 2019, arXiv 1906.06423, on why the last epochs should have the size of the
    test).

    Args:
        size: Height and width in pixels; one number for squares.
        epochs: How many epochs it lasts, from the first.
    """

    moves_pixels = True

    def __init__(self, *, size: int | tuple[int, int] = 24, epochs: int = 1) -> None:
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1 or epochs < 0:
            raise ConfigError(
                f"`size` should be at least 1 pixel, `epochs` at least 0. Found {size}, {epochs}."
            )
        self.epochs = epochs

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Pictures `[B, C, H, W]` of uint8, scaled with an antialiasing filter."""
        return Features(F.interpolate(features.values, self.size, mode="bilinear", antialias=True))

    def moved(self, maps: Maps, generator: Generator) -> Tensor:
        """Scaled, too: each pixel takes the nearest label."""
        rows, columns = (
            ((torch.arange(new) + 0.5) * old / new).long()
            for new, old in zip(self.size, maps.values.shape[-2:], strict=True)
        )
        return maps.values[..., rows[:, None], columns]

    def applies(self, epoch: int) -> bool:
        """In the first `epochs`."""
        return epoch < self.epochs


def probability(value: float) -> float:
    """The value, if it is one.

    Raises:
        ConfigError: If it is not in 0..1.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"A share or probability should be in 0..1. Found {value}.")
    return value
