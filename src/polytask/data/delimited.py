"""Tables as text whose cells are divided by a mark: CSV and TSV.

A row's line, from 1, is that of an editor.
"""

import csv
import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from polytask.data.disguises import disguise, not_text
from polytask.errors import DataError, require

Kind = Literal["csv", "tsv"]
Decimal = Literal[".", ","]

_SEPARATORS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}


def open_text(path: Path, encoding: str = "utf-8") -> IO[str]:
    """Opens a text file, unpacking `.gz`; a byte order mark is skipped."""
    encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def unreadable(path: Path, kind: str, error: Exception, encoding: str = "utf-8") -> DataError:
    """The error for a table that could not be read, with the line where that is known."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        raw.decode(encoding)
    except UnicodeDecodeError as wrong:
        return not_text(path.name, raw, wrong, encoding)
    except (OSError, EOFError) as wrong:
        return DataError(f"{path} cannot be read as {kind.upper()}: {wrong}.")
    if not raw.strip():
        return DataError(f"{path} cannot be read as {kind.upper()}: it is empty.")
    return DataError(f"{path} cannot be read as {kind.upper()}: {str(error).strip().rstrip('.')}.")


def header(path: Path, kind: Kind, encoding: str = "utf-8") -> tuple[list[str], str]:
    """The names in the first line that has any, and what divides them.

    Raises:
        DataError: If there are none.
    """
    best: tuple[list[str], str] = ([], _SEPARATORS[kind][0])
    try:
        with open_text(path, encoding) as file:
            for separator in _SEPARATORS[kind]:
                file.seek(0)
                names: list[str] = next((r for r in _records(file, separator) if r), [])
                if len(names) > len(best[0]):
                    best = ([name.strip() for name in names], separator)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise unreadable(path, kind, error, encoding) from error
    names = best[0]
    said = disguise(names[0].encode()) if names else None
    if said is not None:
        raise DataError(f"{path} cannot be read as {kind.upper()}: {said}.")
    if not any(names):
        raise DataError(
            f"{path} cannot be read as {kind.upper()}: it is empty. Expected a line that names the "
            "columns, and below it one row per example."
        )
    if any("\0" in name for name in names):
        raise DataError(f"{path} is not text in {encoding}. Is it in utf-16? Set `encoding`.")
    if names[0].lower().startswith("sep="):
        raise DataError(f"{path}: remove its first line '{names[0]}', which is only for Excel.")
    return best


def _records(file: IO[str], separator: str, *, strict: bool = False) -> Any:
    csv.field_size_limit(2**31 - 1)  # cells may hold whole texts
    return csv.reader(file, delimiter=separator, skipinitialspace=True, strict=strict)


def lines(path: Path, kind: Kind, encoding: str = "utf-8") -> Iterator[int]:
    """The first line of every record below the header."""
    separator = header(path, kind, encoding)[1]
    with open_text(path, encoding) as file:
        for line, _ in _rows(_records(file, separator)):
            yield line


def _rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Every record below the header with its first line."""
    named, before = False, 0
    for record in reader:
        first, before = before + 1, reader.line_num
        if record and named:
            yield first, record
        named = named or bool(record)


def read_delimited(
    path: Path, kind: Kind, *, missing: list[str], encoding: str, decimal: Decimal
) -> Any:
    """A table of text as a data frame.

    Args:
        path: The file.
        kind: Which.
        missing: Texts that mean that a cell is blank.
        encoding: How letters are stored.
        decimal: What begins the fraction of a number.

    Raises:
        DataError: If it cannot be read, or a row has more or fewer cells than the header.
    """
    pandas = require("pandas", "train")
    names, separator = header(path, kind, encoding)
    require_distinct(path, names)
    try:
        with warnings.catch_warnings(), open_text(path, encoding) as file:
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # more cells than names
            frame = pandas.read_csv(
                file,
                sep=separator,
                index_col=False,  # else longer rows silently shift all columns
                dtype_backend="numpy_nullable",
                keep_default_na=False,
                na_values=missing,
                decimal=decimal,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pandas.errors.ParserWarning, ValueError, OSError, EOFError) as error:
        _require_even(path, names, separator, encoding)
        _require_quotes(path, separator, encoding)
        raise unreadable(path, kind, error, encoding) from error
    if len(frame) and len(names) > 1 and frame.iloc[:, -1].isna().any():
        # Cells that are not there look like blanks.
        _require_even(path, names, separator, encoding)
    return frame.rename(columns=lambda name: str(name).strip())


def _require_even(path: Path, names: list[str], separator: str, encoding: str) -> None:
    """Make sure that every row has as many cells as the header.

    Raises:
        DataError: For the first row that has not.
    """
    mark = _named(separator)
    try:
        with open_text(path, encoding) as file:
            for line, record in _rows(_records(file, separator)):
                count = len(record)
                if count < len(names) and any(cell.strip() for cell in record):
                    opened = any("\n" in cell for cell in record)
                    raise DataError(
                        f"{path.name} row {line} has {count} cells, where the header names "
                        f"{len(names)} columns. "
                        + (
                            "Is a quote open in it?"
                            if opened
                            else f"Complete the row; a blank cell needs its {mark}."
                        )
                    )
                if any(cell.strip() for cell in record[len(names) :]):
                    raise DataError(
                        f"{path.name} row {line} has {count} cells, more than its header names "
                        f"({len(names)}: {', '.join(names)[:80]}). Name every column in the first "
                        f"line, or put quotes around cells that hold a {mark}."
                    )
    except (OSError, EOFError, UnicodeError, csv.Error):
        return  # who called has an error that says what is wrong


def _require_quotes(path: Path, separator: str, encoding: str) -> None:
    """Make sure that quotes begin and end cells.

    Raises:
        DataError: For the first that does not.
    """
    line = 1
    try:
        with open_text(path, encoding) as file:
            for begins, _ in _rows(_records(file, separator, strict=True)):
                line = begins
    except csv.Error as error:
        raise DataError(
            f"{path.name}: after row {line} a quote is not closed, or stands inside of a cell "
            f"({error}). Close it, or double it inside of a quoted cell."
        ) from error
    except (OSError, EOFError, UnicodeError):
        return  # who called has an error that says what is wrong


def _named(separator: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[separator]


def require_distinct(path: Path, names: list[str]) -> None:
    """Makes sure that no two columns have one name.

    Raises:
        DataError: If two have.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path.name} has two columns named '{twice}'. Rename or remove one.")
