"""One modality as the model sees it: which columns it reads, and how an item is decoded.

Letters: N rows, H x W pixels, D entries of a vector.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.sound_cleaning import Cleaning, Level, Silence
from polytask.data.sources import Media, MediaKind, Table
from polytask.data.stores import PictureStore, Rows, Store, VectorStore
from polytask.encoders.colors import ColorSpace, converted
from polytask.errors import ConfigError, DataError, require
from polytask.tasks.base import label_text

Fit = Literal["stretch", "pad", "crop"]

_SAMPLE = 2000  # pictures that the mean and standard deviation are measured on


class Input(ABC):
    """What one encoder reads.

    Attributes:
        columns: Per source, the column (for vectors: the columns) that it reads.
        media: The kind of column; None for plain values.
        state: What `fit` learned, as JSON; empty before.
    """

    media: ClassVar[MediaKind | None]
    columns: Mapping[str, Any]
    state: dict[str, Any]

    @property
    @abstractmethod
    def features(self) -> dict[str, Any]:
        """Facts that the model builder needs."""

    @abstractmethod
    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """Learns from training rows and keeps it as `state`.

        Args:
            parts: Per source its table, its decoded rows (None for plain values) and the numbers
                of its training rows.
        """

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what an earlier `fit` learned."""
        self.state = dict(state)

    def column(self, source: str) -> str:
        """The column of media that this input reads from a source."""
        return str(self.columns[source])


class MediaInput(Input):
    """An input of pictures or sounds: items are decoded once, into the cache."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the decoded items depend on, a part of the cache's key."""

    @abstractmethod
    def decode(self, media: Media, item: int) -> NDArray[Any]:
        """One item as it is stored.

        Raises:
            DataError: If it cannot be decoded.
        """


