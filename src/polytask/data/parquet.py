"""Parquet files: their plain columns, what the others hold, and names of classes."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polytask.data.disguises import disguise
from polytask.data.words import is_list
from polytask.errors import DataError, require

_SIGN = b"PAR1"  # how a file begins, and how it ends


def read_parquet(path: Path) -> Any:
    """The plain columns of a file as a data frame.

    Numbers that stand for classes become their names, where the file has names (see
    `class_names`); -1 is how its publishers write a label that is missing.

    Raises:
        DataError: If the file cannot be read, or a number has no name.
    """
    file = open_parquet(path)
    try:
        plain = [f.name for f in file.schema_arrow if not _holds(f.type)]
        frame = file.read(columns=plain).to_pandas(ignore_metadata=True)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    is_decimal = require("pyarrow", "train").types.is_decimal
    for field in file.schema_arrow:
        if is_decimal(field.type):  # as databases have money
            frame[field.name] = frame[field.name].astype("float64")
    pandas = require("pandas", "train")
    for column, names in class_names(path).items():
        if column in plain:
            cells = frame[column].astype(object)
            cells = cells.where(
                cells.map(lambda cell: is_list(cell) or not pandas.isna(cell)), None
            )
            named = [_named(c, names, path, column, row) for row, c in enumerate(cells, start=1)]
            frame[column] = pandas.Series(named, index=frame.index, dtype=object)
    return frame


def open_parquet(path: Path) -> Any:
    """A file of pyarrow, of which only the end was read, which says what is where.

    Raises:
        DataError: If it is none, or was cut off.
    """
    parquet = require("pyarrow.parquet", "train")
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    """The error for a file that is no Parquet, by how it begins and ends."""
    begin, end, size = b"", b"", -1
    try:
        with path.open("rb") as file:
            begin, size = file.read(64), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_SIGN)))
            end = file.read()
    except OSError:  # why not, the first attempt to read it said
        pass
    reason = " ".join(str(error).split()).rstrip(".")
    if begin.startswith(_SIGN) and (end != _SIGN or size == len(_SIGN)):
        reason = "it was cut off, for its end is missing. Fetch it again, or write it anew"
    elif begin and not begin.startswith(_SIGN):
        reason = disguise(begin) or (
            "it does not begin as Parquet does. If it is text, let its name say so: .csv or .jsonl"
        )
    elif size == 0:
        reason = "it is empty. Fetch it again, or write it anew"
    return DataError(f"{path} cannot be read as Parquet: {reason}.")


def class_names(path: Path) -> dict[str, list[str]]:
    """Per column of class numbers their names, which the library `datasets` writes in a schema."""
    schema = open_parquet(path).schema_arrow
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said.get("info", {}).get("features", {}).items()
    except (ValueError, AttributeError):  # another writer's note under that key
        return {}
    found = {}
    for column, feature in features:
        if isinstance(feature, list) and len(feature) == 1:  # how lists were written once
            feature = feature[0]
        if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            if isinstance(names, list) and names:
                found[str(column)] = [str(name) for name in names]
    return found


def _named(cell: Any, names: list[str], path: Path, column: str, row: int) -> Any:
    """The name of a class's number, or of each in a list."""
    if is_list(cell):
        return [_named(one, names, path, column, row) for one in cell]
    if cell is None or cell == -1:
        return None
    if isinstance(cell, str):
        return cell
    if not 0 <= cell < len(names):
        raise DataError(
            f"{path.name} row {row}: column '{column}' has class {cell}; the file names "
            f"{len(names)} classes, from 0 ({names[0]}) to {len(names) - 1} ({names[-1]})."
        )
    return names[int(cell)]


def nested(path: Path, media: Iterable[str]) -> dict[str, str]:
    """Why columns of a Parquet file cannot be read as plain values, by column."""
    schema = open_parquet(path).schema_arrow
    held = {f.name: _holds(f.type) for f in schema if f.name not in media}
    return {
        name: f"holds {what}. Encoded pictures and sounds are declared under the source's `media`; "
        "other values should stand in columns of their own"
        for name, what in held.items()
        if what
    }


def _holds(kind: Any) -> str:
    """What a Parquet column holds that is no plain value; empty if it holds plain values."""
    types = require("pyarrow", "train").types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes"
    if types.is_struct(kind):
        return f"structs of {', '.join(kind.field(k).name for k in range(kind.num_fields))}"
    return "maps" if types.is_map(kind) else ""
