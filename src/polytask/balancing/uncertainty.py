"""Losses divided by their scale, learned or computed.

T tasks, A active tasks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.balancing.base import Scale, WeighingBalancer


class UncertaintyWeighting(WeighingBalancer):
    """Uncertainty weighting (UW): each task's noise is learned, and divides its loss.

    `sum_t (exp(-s_t) L_t + s_t) / 2` for regression and `sum_t exp(-s_t) L_t + s_t / 2` for
    classification, with learned `s_t = log variance`. Kendall, Gal, Cipolla, *Multi-Task Learning
    Using Uncertainty to Weigh Losses* (CVPR 2018). At rest the weight is `1 / (2 L_t)` in both
    forms, so it mainly brings losses to one size. A cheap second try after equal
    weights when losses have different units.

    Needs: its parameters in the optimizer, without weight decay. State: T parameters. Cost: one
    backward. The paper's objective is unbounded below as a loss reaches zero; here `|s| <= bound`.
    Authors released no code; a widely copied version starts at -0.5 and another at 0, as here.

    Args:
        num_tasks: T.
        classification: The tasks that take the classification form, by number from 0, in a file
            also by name; others take the regression form, as published code does for all tasks.
        init: Where s starts.
        bound: The largest `|s|`.
        scale: `unit` rescales the weights to mean 1; `s` learns by the paper's formula either way.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        classification: tuple[int, ...] = (),
        init: float = 0.0,
        bound: float = 10.0,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if not all(0 <= t < num_tasks for t in classification):
            raise ValueError(
                f"`classification` should hold task numbers below {num_tasks}. "
                f"Found {classification}."
            )
        self.bound = bound
        self.log_variance = nn.Parameter(torch.full((num_tasks,), float(init)))
        self.factor: Tensor
        factor = torch.full((num_tasks,), 0.5)
        factor[list(classification)] = 1.0
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, losses: Tensor) -> Tensor:
        """The losses `[A]`, each divided by its learned variance, plus the price of variance."""
        self.check(losses)
        with torch.no_grad():
            self.log_variance.clamp_(-self.bound, self.bound)
        s = self.log_variance[self.tasks]
        return (self.factor[self.tasks] * torch.exp(-s) * losses + s / 2).sum()

    def weigh(self, losses: Tensor) -> Tensor:
        """What the losses are multiplied by, `[A]`."""
        s = self.log_variance.detach().clamp_(-self.bound, self.bound)  # The parameter itself.
        return self.of_active(self.factor) * torch.exp(-self.of_active(s))

    def own_gradients(
        self, losses: Tensor, weights: Tensor
    ) -> Sequence[tuple[nn.Parameter, Tensor]]:
        """The derivative by the log variances, `[T]`: zero for absent tasks."""
        return [(self.log_variance, self.of_all(0.5 - weights * losses))]


def inverse_softmax(losses: Tensor, temperature: float) -> Tensor:
    """`softmax_t(1 / (L_t temperature))`, `[A]`."""
    return (1 / (losses.clamp_min(1e-12) * temperature)).softmax(0)


class SoftUncertaintyWeighting(WeighingBalancer):
    """Soft optimal uncertainty weighting (UW-SO): UW with its scales computed, not learned.

    `w = softmax_t(1 / (L_t temperature))`, not differentiated. Kirchdorfer et al., *Analytical
    Uncertainty-Based Loss Weighting in Multi-Task Learning* (GCPR 2024). No inertia and no
    overfitting of learned scales; strong in its authors' comparisons, at the price of a temperature
    to tune.

    Needs: losses > 0. State: none. Cost: one backward. Authors tune the temperature per data set;
    1.0 here is only a place to start. No code of theirs was
    compared.

    Args:
        num_tasks: T.
        temperature: Larger is more equal.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        temperature: float = 1.0,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if temperature <= 0:
            raise ValueError(f"`temperature` should be > 0. Found {temperature}.")
        self.temperature = temperature

    def weigh(self, losses: Tensor) -> Tensor:
        """The softmax `[A]` of the losses' inverses."""
        return inverse_softmax(losses, self.temperature)


class ImpartialLosses(WeighingBalancer):
    """The loss half of impartial multi-task learning (IMTL-L): all scaled losses become equal.

    `sum_t exp(s_t) L_t - s_t` with learned `s_t`; at rest `exp(s_t) L_t = 1`. Liu et al., *Towards
    Impartial Multi-task Learning* (ICLR 2021). Uncertainty weighting's regression form up to the
    factor 1/2 and the sign of s; combine it with its gradient half as `imtl`.

    Needs: its parameters in the optimizer, without weight decay; losses > 0. State: T parameters.
    Cost: one backward. The objective is unbounded below as a loss reaches zero; here
    `|s| <= bound`. The authors released no code.

    Args:
        num_tasks: T.
        bound: The largest `|s|`.
        scale: `unit` rescales the weights to mean 1; `s` learns by the paper's formula either way.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        bound: float = 10.0,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        self.bound = bound
        self.log_scale = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses: Tensor) -> Tensor:
        """The losses `[A]`, each times its learned scale, minus the log scales."""
        self.check(losses)
        with torch.no_grad():
            self.log_scale.clamp_(-self.bound, self.bound)
        s = self.log_scale[self.tasks]
        return (s.exp() * losses - s).sum()

    def weigh(self, losses: Tensor) -> Tensor:
        """What the losses are multiplied by, `[A]`."""
        s = self.log_scale.detach().clamp_(-self.bound, self.bound)  # The parameter itself.
        return self.of_active(s).exp()

    def own_gradients(
        self, losses: Tensor, weights: Tensor
    ) -> Sequence[tuple[nn.Parameter, Tensor]]:
        """The derivative by the log scales, `[T]`: zero for absent tasks."""
        return [(self.log_scale, self.of_all(weights * losses - 1.0))]
