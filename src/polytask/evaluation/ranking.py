"""One number for many tasks, an order of candidates, and what quality costs."""

from collections.abc import Mapping, Sequence

import numpy as np


def gain(score: float, base: float, *, higher_is_better: bool = True) -> float:
    """How much better a score is than a base, as a share; between -2 and 2.

    `2 (score - base) / (|score| + |base|)`, with the sign turned where less is better. Near the
    base it is the usual `(score - base) / base` of Maninis et al. (CVPR 2019). That one has no
    value for a base of 0, the wrong sign for a base below 0 (an R2 of -0.2), and lets a base near 0
    outweigh all other tasks; this one is bounded, and exchanging both models turns its sign.
    """
    if score == base:
        return 0.0
    share = 2 * (score - base) / (abs(score) + abs(base))
    return share if higher_is_better else -share


def mean_gain(
    scores: Mapping[str, float], bases: Mapping[str, float], higher_is_better: Mapping[str, bool]
) -> float:
    """Delta-m: the mean `gain` over the tasks of `scores`."""
    gains = [
        gain(score, bases[task], higher_is_better=higher_is_better[task])
        for task, score in scores.items()
    ]
    return float(np.mean(gains))


def mean_ranks(
    scores: Mapping[str, Sequence[float]], higher_is_better: Sequence[bool]
) -> dict[str, float]:
    """The mean over tasks of each candidate's rank: 1 is best, equals share theirs.

    Args:
        scores: Per candidate a score for each task, in one order.
        higher_is_better: For each task.
    """
    table = np.array(list(scores.values()), dtype=np.float64)  # [candidates, T]
    table = np.where(np.asarray(higher_is_better), table, -table)
    better = (table[None] > table[:, None]).sum(1)
    equal = (table[None] == table[:, None]).sum(1)
    ranks = 1 + better + (equal - 1) / 2
    return {name: float(row.mean()) for name, row in zip(scores, ranks, strict=True)}


def pareto(costs: Sequence[float], qualities: Sequence[float]) -> list[bool]:
    """Which candidates no other one beats: as cheap, as good, and better in one of both."""
    cost, quality = np.asarray(costs), np.asarray(qualities)
    no_worse = (cost[None] <= cost[:, None]) & (quality[None] >= quality[:, None])
    better = (cost[None] < cost[:, None]) | (quality[None] > quality[:, None])
    beaten = np.any(no_worse & better, axis=1)
    return [not b for b in beaten.tolist()]
