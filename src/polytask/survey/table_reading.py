"""How a table of somebody is read: what divides it, encodings, marks that stand for blanks."""

import codecs
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polytask.data.arff import ArffFile
from polytask.data.delimited import BROKEN, Layout, header, is_utf8, open_bytes, open_text
from polytask.data.media import ParquetMedia
from polytask.data.parquet import nested
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.table_rows import Format, column_names, format_of, known_format
from polytask.data.tables import TableFile
from polytask.errors import DataError
from polytask.survey.lines import one_line, quoted
from polytask.survey.notations import decimal_commas, marks_of_blanks, written_lists

_SHOWN = 3
_LINES = 20  # that tell what divides cells
UNNAMED = (".data", ".dat", ".txt")


def read_table(
    files: PathOrParts, names: Sequence[str] | None
) -> tuple[TableFile | ArffFile, Table, list[str]]:
    """A table, its source, and the settings of the source that say how it is read.

    Text that is no UTF-8 is taken for what Excel and others write. Where tabs or bars divide,
    quotes are letters if the table cannot be read otherwise. Commas that begin fractions are seen,
    and marks such as `?` that stand for blanks.

    Args:
        files: What `table_files` found.
        names: The names of all columns, where the first line is a row.

    Raises:
        DataError: If it cannot be read, or has no rows.
    """
    paths = [file for _, file in by_part(files)]
    if paths[0].suffix.lower() == ".arff" and not names:
        arff = ArffFile(path=paths)
        return arff, arff.load(), []
    kind = known_format(paths[0]) or _unnamed_format(paths[0])
    columns = list(names) if names else None
    reading = [f"    columns: [{', '.join(map(quoted, names))}]"] if names else []
    if known_format(paths[0]) is None:
        reading.append(f"    format: {kind}  # the name of the file does not say it")
    encoding = next((e for e in map(other_encoding, paths) if e is not None), None)
    if encoding is not None:
        reading.append(f"    encoding: {encoding}  # it is no utf-8: are its letters right?")

    def made(quotes: bool = True) -> TableFile:
        return TableFile(
            path=files,
            format=kind if known_format(paths[0]) is None else None,
            media=encoded_media(paths[0]) if kind == "parquet" else None,
            columns=columns,
            encoding=encoding or "utf-8",
            quotes=quotes,
        )

    source = made()
    try:
        table = source.load()
    except DataError:
        if kind not in ("csv", "tsv") or not _quotes_may_be_letters(paths[0], kind, columns):
            raise
        source = made(quotes=False)
        try:
            unquoted = source.load()
        except DataError:
            unquoted = None
        if unquoted is None:
            raise
        table = unquoted
        reading.append("    quotes: false  # quotes that nothing closes are letters")
    if not len(table):
        raise DataError(
            f"{table.name} has no rows below the columns' names. Expected one for each example."
        )
    if kind in ("csv", "tsv"):
        cells = ((name, table.cells([name])[:, 0].tolist()) for name in table.frame.columns)
        found = next((name for name, some in cells if decimal_commas(some)), None)
        if found is not None:
            reading.append(f'    decimal: ","  # as in {one_line(found)}')
            source.decimal = ","
            table = source.load()
    if kind != "jsonl":
        cells = ((name, table.cells([name])[:, 0].tolist()) for name in table.frame.columns)
        source.lists = [name for name, some in cells if written_lists(some)]
        if source.lists:
            reading.append(
                f"    lists: [{', '.join(map(quoted, source.lists))}]  # written as text"
            )
            table = source.load()
    marks: dict[str, str] = {}
    for name in table.frame.columns:
        for mark in marks_of_blanks(table.cells([name])[:, 0].tolist()):
            marks.setdefault(mark, name)
    if marks:
        source.missing += marks
        listed = ", ".join(json.dumps(m, ensure_ascii=False) for m in source.missing if m)
        why = " and ".join(f"{mark} in {name}" for mark, name in list(marks.items())[:_SHOWN])
        reading.append(f"    missing: [{listed}]  # as {one_line(why)}")
        table = source.load()
    return source, table, reading


def _unnamed_format(path: Path) -> Format:
    """The format of a table whose name says none, as many archives of data call theirs.

    Raises:
        DataError: If it seems to be no table.
    """
    if path.suffix.lower() in UNNAMED and path.is_file():
        encoding = other_encoding(path) or "utf-8"
        if len(column_names(path, "csv", layout=Layout("csv", encoding=encoding))) > 1:
            return "csv"
        _require_text_lines(path, encoding)
    return format_of(path)


def _require_text_lines(path: Path, encoding: str) -> None:
    """Make sure that a file that seems to be a table is not divided by an unknown mark.

    Raises:
        DataError: If the same marks are in all of its first lines.
    """
    with open_text(path, encoding) as file:
        first = [line.strip() for line in islice(file, _LINES)]
    for mark in ("::", "^", "~", "$", "\x01"):
        counts = {line.count(mark) for line in first}
        if len(counts) == 1 and counts != {0}:
            raise DataError(
                f"{path.name}: {mark!r} seems to divide its cells, which is not read. Found "
                f"'{first[0][:60]}'. Write commas, semicolons, tabs or bars in its place."
            )


def _quotes_may_be_letters(path: Path, kind: Format, columns: Sequence[str] | None) -> bool:
    """Whether tabs or bars divide a table: texts seldom have these, so that few put quotes."""
    layout = Layout("tsv" if kind == "tsv" else "csv", columns=tuple(columns or ()), quotes=False)
    try:
        return header(path, layout)[1] in ("\t", "|")
    except DataError:
        return False


def other_encoding(path: Path) -> str | None:
    """How letters are stored in a table of text that is no UTF-8; None if it is, or nothing fits.

    Excel writes UTF-16 with a mark at its beginning, and else what Windows calls 1252.

    Args:
        path: The file.
    """
    if known_format(path) == "parquet" or not path.is_file() or is_utf8(path):
        return None
    try:
        with open_bytes(path) as file:
            raw = file.read()
    except BROKEN:
        return None  # reading it says why
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return None
    return "cp1252"


def encoded_media(data: Path) -> dict[str, Literal["image", "sound", "map"]]:
    """Columns of a Parquet file whose cells are encoded pictures or sounds, by the first ones."""
    if format_of(data) != "parquet" or not data.is_file():
        return {}
    found: dict[str, Literal["image", "sound", "map"]] = {}
    for name in nested(data, ()):
        pictures, sounds = ParquetMedia("image", [data], name), ParquetMedia("sound", [data], name)
        for item in range(min(len(pictures), 20)):  # the first may be blank or broken
            if _decodes(pictures.picture, item):
                found[name] = "image"
            elif _decodes(sounds.wave, item):
                found[name] = "sound"
            if name in found:
                break
    return found


def _decodes(decode: Callable[[int], Any], item: int) -> bool:
    try:
        decode(item)
    except (DataError, OSError):
        return False
    return True
