"""Groupings that are trained after all, so that validation scores have the last word."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polytask.affinity.grouping import Gains, Grouping, scored
from polytask.config.schema import Config
from polytask.config.variants import with_tasks
from polytask.study.affinities import finished, gained, set_of
from polytask.study.runs import Job, Outcome
from polytask.tasks.base import Task
from polytask.training.history import compared_by
from polytask.workflow import Watcher


@dataclass(frozen=True)
class Tried:
    """A grouping that was trained.

    Attributes:
        grouping: The grouping, with what was predicted.
        gain: The mean over tasks of what they gained over being alone, on validation rows; minus
            infinity where nothing was measured.
    """

    grouping: Grouping
    gain: float


def tried(
    config: Config,
    root: Path,
    watcher: Watcher | None,
    tasks: Sequence[Task],
    gains: Gains,
    likely: Sequence[Grouping],
) -> list[Tried]:
    """Likely groupings, all together and each alone, trained; a group that occurs again only once.

    Raises:
        RunError: If a training did not reach its end.
    """
    names = list(config.tasks)
    ends = [torch.ones(1, len(names), dtype=torch.bool), torch.eye(len(names), dtype=torch.bool)]
    several = {g.groups: g for g in [*(scored(masks, gains) for masks in ends), *likely]}
    alone = {
        name: finished(Job(f"alone-{name}", with_tasks(config, [name])), root, watcher)
        for name in names
    }
    monitor = str(config.training.model_dump()["monitor"])
    found = []
    for grouping in several.values():
        outcomes: dict[str, Outcome] = {}
        for part in grouping.groups:
            members = [names[t] for t in part.trains]
            job = set_of(config, members)
            whole = alone[members[0]] if len(members) == 1 else finished(job, root, watcher)
            outcomes |= dict.fromkeys(members, whole)
        each = [gained(outcomes[t.name], alone[t.name], t, monitor) for t in tasks]
        mean = float(torch.tensor(each, dtype=torch.float64).nanmean())
        found.append(Tried(grouping, -math.inf if math.isnan(mean) else mean))
    return found


def verified(
    config: Config,
    root: Path,
    watcher: Watcher | None,
    tasks: Sequence[Task],
    best: Grouping,
) -> dict[str, Any]:
    """Validation scores of the groups beside all together and each alone; one seed each."""
    names = list(config.tasks)
    alone = {
        name: finished(Job(f"alone-{name}", with_tasks(config, [name])), root, watcher)
        for name in names
    }
    together = finished(set_of(config, names), root, watcher)
    served: dict[str, Outcome] = {}
    trained: dict[tuple[str, ...], Outcome] = {}
    for part in best.groups:
        members = tuple(names[t] for t in part.trains)
        if len(members) == 1:
            trained[members] = alone[members[0]]
        else:
            trained[members] = finished(set_of(config, members), root, watcher)
        served |= {names[t]: trained[members] for t in part.serves}
    monitor = str(config.training.model_dump()["monitor"])
    metrics = {task.name: compared_by(monitor, task)[0] for task in tasks}
    arrangements: dict[str, Mapping[str, Outcome]] = {
        "groups": served,
        "together": dict.fromkeys(names, together),
        "apart": alone,
    }
    costs = {
        "groups": sum(o.steps for o in trained.values()),
        "together": together.steps,
        "apart": sum(o.steps for o in alone.values()),
    }
    return {
        "scores": {
            task.name: {
                "metric": metrics[task.name],
                **{
                    how: (outcomes[task.name].scores or {})
                    .get(task.name, {})
                    .get(metrics[task.name])
                    for how, outcomes in arrangements.items()
                },
            }
            for task in tasks
        },
        "mean_gain": {
            how: plain(
                torch.tensor(
                    [gained(outcomes[t.name], alone[t.name], t, monitor) for t in tasks],
                    dtype=torch.float64,
                ).nanmean()
            )
            for how, outcomes in arrangements.items()
        },
        "examples": {how: steps * config.batches.size for how, steps in costs.items()},
    }


def table(values: Tensor) -> list[list[float | None]]:
    """A matrix as lists; None for NaN."""
    return [[plain(value) for value in row] for row in values]


def plain(value: Tensor) -> float | None:
    """A number; None for NaN."""
    number = float(value)
    return None if math.isnan(number) else number
