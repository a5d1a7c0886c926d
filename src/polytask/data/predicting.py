"""Rows without labels, read as the training rows were.

Letters: B rows of a batch.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.addresses import file_of
from polytask.data.arff import ArffFile
from polytask.data.conll import read_text
from polytask.data.files import (
    Files,
    list_media,
    list_texts,
    nothing_readable,
    read_text_file,
)
from polytask.data.inputs import ImageInput, Input, MediaInput, SoundInput
from polytask.data.likewise import Written, ending_of, read_texts, undivided
from polytask.data.linked import renamed
from polytask.data.matching import TEXT, matched, read_columns
from polytask.data.places import content_key, files_key
from polytask.data.sources import Table
from polytask.data.stores import PictureStore, SomeRows, SoundStore, Store, pack_waves
from polytask.data.table_rows import known_format
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.text import TextInput
from polytask.data.unlike import tell_unlike
from polytask.data.words import words_of
from polytask.errors import ConfigError, DataError, nearest, require
from polytask.types import Batch

_TEXTS = (".txt", ".conllu")


@dataclass(frozen=True)
class _Reading:
    """One table and the column (or columns) of it that each input reads."""

    table: Table
    inputs: Mapping[str, Input]
    columns: Mapping[str, str | list[str]]


class Unlabelled:
    """Rows to predict, decoded batch by batch as they are asked for.

    Args:
        readings: What is read by which inputs.
        on_bad: Whether what cannot be decoded is an error or is left out and listed.

    Attributes:
        skipped: What was left out so far, and why.
    """

    def __init__(
        self, readings: Sequence[_Reading], *, on_bad: Literal["error", "skip"] = "error"
    ) -> None:
        self._readings = readings
        self._on_bad = on_bad
        self._places: list[str] = []
        self._texts: list[dict[str, str]] = []
        self._noted: set[str] = set()
        self.skipped: list[tuple[str, str]] = []

    def __len__(self) -> int:
        """Files or table rows; a recording may give many rows of a batch."""
        return sum(len(r.table) for r in self._readings)

    def describe(self, row: int) -> str:
        """Where an entry of `Batch.rows`, of a batch that was read, comes from."""
        return self._places[int(row)]

    def texts(self, row: int) -> dict[str, str]:
        """The words of an entry with spaces between, by text input; those inside are no-break."""
        return self._texts[int(row)]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All rows in order, without targets.

        Raises:
            DataError: If something cannot be decoded and that is an error.
        """
        self._places, self._texts, self.skipped = [], [], []
        for reading in self._readings:
            plain = _plain(reading)
            for first in range(0, len(reading.table), batch_size):
                rows = np.arange(first, min(first + batch_size, len(reading.table)))
                yield from self._read(reading, rows, plain, batch_size)

    def _read(
        self,
        reading: _Reading,
        rows: NDArray[np.int64],
        plain: Mapping[str, Store],
        batch_size: int,
    ) -> Iterator[Batch]:
        good, items = self._decode(reading, rows)
        names = [reading.table.describe(row) for row in good]
        texts = _texts(reading, good)
        window = _window(reading.inputs)
        if window is not None:
            ((name, some),) = reading.inputs.items()
            assert isinstance(some, SoundInput)
            store, names = _windowed(items[name], names, some, window)
            stores: dict[str, Store] = {name: store}
            count = len(store)
        else:
            stores = {n: _packed(reading.inputs[n], values) for n, values in items.items()}
            stores |= {n: SomeRows(store, np.array(good, np.int64)) for n, store in plain.items()}
            count = len(good)
        begin = len(self._places)
        self._places += names
        self._texts += texts if len(texts) == count else [{}] * count
        for first in range(0, count, batch_size):
            picked = np.arange(first, min(first + batch_size, count))
            numbers = torch.from_numpy(picked) + begin
            features = {n: store.gather(picked) for n, store in stores.items()}
            yield Batch(features, {}, {}, {n: numbers for n in stores})

    def _decode(
        self, reading: _Reading, rows: NDArray[np.int64]
    ) -> tuple[list[int], dict[str, list[NDArray[Any]]]]:
        """The rows that can be decoded, and the values of each input of media."""
        media = {n: i for n, i in reading.inputs.items() if isinstance(i, MediaInput)}
        good: list[int] = []
        items: dict[str, list[NDArray[Any]]] = {name: [] for name in media}
        bad: list[tuple[str, str]] = []
        for row in rows.tolist():
            values, place = {}, reading.table.describe(row)
            for name, some in media.items():
                column = reading.table.media[str(reading.columns[name])]
                try:
                    values[name] = some.decode(column, row)
                except (DataError, OSError) as error:
                    file = column.where(row)
                    bad.append((place, str(error) if file in ("", place) else f"{file}: {error}"))
                    break
            if len(values) < len(media):
                continue
            good.append(row)
            for name, value in values.items():
                items[name].append(value)
        if bad and self._on_bad == "error":
            lines = "\n".join(f"  {where}: {reason}" for where, reason in bad[:20])
            raise DataError(
                f"{len(bad)} of {len(rows)} cannot be decoded:\n{lines}\n"
                "Mend or remove them, or leave them out with --on-bad skip."
            )
        self.skipped += bad
        self._say_noted(reading)
        return good, items

    def _say_noted(self, reading: _Reading) -> None:
        """Says what people should know of items that were decoded, of each kind once."""
        for media in reading.table.media.values():
            for item, note in sorted(media.noted.items()):
                if note not in self._noted:
                    warnings.warn(
                        f"{media.where(item)}: {note}. Others are not named.", stacklevel=2
                    )
                self._noted.add(note)


