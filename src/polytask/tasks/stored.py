"""Tasks whose targets are arrays: pictures and sounds, decoded once into the cache.

Shapes: N rows.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.tasks.base import Task
from polytask.tasks.labels import Cells, Unknown

Stored = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class StoredTask(Task):
    """A task whose target is an array of one shape for each row."""

    # The type of a target, and what stands in it where there is no label.
    dtype: ClassVar[type[np.generic]]
    blank: ClassVar[float]

    @property
    @abstractmethod
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of one target, once the task is fitted."""

    @property
    def settings(self) -> dict[str, Any]:
        """What stored targets depend on, besides what `TargetMedia` adds."""
        return {"task": type(self).__name__}

    @abstractmethod
    def known(self, target: Tensor) -> Tensor:
        """Where stored targets `[N, ...]` have a label, bool; one entry per pixel or frame."""

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        target = np.full((len(values), *self.stored_shape), self.blank, self.dtype)
        for row, cell in enumerate(values[:, 0]):
            if isinstance(cell, np.ndarray):
                target[row] = cell
        found = torch.from_numpy(target)
        return found, self.known(found).flatten(1).any(1)

    def sampled(self, values: Cells, most: int = 500) -> Tensor:
        """Up to `most` of the labelled training targets, evenly spaced, `[n, ...]`."""
        rows = np.flatnonzero([isinstance(cell, np.ndarray) for cell in values[:, 0]])
        some = rows[:: -(-len(rows) // most)]
        return torch.from_numpy(np.stack([values[row, 0] for row in some]))
