"""Conflicting gradients made to agree by projection.

T tasks, A active tasks.
"""

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where


def pcgrad_weights(gramian: Tensor, orders: Tensor) -> Tensor:
    """Weights `[A]` of the sum of the projected gradients.

    Args:
        gramian: `[A, A]`.
        orders: `[A, A]`; row i is the order in which gradient i is projected. Its own entry is
            passed over.
    """
    count = len(gramian)
    norms = gramian.diagonal()
    mixes = torch.eye(count, dtype=gramian.dtype)  # Row i: projected gradient i, in terms of all.
    rows = torch.arange(count)
    for others in orders.T:
        against = (mixes * gramian[others]).sum(1)
        conflict = (against < 0) & (others != rows) & (norms[others] > 0)
        change = torch.where(conflict, against / norms[others], torch.zeros_like(against))
        mixes[rows, others] -= change
    return mixes.sum(0)


class PCGrad(GramianBalancer):
    """Projecting conflicting gradients (PCGrad).

    For each task i and all others j in random order: if `g_i' . g_j < 0`, then `g_i' -= (g_i' . g_j
    / |g_j|^2) g_j`; the update is the sum. Yu et al., *Gradient Surgery for Multi-Task Learning*
    (NeurIPS 2020). Without conflict it is equal weighting. Loud tasks stay loud: it mends
    directions, not sizes.

    Needs: the Gramian. State: a counter of draws. Cost: one trunk backward per task; the
    projections are done on coefficients, with all inner products taken once. The paper projects
    onto the original gradients in random order, as here; in the authors' code the shuffle has no
    effect.

    Args:
        num_tasks: T.
        seed: The same seed gives the same orders, on every process.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree: the update is the sum of projected gradients.
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        seed: int = 0,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every, seed=seed
        )

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the sum of the projected gradients."""
        self.check(losses)
        generator = self.generator()
        draws = torch.rand(self.num_tasks, self.num_tasks, generator=generator)
        return pcgrad_weights(gramian, draws[self.tasks][:, self.tasks].argsort(1))
