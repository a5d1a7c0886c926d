"""Single columns of a table as numbers: numbers, categories, dates and texts.

A column's facts are a mapping with its `kind` and `name`; they survive JSON.

Letters: N rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.dates import DateOrder, as_dates, day_first, undecided
from polytask.data.sources import Table
from polytask.errors import DataError, require
from polytask.tasks.labels import composed, label_text

Facts = dict[str, Any]
Places = Sequence[tuple[Table, int]]
TextEncoding = Literal["hashing", "tf-idf"]

# Texts that look like a date, or like a number in a notation of people.
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_NUMBER = re.compile(r"[^\w\s.,+-]?\s?[+-]?\d[\d.,']*\s?([^\W\d_]{1,4}|[^\w\s])?")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_FEW = 10  # different texts that look like dates or numbers, and may be categories all the same

# What of a date becomes a pair of sine and cosine, and how long its round is.
_ROUNDS = {"month": 12, "weekday": 7, "day of the year": 366, "hour": 24}


def fit_number(name: str, cells: NDArray[Any], places: Places) -> Facts:
    """Mean, standard deviation, and whether a training row is blank."""
    values = as_floats(name, cells, lambda k: places[k][0].describe(places[k][1]))
    known = values[~np.isnan(values)]
    return {
        "kind": "number",
        "name": name,
        "mean": float(known.mean()),
        "std": divisor(float(known.std()), known),
        "blank": len(known) < len(values),
    }


def divisor(spread: float, values: NDArray[np.float64]) -> float:
    """What a column is divided by: its spread, or more where that is nothing but rounding.

    How small a spread may be depends on the unit: charges of electrons are near 1e-19.
    """
    greatest = float(np.abs(values).max(initial=0.0))
    return spread if spread > 1e-12 * greatest else max(1.0, greatest)


def fit_category(name: str, cells: NDArray[Any], *, least: int, most: int) -> Facts:
    """The most frequent categories of training rows, each in the shorter form of Unicode (NFC)."""
    known = [composed(label_text(c)) for c in cells.tolist() if c is not None]
    texts, counts = np.unique(known, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    values = [str(texts[i]) for i in order if counts[i] >= least]
    if not values:
        raise DataError(
            f"Column '{name}' would say nothing: no category is in {least} training rows. "
            f"The first: {known[0]!r}. List the column under `texts` if it is text, set "
            "`min_count: 1`, or leave it out."
        )
    form = {} if all(value.isascii() for value in values) else {"form": "NFC"}
    return {"kind": "category", "name": name, "values": values, **form}


def fit_date(
    name: str, cells: NDArray[Any], places: Places, order: DateOrder | None = None
) -> Facts:
    """Mean and standard deviation of the date in years, which rounds it goes through, whether the
    day is written before the month, and a date that does not tell, if none does."""

    def describe(row: int) -> str:
        return places[row][0].describe(places[row][1])

    first = day_first(name, cells, describe) if order is None else order == "day-first"
    dates = as_dates(name, cells, describe, day_first=first)
    known = dates[~np.isnat(dates)]
    years = _years(known)
    clock = bool((known != known.astype("datetime64[D]")).any())
    rounds = [r for r in _ROUNDS if clock or r != "hour"]
    mean, std = float(years.mean()), float(years.std())
    return {
        "kind": "date",
        "name": name,
        "mean": mean,
        "std": std if std > 1e-12 else 1.0,
        "rounds": rounds,
        "day_first": first,
        "undecided": undecided(cells.tolist()) if order is None else None,
    }


def fit_text(name: str, cells: NDArray[Any], *, encoding: TextEncoding, width: int) -> Facts:
    """The words that tell texts apart, with their weights; hashing learns nothing."""
    if encoding == "hashing":
        return {"kind": "text", "name": name, "buckets": width}
    texts = ["" if c is None else str(c) for c in cells.tolist()]
    made = require("sklearn.feature_extraction.text", "tables").TfidfVectorizer(
        max_features=width, min_df=2 if len(texts) > 20 else 1, sublinear_tf=True
    )
    try:
        made.fit(texts)
    except ValueError as error:
        raise DataError(
            f"Column '{name}' has no word that two training rows share: use 'text: hashing', or "
            f"leave it out ({error})."
        ) from error
    words = [str(word) for word in made.get_feature_names_out()]
    return {"kind": "text", "name": name, "words": words, "weights": made.idf_.tolist()}


def width_of(facts: Mapping[str, Any]) -> int:
    """How many entries a column becomes; a number's mark of blanks included."""
    return len(names_of(facts))


