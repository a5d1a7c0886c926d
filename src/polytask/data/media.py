"""Columns of pictures and sounds: in files, zip archives, Parquet columns and arrays."""

import re
import threading
import unicodedata
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.decoding import (
    OPPOSED,
    decode_channels,
    decode_map,
    decode_picture,
    is_turned,
    mixed,
    picture_size,
    strange,
)
from polytask.data.parquet import open_parquet
from polytask.data.sources import BlankCell, Media, MediaKind
from polytask.errors import DataError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".sph", ".au")


class EncodedMedia(Media):
    """Items that are encoded files, wherever the bytes are."""

    @abstractmethod
    def content(self, item: int) -> bytes:
        """The encoded bytes of an item."""

    def picture(self, item: int, *, white: int | None = None) -> NDArray[np.uint8]:
        """One picture, `[H, W, 3]`, turned upright where a camera left a note to do so."""
        if self.kind != "image":
            return super().picture(item)
        noting = partial(self.noted.__setitem__, item)
        return decode_picture(self.content(item), white=white, noting=noting)

    def wave(self, item: int) -> tuple[NDArray[Any], int]:
        """One mono wave and its sample rate; channels are averaged, see `mixed`."""
        if self.kind != "sound":
            return super().wave(item)
        channels, rate = decode_channels(self.content(item))
        wave, opposed = mixed(channels)
        note = strange(channels, rate) or (OPPOSED if opposed else None)
        if note is not None:
            self.noted[item] = note
        return wave, rate

    def size(self, item: int) -> tuple[int, int] | None:
        """Height and width of a picture as it is shown; None if there is none to read."""
        try:
            return picture_size(self.content(item)) if self.kind == "image" else None
        except (DataError, OSError):  # decoding it says what is wrong
            return None

    def turned(self, item: int) -> bool:
        """Whether a note in the file of a picture or map turns it; not if it cannot be read."""
        try:
            return self.kind != "sound" and is_turned(self.content(item))
        except (DataError, OSError):
            return False

    def array(self, item: int) -> NDArray[Any]:
        """One map: the numbers of a PNG or of a NumPy file, turned upright as pictures are."""
        if self.kind != "map":
            return super().array(item)
        return decode_map(self.content(item))


