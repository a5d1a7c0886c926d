"""Tables as JSON: an object on each line, or what holds an object, or a list, for each row."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from polytask.data.addresses import MARK, addressed
from polytask.data.delimited import BROKEN, open_text, unreadable
from polytask.errors import DataError, nearest, require

KEY = "key"  # the column of what rows are called, where an object holds them
_SHOWN = 60
_HALF = "\\ud"  # how half of a letter is written
_MANY = 20  # objects in a list, or under keys, that are a table


def read_json(path: Path, encoding: str, columns: Sequence[str] = ()) -> Any:
    """The rows as a data frame.

    Args:
        path: The file, or a table in it (see `addressed`).
        encoding: How its letters are stored.
        columns: The names of all columns, where rows are lists.

    Raises:
        DataError: If it cannot be read, or holds something else.
    """
    pandas = require("pandas", "train")
    return pandas.DataFrame([record for _, record in _records(path, encoding, columns)])


def json_names(path: Path, encoding: str, columns: Sequence[str] = ()) -> list[str]:
    """The keys of the first row.

    Raises:
        DataError: As `read_json` does, for what is at the beginning.
    """
    return list(next((record for _, record in _records(path, encoding, columns)), {}))


def json_numbers(path: Path, encoding: str, columns: Sequence[str] = ()) -> Iterator[int]:
    """What number each row has, from 1: that of its line, or of its place in the list."""
    return (number for number, _ in _records(path, encoding, columns))


def tabular(path: Path) -> bool:
    """Whether a file of JSON seems to be a table: a list of objects, one object that holds nothing
    else, or several objects in lines.

    Args:
        path: The file.
    """
    try:
        with open_text(path) as file:
            lines = (line for line in file if line.strip())
            first, second = next(lines, ""), next(lines, "")
            if first.lstrip().startswith("["):
                return (first.lstrip()[1:] + second).lstrip().startswith("{")
            if first.strip() == "{" or (first.lstrip().startswith("{") and not second):
                return _of_rows(json.loads(first + second + file.read()))
        return all(isinstance(json.loads(line), dict) for line in (first, second))
    except (*BROKEN, ValueError, RecursionError):
        return False


def tables_inside(path: Path) -> list[str]:
    """The keys of the tables that one object of JSON holds; none for other files.

    Args:
        path: The file.
    """
    try:
        with open_text(path) as file:
            whole = json.loads(file.read())
    except (*BROKEN, ValueError, RecursionError):
        return []
    if not isinstance(whole, dict) or _of_rows(whole):
        return []
    return [key for key, value in whole.items() if _of_objects(value)]


def _records(
    path: Path, encoding: str, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers.

    Raises:
        DataError: If the file cannot be read, or holds something else.
    """
    file_path, inside = addressed(path)
    try:
        with open_text(file_path, encoding) as file:
            if inside:
                text = file.read()
                found = _under(file_path, _parsed(text, file_path.name), inside)
                yield from _rows(path, found, columns, halves=_HALF in text.lower())
                return
            lines = ((k, line) for k, line in enumerate(file, start=1) if line.strip())
            number, first = next(lines, (0, ""))
            if first.lstrip().startswith("["):
                text = first + file.read()
                listed = _parsed(text, path.name)
                yield from _rows(path, listed, columns, halves=_HALF in text.lower())
                return
            if not number:
                return
            second = None if first.strip() == "{" else next(lines, None)
            rest = file.read() if first.strip() == "{" else ""
            record = _first(path, number, first, rest, alone=second is None)
            if _of_rows(record):
                halves = _HALF in (first + rest).lower()
                yield from _rows(path, record, columns, halves=halves)
                return
            yield number, record
            for number, line in chain([second] if second else [], lines):
                yield number, _record(line, f"{path.name} line {number}")
    except (*BROKEN, UnicodeError) as error:
        raise unreadable(file_path, "JSON lines", error, encoding) from error


