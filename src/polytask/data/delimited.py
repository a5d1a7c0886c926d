"""Tables as text whose cells are divided by a mark: CSV and TSV.

A row's line, from 1, is that of an editor.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, cast

from polytask.data.disguises import disguise, not_text, skipping_mark
from polytask.errors import DataError

Kind = Literal["csv", "tsv"]
Decimal = Literal[".", ","]

# What a file raises that cannot be opened, read to its end, or unpacked.
BROKEN = (OSError, EOFError, zlib.error)

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_UNEVEN = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # as pandas says it
_LOOKED = 50  # rows that tell what divides cells, where no header does
_SEPARATORS: dict[Kind, tuple[str, ...]] = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
BLANKS = " "  # one or several of them, or of tabs


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
            file if separator != BLANKS else _with_single_blanks(file),
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
        yield "\n" if number == 0 and _is_count(plain) else f"{plain}\n"


def _is_count(line: str) -> bool:
    return line.strip().isdecimal()


def open_text(path: Path, encoding: str = "utf-8") -> IO[str]:
    """Opens a text file, unpacking `.gz`; a byte order mark is skipped."""
    encoding = skipping_mark(encoding)
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
    reason = str(error).strip().rstrip(".")
    uneven = _UNEVEN.search(reason)
    if uneven is not None:
        expected, line, found = uneven.groups()
        reason = f"line {line} has {found} cells, where {expected} were expected"
    reason = reason.removeprefix("Error tokenizing data. C error: ")
    return DataError(f"{path} cannot be read as {kind.upper()}: {reason}.")


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
                marks = _fitting(file, layout, [*marks, BLANKS] if kind == "csv" else marks)
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
        seems = "utf-16-be" if names[0].startswith("\0") else "utf-16-le"
        raise DataError(
            f"{path} is not text in {encoding}. Is it in utf-16? Set `encoding: {seems}`, for it "
            "does not begin with the mark that says which half of a letter comes first."
        )
    if names[0].lower().startswith("sep="):
        raise DataError(f"{path}: remove its first line '{names[0]}', which is only for Excel.")
    if layout.columns and len(names) != len(layout.columns):
        raise DataError(
            f"`columns` names {len(layout.columns)} columns ({', '.join(layout.columns)[:80]}); "
            f"the first line of {path.name} has {len(names)} cells. Name as many, or let its first "
            "line name the columns that it has."
        )
    return (list(layout.columns), best[1]) if layout.columns else best


def _divided_by_blanks(file: IO[str], layout: Layout) -> tuple[list[str], str] | None:
    """The header of a table that blanks divide; None for a single column of texts.

    All of the first rows have as many cells as the header then, and most of these are numbers. Or
    all have one more, that of the row's name.
    """
    file.seek(0)
    first, *rows = [r for r in islice(layout.records(file, BLANKS), _LOOKED) if r] or [[]]
    cells = [cell for row in rows for cell in row]
    numbers = sum(map(_number, cells))
    if len(first) < 2 or 2 * numbers < len(cells):
        return None
    widths = {len(row) for row in rows}
    if widths == {len(first) + 1}:
        return ["row" if "name" in first else "name", *first], BLANKS
    return (first, BLANKS) if widths == {len(first)} else None


def _fitting(file: IO[str], layout: Layout, marks: list[str]) -> list[str]:
    """Marks in the order of how many of the first rows they divide into as many cells as there are
    columns: a text may have a comma more often than bars divide a row. Of several that fit as many,
    commas come after others, for texts have them, and blanks after commas, which they follow."""

    def right(mark: str) -> int:
        file.seek(0)
        some = islice(layout.records(file, mark), _LOOKED)
        return sum(len(record) == len(layout.columns) for record in some)

    return sorted(marks, key=lambda mark: (-right(mark), mark == BLANKS, mark == ","))


def lines(path: Path, layout: Layout) -> Iterator[int]:
    """The first line of every row."""
    separator = header(path, layout)[1]
    with open_text(path, layout.encoding) as file:
        for line, _ in layout.rows(layout.records(file, separator)):
            yield line


def words_in(path: Path, layout: Layout) -> Counter[tuple[str, str]]:
    """How often each of the words that mean that a cell is blank stands in each column's cells.

    Args:
        path: The file, which was read before.
        layout: How it is written.
    """
    names, separator = header(path, layout)
    blank, found = {word for word in layout.missing if word}, Counter[tuple[str, str]]()
    with open_text(path, layout.encoding) as file:
        for _, cells in layout.rows(layout.records(file, separator)):
            found.update(
                (name, word)
                for name, cell in zip(names, cells, strict=False)
                if (word := cell.strip()) in blank
            )
    return found


def counts_rows(path: Path, layout: Layout) -> bool:
    """Whether the first line is a number alone, which says how many rows there are.

    Args:
        path: The file.
        layout: How it is written.
    """
    with open_text(path, layout.encoding) as file:
        return _is_count(file.readline())


def require_distinct(path: Path, names: list[str]) -> None:
    """Makes sure that no two columns have one name.

    Raises:
        DataError: If two have.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        value = _number(twice) or not any(map(str.isalnum, twice))
        first = " If the first line is a row, name them under `columns`." if value else ""
        raise DataError(
            f"{path.name} has two columns named '{twice}'. Rename or remove one.{first}"
        )


def _number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
