"""The rows of tables as files have them: CSV, TSV, Parquet, JSON lines.

Letters: N rows.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polytask.data import delimited
from polytask.data.addresses import file_of
from polytask.data.delimited import BROKEN, Decimal, Layout, require_distinct, unreadable
from polytask.data.delimited_rows import read_delimited
from polytask.data.disguises import require_file, seen
from polytask.data.json_rows import json_names, json_numbers, read_json
from polytask.data.parquet import open_parquet, read_parquet
from polytask.data.written_lists import require_lists
from polytask.errors import DataError, require

Format = Literal["csv", "tsv", "parquet", "jsonl"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_USUAL = ("utf-8", ".")
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A")


@dataclass(frozen=True)
class Rows:
    """The rows of one file, or of several with the same columns.

    Attributes:
        frame: All plain columns, one row for each.
        paths: The files.
        sizes: How many rows each of them has.
        left: How many blank rows were left out.
        locate: Says where a row comes from.
        words: Says how often each word that means blank stands in a column's cells.
    """

    frame: Any
    paths: Sequence[Path]
    sizes: Sequence[int]
    left: int
    locate: Callable[[int], str]
    words: Callable[[str], Mapping[str, int]]

    @property
    def name(self) -> str:
        """What they are called in messages: by the first file."""
        return self.paths[0].name

    @property
    def folders(self) -> list[Path]:
        """`[N]` the folder of each row's file."""
        pairs = zip(self.paths, self.sizes, strict=True)
        return [path.parent for path, size in pairs for _ in range(size)]


@dataclass(frozen=True)
class Reading:
    """How files of a table are read; the settings are those of `TableFile`."""

    format: Format | None = None
    missing: tuple[str, ...] = MISSING
    encoding: str = "utf-8"
    decimal: Decimal = "."
    columns: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    quotes: bool = True

    def layout(self, kind: Format = "csv") -> Layout:
        """How a file of text is written."""
        return Layout(
            kind="tsv" if kind == "tsv" else "csv",
            encoding=self.encoding,
            decimal=self.decimal,
            missing=self.missing,
            columns=self.columns,
            quotes=self.quotes,
        )

    def names(self, path: Path) -> list[str]:
        """The columns of a file, from its first lines alone."""
        return column_names(path, self.format, layout=self.layout())

    def kind(self, path: Path) -> Format:
        """What a file is."""
        return self.format or format_of(path)

    def key(self, left: int, parts: Sequence[str] | None = None) -> list[Any]:
        """What rows depend on beside the files and `missing`, as far as it is not as usual.

        Runs from before blank rows were left out numbered rows otherwise.

        Args:
            left: How many blank rows were left out.
            parts: The part of each file, if files are parts.
        """
        found: list[Any] = [how for how in (self.encoding, self.decimal) if how not in _USUAL]
        found += [list(part) for part in (self.columns, parts) if part]
        found += [] if self.quotes else ["no quotes"]
        found += [["lists", *self.lists]] if self.lists else []
        return found + ([f"without {left} blank rows"] if left else [])

    def read(self, paths: Sequence[Path]) -> Rows:
        """Reads all plain columns.

        Raises:
            DataError: If a file cannot be read, or has other columns than the first.
        """
        pandas = require("pandas", "train")
        frames, formats, left = [], [], 0
        blanked = Counter[tuple[str, str]]()
        for path in paths:
            require_file(file_of(path))
            formats.append(self.kind(path))
            frame, without = self._read(path, formats[-1], blanked)
            frames.append(frame)
            left += without
        first = list(frames[0].columns)
        for path, frame in zip(paths[1:], frames[1:], strict=True):
            if set(frame.columns) != set(first):
                other = sorted(set(frame.columns) ^ set(first))
                raise DataError(
                    f"{path.name} and {paths[0].name} should have the same columns. Only one "
                    f"has: {', '.join(other)}. Take it out there, or add it to the other, blank "
                    "where nothing is known."
                )
        frame = frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)
        sizes = [len(f) for f in frames]

        @cache  # a file is read once for all of its rows, of which predictions name each
        def numbers(at: int) -> Sequence[int]:
            return line_numbers(paths[at], formats[at], sizes[at], self.layout(formats[at]))

        def locate(row: int) -> str:
            for at, size in enumerate(sizes):
                if row < size:
                    return f"{paths[at].name} row {numbers(at)[row]}"
                row -= size
            raise AssertionError(row)

        @cache  # one more reading tells of all columns
        def counted() -> Counter[tuple[str, str]]:
            found = Counter(blanked)
            for path, kind in zip(paths, formats, strict=True):
                if kind in ("csv", "tsv"):  # of which cells came blank: that is read when asked
                    found += delimited.words_in(path, self.layout(kind))
            return found

        def words(column: str) -> Mapping[str, int]:
            return {word: n for (name, word), n in counted().items() if name == column}

        return Rows(frame, paths, sizes, left, locate, words)

    def finish(self, rows: Rows, media: Collection[str], *, new: bool = False) -> None:
        """Makes lists of texts that are such, in place, and looks for cells that are no texts.

        Args:
            rows: The rows.
            media: Columns that are not looked at.
            new: Whether columns of lists may be lacking.

        Raises:
            DataError: If a cell is none.
        """
        frame = rows.frame
        lists = [c for c in self.lists if not new or c in frame.columns]
        require_lists(frame, lists, rows.locate, rows.name)
        plain = [c for c in frame.columns if c not in media]
        _require_letters(frame[plain], rows.locate)

    def _read(self, path: Path, kind: Format, words: Counter[tuple[str, str]]) -> tuple[Any, int]:
        """The rows of a file, and how many blank ones were left out.

        Args:
            path: The file.
            kind: What it is.
            words: Columns and words that blanks were made of, which are added to it.
        """
        left = 0
        if kind == "parquet":
            frame = read_parquet(path)
        elif kind == "jsonl":
            frame = read_json(path, self.encoding, self.columns)
        else:
            frame, left = read_delimited(path, self.layout(kind))
        require_distinct(path, list(frame.columns))
        for column in frame.columns:
            series = frame[column]
            if series.dtype == object or str(series.dtype) in ("string", "str"):
                frame[column] = _blanked(series, self.missing)
                if kind not in ("csv", "tsv"):
                    blank = series[frame[column].isna() & series.notna()].tolist()
                    words.update((str(column), c.strip()) for c in blank if c.strip())
        return frame, left


