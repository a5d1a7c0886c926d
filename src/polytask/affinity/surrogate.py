"""Gains of any set of tasks, estimated from trainings of a few random sets.

Li et al., Identification of Negative Transfers in Multitask Learning Using Surrogate Models, TMLR
2023: train on random subsets, then fit each task's result as a linear function of who was there.
Differences here: what is fitted is the gain over the task alone, which for the task alone is 0 and
not fitted; products of two partners are added where they predict subsets better that were left out.

T tasks, M subsets, F terms.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the penalty, per term


def sample_subsets(num_tasks: int, size: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Random subsets `[M, T]` (bool): in each round every task is in at least one of `size`.

    A round deals shuffled tasks into sets; the last set is filled up with tasks that were dealt
    already. So every task has about the same number of trainings. A set comes once.

    Args:
        num_tasks: T.
        size: Tasks of a set, from 2 to T.
        rounds: How often all tasks are dealt.
        generator: Draws.
    """
    if not 2 <= size <= num_tasks:
        raise ValueError(f"`size` should be from 2 to {num_tasks} (tasks). Found {size}.")
    chosen: dict[tuple[int, ...], None] = {}
    for _ in range(rounds):
        dealt = torch.randperm(num_tasks, generator=generator).tolist()
        for start in range(0, num_tasks, size):
            hand = dealt[start : start + size]
            hand += dealt[: size - len(hand)]
            chosen[tuple(sorted(hand))] = None
    masks = torch.zeros(len(chosen), num_tasks, dtype=torch.bool)
    for row, members in enumerate(chosen):
        masks[row, list(members)] = True
    return masks


@dataclass(frozen=True)
class Surrogate:
    """What company does for each task: a sum over who is there.

    Attributes:
        constant: `[T]`, what any company does.
        single: `[T, T]`, what task i's presence adds for task j.
        double: `[T, T, T]`, what i and k together add for j, i < k; None without such terms.
        held_out: `[T]`, the share of the variance of left-out subsets' gains that is predicted;
            below 0 is worse than their mean. NaN for a task with fewer than 3 subsets.
    """

    constant: Tensor
    single: Tensor
    double: Tensor | None
    held_out: Tensor

    def __call__(self, subsets: Tensor) -> Tensor:
        """Gains `[M, T]` of subsets `[M, T]` (bool); 0 for a task alone, NaN if not in it."""
        there = subsets.double()
        gains = self.constant + there @ self.single
        if self.double is not None:
            gains = gains + torch.einsum("mi,mk,ikj->mj", there, there, self.double)
        alone = subsets.sum(1, keepdim=True) == 1
        return torch.where(subsets, torch.where(alone, 0.0, gains), math.nan)


def fit_surrogate(subsets: Tensor, gains: Tensor, *, order: int = 2) -> Surrogate:
    """Fit each task's gain by penalised least squares.

    The penalty, and for `order=2` whether products of two partners are used, are chosen per task
    by leaving out one subset at a time.

    Args:
        subsets: `[M, T]` bool, with at least two tasks each.
        gains: `[M, T]`, NaN where a task was not in the subset or could not be measured.
        order: 1, or 2 for products as well where a task has more subsets than single terms.
    """
    if order not in (1, 2):
        raise ValueError(f"`order` should be 1 or 2. Found {order}.")
    count = subsets.shape[1]
    constant = torch.zeros(count, dtype=torch.float64)
    single = torch.zeros(count, count, dtype=torch.float64)
    double = torch.zeros(count, count, count, dtype=torch.float64)
    held_out = torch.full((count,), math.nan, dtype=torch.float64)
    for task in range(count):
        rows = subsets[:, task] & gains[:, task].isfinite()
        others = [t for t in range(count) if t != task]
        if not bool(rows.any()) or not others:
            continue
        there = subsets[rows][:, others].double()
        wanted = gains[rows, task].double()
        constant[task], weights, held_out[task] = _ridge(there, wanted)
        single[others, task] = weights
        if order == 1 or len(wanted) <= len(others) + 1:
            continue
        pairs = list(itertools.combinations(range(len(others)), 2))
        products = torch.stack([there[:, a] * there[:, b] for a, b in pairs], 1)
        offset, both, share = _ridge(torch.cat([there, products], 1), wanted)
        if float(share) > float(held_out[task]):
            constant[task], held_out[task] = offset, share
            single[others, task] = both[: len(others)]
            for (a, b), weight in zip(pairs, both[len(others) :], strict=True):
                double[others[a], others[b], task] = weight
    return Surrogate(constant, single, double if bool(double.any()) else None, held_out)


def _ridge(terms: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Constant, weights `[F]` and held-out share of variance, with the best of the penalties."""
    total = len(wanted)
    middle, mean = terms.mean(0), wanted.mean()
    if total < 3:
        return mean, torch.zeros(terms.shape[1], dtype=terms.dtype), torch.tensor(math.nan)
    # Without a subset, the mean of the others errs by M / (M - 1) of the distance to the mean.
    spread = float(((wanted - mean) * total / (total - 1)).square().sum())
    size = max(1.0, float((terms - middle).square().sum(1).mean()))
    tries = [strength * size for strength in STRENGTHS]
    errors = [float(left_out_errors(terms, wanted, penalty).square().sum()) for penalty in tries]
    best = min(range(len(tries)), key=errors.__getitem__)
    centred = terms - middle
    kernel = centred @ centred.T + tries[best] * torch.eye(total, dtype=terms.dtype)
    weights = centred.T @ torch.linalg.solve(kernel, wanted - mean)
    share = 1 - errors[best] / spread if spread > 0 else math.nan
    return mean - middle @ weights, weights, torch.tensor(share)


def left_out_errors(terms: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    """The error `[M]` of each value under the ridge regression (with a constant) of all others.

    Args:
        terms: `[M, F]`.
        wanted: `[M]`.
        penalty: On the squares of the weights, not of the constant.
    """
    total = len(wanted)
    centred, rest = terms - terms.mean(0), wanted - wanted.mean()
    kernel = centred @ centred.T
    smoother = torch.linalg.solve(kernel + penalty * torch.eye(total, dtype=terms.dtype), kernel)
    fitted = smoother.T @ rest
    errors: Tensor = (rest - fitted) / (1 - smoother.diagonal() - 1 / total)
    return errors


def refitted(
    subsets: Tensor, gains: Tensor, count: int, generator: torch.Generator, *, order: int = 2
) -> list[Surrogate]:
    """Surrogates of subsets that are drawn anew, with replacement, for intervals."""
    draws = torch.randint(len(subsets), (count, len(subsets)), generator=generator)
    return [fit_surrogate(subsets[rows], gains[rows], order=order) for rows in draws]
