"""Dates as people write them.

Letters: N rows.
"""

import datetime
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.errors import DataError, require

# Two numbers of which either may be the month, and a year.
_EITHER = re.compile(r"^\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_MONTHS = 12
# Texts for which the library takes the day on which it reads them; and those that begin with a
# time, for which it takes what they do not say of a day from that one.
_TIME = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s*[ap]\.?m\.?)?(\s*[+-]\d{2}:?\d{2}\b)?"
_TODAY = re.compile(rf"\s*(now|today|{_TIME})\s*", re.IGNORECASE)
_TIME_FIRST = re.compile(rf"\s*{_TIME}(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
# A year alone, or a day, a month and a year, as they may stand behind a time.
_WHOLE = re.compile(r"\d{4}[-/.]|[-/. ]\d{4}|(\d+|[a-z]{3,})\W+(\d+|[a-z]{3,})\W+\d+", re.I)
# The year that the library takes where a text says none.
_NO_YEAR = 1
# A text that is nothing but a number, which is read as the number is.
_PLAIN = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
_YEARS = range(1000, 3000)
_DIGITS = range(10_000_000, 100_000_000)  # numbers of eight, such as 20240531
# What numbers that are no dates may count, from and to, and how they become dates.
_COUNTS = (
    (10_000, 100_000, "days as Excel counts them", "unit='D', origin='1899-12-30'"),
    (1e8, 1e11, "seconds since 1970", "unit='s'"),
    (1e11, 1e14, "milliseconds since 1970", "unit='ms'"),
    (1e17, 1e20, "nanoseconds since 1970", "unit='ns'"),
)

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

    Of numbers, and of texts that are nothing but a number, 20240531 is a day, and 2024 a year.

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
    written = _written_out(name, cells, describe)
    # The library's own setting for this would also turn 2024-05-03 around.
    turned = [*map(_month_first, written)] if day_first else written
    turned = pandas.Series(turned, dtype=object)
    dates = pandas.to_datetime(turned, errors="coerce", format="mixed", utc=True)
    unclear = given.map(lambda cell: says_no_day(cell) or _says_part_of_a_day(cell)).astype(bool)
    unclear |= says_no_year(given, dates)
    bad = np.flatnonzero(((dates.isna() & given.notna()) | unclear).to_numpy())
    if len(bad):
        raise DataError(
            f"{describe(int(bad[0]))}: column '{name}' should hold dates such as 2024-05-31. Found "
            f"{cells[bad[0]]!r}. Correct the cell or leave it blank."
        )
    if day_first is not None:
        _require_order(name, cells, describe, day_first)
    return np.asarray(dates.dt.tz_localize(None), "datetime64[s]")


def says_no_day(cell: Any) -> bool:
    """Whether a cell is a text that means another day each day: a time alone, or `now`."""
    return isinstance(cell, str) and _TODAY.fullmatch(cell) is not None


def _says_part_of_a_day(cell: Any) -> bool:
    """Whether a cell is a text with a time in front and less than a day behind it."""
    found = _TIME_FIRST.fullmatch(cell) if isinstance(cell, str) else None
    return found is not None and _WHOLE.search(found["rest"]) is None


def says_no_year(cells: Any, dates: Any) -> Any:
    """Which cells are texts that say no year, such as `5 May`, `[N]` bool.

    Args:
        cells: A Series of what was read.
        dates: The Series of dates that the library made of it.
    """
    first = dates.dt.year == _NO_YEAR
    return first & ~cells.where(first, "").astype(str).str.contains(f"{_NO_YEAR:04}")


def writes_a_day(cell: Any) -> bool:
    """Whether a cell is a number, or a text that is one, which writes a day: 20240531."""
    number = _number(cell)
    return number is not None and _day(number) is not None


def _written_out(name: str, cells: NDArray[Any], describe: Callable[[int], str]) -> list[Any]:
    """Cells of which those that are numbers are dates such as 2024-05-31.

    The library would count nanoseconds from 1970 on for a number, and guess at digits of a text.

    Raises:
        DataError: If a number is neither a day nor a year, or some are days and others years.
    """
    written: list[Any] = cells.tolist()
    years: list[int] = []
    days: list[int] = []
    for row, cell in enumerate(written):
        number = _number(cell)
        if number is None:
            continue
        day = _day(number)
        if day is not None:
            days.append(row)
            written[row] = day.isoformat()
        elif isinstance(number, int) and number in _YEARS:
            years.append(row)
            written[row] = f"{number}-01-01"
        else:
            raise DataError(
                f"{describe(row)}: column '{name}' should hold dates. Found {cell!r}, a number "
                f"that is no date. Write 2024-05-31 or 20240531.{_counted(number)}"
            )
    if years and days:
        raise DataError(
            f"{describe(years[0])}: column '{name}' should hold years alone or whole dates. Found "
            f"{cells[years[0]]!r}, and {cells[days[0]]!r} in {describe(days[0])}. Write all in one "
            "way, such as 2024-05-31."
        )
    return written


def _number(cell: Any) -> int | float | None:
    """The number that a cell is, whether or not it is written as text; whole ones as `int`.

    Columns of whole numbers with a blank come as fractions from some formats.
    """
    if isinstance(cell, str):
        number: int | float = float(cell) if _PLAIN.fullmatch(cell) else math.nan
    elif isinstance(cell, (int, float, np.integer, np.floating)) and not isinstance(cell, bool):
        number = cell.item() if isinstance(cell, np.generic) else cell
    else:
        return None
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return None if number != number else number


def _day(number: int | float) -> datetime.date | None:
    """The day that a number such as 20240531 writes; None if it writes none."""
    if not isinstance(number, int) or number not in _DIGITS:
        return None
    year, day = divmod(number, 10_000)
    try:
        return datetime.date(year, *divmod(day, 100)) if year in _YEARS else None
    except ValueError:  # no such month or day
        return None


def _counted(number: int | float) -> str:
    """What to do about a number that seems to count from some day on; empty if it does not."""
    for low, high, what, how in _COUNTS:
        if low <= number < high:
            return f" If these are {what}: pandas.to_datetime(column, {how}) makes dates of them."
    return ""


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
