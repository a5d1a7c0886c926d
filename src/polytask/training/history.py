"""What a training leaves behind to be read: scores by epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polytask.errors import ConfigError, nearest
from polytask.tasks.base import Task
from polytask.types import Scores

_MANY = 8  # tasks whose epochs are not named


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: Counted from 1.
        step: Steps done.
        seconds: Time spent training so far.
        losses: Mean training loss of each task over its labelled examples; None without any.
        scores: Validation scores.
        monitored: The score that decides; None without validation.
        best: Whether this epoch's weights were kept.
        penalty: The mean of the trunk's penalty over the epoch's steps; None for a trunk that has
            none.
        filled: Labels that teachers gave in the epoch, per task that got any; None without
            teachers.
        weights: The mean of the balancer's weights over the epoch's steps in which a task had
            labels, per task; None for a balancer without weights.
        drawn: Examples of each source in the epoch, where these change from epoch to epoch; None
            where they do not.
        best_of: With `keep: each`, the tasks whose own best epoch this is so far; else None.
    """

    epoch: int
    step: int
    seconds: float
    losses: Mapping[str, float | None]
    scores: Scores
    monitored: float | None
    best: bool
    penalty: float | None = None
    filled: Mapping[str, int] | None = None
    weights: Mapping[str, float | None] | None = None
    drawn: Mapping[str, int] | None = None
    best_of: Sequence[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        return asdict(self)


def monitored(scores: Scores, monitor: str, tasks: Sequence[Task]) -> float | None:
    """The number that decides which weights are kept; greater is better.

    Args:
        scores: Validation scores.
        monitor: `mean`, `mean.metric` (of the tasks that have it), or `task.metric`.
        tasks: The tasks.

    Returns:
        None if nothing could be measured, NaN if the network is broken (see `overflowing`).
    """
    if overflowing(scores, tasks):
        return math.nan
    name, dot, metric = monitor.rpartition(".")
    if dot and name != "mean":
        value = scores[name][metric]
        return value if value is None or metric not in ERRORS else -value
    values = [scores[task.name].get(metric if dot else task.score) for task in tasks]
    if dot and metric in ERRORS:
        values = [value if value is None else -value for value in values]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def own_scores(scores: Scores, monitor: str, tasks: Sequence[Task]) -> dict[str, float]:
    """Per task the number that would decide if it were trained alone; greater is better.

    That is what `monitor` says, of this task, where it measures that; else its own score.

    Args:
        scores: Validation scores; empty without a validation part.
        monitor: As for `monitored`.
        tasks: The tasks, of which those without a score are left out.
    """
    name, _, metric = monitor.rpartition(".")
    found = {}
    for task in tasks:
        if task.name not in scores:
            continue
        measured = name == task.name or (name == "mean" and metric in scores[task.name])
        value = monitored(scores, monitor if measured else "mean", [task])
        if value is not None and not math.isnan(value):
            found[task.name] = value
    return found


def kept(history: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], dict[str, int]] | None:
    """Which weights a training kept.

    Args:
        history: Its epochs.

    Returns:
        The line of the epoch whose weights are the best by `monitor`, but each task's scores from
        the epoch whose weights it answers with; and where these are its own, their epochs. None if
        no epoch was kept.
    """
    best = next((line for line in reversed(history) if line["best"]), None)
    if best is None:
        return None
    own = {name: line for line in history for name in line.get("best_of") or ()}
    scores = {**best["scores"], **{name: line["scores"][name] for name, line in own.items()}}
    return {**best, "scores": scores}, {name: line["epoch"] for name, line in own.items()}


def told_epochs(epoch: int, own: Mapping[str, int]) -> str:
    """Of which epochs weights are, in words.

    Args:
        epoch: Of the weights that are the best of all.
        own: Of tasks that have weights of their own best epoch.
    """
    if not own:
        return f"epoch {epoch}"
    if len(set(own.values())) == 1:
        return f"epoch {next(iter(own.values()))}"
    first, last = min(own.values()), max(own.values())
    if len(own) > _MANY:
        return f"epochs {first} to {last}, each task's own best"
    return "epochs " + ", ".join(f"{number} ({name})" for name, number in own.items())


def improves(value: float, best: float | None) -> bool:
    """Whether a score (greater is better) is the best so far; a NaN never is."""
    return not math.isnan(value) and (best is None or value > best)


def overflowing(scores: Scores, tasks: Sequence[Task]) -> list[str]:
    """The tasks for which a network's answers are no finite numbers, so that nothing can be scored.

    Where there are no labels there is no loss either, and nothing is wrong.

    Args:
        scores: Of a part.
        tasks: The tasks.
    """
    each = ((task.name, scores.get(task.name, {}), task.score) for task in tasks)
    return [
        name
        for name, own, score in each
        if own.get(score) is None
        and (loss := own.get("loss")) is not None
        and not math.isfinite(loss)
    ]


def compared_by(monitor: str, task: Task) -> tuple[str, bool]:
    """The metric by which a task is compared, and whether more of it is better.

    It is the one by which epochs are chosen, where that is a metric of the task: who finds that
    accuracies say nothing, and monitors `mean.auroc`, wants no verdict by accuracy. A loss is none.

    Args:
        monitor: `mean`, `mean.metric`, or `task.metric`.
        task: The task, fitted.
    """
    name, _, metric = monitor.rpartition(".")
    if metric != task.score and name in ("mean", task.name) and metric in task.metrics():
        return metric, metric not in ERRORS
    return task.score, task.higher_is_better


# Metrics of which less is better.
ERRORS = frozenset(
    {
        *("mae", "rmse", "loss", "nll", "pinball"),
        *("wer", "cer", "angle", "mel_error", "length_error"),
    }
)


def check_monitor(monitor: str, tasks: Sequence[Task]) -> None:
    """Raise unless `monitor` names something that validation will measure."""
    measured = {task.name: (*task.metrics(), "loss") for task in tasks}
    valid = ["mean", *(f"{task}.{m}" for task, names in measured.items() for m in names)]
    valid += [f"mean.{m}" for m in dict.fromkeys(m for names in measured.values() for m in names)]
    if monitor not in valid:
        raise ConfigError(
            f"training.monitor: found '{monitor}', which no task measures. "
            + nearest(monitor, valid)
        )
