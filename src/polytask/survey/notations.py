"""Numbers as people write them: a comma before the fraction, marks between thousands, and marks
where there is none."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from polytask.data.written_lists import read_list

_COMMA = r"[+-]?\d+(?:,\d+)?"
_POINT = r"[+-]?\d+(?:\.\d+)?"
_NOTHING = ("unknown", "missing", "na", "n.a.", "none", "nil", "unavailable", "not available", "nd")
_UNIT = re.compile(r"([^\w\s+-]{0,3}\s*)[+-]?\d+(?:[.,]\d+)?(\s*[^\d\s][^\d]{0,15}|)")
_ENOUGH = 8  # numbers beside which a `?` is none
_GROUPED = (
    (r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?", _COMMA),
    (r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", _POINT),
    (r"[+-]?\d{1,3}(?:[ '’\u00a0\u202f]\d{3})+(?:[.,]\d+)?", f"{_COMMA}|{_POINT}"),
)


def decimal_commas(cells: Sequence[Any]) -> bool:
    """Whether commas begin fractions in a column: in most cells, as in `27,8`.

    Lists of numbers, such as `2,5`, are mostly of one or have several commas; and in `1,234` the
    comma may stand between thousands.

    Args:
        cells: The column's cells, None where blank.
    """
    texts = [c for c in cells if c is not None]
    grouped = _GROUPED[0][0]
    if not all(isinstance(t, str) and re.fullmatch(f"{grouped}|{_COMMA}", t) for t in texts):
        return False
    fractions = [t.rpartition(",")[2] for t in texts if "," in t]
    return 2 * len(fractions) > len(texts) and any(len(f) != 3 for f in fractions)


def with_thousands(cells: Sequence[Any]) -> str | None:
    """The first number with marks between its thousands, if all cells are numbers.

    Args:
        cells: The column's cells, None where blank.
    """
    texts = [str(c) for c in cells if c is not None]
    for grouped, plain in _GROUPED:
        found = next((t for t in texts if re.fullmatch(grouped, t)), None)
        if found and all(re.fullmatch(f"{grouped}|{plain}", t) for t in texts):
            return found
    return None


def with_units(cells: Sequence[Any]) -> str | None:
    """The first number with something beside it, if all cells are numbers with the same: `12 kg`,
    `87.3%`, `€ 3`.

    Args:
        cells: The column's cells, None where blank.
    """
    found = [_UNIT.fullmatch(str(c).strip()) for c in cells if c is not None]
    beside = {(m[1] + m[2]).strip().lower() for m in found if m is not None}
    if not found or None in found or len(beside) != 1 or beside == {""}:
        return None
    return next(m[0] for m in found if m is not None)


def written_lists(cells: Sequence[Any]) -> bool:
    """Whether all cells are lists written as text, such as `['a', 'b']`, and not all empty.

    Args:
        cells: The column's cells, None where blank.
    """
    texts = [c for c in cells if c is not None]
    if not all(isinstance(t, str) and t.startswith("[") for t in texts):
        return False
    read = [read_list(t) for t in texts]
    return any(read) and None not in read


def marks_of_blanks(cells: Sequence[Any]) -> list[str]:
    """Texts that seem to mean that a cell is blank: `?`, and what else stands among numbers.

    That is a mark without letters and digits, a word for what is not known, or an error of Excel.

    Args:
        cells: The column's cells, None where blank.
    """
    texts = Counter(c for c in cells if isinstance(c, str) and not _number(c))
    known = sum(c is not None for c in cells)
    # Where other marks are values, as in columns of words or letters, so may this be.
    named = sum(any(map(str.isalnum, text)) for text in texts)
    found = ["?"] if "?" in texts and named > 1 and named == len(texts) - 1 else []
    numbers = known - texts.total()
    single = len(texts) == 1 and numbers >= _ENOUGH and "?" in texts
    if (single or numbers > 0.5 * known) and all(map(_means_nothing, texts)):
        found = list(texts)
    return sorted(found)


def _means_nothing(text: str) -> bool:
    plain = text.strip().lower()
    return plain in _NOTHING or text.startswith("#") or not any(map(str.isalnum, text))


def _number(text: str) -> bool:
    """Whether a text is a number in any notation."""
    return re.fullmatch(rf"{_COMMA}|{_POINT}|{_POINT}[eE][+-]?\d+", text.strip()) is not None
