"""One number for many tasks, an order of candidates, and what quality costs."""

from collections.abc import Mapping, Sequence

import numpy as np

# A score, of which more is better, below which differences are no longer taken as shares of it.
LEAST = 0.1


def gain(score: float, base: float, *, higher_is_better: bool = True) -> float:
    """How much better a score is than a base, as a share; between -2 and 2.

    `2 (score - base) / (score + base)`, with the sign turned where less is better. Near the base it
    is the usual `(score - base) / base` of Maninis et al. (CVPR 2019). That one has no value for a
    base of 0, the wrong sign for a base below 0, and lets a base near 0 outweigh all other tasks;
    this one is bounded, and exchanging both models turns its sign.

    Where more is better, scores are shares of what would be perfect (an accuracy, an R2). Below 0
    nothing was learned (always answering the mean would do as well), so that counts as 0, and the
    denominator is not less than `2 LEAST`: otherwise a task that cannot be learned at all, with an
    R2 of -0.06 here and 0.002 there by chance, decides for all others.
    """
    if not higher_is_better:
        return -_share(score, base, 0.0)
    return _share(max(score, 0.0), max(base, 0.0), 2 * LEAST)


def slope(base: float, *, higher_is_better: bool = True) -> float:
    """How much a gain changes with the score, near a base; where it bends, on the steeper side."""
    least = LEAST if higher_is_better else 0.0
    size = max(base, least)
    return 1 / size if size > 0 else 0.0


def _share(score: float, base: float, least: float) -> float:
    if score == base:
        return 0.0
    return 2 * (score - base) / max(abs(score) + abs(base), least)


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
