"""Dates as people write them.

Letters: N rows.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.errors import DataError, require

# Two numbers of which either may be the month, and a year.
_EITHER = re.compile(r"^\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_MONTHS = 12

DateOrder = Literal["day-first", "month-first"]


def day_first(name: str, cells: NDArray[Any], describe: Callable[[int], str]) -> bool:
    """Whether a column of `[N]` dates has the day before the month, as `31.5.2024` has.

    All of a column is written in one way: a number above 12 anywhere is a day. Where there is
    none, the day is first if dots divide them, and the month otherwise.

    Raises:
        DataError: If some cells have the day first and some the month.
    """
    days: list[tuple[int, str]] = []
    months: list[tuple[int, str]] = []
    dots = False
    for row, cell in enumerate(cells.tolist()):
        match = _EITHER.match(cell) if isinstance(cell, str) else None
        if match is None:
            continue
        dots |= match[2] == "."
        if int(match[1]) > _MONTHS:
            days.append((row, cell))
        elif int(match[3]) > _MONTHS:
            months.append((row, cell))
    if days and months:
        (row, day), (other, month) = days[0], months[0]
        raise DataError(
            f"Column '{name}' has dates with the day first ({describe(row)}: {day!r}) and with the "
            f"month first ({describe(other)}: {month!r}). Write all in one way, such as 2024-05-31."
        )
    return bool(days) or (dots and not months)


def undecided(cells: Iterable[Any]) -> str | None:
    """The first date of a column that has another meaning in the other order, as `5/3/2024` has.

    None where there is none, or where a number above 12 says which of the two is the day.

    Args:
        cells: The column's cells, None where blank.
    """
    first: str | None = None
    for cell in cells:
        match = _EITHER.match(cell) if isinstance(cell, str) else None
        if match is None:
            continue
        if max(int(match[1]), int(match[3])) > _MONTHS:
            return None
        if first is None and int(match[1]) != int(match[3]):
            first = str(cell).strip()
    return first


def told_order(name: str, date: str, *, day_first: bool) -> str:
    """How a column is read in which nothing says what is the day, and how to say it.

    Args:
        name: The column.
        date: One of its dates, as `undecided` gives it.
        day_first: Whether it is read with the day before the month.
    """
    ours, other = ("day", "month") if day_first else ("month", "day")
    return (
        f"dates of column {name} such as {date} are read with the {ours} first, for none has a "
        f"number above 12, which would tell. If the {other} is first: date_order: "
        f"{{{name}: {other}-first}}"
    )


def as_dates(
    name: str, cells: NDArray[Any], describe: Callable[[int], str], *, day_first: bool | None
) -> NDArray[Any]:
    """A column of dates as `datetime64[s]`, NaT where blank.

    Args:
        name: The column.
        cells: `[N]`, None where blank.
        describe: Names a row.
        day_first: Whether the day is before the month; None if each cell may decide for itself.

    Raises:
        DataError: If a cell is no date, or not in this order; `describe` names its row.
    """
    pandas = require("pandas", "train")
    given = pandas.Series(cells, dtype=object)
    # The library's own setting for this would also turn 2024-05-03 around.
    turned = [*map(_month_first, cells)] if day_first else cells
    turned = pandas.Series(turned, dtype=object)
    dates = pandas.to_datetime(turned, errors="coerce", format="mixed", utc=True)
    bad = np.flatnonzero((dates.isna() & given.notna()).to_numpy())
    if len(bad):
        raise DataError(
            f"{describe(int(bad[0]))}: column '{name}' should hold dates such as 2024-05-31. Found "
            f"{cells[bad[0]]!r}. Correct the cell or leave it blank."
        )
    if day_first is not None:
        _require_order(name, cells, describe, day_first)
    return np.asarray(dates.dt.tz_localize(None), "datetime64[s]")


def _month_first(cell: Any) -> Any:
    return _EITHER.sub(r"\3/\1/\4", cell, count=1) if isinstance(cell, str) else cell


def _require_order(
    name: str, cells: NDArray[Any], describe: Callable[[int], str], day_first: bool
) -> None:
    for row, cell in enumerate(cells.tolist()):
        match = _EITHER.match(cell) if isinstance(cell, str) else None
        if match is not None and int(match[3 if day_first else 1]) > _MONTHS:
            order = "day" if day_first else "month"
            raise DataError(
                f"{describe(row)}: column '{name}' has the {order} first, in training rows or by "
                f"`date_order`. Found {cell!r}. Write all dates in one way, such as 2024-05-31."
            )


def goes_on(cells: Sequence[Any]) -> bool:
    """Whether dates go on from row to row, or back, with none out of order.

    Args:
        cells: The column's cells, of which none is blank.
    """
    array = np.array(cells, dtype=object)
    try:
        dates = as_dates("", array, str, day_first=day_first("", array, str))
    except DataError:  # reading it says why
        return False
    steps = np.diff(dates).astype(np.int64)
    return bool((steps >= 0).all() or (steps <= 0).all())