def _texts(reading: _Reading, rows: list[int]) -> list[dict[str, str]]:
    """The words of some rows, by text input."""
    found: list[dict[str, str]] = [{} for _ in rows]
    for name, some in reading.inputs.items():
        if isinstance(some, TextInput):
            cells = reading.table.cells([str(reading.columns[name])], np.array(rows, np.int64))
            for line, cell in zip(found, cells[:, 0], strict=True):
                words = words_of(cell, some.split)  # some words have blanks of their own
                line[name] = " ".join(word.replace(" ", "\u00a0") for word in words)
    return found


def _plain(reading: _Reading) -> dict[str, Store]:
    """The stores of all rows, for the inputs that read plain columns."""
    stores: dict[str, Store] = {}
    for name, some in reading.inputs.items():
        if isinstance(some, TableInput):
            named = list(reading.columns[name])
            stores[name] = some.vectors(reading.table, columns=named)
            tell_unlike(some, reading.table, named)
        elif isinstance(some, TextInput):
            stores[name] = some.stored(reading.table, column=str(reading.columns[name]))
    return stores


def read_unlabelled(
    path: Path,
    inputs: Mapping[str, Input],
    *,
    input: str | None = None,
    on_bad: Literal["error", "skip"] = "error",
    like: TableFile | None = None,
    written: Written | None = None,
    called: Mapping[str, str] | None = None,
) -> Unlabelled:
    """Opens what is to be predicted.

    Args:
        path: A picture, a sound, a folder of them, a table (or ARFF) with the columns of training
            (text also under `text`), a .txt with a text on each line, a
            folder of texts, a treebank (.conllu), of
            which the words are read, or a file of text that is written as that of training was.
        inputs: The fitted inputs of a run.
        input: The only input to feed, where several could read the same files.
        on_bad: Whether what cannot be decoded is an error or is left out and listed.
        like: The table of training: another is read as it was.
        written: The text of training, in the same way.
        called: What columns of training are called in a table, where it is something else.

    Raises:
        DataError: If there is nothing that an input reads.
        ConfigError: If several inputs could read the same files.
    """
    path = Path(path).expanduser()
    if input is not None:
        if input not in inputs:
            raise ConfigError(f"There is no input '{input}'. {nearest(input, inputs)}")
        inputs = {input: inputs[input]}
    known = known_format(path) is not None if like is None else like.alike(path)
    if path.is_file() and ending_of(path) == ".arff":
        return Unlabelled([_read_arff(path, inputs, called or {})], on_bad=on_bad)
    texts = {name: some for name, some in inputs.items() if isinstance(some, TextInput)}
    written = written or Written()
    if file_of(path).is_file() and known and not (texts and _in_lines(path, inputs, written, like)):
        return Unlabelled([_read_table(path, inputs, like, called or {})], on_bad=on_bad)
    if called:
        raise ConfigError(f"--column goes with a table, and {path} is none.")
    if texts and path.is_file() and (ending_of(path) in _TEXTS or written.by(path, words=True)):
        return Unlabelled([_read_texts(path, texts, written)], on_bad=on_bad)
    if path.is_file() and ending_of(path) in _TEXTS:
        raise DataError(
            f"{path.name} is text by its name, which no input of this run reads: "
            f"{', '.join(inputs)}. If it is a table, let its name end in .csv or .tsv."
        )
    readings = []
    found = list_media(path)
    for kind, column in (("image", "image"), ("sound", "audio")):
        files = found["image" if kind == "image" else "sound"]
        readers = {name: some for name, some in inputs.items() if some.media == kind}
        if not files or not readers:
            continue
        if len(readers) > 1:
            raise ConfigError(
                f"Inputs {', '.join(readers)} all read {kind}s: say which `input` is meant, or "
                "write a table with a column for each."
            )
        table = Files(path=path, kind="image" if kind == "image" else "sound").load()
        readings.append(_Reading(table, _whole(readers, table), dict.fromkeys(readers, column)))
    if texts and not any(found.values()) and path.is_dir() and list_texts(path):
        return Unlabelled([_read_text_files(path, texts)], on_bad=on_bad)
    if readings:
        return Unlabelled(readings, on_bad=on_bad)
    if any(found.values()):
        has = " and ".join(f"{kind}s" for kind, files in found.items() if files)
        reads = ", ".join(f"'{n}' ({i.media or 'table'})" for n, i in inputs.items())
        raise DataError(f"{path} holds {has}, which no input of this run reads: {reads}.")
    raise DataError(nothing_readable(path))


