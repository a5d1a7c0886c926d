"""Updates from the min-norm point of the convex hull of the task gradients.

T tasks, A active tasks.
"""

from typing import Literal

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where
from polytask.balancing.solvers import conflict_averse, cosines, min_norm, row_norms

Normalizer = Literal["none", "l2", "loss", "loss+"]


def mgda_weights(gramian: Tensor, losses: Tensor, normalizer: Normalizer) -> Tensor:
    """Min-norm weights `[A]` of the gradients, each first divided by its normalizer."""
    if normalizer == "none":
        return min_norm(gramian)
    norms = gramian.diagonal().clamp_min(0).sqrt()
    size = {
        "l2": norms,
        "loss": losses.abs(),
        "loss+": losses.abs() * norms,
    }[normalizer]
    size = torch.where(size > 0, size, torch.ones_like(size))
    return min_norm((gramian / size) / size[:, None])


class MGDA(GramianBalancer):
    """Multiple gradient descent (MGDA): the shortest vector in the hull of the gradients.

    `argmin |sum_t w_t g_t|^2, w >= 0, sum w = 1`. Sener and Koltun, *Multi-Task Learning as
    Multi-Objective Optimization* (NeurIPS 2018); Désidéri (2012). Descends in every task at once
    and stops where that is impossible. The shortest gradients dominate, so easy tasks with small
    gradients take over unless a normalizer is used. `at='features'` is the authors' MGDA-UB.

    Needs: the Gramian. State: none. Cost: one trunk backward per task, or one at the features.
    Authors' defaults: normalizer `loss+` in their main experiments; Frank-Wolfe with 250 iterations
    and tolerance 1e-5. Here the min-norm point is solved to 1e-12. As in their code, the normalizer
    shapes the weights only, which are then applied to the gradients as they are; unlike there,
    heads are unweighted unless asked for. An all-zero gradient of a task makes the update zero:
    that task can't descend.

    Args:
        num_tasks: T.
        normalizer: What each gradient is divided by for finding weights: `none`, its norm (`l2`),
            the task's `loss`, or both (`loss+`).
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too, as in the authors' code.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        normalizer: Normalizer = "none",
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if normalizer not in ("none", "l2", "loss", "loss+"):
            raise ValueError(
                f"`normalizer` should be 'none', 'l2', 'loss' or 'loss+'. Found {normalizer!r}."
            )
        self.normalizer: Normalizer = normalizer

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the min-norm point."""
        self.check(losses)
        return mgda_weights(gramian, losses, self.normalizer)


class CAGrad(GramianBalancer):
    """Conflict-averse gradient descent (CAGrad): help the worst task, near the mean gradient.

    `argmax_d min_t g_t . d  such that  |d - g_0| <= c |g_0|`, g_0 the mean gradient: `d = g_0 + c
    |g_0| g_w / |g_w|` with w on the simplex. Liu et al., *Conflict-Averse Gradient Descent for
    Multi-task Learning* (NeurIPS 2021). c = 0 is equal weighting, a large c tends to MGDA; unlike
    it, converges to a minimum of the mean loss. A steady all-rounder.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. Authors' defaults: c 0.4 in
    most experiments, and d divided by `1 + c^2` (`paper` scale); their code multiplies by T and
    clips the norm at 1, and stops its solver at an absolute tolerance that small or imbalanced
    gradients defeat. With c < 1 the update can still conflict with a task.

    Args:
        num_tasks: T.
        c: The radius of the search, in [0, 1).
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (1 for tasks that are alike) or `paper` (the mean, divided by `1 + c^2`).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        c: float = 0.4,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if not 0 <= c < 1:
            raise ValueError(f"`c` should be in [0, 1). Found {c}.")
        self.c = c
        self.neutral = (1 + c**2) / (1 + c)

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the conflict-averse update."""
        self.check(losses)
        return conflict_averse(gramian, self.c) / (1 + self.c**2)


class EDM(GramianBalancer):
    """Equiangular direction method (EDM): the shortest vector in the hull of the unit gradients.

    `b = argmin |sum_t b_t u_t|^2` on the simplex with `u_t = g_t / |g_t|`; then `w_t ~ b_t /
    |g_t|`, summing to 1. Katrutsa, Merkulov, Tursynbek, Oseledets, *Follow the Bisector* (2020).
    Where all weights are positive the update makes one angle with every gradient. MGDA without its
    love of short gradients.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. Built from the paper's
    description; how long the update is (weights that sum to 1) is our reading of it.

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the bisector."""
        self.check(losses)
        norms = row_norms(gramian)
        if bool((norms == 0).any()):
            return min_norm(gramian)
        weights = min_norm(cosines(gramian, norms)) / (norms / norms.min())
        return weights / weights.sum()
