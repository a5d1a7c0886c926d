"""How much tasks have to do with each other, as far as one joint training shows it.

T tasks, N noted steps, B examples, D features. Entry `[i, j]` of an affinity is what task i does
for task j; NaN where the two were never seen together, or one of them was absent.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from polytask.balancing.conflict_report import cosines_of
from polytask.errors import require

Similarity = Literal["cka", "rsa"]


def gradient_cosine(gramians: Tensor) -> Tensor:
    """Cosines `[N, T, T]` of task gradients; symmetric.

    Args:
        gramians: `[N, T, T]` inner products; NaN in the rows and columns of absent tasks.
    """
    return cosines_of(gramians)


def first_order(gramians: Tensor, losses: Tensor, rates: Tensor) -> Tensor:
    """What a plain step on task i would lower task j's loss by, in shares of that loss.

    The lookahead of TAG to the first order in the rate: `rate * g_i . g_j / L_j`. It needs no pass
    beyond those of the Gramian.

    Args:
        gramians: `[N, T, T]` inner products of gradients; NaN for absent tasks.
        losses: `[N, T]`, positive; NaN for absent tasks. A loss of zero gives NaN.
        rates: `[N]` learning rates.

    Returns:
        `[N, T, T]`.
    """
    usable = torch.where(losses > 0, losses, math.nan)
    return rates[:, None, None] * gramians / usable[:, None, :]


def lookahead(before: Tensor, after: Tensor) -> Tensor:
    """What a step on task i lowered task j's loss by, in shares of that loss.

    Fifty et al., Efficiently Identifying Task Groupings for Multi-Task Learning, NeurIPS 2021:
    `Z_ij = 1 - L_j(theta after a step on i) / L_j(theta)`, on the same batch.

    Args:
        before: `[..., T]` losses before; NaN for absent tasks.
        after: `[..., T, T]`, loss j after a step of the shared parameters on task i alone.

    Returns:
        `[..., T, T]`.
    """
    usable = torch.where(before > 0, before, math.nan)
    return 1 - after / usable[..., None, :]


def averaged(samples: Tensor) -> Tensor:
    """The mean `[T, T]` over the noted steps in which both tasks were there; else NaN.

    Args:
        samples: `[N, T, T]`.
    """
    return samples.nanmean(0)


def resampled(
    samples: Tensor, count: int, generator: torch.Generator, block: int | None = None
) -> Tensor:
    """Means `[count, T, T]` over noted steps that are drawn anew, in blocks.

    Neighbouring steps have nearly the same weights, so steps one by one would make intervals too
    narrow: a moving-block bootstrap keeps neighbours together.

    Args:
        samples: `[N, T, T]`.
        count: How many means.
        generator: Draws.
        block: Steps of a block; None for the square root of N.
    """
    total = len(samples)
    if total == 0:
        raise ValueError("There is nothing to resample: no step was noted.")
    length = block or max(1, round(math.sqrt(total)))
    blocks = -(-total // length)
    starts = torch.randint(total - length + 1, (count, blocks), generator=generator)
    rows = (starts[:, :, None] + torch.arange(length)).flatten(1)[:, :total]  # [count, N]
    return torch.stack([averaged(samples[chosen]) for chosen in rows])


def linear_cka(one: Tensor, other: Tensor) -> float:
    """How alike two representations of the same examples are, 0 to 1; no rotation matters.

    Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.

    Args:
        one: `[B, D]`.
        other: `[B, E]`.

    Returns:
        NaN where one of them is constant.
    """
    a, b = (x.double() - x.double().mean(0) for x in (one, other))
    cross, own_a, own_b = (m.square().sum() for m in (a.T @ b, a.T @ a, b.T @ b))
    size = (own_a * own_b).sqrt()
    return float(cross / size) if float(size) > 0 else math.nan


def rsa(one: Tensor, other: Tensor) -> float:
    """Rank correlation, -1 to 1, of the distances between examples in two representations.

    Dwivedi and Roig, Representation Similarity Analysis for Efficient Task Taxonomy and Transfer
    Learning, CVPR 2019; distances are Euclidean here, 1 - Pearson there.

    Args:
        one: `[B, D]`.
        other: `[B, E]`.

    Returns:
        NaN where all distances of one of them are equal.
    """
    stats = require("scipy.stats", "study")
    apart = [torch.pdist(x.double()).numpy() for x in (one, other)]
    if any(len(d) < 2 or d.max() == d.min() for d in apart):
        return math.nan
    return float(stats.spearmanr(*apart).statistic)


def representation_similarity(features: Sequence[Tensor], how: Similarity = "cka") -> Tensor:
    """How alike what tasks know of the same examples is, `[T, T]`; symmetric.

    Args:
        features: Per task `[B, D]` of the same B examples, pooled; widths may differ.
        how: `cka` or `rsa`.
    """
    if how not in ("cka", "rsa"):
        raise ValueError(f"`how` should be 'cka' or 'rsa'. Found {how!r}.")
    compare = linear_cka if how == "cka" else rsa
    found = torch.ones(len(features), len(features), dtype=torch.float64)
    for i in range(len(features)):
        for j in range(i):
            found[i, j] = found[j, i] = compare(features[i], features[j])
    return found


def label_overlap(present: Tensor) -> Tensor:
    """The share of task j's labelled examples that carry task i's label, too, `[T, T]`.

    Args:
        present: `[B, T]` bool.

    Returns:
        NaN in the columns of tasks without a label.
    """
    there = present.double()
    both, count = there.T @ there, there.sum(0)
    return both / torch.where(count > 0, count, math.nan)


def label_correlation(labels: Sequence[Tensor], present: Tensor) -> Tensor:
    """How labels of two tasks go together where both are there, `[T, T]`; symmetric.

    For two numbers it is Pearson's correlation; where a task has several columns (classes as ones
    and zeros), the root of the linear CKA, which for one column each is its absolute value.

    Args:
        labels: Per task `[B, K]`; never read where absent.
        present: `[B, T]` bool.

    Returns:
        NaN with fewer than 3 examples, or where a label does not vary.
    """
    size = len(labels)
    found = torch.full((size, size), math.nan, dtype=torch.float64)
    for i in range(size):
        for j in range(i + 1):
            both = present[:, i] & present[:, j]
            if int(both.sum()) >= 3:
                found[i, j] = found[j, i] = _correlation(labels[i][both], labels[j][both])
    return found


def _correlation(one: Tensor, other: Tensor) -> float:
    strength = math.sqrt(linear_cka(one, other))
    if one.shape[1] > 1 or other.shape[1] > 1:
        return strength
    a, b = (x.double() - x.double().mean() for x in (one, other))
    return math.copysign(strength, float((a * b).sum()))
