"""Where files are looked for, how they are downloaded, and the keys of their content."""

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from polytask.data.addresses import addressed
from polytask.data.disguises import require_different
from polytask.errors import ConfigError, DataError

PathOrParts = Path | list[Path] | dict[str, Path | list[Path]]

_WHOLE_FILE_HASH = 256 * 2**20  # bytes: larger files are keyed by ends, size and time


def cache_folder() -> Path:
    """The folder for downloads and decoded media: `$POLYTASK_CACHE` or `~/.cache/polytask`."""
    return Path(os.environ.get("POLYTASK_CACHE") or "~/.cache/polytask").expanduser()


def find(name: str, path: Path | None, *, folders: Sequence[str], help: str) -> Path:
    """Finds the files of a known data set.

    Args:
        name: What the data set is called in messages.
        path: An explicit path; nothing else is looked at where it is given.
        folders: Folder names to look for under `$POLYTASK_DATA`, then in the cache folder.
        help: What to do if it is nowhere, the end of the message.

    Raises:
        DataError: If the path does not exist, or nothing was found.
    """
    if path is not None:
        path = Path(path).expanduser()
        if not path.exists():
            raise DataError(f"{name}: there is no file or folder {path}. {help}")
        return path
    found = find_known(folders)
    if found is None:
        looked = ", ".join(str(p) for p in _candidates(folders))
        raise DataError(f"{name} was not found (looked for: {looked}). {help}")
    return found


def find_known(folders: Sequence[str]) -> Path | None:
    """The first of the folders that exists under `$POLYTASK_DATA` or in the cache folder."""
    return next((p for p in _candidates(folders) if p.is_dir() and any(p.iterdir())), None)


def _candidates(folders: Sequence[str]) -> list[Path]:
    roots = [cache_folder()]
    if os.environ.get("POLYTASK_DATA"):
        roots.insert(0, Path(os.environ["POLYTASK_DATA"]).expanduser())
    return [root / folder for root in roots for folder in folders]


def download(url: str, target: Path, *, checksum: str | None = None, help: str = "") -> Path:
    """Downloads a file with a progress bar; it appears under its name only when complete.

    Args:
        url: Where from.
        target: The file to write.
        checksum: `md5:...` or `sha256:...` of the content.
        help: What to do without network, the end of the message.

    Raises:
        DataError: If the network or the publisher fails, or the checksum differs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    kind, _, expected = (checksum or "sha256:").partition(":")
    digest = hashlib.new(kind)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
        try:
            _fetch(url, part, digest)
            part.close()
            if expected and digest.hexdigest() != expected:
                raise DataError(
                    f"{url} has {kind} {digest.hexdigest()}; {expected} was expected. The download "
                    f"is broken or the file was changed. {help}"
                )
            os.replace(part.name, target)
        except (OSError, urllib.error.URLError) as error:
            raise DataError(f"{url} could not be downloaded ({error}). {help}") from error
        finally:
            Path(part.name).unlink(missing_ok=True)
    return target


def _fetch(
    url: str, part: "tempfile._TemporaryFileWrapper[bytes]", digest: "hashlib._Hash"
) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    with (
        urllib.request.urlopen(url, timeout=30) as answer,
        Progress("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn()) as bar,
    ):
        length = answer.headers.get("Content-Length")
        shown = bar.add_task(url.rsplit("/", 1)[-1], total=int(length) if length else None)
        while block := answer.read(2**18):
            part.write(block)
            digest.update(block)
            bar.update(shown, advance=len(block))
    if length and part.tell() != int(length):
        raise DataError(f"{url} ended after {part.tell()} of {length} bytes. Try again.")


def content_key(parts: Iterable[object]) -> str:
    """A key of 32 hexadecimal digits of the text of the parts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def file_key(path: Path) -> str:
    """A key of a file's content; above 256 MB of its ends, size and time of change.

    Of a table inside of a file (see `addressed`) it has the keys to it as well.
    """
    path, inside = addressed(path)
    if inside:
        return content_key([file_key(path), *inside])
    size = path.stat().st_size
    if size <= _WHOLE_FILE_HASH:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    with path.open("rb") as file:
        first = file.read(2**20)
        file.seek(-(2**20), os.SEEK_END)
        return content_key([size, path.stat().st_mtime_ns, first, file.read()])


def files_key(paths: Iterable[Path]) -> str:
    """A key of many files: names, sizes and times of change. A missing file is part of the key."""
    parts: list[object] = []
    for path in paths:
        try:
            found = path.stat()
            parts.append((path.name, found.st_size, found.st_mtime_ns))
        except (OSError, ValueError):  # ValueError: a character that no name can have
            parts.append((path.name, None))
    return content_key(parts)


def remove_folder(path: Path) -> None:
    """Removes a folder if it is there."""
    if path.exists():
        shutil.rmtree(path)


def by_part(path: PathOrParts) -> list[tuple[str, Path]]:
    """Files with the part that each is for; a single file, or a list, is for no part.

    Raises:
        ConfigError: If a part has no known name, or a file is named twice.
    """
    if isinstance(path, Mapping):
        wrong = next((p for p in path if p not in ("train", "validation", "test")), None)
        if wrong is not None or not path:
            raise ConfigError(
                "`path` should name a file, or files by part: train, validation, test. Found "
                f"'{wrong}'"
            )
    named: Mapping[str, Path | list[Path]] = path if isinstance(path, Mapping) else {"": path}
    files = [
        (part, p) for part, ps in named.items() for p in (ps if isinstance(ps, list) else [ps])
    ]
    if not files or [] in named.values():
        raise ConfigError("`path` should name at least one file.")
    require_different([p for _, p in files])
    return files
