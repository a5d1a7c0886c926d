"""Tables as JSON: an object on each line, or one list of objects."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from polytask.data.delimited import BROKEN, open_text, unreadable
from polytask.errors import DataError, require

_SHOWN = 60
_HALF = "\\ud"  # how half of a letter is written
_MANY = 20  # objects in a list that is a table


def read_json(path: Path, encoding: str) -> Any:
    """The rows as a data frame.

    Args:
        path: The file.
        encoding: How its letters are stored.

    Raises:
        DataError: If it cannot be read, or holds something else.
    """
    pandas = require("pandas", "train")
    return pandas.DataFrame([record for _, record in _records(path, encoding)])


def json_names(path: Path, encoding: str) -> list[str]:
    """The keys of the first row.

    Raises:
        DataError: As `read_json` does, for what is at the beginning.
    """
    return list(next((record for _, record in _records(path, encoding)), {}))


def json_numbers(path: Path, encoding: str) -> Iterator[int]:
    """What number each row has, from 1: that of its line, or of its place in the list."""
    return (number for number, _ in _records(path, encoding))


def tabular(path: Path) -> bool:
    """Whether a file of JSON seems to be a table: a list of objects, or several of them in lines.

    Args:
        path: The file.
    """
    try:
        with open_text(path) as file:
            lines = (line for line in file if line.strip())
            first, second = next(lines, ""), next(lines, "")
        if first.lstrip().startswith("["):
            return (first.lstrip()[1:] + second).lstrip().startswith("{")
        return all(isinstance(json.loads(line), dict) for line in (first, second))
    except (*BROKEN, ValueError, RecursionError):
        return False


def _records(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers.

    Raises:
        DataError: If the file cannot be read, or holds something else.
    """
    try:
        with open_text(path, encoding) as file:
            lines = ((k, line) for k, line in enumerate(file, start=1) if line.strip())
            number, first = next(lines, (0, ""))
            if first.lstrip().startswith("["):
                yield from _listed(path, first + file.read())
                return
            if not number:
                return
            second = None if first.strip() == "{" else next(lines, None)
            yield number, _first(path, number, first, file, alone=second is None)
            for number, line in chain([second] if second else [], lines):
                yield number, _record(line, f"{path.name} line {number}")
    except (*BROKEN, UnicodeError) as error:
        raise unreadable(path, "JSON lines", error, encoding) from error


def _first(path: Path, number: int, line: str, file: Any, *, alone: bool) -> dict[str, Any]:
    """The object on the first line, if the file is not one object that holds tables.

    Raises:
        DataError: If it is.
    """
    where = f"{path.name} line {number}"
    whole: Any = None
    if line.strip() == "{":
        try:
            whole = json.loads(line + file.read())
        except (ValueError, RecursionError):
            whole = None  # what is wrong with the line is said
    record = whole if isinstance(whole, dict) else _record(line, where)
    tables = [key for key, value in record.items() if _of_objects(value)]
    if isinstance(whole, dict) or (alone and tables):
        raise DataError(_no_table(path, record, tables))
    return record


def _no_table(path: Path, record: Mapping[str, Any], tables: list[str]) -> str:
    keys = ", ".join(list(record)[:8])
    hint = (
        f"What is under '{tables[0]}' is such a list: save it in a file of its own."
        if len(tables) == 1
        else "Write a table with a line for each example: its file, or text, and its labels."
    )
    return (
        f"{path.name} is one object ({keys}), no table. Expected a list of objects, or an object "
        f"on each line, each of them an example. {hint}"
    )


def _of_objects(value: Any) -> bool:
    many = isinstance(value, list) and len(value) >= _MANY  # a row may list some, too
    return many and all(isinstance(v, dict) for v in value)


def _listed(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a list.

    Raises:
        DataError: If it is no list of objects.
    """
    try:
        rows = json.loads(text, object_pairs_hook=lambda pairs: _distinct(pairs, path.name))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path.name} is not JSON: {error}.") from error
    halves = _HALF in text.lower()
    for number, row in enumerate(rows, start=1):
        yield number, _object(row, f"{path.name} row {number}", str(row), halves)


def _distinct(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{where} has the key '{twice}' twice. Remove one.")
    return found


def _record(line: str, where: str) -> dict[str, Any]:
    """The object on a line."""
    try:
        record = json.loads(line, object_pairs_hook=lambda pairs: _distinct(pairs, where))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}. Found {line.strip()[:_SHOWN]}") from error
    return _object(record, where, line.strip(), _HALF in line.lower())


def _object(record: Any, where: str, text: str, halves: bool) -> dict[str, Any]:
    """What was read, if it is a row; `halves` is whether its texts may have halves of letters."""
    if not isinstance(record, dict):
        raise DataError(f'{where} should be an object such as {{"a": 1}}. Found {text[:_SHOWN]}')
    if halves:
        _require_whole_letters(record, where)
    return record


def _require_whole_letters(record: dict[str, Any], where: str) -> None:
    """Make sure that no text has half of a letter, which is none in any encoding.

    Raises:
        DataError: If one has.
    """
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise DataError(
            f"{where} has half of a letter ({half}), as a text has that was cut within an emoji. "
            "Remove it."
        ) from error
