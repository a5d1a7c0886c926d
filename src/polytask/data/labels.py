"""Raw label cells to targets, with messages that name the row.

Letters: N rows, K target columns.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.words import is_list
from polytask.errors import DataError, require
from polytask.tasks.base import Task
from polytask.tasks.labels import LabelError, UnknownLabel, composed, label_text
from polytask.tasks.sequences import PADDING
from polytask.tasks.texts import TextTask


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
        raise DataError(f"{describe(error.row)}, {_columns(task)}: {error}") from error


def composed_cells(task: Task, cells: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Cells of class labels with letters as words have them (NFC), and how many were others.

    So one label is one class, whatever program saved it. Names that a task has already stay what
    they are, those of a run from before among them.
    """
    if not hasattr(task, "classes") or task.media is not None or isinstance(task, TextTask):
        return cells, 0
    classes: Sequence[str] = task.classes
    names = {composed(name): name for name in classes}
    plain = all(name == key for key, name in names.items())
    known = set(classes)
    found, changed = cells.copy(), 0
    for column, some in enumerate(cells.T.tolist()):
        # Most cells are plain: numbers, blanks, ASCII.
        odd = [r for r, c in enumerate(some) if _odd(c) or is_list(c)]
        for row in odd:
            several = is_list(some[row])
            parts = list(some[row]) if several else [some[row]]
            strange = [k for k, part in enumerate(parts) if _odd(part) and part not in known]
            for k in strange:
                key = composed(parts[k])
                changed += key != parts[k]
                # A text of several names is none of those that a task has in another form.
                parts[k] = names.get(key, key if plain else parts[k])
            if strange:
                found[row, column] = parts if several else parts[0]
    return found, changed


def _odd(part: object) -> bool:
    """Whether a label has letters that Unicode may write in two ways."""
    return isinstance(part, str) and not part.isascii()


def encode_cells(
    task: Task,
    cells: NDArray[Any],
    *,
    unknown: Literal["error", "skip"],
    trained: NDArray[np.bool_] | None = None,
    describe: Callable[[int], str],
) -> tuple[Tensor, Tensor, dict[str, int]]:
    """Targets `[N, ...]`, presence `[N]`, and the labels that were left out as unknown.

    A column of repeated labels (but no lists) is encoded once per different label.

    Args:
        task: The task.
        cells: `[N, K]`, None where blank.
        unknown: Whether a label that is no class is an error, or left out.
        trained: `[N]`, which rows are training rows; None if that is not known.
        describe: Names a row.

    Raises:
        DataError: If a cell cannot be read; the message names its row and column.
    """
    unique, inverse = _distinct(cells)
    try:
        target, present = task.encode(unique, unknown=unknown)
    except LabelError as error:
        row = int(np.flatnonzero(inverse == error.row)[0])
        said = str(error)
        if isinstance(error, UnknownLabel) and trained is not None:
            said = said if _has_all(task, cells[trained]) else error.unlisted
        raise DataError(f"{describe(row)}, {_columns(task)}: {said}") from error
    index = torch.from_numpy(inverse)
    strangers = task.unknown_labels(cells)
    if strangers is not None:
        return target[index], present[index], dict(strangers)
    one = [[_says_any(cell) for cell in column] for column in cells.T.tolist()]
    given = torch.tensor(one, dtype=torch.bool).reshape(cells.T.shape).any(0)
    present = present[index]
    rows = torch.nonzero(given & ~present)[:, 0].tolist()
    missed = Counter(", ".join(label_text(c) for c in cells[r] if c is not None) for r in rows)
    return target[index], present, dict(missed)


def _has_all(task: Task, cells: NDArray[Any]) -> bool:
    """Whether a task has all labels of some cells; if not of training rows', it was given some."""
    try:
        task.encode(cells, unknown="error")
    except UnknownLabel:
        return False
    except LabelError:  # what comes first is wrong otherwise
        return True
    return True


def require_token_labels(
    task: Task,
    target: Tensor,
    present: Tensor,
    tokens: NDArray[np.int64] | None,
    describe: Callable[[int], str],
) -> None:
    """Makes sure that a row has a label for each token, where labels are of tokens.

    Args:
        task: The task.
        target: `[N, L]` as encoded.
        present: `[N]`.
        tokens: `[N]`, how many tokens its input has; None where that is not known yet.
        describe: Names a row.

    Raises:
        DataError: For the first row with another number of labels.
    """
    labels = task.lengths(target)
    if labels is None or tokens is None:
        return
    wrong = (labels.numpy() != tokens) & present.numpy()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{describe(row)}, {_columns(task)}: task '{task.name}' needs one label per token. "
            f"Found {int(labels[row])} labels for {int(tokens[row])} tokens of input "
            f"'{task.input}'. A token of which the label is unknown has None or '' in its place."
        )


def cut_token_labels(task: Task, target: Tensor, kept: NDArray[np.int64]) -> Tensor:
    """Targets without the labels of tokens that were cut off an input, where labels are of tokens.

    Args:
        task: The task.
        target: `[N, L]` as encoded.
        kept: `[N]`, how many tokens are left of each row.
    """
    if task.lengths(target) is None:
        return target
    gone = torch.arange(target.shape[1]) >= torch.from_numpy(kept)[:, None]
    return target.masked_fill(gone, PADDING)


def _says_any(cell: object) -> bool:
    """Whether a cell holds anything: a list of nothing but blanks, one per token, does not."""
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = tuple(cell)
    if isinstance(cell, (list, tuple)) and cell:
        return any(part is not None for part in cell)
    return cell is not None


def _columns(task: Task) -> str:
    named = [f"'{column}'" for column in columns_of(task)]
    return f"column{'s' if len(named) > 1 else ''} {', '.join(named)}"


def _distinct(cells: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Different rows of `[N, 1]` cells and where each is among them; lists stay as they are."""
    lists = (list, tuple, dict, set, np.ndarray)
    if cells.shape[1] != 1 or len(cells) == 0 or any(isinstance(c, lists) for c in cells[:, 0]):
        return cells, np.arange(len(cells), dtype=np.int64)
    pandas = require("pandas", "train")
    codes, unique = pandas.factorize(cells[:, 0], use_na_sentinel=False)
    distinct = np.empty((len(unique), 1), dtype=object)
    distinct[:, 0] = [None if pandas.isna(u) else u for u in unique]
    return distinct, codes.astype(np.int64)
