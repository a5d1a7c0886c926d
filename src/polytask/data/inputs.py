"""One modality as the model sees it: which columns it reads, and how an item is decoded.

Letters: N rows, H x W pixels, D entries of a vector.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.sound_cleaning import Cleaning, Level, Silence
from polytask.data.sources import Media, MediaKind, Table
from polytask.data.stores import PictureStore, Rows, Store
from polytask.encoders.colors import ColorSpace, converted
from polytask.errors import ConfigError, DataError, require, require_number

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
        white: The number that is white in pictures of 16 bits, grey or of colours: 65535 if None,
            4095 for cameras and scanners of 12 bits.
    """

    media = "image"

    def __init__(
        self,
        *,
        columns: dict[str, str],
        size: int | tuple[int, int] = 32,
        fit: Fit = "stretch",
        color: ColorSpace = "rgb",
        white: int | None = None,
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise ConfigError(f"`size` should be at least 1 pixel. Found {size}.")
        if white is not None and not 1 <= white <= 65535:
            raise ConfigError(f"`white` should be 1 to 65535. Found {white}.")
        self.white = white
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
            **({} if self.white is None else {"white": self.white}),
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
        picture = media.picture(item, white=self.white)
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

    Channels are averaged; where they cancel each other out, the loudest is read. What is done to a
    wave is done before it is stored, in the order of the settings.

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
        require_number("seconds", seconds, 0, above=True)
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
