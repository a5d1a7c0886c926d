"""Which files of a folder are one table: shards, and files named for parts."""

import re
from collections.abc import Sequence
from pathlib import Path

from polytask.data.files import list_media
from polytask.data.places import PathOrParts
from polytask.data.splits import PARTS, part_named
from polytask.data.tables import column_names, known_format
from polytask.errors import DataError

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