class ImageInput(MediaInput):
    """Pictures, scaled to one size.

    Pictures are kept, changed at random and shown as red, green and blue (or as one grey
    channel); the encoder turns them into other spaces.

    Args:
        columns: Per source, the column of pictures.
        size: Height and width in pixels; one number for squares.
        fit: How a picture of other proportions gets this size: `stretch` changes its proportions,
            `pad` keeps all of it between black bars, `crop` fills the size and loses what sticks
            out, evenly on both sides.
        color: The space of the values that the network sees: `rgb`, `hsv` (hue, saturation,
            value), `lab` (CIE L*a*b*), or `grey`, which is one channel.
    """

    media = "image"

    def __init__(
        self,
        *,
        columns: dict[str, str],
        size: int | tuple[int, int] = 32,
        fit: Fit = "stretch",
        color: ColorSpace = "rgb",
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise ConfigError(f"`size` should be at least 1 pixel. Found {size}.")
        self.columns = columns
        self.size = (int(height), int(width))
        self.how: Fit = fit
        self.color: ColorSpace = color
        self.state = {}

    @property
    def channels(self) -> int:
        """C of the pictures."""
        return 1 if self.color == "grey" else 3

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the stored pixels."""
        return {
            "kind": "image",
            "size": list(self.size),
            "fit": self.how,
            "channels": self.channels,
        }

    @property
    def features(self) -> dict[str, Any]:
        """`channels`, `color`, `size`; after `fit` `mean` and `std` per channel, values in 0..1."""
        return {
            "channels": self.channels,
            "color": self.color,
            "size": self.size,
            **self.state,
        }

    def decode(self, media: Media, item: int) -> NDArray[Any]:
        """One picture, `[C, H, W]` of uint8; scaled with an antialiasing filter if need be."""
        picture = media.picture(item)
        if picture.shape[:2] != self.size or self.channels == 1:
            image = require("PIL.Image", "image").fromarray(picture)
            if self.channels == 1:
                image = image.convert("L")
            picture = np.asarray(fitted(image, self.size, self.how))
        if self.channels == 1:
            return np.ascontiguousarray(picture)[None]
        return np.ascontiguousarray(picture.transpose(2, 0, 1))

    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """Mean and standard deviation per channel over up to 2,000 training pictures a source."""
        channels = range(self.channels)
        total, squares, count = np.zeros(self.channels), np.zeros(self.channels), 0
        for _, store, rows in parts:
            assert isinstance(store, PictureStore)
            some = rows[:: max(1, len(rows) // _SAMPLE)]
            pixels = store.gather(some).values
            if self.color in ("hsv", "lab"):
                values = converted(pixels / 255, self.color).double()
                total += values.sum((0, 2, 3)).numpy()
                squares += values.square().sum((0, 2, 3)).numpy()
                count += values[:, 0].numel()
                continue
            levels = np.stack(
                [np.bincount(pixels[:, c].numpy().ravel(), minlength=256) for c in channels]
            )
            total += levels @ (np.arange(256) / 255)
            squares += levels @ (np.arange(256) / 255) ** 2
            count += int(levels[0].sum())
        mean = total / max(count, 1)
        std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 1e-6))
        self.state = {"mean": mean.round(6).tolist(), "std": std.round(6).tolist()}
        return self.state


def fitted(image: Any, size: tuple[int, int], how: Fit) -> Any:
    """A Pillow picture of the given height and width; see `ImageInput`."""
    ops = require("PIL.ImageOps", "image")
    filter = require("PIL.Image", "image").Resampling.BILINEAR
    if image.size == size[::-1]:
        return image
    if how == "crop":
        return ops.fit(image, size[::-1], method=filter)
    if how == "pad":
        return ops.pad(image, size[::-1], method=filter)
    return image.resize(size[::-1], filter, reducing_gap=3.0)


class SoundInput(MediaInput):
    """Sounds: mono waves of int16 at one sample rate, cleaned and cut to a greatest length.

    Channels are averaged. What is done to a wave is done before it is stored, in the order of
    the settings.

    Args:
        columns: Per source, the column of sounds.
        sample_rate: Samples per second.
        resample: Whether sounds of other rates are resampled; else they are broken rows.
        denoise: Whether steady noise is taken out by spectral gating (Sainburg et al. 2020).
        silence: What becomes of silence: `keep` it, `trim` it at both ends, or `remove` pauses
            inside too. Energy decides, in stretches of 10 ms; 30 ms around sound are kept.
        silence_below: Decibels below a recording's loudest stretch from which on it is silence.
        preemphasis: `y[t] = x[t] - preemphasis x[t - 1]`; 0.97 is usual where high frequencies
            should count, 0 leaves sounds alone.
        level: Scale every recording to one `peak` (0.9 of full scale), or to one `rms` (0.1).
        shortest: Seconds that have to be left; what is shorter is a broken row.
        seconds: The greatest length; what is longer is cut at its end.
        fixed: Pad to exactly `seconds` instead of to the longest of the batch.
    """

    media = "sound"

    def __init__(
        self,
        *,
        columns: dict[str, str],
        sample_rate: int = 8000,
        resample: bool = True,
        denoise: bool = False,
        silence: Silence = "keep",
        silence_below: float = 40.0,
        preemphasis: float = 0.0,
        level: Level = "as it is",
        shortest: float = 0.0,
        seconds: float = 1.0,
        fixed: bool = False,
    ) -> None:
        if sample_rate < 1 or seconds * sample_rate < 1:
            raise ConfigError(
                f"`sample_rate` and `seconds` should give at least one sample. Found {sample_rate} "
                f"and {seconds}."
            )
        self.columns = columns
        self.sample_rate = sample_rate
        self.resample = resample
        self.cleaning = Cleaning(
            denoise=denoise,
            silence=silence,
            silence_below=silence_below,
            preemphasis=preemphasis,
            level=level,
        )
        self.shortest = shortest
        self.seconds = seconds
        self.fixed = fixed
        self.state = {}

    @property
    def samples(self) -> int:
        """The greatest number of samples of a wave."""
        return round(self.seconds * self.sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes the stored samples."""
        return {
            "kind": "sound",
            "sample_rate": self.sample_rate,
            "resample": self.resample,
            "seconds": self.seconds,
            "shortest": self.shortest,
            **asdict(self.cleaning),
        }

    @property
    def features(self) -> dict[str, Any]:
        """`sample_rate` and `seconds`."""
        return {"sample_rate": self.sample_rate, "seconds": self.seconds}

    def decode(self, media: Media, item: int) -> NDArray[Any]:
        """One wave, `[samples]` of int16; cut unless the recording is read in windows."""
        if media.whole and self.cleaning.shortens:
            raise ConfigError(
                "`silence` has to be kept in recordings that are read in windows, whose times it "
                "would shift."
            )
        wave, rate = media.wave(item)
        if rate != self.sample_rate and not self.resample:
            raise DataError(
                f"the sound has {rate} samples a second, where {self.sample_rate} are expected; "
                "'resample: true' takes it all the same"
            )
        if not (media.whole or self.cleaning.needs_all):
            # A little more, so that resampling ends as if it went on.
            wave = wave[: int((self.seconds + 0.1) * rate) + 1]
        if rate != self.sample_rate:
            wave = require("soxr", "audio").resample(wave, rate, self.sample_rate)
        wave = self.cleaning(wave, self.sample_rate)
        if wave.dtype != np.int16:
            wave = np.clip(np.rint(wave * 32767.0), -32768, 32767).astype(np.int16)
        if len(wave) < max(1, self.shortest * self.sample_rate):
            wanted = f"; 'shortest' asks for {self.shortest} s" if self.shortest else ""
            raise DataError(
                f"{len(wave)} samples are left of the sound, at {self.sample_rate} a second{wanted}"
            )
        return wave if media.whole else wave[: self.samples]

    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """Whether training rows are windows of recordings, so that predictions are made so too."""
        windows = [table.media[self.column(table.name)].windows for table, _, _ in parts]
        found = {(w.seconds, w.step, w.pad) if w else None for w in windows}
        self.state = {}
        if len(found) == 1 and None not in found:
            ((seconds, step, pad),) = (f for f in found if f)
            self.state = {"window": {"seconds": seconds, "step": step, "before": pad}}
        return self.state


class TableInput(Input):
    """Plain columns as one vector.

    A column of numbers is standardised by its training rows; if any of them is blank, blanks
    become 0 and a second entry says so. Any other column becomes one entry per category; rare
    and unknown categories and blanks are all zeros.

    Args:
        columns: Per source, the columns. With several sources the same number of columns each, in
            matching order.
        categories: Columns that are categories though they hold numbers, such as codes.
        min_count: A category needs this many training rows.
        max_categories: At most this many categories a column, the most frequent ones.
    """

    media = None

    def __init__(
        self,
        *,
        columns: dict[str, list[str]],
        categories: list[str] | None = None,
        min_count: int = 2,
        max_categories: int = 50,
    ) -> None:
        if len({len(c) for c in columns.values()}) > 1:
            raise ConfigError(
                "`columns` should have the same number of columns for every source. Found "
                + ", ".join(f"{s}: {len(c)}" for s, c in columns.items())
            )
        self.columns = columns
        self.categories = list(categories or [])
        self.min_count = min_count
        self.max_categories = max_categories
        self.state = {}

    @property
    def width(self) -> int:
        """D of the vectors; known after `fit`."""
        return sum(_width(spec) for spec in self.state.get("columns", ()))

    @property
    def features(self) -> dict[str, Any]:
        """`width`, and `names` of the entries."""
        return {"width": self.width, "names": self.names}

    @property
    def names(self) -> list[str]:
        """What each entry of the vector is."""
        result: list[str] = []
        for spec in self.state.get("columns", ()):
            if spec["kind"] == "number":
                result.append(spec["name"])
                result += [f"{spec['name']} is blank"] if spec["blank"] else []
            else:
                result += [f"{spec['name']} = {v}" for v in spec["values"]]
        return result

    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """Categories, means and standard deviations of the training rows."""
        named = {id(table): self.columns[table.name] for table, _, _ in parts}
        first = next(iter(named.values()))
        specs = []
        for k, name in enumerate(first):
            cells = [t.cells([named[id(t)][k]], rows)[:, 0] for t, _, rows in parts]
            places = [(t, int(row)) for t, _, rows in parts for row in rows]
            together = np.concatenate(cells)
            if name not in self.categories:
                together = _as_numbers(name, together, places)
            specs.append(self._fit_column(name, together, places))
        self.state = {"columns": specs}
        return self.state

    def _fit_column(
        self, name: str, cells: NDArray[Any], places: Sequence[tuple[Table, int]]
    ) -> dict[str, Any]:
        known = [c for c in cells.tolist() if c is not None]
        if not known:
            raise DataError(f"Column '{name}' has no value in any training row: leave it out.")
        if name not in self.categories and all(_is_number(c) for c in known):
            every = np.array([np.nan if c is None else c for c in cells.tolist()], np.float64)
            _finite(every, name, lambda k: places[k][0].describe(places[k][1]))
            values = every[~np.isnan(every)]
            std = float(values.std())
            return {
                "kind": "number",
                "name": name,
                "mean": float(values.mean()),
                "std": std if std > 1e-12 else 1.0,
                "blank": len(values) < len(cells),
            }
        texts, counts = np.unique([label_text(c) for c in known], return_counts=True)
        order = np.argsort(-counts, kind="stable")[: self.max_categories]
        kept = [str(texts[i]) for i in order if counts[i] >= self.min_count]
        return {"kind": "category", "name": name, "values": kept}

    def vectors(self, table: Table, *, columns: list[str] | None = None) -> VectorStore:
        """All rows of a table as vectors.

        Args:
            table: The rows.
            columns: Their columns, where the table is not one of the declared sources.

        Raises:
            DataError: If there is text where training had numbers.
        """
        if not self.state:
            raise DataError("A table input has to be fitted before it makes vectors.")
        cells = table.cells(self.columns[table.name] if columns is None else columns)
        blocks = []
        for k, spec in enumerate(self.state["columns"]):
            column = cells[:, k]
            if spec["kind"] == "number":
                blocks.append(_numbers(column, spec, table))
            else:
                texts = np.array(
                    ["" if c is None else label_text(c) for c in column.tolist()], dtype=str
                )
                known = np.array([c is not None for c in column.tolist()], dtype=bool)
                match = texts[:, None] == np.array(spec["values"], dtype=str)[None, :]
                blocks.append((match & known[:, None]).astype(np.float32))
        return VectorStore(np.ascontiguousarray(np.concatenate(blocks, axis=1)))


def _finite(values: NDArray[np.float64], name: str, where: Callable[[int], str]) -> None:
    """Makes sure that float32 can hold all numbers; a NaN stands for a blank cell.

    Raises:
        DataError: If there is an infinity or a number that float32 cannot hold.
    """
    bad = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(bad):
        raise DataError(
            f"{where(int(bad[0]))}: column '{name}' should hold finite numbers (up to 3e38). Found "
            f"{values[bad[0]]}. Correct the cell or leave it blank."
        )


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float, np.integer, np.floating)) and not isinstance(cell, bool)


