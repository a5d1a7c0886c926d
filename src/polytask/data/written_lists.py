"""Lists that a table has as texts, as Python, JSON and NumPy write them."""

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from polytask.errors import DataError, nearest

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|None|True|False|nan|null|true|false"
_ITEM = re.compile(rf"\s*({_QUOTED}|{_PLAIN})\s*(,|(?=[\s'\"\]])|$)", re.IGNORECASE | re.DOTALL)
_NAMED = {"none": None, "null": None, "nan": None, "true": True, "false": False}


def read_list(text: str) -> list[Any] | None:
    """The list that a text is, such as `['a', 'b']`, `["a"]` or `[1 2 3]`; None if it is none.

    Args:
        text: A cell.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    return read if isinstance(read, list) else _items(text[1:-1])


def _items(text: str) -> list[Any] | None:
    """What commas or blanks divide; lists in lists only as Python writes them."""
    if "[" in re.sub(_QUOTED, "", text):
        return _nested(f"[{text}]")
    found, at = [], 0
    while text[at:].strip():
        match = _ITEM.match(text, at)
        if match is None:
            return None
        found.append(_value(match[1]))
        at = match.end()
    return found


def _value(item: str) -> Any:
    return _NAMED[item.lower()] if item.lower() in _NAMED else ast.literal_eval(item)


def _nested(text: str) -> list[Any] | None:
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return read if isinstance(read, list) else None


def require_lists(
    frame: Any, columns: Sequence[str], locate: Callable[[int], str], name: str
) -> None:
    """Make the cells of some columns lists; those that are blank stay so.

    Args:
        frame: The table, which is changed.
        columns: Which columns.
        locate: Says where a row is.
        name: The table's name.

    Raises:
        DataError: If a cell is none, or a column is not there.
    """
    for column in columns:
        if column not in frame.columns:
            raise DataError(
                f"`lists` names column '{column}', which {name} does not have. "
                f"{nearest(column, list(frame.columns))}"
            )
        cells = frame[column].astype(object).where(frame[column].notna(), None).tolist()
        read = [read_list(c) if isinstance(c, str) else c for c in cells]
        for row, (cell, found) in enumerate(zip(cells, read, strict=True)):
            if cell is not None and not isinstance(found, list):
                raise DataError(
                    f"{locate(row)}, column '{column}': a list such as ['a', 'b'] was expected, as "
                    f"`lists` says. Found {str(cell)[:60]!r}."
                )
        made = frame[column].astype(object)
        made[:] = [None] * len(made)
        for row, found in enumerate(read):
            made.iat[row] = found
        frame[column] = made
