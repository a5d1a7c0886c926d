"""Tables of the user's own: CSV, TSV, Parquet, JSON lines.

Letters: N rows.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polytask.data import delimited
from polytask.data.delimited import BROKEN, Decimal, Layout, require_distinct, unreadable
from polytask.data.delimited_rows import read_delimited
from polytask.data.disguises import require_encoding, require_file, seen
from polytask.data.json_rows import json_names, json_numbers, read_json
from polytask.data.linked import cells_of, linked, require_places
from polytask.data.media import FileMedia, ParquetMedia
from polytask.data.parquet import nested, read_parquet
from polytask.data.places import PathOrParts, by_part, content_key, file_key, files_key
from polytask.data.sources import Media, Source, Table
from polytask.data.written_lists import require_lists
from polytask.errors import DataError, nearest, require

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


class TableFile(Source):
    """Rows of a file, or of several files with the same columns.

    Parquet files that the library `datasets` wrote name their classes: numbers of these columns
    are read as the names.

    Args:
        path: The file or files: `.csv`, `.tsv`, `.parquet`, `.jsonl` or `.json` (an object on each
            line, or a list of objects), all but Parquet also `.gz`.
            The cells of a CSV are divided by what divides its header: commas, else semicolons,
            tabs or bars; or blanks, if most cells are numbers. Or files by part (`train`,
            `validation`, `test`), which the source's split then takes with `fixed: true`.
        format: What they are, if the name does not say it.
        media: Columns that hold pictures, sounds or maps (pictures of numbers, for tasks about
            pixels): paths (relative to the table's folder), or in Parquet the encoded bytes.
        places: Where the files of a column of `media` are if its cells are not their paths, from
            the table's folder on and with columns in braces: `{path: "clips/{path}"}`,
            `{id: "images/{id}.jpg"}`, `{name: "../audio/fold{fold}/{name}"}`, and `{id:06}` for
            numbers with zeros before them, as `000042`. Of several places, the first that has
            the file.
        missing: Texts that mean that a cell is blank. Blank and white cells always do.
        encoding: How letters are stored where the file is text, such as latin-1.
        decimal: What begins the fraction of a number in CSV and TSV.
        columns: The names of all columns of a CSV or TSV whose first line is a row.
        lists: Columns whose cells are lists written as text, as Python and JSON do: `['a', 'b']`.
        quotes: Whether a cell of a CSV or TSV may stand in quotes; if not, they are letters like
            others, as in texts that nothing but tabs divides.
    """

    def __init__(
        self,
        *,
        path: PathOrParts,
        format: Format | None = None,
        media: dict[str, Literal["image", "sound", "map"]] | None = None,
        places: dict[str, str | list[str]] | None = None,
        missing: list[str] | None = None,
        encoding: str = "utf-8",
        decimal: Decimal = ".",
        columns: list[str] | None = None,
        lists: list[str] | None = None,
        quotes: bool = True,
    ) -> None:
        files = by_part(path)
        self.paths = [Path(p).expanduser() for _, p in files]
        self.parts = [part for part, _ in files] if isinstance(path, dict) else None
        self.format = format
        self.media = dict(media or {})
        self.places, self._new = require_places(places or {}), False
        self.missing = list(MISSING if missing is None else missing)
        self.encoding, self.decimal = require_encoding(encoding), decimal
        self.columns, self.quotes = list(columns or ()), quotes
        self.lists = list(lists or ())

    def another(self, path: Path, inputs: Iterable[str]) -> "TableFile":
        """Another table, read as these are; in UTF-8 where it is that, whatever these are in.

        Args:
            path: Where it is.
            inputs: Columns of inputs: a table whose first line names any of them has a header,
                though these have none.
        """
        kind = known_format(path) or self.format
        encoding = self.encoding
        if kind != "parquet" and path.is_file() and delimited.is_utf8(path):
            encoding = "utf-8"
        layout = replace(self._layout("csv"), columns=(), encoding=encoding)
        headed = not set(inputs).isdisjoint(column_names(path, kind, layout=layout))
        made = TableFile(
            path=path,
            format=kind,
            places=dict(self.places),
            missing=self.missing,
            encoding=encoding,
            decimal=self.decimal,
            columns=None if headed else self.columns,
            lists=self.lists,
            quotes=self.quotes,
        )
        made._new = True
        return made

    def alike(self, path: Path) -> bool:
        """Whether a file is a table by its name, or has the ending that this one has."""
        ending = self.paths[0].suffix.lower()
        own = self.format is not None and ending != "" and path.suffix.lower() == ending
        return own or known_format(path) is not None

    def names(self) -> list[str]:
        """The columns of the first file, from its first lines alone."""
        return column_names(self.paths[0], self.format, layout=self._layout("csv"))

    def load(self) -> Table:
        """Reads all plain columns."""
        pandas = require("pandas", "train")
        frames, formats, left = [], [], 0
        for path in self.paths:
            require_file(path)
            formats.append(self.format or format_of(path))
            frame, without = self._read(path, formats[-1])
            frames.append(frame)
            left += without
        first = list(frames[0].columns)
        for path, frame in zip(self.paths[1:], frames[1:], strict=True):
            if set(frame.columns) != set(first):
                other = sorted(set(frame.columns) ^ set(first))
                raise DataError(
                    f"{path.name} and {self.paths[0].name} should have the same columns. Only one "
                    f"has: {', '.join(other)}."
                )
        frame = frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)
        sizes = [len(f) for f in frames]
        astray = next((c for c in self.places if c not in self.media and not self._new), None)
        if astray is not None:
            raise DataError(f"`places` names column '{astray}'. Declare it under `media`, too.")
        media = {
            column: self._media(column, kind, frame, sizes) for column, kind in self.media.items()
        }
        frame = frame.drop(columns=[c for c in self.media if c in frame.columns])

        @cache  # a file is read once for all of its rows, of which predictions name each
        def numbers(at: int) -> Sequence[int]:
            return line_numbers(self.paths[at], formats[at], sizes[at], self._layout(formats[at]))

        def locate(row: int) -> str:
            for at, size in enumerate(sizes):
                if row < size:
                    return f"{self.paths[at].name} row {numbers(at)[row]}"
                row -= size
            raise AssertionError(row)

        lists = [c for c in self.lists if not self._new or c in frame.columns]
        require_lists(frame, lists, locate, self.paths[0].name)
        _require_letters(frame, locate)
        split = None
        if self.parts is not None:
            named = [
                part for part, size in zip(self.parts, sizes, strict=True) for _ in range(size)
            ]
            split = pandas.Series(named, dtype=object)
        unread = {} if formats[0] != "parquet" else nested(self.paths[0], media)
        key = self._key(media, left)
        return Table(self.paths[0].name, frame, media, key, locate, split, unread)

    def _key(self, media: Mapping[str, Media], left: int) -> str:
        """What the rows depend on; runs from before rows were left out numbered them otherwise."""
        linked = [p for m in media.values() if isinstance(m, FileMedia) for p in m.paths if p]
        reading: list[Any] = [how for how in (self.encoding, self.decimal) if how not in _USUAL]
        reading += [part for part in (self.columns, self.parts) if part]
        reading += [] if self.quotes else ["no quotes"]
        reading += [["lists", *self.lists]] if self.lists else []
        reading += [f"without {left} blank rows"] if left else []
        files = map(file_key, self.paths)
        return content_key(["table", *files, files_key(linked), self.missing, *reading])

    def _layout(self, kind: Format) -> Layout:
        return Layout(
            kind="tsv" if kind == "tsv" else "csv",
            encoding=self.encoding,
            decimal=self.decimal,
            missing=tuple(self.missing),
            columns=tuple(self.columns),
            quotes=self.quotes,
        )

    def _read(self, path: Path, kind: Format) -> tuple[Any, int]:
        """The rows of a file, and how many blank ones were left out."""
        left = 0
        if kind == "parquet":
            frame = read_parquet(path)
        elif kind == "jsonl":
            frame = read_json(path, self.encoding)
        else:
            frame, left = read_delimited(path, self._layout(kind))
        require_distinct(path, list(frame.columns))
        for column in frame.columns:
            series = frame[column]
            if series.dtype == object or str(series.dtype) in ("string", "str"):
                frame[column] = _blanked(series, self.missing)
        return frame, left

    def _media(
        self, column: str, kind: Literal["image", "sound", "map"], frame: Any, sizes: list[int]
    ) -> Media:
        if column in frame.columns:
            wrong = next((c for c in cells_of(frame[column]) if not _names_a_file(c)), None)
            if wrong is not None:
                raise DataError(
                    f"Column '{column}' of {self.paths[0].name} should hold paths of files"
                    + (" or their bytes" if self.paths[0].suffix in (".parquet", ".pq") else "")
                    + f". Found {str(wrong)[:60]!r}."
                )
            folders = [
                p.parent for p, size in zip(self.paths, sizes, strict=True) for _ in range(size)
            ]
            places = self.places.get(column, ())
            return linked(kind, column, frame, folders, places, new=self._new)
        if all((self.format or format_of(p)) == "parquet" for p in self.paths):
            parquet = require("pyarrow.parquet", "train")
            names = parquet.ParquetFile(self.paths[0]).schema_arrow.names
            if column in names:
                return ParquetMedia(kind, self.paths, column)
        else:
            names = list(frame.columns)
        raise DataError(
            f"`media` names column '{column}', which {self.paths[0].name} does not have. "
            f"{nearest(column, names)}"
        )


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
    name = path.name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def format_of(path: Path) -> Format:
    """The format that a file's name says.

    Raises:
        DataError: If it says none.
    """
    kind = known_format(path)
    if kind is not None:
        return kind
    require_file(path)
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
    try:
        if kind == "parquet":
            schema = require("pyarrow.parquet", "train").ParquetFile(path).schema_arrow
            return [str(name) for name in schema.names]
        return json_names(path, layout.encoding)
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
    return array("q", islice(json_numbers(path, layout.encoding), count))


def _names_a_file(cell: Any) -> bool:
    """Whether a cell can be a path, or is blank."""
    return cell is None or isinstance(cell, int) or (isinstance(cell, str) and "\0" not in cell)


def _blanked(series: Any, missing: list[str]) -> Any:
    """A column of text with white and `missing` cells blank, and no white ends."""
    cells: list[Any] = []
    blank = {"", *missing}
    for cell in series.astype(object).tolist():
        text = cell.strip() if isinstance(cell, str) else cell
        cells.append(None if isinstance(text, str) and text in blank else text)
    pandas = require("pandas", "train")
    return pandas.Series(cells, index=series.index, dtype=object)