def _as_numbers(
    name: str, cells: NDArray[Any], places: Sequence[tuple[Table, int]]
) -> NDArray[Any]:
    """A column with numbers written as text as numbers; a few words among numbers are a mistake."""
    result, words = cells.copy(), []
    for k, cell in enumerate(cells.tolist()):
        if isinstance(cell, str):
            try:
                result[k] = float(cell)
            except ValueError:
                words.append(k)
    known = sum(cell is not None for cell in cells.tolist())
    if not words or known - len(words) < 0.5 * known:
        return result if not words else cells
    table, row = places[words[0]]
    raise DataError(
        f"{table.describe(row)}: column '{name}' holds numbers in {known - len(words)} of {known} "
        f"training rows. Found {cells[words[0]]!r}. Correct the cell, leave it blank, or list the "
        "column under `categories`."
    )


def _width(spec: Mapping[str, Any]) -> int:
    return 1 + bool(spec["blank"]) if spec["kind"] == "number" else len(spec["values"])


def _numbers(column: NDArray[Any], spec: Mapping[str, Any], table: Table) -> NDArray[np.float32]:
    values = np.full(len(column), np.nan)
    for row, cell in enumerate(column.tolist()):
        if cell is None:
            continue
        try:
            values[row] = float(cell)
        except (TypeError, ValueError):
            raise DataError(
                f"{table.describe(row)}: column '{spec['name']}' should hold numbers. Found "
                f"{cell!r}. Correct the cell or leave it blank."
            ) from None
    _finite(values, spec["name"], table.describe)
    blank = np.isnan(values)
    scaled = np.where(blank, 0.0, (values - spec["mean"]) / spec["std"])
    parts = [scaled, blank] if spec["blank"] else [scaled]
    return np.stack(parts, axis=1).astype(np.float32)
