"""Losses for classes that are not equally frequent: factors of classes, of examples, and priors.

Shapes: B examples, C classes.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.tasks.base import masked

ByFrequency = Literal["balanced", "effective"]
LEAST = 1e-12  # keeps the gradient of a power finite where a probability is 1


def require_settings(effective_beta: float, focal: float, logit_adjustment: float) -> None:
    """Make sure that the settings of these losses are numbers that they can work with.

    Raises:
        ValueError: If one is not.
    """
    if not 0 < effective_beta < 1:
        raise ValueError(f"`effective_beta` should be between 0 and 1. Found {effective_beta}.")
    if not (0 <= focal < math.inf and 0 <= logit_adjustment < math.inf):
        raise ValueError(
            "`focal` and `logit_adjustment` should be at least 0. Found "
            f"{focal} and {logit_adjustment}."
        )


def require_threshold(threshold: float | Literal["tuned"]) -> None:
    """Make sure that a threshold is a probability.

    Raises:
        ValueError: If it is not.
    """
    if threshold != "tuned" and not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` should be between 0 and 1, or tuned. Found {threshold}.")


def frequency_factors(counts: Tensor, how: ByFrequency, beta: float) -> Tensor:
    """A factor per class that falls with its count, `[C]`; 0 for a class without examples.

    `balanced` is `1 / n`. `effective` is `(1 - beta) / (1 - beta ** n)`, one over the effective
    number of examples (Cui et al. 2019). The authors scale factors to add up to C; here whoever
    uses them scales.
    """
    number = counts.double().clamp(min=1)
    if how == "balanced":
        factors = 1.0 / number
    else:
        factors = (1.0 - beta) / -torch.expm1(number * math.log(beta))
    return torch.where(counts > 0, factors, 0.0).float()


def positive_factor(negative: Tensor, positive: Tensor, how: ByFrequency, beta: float) -> Tensor:
    """The factor of positive examples by which both sides weigh alike; counts of 0 are taken as 1.

    Args:
        negative: Number of negative examples.
        positive: Number of positive examples, of the same shape.
        how: As in `frequency_factors`.
        beta: As in `frequency_factors`.
    """
    weigh = [frequency_factors(n.clamp(min=1), how, beta) for n in (positive, negative)]
    return weigh[0] / weigh[1]


def focal_factor(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """`(1 - p) ** gamma` for the softmax probability p of the target, `[B]` (Lin et al. 2017)."""
    log_p = F.log_softmax(logits, 1).gather(1, target.unsqueeze(1)).squeeze(1)
    result: Tensor = (-torch.expm1(log_p)).clamp(min=LEAST).pow(gamma)
    return result


def binary_focal_factor(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """`(1 - p) ** gamma` for the sigmoid probability p of each 0/1 target, of their shape."""
    against = torch.where(target > 0.5, -logits, logits)
    return (gamma * F.logsigmoid(against)).exp()


def log_priors(counts: Tensor) -> Tensor:
    """The logarithm of each class's share, `[C]`; a class without examples counts as one."""
    number = counts.float().clamp(min=1)
    return (number / number.sum()).log()


def best_threshold(scores: Tensor, target: Tensor) -> float | None:
    """The threshold of greatest F1, in the middle between two scores; None without a positive.

    Args:
        scores: `[B]` probabilities.
        target: `[B]` of 0 and 1; NaN where unknown.
    """
    value, known = masked(target)
    ordered, place = scores[known].double().sort(descending=True)
    truth = value[known][place]
    if truth.sum() == 0:
        return None
    found = truth.cumsum(0)
    named = torch.arange(1, len(truth) + 1, device=truth.device)
    f1 = 2 * found / (named + truth.sum())
    last = torch.ones_like(ordered, dtype=torch.bool)  # a cut is where the score changes
    last[:-1] = ordered[:-1] != ordered[1:]
    best = int(torch.where(last, f1, -1.0).argmax())
    lowest = 0.0 if ordered[best] > 0 else -1.0  # below the last score: all are named
    below = float(ordered[best + 1]) if best + 1 < len(ordered) else lowest
    return (float(ordered[best]) + below) / 2
