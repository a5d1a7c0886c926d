"""Tables as text whose cells are divided by a mark: CSV and TSV.

A row's line, from 1, is that of an editor.
"""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np

from polytask.data.disguises import disguise, not_text
from polytask.data.leading_zeros import keep_zeros
from polytask.data.swallowing import first_swallower
from polytask.errors import DataError, require

Kind = Literal["csv", "tsv"]
Decimal = Literal[".", ","]

# What a file raises that cannot be opened, read to its end, or unpacked.
BROKEN = (OSError, EOFError, zlib.error)

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_LOOKED = 50  # rows that tell what divides cells, where no header does
_SEPARATORS: dict[Kind, tuple[str, ...]] = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
_BLANKS = " "  # one or several of them, or of tabs


@dataclass(frozen=True)
class Layout:
    """How a table is written as text.

    Attributes:
        kind: What divides its cells.
        encoding: How letters are stored.
        decimal: What begins the fraction of a number.
        missing: Texts that mean that a cell is blank.
        columns: The names of the columns, where the first line does not name them.
        quotes: Whether quotes may begin and end cells; else they are letters like others.
    """

    kind: Kind
    encoding: str = "utf-8"
    decimal: Decimal = "."
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    quotes: bool = True

    def records(self, file: IO[str], separator: str, *, strict: bool = False) -> Any:
        """A reader of all records, the header among them."""
        csv.field_size_limit(2**31 - 1)  # cells may hold whole texts
        return csv.reader(
            file if separator != _BLANKS else _with_single_blanks(file),
            delimiter=separator,
            skipinitialspace=True,
            strict=strict,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
        )

    def rows(self, reader: Any) -> Iterator[tuple[int, list[str]]]:
        """Every record below the header, if there is one, with its first line.

        Records of several cells that are all blank are left out, as `read_delimited` does.
        """
        count, before = len(self.columns), 0
        for record in reader:
            first, before = before + 1, reader.line_num
            if record and count and (count == 1 or not self.is_blank(record)):
                yield first, record
            count = count or len(record)

    def is_blank(self, cells: Iterable[str]) -> bool:
        """Whether all of some cells are blank."""
        return all(text in self.missing for cell in cells if (text := cell.strip()))


def _with_single_blanks(lines: Iterable[str]) -> Iterator[str]:
    """Lines without blanks at their ends; blanks and tabs in a row divide once.

    The first line is blank if it only says how many rows there are.
    """
    for number, line in enumerate(lines):
        plain = line.expandtabs(1).strip()
        yield "\n" if number == 0 and plain.isdecimal() else f"{plain}\n"


def open_text(path: Path, encoding: str = "utf-8") -> IO[str]:
    """Opens a text file, unpacking `.gz`; a byte order mark is skipped."""
    encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file's bytes, unpacking `.gz`."""
    packed = path.name.lower().endswith(".gz")
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def is_utf8(path: Path) -> bool:
    """Whether a file of text can be read in UTF-8, as text in other encodings hardly ever can."""
    try:
        with open_bytes(path) as file:
            file.read().decode("utf-8")
    except (*BROKEN, UnicodeDecodeError):
        return False
    return True


def unreadable(path: Path, kind: str, error: Exception, encoding: str = "utf-8") -> DataError:
    """The error for a table that could not be read, with the line where that is known."""
    try:
        raw = (
            gzip.decompress(path.read_bytes())
            if path.suffix.lower() == ".gz"
            else path.read_bytes()
        )
        raw.decode(encoding)
    except UnicodeDecodeError as wrong:
        return not_text(path.name, raw, wrong, encoding)
    except BROKEN as wrong:
        return DataError(f"{path} cannot be read as {kind.upper()}: {wrong}.")
    if not raw.strip():
        return DataError(f"{path} cannot be read as {kind.upper()}: it is empty.")
    return DataError(f"{path} cannot be read as {kind.upper()}: {str(error).strip().rstrip('.')}.")


