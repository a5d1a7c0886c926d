"""A picture as the target: the input itself, or another column.

Shapes: B examples, C channels, H x W pixels of a target, h x w of the features.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from polytask.tasks.base import Picture
from polytask.tasks.dense import DenseTask, mean_of_pixels
from polytask.tasks.labels import Cells
from polytask.tasks.stored import Stored

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Reconstruction(DenseTask):
    """A picture, such as the input itself (an autoencoder) or one part of a mixture.

    The target is a column of pictures, read like those of the input: same size, same channels.
    What an augmentation moves in the input it moves in the target; what changes colours, blackens
    or adds noise changes the input alone, so that the picture is learned without it. The loss is
    on values from 0 to 1; predictions and scores are on the pictures' own scale, 0 to 255.

    Attributes:
        criterion: `mse` or `l1`.
        shape: Channels, height and width of the pictures.
    """

    criterion: Literal["mse", "l1"] = "mse"
    shape: tuple[int, ...] = ()

    media: ClassVar[Literal["image", "map"] | None] = "image"
    dtype: ClassVar[type[np.generic]] = np.int16
    blank: ClassVar[float] = -1

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.shape

    def read(self, array: NDArray[Any]) -> Stored:
        return array.astype(np.int16)

    def known(self, target: Tensor) -> Tensor:
        return target[:, 0] >= 0

    def fit(self, values: Cells) -> Self:
        fitted = super().fit(values)
        first = next(cell for cell in values[:, 0] if isinstance(cell, np.ndarray))
        return replace(fitted, shape=tuple(first.shape))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = self.scaled(output, target.shape[2:])
        wanted = target.to(found.dtype) / 255
        if self.criterion == "mse":
            loss = F.mse_loss(found, wanted, reduction="none")
        else:
            loss = F.l1_loss(found, wanted, reduction="none")
        return mean_of_pixels(loss.mean(1), self.known(target))

    def decode(self, output: Tensor) -> Tensor:
        """The picture, `[B, C, H, W]` from 0 to 255."""
        return (self.scaled(output.float()) * 255).clamp(0, 255)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.dense_metrics import picture_metrics

        return picture_metrics(self.blank)

    @property
    def score(self) -> str:
        return "r2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The mean brightness of each picture."""
        return [{f"{self.name}.brightness": float(picture.mean())} for picture in decoded]

    def pictures(self, decoded: Tensor) -> list[Picture]:
        """The pictures themselves."""
        shades = decoded.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [Picture(p[:, :, 0] if p.shape[2] == 1 else p) for p in shades]

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "shape": list(self.shape)}
