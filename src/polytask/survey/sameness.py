"""Columns that say what is to be predicted: its code, its name, numbers that add up to it, or what
it is a kind of.

Letters: N rows, K columns.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.words import is_list
from polytask.survey.guesses import Column, Target
from polytask.tasks.labels import composed, label_counts, label_text

_ROWS = 20  # rows that a coincidence does not go through
_SURE = 10  # rows of a label, and of others, that a value has exactly by no coincidence
_LABELS = 200  # labels up to which a column may be their codes
_EXACT = 1e-6  # of a target's spread, below which nothing is left to predict
_FOR_EACH = 5  # rows of each label, on average, in which it is of one class by no coincidence
_LOOKED = 10_000  # rows whose sums are taken
_MOST = 60  # columns of numbers that are looked at together


def same_as(
    cells: Sequence[Any], goals: Sequence[Target], targets: Mapping[str, Sequence[Any]]
) -> str | None:
    """The target whose labels a column has under other names; None if there is none.

    Each of its values is with one label only, and each label with one value.

    Args:
        cells: The column's cells, None where blank.
        goals: What is predicted.
        targets: The cells of these.
    """
    for goal in goals:
        if goal.kind in ("regression", "multilabel", "tagging"):
            continue
        both = [
            (a, b)
            for a, b in zip(cells, targets[goal.name], strict=True)
            if a is not None and b is not None and not is_list(a)
        ]
        pairs = {(label_text(a), composed(label_text(b))) for a, b in set(both)}
        one = len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})
        if one and 1 < len(pairs) <= min(_LABELS, len(both) // 2) and len(both) >= _ROWS:
            return goal.name
    return None


def gives_away(
    cells: Sequence[Any], goals: Sequence[Target], targets: Mapping[str, Sequence[Any]]
) -> str | None:
    """How a column says that a target has one label: by one of its values, or by being blank, in
    exactly those rows, as a time of death does. None if it does not.

    Args:
        cells: The column's cells, None where blank.
        goals: What is predicted.
        targets: The cells of these.
    """
    if any(map(is_list, cells)):
        return None
    for goal in goals:
        if goal.kind in ("regression", "multilabel", "tagging", "ctc", "generation"):
            continue
        values = defaultdict[str | None, set[int]](set)
        labels = defaultdict[str, set[int]](set)
        for row, (cell, label) in enumerate(zip(cells, targets[goal.name], strict=True)):
            if label is not None and not is_list(label):
                values[None if cell is None else label_text(cell)].add(row)
                labels[composed(label_text(label))].add(row)
        count = sum(map(len, labels.values()))
        known = {frozenset(rows): label for label, rows in labels.items()}
        filled = set().union(*(rows for value, rows in values.items() if value is not None))
        ways = {"blank": values.get(None, set()), "filled": filled if None in values else set()}
        ways |= {f"'{value}'": rows for value, rows in values.items() if value is not None}
        for how, rows in sorted(ways.items(), key=lambda way: len(way[1])):
            label = known.get(frozenset(rows))
            if label is not None and _SURE <= len(rows) <= count - _SURE:
                return f"it is {how} exactly where {goal.name} is {label}"
    return None


def sums(
    columns: Sequence[Column], goals: Sequence[Target], cells: Mapping[str, Sequence[Any]]
) -> dict[str, list[str]]:
    """Columns of numbers that add up to a target exactly, and columns that targets add up to.

    Args:
        columns: The columns that are read.
        goals: What is predicted.
        cells: The cells of all.

    Returns:
        Targets with the columns of which each is a sum (or difference, or multiple), and such
        columns with their targets.
    """
    whole = [c for c in columns if c.kind == "number" and not (c.missing or c.doubt)]
    names = [c.name for c in whole][:_MOST]
    amounts = [g.name for g in goals if g.kind == "regression" and not g.missing]
    if not names or not amounts:
        return {}
    inputs, outputs = _matrix(names, cells), _matrix(amounts, cells)
    found = {}
    for k, goal in enumerate(amounts):
        parts = _parts(outputs[:, k], inputs)
        if parts:
            found[goal] = [names[j] for j in parts]
    for k, name in enumerate(names):
        parts = _parts(inputs[:, k], outputs)
        if parts and not any(name in of for of in found.values()):
            found[name] = [amounts[j] for j in parts]
    return found


def _matrix(names: Sequence[str], cells: Mapping[str, Sequence[Any]]) -> NDArray[np.float64]:
    """Columns of numbers, `[N, K]`, each with mean 0 and spread 1."""
    values = np.array([[float(c) for c in cells[name][:_LOOKED]] for name in names]).T
    spread = values.std(0)
    scaled: NDArray[np.float64] = (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _parts(values: NDArray[np.float64], columns: NDArray[np.float64]) -> list[int]:
    """The columns that add up to some values; none if any do not.

    Args:
        values: `[N]`.
        columns: `[N, K]`.
    """
    if len(values) < max(_ROWS, 3 * columns.shape[1]):
        return []
    weights = np.linalg.lstsq(columns, values, rcond=None)[0]
    if float(np.abs(values - columns @ weights).max()) > _EXACT:
        return []
    return np.flatnonzero(np.abs(weights) > _EXACT).tolist()


def one_of(goals: Sequence[Target], cells: Mapping[str, Sequence[Any]]) -> list[str]:
    """Targets of which exactly one is 1 in every row, as one label of several classes; else none.

    Args:
        goals: What is predicted.
        cells: The cells of these.
    """
    names = [g.name for g in goals if g.kind == "binary" and not g.missing]
    if len(names) < 3 or not all(set(label_counts(cells[name])) == {"0", "1"} for name in names):
        return []
    rows = zip(*(cells[name] for name in names), strict=True)
    return names if all(list(map(label_text, row)).count("1") == 1 for row in rows) else []


def with_parents(goals: Sequence[Target], cells: Mapping[str, Sequence[Any]]) -> list[Target]:
    """Targets, with that of whose classes theirs are kinds: the one with most classes that is.

    So it is where each label stands beside one label of the other in all of its rows. Labels of a
    handful of rows each would do so by chance.
    """
    labels = {
        g.name: [None if c is None else composed(label_text(c)) for c in cells[g.name]]
        for g in goals
        if g.kind == "multiclass"
    }
    counts = {name: len({*given} - {None}) for name, given in labels.items()}

    def parent(goal: Target) -> str:
        mine = labels.get(goal.name)
        if mine is None or len(mine) - mine.count(None) < _FOR_EACH * counts[goal.name]:
            return ""
        above = [n for n in labels if counts[n] < counts[goal.name] and _divides(mine, labels[n])]
        return max(above, key=counts.__getitem__, default="")

    return [replace(goal, parent=parent(goal)) for goal in goals]


def _divides(kinds: Sequence[str | None], classes: Sequence[str | None]) -> bool:
    """Whether each of some labels stands beside a single one of others, which is never missing."""
    met: dict[str, str | None] = {}
    return all(
        above is not None and met.setdefault(kind, above) == above
        for kind, above in zip(kinds, classes, strict=True)
        if kind is not None
    )
