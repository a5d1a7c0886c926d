"""Files that are not what their names say, and paths that lead to no file."""

import codecs
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from polytask.errors import ConfigError, DataError, nearest

# How a file begins, and what it then is and what to do about it.
_SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a pointer of Git LFS: fetch the file with 'git lfs pull'"),
    (b"PK\x03\x04", "it is a zip archive, as Excel's sheets are: unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "it is a document of Microsoft Office: save the sheet as CSV"),
    (b"\x1f\x8b", "it is packed with gzip: let its name end in .gz"),
    (b"BZh", "it is packed with bzip2: unpack it, or pack it with gzip"),
    (b"\xfd7zXZ", "it is packed with xz: unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf", "it is an archive of 7-Zip: unpack it"),
    (b"Rar!", "it is a RAR archive: unpack it"),
    (b"\x89HDF", "it is HDF5: save its rows as CSV or Parquet"),
    (b"PAR1", "it is Parquet: let its name end in .parquet"),
    (b"<!DOCTYPE", "it is a web page, as a download that failed leaves one: fetch it again"),
    (b"<!doctype", "it is a web page, as a download that failed leaves one: fetch it again"),
    (b"<html", "it is a web page, as a download that failed leaves one: fetch it again"),
    (b"%PDF", "it is a PDF"),
    (b"SQLite format 3", "it is a database of SQLite: save the table as CSV"),
    (b"\x93NUMPY", "it is an array of NumPy: save its rows as CSV or Parquet, pictures as PNG"),
    (b"<svg", "it is a drawing of lines (SVG): save it as PNG"),
)
# What a container of MPEG holds, by the brand that stands at its eighth byte.
_BRANDS: tuple[tuple[bytes, str], ...] = (
    (b"avi", "it is AVIF: save it as PNG or JPEG"),
    (b"M4A", "it is sound in an MPEG-4 file: save it as WAV or FLAC"),
    (b"qt", "it is a film: save its pictures, or its sound"),
    (b"mp4", "it is a film: save its pictures, or its sound"),
    (b"iso", "it is a film: save its pictures, or its sound"),
    (b"", "it is HEIC: save it as PNG or JPEG"),
)
# What files are by their endings, and what to do about it.
_ENDINGS = {
    ".arrow": "it is Arrow: save it as Parquet (`to_parquet` of a data set of `datasets`)",
    ".feather": "it is Arrow: save it as Parquet",
    ".npz": "it holds arrays of NumPy: save its rows as CSV or Parquet",
    ".pkl": "it is a pickle, which could run anything: save its rows as CSV or Parquet",
    ".pickle": "it is a pickle, which could run anything: save its rows as CSV or Parquet",
    ".mat": "it is of MATLAB: save its rows as CSV",
    ".sav": "it is of SPSS: save its rows as CSV",
    ".dta": "it is of Stata: save its rows as CSV",
    ".rds": "it is of R: save its rows as CSV",
    ".rdata": "it is of R: save its rows as CSV",
    ".tfrecord": "it holds records of TensorFlow: save its rows as Parquet",
    ".xml": "it is XML: write a table with a line for each example",
}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def disguise(head: bytes) -> str | None:
    """What the first bytes of a file say that it is, if it is neither text, picture nor sound."""
    if head[4:8] == b"ftyp":
        return next(said for brand, said in _BRANDS if head[8:].startswith(brand))
    return next((said for sign, said in _SIGNS if head.lstrip().startswith(sign)), None)


def seen(path: Path) -> str | None:
    """What a file is by its ending or its first bytes, if it is none that is read; else None.

    Args:
        path: The file.
    """
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            return disguise(file.read(64))
    except (OSError, ValueError):
        return None


def require_file(path: Path) -> None:
    """Make sure that a path leads to a file that can be opened.

    Raises:
        DataError: If it does not; the message says what is there instead.
    """
    shown = path.absolute()
    try:
        if path.is_dir():
            inside = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
            raise DataError(
                f"{shown} is a folder, where a file is expected. Name a file in it: "
                f"{', '.join(inside[:10]) or '(it is empty)'}."
            )
        if path.is_file():
            with path.open("rb"):
                return
        if path.is_symlink():
            raise DataError(
                f"{shown} is a link to {path.readlink()}, which is not there. Mend the link."
            )
        if path.exists():
            raise DataError(f"{shown} is no file but a device or a pipe. Save it as a file.")
        raise DataError(f"There is no file {shown}. {_beside(path)}")
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be opened: {_reason(error)}.") from error


def require_openable(path: Path) -> None:
    """Make sure that what is at a path, if anything, can be opened: a folder or a file.

    Raises:
        DataError: If it is a pipe, a device, a link to nothing, or may not be read.
    """
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        elif path.is_symlink() or path.exists():
            require_file(path)
    except OSError as error:
        raise DataError(f"{path.absolute()} cannot be opened: {_reason(error)}.") from error


def require_folder(path: Path) -> None:
    """Make sure that a path leads to a folder.

    Raises:
        DataError: If it does not, or the folder may not be read.
    """
    require_openable(path)
    if path.is_dir():
        return
    if path.is_file():
        raise DataError(f"{path.absolute()} is a file, where a folder is expected.")
    raise DataError(f"There is no folder {path.absolute()}. {_beside(path)}")


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _beside(path: Path) -> str:
    """A sentence about what is near a path that leads nowhere."""
    if not path.parent.is_dir():
        return f"There is no folder {path.parent.absolute()} either."
    names = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    return nearest(path.name, names[:1000])


def require_different(paths: Iterable[Path], key: str = "path") -> None:
    """Make sure that no file is named twice.

    Raises:
        ConfigError: If one is.
    """
    seen: set[Path] = set()
    for path in paths:
        place = Path(os.path.realpath(path.expanduser()))  # also of a link that leads to itself
        if place in seen:
            raise ConfigError(f"`{key}` names {path.name} twice. Each file's rows count once.")
        seen.add(place)


def require_encoding(encoding: str) -> str:
    """The name of an encoding, such as `latin-1`.

    Raises:
        ConfigError: If there is none of that name.
    """
    try:
        "".encode(encoding)
    except LookupError:
        known = ("utf-8", "utf-16", "latin-1", "cp1252", "mac-roman", "gb18030", "shift-jis")
        raise ConfigError(f"`encoding` is '{encoding}'. {nearest(encoding, known)}") from None
    return encoding


def skipping_mark(encoding: str) -> str:
    """An encoding that leaves out a byte order mark at the beginning, where it is UTF-8."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def not_text(name: str, raw: bytes, error: UnicodeDecodeError, encoding: str) -> DataError:
    """The error for bytes that are no text in an encoding.

    Args:
        name: The file, for the message.
        raw: All of its bytes.
        error: What decoding them raised.
        encoding: Which was expected.
    """
    said = disguise(raw[:64])
    if said is not None:
        return DataError(f"{name} is no text: {said}.")
    encoding = encoding.removesuffix("-sig")
    mark = next((kind for sign, kind in _MARKS.items() if raw.startswith(sign)), None)
    advice = (
        f"Set `encoding: {mark}`."
        if mark
        else "Set `encoding`, such as latin-1, if it is, or save it anew."
    )
    line = raw[: error.start].count(b"\n") + 1
    return DataError(
        f"{name} line {line} should be text in {encoding}. Found the byte "
        f"0x{raw[error.start]:02x}, so that it seems to be in another encoding. {advice}"
    )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names with commas between, the first ones if they are many."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
