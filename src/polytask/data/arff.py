"""Tables as WEKA and Mulan write them: ARFF, alone or in a zip."""

import csv
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polytask.data.delimited import require_distinct
from polytask.data.disguises import require_different, require_file
from polytask.data.places import content_key, file_key
from polytask.data.sources import Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

if TYPE_CHECKING:
    import pandas

_ATTRIBUTE = re.compile(
    r"""@attribute\s+(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s{]+))\s*(?:numeric|real|integer|\{(.*)\})\s*""",
    re.IGNORECASE,
)
_ENDINGS = {"-train": "train", "-test": "test"}


class ArffFile(Source):
    """Rows of an ARFF file with numbers and named values; `?` is blank.

    Names that end in `-train` and `-test` are the publisher's split, for `split: {fixed: true}`.
    Sparse files and texts are not read.

    Args:
        path: The file or files, or one zip.
        members: Which files of the zip.
    """

    def __init__(self, *, path: Path | list[Path], members: list[str] | None = None) -> None:
        self.paths = [Path(p).expanduser() for p in (path if isinstance(path, list) else [path])]
        self.members = list(members or [])
        if self.members and len(self.paths) != 1:
            raise ConfigError("`members` are files of one zip: `path` should name that alone.")
        require_different(self.paths)
        if not self.paths:
            raise ConfigError("`path` should name at least one file.")

    def load(self) -> Table:
        """Reads all rows."""
        made = require("pandas", "train")
        frames: list[pandas.DataFrame] = []
        parts: list[str | None] = []
        places: list[str] = []
        for name, text in self._texts():
            frame = _frame(name, text)
            if frames and list(frame.columns) != list(frames[0].columns):
                raise DataError(f"{name} has other attributes than the file before it.")
            frames.append(frame)
            ending = next((e for e in _ENDINGS if Path(name).stem.endswith(e)), "")
            parts += [_ENDINGS.get(ending)] * len(frame)
            places += [f"{name} row {k + 1} of its data" for k in range(len(frame))]
        split = made.Series(parts, dtype=object) if all(parts) else None
        key = content_key(["arff", *map(file_key, self.paths), self.members])
        whole = made.concat(frames, ignore_index=True)
        return Table(self.paths[0].name, whole, {}, key, places.__getitem__, split)

    def _texts(self) -> Iterator[tuple[str, str]]:
        """The names and the texts of the files."""
        for path in self.paths:
            require_file(path)
        if not self.members:
            for path in self.paths:
                yield path.name, _decoded(path.name, path.read_bytes())
            return
        try:
            with zipfile.ZipFile(self.paths[0]) as archive:
                for member in self.members:
                    if member not in archive.namelist():
                        raise DataError(
                            f"{self.paths[0].name} has no file '{member}'. "
                            + nearest(member, archive.namelist())
                        )
                    yield member, _decoded(member, archive.read(member))
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # also if it has a password
            raise DataError(f"{self.paths[0]} is not a whole zip archive ({error}).") from error


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name} line {line} is not text in UTF-8: found the "
            f"byte 0x{content[error.start]:02x}. Save the file anew, in UTF-8."
        ) from error


def _frame(name: str, text: str) -> "pandas.DataFrame":
    """The rows of a file, with its attributes as columns.

    Raises:
        DataError: If it cannot be read.
    """
    made = require("pandas", "train")
    lines = [line.strip() for line in text.splitlines()]
    begin = next((k for k, line in enumerate(lines) if line.lower().startswith("@data")), None)
    try:
        if begin is None:
            raise ValueError("no line says '@data'")
        found = [_attribute(x) for x in lines[:begin] if x.lower().startswith("@attribute")]
        require_distinct(Path(name), [attribute for attribute, _ in found])
        kinds = dict(found)
        rows = [
            _row(line, number, kinds)
            for number, line in enumerate(lines[begin + 1 :], start=begin + 2)
            if line and not line.startswith("%")
        ]
        if not kinds or not rows:
            raise ValueError("it has no attributes" if not kinds else "it has no rows")
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"{name} cannot be read as ARFF: {error}. Sparse rows and attributes of type string "
            "are not read: write it as CSV."
        ) from error
    columns = zip(*rows, strict=True)
    frame: pandas.DataFrame = made.DataFrame(
        {
            column: made.Series(list(cells), dtype=np.float64 if kind is None else object)
            for (column, kind), cells in zip(kinds.items(), columns, strict=True)
        }
    )
    return frame


def _attribute(line: str) -> tuple[str, list[str] | None]:
    """The name of an attribute, and its values; None for numbers."""
    match = _ATTRIBUTE.fullmatch(line)
    if match is None:
        raise ValueError(f"'{line[:60]}' is no attribute of numbers or named values")
    quoted, doubly, plain, values = match.groups()
    name = next(n for n in (quoted, doubly, plain) if n is not None)
    name = re.sub(r"\\(.)", r"\1", name)
    return name, None if values is None else _cells(values)


def _cells(line: str) -> list[str]:
    """What commas divide; quotes of either kind keep them together."""
    mark = "'" if "'" in line else '"'
    reader = csv.reader([line], quotechar=mark, escapechar="\\", skipinitialspace=True)
    return [cell.strip() for cell in next(reader)]


def _row(line: str, number: int, kinds: Mapping[str, list[str] | None]) -> list[float | str | None]:
    """The values of a row: NaN and None where it is blank."""
    cells, at = _cells(line), f"line {number}"
    if len(cells) != len(kinds):
        raise ValueError(f"{at} has {len(cells)} cells for {len(kinds)} attributes: {cells[:5]}")
    found: list[float | str | None] = []
    for (name, values), cell in zip(kinds.items(), cells, strict=True):
        if values is None:
            try:
                found.append(float("nan") if cell == "?" else float(cell))
            except ValueError:
                raise ValueError(f"{at}, '{name}' should be a number, found '{cell}'") from None
        elif cell == "?" or cell in values:
            found.append(None if cell == "?" else cell)
        else:
            raise ValueError(f"{at}, '{cell}' is no value of '{name}': {', '.join(values)[:80]}")
    return found