def header(path: Path, layout: Layout) -> tuple[list[str], str]:
    """The names of the columns, and what divides them.

    Raises:
        DataError: If there are none, or the first line has not as many cells as `columns` names.
    """
    kind, encoding = layout.kind, layout.encoding
    # A comma that begins fractions divides cells only if nothing else does.
    marks = sorted(_SEPARATORS[kind], key=lambda mark: mark == layout.decimal)
    best: tuple[list[str], str] = ([], marks[0])
    try:
        with open_text(path, encoding) as file:
            if layout.columns:
                marks = _fitting(file, layout, [*marks, _BLANKS] if kind == "csv" else marks)
            for separator in marks:
                if layout.columns and len(best[0]) == len(layout.columns):
                    break
                file.seek(0)
                names: list[str] = next((r for r in layout.records(file, separator) if r), [])
                if len(names) > len(best[0]):
                    best = ([name.strip() for name in names], separator)
            if kind == "csv" and len(best[0]) == 1 and not layout.columns:
                best = _divided_by_blanks(file, layout) or best
    except (*BROKEN, ValueError, csv.Error) as error:
        raise unreadable(path, kind, error, encoding) from error
    names = best[0]
    said = disguise(" ".join(names).encode()) if names else None
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
    if layout.columns and len(names) != len(layout.columns):
        raise DataError(
            f"`columns` names {len(layout.columns)} columns ({', '.join(layout.columns)[:80]}); "
            f"the first line of {path.name} has {len(names)} cells."
        )
    return (list(layout.columns), best[1]) if layout.columns else best


def _divided_by_blanks(file: IO[str], layout: Layout) -> tuple[list[str], str] | None:
    """The header of a table that blanks divide; None for a single column of texts.

    All of the first rows have as many cells as the header then, and most of these are numbers. Or
    all have one more, that of the row's name.
    """
    file.seek(0)
    first, *rows = [r for r in islice(layout.records(file, _BLANKS), _LOOKED) if r] or [[]]
    cells = [cell for row in rows for cell in row]
    numbers = sum(map(_number, cells))
    if len(first) < 2 or 2 * numbers < len(cells):
        return None
    widths = {len(row) for row in rows}
    if widths == {len(first) + 1}:
        return ["row" if "name" in first else "name", *first], _BLANKS
    return (first, _BLANKS) if widths == {len(first)} else None


def _fitting(file: IO[str], layout: Layout, marks: list[str]) -> list[str]:
    """Marks in the order of how many of the first rows they divide into as many cells as there are
    columns: a text may have a comma more often than bars divide a row. Of several that fit as many,
    commas come last, for texts have them."""

    def right(mark: str) -> int:
        file.seek(0)
        some = islice(layout.records(file, mark), _LOOKED)
        return sum(len(record) == len(layout.columns) for record in some)

    return sorted(marks, key=lambda mark: (-right(mark), mark == ",", mark == _BLANKS))


def lines(path: Path, layout: Layout) -> Iterator[int]:
    """The first line of every row."""
    separator = header(path, layout)[1]
    with open_text(path, layout.encoding) as file:
        for line, _ in layout.rows(layout.records(file, separator)):
            yield line


