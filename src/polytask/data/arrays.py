"""Pictures, numbers and labels in NumPy's `.npz` archives.

Letters: N rows, H x W pixels, K numbers of a row.
"""

import string
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.disguises import disguise, require_file
from polytask.data.media import ArrayMedia
from polytask.data.places import content_key, file_key
from polytask.data.sources import Media, Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

_PARTS = ("train", "validation", "valid", "val", "test")
_PART = "{part}"


class ArrayFile(Source):
    """Arrays of one `.npz` file; an array's first dimension counts the rows.

    An array `[N, H, W]`, `[N, H, W, 3]` or `[N, 3, H, W]` of uint8 is a column of pictures; `[N]`
    is a column of plain values; `[N, K]` is the K columns `NAME.0`, `NAME.1` and so on.

    Args:
        path: The file.
        columns: Per column the array's name in the file. A name with `{part}` in it, such as
            `{part}_x`, stands for one array per part (`train`, `validation` or `val`, `test`),
            which become the fixed split. Empty: every array is a column under its own name.
        labels: Per column of numbers from 0 what each number stands for.
    """

    def __init__(
        self,
        *,
        path: Path,
        columns: dict[str, str] | None = None,
        labels: dict[str, list[str]] | None = None,
    ) -> None:
        self.path = Path(path)
        self.columns = dict(columns or {})
        self.labels = dict(labels or {})
        if len({_PART in name for name in self.columns.values()}) > 1:
            raise ConfigError(
                "`columns` should have {part} in all names or in none. Found "
                + ", ".join(self.columns.values())
            )
        for name in self.columns.values():
            fields = {field for _, field, _, _ in string.Formatter().parse(name) if field}
            if fields - {"part"}:
                raise ConfigError(
                    f"Only {{part}} may stand in braces in `columns`. Found '{name}'."
                )

    def load(self) -> Table:
        """Reads all arrays that are named."""
        pandas = require("pandas", "train")
        arrays = _read(self.path)
        parts = self._parts(arrays)
        names = self.columns or {name: name for name in arrays}
        frame: dict[str, Any] = {}
        media: dict[str, Media] = {}
        found = [
            {c: _array(arrays, n.format(part=p), self.path) for c, n in names.items()}
            for p in parts
        ]
        sizes = [_rows(some, self.path) for some in found]
        for column in names:
            values = np.concatenate([some[column] for some in found])
            if values.ndim > 2:
                media[column] = _pictures(values, column, self.path)
            else:
                frame |= self._plain(column, values)
        for column in self.labels:
            if column not in frame:
                raise ConfigError(f"`labels` names column '{column}'. {nearest(column, frame)}")
        starts = np.cumsum([0, *sizes])

        def locate(row: int) -> str:
            part = int(np.searchsorted(starts, row, side="right")) - 1
            return f"{self.path.name} {parts[part]} row {row - starts[part] + 1}".replace("  ", " ")

        split = None
        if parts != [""]:
            split = pandas.Series(np.repeat(np.array(parts, dtype=object), sizes))
        key = content_key(["npz", file_key(self.path), sorted(names.items()), parts])
        table = pandas.DataFrame(frame, index=range(sum(sizes)))
        wide = {
            column: f"is an array [N, {values.shape[1]}], so that its columns are '{column}.0' to "
            f"'{column}.{values.shape[1] - 1}'"
            for column in names
            if (values := found[0][column]).ndim == 2
        }
        return Table(self.path.name, table, media, key, locate, split, wide)

    def _parts(self, arrays: Mapping[str, Any]) -> list[str]:
        """The parts that the file has arrays of; one without a name where it has none."""
        if not any(_PART in name for name in self.columns.values()):
            return [""]
        parts = [
            p for p in _PARTS if any(n.format(part=p) in arrays for n in self.columns.values())
        ]
        if not parts:
            raise DataError(
                f"{self.path.name} holds no array of any part of {', '.join(self.columns.values())}"
                f". Its arrays: {', '.join(arrays)}."
            )
        return parts

    def _plain(self, column: str, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if values.ndim == 2:
            return {f"{column}.{k}": values[:, k] for k in range(values.shape[1])}
        if column not in self.labels:
            return {column: values}
        names = self.labels[column]
        if values.dtype.kind not in "iu" or not len(values):
            raise DataError(
                f"{self.path.name}: column '{column}' should hold whole numbers, which `labels` "
                f"names. Found {values.dtype}."
            )
        if not 0 <= values.min() <= values.max() < len(names):
            raise DataError(
                f"{self.path.name}: column '{column}' holds numbers from {values.min()} to "
                f"{values.max()}, and `labels` names {len(names)}, from 0."
            )
        return {column: np.array(names, dtype=object)[values]}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file; objects, which could run code, are refused."""
    require_file(path)
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x93NUMPY"):
        raise DataError(f"{path.name} holds a single array: save it with numpy.savez.")
    if not head.startswith(b"PK"):
        found = disguise(head) or f"it begins with {head!r}"
        raise DataError(
            f"{path.name} cannot be read as .npz: {found}. Expected what numpy.savez writes."
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: _array_of(archive, name, path) for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} cannot be read as .npz: {error}") from error


def _array_of(archive: Mapping[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    """One array of an open file."""
    try:
        return archive[name]
    except ValueError as error:
        if "Object" not in str(error):
            raise
        raise DataError(
            f"The array '{name}' of {path.name} holds objects, which could run code: save numbers "
            "or texts."
        ) from error


def _array(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise DataError(f"{path.name} holds no array '{name}'. {nearest(name, arrays)}")
    if arrays[name].ndim == 0:
        raise DataError(f"{path.name}: '{name}' is a single value, where rows were expected.")
    return arrays[name]


def _rows(columns: Mapping[str, NDArray[Any]], path: Path) -> int:
    if not columns:
        raise DataError(f"{path.name} holds no array. Expected one with rows for each column.")
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) != 1:
        raise DataError(
            f"{path.name}: all columns should have as many rows. Found "
            + ", ".join(f"{name}: {size}" for name, size in sizes.items())
            + ". Name those that belong together under `columns`."
        )
    return next(iter(sizes.values()))


def _pictures(values: NDArray[Any], column: str, path: Path) -> ArrayMedia:
    grey = values.ndim == 3
    first = values.ndim == 4 and values.shape[1] == 3 and values.shape[3] != 3
    if values.dtype != np.uint8 or not (grey or first or values.shape[3:] == (3,)):
        raise DataError(
            f"{path.name}: column '{column}' should hold pictures [N, H, W], [N, H, W, 3] or "
            f"[N, 3, H, W] of uint8. Found {list(values.shape)} of {values.dtype}."
        )

    def pixels(item: int) -> NDArray[np.uint8]:
        one: NDArray[np.uint8] = values[item]
        if grey:
            return np.repeat(one[..., None], 3, axis=2)
        return one.transpose(1, 2, 0) if first else one

    return ArrayMedia(len(values), pixels)
