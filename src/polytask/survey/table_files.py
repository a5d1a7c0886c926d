"""Which files of a folder are one table."""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

from polytask.data.addresses import MARK, file_of
from polytask.data.delimited import Layout
from polytask.data.files import list_media
from polytask.data.json_rows import tables_inside, tabular
from polytask.data.places import PathOrParts, by_part
from polytask.data.splits import PARTS, part_named
from polytask.data.table_rows import column_names, known_format
from polytask.errors import DataError, nearest
from polytask.survey.table_reading import UNNAMED, other_encoding

_LARGEST = 2**28  # bytes of a file that is read to see whether tables are in it
_SHARD = re.compile(r"[-_.]\d+[-_]of[-_]\d+(?=\.)", re.IGNORECASE)


def table_files(
    data: Path, targets: Sequence[str] = (), names: Sequence[str] | None = None
) -> PathOrParts:
    """The file or files of a table, by part where their names say parts; empty for no table.

    A shard (`train-00000-of-00002.parquet`) brings the others and those of other parts beside it.
    In a folder, tables are looked for at any depth, those inside of JSON among them; pictures or
    sounds in it are class folders unless targets are named.

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
        files = tables_in(data) or _unnamed_in(data, targets, names)
    elif _SHARD.search(data.name) and data.is_file():
        files = [f for f in sorted(data.parent.iterdir()) if is_table(f) and _SHARD.search(f.name)]
        files = [f for f in files if key_of_name(f) == key_of_name(data)]
    elif file_of(data) == data and data.is_file() and not is_table(data) and _inside(data):
        files = _inside(data)
    else:
        return data
    return in_parts(_of_one(data, files, targets, names), names)


def _unnamed_in(folder: Path, targets: Sequence[str], names: Sequence[str] | None) -> list[Path]:
    """Files of a folder that have all targets, or as many columns as are named, though what they
    are called says no format; those of other parts beside them, and no further one."""
    plain, files = plain_names(targets), unnamed_in(folder)
    if names and plain <= set(names):
        have = [f for f in files if _divided(f, names)]
    else:
        have = [f for f in files if plain and plain <= columns_in(f)]
    keys = {key_of_name(f) for f in have if _part(f) == "train"} or {
        key_of_name(f) for f in have[:1]
    }
    return [f for f in files if key_of_name(f) in keys]


def unnamed_in(folder: Path, *, deep: bool = True) -> list[Path]:
    """Files of a folder that may be tables, though their names do not say it.

    Args:
        folder: The folder.
        deep: Whether in folders of it, too.
    """
    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    return [f for f in files if f.suffix.lower() in UNNAMED and f.is_file()]


def plain_names(targets: Sequence[str]) -> set[str]:
    """The columns that targets name in full, ends of `first..last` among them.

    Args:
        targets: What is to be predicted.
    """
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
        keys.setdefault(key_of_name(file), []).append(file)
    sets = list(keys.values())
    if len(sets) < 2:
        return list(files)
    plain = plain_names(targets)
    if plain and not names:
        sets = [of for of in sets if any(plain <= columns_in(f) for f in of)] or sets
    if len(sets) > 1:
        parts = [of for of in sets if len(of) > 1 and "train" in map(_part, of)]
        sets = parts if len(parts) == 1 else sets
    if len(sets) == 1:
        return sets[0]
    columns = {name for of in sets for f in of for name in columns_in(f)}
    lacking = next((name for name in sorted(plain) if name not in columns), None)
    if lacking is not None and not names:
        raise DataError(
            f"{data} has several tables, and none has a column '{lacking}' to predict. "
            f"{nearest(lacking, sorted(columns))}"
        )
    folder = data if data.is_dir() else data.parent
    shown = [of[0].relative_to(folder).as_posix() for of in sets]
    more = ", ..." if len(shown) > 8 else ""
    alike = len({frozenset(columns_in(of[0])) for of in sets}) == 1
    raise DataError(
        f"{data} has several tables: {', '.join(shown[:8])}{more}. Name one."
        + (
            " They have the same columns: to train on several, list them under the source's `path` "
            "in the YAML file, as [a.csv, b.csv]."
            if alike
            else ""
        )
    )


def columns_in(file: Path) -> set[str]:
    """The columns of a table, whether or not its name says that it is one; none if it cannot be
    read.

    Args:
        file: The file.
    """
    try:
        changed = file_of(file).stat().st_mtime_ns
    except OSError:
        return set()
    return set(_columns_in(file, changed))


@lru_cache(maxsize=1024)  # of JSON all is read for them
def _columns_in(file: Path, changed: int) -> frozenset[str]:
    layout = Layout("csv", encoding=other_encoding(file) or "utf-8")
    try:
        return frozenset(column_names(file, known_format(file) or "csv", layout=layout))
    except DataError:  # another may be meant, and reading it says why
        return frozenset()


def not_taken(
    data: Path, files: PathOrParts, told: Collection[Path] = ()
) -> list[tuple[Path, str]]:
    """Tables of a folder that are not read with those that were found, and why.

    Args:
        data: The folder, or a table.
        files: What `table_files` found.
        told: Other tables of which that is said elsewhere.
    """
    if not data.is_dir():
        return []
    taken = [file for _, file in by_part(files)]
    others = [f for f in tables_in(data) if f not in taken and f not in told]
    key = key_of_name(taken[0])
    another = "it is another table: name it to draft from it"
    unlike = f"its columns are not those of {taken[0].name}"
    return [(f, unlike if key_of_name(f) == key else another) for f in others]


def other_parts(data: Path) -> list[Path]:
    """Tables beside one that is a training part, which seem to be its other parts.

    Args:
        data: The table that is named.
    """
    unnamed = data.suffix.lower() in UNNAMED
    if not data.is_file() or not (is_table(data) or unnamed) or _SHARD.search(data.name):
        return []
    if _part(data) != "train":
        return []
    beside = [f for f in sorted(data.parent.iterdir()) if f.is_file() and (unnamed or is_table(f))]
    return [
        f
        for f in beside
        if f != data and _part(f) != "train" and key_of_name(f) == key_of_name(data)
    ]


def without_labels(files: PathOrParts, targets: Collection[str]) -> tuple[Path, set[str]] | None:
    """A table beside the first that is only to be predicted, as contests publish it, and its
    columns: some of those of the first, and none of the targets. None if there is none.

    Args:
        files: What `table_files` found.
        targets: What is predicted.
    """
    taken = [file for _, file in by_part(files)]
    own, first = columns_in(taken[0]), taken[0]
    for file in tables_in(first.parent, deep=False):
        if file not in taken and key_of_name(file) == key_of_name(first):
            columns = columns_in(file)
            if columns and columns < own and columns.isdisjoint(targets):
                return file, columns
    return None


def tables_in(folder: Path, *, deep: bool = True) -> list[Path]:
    """The tables of a folder by their names.

    Args:
        folder: The folder.
        deep: Whether in folders of it, too.
    """
    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    found = [f for f in files if f.is_file() and not f.name.startswith(".")]
    return [table for f in found for table in ([f] if is_table(f) else _inside(f))]


def _inside(file: Path) -> list[Path]:
    """The tables in a file of JSON that holds several, as paths: `a.json#images`."""
    found = file.stat()
    if known_format(file) != "jsonl" or found.st_size > _LARGEST:
        return []
    keys = _keys_inside(file, found.st_mtime_ns)
    return [file.with_name(f"{file.name}{MARK}{key}") for key in keys]


@lru_cache(maxsize=1024)
def _keys_inside(file: Path, changed: int) -> list[str]:
    return tables_inside(file)


def in_parts(files: Sequence[Path], names: Sequence[str] | None) -> PathOrParts:
    """Files with the columns of the first, by part if all names say one.

    Args:
        files: The files.
        names: The names of all columns, where the first line is a row.
    """
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
        return columns_in(file) == columns_in(first)
    return _divided(file, names)


def _divided(file: Path, names: Sequence[str]) -> bool:
    """Whether the rows of a file have as many cells as columns are named."""
    kind, encoding = known_format(file) or "csv", other_encoding(file) or "utf-8"
    for quotes in (True, False):
        layout = Layout("csv", encoding=encoding, columns=tuple(names), quotes=quotes)
        try:
            column_names(file, kind, layout=layout)
        except DataError:
            continue
        return True
    return False


def _part(file: Path) -> str | None:
    """The part that a file's name says."""
    return next((p for p in map(part_named, re.split(r"[-_.]", file.name)) if p), None)


def key_of_name(file: Path) -> str:
    """A file's name without shard and part.

    Args:
        file: The file.
    """
    pieces = re.split(r"([-_.])", _SHARD.sub("", file.name))
    return "".join("*" if part_named(p) else p for p in pieces)


def is_table(file: Path) -> bool:
    """Whether a file is a table by its name; of JSON, by how it begins as well."""
    if known_format(file) is None or file.name.startswith("."):
        return False
    return ".json" not in file.suffixes or tabular(file)
