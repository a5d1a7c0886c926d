"""Targets that are arrays, decoded once: something for each pixel, or the frames of a sound.

Letters: N rows, K values per pixel, H x W pixels, L frames, M mel bands.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.decoding import TURNED_ALONE
from polytask.data.inputs import Fit, ImageInput, Input, SoundInput
from polytask.data.sources import BlankCell, Media
from polytask.data.stores import Rows, Store
from polytask.errors import ConfigError, DataError
from polytask.tasks.base import Task
from polytask.tasks.dense import DenseTask, nearest_pixels
from polytask.tasks.stored import StoredTask
from polytask.tasks.synthesis import Synthesis
from polytask.types import Features


class MapStore(Store):
    """Targets `[N, H, W]`, `[N, K, H, W]` or `[N, L, M]`, usually memory-mapped.

    Args:
        maps: All targets.
        present: `[N]`, which rows have any labelled pixel, or a sound.
    """

    def __init__(self, maps: NDArray[Any], present: NDArray[np.bool_]) -> None:
        self.maps = maps
        self.present = present

    def __len__(self) -> int:
        return len(self.maps)

    def gather(self, rows: Rows) -> Features:
        """Never: targets are no features."""
        raise AssertionError("maps are targets")

    def cells(self, rows: Rows) -> NDArray[np.object_]:
        """The targets of some rows as cells `[rows, 1]` to fit a task to; None if absent."""
        cells = np.empty((len(rows), 1), dtype=object)
        for number, row in enumerate(rows.tolist()):
            cells[number, 0] = self.maps[row] if self.present[row] else None
        return cells


class TargetMedia(ABC):
    """How the target of a task whose targets are arrays is decoded."""

    task: StoredTask

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the decoded targets depend on, a part of the cache's key."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one target."""

    @abstractmethod
    def decode(self, media: Media, item: int) -> NDArray[Any]:
        """One target; nothing but `blank` for a row without one.

        Raises:
            DataError: If it cannot be decoded.
        """


class TargetMaps(TargetMedia):
    """How the target of a task about pixels is decoded.

    Args:
        task: The task.
        source_input: The pictures that it is about; targets get their size.
        shown: The column of these pictures, where it is known.

    Raises:
        ConfigError: If the task's input has no pixels.
    """

    def __init__(self, task: Task, source_input: Input, shown: Media | None = None) -> None:
        if not isinstance(task, DenseTask) or not isinstance(source_input, ImageInput):
            raise ConfigError(
                f"Task '{task.name}' is about every pixel, and its input '{task.input}' has none: "
                "give it an input of 'kind: image'."
            )
        self.task: DenseTask = task
        self.pictures = source_input
        self.size = source_input.size
        self.shown = shown

    @property
    def settings(self) -> dict[str, Any]:
        how: dict[str, Any] = {
            "size": list(self.size),
            "fit": self.pictures.how,
            "shape": list(self.shape),
        }
        if self.task.media == "image" and self.pictures.white is not None:
            how["white"] = self.pictures.white
        return {"kind": "target", **how, **self.task.settings}

    @property
    def shape(self) -> tuple[int, ...]:
        if self.task.media == "image":
            return (self.pictures.channels, *self.size)
        return (*self.task.channels, *self.size)

    def decode(self, media: Media, item: int) -> NDArray[Any]:
        try:
            if self.task.media == "image":
                return self.task.read(self.pictures.decode(media, item))
            array = media.array(item)
        except BlankCell:
            return np.full(self.shape, self.task.blank, self.task.dtype)
        target = np.full(self.shape, self.task.blank, self.task.dtype)
        numbers = self.task.read(array)
        height, width = numbers.shape[-2:]
        self._require_same_proportions(item, (height, width))
        if self.shown is not None and self.shown.turned(item) and not media.turned(item):
            media.noted[item] = TURNED_ALONE
        kept, filled = placed((height, width), self.size, self.pictures.how)
        size = (filled[0].stop - filled[0].start, filled[1].stop - filled[1].start)
        target[(..., *filled)] = nearest_pixels(numbers[(..., *kept)], size)
        return self.task.finished(target).astype(self.task.dtype)

    def _require_same_proportions(self, item: int, size: tuple[int, int]) -> None:
        """Make sure that a map can lie on its picture: it may be smaller or larger, not cut.

        Raises:
            DataError: If it cannot.
        """
        shown = None if self.shown is None else self.shown.size(item)
        if shown is not None and not proportional(size, shown):
            raise DataError(
                f"the map has {size[1]} x {size[0]} pixels, and its picture {shown[1]} x "
                f"{shown[0]} (as a camera's note turns it): is it that of another picture, turned "
                "or cut?"
            )


class TargetSounds(TargetMedia):
    """How the sounds of a synthesis are decoded.

    Args:
        task: The task.
        column: The column of sounds.
    """

    def __init__(self, task: Synthesis, column: str) -> None:
        self.task: Synthesis = task
        self.sounds = SoundInput(
            columns={"target": column},
            sample_rate=task.sample_rate,
            silence=task.silence,
            silence_below=task.silence_below,
            level=task.level,
            seconds=task.seconds,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.sounds.settings, **self.task.settings, "kind": "target"}

    @property
    def shape(self) -> tuple[int, ...]:
        return self.task.stored_shape

    def decode(self, media: Media, item: int) -> NDArray[Any]:
        target = np.full(self.shape, self.task.blank, self.task.dtype)
        try:
            wave = self.sounds.decode(media, item)
        except BlankCell:
            return target
        frames = self.task.read(wave)
        target[: len(frames)] = frames
        return target


def target_media(
    task: Task, source_input: Input, column: str, shown: Media | None = None
) -> TargetMedia:
    """How a task's column of media is decoded.

    Args:
        task: A task with such a column.
        source_input: The input that it reads.
        column: The column.
        shown: What that input reads of the same rows.
    """
    if isinstance(task, Synthesis):
        return TargetSounds(task, column)
    return TargetMaps(task, source_input, shown)


def proportional(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are one another scaled, each side rounded up or down to whole pixels."""
    low = max((a - 1) / b for a, b in zip(one, other, strict=True))
    return low <= min((a + 1) / b for a, b in zip(one, other, strict=True))


def placed(
    old: tuple[int, int], new: tuple[int, int], how: Fit
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Which part of a picture goes where, as `inputs.fitted` has it, to the nearest pixel.

    Args:
        old: Height and width of the picture.
        new: Height and width that it gets.
        how: See `ImageInput`.

    Returns:
        Rows and columns of the old picture that are kept, and those of the new one that they fill.
    """
    height, width = old
    whole, everywhere = slices((0, 0), old), slices((0, 0), new)
    wide = width * new[0] > height * new[1]  # wider than it is to be
    if how == "stretch" or width * new[0] == height * new[1]:
        return whole, everywhere
    if how == "crop":
        kept = (height, round(height * new[1] / new[0]))
        if not wide:
            kept = (round(width * new[0] / new[1]), width)
        return slices(middle(old, kept), kept), everywhere
    filled = (round(height / width * new[1]), new[1])
    if not wide:
        filled = (new[0], round(width / height * new[0]))
    return whole, slices(middle(new, filled), filled)


def middle(outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    """Where an inner rectangle begins that lies in the middle of an outer one."""
    return round((outer[0] - inner[0]) * 0.5), round((outer[1] - inner[1]) * 0.5)


def slices(begin: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a rectangle."""
    return slice(begin[0], begin[0] + size[0]), slice(begin[1], begin[1] + size[1])
