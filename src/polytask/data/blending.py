"""Examples blended from two, with the labels of both.

Letters: B examples, H x W pixels.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Generator, Tensor

from polytask.data.transforms import probability
from polytask.errors import ConfigError
from polytask.types import Features


class Blending(ABC):
    """Puts a second example into each example of a batch.

    The loss of a blended example is the share's part of the loss on its own label and the rest of
    the loss on the other's, for every task that reads the input.

    Args:
        alpha: Both parameters of the Beta distribution that shares are drawn from: 1 draws all
            alike, less draws more of those near 0 and 1.
        p: The probability for each example; others stay as they are.
    """

    def __init__(self, *, alpha: float, p: float = 1.0) -> None:
        if alpha <= 0:
            raise ConfigError(f"`alpha` should be above 0. Found {alpha}.")
        self.alpha, self.p = alpha, probability(p)

    def __call__(self, features: Features, generator: Generator) -> tuple[Features, Tensor, Tensor]:
        """Blends a batch.

        Returns:
            The blended batch, whose other example each has (`[B]`, places in the batch), and how
            much of each is its own, `[B]` in 0..1.
        """
        count = len(features.values)
        order = torch.randperm(count, generator=generator)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        rng = np.random.default_rng(seed)  # torch draws no Beta from a generator of one's own
        share = torch.from_numpy(rng.beta(self.alpha, self.alpha, count).astype(np.float32))
        stays = torch.rand(count, generator=generator) >= self.p
        share = torch.where(stays, 1.0, share)
        blended, share = self._blended(features, order, share, generator)
        return blended, order, share

    @abstractmethod
    def _blended(
        self, features: Features, order: Tensor, share: Tensor, generator: Generator
    ) -> tuple[Features, Tensor]:
        """The blended batch, and the shares as they came out."""


class MixUp(Blending):
    """Adds two examples, weighted (Zhang et al. 2018, arXiv 1710.09412).

    Unlike in the authors' code, every example draws its own weight.

    Args:
        alpha: Both parameters of the Beta distribution of the weights.
        p: The probability for each example.
    """

    def __init__(self, *, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(alpha=alpha, p=p)

    def _blended(
        self, features: Features, order: Tensor, share: Tensor, generator: Generator
    ) -> tuple[Features, Tensor]:
        values = features.values
        weight = share.view(-1, *[1] * (values.ndim - 1))
        sums = torch.lerp(values[order].float(), values.float(), weight)
        if not values.is_floating_point():
            sums = sums.round().to(values.dtype)
        mask = features.mask
        if mask is not None:
            other = mask[order] & (share < 1).unsqueeze(1)
            mask = mask | other
        return Features(sums, mask), share


class CutMix(Blending):
    """Puts a box of another picture in its place (Yun et al. 2019, arXiv 1905.04899).

    The box has the picture's proportions and a random middle; what lies beyond the border is cut
    off, and the share is that of the pixels that are left. Unlike in the authors' code, every
    picture draws its own box.

    Args:
        alpha: Both parameters of the Beta distribution of the shares.
        p: The probability for each picture.
    """

    def __init__(self, *, alpha: float = 1.0, p: float = 1.0) -> None:
        super().__init__(alpha=alpha, p=p)

    def _blended(
        self, features: Features, order: Tensor, share: Tensor, generator: Generator
    ) -> tuple[Features, Tensor]:
        values = features.values
        size = torch.tensor(values.shape[2:])
        middle = torch.rand(2, len(values), generator=generator)
        side = (1 - share).sqrt()
        inside = []
        for dim, pixels in enumerate(size.tolist()):
            centre, half = (middle[dim] * pixels).floor(), (side * pixels / 2).floor()
            low, high = (centre - half).clamp(min=0), (centre + half).clamp(max=pixels)
            place = torch.arange(pixels)
            inside.append((place >= low.unsqueeze(1)) & (place < high.unsqueeze(1)))
        box = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)  # [B, H, W]
        blended = torch.where(box.unsqueeze(1), values[order], values)
        return Features(blended), 1 - box.float().mean((1, 2))