def _first(path: Path, number: int, line: str, rest: str, *, alone: bool) -> dict[str, Any]:
    """The object on the first line, if the file is not one object that holds tables.

    Raises:
        DataError: If it is.
    """
    where = f"{path.name} line {number}"
    whole: Any = None
    if rest:
        try:
            whole = json.loads(line + rest)
        except (ValueError, RecursionError):
            whole = None  # what is wrong with the line is said
    record = whole if isinstance(whole, dict) else _record(line, where)
    tables = [key for key, value in record.items() if _of_objects(value)]
    if not _of_rows(record) and (isinstance(whole, dict) or (alone and tables)):
        raise DataError(_no_table(path, record, tables))
    return record


def _no_table(path: Path, record: Mapping[str, Any], tables: list[str]) -> str:
    keys = ", ".join(list(record)[:8])
    hint = "Write a table with a line for each example: its file, or text, and its labels."
    if tables:
        named = " or ".join(f"{path.name}{MARK}{key}" for key in tables[:4])
        hint = f"To read a table in it, write {named}."
    return (
        f"{path.name} is one object ({keys}), no table. Expected a list of objects, or an object "
        f"on each line, each of them an example. {hint}"
    )


def _of_objects(value: Any) -> bool:
    """Whether it is a list of many objects; a row may list some, too."""
    long = isinstance(value, list) and len(value) >= _MANY
    return long and all(isinstance(v, dict) for v in value)


def _of_rows(value: Any) -> bool:
    """Whether it is an object whose every value is a row, under what the row is called."""
    rows = list(value.values()) if isinstance(value, dict) else []
    return len(rows) >= _MANY and all(isinstance(row, dict) for row in rows)


def _under(path: Path, whole: Any, inside: Sequence[str]) -> Any:
    """What is under keys of an object.

    Raises:
        DataError: If one is not there.
    """
    found = whole
    for at, key in enumerate(inside):
        if not isinstance(found, dict) or key not in found:
            keys = list(found) if isinstance(found, dict) else []
            way = MARK + ".".join(inside[: at + 1])
            raise DataError(f"There is nothing under {path.name}{way}. {nearest(key, keys)}")
        found = found[key]
    return found


def _rows(
    path: Path, found: Any, columns: Sequence[str], *, halves: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of what holds them.

    Args:
        path: What it is called.
        found: A list of objects, or of lists, or an object of objects.
        columns: The names of all columns, where rows are lists.
        halves: Whether texts may have halves of letters.

    Raises:
        DataError: If it holds something else.
    """
    if isinstance(found, dict):
        where = f"{path.name} should hold a list of objects, or an object under each name."
        for number, (key, row) in enumerate(found.items(), start=1):
            if not isinstance(row, dict):
                raise DataError(f"{where} Found {key!r}: {str(row)[:_SHOWN]}")
            whole = row if KEY in row else {KEY: key, **row}
            yield number, _object(whole, f"{path.name} row {number}", str(row), halves)
        return
    if not isinstance(found, list):
        raise DataError(f"{path.name} should hold a list of objects. Found {str(found)[:_SHOWN]}")
    for number, row in enumerate(found, start=1):
        where = f"{path.name} row {number}"
        named = _named(row, columns, where) if isinstance(row, list) else row
        yield number, _object(named, where, str(row), halves)


def _named(row: list[Any], columns: Sequence[str], where: str) -> dict[str, Any] | list[Any]:
    """A row that is a list, by the names of all columns, if they are known.

    Raises:
        DataError: If it is of another length.
    """
    if not columns:
        return row
    if len(row) != len(columns):
        raise DataError(
            f"{where} has {len(row)} values, and `columns` names {len(columns)}: "
            f"{', '.join(columns)}. Found {str(row)[:_SHOWN]}"
        )
    return dict(zip(columns, row, strict=True))


def _parsed(text: str, name: str) -> Any:
    """What a whole file holds.

    Raises:
        DataError: If it is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _distinct(pairs, name))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{name} is not JSON: {error}.") from error


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
    if isinstance(record, list):
        raise DataError(
            f'{where} should be an object such as {{"a": 1}}; of lists name all columns under '
            f"`columns`. Found {text[:_SHOWN]}"
        )
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
