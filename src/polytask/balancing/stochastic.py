"""Min-norm weights from gradients of two independent batches.

T tasks, A active tasks.
"""

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale
from polytask.balancing.solvers import onto_simplex


def sdmgrad_shares(
    products: Tensor, shares: Tensor, pull: float, lr: float, momentum: float, steps: int
) -> Tensor:
    """Projected momentum descent of `|(w + pull / A)' J|^2 / 2` over the simplex, from `shares`."""
    size = products.diagonal().clamp_min(0).sqrt().mean() ** 2
    products = products / torch.where(size > 0, size, torch.ones_like(size))
    velocity = torch.zeros_like(shares)
    for _ in range(steps):
        velocity = momentum * velocity + products @ (shares + pull / len(shares))
        shares = onto_simplex(shares - lr * velocity)
    return shares


class Doubly(GramianBalancer):
    """A Gramian balancer with slow weights on the simplex, moved by two independent batches.

    Its `gramian` holds the products of the gradients of one batch with those of the other, an
    unbiased estimate, and is not symmetric.

    Attributes:
        batches: How many batches `backward` needs: `losses` and `independent`.
    """

    batches = 2
    convention = "mean"

    def __init__(self, num_tasks: int, *, scale: Scale, weight_heads: bool) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        self.shares: Tensor
        self.register_buffer("shares", torch.ones(num_tasks, dtype=torch.float64))

    def recall(self) -> Tensor:
        """The shares `[A]` of the active tasks, summing to 1."""
        shares = self.shares[self.tasks].cpu()
        if not bool(shares.any()):  # All had lost their weight to tasks that are absent now.
            shares = torch.ones_like(shares)
        return shares / shares.sum()

    def keep(self, shares: Tensor) -> None:
        """Store shares `[A]`, so that an absent task keeps its standing beside them."""
        total = self.shares[self.tasks].sum()
        total = torch.where(total > 0, total, torch.full_like(total, len(shares)))
        self.shares[self.tasks] = shares.to(self.shares) * total


class MoDo(Doubly):
    """Multi-objective gradient with double sampling (MoDo): one small step of weights per step.

    `w <- P(w - gamma (J1 J2' w + rho w))` on the simplex, with the gradients J1, J2 of two batches;
    the update is `w' (J1 + J2) / 2`. Chen, Fernando, Ying, Chen, *Three-Way Trade-Off in
    Multi-Objective Learning* (NeurIPS 2023). MGDA without the bias of one noisy batch.

    Needs: two independent batches (`UsesIndependentBatches`). State: T weights. Cost: two forwards
    and two trunk backwards per task. Heads learn from the first batch. A variant of the authors
    takes a third batch for the update. gamma multiplies products of gradients as they are, so it
    has to fit their size: known settings range from 1e-3 to 0.1.

    Args:
        num_tasks: T.
        gamma: The step of the weights.
        rho: Pulls the weights together.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        gamma: float = 1e-3,
        rho: float = 0.1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if gamma <= 0 or rho < 0:
            raise ValueError(f"`gamma` should be > 0 and `rho` >= 0. Found {gamma} and {rho}.")
        self.gamma, self.rho = gamma, rho

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` after one projected step."""
        self.check(losses)
        shares = self.recall()
        shares = onto_simplex(shares - self.gamma * (gramian @ shares + self.rho * shares))
        self.keep(shares)
        return shares


class SDMGrad(Doubly):
    """Stochastic direction-oriented multi-objective gradient (SDMGrad).

    w descends `|(w + pull / A)' J|^2` over the simplex, with the gradients of two batches in the
    place of J's two occurrences; the update is `(w + pull / A)' g / (1 + pull)`. Xiao, Ban, Ji,
    *Direction-oriented Multi-objective Learning* (NeurIPS 2023). CAGrad's idea, in the form of a
    penalty.

    Needs: two independent batches (`UsesIndependentBatches`). State: T weights. Cost: two forwards
    and two trunk backwards per task. Authors' defaults: pull 0.3, 20 inner steps of size 10 with
    momentum 0.5 on products divided by the squared mean norm. The paper draws a third batch for the
    update, which is the mean of the two here; the authors' code aliases its batches, so that it
    samples once. Heads learn from the first batch.

    Args:
        num_tasks: T.
        pull: How strongly the update is drawn to the mean gradient.
        lr: The size of the inner steps.
        momentum: Of the inner steps.
        steps: How many of them.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        pull: float = 0.3,
        lr: float = 10.0,
        momentum: float = 0.5,
        steps: int = 20,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if pull < 0 or lr <= 0 or not 0 <= momentum < 1 or steps < 1:
            raise ValueError(
                "`pull` should be >= 0, `lr` > 0, `momentum` in [0, 1), `steps` >= 1. "
                f"Found {pull}, {lr}, {momentum}, {steps}."
            )
        self.pull, self.lr, self.momentum, self.inner_steps = pull, lr, momentum, steps

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` after the inner steps."""
        self.check(losses)
        shares = sdmgrad_shares(
            gramian, self.recall(), self.pull, self.lr, self.momentum, self.inner_steps
        )
        self.keep(shares)
        return (shares + self.pull / len(shares)) / (1 + self.pull)
