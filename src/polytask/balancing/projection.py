"""Conflicting gradients made to agree by projection.

T tasks, A active tasks.
"""

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where
from polytask.balancing.solvers import in_dual_cone


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
        tasks = self.tasks.cpu()
        return pcgrad_weights(gramian, draws[tasks[:, None], tasks].argsort(1))


def gradvac_weights(gramian: Tensor, orders: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Weights `[A]` of the sum of the vaccinated gradients; moves `targets` `[A, A]` in place.

    Args:
        gramian: `[A, A]`.
        orders: `[A, A]`; row i is the order in which gradient i meets the others.
        targets: `[A, A]`, the wanted cosines.
        beta: How fast targets follow the cosines that are met.
    """
    count = len(gramian)
    norms = gramian.diagonal().clamp_min(0).sqrt()
    mixes = torch.eye(count, dtype=gramian.dtype)  # Row i: vaccinated gradient i, in terms of all.
    rows = torch.arange(count)
    for others in orders.T:
        length = ((mixes @ gramian) * mixes).sum(1).clamp_min(0).sqrt()
        both = length * norms[others]
        meet = (others != rows) & (both > 0)
        cosine = (mixes * gramian[others]).sum(1) / torch.where(meet, both, torch.ones_like(both))
        cosine = cosine.clamp(-1, 1)
        wanted = targets[rows, others]
        far = (1 - wanted**2).clamp_min(1e-12).sqrt()
        change = length * (wanted * (1 - cosine**2).sqrt() - cosine * far)
        change = change / (torch.where(meet, norms[others], torch.ones_like(norms)) * far)
        mixes[rows, others] += torch.where(meet & (cosine < wanted), change, 0.0)
        targets[rows, others] = torch.where(meet, wanted + beta * (cosine - wanted), wanted)
    return mixes.sum(0)


class GradVac(GramianBalancer):
    """Gradient vaccine (GradVac): gradients turned until their cosines are as usual.

    For each task i and all others j in random order, with cosine c of g_i' and g_j and its running
    mean m: if `c < m`, then `g_i' += g_j |g_i'| (m sqrt(1 - c^2) - c sqrt(1 - m^2)) / (|g_j| sqrt(1
    - m^2))`; then m moves towards c by `beta`. The update is the sum. Wang et al., *Gradient
    Vaccine* (ICLR 2021). PCGrad is the case m = 0. For many related tasks, such as languages.

    Needs: the Gramian. State: the wanted cosines `[T, T]`, a counter of draws. Cost: one trunk
    backward per task; the turns are done on coefficients, with all inner products taken once. The
    paper keeps cosines per layer group; here the shared parameters are one group. Its beta is 0.01;
    known copies use 0.5.

    Args:
        num_tasks: T.
        beta: How fast the wanted cosines follow those that are met.
        seed: The same seed gives the same orders, on every process.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree: the update is the sum of the turned gradients.
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        beta: float = 0.01,
        seed: int = 0,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every, seed=seed
        )
        if not 0 <= beta <= 1:
            raise ValueError(f"`beta` should be in [0, 1]. Found {beta}.")
        self.beta = beta
        self.wanted: Tensor
        self.register_buffer("wanted", torch.zeros(num_tasks, num_tasks, dtype=torch.float64))

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the sum of the vaccinated gradients."""
        self.check(losses)
        draws = torch.rand(self.num_tasks, self.num_tasks, generator=self.generator())
        tasks = self.tasks.cpu()
        orders = draws[tasks[:, None], tasks].argsort(1)
        grid = self.tasks[:, None], self.tasks
        targets = self.wanted[grid].to(gramian)
        weights = gradvac_weights(gramian, orders, targets, self.beta)
        self.wanted[grid] = targets.to(self.wanted)
        return weights


class UPGrad(GramianBalancer):
    """Unconflicting projection (UPGrad): each gradient projected onto the dual cone, then averaged.

    `w = mean_i argmin_{v >= e_i} v' G v`. Quinton and Rey, *Jacobian Descent for Multi-Objective
    Optimization* (2024). The update conflicts with no task, and grows in proportion when any one
    gradient does. A good first Gramian method.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. The authors' library adds
    1e-4 of the trace to the Gramian and gives the plain mean for small gradients; here the
    projections are exact at any magnitude.

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (the sum of the projections) or `paper` (their mean).
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
        """Weights `[A]` of the mean of the projected gradients."""
        self.check(losses)
        return in_dual_cone(gramian, torch.eye(len(gramian), dtype=gramian.dtype)).mean(0)


class DualProj(GramianBalancer):
    """Projection of the mean gradient onto the dual cone (DualProj).

    `w = argmin_{v >= p} v' G v` with p the preference, by default 1/A. The projection of gradient
    episodic memory (Lopez-Paz and Ranzato, NeurIPS 2017), under the name that Quinton and Rey give
    it. The update nearest to the mean that conflicts with no task; cheaper to solve than UPGrad,
    and more swayed by large gradients.

    Needs: the Gramian. State: none. Cost: one trunk backward per task.

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (the projection of the sum) or `paper` (of the mean).
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
        """Weights `[A]` of the projected mean gradient."""
        self.check(losses)
        mean = torch.full((1, len(gramian)), 1 / len(gramian), dtype=gramian.dtype)
        return in_dual_cone(gramian, mean)[0]
