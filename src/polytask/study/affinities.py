"""What short trainings say about tasks: affinities of a joint one, gains of many small ones.

T tasks, M subsets, R draws for intervals.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from polytask.affinity.exhaustive import every_set, looked_up
from polytask.affinity.grouping import Gains, gains_of_pairs, pairwise_gains
from polytask.affinity.measures import (
    averaged,
    first_order,
    gradient_cosine,
    label_correlation,
    label_overlap,
    lookahead,
    resampled,
)
from polytask.affinity.surrogate import fit_surrogate, refitted, sample_subsets
from polytask.config.schema import Config
from polytask.config.variants import with_tasks
from polytask.data.dataset import Prepared
from polytask.errors import RunError
from polytask.evaluation.ranking import gain
from polytask.study.runs import Job, Outcome, work
from polytask.tasks.base import Task
from polytask.training.history import compared_by
from polytask.training.probing import AffinityProbe
from polytask.workflow import Watcher

Measure = Literal["cka", "labels", "subsets", "sets", "lookahead", "first-order", "cosine"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
# Those that look at gradients of one joint training.
OF_GRADIENTS: tuple[Measure, ...] = ("lookahead", "first-order", "cosine")
DRAWS = 200
# What a gain is, for those that train sets of tasks.
OF_SCORES = "relative gain of a task's own score over its model alone"
# The file of a joint training's notes.
NOTES = "affinity.safetensors"
# Below this share of common examples gradient affinities have been called noise.
LITTLE = 0.3


@dataclass(frozen=True)
class Evidence:
    """What was measured, as a prediction of what any group gains.

    Attributes:
        pairs: `[T, T]`, what task i does for task j, for people to look at.
        gains: Predicted gains of candidate groups.
        draws: The same from measurements drawn anew, for intervals; empty where there is nothing
            to draw from.
        unit: What a gain of 1 means.
        cost: What it took, in training examples; a look at gradients counts by its passes.
        trainings: How many trainings it took.
        layers: Mean cosines of gradients `[T, T]` by group of parameters, if they were noted.
    """

    pairs: Tensor
    gains: Gains
    draws: Sequence[Gains]
    unit: str
    cost: float
    trainings: int
    layers: Mapping[str, Tensor]


def from_joint(
    config: Config, root: Path, watcher: Watcher | None, measure: Measure, notes: int
) -> Evidence:
    """Affinities from one training of all tasks.

    Raises:
        RunError: If that training did not reach its end.
    """
    path = root / NOTES
    probe = AffinityProbe(path, notes=notes, ahead=measure == "lookahead")
    outcome = finished(Job("together", config), root, watcher, probe)
    if not probe.steps:
        raise RunError(
            f"'{root / 'together'}' was trained without notes on gradients. Choose another folder "
            "with --study."
        )
    found = probe.history()
    if measure == "lookahead" and bool(found["after"].isnan().all()):
        raise RunError(
            f"The notes in '{path}' hold no steps ahead: they were taken for another measure. "
            "Choose another folder with --study."
        )
    whole = found["gramians"].sum(1)
    samples, unit = {
        "lookahead": lambda: (
            lookahead(found["losses"], found["after"]),
            "share of a task's loss that one step on its partners takes off",
        ),
        "first-order": lambda: (
            first_order(whole, found["losses"], found["rates"]),
            "share of a task's loss that one step on its partners takes off, to the first order",
        ),
        "cosine": lambda: (gradient_cosine(whole), "cosine of gradients"),
    }[measure]()
    generator = torch.Generator().manual_seed(config.seed)
    count = len(config.tasks)
    forwards = 1 + 2 * count + (count if measure == "lookahead" else 0)
    extra = len(probe.steps) * forwards / 3  # a backward counts as two forwards
    return Evidence(
        averaged(samples),
        pairwise_gains(averaged(samples)),
        [pairwise_gains(draw) for draw in resampled(samples, DRAWS, generator)],
        unit,
        (outcome.steps + extra) * config.batches.size,
        1,
        {
            name: averaged(gradient_cosine(found["gramians"][:, g]))
            for g, name in enumerate(probe.groups)
        },
    )


def from_subsets(
    config: Config,
    root: Path,
    watcher: Watcher | None,
    tasks: Sequence[Task],
    *,
    size: int,
    rounds: int,
) -> Evidence:
    """Gains of random sets of tasks, and of any set by a sum over its members.

    Raises:
        RunError: If a training did not reach its end.
    """
    generator = torch.Generator().manual_seed(config.seed)
    subsets = sample_subsets(len(tasks), size, rounds, generator)
    gains, steps = gains_of_sets(config, root, watcher, tasks, subsets)
    fitted = fit_surrogate(subsets, gains)
    return Evidence(
        gains_of_pairs(len(tasks), fitted),
        fitted,
        refitted(subsets, gains, DRAWS // 4, generator),
        OF_SCORES,
        float(steps * config.batches.size),
        len(tasks) + len(subsets),
        {},
    )


def from_sets(
    config: Config, root: Path, watcher: Watcher | None, tasks: Sequence[Task]
) -> Evidence:
    """Gains of every set of a few tasks; meant for trainings that are much shorter than whole ones.

    With `tried` this is successive halving (Jamieson and Talwalkar, Non-stochastic Best Arm
    Identification and Hyperparameter Optimization, AISTATS 2016) of two rounds, over sets of tasks:
    all briefly, then those of the best groupings in full. Difference: a whole training begins anew
    rather than goes on from the short one, whose schedule came to its end.

    Raises:
        RunError: If a training did not reach its end.
    """
    subsets = every_set(len(tasks))
    gains, steps = gains_of_sets(config, root, watcher, tasks, subsets)
    found = looked_up(gains)
    return Evidence(
        gains_of_pairs(len(tasks), found),
        found,
        [],
        OF_SCORES,
        float(steps * config.batches.size),
        len(tasks) + len(subsets),
        {},
    )


def gains_of_sets(
    config: Config, root: Path, watcher: Watcher | None, tasks: Sequence[Task], subsets: Tensor
) -> tuple[Tensor, int]:
    """Trains each task alone, and sets `[M, T]` (bool) of tasks.

    Returns:
        What the tasks of each set gained over being alone, `[M, T]`, NaN for those not in it; and
        the steps that all trainings took.

    Raises:
        RunError: If a training did not reach its end.
    """
    alone = {
        task.name: finished(
            Job(f"alone-{task.name}", with_tasks(config, [task.name])), root, watcher
        )
        for task in tasks
    }
    monitor = str(config.training.model_dump()["monitor"])
    gains = torch.full(subsets.shape, math.nan, dtype=torch.float64)
    steps = sum(outcome.steps for outcome in alone.values())
    for row, mask in enumerate(subsets):
        members = [task.name for task, there in zip(tasks, mask.tolist(), strict=True) if there]
        outcome = finished(set_of(config, members), root, watcher)
        steps += outcome.steps
        for column, task in enumerate(tasks):
            if mask[column]:
                gains[row, column] = gained(outcome, alone[task.name], task, monitor)
    return gains, steps


def finished(
    job: Job, root: Path, watcher: Watcher | None, probe: AffinityProbe | None = None
) -> Outcome:
    """A training that went to its end.

    Raises:
        RunError: If it did not.
    """
    outcome = work(job, root, watcher, probe)
    if outcome.status == "stopped":
        raise KeyboardInterrupt
    if outcome.status != "finished":
        why = outcome.reason or "another process is at it"
        raise RunError(
            f"The training '{root / job.name}' did not reach its end: {why}\nOnce that is mended, "
            "remove the folder, and the same command goes on."
        )
    return outcome


def set_of(config: Config, members: Sequence[str]) -> Job:
    """The training of some tasks; its folder has their names, or a digest of them if too long."""
    name = "+".join(members)
    if len(name) > 100:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = f"{len(members)}-tasks-{digest}"
    return Job(f"set-{name}", with_tasks(config, members))


def gained(outcome: Outcome, base: Outcome, task: Task, monitor: str) -> float:
    """What a task's validation score gained over a base, by the metric that `compare` takes, too;
    NaN where one was not measured.
    """
    metric, higher = compared_by(monitor, task)
    scores = [(o.scores or {}).get(task.name, {}).get(metric) for o in (outcome, base)]
    if scores[0] is None or scores[1] is None:
        return math.nan
    return gain(scores[0], scores[1], higher_is_better=higher)


def labels_together(prepared: Prepared) -> tuple[Tensor, Tensor]:
    """How far tasks have labels of the same training examples: overlap and correlation `[T, T]`.

    Tasks of different inputs have no examples in common. Targets of more than one column count as
    such, those with a shape of their own (maps, sequences) have no correlation.
    """
    tasks = prepared.tasks
    overlap = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
    both = torch.full((len(tasks), len(tasks)), math.nan, dtype=torch.float64)
    for name in dict.fromkeys(task.input for task in tasks):
        places = [n for n, task in enumerate(tasks) if task.input == name]
        there = torch.cat(_of_training(prepared, places, lambda d, t: d.present.get(t)), 0)
        square = torch.tensor(places)
        overlap[square[:, None], square] = label_overlap(there).nan_to_num(nan=0.0)
        columns = _columns(prepared, places)
        usable = [n for n, column in enumerate(columns) if column is not None]
        if usable:
            found = label_correlation(
                [c for c in columns if c is not None], there[:, torch.tensor(usable)]
            )
            known = square[torch.tensor(usable)]
            both[known[:, None], known] = found
    return overlap, both


def _of_training(
    prepared: Prepared, places: Sequence[int], read: Callable[..., Tensor | None]
) -> list[Tensor]:
    """Per source that has one of these tasks, `[rows, T]` of what `read` gives of its training
    rows."""
    found = []
    for source, rows in prepared.parts["train"].items():
        columns = [read(prepared.datasets[source], prepared.tasks[n].name) for n in places]
        if any(c is not None for c in columns):
            filled = [
                torch.zeros(len(rows), dtype=torch.bool) if c is None else c[rows] for c in columns
            ]
            found.append(torch.stack(filled, 1))
    return found


def _columns(prepared: Prepared, places: Sequence[int]) -> list[Tensor | None]:
    """Targets of training rows as columns of numbers; None for those that have another shape."""
    found: list[Tensor | None] = []
    sources = [
        (source, rows)
        for source, rows in prepared.parts["train"].items()
        if any(prepared.tasks[n].name in prepared.datasets[source].present for n in places)
    ]
    for n in places:
        task = prepared.tasks[n].name
        kept = [prepared.datasets[source].targets.get(task) for source, _ in sources]
        known = [k for k in kept if k is not None]
        if not known or any(k.ndim > 2 for k in known):
            found.append(None)
            continue
        shape, classes = known[0].shape[1:], known[0].dtype == torch.int64
        pieces = [
            known[0].new_zeros(len(rows), *shape) if k is None else k[rows]
            for k, (_, rows) in zip(kept, sources, strict=True)
        ]
        values = torch.cat(pieces)
        if classes and values.ndim == 1:
            values = torch.nn.functional.one_hot(values.clamp_min(0))
        found.append(values.double().reshape(len(values), -1))
    return found
