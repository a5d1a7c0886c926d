"""Raw label cells to targets, with messages that name the row.

Letters: N rows, K target columns.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.errors import DataError, require
from polytask.tasks.base import LabelError, Task


def columns_of(task: Task, source: str | None = None) -> list[str]:
    """The task's target columns in a source, or in the first one that has any."""
    named = task.target.get(source, ()) if source else next(iter(task.target.values()), ())
    return [named] if isinstance(named, str) else list(named)


def fit_task(task: Task, cells: NDArray[Any], describe: Callable[[int], str]) -> Task:
    """Fits a task on `[N, K]` training cells.

    Raises:
        DataError: If no row has a label, or a cell cannot be read; `describe` names its row.
    """
    try:
        return task.fit(cells)
    except LabelError as error:
        raise DataError(f"{describe(error.row)}: {error}") from error


def encode_cells(
    task: Task,
    cells: NDArray[Any],
    *,
    unknown: Literal["error", "skip"],
    describe: Callable[[int], str],
) -> tuple[Tensor, Tensor, int]:
    """Targets `[N, ...]`, presence `[N]`, and how many labels were left out as unknown.

    A column of repeated labels is encoded once per different label.

    Raises:
        DataError: If a cell cannot be read; the message names its row and column.
    """
    unique, inverse = _distinct(cells)
    try:
        target, present = task.encode(unique, unknown=unknown)
    except LabelError as error:
        row = int(np.flatnonzero(inverse == error.row)[0])
        columns = ", ".join(f"'{c}'" for c in columns_of(task))
        raise DataError(f"{describe(row)}, column {columns}: {error}") from error
    index = torch.from_numpy(inverse)
    given = torch.from_numpy((cells != np.array(None)).any(axis=1))
    present = present[index]
    return target[index], present, int((given & ~present).sum())


def _distinct(cells: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Different rows of `[N, 1]` cells and where each row is among them; N > 1 stays as it is."""
    if cells.shape[1] != 1 or len(cells) == 0:
        return cells, np.arange(len(cells), dtype=np.int64)
    pandas = require("pandas", "train")
    codes, unique = pandas.factorize(cells[:, 0], use_na_sentinel=False)
    distinct = np.empty((len(unique), 1), dtype=object)
    distinct[:, 0] = [None if pandas.isna(u) else u for u in unique]
    return distinct, codes.astype(np.int64)