class FileMedia(EncodedMedia):
    """Items in files; None is an item that a table leaves blank."""

    def __init__(self, kind: MediaKind, paths: Sequence[Path | None]) -> None:
        self.kind = kind
        self.paths = paths
        self._beside: dict[Path, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def repeats(self) -> NDArray[np.int64] | None:
        """Items of one path, as where a picture has several captions."""
        first: dict[Path | None, int] = {}
        found = [first.setdefault(path, item) for item, path in enumerate(self.paths)]
        return None if len(first) == len(found) else np.array(found, np.int64)

    def where(self, item: int) -> str:
        """The path, shortened if it is none but a long text."""
        shown = str(self.paths[item] or "")
        return shown if len(shown) <= 300 else f"{shown[:300]}..."

    def content(self, item: int) -> bytes:
        """The bytes of the file."""
        path = self.paths[item]
        if path is None:
            raise BlankCell
        try:
            if path.is_file():
                return path.read_bytes()
        except OSError as error:  # such as a name that is too long, or no permission
            raise DataError(f"the file cannot be read ({error.strerror})") from error
        raise DataError(self._missing(path))

    def _missing(self, path: Path) -> str:
        """What is wrong with a path that leads to no file."""
        if path.is_dir():
            return "this is a folder"
        if path.is_symlink():
            return f"this is a link to {path.readlink()}, which is not there"
        if re.search(r"\b(https?|file|s3|gs):/", str(path)):
            return "there is no such file: fetch it, and write its path in the folder of the table"
        if "\\" in path.name:
            return "there is no such file: write its path with / between folders"
        at = path
        while not at.parent.is_dir() and at.parent != at.parent.parent:
            at = at.parent
        near = self._near(at)
        what = "there is no such file" if at == path else f"there is no folder '{at.name}'"
        if near is None:
            return what
        if _plain(near) == _plain(at.name) and near.casefold() != at.name.casefold():
            return (
                f"{what}; {near!a} is beside it, whose letters are written otherwise than in "
                f"{at.name!a} (Unicode's NFC and NFD): write both in one way"
            )
        return f"{what}; '{near}' is beside it"

    def _near(self, path: Path) -> str | None:
        """What is beside a path that is not there, under nearly its name."""
        if path.parent not in self._beside:
            there = path.parent.iterdir() if path.parent.is_dir() else ()
            self._beside[path.parent] = {_plain(p.name): p.name for p in there}
        names = self._beside[path.parent]
        return names.get(_plain(path.name)) or names.get(_plain(f"{path.name}.png"))


def _plain(name: str) -> str:
    """A name without the difference of capitals, and of Unicode's ways to write a letter."""
    return unicodedata.normalize("NFC", name).casefold()


class ZipMedia(EncodedMedia):
    """Items in a zip archive."""

    def __init__(self, kind: MediaKind, archive: Path, names: Sequence[str]) -> None:
        self.kind = kind
        self.archive = archive
        self.names = names
        self._open: zipfile.ZipFile | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def where(self, item: int) -> str:
        """The archive and the name in it."""
        return f"{self.archive.name}: {self.names[item]}"

    def content(self, item: int) -> bytes:
        """The bytes of the member."""
        with self._lock:
            self._open = self._open or zipfile.ZipFile(self.archive)
        try:
            return self._open.read(self.names[item])
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # also if it has a password
            raise DataError(f"the archive is damaged here ({error})") from error


class ParquetMedia(EncodedMedia):
    """Items that are encoded bytes in a column of Parquet files, read by row group.

    Structs, as some publishers write them, have the bytes in their field `bytes`, or the path of a
    file beside the first Parquet file in `path`.
    """

    def __init__(self, kind: MediaKind, paths: Sequence[Path], column: str) -> None:
        self.kind = kind
        self.column = column
        self._folder = paths[0].parent
        self._files = [open_parquet(path) for path in paths]
        self._groups = [(f, g) for f in self._files for g in range(f.num_row_groups)]
        sizes = [f.metadata.row_group(g).num_rows for f, g in self._groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._recent: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def where(self, item: int) -> str:
        """Empty: the row says it all."""
        return ""

    def content(self, item: int) -> bytes:
        """The bytes of the cell."""
        group = int(np.searchsorted(self._ends, item, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        with self._lock:
            if group not in self._recent:
                file, number = self._groups[group]
                try:
                    column = file.read_row_group(number, columns=[self.column]).column(0)
                except (OSError, ValueError) as error:
                    raise DataError(f"the Parquet file is damaged here ({error})") from error
                while len(self._recent) >= 3:
                    self._recent.pop(next(iter(self._recent)))
                self._recent[group] = column
            cell = self._recent[group][item - first].as_py()
        if isinstance(cell, dict):
            if cell and not {"bytes", "path"} & set(cell):
                raise DataError(
                    f"a struct with a field 'bytes' was expected. Found {', '.join(cell)}"
                )
            path = cell.get("path")
            cell = cell.get("bytes")
            if cell is None and path:
                return self._linked(self._folder / str(path))
        if not cell:
            raise BlankCell
        if not isinstance(cell, bytes):
            raise DataError(f"encoded bytes were expected, found {type(cell).__name__}")
        return cell

    def _linked(self, path: Path) -> bytes:
        """The bytes of a file that a cell names."""
        try:
            return FileMedia(self.kind, [path]).content(0)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


class ArrayMedia(Media):
    """Pictures that are pixels already: `pixels(item)` gives `[H, W, 3]` of uint8."""

    kind: MediaKind = "image"

    def __init__(self, count: int, pixels: Callable[[int], NDArray[np.uint8]]) -> None:
        self._count = count
        self._pixels = pixels

    def __len__(self) -> int:
        return self._count

    def where(self, item: int) -> str:
        """Empty: the row says it all."""
        return ""

    def picture(self, item: int, *, white: int | None = None) -> NDArray[np.uint8]:
        """One picture, `[H, W, 3]`."""
        if white is not None:
            raise DataError(
                "its pixels are bytes already: `white` is about pictures of 16 bits in files"
            )
        return self._pixels(item)
