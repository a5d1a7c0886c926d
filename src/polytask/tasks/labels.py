"""Labels as people write them: cells read as names, numbers and classes, or refused by name.

Shapes: N rows, K columns of a target.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.errors import DataError, nearest

if TYPE_CHECKING:
    from polytask.tasks.base import Task

Cells = NDArray[np.object_]
Unknown = Literal["error", "skip"]

TRUE = frozenset({"true", "yes", "y", "t", "1"})
FALSE = frozenset({"false", "no", "n", "f", "0"})


class LabelError(DataError):
    """A label that the task cannot read, with the offset of its row."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class UnknownLabel(LabelError):
    """A label that is no class of a task.

    Attributes:
        unlisted: What to say if a training row has it, so that `classes` was given without it.
    """

    def __init__(self, row: int, task: "Task", name: str, classes: tuple[str, ...]) -> None:
        key, near = f"'tasks.{task.name}.classes'", nearest(name, classes)
        super().__init__(
            row,
            f"Task '{task.name}' met the label '{name}', which no training row has. {near} Correct "
            f"the label, list all labels under {key}, or set 'unknown_labels: skip' to leave such "
            f"labels out.{_measured(name)}",
        )
        self.unlisted = (
            f"Task '{task.name}' met the label '{name}', which {key} does not list. {near} Correct "
            "the label, add it to the list, or set 'unknown_labels: skip' to leave such labels out."
        )


def _measured(name: str) -> str:
    """What to do about a label that seems to be a measured number; empty if it does not."""
    fraction = spells_a_number(name) and math.isfinite(float(name)) and float(name) % 1 != 0
    return " If these are numbers that were measured: 'kind: regression'." if fraction else ""


def require_labels(task: "Task", values: Cells) -> NDArray[np.bool_]:
    """Which rows have any label, `[N]`; a task without a single one is an error."""
    labelled = np.zeros(len(values), dtype=np.bool_)
    for cells in values.T:
        labelled |= np.array([not is_missing(cell) for cell in cells], dtype=np.bool_)
    if not labelled.any():
        raise DataError(
            f"Task '{task.name}' has no label in any training row (column "
            f"{', '.join(columns(task))}). Fill in labels, name another column under "
            f"'tasks.{task.name}.target', or remove the task."
        )
    return labelled


def is_missing(cell: object) -> bool:
    """Whether a cell holds no label: None, or a NaN."""
    return cell is None or (isinstance(cell, (float, np.floating)) and cell != cell)


def columns(task: "Task") -> list[str]:
    """The task's target columns as `source.column`."""
    return [
        f"{source}.{column}"
        for source, named in task.target.items()
        for column in ((named,) if isinstance(named, str) else named)
    ]


def label_text(cell: object) -> str:
    """The name of a label: `3` for 3, 3.0 and '3', so that a blank in a column changes no name."""
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def label_counts(cells: Iterable[Hashable]) -> Counter[str]:
    """How often each label is in cells, under its composed name."""
    counts: Counter[str] = Counter()
    # By type too: 1 and true are two labels, and equal.
    for (_, cell), count in Counter((type(cell), cell) for cell in cells).items():
        counts[composed(label_text(cell))] += count
    return counts


def composed(text: str) -> str:
    """A text with each letter and its sign as one where Unicode has them so (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def label_name(task: "Task", cell: object, row: int) -> str:
    """The name of a cell's one label.

    Raises:
        LabelError: If the cell holds several values.
    """
    if isinstance(cell, (list, tuple, set, dict, np.ndarray)):
        raise LabelError(
            row,
            f"Task '{task.name}' ({type(task).__name__.lower()}) has one label for an example. "
            f"Found {type(cell).__name__} {str(cell)[:60]}. Write single labels, or use "
            "'kind: multilabel' for several and 'kind: tagging' for one per word.",
        )
    return label_text(cell)


def label_names(task: "Task", values: Cells) -> list[str]:
    """The names of the labels that there are in `[N, 1]` cells; see `label_name`."""
    cells = enumerate(values[:, 0])
    return [label_name(task, cell, row) for row, cell in cells if not is_missing(cell)]


def as_number(task: "Task", cell: object, row: int) -> float:
    """A cell as a float; text, and what float32 cannot hold, is an error that names the cell."""
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if abs(number) > torch.finfo(torch.float32).max:
        raise LabelError(
            row,
            f"Task '{task.name}' ({type(task).__name__.lower()}) needs finite numbers. "
            f"Found {cell!r}. Correct the cell, leave it blank if it is unknown, or make the task "
            "a classification.",
        )
    return number


def spells_a_number(text: str) -> bool:
    """Whether a text can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def sort_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Label names in an order that people expect: numbers by value, then text."""

    def key(name: str) -> tuple[int, float, str]:
        return (0, float(name), name) if spells_a_number(name) else (1, 0.0, name)

    return tuple(sorted(set(names), key=key))


def truth_names(names: Sequence[str]) -> tuple[str, str] | None:
    """Negative and positive name, if the labels found can only be read as no and yes.

    A name that was not found is filled in, in the style of the other (`no` beside `yes`). Two
    spellings of one side (`n` and `f`, or `yes` and `y`) without the other side are not readable.
    """
    lowered = {name.lower(): name for name in names}
    negative = [lowered[name] for name in lowered if name in FALSE]
    positive = [lowered[name] for name in lowered if name in TRUE]
    if len(negative) + len(positive) < len(lowered):
        return None
    if negative and positive:
        return negative[0], positive[0]
    if len(lowered) != 1:
        return None
    (found,) = lowered
    for pair in (("0", "1"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t")):
        if found in pair:
            no, yes = pair
            return (lowered[found], yes) if found == no else (no, lowered[found])
    raise AssertionError(found)


def require_classes(task: "Task", classes: tuple[str, ...]) -> None:
    """Make sure that there are at least two classes, and none twice.

    Raises:
        DataError: If there are not.
    """
    twice = next((name for name in classes if classes.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"'tasks.{task.name}.classes' lists '{twice}' twice. Found {', '.join(classes)}. "
            "Remove one, or correct it."
        )
    if len(classes) < 2:
        raise DataError(
            f"Task '{task.name}' needs at least two different classes. Found "
            f"{', '.join(classes)}. Remove the task, or list all labels under "
            f"'tasks.{task.name}.classes'."
        )


def encode_classes(
    task: "Task", classes: tuple[str, ...], values: Cells, unknown: Unknown
) -> tuple[Tensor, Tensor]:
    """One label per row as its class's number, `[N]` int64, and where there is one, `[N]` bool.

    Raises:
        LabelError: For the first label that is no class, unless those are skipped.
    """
    index = {name: i for i, name in enumerate(classes)}
    target = torch.zeros(len(values), dtype=torch.int64)
    present = torch.zeros(len(values), dtype=torch.bool)
    for row, cell in enumerate(values[:, 0]):
        if is_missing(cell):
            continue
        name = label_name(task, cell, row)
        if name in index:
            target[row], present[row] = index[name], True
        elif unknown == "error":
            raise UnknownLabel(row, task, name, classes)
    return target, present
