"""Predictions of a part of the data beside its labels: how sure a score is, how honest confidence.

Shapes: N labelled examples, C classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polytask.data.dataset import Prepared
from polytask.data.stream import evaluation_batches
from polytask.model import guidance, labelled
from polytask.tasks import Binary, Multiclass, Multilabel, Task

RESAMPLES = 200
LEVEL = 0.95
# Values of a task's predictions above which they are not kept: those about every pixel.
MOST = 20_000_000


@dataclass(frozen=True)
class Judged:
    """A task's predictions of labelled examples.

    Attributes:
        task: The task.
        decoded: `[N, ...]`, in the target's own terms.
        target: `[N, ...]`.
    """

    task: Task
    decoded: Tensor
    target: Tensor


@torch.no_grad()
def judged(
    model: nn.Module, prepared: Prepared, part: str, batch: int, device: torch.device
) -> dict[str, Judged]:
    """Predictions per task; without tasks that have no label, and those whose predictions differ
    in shape from batch to batch, or are too many to keep.

    Args:
        model: In evaluation mode.
        prepared: The data.
        part: The part that is predicted.
        batch: Examples per batch.
        device: Where the model is.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for given in evaluation_batches(prepared.datasets, prepared.parts[part], batch):
        examples = given.to(device)
        here = labelled(prepared.tasks, examples)
        names = [task.name for task in here]
        outputs = model(examples.inputs, names, rows=examples.present, **guidance(here, examples))
        for task in here:
            present = examples.present[task.name]
            decoded = task.decode(outputs[task.name][present].float()).cpu()
            pairs = found.setdefault(task.name, [])
            if sum(d.numel() for d, _ in pairs) + decoded.numel() <= MOST:
                pairs.append((decoded, examples.targets[task.name][present].cpu()))
            else:
                found[task.name] = [(decoded[:0], decoded[:0])]
    made = {}
    for task in prepared.tasks:
        pairs = found.get(task.name, [])
        shapes = {(d.shape[1:], t.shape[1:]) for d, t in pairs}
        if len(shapes) == 1 and any(len(t) > 0 for _, t in pairs):
            decoded, target = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            made[task.name] = Judged(task, decoded, target)
    return made


def interval(
    of: Judged, resamples: int = RESAMPLES, *, metric: str = ""
) -> tuple[float, float] | None:
    """The middle 95 % of the task's score over samples of the examples, drawn with replacement
    (Efron 1979, the percentile interval). None where the score is not defined in most of them.

    Args:
        of: The task and its predictions.
        resamples: How many samples are drawn.
        metric: Which of the task's metrics; empty for its own score.
    """
    metric = metric or of.task.score
    generator = torch.Generator().manual_seed(0)
    # A copy of an example would be its own nearest neighbour: what each adds is drawn if it can be.
    each = of.task.each(of.decoded, of.target) if metric == of.task.score else None
    count, values = len(of.target if each is None else each), []
    # One for all samples: to make a metric takes many times as long as to use it.
    measure = of.task.metrics()[metric]
    for _ in range(resamples if count else 0):
        rows = torch.randint(count, (count,), generator=generator)
        if each is not None:
            values.append(float(each[rows].double().mean()))
            continue
        measure.reset()
        measure.update(of.decoded[rows], of.target[rows])
        value = float(measure.compute())
        if math.isfinite(value):
            values.append(value)
    if len(values) < resamples / 2:
        return None
    tail = (1 - LEVEL) / 2
    low, high = torch.tensor(values).quantile(torch.tensor([tail, 1 - tail])).tolist()
    return low, high


def confidences(of: Judged) -> tuple[Tensor, Tensor] | None:
    """How sure each decision was, and whether it was right; None where a task has no probability.

    Classes: the greatest probability `[N]`. Yes or no: the probability of what was answered.
    Several labels: each answer is a decision of its own.
    """
    if isinstance(of.task, Multiclass):
        sure, answer = of.decoded.max(1)
        return sure, answer == of.target
    if isinstance(of.task, (Binary, Multilabel)):
        known = ~torch.isnan(of.target)
        yes = of.decoded[known]
        return torch.maximum(yes, 1 - yes), (yes > 0.5) == (of.target[known] > 0.5)
    return None


def bins(sure: Tensor, right: Tensor, count: int = 15) -> list[tuple[float, float, int]]:
    """Mean confidence, share that is right and number of decisions, by bins of equal width."""
    place = (sure * count).long().clamp(0, count - 1)
    found = []
    for number in range(count):
        inside = place == number
        if inside.any():
            found.append(
                (
                    float(sure[inside].double().mean()),
                    float(right[inside].double().mean()),
                    int(inside.sum()),
                )
            )
    return found


def calibration_error(binned: list[tuple[float, float, int]]) -> float:
    """The expected calibration error: how far confidence is from being right, on average over
    decisions (Naeini, Cooper and Hauskrecht 2015)."""
    total = sum(count for _, _, count in binned)
    return sum(count * abs(sure - right) for sure, right, count in binned) / max(total, 1)


def confusion(of: Judged) -> tuple[list[list[int]], list[str]] | None:
    """How many examples of each class (row) were called each class (column), and the names; None
    for tasks that have no single class per example."""
    if isinstance(of.task, Multiclass):
        answer, truth = of.decoded.argmax(1), of.target
    elif isinstance(of.task, Binary):
        answer, truth = (of.decoded > 0.5).long(), (of.target > 0.5).long()
    else:
        return None
    size = len(of.task.classes)
    counts = torch.bincount(truth * size + answer, minlength=size * size)
    return counts.view(size, size).tolist(), [str(name) for name in of.task.classes]


def most_confused(
    matrices: Mapping[str, tuple[list[list[int]], list[str]]], most: int = 8
) -> list[list[str | int | float]]:
    """The most frequent mistakes: task, truth, answer, how many, and their share of the truth."""
    found: list[list[str | int | float]] = []
    for task, (counts, names) in matrices.items():
        for truth, row in enumerate(counts):
            for answer, number in enumerate(row):
                if truth != answer and number:
                    found.append([task, names[truth], names[answer], number, number / sum(row)])
    return sorted(found, key=lambda line: -float(line[3]))[:most]
