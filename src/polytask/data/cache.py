"""Decoding once into memory-mapped arrays, keyed by content.

A cache entry is a folder with the arrays and a manifest of their sizes. It is written under another
name and renamed when complete, so that it is whole or absent; two processes may write it at once.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from polytask.data.inputs import ImageInput, MediaInput, SoundInput
from polytask.data.maps import MapStore, TargetMedia
from polytask.data.places import cache_folder, content_key
from polytask.data.sources import Media, Table
from polytask.data.stores import PictureStore, Rows, SoundStore, Store
from polytask.errors import DataError

Progress = Callable[[int, int, str], None]
# What knows how an item is decoded: an input, or a task's target.
Decodes = MediaInput | TargetMedia

_FORMAT = 2
_OF_WHITES = 3  # since 3, `white` is that of colours too
_OF_MAPS = 3  # since 3, a note in a map's file turns it, as in a picture's
_OF_SOUNDS = 3  # since 3, channels that cancel each other out are not averaged
BEYOND = "its labels go on after its end, where there is silence: are they of this sound, whole?"
_CHUNK = 128  # items decoded by one job
# Seconds. Threads that decode items in less wait for each other, for Python's lock: two take up to
# twice as long as one.
_QUICK = 4e-4
_STALE = 24 * 3600  # seconds after which a half-written folder is nobody's


@dataclass(frozen=True)
class Decoded:
    """One input of one source, decoded.

    Attributes:
        store: The values.
        bad: Rows that could not be decoded, and why. Their values are zeros.
        noted: What people should know of items that were decoded.
    """

    store: Store
    bad: dict[int, str]
    noted: dict[int, str] = field(default_factory=dict)


def decoded(
    table: Table,
    source_input: Decodes,
    *,
    column: str,
    keep_bad: bool = False,
    progress: Progress | None = None,
) -> Decoded:
    """Opens the decoded rows of an input, decoding them first if they are not in the cache.

    Args:
        table: The source's rows.
        source_input: How items are decoded, by an input or for a target.
        column: The table's column of media.
        keep_bad: Whether an entry with undecodable items may be kept in the cache.
        progress: Called with items done, items in all and what is being decoded.

    Raises:
        DataError: If the cache folder cannot be written.
    """
    sounds = table.media[column].kind == "sound"
    settings = source_input.settings
    how = json.dumps(settings, sort_keys=True)
    made = _OF_SOUNDS if sounds else _OF_WHITES if "white" in settings else _FORMAT
    made = _OF_MAPS if table.media[column].kind == "map" else made
    key = content_key([made, table.fingerprint, column, how])
    folder = cache_folder() / "decoded" / key
    opened = _open(folder, table, source_input)
    if opened is not None:
        return opened
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder.parent)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key}-"))
        try:
            bad = _write(part, table, source_input, column=column, progress=progress)
            if bad and not keep_bad:
                return Decoded(_Nothing(len(table)), bad)
            _publish(part, folder, table, source_input)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"The cache folder {folder.parent} cannot be written ({error}). Make room there, or "
            "set POLYTASK_CACHE to another folder."
        ) from error
    opened = _open(folder, table, source_input)
    if opened is None:
        raise DataError(f"The cache entry {folder} was changed while it was opened. Try again.")
    return opened


class _Nothing(Store):
    """Stands for rows that were not kept because some are broken."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def gather(self, rows: Any) -> Any:
        """Always an error."""
        raise DataError("These rows were not decoded, because some of them are broken.")


