"""Gradients brought to a common size.

T tasks, A active tasks.
"""

import math

import torch
from torch import Tensor, nn

from polytask.balancing.base import GramianBalancer, Scale, Where
from polytask.balancing.solvers import row_norms


def gradnorm_objective(
    weights: Tensor, norms: Tensor, losses: Tensor, initial: Tensor, alpha: float
) -> Tensor:
    """`sum_t |w_t |g_t| - mean r_t^alpha|`, where the target isn't differentiated."""
    sizes = weights * norms
    ratio = losses / initial
    rate = ratio / ratio.mean()
    return (sizes - (sizes.mean() * rate**alpha).detach()).abs().sum()


class GradNorm(GramianBalancer):
    """Gradient normalization (GradNorm): gradients of one size, larger where learning lags.

    Weights w, summing to T, learn by `sum_t | w_t |g_t| - mean(w |g|) r_t^alpha |`, where `r_t` is
    `L_t / L_t(0)` divided by its mean. Chen et al., *GradNorm* (ICML 2018). Reacts to gradient
    sizes only, not to conflict.

    Needs: the Gramian (its diagonal); its parameters in the optimizer, without weight decay. State:
    T parameters, T initial losses. Cost: one trunk backward per task, or a small one if `shared` is
    the last shared layer, as in the paper. Weights are `T softmax(v)`, which keeps their sum; the
    paper renormalizes after each step. L(0) is a task's loss when first seen. Paper: alpha 1.5 for
    NYU-v2, 0.12 for its toy problem; there is no official code. Norms are divided by
    their mean in the objective, so that how fast v learns doesn't depend on the size of gradients.

    Args:
        num_tasks: T.
        alpha: How strongly lagging tasks are sped up; 0 means equal sizes.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree: weights sum to the number of active tasks.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        alpha: float = 1.5,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        self.alpha = alpha
        self.logits = nn.Parameter(torch.zeros(num_tasks))
        self.initial: Tensor
        self.register_buffer("initial", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The learned weights `[A]`."""
        self.check(losses)
        known = self.initial[self.tasks]
        initial = torch.where(known.isnan(), losses.to(known).clamp_min(1e-12), known)
        self.initial[self.tasks] = initial
        weights = len(losses) * self.logits[self.tasks].softmax(0)
        norms = row_norms(gramian).to(weights)
        unit = norms / norms.mean().clamp_min(1e-300)
        self.learn(gradnorm_objective(weights, unit, losses.to(unit), initial.to(unit), self.alpha))
        return weights.detach().to(gramian)


class MetaBalance(GramianBalancer):
    """MetaBalance: every gradient brought towards the size of one task's.

    `g_t <- r (m_0 / m_t) g_t + (1 - r) g_t` with m running means of gradient norms and m_0 the
    primary task's. He et al., *MetaBalance: Improving Multi-Task Recommendations via Adapting
    Gradient Magnitudes of Auxiliary Tasks* (WWW 2022). For one task that matters and several that
    help.

    Needs: the Gramian (its diagonal). State: T running norms. Cost: one trunk backward per task.
    The paper treats each parameter block by itself; here the shared parameters are one block.
    Authors'
    defaults: r 0.7, beta 0.9.

    Args:
        num_tasks: T.
        primary: The task whose size is the measure, by number from 0, in a file also by name; None
            for the geometric mean of all, an addition of ours.
        relax: r: 0 is equal weighting, 1 makes sizes equal.
        beta: The inertia of the running means.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree.
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        primary: int | None = None,
        relax: float = 0.7,
        beta: float = 0.9,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if primary is not None and not 0 <= primary < num_tasks:
            raise ValueError(f"`primary` should be a task number below {num_tasks}, or None.")
        self.primary, self.relax, self.beta = primary, relax, beta
        self.sizes: Tensor
        self.register_buffer("sizes", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` that bring the gradients to one size."""
        self.check(losses)
        now, before = row_norms(gramian), self.sizes[self.tasks].to(gramian)
        sizes = torch.where(before.isnan(), now, self.beta * before + (1 - self.beta) * now)
        self.sizes[self.tasks] = sizes.to(self.sizes)
        positive = sizes[sizes > 0]
        if len(positive) == 0:
            return torch.ones_like(sizes)
        measure = positive.log().mean().exp()
        if self.primary is not None and not bool(self.sizes[self.primary].isnan()):
            measure = self.sizes[self.primary].to(sizes)
        ratio = torch.where(sizes > 0, measure / sizes, torch.ones_like(sizes))
        return self.relax * ratio + (1 - self.relax)
