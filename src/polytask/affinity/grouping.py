"""Which tasks to train together: the groups with the greatest predicted gain that a budget allows.

T tasks, K candidate groups. A candidate is a row of a mask `[K, T]` (bool).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polytask.errors import require

# Gains `[K, T]` of candidates `[K, T]`; 0 for a task alone, NaN for one that is not in it.
Gains = Callable[[Tensor], Tensor]

# All subsets of so many tasks are candidates of the exact search.
EXACT = 10


@dataclass(frozen=True)
class Group:
    """Tasks that are trained together, and those whose predictions this model makes.

    Attributes:
        trains: The tasks.
        serves: Those of them that use it; the others help only.
    """

    trains: tuple[int, ...]
    serves: tuple[int, ...]


@dataclass(frozen=True)
class Grouping:
    """Groups of which exactly one serves each task.

    Attributes:
        groups: The groups.
        gains: `[T]`, what each task is predicted to gain over being alone.
        exact: Whether no other grouping within the budget is predicted to be better.
    """

    groups: tuple[Group, ...]
    gains: Tensor
    exact: bool

    @property
    def total(self) -> float:
        """The mean predicted gain."""
        return float(self.gains.mean())


def pairwise_gains(affinity: Tensor) -> Gains:
    """A task's gain in a group as the mean of what each of its partners does for it, as in TAG.

    A pair that was never seen together counts as 0: nothing is known in its favour.

    Args:
        affinity: `[T, T]`, from row to column.
    """
    known = affinity.double().nan_to_num(nan=0.0).clone()
    known.fill_diagonal_(0.0)

    def gains(masks: Tensor) -> Tensor:
        there = masks.double()
        partners = (there.sum(1, keepdim=True) - 1).clamp_min(1)
        return torch.where(masks, there @ known / partners, math.nan)

    return gains


def every_subset(num_tasks: int) -> Tensor:
    """All `2^T - 1` groups of some tasks, as a mask."""
    numbers = torch.arange(1, 2**num_tasks)
    return (numbers[:, None] >> torch.arange(num_tasks)) % 2 == 1


def scored(masks: Tensor, gains: Gains) -> Grouping:
    """A partition that is given as a mask `[K, T]`, with its predicted gains."""
    predicted = gains(masks).nan_to_num(nan=0.0).sum(0)
    groups = []
    for row in masks:
        members = tuple(int(t) for t in row.nonzero().flatten())
        groups.append(Group(members, members))
    return Grouping(tuple(sorted(groups, key=lambda g: g.trains)), predicted, False)


def best_grouping(
    num_tasks: int,
    gains: Gains,
    *,
    budget: float,
    cost: Callable[[Tensor], Tensor] | None = None,
    overlapping: bool = False,
    similarity: Tensor | None = None,
) -> Grouping:
    """The grouping with the greatest sum of predicted gains: exact for few tasks, else a search.

    Args:
        num_tasks: T.
        gains: Predicted gains of candidates.
        budget: What all groups together may cost.
        cost: Costs `[K]` of candidates `[K, T]`; None: 1 each, so the budget is of models.
        overlapping: Whether a task may be in several groups, of which one serves it. Needs at most
            `EXACT` tasks.
        similarity: `[T, T]`, what a search for many tasks starts its clusters from. None takes the
            gains of pairs.

    Raises:
        ValueError: If the budget allows no grouping, or too many tasks are to overlap.
    """
    if num_tasks <= EXACT:
        return exact_grouping(
            every_subset(num_tasks), gains, budget=budget, cost=cost, overlapping=overlapping
        )
    if overlapping:
        raise ValueError(f"Groups that overlap need at most {EXACT} tasks. Found {num_tasks}.")
    if cost is not None:
        raise ValueError(
            f"With more than {EXACT} tasks a budget is a number of models. Found a cost."
        )
    if similarity is None:
        similarity = gains_of_pairs(num_tasks, gains)
    return clustered_grouping(similarity, gains, most=int(budget))


def exact_grouping(
    masks: Tensor,
    gains: Gains,
    *,
    budget: float,
    cost: Callable[[Tensor], Tensor] | None = None,
    overlapping: bool = False,
) -> Grouping:
    """The best choice among candidate groups, by integer programming (HiGHS).

    A binary variable says that a group is trained, a second kind that a group serves a task;
    without overlap a group serves all its tasks, and the second kind is not needed.

    Args:
        masks: The candidates `[K, T]`.
        gains: Predicted gains of candidates.
        budget: What all groups together may cost.
        cost: Costs of candidates; None: 1 each.
        overlapping: Whether a task may be in several groups, of which one serves it.

    Raises:
        ValueError: If the budget allows no grouping.
    """
    optimize = require("scipy.optimize", "study")
    sparse = require("scipy.sparse", "study")
    import numpy as np

    expected = gains(masks).nan_to_num(nan=0.0)  # [K, T]
    prices = (torch.ones(len(masks)) if cost is None else cost(masks)).double().numpy()
    count, tasks = masks.shape
    member = masks.double().numpy()
    if overlapping:
        rows, columns = (v.numpy() for v in masks.nonzero(as_tuple=True))  # who may serve whom
        serving = len(rows)
        worth = np.concatenate([np.zeros(count), -expected.numpy()[rows, columns]])
        places = np.arange(serving)
        serves = sparse.csr_array((np.ones(serving), (columns, places)), (tasks, serving))
        trained = sparse.csr_array((np.ones(serving), (places, rows)), (serving, count))
        limits = [
            optimize.LinearConstraint(
                sparse.hstack([sparse.csr_array((tasks, count)), serves]), 1, 1
            ),
            optimize.LinearConstraint(sparse.hstack([trained, -sparse.eye_array(serving)]), 0),
            optimize.LinearConstraint(np.concatenate([prices, np.zeros(serving)])[None], 0, budget),
        ]
        whole = np.concatenate([np.ones(count), np.zeros(serving)])
    else:
        worth = -expected.sum(1).numpy()
        limits = [
            optimize.LinearConstraint(member.T, 1, 1),
            optimize.LinearConstraint(prices[None], 0, budget),
        ]
        whole = np.ones(count)
    found = optimize.milp(
        worth, constraints=limits, integrality=whole, bounds=optimize.Bounds(0, 1)
    )
    if found.x is None:
        raise ValueError(f"No grouping fits a budget of {budget:g}: {found.message}")
    chosen = torch.from_numpy(found.x[:count] > 0.5)
    return _served(masks[chosen], expected[chosen], overlapping)


def _served(masks: Tensor, expected: Tensor, overlapping: bool) -> Grouping:
    """The grouping of chosen candidates, where each task takes the group that is best for it."""
    worth = torch.where(masks, expected, -math.inf)
    gains, server = worth.max(0)
    groups = []
    for number, row in enumerate(masks):
        trains = tuple(int(t) for t in row.nonzero().flatten())
        serves = tuple(t for t in trains if int(server[t]) == number) if overlapping else trains
        if serves:
            groups.append(Group(trains, serves))
    return Grouping(tuple(sorted(groups, key=lambda g: g.serves)), gains, True)


def gains_of_pairs(num_tasks: int, gains: Gains) -> Tensor:
    """Predicted gains `[T, T]` of all pairs, from row to column; 0 on the diagonal."""
    pairs = list(itertools.combinations(range(num_tasks), 2))
    masks = torch.zeros(len(pairs), num_tasks, dtype=torch.bool)
    first, second = (torch.tensor(side) for side in zip(*pairs, strict=True))
    rows = torch.arange(len(pairs))
    masks[rows, first] = masks[rows, second] = True
    predicted = gains(masks)
    found = torch.zeros(num_tasks, num_tasks, dtype=torch.float64)
    found[second, first], found[first, second] = predicted[rows, first], predicted[rows, second]
    return found


def clustered_grouping(similarity: Tensor, gains: Gains, *, most: int) -> Grouping:
    """A good partition of many tasks into at most `most` groups; see `clustered_groupings`."""
    return clustered_groupings(similarity, gains, most=most)[0]


def clustered_groupings(similarity: Tensor, gains: Gains, *, most: int) -> list[Grouping]:
    """Good partitions of many tasks into at most `most` groups, the best first.

    Starts from spectral and agglomerative clusters of each number of groups, and moves single
    tasks for as long as that raises the sum of predicted gains. With many tasks only a few numbers
    of groups are tried, each about a third more than the last.

    Args:
        similarity: `[T, T]`; its mean with its transpose is clustered. NaN counts as its lowest.
        gains: Predicted gains of candidates.
        most: The most groups.
    """
    if most < 1:
        raise ValueError(f"`most` should be at least 1. Found {most}.")
    total = len(similarity)
    both = torch.stack([similarity, similarity.T]).double().nanmean(0)
    both = both.nan_to_num(nan=float(both[both.isfinite()].min()) if both.isfinite().any() else 0)
    tries, number = [1], 1
    while number < min(most, total):
        number = min(number + max(1, number // 3), most, total)
        tries.append(number)
    starts = [_mask([0] * total)]
    for groups in tries[1:]:
        starts += [_mask(labels) for labels in _clusters(both, groups)]
    found = [scored(_moved(start, gains, min(most, total)), gains) for start in starts]
    found.sort(key=lambda grouping: -grouping.total)
    return list({grouping.groups: grouping for grouping in reversed(found)}.values())[::-1]


def _clusters(similarity: Tensor, groups: int) -> list[Sequence[int]]:
    """Labels of each task by spectral and by agglomerative clustering."""
    cluster = require("sklearn.cluster", "train")
    low, high = float(similarity.min()), float(similarity.max())
    scaled = (similarity - low) / (high - low) if high > low else torch.ones_like(similarity)
    found: list[Sequence[int]] = [
        cluster.AgglomerativeClustering(
            groups, metric="precomputed", linkage="average"
        ).fit_predict((1 - scaled).fill_diagonal_(0.0).numpy())
    ]
    if groups < len(similarity):
        spectral = cluster.SpectralClustering(groups, affinity="precomputed", random_state=0)
        found.append(spectral.fit_predict((scaled + 1e-6).numpy()))
    return found


def _mask(labels: Sequence[int]) -> Tensor:
    """Labels `[T]` as a mask of groups."""
    numbers = torch.as_tensor(list(labels))
    same: Tensor = numbers[None] == numbers.unique()[:, None]
    return same


def _moved(masks: Tensor, gains: Gains, most: int) -> Tensor:
    """A partition after the best move of a single task, again and again, until none helps."""
    tasks = masks.shape[1]
    for _ in range(4 * tasks):  # Each move raises the sum, so it ends; this bounds the time.
        if len(masks) < most:
            masks = torch.cat([masks, masks.new_zeros(1, tasks)])
        home = masks.long().argmax(0)
        now = gains(masks).nan_to_num(nan=0.0).sum(1)  # [K]
        without = masks[home].clone()
        without[torch.arange(tasks), torch.arange(tasks)] = False
        left = gains(without).nan_to_num(nan=0.0).sum(1)  # [T], what its group has without it
        change = torch.full((tasks, len(masks)), -math.inf, dtype=torch.float64)
        for group in range(len(masks)):
            entered = masks[group].repeat(tasks, 1)
            entered[torch.arange(tasks), torch.arange(tasks)] = True
            joined = gains(entered).nan_to_num(nan=0.0).sum(1)
            change[:, group] = joined - now[group] + left - now[home]
        change[torch.arange(tasks), home] = 0.0
        best = int(change.argmax())
        task, group = divmod(best, len(masks))
        masks = masks.clone()
        if float(change[task, group]) <= 1e-12:
            break
        masks[home[task], task], masks[group, task] = False, True
        masks = masks[masks.any(1)]
    return masks[masks.any(1)]
