"""Updates from the min-norm point of the convex hull of the task gradients.

T tasks, A active tasks.
"""

from typing import Literal

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where
from polytask.balancing.solvers import min_norm

Normalizer = Literal["none", "l2", "loss", "loss+"]


def mgda_weights(gramian: Tensor, losses: Tensor, normalizer: Normalizer) -> Tensor:
    """Min-norm weights `[A]` of the gradients, each first divided by its normalizer."""
    norms = gramian.diagonal().clamp_min(0).sqrt()
    size = {
        "none": torch.ones_like(norms),
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