def names_of(facts: Mapping[str, Any]) -> list[str]:
    """What the entries of a column are."""
    kind, name = facts["kind"], facts["name"]
    if kind == "number":
        return [name, f"{name} is blank"] if facts["blank"] else [name]
    if kind == "category":
        return [f"{name} = {value}" for value in facts["values"]]
    if kind == "date":
        pairs = [f"{name}, {how} of {r}" for r in facts["rounds"] for how in ("sine", "cosine")]
        return [name, f"{name} is blank", *pairs]
    if "buckets" in facts:
        return [f"{name} # {k + 1}" for k in range(facts["buckets"])]
    return [f"{name} has {word}" for word in facts["words"]]


def block(facts: Mapping[str, Any], cells: NDArray[Any], table: Table) -> NDArray[np.float32]:
    """All rows of a column as numbers, `[N, width]`.

    Raises:
        DataError: If a cell is not what training rows had.
    """
    kind = facts["kind"]
    if kind == "number":
        values = as_floats(facts["name"], cells, table.describe)
        blank = np.isnan(values)
        scaled = np.where(blank, 0.0, (values - facts["mean"]) / facts["std"])
        parts = [scaled, blank] if facts["blank"] else [scaled]
        return np.stack(parts, axis=1).astype(np.float32)
    if kind == "category":
        require_plain(facts["name"], cells, table.describe)
        index = {value: k for k, value in enumerate(facts["values"])}
        # Runs from before have each form by itself, and go on so.
        read = composed if facts.get("form") == "NFC" else str
        result = np.zeros((len(cells), len(index)), np.float32)
        for row, cell in enumerate(cells.tolist()):
            place = None if cell is None else index.get(read(label_text(cell)))
            if place is not None:
                result[row, place] = 1.0
        return result
    if kind == "date":
        first = facts.get("day_first")  # runs of before have none
        dates = as_dates(facts["name"], cells, table.describe, day_first=first)
        return _date_block(facts, dates)
    return _text_block(facts, ["" if c is None else str(c) for c in cells.tolist()])


def _date_block(facts: Mapping[str, Any], dates: NDArray[Any]) -> NDArray[np.float32]:
    blank = np.isnat(dates)
    dates = np.where(blank, np.datetime64("2000-01-01"), dates).astype("datetime64[s]")
    days = dates.astype("datetime64[D]")
    places = {
        "month": days.astype("datetime64[M]").astype(int) % 12,
        "weekday": (days.astype(int) + 3) % 7,  # 1970 began on a Thursday
        "day of the year": (days - days.astype("datetime64[Y]")).astype(int),
        "hour": (dates - days).astype(int) / 3600,
    }
    entries = [(_years(dates) - facts["mean"]) / facts["std"]]
    for name in facts["rounds"]:
        angle = 2 * np.pi * places[name] / _ROUNDS[name]
        entries += [np.sin(angle), np.cos(angle)]
    known = [np.where(blank, 0.0, entry) for entry in entries]
    return np.stack([known[0], blank, *known[1:]], axis=1).astype(np.float32)


def _text_block(facts: Mapping[str, Any], texts: list[str]) -> NDArray[np.float32]:
    made = require("sklearn.feature_extraction.text", "tables")
    if "buckets" in facts:
        found = made.HashingVectorizer(n_features=facts["buckets"]).transform(texts)
        return np.asarray(found.toarray(), np.float32)
    counts = made.CountVectorizer(vocabulary=facts["words"]).transform(texts).toarray()
    with np.errstate(divide="ignore"):
        weighed = np.where(counts > 0, 1 + np.log(counts), 0.0) * np.array(facts["weights"])
    length = np.linalg.norm(weighed, axis=1, keepdims=True)
    return np.asarray(weighed / np.maximum(length, 1e-12), np.float32)


