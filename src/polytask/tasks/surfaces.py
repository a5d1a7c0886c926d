"""Numbers for every pixel: depths and the directions of surfaces.

Shapes: B examples, H x W pixels of a target, h x w of the features.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import Picture, masked
from polytask.tasks.dense import DenseTask, mean_of_pixels, number_map
from polytask.tasks.labels import Cells
from polytask.tasks.stored import Stored

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class DenseRegression(DenseTask):
    """A number for every pixel, such as its depth; learned on a standard scale.

    Predictions and metrics are in the target's units. A NaN or an infinity is a pixel without a
    label.

    Attributes:
        criterion: `l1`, `mse`, or `huber` (quadratic up to one standard deviation, then linear).
        unknown: Another number that means that a pixel has no label, such as 0 in many depth maps.
        mean: Of the training rows' pixels.
        std: Of the training rows' pixels.
    """

    criterion: Literal["l1", "mse", "huber"] = "l1"
    unknown: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    dtype: ClassVar[type[np.generic]] = np.float32
    blank: ClassVar[float] = float("nan")

    @property
    def outputs(self) -> int:
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "unknown": self.unknown}

    def read(self, array: NDArray[Any]) -> Stored:
        found = number_map(array, 1)[0]
        nothing = ~np.isfinite(found)
        if self.unknown is not None:
            nothing |= found == np.float32(self.unknown)
        return np.where(nothing, np.float32("nan"), found)

    def known(self, target: Tensor) -> Tensor:
        return ~torch.isnan(target)

    def fit(self, values: Cells) -> Self:
        fitted = super().fit(values)
        some = self.sampled(values).double()
        some = some[~some.isnan()]
        if not len(some):
            raise DataError(f"Task '{self.name}' has no labelled pixel in any training row.")
        std = float(some.std(correction=0))
        constant = std <= torch.finfo(torch.float32).eps * float(some.abs().max())
        return replace(fitted, mean=(float(some.mean()),), std=(1.0 if constant else std,))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = self.scaled(output, target.shape[1:]).squeeze(1)
        value, known = masked((target - self.mean[0]) / self.std[0])
        if self.criterion == "l1":
            loss = F.l1_loss(found, value, reduction="none")
        elif self.criterion == "mse":
            loss = F.mse_loss(found, value, reduction="none")
        else:
            loss = F.huber_loss(found, value, reduction="none")
        return mean_of_pixels(loss, known)

    def decode(self, output: Tensor) -> Tensor:
        """The number of every pixel, `[B, H, W]`."""
        return self.scaled(output.float()).squeeze(1) * self.std[0] + self.mean[0]

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.dense_metrics import depth_metrics

        return depth_metrics()

    @property
    def score(self) -> str:
        return "r2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The least, mean and greatest number of each picture."""
        return [
            {
                f"{self.name}.min": float(numbers.min()),
                f"{self.name}.mean": float(numbers.mean()),
                f"{self.name}.max": float(numbers.max()),
            }
            for numbers in decoded
        ]

    def pictures(self, decoded: Tensor) -> list[Picture]:
        """From black, the least number of the picture, to white, the greatest, in 65,536 steps.

        A pixel's number is `min + pixel / 65535 * (max - min)`, with those of `describe`.
        """
        found = []
        for numbers in decoded.double().cpu():
            span = (numbers.max() - numbers.min()).clamp(min=1e-12)
            steps = ((numbers - numbers.min()) / span * 65535).round()
            found.append(Picture(steps.numpy().astype(np.uint16)))
        return found

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True, kw_only=True)
class Normals(DenseTask):
    """The direction of the surface at every pixel: unit vectors x (right), y, z.

    The loss is one minus the cosine of the angle. Where a picture is mirrored, x changes its sign.
    A vector that is zero or not finite is a pixel without a label. In pictures of bytes 0, 127.5
    and 255 stand for -1, 0 and 1; black is no label.
    """

    channels: ClassVar[tuple[int, ...]] = (3,)
    dtype: ClassVar[type[np.generic]] = np.float32
    blank: ClassVar[float] = float("nan")
    vectors: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        return 3

    def read(self, array: NDArray[Any]) -> Stored:
        found = number_map(array, 3)
        if array.dtype == np.uint8:
            black = (found == 0).all(0)
            found = np.where(black, 0.0, found / 127.5 - 1.0)
        length = np.sqrt((found**2).sum(0))
        known = np.isfinite(length) & (length > 1e-6)
        unit = found / np.where(known, length, 1.0)
        return np.where(known, unit, np.nan).astype(np.float32)

    def known(self, target: Tensor) -> Tensor:
        return ~torch.isnan(target).any(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        found = F.normalize(self.scaled(output, target.shape[2:]), dim=1)
        value, known = masked(target)
        return mean_of_pixels(1.0 - (found * value).sum(1), known.all(1))

    def decode(self, output: Tensor) -> Tensor:
        """The unit vector of every pixel, `[B, 3, H, W]`."""
        return F.normalize(self.scaled(output.float()), dim=1)

    def unmirrored(self, output: Tensor) -> Tensor:
        return mirrored_vectors(output)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.dense_metrics import normal_metrics

        return normal_metrics()

    @property
    def score(self) -> str:
        return "within_30"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The mean direction of each picture."""
        return [
            {f"{self.name}.{k}": float(v) for k, v in zip("xyz", d.mean((1, 2)), strict=True)}
            for d in decoded
        ]

    def pictures(self, decoded: Tensor) -> list[Picture]:
        """Red, green and blue for x, y and z, from -1 to 1."""
        shades = ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return [Picture(p) for p in shades.permute(0, 2, 3, 1).cpu().numpy()]


def mirrored_vectors(vectors: Tensor) -> Tensor:
    """Vectors `[B, 3, H, W]` of mirrored pictures: at the mirrored place, with the other x."""
    sign = torch.tensor([-1.0, 1.0, 1.0], device=vectors.device, dtype=vectors.dtype)
    return vectors.flip(-1) * sign.view(1, 3, 1, 1)
