"""What tasks whose targets are numbers have in common: reading and scaling them.

Shapes: B examples, K outputs.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import PooledTask, masked
from polytask.tasks.labels import Cells, Unknown, as_number, columns, is_missing, require_labels

# Cells that become numbers all at once.
_PLAIN = (int, float, type(None))


@dataclass(frozen=True, kw_only=True)
class Numeric(PooledTask):
    """K numbers. Single cells may be missing: an example counts with those that are known.

    Attributes:
        standardize: Whether the loss sees targets with the training rows' mean removed, divided by
            their standard deviation. Predictions and metrics are always in the target's units.
    """

    standardize: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

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
        if values.size and all(isinstance(cell, _PLAIN) for cell in values.ravel().tolist()):
            plain = values.astype(np.float64)  # None becomes NaN
            if np.nanmax(np.abs(plain), initial=0.0) <= torch.finfo(torch.float32).max:
                found = torch.from_numpy(plain).float()
                return found, ~torch.isnan(found).all(1)
        target = torch.full(values.shape, float("nan"))
        for row, cells in enumerate(values):
            for column, cell in enumerate(cells):
                if not is_missing(cell):
                    target[row, column] = as_number(self, cell, row)
        return target, ~torch.isnan(target).all(1)

    def scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each `[K]`, on the device of `like`."""
        make = {"dtype": torch.float32, "device": like.device}
        return torch.tensor(self.mean, **make), torch.tensor(self.std, **make)  # type: ignore[arg-type]

    def scaled(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Targets as the loss sees them, zero where unknown, and where they are known."""
        mean, std = self.scale(target)
        return masked((target - mean) / std)

    @property
    def output_names(self) -> list[str]:
        """What each of the K numbers is called in predictions."""
        if len(self.mean) == 1:
            return [self.name]
        return [f"{self.name}.{column}" for column in next(iter(self.target.values()))]

    def facts(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}
