"""Tables of the user's own: CSV, TSV, Parquet, JSON lines.

Letters: N rows.
"""

import csv
import gzip
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from polytask.data.media import FileMedia, ParquetMedia
from polytask.data.places import content_key, file_key, files_key
from polytask.data.sources import Media, Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

Format = Literal["csv", "tsv", "parquet", "jsonl"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_SEPARATORS = {"csv": (",", ";", "\t"), "tsv": ("\t",)}
_MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A")


class TableFile(Source):
    """Rows of a file, or of several files with the same columns.

    Args:
        path: The file or files: `.csv`, `.tsv`, `.parquet`, `.jsonl` (all but Parquet also `.gz`).
            The cells of a CSV are divided by what divides its header: commas, else semicolons or
            tabs.
        format: What they are, if the name does not say it.
        media: Columns that hold pictures, sounds or maps (pictures of numbers, for tasks about
            pixels): paths (relative to the table's folder), or in Parquet the encoded bytes.
        missing: Texts that mean that a cell is blank. Blank and white cells always do.
    """

    def __init__(
        self,
        *,
        path: Path | list[Path],
        format: Format | None = None,
        media: dict[str, Literal["image", "sound", "map"]] | None = None,
        missing: list[str] | None = None,
    ) -> None:
        paths = path if isinstance(path, list) else [path]
        if not paths:
            raise ConfigError("`path` should name at least one file.")
        self.paths = [Path(p).expanduser() for p in paths]
        self.format = format
        self.media = dict(media or {})
        self.missing = list(_MISSING if missing is None else missing)

    def load(self) -> Table:
        """Reads all plain columns."""
        pandas = require("pandas", "train")
        frames, formats = [], []
        for path in self.paths:
            if not path.is_file():
                raise DataError(f"There is no file {path.absolute()}. {_beside(path)}")
            formats.append(self.format or format_of(path))
            frames.append(self._read(path, formats[-1]))
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
        media = {
            column: self._media(column, kind, frame, sizes) for column, kind in self.media.items()
        }
        frame = frame.drop(columns=[c for c in self.media if c in frame.columns])
        linked = [p for m in media.values() if isinstance(m, FileMedia) for p in m.paths if p]
        key = content_key(["table", *map(file_key, self.paths), files_key(linked), self.missing])

        def locate(row: int) -> str:
            for path, kind, size in zip(self.paths, formats, sizes, strict=True):
                if row < size:
                    return f"{path.name} row {line_of(path, kind, row)}"
                row -= size
            raise AssertionError(row)

        return Table(self.paths[0].name, frame, media, key, locate)

    def _read(self, path: Path, kind: Format) -> Any:
        if kind == "parquet":
            frame = _read_parquet(path)
        elif kind == "jsonl":
            frame = _read_json_lines(path)
        else:
            frame = _read_csv(path, kind, self.missing)
        require_distinct(path, list(frame.columns))
        for column in frame.columns:
            series = frame[column]
            if series.dtype == object or str(series.dtype) in ("string", "str"):
                frame[column] = _blanked(series, self.missing)
        return frame

    def _media(
        self, column: str, kind: Literal["image", "sound", "map"], frame: Any, sizes: list[int]
    ) -> Media:
        if column in frame.columns:
            cells = frame[column].astype(object)
            cells = cells.where(cells.notna(), None).tolist()
            folders = [
                p.parent for p, size in zip(self.paths, sizes, strict=True) for _ in range(size)
            ]
            return FileMedia(
                kind,
                [
                    None if cell is None else folder / str(cell).strip()
                    for folder, cell in zip(folders, cells, strict=True)
                ],
            )
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


def format_of(path: Path) -> Format:
    """The format that a file's name says.

    Raises:
        DataError: If it says none.
    """
    name = path.name.lower().removesuffix(".gz")
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise DataError(
        f"{path.name}: the name says no known format. Known: {', '.join(SUFFIXES)} (also .gz). "
        "Set `format` if it is one of them under another name."
    )


def column_names(path: Path, kind: Format | None = None) -> list[str]:
    """The columns of a table, from its first lines alone.

    Args:
        path: The table.
        kind: Its format, if the name does not say it.

    Raises:
        DataError: If it cannot be read.
    """
    kind = kind or format_of(path)
    try:
        if kind == "parquet":
            schema = require("pyarrow.parquet", "train").ParquetFile(path).schema_arrow
            return [str(name) for name in schema.names]
        with open_text(path) as file:
            if kind == "jsonl":
                return list(json.loads(next((x for x in file if x.strip()), "{}")))
            return _header(file, kind)[0]
    except (OSError, ValueError, csv.Error, EOFError) as error:
        raise _unreadable(path, kind, error) from error


def _unreadable(path: Path, kind: Format, error: Exception) -> DataError:
    expected = "" if kind == "parquet" else " Expected UTF-8 text with one row per example"
    header = {"csv": " below a header line.", "tsv": " below a header line."}.get(kind, ".")
    return DataError(
        f"{path} cannot be read as {kind.upper()}: {str(error).strip().rstrip('.')}."
        + (expected and expected + header)
    )


def _header(file: IO[str], kind: Format) -> tuple[list[str], str]:
    """The names in the first line that has any, and what divides them."""
    best: tuple[list[str], str] = ([], _SEPARATORS[kind][0])
    for separator in _SEPARATORS[kind]:
        file.seek(0)
        names: list[str] = next((record for record in _records(file, separator) if record), [])
        if len(names) > len(best[0]):
            best = ([name.strip() for name in names], separator)
    return best


def _records(file: IO[str], separator: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # cells may hold whole texts
    return csv.reader(file, delimiter=separator, skipinitialspace=True)


def require_distinct(path: Path, names: list[str]) -> None:
    """Makes sure that no two columns have one name.

    Raises:
        DataError: If two have.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path.name} has two columns named '{twice}'. Rename or remove one.")


def open_text(path: Path) -> IO[str]:
    """Opens a text file, unpacking `.gz`; a byte order mark is skipped."""
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def line_of(path: Path, kind: Format, row: int) -> int:
    """The line, from 1, that a row (from 0) begins on in an editor; Parquet counts rows."""
    if kind == "parquet":
        return row + 1
    with open_text(path) as file:
        lines = _json_lines(file) if kind == "jsonl" else _csv_lines(file, separator_of(path, kind))
        for number, line in enumerate(lines):
            if number == row:
                return line
    raise AssertionError(row)


def separator_of(path: Path, kind: Format) -> str:
    """What divides the cells of a CSV or TSV."""
    with open_text(path) as file:
        return _header(file, kind)[1]


def _csv_lines(file: IO[str], separator: str) -> Iterator[int]:
    """The first line of every record below the header."""
    reader = _records(file, separator)
    header, before = False, 0
    for record in reader:
        first, before = before + 1, reader.line_num
        if record and header:
            yield first
        header = header or bool(record)


def _json_lines(lines: Iterable[str]) -> Iterator[int]:
    return (number for number, line in enumerate(lines, start=1) if line.strip())


def _read_csv(path: Path, kind: Format, missing: list[str]) -> Any:
    pandas = require("pandas", "train")
    require_distinct(path, column_names(path, kind))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # more cells than names
            frame = pandas.read_csv(
                path,
                sep=separator_of(path, kind),
                index_col=False,  # else longer rows silently shift all columns
                dtype_backend="numpy_nullable",
                keep_default_na=False,
                na_values=missing,
                encoding="utf-8-sig",
                skipinitialspace=True,
                low_memory=False,
            )
    except pandas.errors.ParserWarning as error:
        raise DataError(
            f"{path} has rows with more cells than its header. Name every column, or put quotes "
            f'around cells that hold a "{separator_of(path, kind)}".'
        ) from error
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(path, kind, error) from error
    return frame.rename(columns=lambda name: str(name).strip())


def _read_parquet(path: Path) -> Any:
    parquet, types = require("pyarrow.parquet", "train"), require("pyarrow", "train").types
    try:
        file = parquet.ParquetFile(path)
        plain = [
            f.name
            for f in file.schema_arrow
            if not (types.is_binary(f.type) or types.is_large_binary(f.type))
            and not types.is_struct(f.type)
        ]
        return file.read(columns=plain).to_pandas(ignore_metadata=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def _read_json_lines(path: Path) -> Any:
    pandas = require("pandas", "train")
    records = []
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path.name} line {number} is not JSON: {error}") from error
                if not isinstance(record, dict):
                    raise DataError(
                        f'{path.name} line {number} should be an object such as {{"a": 1}}. '
                        f"Found {line.strip()[:60]}"
                    )
                records.append(record)
    except (OSError, UnicodeError, EOFError) as error:
        raise DataError(f"{path} cannot be read as JSON lines: {error}") from error
    return pandas.DataFrame(records)


def _blanked(series: Any, missing: list[str]) -> Any:
    """A column of text with white and `missing` cells blank, and no white ends."""
    cells: list[Any] = []
    blank = {"", *missing}
    for cell in series.astype(object).tolist():
        text = cell.strip() if isinstance(cell, str) else cell
        cells.append(None if isinstance(text, str) and text in blank else text)
    pandas = require("pandas", "train")
    return pandas.Series(cells, index=series.index, dtype=object)


def _beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent.absolute()} either."
    return nearest(path.name, [p.name for p in path.parent.iterdir()][:1000])
