"""What tasks answer about some examples, and what is true, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polytask.model import MultiTaskModel
from polytask.tasks import Tagging, Task
from polytask.tasks.base import Picture
from polytask.types import Batch, Features

LONGEST = 18  # letters of an answer


@dataclass(frozen=True)
class Answers:
    """A task's answers about some examples.

    Attributes:
        titles: Per example the answer, and the label in brackets.
        tags: Per example the answer for each token; None for a task that has no such.
        pictures: Per example the answer as a picture; None for a task that gives none.
        truths: Per example the label as a picture, None where there is none.
    """

    titles: Sequence[str]
    tags: Sequence[Sequence[str]] | None = None
    pictures: Sequence[Picture] | None = None
    truths: Sequence[Picture | None] = ()


@torch.no_grad()
def answered(
    model: MultiTaskModel, tasks: Sequence[Task], batch: Batch, raw: Features, rows: Tensor
) -> dict[str, Answers]:
    """What each task answers.

    Args:
        model: In evaluation mode.
        tasks: Tasks that read one input.
        batch: The batch with their targets.
        raw: The examples of the input that are asked about.
        rows: Which rows of the batch these are.
    """
    found = {}
    for task in tasks:
        output = model({task.input: raw}, [task.name])[task.name].float()
        decoded = task.decode(output)
        target, present = batch.targets[task.name][rows], batch.present[task.name][rows].tolist()
        pictures = task.pictures(decoded)
        if pictures is not None:
            labels = task.pictures(target)
            truths = [t if p else None for t, p in zip(labels or (), present, strict=True)]
            found[task.name] = Answers([""] * len(rows), None, pictures, truths)
        elif isinstance(task, Tagging):
            tags = [[task.classes[n] for n in row if n >= 0] for row in decoded.tolist()]
            found[task.name] = Answers([""] * len(rows), tags)
        else:
            words = [_word(task, row) for row in task.describe(decoded)]
            truth = _truths(task, target)
            titles = [
                word + ("" if true is None else f" ({true})" if known else " (no label)")
                for word, true, known in zip(words, truth, present, strict=True)
            ]
            found[task.name] = Answers(titles)
    return found


def _word(task: Task, described: Mapping[str, Any]) -> str:
    value = described.get(task.name, next(iter(described.values()), ""))
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _truths(task: Task, target: Tensor) -> list[str | None]:
    """Labels as words, where a label is one class or one number."""
    classes = getattr(task, "classes", ())
    flat = target.reshape(len(target), -1)
    if flat.shape[1] != 1:
        return [None] * len(target)
    if classes:
        return [str(classes[int(v)]) if 0 <= v < len(classes) else "?" for v in flat[:, 0].tolist()]
    return [f"{v:.3g}" for v in flat[:, 0].tolist()]
