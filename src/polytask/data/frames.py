"""Labels of the frames of sounds: as many as each sound has, whatever the labels end at.

Letters: N rows, L frames of the longest row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.inputs import Input, SoundInput
from polytask.data.stores import SoundStore
from polytask.errors import ConfigError, DataError
from polytask.tasks import sequences
from polytask.tasks.base import Task
from polytask.tasks.labels import LabelError
from polytask.tasks.sequences import PADDING
from polytask.tasks.tagging import Tagging


def has_times(task: Task) -> TypeGuard[Tagging]:
    """Whether a task's labels say when something is heard."""
    return isinstance(task, Tagging) and task.frame > 0


def check_times(inputs: Mapping[str, Input], tasks: Sequence[Task]) -> None:
    """Makes sure that labels with times are of sounds whose times stay what they are.

    Raises:
        ConfigError: If some are not.
    """
    for task in tasks:
        read = inputs[task.input]
        if not has_times(task):
            continue
        if not isinstance(read, SoundInput):
            raise ConfigError(
                f"Task '{task.name}' has labels with times ('frame'), and its input "
                f"'{task.input}' is no sound. Leave out 'frame', or let it read a sound."
            )
        if read.cleaning.shortens:
            raise ConfigError(
                f"Input '{task.input}' leaves silence out ('silence'), which would shift the times "
                f"of task '{task.name}'. Keep it."
            )


def require_ends(
    task: Tagging,
    cells: NDArray[Any],
    read: SoundInput,
    store: SoundStore,
    describe: Callable[[int], str],
) -> None:
    """Makes sure that no labels go on after the end of their sound, by more than a frame.

    This comes before there is a label for each frame: times that are no seconds would give many.

    Args:
        task: Says how long a frame is.
        cells: `[N, 1]`, None where there are no labels.
        read: The input that has the sounds.
        store: The sounds.
        describe: Names a row.

    Raises:
        DataError: For the first row whose labels do, or cannot be read.
    """
    try:
        ends = np.array(task.ends(cells))
    except LabelError as error:
        raise DataError(f"{describe(error.row)}: {error}") from error
    samples = store.spans[:, 1]
    seconds = samples / read.sample_rate
    wrong = (ends > seconds + task.frame) & (samples < read.samples)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{describe(row)}: task '{task.name}' has labels up to {ends[row]:.2f} s, and the "
            f"sound ends at {seconds[row]:.2f} s. Are the times in seconds, and of this sound?"
        )


def frame_labels(
    task: Tagging, target: Tensor, present: Tensor, read: SoundInput, store: SoundStore
) -> tuple[Tensor, Tensor]:
    """Targets with a place for each frame of a row's sound, and where any has a label.

    Frames after the last interval have the label of those outside, and what was cut off a sound
    has none.

    Args:
        task: Says how long a frame is.
        target: `[N, L]` as encoded, up to the last interval.
        present: `[N]`.
        read: The input that has the sounds.
        store: The sounds.
    """
    samples = torch.from_numpy(store.spans[:, 1])
    places = (samples / (task.frame * read.sample_rate) - 1e-6).ceil().long()
    said = task.lengths(target)
    place = torch.arange(int(places.max()) if len(places) else 0)
    target = sequences.widened(target, len(place))
    silent = (place >= said[:, None]) & (said > 0)[:, None]
    target = target.masked_fill(silent, task.rest).masked_fill(place >= places[:, None], PADDING)
    return target, present & (target >= 0).any(1)