def read_delimited(path: Path, layout: Layout) -> tuple[Any, int]:
    """A table of text as a data frame, and how many rows of it were left out.

    Whole numbers are numbers, unless a zero begins any of a column's: `007` is a text. Rows of
    several columns in which every cell is blank, as spreadsheets leave them at the end, are
    left out. How many they are is said.

    Raises:
        DataError: If it cannot be read, or a row has more or fewer cells than there are columns.
    """
    pandas = require("pandas", "train")
    names, separator = header(path, layout)
    require_distinct(path, names)

    def read(file: IO[str], as_text: Sequence[str] = ()) -> Any:
        return pandas.read_csv(
            file,
            sep=r"\s+" if separator == _BLANKS else separator,
            index_col=False,  # else longer rows silently shift all columns
            header=None if layout.columns else 0,
            names=names if layout.columns or separator == _BLANKS else None,
            skiprows=int(separator == _BLANKS and _counts_rows(path, layout)),
            usecols=list(as_text) or None,
            dtype=dict.fromkeys(as_text, "string") or None,
            quoting=csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE,
            dtype_backend="numpy_nullable",
            keep_default_na=False,
            na_values=list(layout.missing),
            decimal=layout.decimal,
            skipinitialspace=True,
            low_memory=False,
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # more cells than names
            with open_text(path, layout.encoding) as file:
                frame = read(file)
            keep_zeros(frame, lambda: open_text(path, layout.encoding), read)
    except (pandas.errors.ParserWarning, ValueError, *BROKEN) as error:
        _require_even(path, names, separator, layout)
        _require_quotes(path, separator, layout)
        raise unreadable(path, layout.kind, error, layout.encoding) from error
    if len(frame) and len(names) > 1 and frame.iloc[:, -1].isna().any():
        # Cells that are not there look like blanks.
        _require_even(path, names, separator, layout)
    count = len(frame)
    if len(names) > 1:
        frame = _without_blank_rows(path, frame, separator, layout)
        _require_one_header(path, frame, layout)
    if layout.quotes:
        _require_whole_rows(path, frame, separator, layout)
    return frame.rename(columns=lambda name: str(name).strip()), count - len(frame)


def _counts_rows(path: Path, layout: Layout) -> bool:
    """Whether the first line is a number alone, which says how many rows there are."""
    with open_text(path, layout.encoding) as file:
        return file.readline().strip().isdecimal()


def _without_blank_rows(path: Path, frame: Any, separator: str, layout: Layout) -> Any:
    """A table without rows in which every cell is blank; a warning counts them."""
    rows = np.arange(len(frame))
    for column in frame.columns:
        if not len(rows):
            return frame
        cells = frame[column].iloc[rows]
        blank = cells.isna().to_numpy()
        texts = [isinstance(cell, str) and layout.is_blank([cell]) for cell in cells.tolist()]
        rows = rows[blank | np.array(texts, dtype=bool)]
    if not len(rows):
        return frame
    with open_text(path, layout.encoding) as file:
        reader = layout.records(file, separator)
        at = next(
            reader.line_num for record in reader if len(record) > 1 and layout.is_blank(record)
        )
    some = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    warnings.warn(
        f"left out {some} of {path.name} in which every cell is blank, such as that of line {at}.",
        stacklevel=2,
    )
    return frame.drop(index=frame.index[rows]).reset_index(drop=True)


def _require_one_header(path: Path, frame: Any, layout: Layout) -> None:
    """Make sure that no row is the header again, as where files are put one behind the other.

    Raises:
        DataError: For the first that is.
    """
    rows = np.arange(len(frame))
    for name in frame.columns:
        if layout.columns or not len(rows) or frame[name].dtype.kind in "iufb":
            return
        cells = frame[name].iloc[rows].tolist()
        rows = rows[np.array([isinstance(c, str) and c.strip() == name.strip() for c in cells])]
    if len(rows):
        line = next(islice(lines(path, layout), int(rows[0]), None))
        raise DataError(
            f"{path.name} row {line} names the columns once more: were files put one behind the "
            "other? Remove the line."
        )


def _require_whole_rows(path: Path, frame: Any, separator: str, layout: Layout) -> None:
    """Make sure that no cell holds rows: a lone quote swallows them up to the next one.

    Raises:
        DataError: For the first that does.
    """
    found = first_swallower(frame, separator)
    if found is not None:
        name, row = found
        line = next(islice(lines(path, layout), row, None))
        raise DataError(
            f"{path.name} row {line}: a quote in column '{name}' takes in whole rows. Close it or "
            "remove it; if quotes are letters in this file like others, set `quotes: false`."
        )


def _require_even(path: Path, names: list[str], separator: str, layout: Layout) -> None:
    """Make sure that every row has as many cells as the header.

    Raises:
        DataError: For the first row that has not.
    """
    mark = _named(separator)
    try:
        with open_text(path, layout.encoding) as file:
            for line, record in layout.rows(layout.records(file, separator)):
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
    except (*BROKEN, UnicodeError, csv.Error):
        return  # who called has an error that says what is wrong


def _require_quotes(path: Path, separator: str, layout: Layout) -> None:
    """Make sure that quotes begin and end cells.

    Raises:
        DataError: For the first that does not.
    """
    line = 1
    try:
        with open_text(path, layout.encoding) as file:
            for begins, _ in layout.rows(layout.records(file, separator, strict=True)):
                line = begins
    except csv.Error as error:
        raise DataError(
            f"{path.name}: after row {line} a quote is not closed, or stands inside of a cell "
            f"({error}). Close it, or double it inside of a quoted cell."
        ) from error
    except (*BROKEN, UnicodeError):
        return  # who called has an error that says what is wrong


def _named(separator: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "mark"}[separator]


def require_distinct(path: Path, names: list[str]) -> None:
    """Makes sure that no two columns have one name.

    Raises:
        DataError: If two have.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        first = " If the first line is a row, name them under `columns`." if _number(twice) else ""
        raise DataError(
            f"{path.name} has two columns named '{twice}'. Rename or remove one.{first}"
        )


def _number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
