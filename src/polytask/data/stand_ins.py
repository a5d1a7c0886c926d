"""Values that seem to stand for others: -999 where nothing was measured, 0 where depth is unknown.

Letters: N values.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FEW = 6  # different values from which a column is more than codes
_TIMES = 3  # how often a value is there that stands for another
# Values that no distribution has: so many interquartile ranges from the median, and so many times
# as far as the next one. A heavy tail (sales, incomes) may have the first of these, not the second.
_FAR, _ALONE = 1e4, 100.0
_MOST_FAR = 10
_ENOUGH = 20  # values of which quartiles say something
_NINES = re.compile(r"-?99+")
# Labels that files write where there is none; -100 is what losses leave out.
_MARKS = ("-100", "-99", "-999", "-9999", "?", "-", "--", ".", "n.a.")


@dataclass(frozen=True)
class StandIn:
    """A value that seems to stand for another.

    Attributes:
        value: The value.
        count: How often it is there.
        low: The least of the others.
        high: The greatest of the others.
    """

    value: float
    count: int
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.count:,} are {self.value:g}, far from all others ({self.low:g} to "
            f"{self.high:g})"
        )


def stand_in(values: NDArray[np.floating]) -> StandIn | None:
    """A least or greatest value that is there several times, and far from all others.

    That is, farther than these are from one another; or less far if it is written in nines, or is
    a whole number below zero where no other is.

    Args:
        values: `[N]`, without NaN.
    """
    if len(values) < _FEW or (values[0] == values).all():
        return None
    for value, sign in ((values.min(), 1), (values.max(), -1)):
        others = values[values != value]
        count = len(values) - len(others)
        low, high = float(others.min()), float(others.max())
        gap = abs(float(value) - (low if sign > 0 else high))
        if count < _TIMES or len(others) < _FEW or low == high:
            continue
        nines = _NINES.fullmatch(f"{value:g}") is not None
        below = value < 0 <= low and float(value).is_integer()
        least = 0.1 if nines or below else 1.0
        if gap > least * (high - low) and len(np.unique(others)) >= _FEW - 1:
            return StandIn(float(value), count, low, high)
    return None


def far_off(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """The places of a few values that are out of all proportion, as slips of a hand or a program
    leave them: 1e12 among values near 1. Those in front first.

    Args:
        values: `[N]`, without NaN.
    """
    none = np.zeros(0, np.int64)
    if len(values) < _ENOUGH:
        return none
    low, middle, high = np.percentile(values.astype(np.float64), (25, 50, 75))
    distances = np.abs(values.astype(np.float64) - middle)
    order = np.argsort(-distances, kind="stable")[: _MOST_FAR + 1]
    falling = distances[order]
    for count in range(1, len(falling)):
        last, rest = falling[count - 1], falling[count]
        scale = (high - low) or rest  # where most are the same
        if scale > 0 and last > _FAR * scale and last > _ALONE * rest:
            return np.sort(order[:count])
    return none


def zeros_apart(values: NDArray[np.floating], *, share: float = 0.005) -> StandIn | None:
    """Zeros among numbers that are all well above them, as maps of depth have.

    Args:
        values: `[N]`, without NaN.
        share: The least share of zeros.
    """
    others = values[values != 0]
    count = len(values) - len(others)
    if count < max(1.0, share * len(values)) or not len(others):
        return None
    low, middle = float(others.min()), float(np.median(others))
    if low < 0.02 * middle or low <= 0:
        return None
    return StandIn(0.0, count, low, float(others.max()))


def marks_of_nothing(classes: Sequence[str]) -> list[str]:
    """Labels that files write where there is none.

    Not those among other signs: parts of speech have `.` and `,` for what these are.
    """
    signs = [name for name in classes if not any(map(str.isalnum, name))]
    known = [name for name in classes if name.lower() in _MARKS]
    return known if len(signs) < 2 else [name for name in known if name not in signs]


def with_another_separator(classes: Collection[str], separator: str) -> tuple[str, str] | None:
    """A label that lists others by another mark than cells are divided by, and the mark.

    Args:
        classes: The labels.
        separator: What divides labels in a cell.
    """
    for mark in "|;,/":
        for name in classes if mark != separator else ():
            parts = [part.strip() for part in name.split(mark)]
            if len(parts) > 1 and all(part in classes for part in parts):
                return name, mark
        lists = [name.split(mark) for name in classes if mark != separator and mark in name]
        pieces = [part.strip() for parts in lists for part in parts]
        # Parts that recur from label to label are labels themselves.
        often = 0 < 2 * len(set(pieces)) <= len(pieces)
        if often and 2 * len(lists) >= len(classes):
            return next(name for name in classes if mark in name), mark
    return None