def _years(dates: NDArray[Any]) -> NDArray[np.float64]:
    return dates.astype("datetime64[s]").astype(np.int64) / (365.25 * 86400) + 1970


def as_floats(
    name: str, cells: NDArray[Any], describe: Callable[[int], str]
) -> NDArray[np.float64]:
    """A column of numbers, NaN where blank.

    Raises:
        DataError: If a cell is no number that float32 can hold; `describe` names its row.
    """
    try:
        values = np.array(np.where(cells == np.array(None), np.nan, cells), np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells.tolist()):
            try:
                values[row] = np.nan if cell is None else float(cell)
            except OverflowError:
                values[row] = np.inf
            except (TypeError, ValueError):
                raise DataError(
                    f"{describe(row)}: column '{name}' should hold numbers. Found {cell!r}. "
                    f"Correct the cell or leave it blank.{_notation(cell)}"
                ) from None
    bad = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(bad):
        raise DataError(
            f"{describe(int(bad[0]))}: column '{name}' should hold finite numbers (up to 3e38). "
            f"Found {values[bad[0]]}. Correct the cell or leave it blank."
        )
    return values


def is_number(cell: object) -> bool:
    """Whether a cell is a number, and no truth value."""
    return isinstance(cell, (int, float, np.integer, np.floating)) and not isinstance(cell, bool)


def as_numbers(name: str, cells: NDArray[Any], places: Places) -> NDArray[Any]:
    """A column with numbers written as text as numbers; a few words among numbers are a mistake."""
    result, words = cells.copy(), []
    for k, cell in enumerate(cells.tolist()):
        if isinstance(cell, str):
            try:
                result[k] = float(cell)
            except ValueError:
                words.append(k)
    known = sum(cell is not None for cell in cells.tolist())
    if not words or known - len(words) < 0.5 * known:
        return result if not words else cells
    table, row = places[words[0]]
    raise DataError(
        f"{table.describe(row)}: column '{name}' holds numbers in {known - len(words)} of {known} "
        f"training rows. Found {cells[words[0]]!r}. Correct the cell, leave it blank, or list the "
        f"column under `categories`.{_notation(cells[words[0]])}"
    )


def _notation(cell: object) -> str:
    """What to do about a number with a comma."""
    if isinstance(cell, str) and _COMMA.fullmatch(cell):
        return ' If commas begin fractions, set `decimal: ","` at the table.'
    return ""


def require_plain(name: str, cells: NDArray[Any], describe: Callable[[int], str]) -> None:
    """Make sure that cells are single values.

    Raises:
        DataError: For the first that holds several.
    """
    several = (list, tuple, dict, set, bytes, np.ndarray)
    for row, cell in enumerate(cells.tolist()):
        if isinstance(cell, several):
            raise DataError(
                f"{describe(row)}: column '{name}' should hold single numbers or texts. Found "
                f"{type(cell).__name__} {str(cell)[:60]}. Spread it over columns, or leave it out."
            )


def require_categories(name: str, cells: NDArray[Any]) -> None:
    """Make sure that texts are categories, and neither dates nor numbers in a person's notation.

    Raises:
        DataError: If most of them are many different dates, or numbers with units or commas.
    """
    texts = [label_text(c) for c in cells.tolist() if c is not None]
    if len(set(texts)) <= _FEW:
        return
    if 2 * sum(_DATE.fullmatch(text) is not None for text in texts) > len(texts):
        raise DataError(
            f"Column '{name}' holds dates, such as {texts[0]!r}. List it under `dates`, or under "
            "`categories` if each is a category."
        )
    found = [match for text in texts if (match := _NUMBER.fullmatch(text))]
    if 2 * len(found) > len(texts) and len({match[1] for match in found}) == 1:
        raise DataError(
            f"Column '{name}' holds numbers that are written as texts, such as {found[0][0]!r}. "
            "Write plain numbers with a point (and the unit in the column's name), or list the "
            f"column under `categories`.{_notation(found[0][0])}"
        )
