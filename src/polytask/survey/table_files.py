"""Which files of a folder are one table, and how it is read."""

import codecs
import json
import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polytask.data.arff import ArffFile
from polytask.data.delimited import BROKEN, Layout, header, is_utf8, open_bytes, open_text
from polytask.data.files import list_media
from polytask.data.json_rows import tabular
from polytask.data.media import ParquetMedia
from polytask.data.parquet import nested
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.splits import PARTS, part_named
from polytask.data.table_rows import Format, column_names, format_of, known_format
from polytask.data.tables import TableFile
from polytask.errors import DataError, nearest
from polytask.survey.lines import one_line, quoted
from polytask.survey.notations import decimal_commas, marks_of_blanks, written_lists

_SHOWN = 3
_LINES = 20  # that tell what divides cells
_UNNAMED = (".data", ".dat", ".txt")
_SHARD = re.compile(r"[-_.]\d+[-_]of[-_]\d+(?=\.)", re.IGNORECASE)


def table_files(
    data: Path, targets: Sequence[str] = (), names: Sequence[str] | None = None
) -> PathOrParts:
    """The file or files of a table, by part where their names say parts; empty for no table.

    A shard (`train-00000-of-00002.parquet`) brings the others and those of other parts beside it.
    In a folder, tables are looked for at any depth; pictures or sounds in it are class folders
    unless targets are named.

    Args:
        data: A table, or a folder.
        targets: What is to be predicted.
        names: The names of all columns, where the first line is a row.

    Raises:
        DataError: If a folder has several tables.
    """
    if data.is_dir():
        if list(targets) in ([], ["label"]) and any(list_media(data).values()):
            return []
        files = tables_in(data) or _unnamed_in(data, targets)
    elif _SHARD.search(data.name) and data.is_file():
        files = [f for f in sorted(data.parent.iterdir()) if is_table(f) and _SHARD.search(f.name)]
        files = [f for f in files if _key(f) == _key(data)]
    else:
        return data
    return _by_part(_of_one(data, files, targets, names), names)


def _unnamed_in(folder: Path, targets: Sequence[str]) -> list[Path]:
    """Files of a folder that have all targets as columns, though their names say no format."""
    plain = _plain(targets)
    files = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in _UNNAMED and f.is_file()]
    return [f for f in files if plain and plain <= _columns(f)][:1]


def _plain(targets: Sequence[str]) -> set[str]:
    """The columns that targets name in full, ends of `first..last` among them."""
    names = [name for text in targets if text[:1] != "-" for name in text.split("..")]
    return {name for name in names if name and "*" not in name}


def _of_one(
    data: Path, files: Sequence[Path], targets: Sequence[str], names: Sequence[str] | None
) -> list[Path]:
    """The files of the one table that is meant: the only one, or the only one that has the targets,
    or of these the only one in parts.

    Raises:
        DataError: If there are several.
    """
    keys: dict[str, list[Path]] = {}
    for file in files:
        keys.setdefault(_key(file), []).append(file)
    sets = list(keys.values())
    if len(sets) < 2:
        return list(files)
    plain = _plain(targets)
    if plain and not names:
        sets = [of for of in sets if plain <= _columns(of[0])] or sets
    if len(sets) > 1:
        parts = [of for of in sets if len(of) > 1 and "train" in map(_part, of)]
        sets = parts if len(parts) == 1 else sets
    if len(sets) == 1:
        return sets[0]
    columns = {name for of in sets for name in _columns(of[0])}
    lacking = next((name for name in sorted(plain) if name not in columns), None)
    if lacking is not None and not names:
        raise DataError(
            f"{data} has several tables, and none has a column '{lacking}' to predict. "
            f"{nearest(lacking, sorted(columns))}"
        )
    shown = [of[0].relative_to(data).as_posix() for of in sets]
    more = ", ..." if len(shown) > 8 else ""
    alike = len({frozenset(_columns(of[0])) for of in sets}) == 1
    raise DataError(
        f"{data} has several tables: {', '.join(shown[:8])}{more}. Name one."
        + (
            " They have the same columns: to train on several, list them under the source's `path` "
            "in the YAML file, as [a.csv, b.csv]."
            if alike
            else ""
        )
    )


def _columns(file: Path) -> set[str]:
    """The columns of a table; none if it cannot be read."""
    layout = Layout("csv", encoding=other_encoding(file) or "utf-8")
    try:
        return set(column_names(file, known_format(file) or "csv", layout=layout))
    except DataError:  # another may be meant, and reading it says why
        return set()


def not_taken(data: Path, files: PathOrParts) -> list[tuple[Path, str]]:
    """Tables of a folder that are not read with those that were found, and why.

    Args:
        data: The folder, or a table.
        files: What `table_files` found.
    """
    if not data.is_dir():
        return []
    taken = [file for _, file in by_part(files)]
    others = [f for f in tables_in(data) if f not in taken]
    key = _key(taken[0])
    another = "it is another table: name it to draft from it"
    unlike = f"its columns are not those of {taken[0].name}"
    return [(f, unlike if _key(f) == key else another) for f in others]


def other_parts(data: Path) -> list[Path]:
    """Tables beside one that is a training part, which seem to be its other parts.

    Args:
        data: The table that is named.
    """
    if not data.is_file() or not is_table(data) or _SHARD.search(data.name):
        return []
    if _part(data) != "train":
        return []
    beside = [f for f in sorted(data.parent.iterdir()) if f.is_file() and is_table(f)]
    return [f for f in beside if f != data and _part(f) != "train" and _key(f) == _key(data)]


def tables_in(folder: Path) -> list[Path]:
    """The tables of a folder, at any depth, by their names.

    Args:
        folder: The folder.
    """
    return [f for f in sorted(folder.rglob("*")) if f.is_file() and is_table(f)]


def _by_part(files: Sequence[Path], names: Sequence[str] | None) -> PathOrParts:
    """Files with the columns of the first, by part if all names say one."""
    named: dict[str, Path | list[Path]] = {}
    found = {f: _part(f) for f in files}
    if not all(found.values()) or "train" not in found.values():
        return files[0] if len(files) == 1 else list(files)
    first = next(f for f, part in found.items() if part == "train")
    for part in PARTS:  # the test part that a contest publishes has no labels
        of = [f for f, p in found.items() if p == part and _alike(f, first, names)]
        if of:
            named[part] = of[0] if len(of) == 1 else of
    only = named["train"]
    return only if len(named) == 1 else named


def _alike(file: Path, first: Path, names: Sequence[str] | None) -> bool:
    """Whether a file has the columns of the first, or as many where it does not name them."""
    if not names:
        return set(column_names(file)) == set(column_names(first))
    for quotes in (True, False):
        try:
            column_names(file, layout=Layout("csv", columns=tuple(names), quotes=quotes))
        except DataError:
            continue
        return True
    return False


def _part(file: Path) -> str | None:
    """The part that a file's name says."""
    return next((p for p in map(part_named, re.split(r"[-_.]", file.name)) if p), None)


def _key(file: Path) -> str:
    """A file's name without shard and part."""
    pieces = re.split(r"([-_.])", _SHARD.sub("", file.name))
    return "".join("*" if part_named(p) else p for p in pieces)


def is_table(file: Path) -> bool:
    """Whether a file is a table by its name; of JSON, by how it begins as well."""
    if known_format(file) is None or file.name.startswith("."):
        return False
    return ".json" not in file.suffixes or tabular(file)


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
    if path.suffix.lower() in _UNNAMED and path.is_file():
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