def _open(folder: Path, table: Table, source_input: Decodes) -> Decoded | None:
    """The entry, or None where it is absent or not whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        sizes = manifest["sizes"]
        if any((folder / name).stat().st_size != size for name, size in sizes.items()):
            return None
        bad = {int(row): str(reason) for row, reason in manifest["bad"].items()}
        noted = {int(item): str(note) for item, note in manifest.get("noted", {}).items()}
        if manifest["rows"] != len(table):
            return None
        if isinstance(source_input, SoundInput):
            samples = np.load(folder / "samples.npy", mmap_mode="r", allow_pickle=False)
            spans = np.load(folder / "spans.npy", allow_pickle=False)
            length = source_input.samples if source_input.fixed else None
            return Decoded(SoundStore(samples, spans, length=length), bad, noted)
        if isinstance(source_input, TargetMedia):
            # Copied on write, because torch warns of arrays that cannot be written to.
            maps = np.load(folder / "maps.npy", mmap_mode="c", allow_pickle=False)
            return Decoded(MapStore(maps, np.load(folder / "present.npy")), bad, noted)
        pictures = np.load(folder / "pictures.npy", mmap_mode="r", allow_pickle=False)
        places = np.load(folder / "places.npy") if "places.npy" in sizes else None
        return Decoded(PictureStore(pictures, places), bad, noted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _publish(part: Path, folder: Path, table: Table, source_input: Decodes) -> None:
    """Gives a complete entry its name; another process's complete entry is as good.

    Raises:
        OSError: If the folder cannot be renamed, for another reason than an entry in its place.
    """
    for attempt in range(3):
        try:
            os.rename(part, folder)
            return
        except OSError:
            if _open(folder, table, source_input) is not None:
                return
            if attempt == 2:
                raise
        with (
            tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=".broken-", ignore_cleanup_errors=True
            ) as broken,
            contextlib.suppress(FileNotFoundError),
        ):  # another process has cleared it away
            os.rename(folder, Path(broken) / "entry")


def _remove_stale(folder: Path) -> None:
    """Removes what interrupted processes left; other processes may do the same."""
    for path in folder.glob(".*-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)


def _write(
    part: Path,
    table: Table,
    source_input: Decodes,
    *,
    column: str,
    progress: Progress | None,
) -> dict[int, str]:
    """Writes all files of an entry and returns the bad rows."""
    media = table.media[column]
    what = f"{table.name}.{column}"
    first = None
    if media.windows is None and not isinstance(source_input, TargetMedia):
        first = media.repeats()
    # Which items are decoded, and which of these each row has, where several have one.
    some = np.arange(len(media)) if first is None else np.unique(first)
    places = None if first is None else np.searchsorted(some, first)
    items = _decode_all(media, some, source_input, what=what, progress=progress)
    if isinstance(source_input, ImageInput):
        shape = (source_input.channels, *source_input.size)
        bad_items = _write_arrays(part / "pictures.npy", items, len(some), shape, np.uint8)
        if places is not None:
            _save(part / "places.npy", places)
    elif isinstance(source_input, TargetMedia):
        bad_items = _write_maps(part, items, len(media), source_input)
    else:
        assert isinstance(source_input, SoundInput)
        bad_items = _write_sounds(part, items, len(some), places, media, source_input)
    if places is not None:
        bad_items = {r: bad_items[p] for r, p in enumerate(places.tolist()) if p in bad_items}
    bad = _bad_rows(bad_items, media, table, column)
    names = [p for p in part.iterdir() if p.suffix == ".npy"]
    manifest = {
        "rows": len(table),
        "sizes": {p.name: p.stat().st_size for p in names},
        "bad": {str(row): reason for row, reason in bad.items()},
        "noted": {str(item): note for item, note in sorted(media.noted.items())},
        "made_from": what,
    }
    with (part / "manifest.json").open("w") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    return bad


def _decode_all(
    media: Media, some: Rows, source_input: Decodes, *, what: str, progress: Progress | None
) -> Iterator[NDArray[Any] | str]:
    """Some items in order, decoded by a few threads; a string says why one could not be."""

    media.noted.clear()

    def job(first: int, count: int = _CHUNK) -> list[NDArray[Any] | str]:
        result: list[NDArray[Any] | str] = []
        for item in some[first : first + count].tolist():
            try:
                result.append(source_input.decode(media, item))
            except (DataError, OSError) as error:
                result.append(str(error))
        return result

    chunk = job(0, 1)  # With what is opened and imported for it.
    begun = time.perf_counter()
    chunk += job(1, _CHUNK - 1)
    quick = time.perf_counter() - begun < _QUICK * len(chunk)
    yield from chunk
    done = len(chunk)
    if progress and done:
        progress(done, len(some), what)
    workers = 1 if quick else min(8, getattr(os, "process_cpu_count", os.cpu_count)() or 1)
    waiting: deque[Future[list[NDArray[Any] | str]]] = deque()
    firsts = iter(range(_CHUNK, len(some), _CHUNK))
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (first := next(firsts, None)) is not None:
                    waiting.append(pool.submit(job, first))
                if not waiting:
                    return
                chunk = waiting.popleft().result()
                yield from chunk
                done += len(chunk)
                if progress:
                    progress(done, len(some), what)
        finally:
            for future in waiting:
                future.cancel()


def _write_arrays(
    path: Path,
    items: Iterator[NDArray[Any] | str],
    count: int,
    shape: tuple[int, ...],
    dtype: type[np.generic],
) -> dict[int, str]:
    """Writes items of one shape one after the other; zeros for bad ones."""
    bad = {}
    with path.open("wb") as file:
        _header(file, (count, *shape), np.dtype(dtype))
        for k, item in enumerate(items):
            if isinstance(item, str):
                bad[k] = item
                item = np.zeros(shape, dtype)
            file.write(item.tobytes())
        _flush(file)
    return bad


def _write_maps(
    part: Path, items: Iterator[NDArray[Any] | str], count: int, target: TargetMedia
) -> dict[int, str]:
    """Writes targets that are arrays, and which of them have any label."""
    present = np.zeros(count, np.bool_)

    def noted() -> Iterator[NDArray[Any] | str]:
        for k, item in enumerate(items):
            if not isinstance(item, str):
                present[k] = bool(target.task.known(torch.from_numpy(item)[None]).any())
            yield item

    bad = _write_arrays(part / "maps.npy", noted(), count, target.shape, target.task.dtype)
    _save(part / "present.npy", present)
    return bad


def _write_sounds(
    part: Path,
    items: Iterator[NDArray[Any] | str],
    count: int,
    places: Rows | None,
    media: Media,
    source_input: SoundInput,
) -> dict[int, str]:
    """Writes the samples one after the other, then puts a header with their number in front."""
    rate, windows = source_input.sample_rate, media.windows
    pad = 0 if windows is None else round(windows.pad * rate)
    needed, centres = np.zeros(count, np.int64), np.zeros(count)
    if windows is not None:
        np.maximum.at(centres, windows.item, (windows.start + windows.seconds / 2) * rate)
        starts, length = _window_samples(windows.start, windows.seconds, source_input, pad)
        np.maximum.at(needed, windows.item, starts + length)
    firsts, counts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    bad: dict[int, str] = {}
    total = 0
    with (part / "samples.npy").open("wb") as file:
        _header(file, (0,), np.dtype(np.int16))
        begin_of_samples = file.tell()
        for k, item in enumerate(items):
            if isinstance(item, str):
                bad[k] = item
                item = np.zeros(1, np.int16)
            elif media.whole and centres[k] > len(item):
                media.noted[k] = BEYOND
            if windows is not None:
                item = np.pad(item, (pad, max(0, int(needed[k]) - pad - len(item))))
            firsts[k], counts[k] = total, len(item)
            total += len(item)
            file.write(np.ascontiguousarray(item).tobytes())
        file.seek(0)
        _header(file, (total,), np.dtype(np.int16))
        if file.tell() != begin_of_samples:
            raise AssertionError("the npy header changed its length")
        _flush(file)
    spans = np.stack([firsts, counts], axis=1)
    if windows is not None:
        begin = firsts[windows.item] + starts
        spans = np.stack([begin, np.full(len(begin), length)], axis=1)
    _save(part / "spans.npy", spans if places is None else spans[places])
    return bad


def _window_samples(
    start: NDArray[np.float64], seconds: float, source_input: SoundInput, pad: int
) -> tuple[NDArray[np.int64], int]:
    """First sample (the pad included) of every window and their length; cut windows are centred."""
    kept = min(seconds, source_input.seconds)
    first = np.rint((start + (seconds - kept) / 2) * source_input.sample_rate).astype(np.int64)
    return np.maximum(first + pad, 0), round(kept * source_input.sample_rate)


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Writes an npy header; its length leaves room for any first dimension."""
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, fields)


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _bad_rows(bad_items: dict[int, str], media: Media, table: Table, column: str) -> dict[int, str]:
    reasons = {}
    for item, reason in bad_items.items():
        where = media.where(item)
        reasons[item] = f"column '{column}'" + (f": {where}" if where else "") + f": {reason}"
    if media.windows is None:
        return reasons
    rows = np.flatnonzero(np.isin(media.windows.item, list(bad_items)))
    return {int(r): reasons[int(media.windows.item[r])] for r in rows}
