"""What each test example adds to a score, so that examples can be counted as a source of chance.

n examples, N units.
"""

import torch
from torch import Tensor

from polytask.tasks.base import Task

# Groups of examples, for scores that are no means over examples.
GROUPS = 60


def unit_scores(
    task: Task, decoded: Tensor, target: Tensor, *, metric: str = "", groups: int = GROUPS
) -> Tensor:
    """What each unit adds to a score of a task, `[N]`; their mean is the score, or near it.

    Units are examples where the task says what one adds (`Task.each`). Other scores (an F1, an R2)
    are computed anew without each of some groups of examples: the pseudo-values of the jackknife
    (Tukey 1958), `N all - (N - 1) without`, vary as much as a unit's share does. Groups are
    drawn once, the same ones for any model: rows are often in an order with a period.

    Args:
        task: The task.
        decoded: `[n, ...]`, decoded outputs of labelled examples.
        target: `[n, ...]`, their targets.
        metric: Which of the task's metrics; empty for its own score.
        groups: The greatest number of groups.

    Returns:
        Nothing, `[0]`, where the score is not defined without some group.
    """
    metric = metric or task.score
    each = task.each(decoded, target) if metric == task.score else None
    if each is not None:
        return each.double()
    count = min(groups, len(target))
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))
    place = order % count
    whole = score_of(task, decoded, target, metric)
    if whole is None or count < 2:
        return torch.zeros(0, dtype=torch.float64)
    values = []
    for group in range(count):
        kept = place != group
        rest = score_of(task, decoded[kept], target[kept], metric)
        if rest is None:
            return torch.zeros(0, dtype=torch.float64)
        values.append(count * whole - (count - 1) * rest)
    return torch.tensor(values, dtype=torch.float64)


def score_of(task: Task, decoded: Tensor, target: Tensor, metric: str = "") -> float | None:
    """The task's own score of some examples, or another metric; None where it is not defined."""
    measure = task.metrics()[metric or task.score]
    measure.update(decoded, target)
    value = float(measure.compute())
    return value if value == value else None
