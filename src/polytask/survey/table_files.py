"""Which files of a folder are one table, and how it is read."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from polytask.data.files import list_media
from polytask.data.media import ParquetMedia
from polytask.data.parquet import nested
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.splits import PARTS, part_named
from polytask.data.tables import TableFile, column_names, format_of, known_format
from polytask.errors import DataError
from polytask.survey.lines import quoted

_SHARD = re.compile(r"[-_.]\d+[-_]of[-_]\d+(?=\.)", re.IGNORECASE)


def table_files(data: Path, targets: Sequence[str] = ()) -> PathOrParts:
    """The file or files of a table, by part where their names say parts; empty for no table.

    A shard (`train-00000-of-00002.parquet`) brings the others and those of other parts beside it.
    In a folder, tables are looked for at any depth; pictures or sounds in it are class folders
    unless targets are named.

    Args:
        data: A table, or a folder.
        targets: What is to be predicted.

    Raises:
        DataError: If a folder has several tables.
    """
    if data.is_dir():
        if list(targets) in ([], ["label"]) and any(list_media(data).values()):
            return []
        files = [f for f in sorted(data.rglob("*")) if f.is_file() and _is_table(f)]
    elif _SHARD.search(data.name) and data.is_file():
        files = [f for f in sorted(data.parent.iterdir()) if _is_table(f) and _SHARD.search(f.name)]
        files = [f for f in files if _key(f) == _key(data)]
    else:
        return data
    keys = {_key(f): f for f in reversed(files)}
    if len(keys) > 1:
        names = [f.relative_to(data).as_posix() for f in reversed(keys.values())]
        more = ", ..." if len(names) > 8 else ""
        raise DataError(f"{data} has several tables: {', '.join(names[:8])}{more}. Name one.")
    return _by_part(files)


def _by_part(files: Sequence[Path]) -> PathOrParts:
    """Files with the columns of the first, by part if all names say one."""
    named: dict[str, Path | list[Path]] = {}
    found = {f: _part(f) for f in files}
    if not all(found.values()) or "train" not in found.values():
        return files[0] if len(files) == 1 else list(files)
    columns = set(column_names(next(f for f, part in found.items() if part == "train")))
    for part in PARTS:  # the test part that a contest publishes has no labels
        of = [f for f, p in found.items() if p == part and set(column_names(f)) == columns]
        if of:
            named[part] = of[0] if len(of) == 1 else of
    only = named["train"]
    return only if len(named) == 1 else named


def _part(file: Path) -> str | None:
    """The part that a file's name says."""
    return next((p for p in map(part_named, re.split(r"[-_.]", file.name)) if p), None)


def _key(file: Path) -> str:
    """A file's name without shard and part."""
    pieces = re.split(r"([-_.])", _SHARD.sub("", file.name))
    return "".join("*" if part_named(p) else p for p in pieces)


def _is_table(file: Path) -> bool:
    return known_format(file) is not None and not file.name.startswith(".")


def read_table(
    files: PathOrParts, names: Sequence[str] | None
) -> tuple[TableFile, Table, list[str]]:
    """A table, its source, and the settings of the source that say how it is read.

    Where tabs divide, quotes are letters if the table cannot be read otherwise.

    Args:
        files: What `table_files` found.
        names: The names of all columns, where the first line is a row.
    """
    first = by_part(files)[0][1]
    columns = list(names) if names else None
    reading = [f"    columns: [{', '.join(map(quoted, names))}]"] if names else []
    source = TableFile(path=files, media=encoded_media(first), columns=columns)
    try:
        return source, source.load(), reading
    except DataError:
        if format_of(first) != "tsv":
            raise
        source = TableFile(path=files, columns=columns, quotes=False)
        try:
            table = source.load()
        except DataError:
            table = None
        if table is None:
            raise
    return source, table, [*reading, "    quotes: false  # quotes that nothing closes are letters"]


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
