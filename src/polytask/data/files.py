"""Pictures and sounds without labels: one file, or a folder of them; and predictions that are
such."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor

from polytask.data.disguises import disguise, not_text, require_file, skipping_mark
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES, FileMedia
from polytask.data.places import content_key, files_key
from polytask.data.sources import MediaKind, Source, Table
from polytask.errors import DataError, require
from polytask.tasks.base import Picture, Sound, Task

_COLUMN = {"image": "image", "sound": "audio"}
# Pictures and sounds by their names, in formats that are not read.
_UNREAD = (
    *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga", ".psd", ".svg", ".raw", ".dng", ".nef"),
    *(".m4a", ".aac", ".wma", ".amr", ".mp4", ".mov", ".avi", ".webm", ".mkv"),
)
_Item = TypeVar("_Item")


class Files(Source):
    """Pictures or sounds of one file or of a folder and the folders in it.

    Columns: `image` or `audio`, and `path`.

    Args:
        path: The file or folder.
        kind: What to look for; None for what there is.
    """

    def __init__(self, *, path: Path, kind: Literal["image", "sound"] | None = None) -> None:
        self.path = Path(path)
        self.kind = kind

    def load(self) -> Table:
        """Lists the files, by name."""
        pandas = require("pandas", "train")
        found = list_media(self.path)
        kinds = [k for k in found if found[k] and self.kind in (None, k)]
        if len(kinds) != 1:
            raise DataError(
                f"{self.path} holds pictures and sounds: say which `kind` is meant."
                if kinds
                else nothing_readable(self.path)
            )
        if self.path.is_dir():
            warn_of_unread(self.path)
        paths = found[kinds[0]]
        names = [p.relative_to(self.path).as_posix() if p != self.path else p.name for p in paths]
        media = FileMedia(kinds[0], paths)
        return Table(
            str(self.path),
            pandas.DataFrame({"path": names}),
            {_COLUMN[kinds[0]]: media},
            content_key(["files", names, files_key(paths)]),
            media.where,
        )


def list_media(path: Path) -> dict[MediaKind, list[Path]]:
    """The pictures and sounds of a file or folder, sorted; what is hidden is left out.

    Links are followed; one that leads nowhere is among them, so that it can be named.

    Raises:
        DataError: If it does not exist, is a pipe, or a name is no text.
    """
    if not path.exists():
        raise DataError(f"There is no file or folder {path.absolute()}.")
    if not path.is_dir():
        require_file(path)
    paths = [path] if path.is_file() else sorted(files_in(path))
    shown = [p for p in paths if not p.name.startswith(".")]
    for wrong in (p for p in shown if not is_text(p)):
        raise DataError(
            f"The name {os.fsencode(wrong)!r} is not in UTF-8. Rename it: labels may come from it, "
            "and predictions are named by it."
        )
    return {
        "image": [p for p in shown if p.suffix.lower() in PICTURE_SUFFIXES],
        "sound": [p for p in shown if p.suffix.lower() in SOUND_SUFFIXES],
    }


def list_texts(folder: Path) -> list[Path]:
    """The files of a folder, at any depth, that are texts by their names (.txt), sorted.

    Args:
        folder: The folder.
    """
    files = sorted(files_in(folder))
    return [f for f in files if f.suffix.lower() == ".txt" and f.name[0] != "." and is_text(f)]


def read_text_file(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file.

    Args:
        path: The file.
        encoding: How its letters are stored.

    Raises:
        DataError: If it cannot be read, or is stored otherwise.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return raw.decode(skipping_mark(encoding))
    except UnicodeDecodeError as error:
        raise not_text(str(path), raw, error, encoding) from error


def files_in(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files of a folder and of the folders in it, those that links lead to included.

    Folders that are hidden, as notebooks keep copies in, are left out.

    Args:
        folder: The folder.
        above: The folders that it is in, into which no link is followed again.

    Raises:
        DataError: If a folder cannot be opened.
    """
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be opened: {error.strerror}.") from error
    for entry in entries:
        if _is_folder(entry):
            if not entry.name.startswith((".", "__MACOSX")):
                yield from files_in(folder / entry.name, above | {real})
        elif entry.is_symlink() or entry.is_file():
            yield folder / entry.name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether something in a folder is one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_text(path: Path) -> bool:
    """Whether a path's name can be written as UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def files_inside(folder: Path) -> str:
    """A sentence about a few files of a folder, for who expected others."""
    names = sorted(p.relative_to(folder).as_posix() for p in files_in(folder))
    if not names:
        return "It has no files."
    some = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
    return f"It has {some}. If one of them is a table or a treebank, name the file itself."


def warn_of_unread(folder: Path) -> None:
    """Says and counts which pictures and sounds of a folder are of formats that are not read."""
    found = [p for p in files_in(folder) if p.suffix.lower() in _UNREAD]
    if found:
        kinds = Counter(p.suffix.lower() for p in found)
        some = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        warnings.warn(
            f"left out {len(found):,} file{'s' if len(found) > 1 else ''} of {folder} in formats "
            f"that are not read ({some}), such as {min(found).name}. Save pictures as PNG or JPEG, "
            "sounds as WAV or FLAC.",
            stacklevel=2,
        )


def save_pictures(
    task: Task, decoded: Tensor, rows: Sequence[int], folder: Path
) -> list[dict[str, str]]:
    """Writes a task's predictions as PNG files, if they are pictures.

    Args:
        task: The task.
        decoded: `[B, ...]`, as its `decode` gives them.
        rows: A number for each, which the file's name has.
        folder: Where they go; made if need be.

    Returns:
        Per example the file under the task's name; nothing for a task without pictures.

    Raises:
        OSError: If a file cannot be written.
    """
    return _saved(task, task.pictures(decoded), rows, folder, ".png", _write_picture)


def save_sounds(
    task: Task, decoded: Tensor, rows: Sequence[int], folder: Path
) -> list[dict[str, str]]:
    """Writes a task's predictions as WAV files of 16 bits, if they are sounds.

    Otherwise as `save_pictures`.
    """
    return _saved(task, task.sounds(decoded), rows, folder, ".wav", _write_sound)


def _saved(
    task: Task,
    items: Sequence[_Item] | None,
    rows: Sequence[int],
    folder: Path,
    suffix: str,
    write: Callable[[_Item, Path], None],
) -> list[dict[str, str]]:
    """A file per item, and where it is."""
    if items is None:
        return [{} for _ in rows]
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for row, item in zip(rows, items, strict=True):
        path = folder / f"{row:06d}-{task.name}{suffix}"
        write(item, path)
        found.append({task.name: str(path)})
    return found


def _write_picture(picture: Picture, path: Path) -> None:
    made = require("PIL.Image", "image").fromarray(picture.pixels)
    if picture.palette is not None:
        made.putpalette(picture.palette.ravel().tolist())  # shades become its numbers
    made.save(path)


def _write_sound(sound: Sound, path: Path) -> None:
    soundfile = require("soundfile", "audio")
    try:
        soundfile.write(path, sound.wave, sound.sample_rate, subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise OSError(str(error)) from error


def nothing_readable(path: Path) -> str:
    """The message for a file or folder with nothing in it that can be read."""
    what = f"{path} holds no pictures or sounds" if path.is_dir() else f"{path.name} is not known"
    if path.is_file():
        with path.open("rb") as file:
            said = disguise(file.read(64))
        what += f": {said}" if said else ""
    return (
        f"{what}. Pictures: {' '.join(PICTURE_SUFFIXES)}. Sounds: {' '.join(SOUND_SUFFIXES)}. "
        "Tables: .csv .tsv .parquet .jsonl .json (objects in lines, or a list) .arff, texts: .txt, "
        "treebanks: .conllu (name the file itself)."
    )
