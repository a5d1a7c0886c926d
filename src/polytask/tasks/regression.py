"""One or many numbers.

Shapes: B examples, K outputs.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import (
    Cells,
    PooledTask,
    Unknown,
    as_number,
    columns,
    is_missing,
    masked,
    mean_of_known,
    require_labels,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Regression(PooledTask):
    """K numbers, learned on a standard scale and judged in their own units.

    Single cells may be missing: an example counts with the outputs that are known.

    Attributes:
        criterion: `mse`, `l1`, or `huber` (quadratic up to `delta`, then linear).
        delta: Where Huber's loss turns linear, in standard deviations if `standardize`.
        standardize: Whether the loss sees targets with the training rows' mean removed, divided by
            their standard deviation. Predictions and metrics are always in the target's units.
    """

    criterion: Literal["mse", "l1", "huber"] = "mse"
    delta: float = 1.0
    standardize: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        return len(self.mean)

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        target, _ = self.encode(values)
        value, known = masked(target.double())
        for column, count in enumerate(known.sum(0).tolist()):
            if count == 0:
                raise DataError(
                    f"Task '{self.name}' has no number in training rows for output "
                    f"{column + 1} of {known.shape[1]} (columns: {', '.join(columns(self))})."
                )
        mean = value.sum(0) / known.sum(0)
        spread = ((value - mean).square() * known).sum(0) / known.sum(0)
        std = spread.sqrt()
        if not self.standardize:
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        # What differs by less than float32 resolves is constant: it is learned by its mean.
        constant = std <= torch.finfo(torch.float32).eps * value.abs().amax(0)
        std = torch.where(constant, 1.0, std)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        target = torch.full(values.shape, float("nan"))
        for row, cells in enumerate(values):
            for column, cell in enumerate(cells):
                if not is_missing(cell):
                    target[row, column] = as_number(self, cell, row)
        return target, ~torch.isnan(target).all(1)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each `[K]`, on the device of `like`."""
        make = {"dtype": torch.float32, "device": like.device}
        return torch.tensor(self.mean, **make), torch.tensor(self.std, **make)  # type: ignore[arg-type]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        mean, std = self._scale(output)
        value, known = masked((target - mean) / std)
        if self.criterion == "mse":
            loss = F.mse_loss(output, value, reduction="none")
        elif self.criterion == "l1":
            loss = F.l1_loss(output, value, reduction="none")
        else:
            loss = F.huber_loss(output, value, reduction="none", delta=self.delta)
        return mean_of_known(loss, known)

    def decode(self, output: Tensor) -> Tensor:
        mean, std = self._scale(output)
        return output.float() * std + mean

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.metrics import regression_metrics

        return regression_metrics(self.outputs)

    @property
    def score(self) -> str:
        return "r2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        if self.outputs == 1:
            return [{self.name: row[0]} for row in decoded.tolist()]
        named = next(iter(self.target.values()))
        names = [f"{self.name}.{column}" for column in named]
        return [dict(zip(names, row, strict=True)) for row in decoded.tolist()]

    def facts(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}
