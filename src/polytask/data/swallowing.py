"""Cells that hold rows: what a lone quote leaves of a table.

Letters: N rows, C columns.
"""

import csv
from collections.abc import Sequence
from typing import Any

from polytask.tasks.labels import spells_a_number

_PROOF = 2  # cells that must look like those of their columns


def first_swallower(frame: Any, separator: str) -> tuple[str, int] | None:
    """The first cell that holds rows, as its column and row from 0; None if none does.

    A text of several lines may stand in a cell. It holds rows if its first line ends one, its
    last begins one and those between are whole: all have the right number of cells, two or more
    cells look like others of their columns (numbers, or one of a few values) and none does not.
    Where tabs divide, a tab and a new line in one cell are enough; where bars do, that all lines
    have the right number of cells.
    """
    names = list(frame.columns)
    rows = [
        (row, place, cell)
        for place, name in enumerate(names)
        for row, cell in enumerate(frame[name].tolist())
        if isinstance(cell, str) and "\n" in cell and separator in cell
    ]
    usual: dict[int, set[str] | None] = {}
    for row, place, cell in sorted(rows):
        if separator == "\t" or _holds_rows(cell, place, frame, separator, usual):
            return str(names[place]), row
    return None


def _holds_rows(
    cell: str, place: int, frame: Any, separator: str, usual: dict[int, set[str] | None]
) -> bool:
    """Whether a cell is the end of a row, whole rows and the beginning of a row."""
    count = frame.shape[1]
    first, *middle, last = (_divided(line, separator) for line in cell.split("\n"))
    lengths = [count - place, *[count] * len(middle), place + 1]
    if [len(first), *map(len, middle), len(last)] != lengths:
        return False
    whole = [*zip(range(place, count), first, strict=True), *enumerate(last)]
    whole += [pair for line in middle for pair in enumerate(line)]
    proof = 0
    for column, text in whole:
        if column == place or not text.strip():
            continue
        if column not in usual:
            usual[column] = _usual(frame.iloc[:, column])
        known = usual[column]
        if known is not None:
            if text.strip() not in known and not (not known and spells_a_number(text)):
                return False
            proof += 1
    return proof >= _PROOF or separator == "|"


def _divided(line: str, separator: str) -> Sequence[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])


def _usual(series: Any) -> set[str] | None:
    """The few texts of a column; empty for a column of numbers; None if anything may be in it."""
    known = series.dropna()
    if known.dtype.kind in "iuf":
        return set()
    texts = {str(cell).strip() for cell in known.tolist()}
    return texts if len(texts) <= len(known) / 2 else None
