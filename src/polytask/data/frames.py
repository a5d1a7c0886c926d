"""Labels of the frames of sounds: as many as each sound has, whatever the labels end at.

Letters: N rows, L frames of the longest row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard

import torch
from torch import Tensor

from polytask.data.inputs import Input, SoundInput
from polytask.data.stores import SoundStore
from polytask.errors import ConfigError, DataError
from polytask.tasks import sequences
from polytask.tasks.base import Task
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


def frame_labels(
    task: Tagging,
    target: Tensor,
    present: Tensor,
    read: SoundInput,
    store: SoundStore,
    describe: Callable[[int], str],
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
        describe: Names a row.

    Raises:
        DataError: For the first row whose labels go on after the end of its sound, by more than a
            frame.
    """
    samples = torch.from_numpy(store.spans[:, 1])
    places = (samples / (task.frame * read.sample_rate) - 1e-6).ceil().long()
    said = task.lengths(target)
    wrong = present & (said > places + 1) & (samples < read.samples)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"{describe(row)}: task '{task.name}' has labels up to "
            f"{int(said[row]) * task.frame:.2f} s, and the sound ends at "
            f"{int(samples[row]) / read.sample_rate:.2f} s. Are the times in seconds, and of this "
            "sound?"
        )
    place = torch.arange(int(places.max()) if len(places) else 0)
    target = sequences.widened(target, len(place))
    silent = (place >= said[:, None]) & (said > 0)[:, None]
    target = target.masked_fill(silent, task.rest).masked_fill(place >= places[:, None], PADDING)
    return target, present & (target >= 0).any(1)
