"""Tables of JSON lines: an object for each row."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polytask.data.delimited import BROKEN, open_text, unreadable
from polytask.errors import DataError, require


def numbers_of_lines(lines: Iterable[str]) -> Iterator[int]:
    """The numbers, from 1, of the lines that hold a row."""
    return (number for number, line in enumerate(lines, start=1) if line.strip())


def read_json_lines(path: Path, encoding: str) -> Any:
    """A table of JSON lines as a data frame.

    Raises:
        DataError: If it cannot be read, or a line is no object.
    """
    pandas = require("pandas", "train")
    records = []
    try:
        with open_text(path, encoding) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    records.append(_record(line, f"{path.name} line {number}"))
    except (*BROKEN, UnicodeError) as error:
        raise unreadable(path, "JSON lines", error, encoding) from error
    return pandas.DataFrame(records)


def _record(line: str, where: str) -> dict[str, Any]:
    """The object on a line."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{where} has the key '{twice}' twice. Remove one.")
        return found

    try:
        record = json.loads(line, object_pairs_hook=distinct)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}. Found {line.strip()[:60]}") from error
    if not isinstance(record, dict):
        raise DataError(
            f'{where} should be an object such as {{"a": 1}}. Found {line.strip()[:60]}'
        )
    if "\\ud" in line.lower():
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
