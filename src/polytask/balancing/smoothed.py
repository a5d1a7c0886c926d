"""Weights that change slowly.

T tasks, A active tasks.
"""

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where


class SmoothedWeights(GramianBalancer):
    """Correlation-reduced weights (CR-MOGM): the running mean of another balancer's weights.

    `w_k = gamma w_(k-1) + (1 - gamma) w'_k` with w' the weights of `inner`. Zhou et al., *On the
    Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond* (NeurIPS 2022).
    Weights computed from one batch are correlated with its gradients, which biases the update; slow
    weights aren't. A cheap cure for restless weights of any Gramian method.

    Needs: what `inner` needs. State: T weights, and that of `inner`. Cost: that of `inner`. The
    means start at the first weights. The weights of a step are rescaled to the sum of those of
    `inner`, so that tasks which come and go don't change the length of the step.

    Args:
        num_tasks: T.
        inner: The name of a Gramian balancer, with its default settings.
        gamma: The inertia; 0 is `inner` itself.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` or `paper`, as `inner` understands it.
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        inner: str = "mgda",
        gamma: float = 0.9,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        from polytask.balancing.catalogue import BALANCERS

        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        fitting = sorted(
            name
            for name, cls in BALANCERS.items()
            if issubclass(cls, GramianBalancer) and not issubclass(cls, SmoothedWeights)
        )
        if inner not in fitting:
            raise ValueError(f"`inner` should be one of {fitting}. Found {inner!r}.")
        if not 0 <= gamma < 1:
            raise ValueError(f"`gamma` should be in [0, 1). Found {gamma}.")
        self.gamma = gamma
        made = BALANCERS[inner](num_tasks, scale=scale)
        assert isinstance(made, GramianBalancer)
        self.inner = made
        self.mean: Tensor
        self.register_buffer("mean", torch.full((num_tasks,), torch.nan, dtype=torch.float64))

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The running mean `[A]` of the weights."""
        self.check(losses)
        with self.inner.about(self.tasks.tolist()):
            self.inner.amplification = self.amplification
            now = self.inner.scaled(self.inner(gramian, losses))
        before = self.mean[self.tasks].to(now)
        mean = torch.where(before.isnan(), now, self.gamma * before + (1 - self.gamma) * now)
        self.mean[self.tasks] = mean.to(self.mean)
        total = mean.sum()
        return mean * (now.sum() / total) if bool(total > 0) else mean
