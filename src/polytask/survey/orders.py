"""Labels that have an order: ranges such as `10-19`, and columns whose names say so."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

# Words in names of columns: of numbers that sort things, and of numbers that count or measure.
_GRADES = (
    *("rating", "grade", "star", "level", "score", "stage", "severity", "rank", "quality"),
    *("priority", "difficulty", "intensity", "degree", "tier", "likert", "satisfaction"),
    *("importance", "urgency", "point"),
)
_AMOUNTS = (
    *("age", "ages", "count", "counts"),
    *("years", "months", "weeks", "days", "hours", "minutes", "seconds"),
)
_STEPS = ("group", "range", "bin", "bucket", "band", "bracket", "class", "category")  # of an amount

_NUMBER = r"[$€£]?\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*([km](?![a-z]))?"
_UNIT = r"\s*([a-z%$€£°]+\.?)?"
_BETWEEN = re.compile(
    rf"(?:between )?{_NUMBER}{_UNIT}\s*(?:-|–|—|\.\.|to|and)\s*{_NUMBER}{_UNIT}"
    rf"|[\[(]\s*{_NUMBER}{_UNIT}\s*[,–-]\s*{_NUMBER}\s*[\])]{_UNIT}"
)
_BELOW = re.compile(
    rf"(?:<|<=|≤|under|below|less than|younger than|up to|at most)\s*{_NUMBER}{_UNIT}"
    rf"|{_NUMBER}{_UNIT}\s*(?:(?:or|and) (?:less|under|below|younger|fewer))"
)
_ABOVE = re.compile(
    rf"(?:>|>=|≥|over|above|more than|older than|from|at least)\s*{_NUMBER}{_UNIT}"
    rf"|{_NUMBER}{_UNIT}\s*(?:\+|(?:or|and) (?:more|over|above|older|up))"
)
_SINGLE = re.compile(_NUMBER + _UNIT)


def ranges_in_order(names: Sequence[str]) -> list[str] | None:
    """Labels that are ranges of numbers, from the lowest to the highest; None if they are not.

    At least one is a range, the others may be numbers; none overlap but at their ends. Or all are
    numbers of one unit, such as `3 stars`.

    Args:
        names: The labels.
    """
    read = [_read(name.strip().lower()) for name in names]
    found = [r for r in read if r is not None]
    units = {unit for _, _, unit in found}
    if len(found) < len(read) or len(units - {""}) > 1:
        return None
    if all(low == high for low, high, _ in found) and "" in units:
        return None
    order = sorted(range(len(found)), key=lambda k: found[k][:2])
    if any(found[a][1] > found[b][0] for a, b in pairwise(order)):
        return None
    return [names[k] for k in order]


def says_grade(name: str) -> str | None:
    """What a column's name says that its numbers grade or sort, as `rating` or `age_group` do."""
    words = [word.removesuffix("s") for word in _words(name)]
    grade = next((word for word in words if word in _GRADES), None)
    amount = says_amount(name)
    step = next((word for word in words if word in _STEPS), None)
    return grade or (f"{amount} {step}" if amount and step else None)


def says_amount(name: str) -> str | None:
    """The word of a column's name that says that its numbers count or measure, as `age` does."""
    return next((word for word in _words(name) if word in _AMOUNTS), None)


def _words(name: str) -> list[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return re.split(r"[^a-z]+", parted)


def _read(text: str) -> tuple[float, float, str] | None:
    """The least and the greatest number that a label stands for, and its unit."""
    for pattern, kind in (
        (_BETWEEN, "between"),
        (_BELOW, "below"),
        (_ABOVE, "above"),
        (_SINGLE, "single"),
    ):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        groups = match.groups()
        triples = [groups[k : k + 3] for k in range(0, len(groups), 3) if groups[k] is not None]
        values = [_value(number, factor) for number, factor, _ in triples]
        unit = next((u for *_, u in reversed(triples) if u), "").rstrip(".").removesuffix("s")
        if kind == "between":
            return (values[0], values[1], unit) if values[0] <= values[1] else None
        if kind == "below":
            return -math.inf, values[0], unit
        return values[0], math.inf if kind == "above" else values[0], unit
    return None


def _value(number: str, factor: str | None) -> float:
    return float(number.replace(",", "")) * {"k": 1e3, "m": 1e6}.get(factor or "", 1.0)