def _in_lines(
    path: Path, inputs: Mapping[str, Input], written: Written, like: TableFile | None
) -> bool:
    """Whether a file that is a table by its name has texts in lines, and names no column."""
    if like is not None and len(inputs) == 1 and undivided(path, like):
        return True
    if not written.by(path):
        return False
    # Letters of names do not matter here; a byte order mark does.
    first = read_text(path, "latin-1").removeprefix("\xef\xbb\xbf").partition("\n")[0]
    named = {*read_columns(inputs), TEXT} & set(re.split("[\t,;|]", first.strip()))
    return not named and written.columns(path)


def _read_texts(path: Path, readers: Mapping[str, Input], written: Written) -> _Reading:
    _require_one(readers)
    table, column = read_texts(path, written)
    return _Reading(table, readers, dict.fromkeys(readers, column))


def _read_text_files(path: Path, readers: Mapping[str, Input]) -> _Reading:
    """The texts of a folder, of which each is a file."""
    _require_one(readers)
    files = list_texts(path)
    frame = require("pandas", "train").DataFrame({TEXT: list(map(read_text_file, files))})
    key = content_key(["texts", files_key(files)])
    table = Table(str(path), frame, {}, key, lambda row: str(files[row]))
    return _Reading(table, readers, dict.fromkeys(readers, TEXT))


def _require_one(readers: Mapping[str, Input]) -> None:
    """Make sure that a single input reads text."""
    if len(readers) > 1:
        raise ConfigError(
            f"Inputs {', '.join(readers)} all read text: say which `input` is meant, or write a "
            "table with a column for each."
        )


def _read_arff(path: Path, inputs: Mapping[str, Input], called: Mapping[str, str]) -> _Reading:
    table = ArffFile(path=path).load()
    columns = matched(path, list(table.columns), inputs, called)
    return _Reading(table, {name: inputs[name] for name in columns}, columns)


def _read_table(
    path: Path,
    inputs: Mapping[str, Input],
    like: TableFile | None,
    called: Mapping[str, str],
) -> _Reading:
    source = TableFile(path=path)
    if like is not None:
        source = like.another(path, read_columns(inputs), called, also=TEXT)
    keys = set() if like is None else like.keys
    columns = matched(path, source.names(), inputs, called, keys=keys, lacking=source.lacking)
    for name, column in columns.items():
        kind = inputs[name].media
        if kind is not None:
            source.media[str(column)] = kind
            for trained in read_columns({name: inputs[name]}) & set(source.places):
                places = renamed(source.places[trained], trained, str(column))
                source.places[str(column)] = places
    table = source.load()
    return _Reading(table, _whole({n: inputs[n] for n in columns}, table), columns)


def _window(inputs: Mapping[str, Input]) -> Mapping[str, float] | None:
    """The window that training rows were, where the only input is of windows of recordings."""
    if len(inputs) != 1:
        return None
    (some,) = inputs.values()
    found: Mapping[str, float] | None = some.state.get("window")
    return found


def _whole(inputs: Mapping[str, Input], table: Table) -> Mapping[str, Input]:
    """Makes recordings that are read in windows be decoded to their end."""
    if _window(inputs) is not None:
        for media in table.media.values():
            media.whole = True
    return inputs


def _windowed(
    waves: list[NDArray[np.int16]],
    names: list[str],
    some: SoundInput,
    window: Mapping[str, float],
) -> tuple[SoundStore, list[str]]:
    """Every whole step of every recording as a row, with silence around the recording."""
    rate = some.sample_rate
    kept = min(window["seconds"], some.seconds)
    length, pad = round(kept * rate), round(window["seconds"] * rate)
    flat, spans, places, begin = [], [], [], 0
    for wave, name in zip(waves, names, strict=True):
        count = max(1, int(len(wave) / rate / window["step"] + 1e-6))
        times = np.arange(count) * window["step"]
        first = times - window["before"] + (window["seconds"] - kept) / 2
        spans.append(np.rint(first * rate).astype(np.int64) + pad + begin)
        flat.append(np.pad(wave, pad))
        places += [f"{name} at {t:.2f} s" for t in times]
        begin += len(flat[-1])
    starts = np.concatenate([*spans, np.zeros(0, np.int64)])
    samples = np.concatenate([*flat, np.zeros(0, np.int16)])
    counts = np.full(len(starts), length)
    return SoundStore(samples, np.stack([starts, counts], axis=1)), places


def _packed(some: Input, values: list[NDArray[Any]]) -> Store:
    if isinstance(some, ImageInput):
        empty = np.zeros((0, some.channels, *some.size), np.uint8)
        return PictureStore(np.stack(values) if values else empty)
    assert isinstance(some, SoundInput)
    return pack_waves(values, length=some.samples if some.fixed else None)
