"""Columns of a table to predict that are unlike those of training, which a network would not tell.

Letters: N rows.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data import columns as kinds
from polytask.data.sources import Table
from polytask.data.tabular import TableInput
from polytask.tasks.labels import composed, label_text

FAR = 20.0  # Standard deviations of training rows.


def tell_unlike(read: TableInput, table: Table, named: Sequence[str]) -> None:
    """Warn of each; see `unlike_training`."""
    for note in unlike_training(read, table, named):
        warnings.warn(f"{table.name}: {note}.", stacklevel=2)


def unlike_training(read: TableInput, table: Table, named: Sequence[str]) -> Iterator[str]:
    """A sentence for each column none of whose cells says anything that training rows said.

    Such as another coding of categories, another unit, or a column that is blank as a whole. One
    strange cell among others is the network's business.

    Args:
        read: What reads the table, fitted.
        table: The table.
        named: Its columns, in the order of those of training.
    """
    for name, spec in zip(named, read.state["columns"], strict=True):
        cells = table.cells([name])[:, 0]
        known = np.array([c for c in cells.tolist() if c is not None], dtype=object)
        if not len(cells):
            continue
        if not len(known):
            yield f"column '{name}' is blank in all rows, as if nothing were known of it"
        elif spec["kind"] == "category":
            yield from _of_categories(name, known, spec)
        elif spec["kind"] == "number":
            yield from _of_numbers(name, known, spec)


def _of_categories(name: str, known: NDArray[Any], spec: Mapping[str, Any]) -> Iterator[str]:
    values = {composed(value) for value in spec["values"]}
    found = dict.fromkeys(composed(label_text(cell)) for cell in known)
    if values.isdisjoint(found):
        here, there = (", ".join(map(repr, list(some)[:3])) for some in (found, spec["values"]))
        yield (
            f"column '{name}' has none of the categories of training rows ({there}), and says "
            f"nothing to the network. Found {here}"
        )


def _of_numbers(name: str, known: NDArray[Any], spec: Mapping[str, Any]) -> Iterator[str]:
    numbers = kinds.as_floats(name, known, str)  # They were read before, with their rows' names.
    away = np.abs(numbers - spec["mean"]) / spec["std"]
    if bool((away > FAR).all()):
        yield (
            f"column '{name}' is far from what training rows had ({spec['mean']:.4g} on average, "
            f"with a standard deviation of {spec['std']:.4g}) in all rows, from "
            f"{numbers.min():.4g} to {numbers.max():.4g}: is it in the same unit"
        )