def _require_letters(frame: Any, locate: Callable[[int], str]) -> None:
    """Make sure that no cell holds a NUL, which is no letter of any text.

    Raises:
        DataError: For the first that does.
    """
    for column in frame.columns:
        if frame[column].dtype != object:
            continue
        for row, cell in enumerate(frame[column].tolist()):
            if isinstance(cell, str) and "\0" in cell:
                raise DataError(
                    f"{locate(row)}, column '{column}': the cell holds a NUL character, which "
                    f"belongs to no text. Found {cell[:60]!r}. Remove it, or write the file anew: "
                    "a program that broke off leaves such."
                )


def known_format(path: Path) -> Format | None:
    """The format that a file's name says; None if it says none."""
    name = file_of(path).name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def format_of(path: Path) -> Format:
    """The format that a file's name says.

    Raises:
        DataError: If it says none.
    """
    kind = known_format(path)
    if kind is not None:
        return kind
    require_file(file_of(path))
    said = seen(path)
    if said is not None:
        raise DataError(f"{path.name} is no table that can be read: {said}.")
    raise DataError(
        f"{path.name}: the name says no known format. Known: {', '.join(SUFFIXES)} (also .gz). "
        "Rename it, or set `format` in the YAML file if it is one of them under another name. "
        "If there is a word on each line (CoNLL), name all columns, that of words so: "
        "`polytask init --columns words,pos,ner`; or write `kind: columns` yourself."
    )


def column_names(
    path: Path, kind: Format | None = None, *, layout: Layout | None = None
) -> list[str]:
    """The columns of a table, from its first lines alone.

    Args:
        path: The table.
        kind: Its format, if the name does not say it.
        layout: How it is written, if not as usual.

    Raises:
        DataError: If it cannot be read.
    """
    kind = kind or format_of(path)
    layout = layout or Layout("csv")
    if kind in ("csv", "tsv"):
        return delimited.header(path, replace(layout, kind="tsv" if kind == "tsv" else "csv"))[0]
    if kind == "parquet":
        require_file(path)
        return [str(name) for name in open_parquet(path).schema_arrow.names]
    try:
        return json_names(path, layout.encoding, layout.columns)
    except (*BROKEN, ValueError) as error:
        raise unreadable(path, kind, error) from error


def line_numbers(path: Path, kind: Format, count: int, layout: Layout) -> Sequence[int]:
    """The line, from 1, that each row begins on in an editor; Parquet counts rows.

    Args:
        path: The table.
        kind: Its format.
        count: How many rows it has.
        layout: How it is written.
    """
    if kind == "parquet":
        return range(1, count + 1)
    if kind != "jsonl":
        return array("q", islice(delimited.lines(path, layout), count))
    return array("q", islice(json_numbers(path, layout.encoding, layout.columns), count))


def _blanked(series: Any, missing: Sequence[str]) -> Any:
    """A column of text with white and `missing` cells blank, and no white ends."""
    cells: list[Any] = []
    blank = {"", *missing}
    for cell in series.astype(object).tolist():
        text = cell.strip() if isinstance(cell, str) else cell
        cells.append(None if isinstance(text, str) and text in blank else text)
    pandas = require("pandas", "train")
    return pandas.Series(cells, index=series.index, dtype=object)
