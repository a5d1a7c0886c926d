"""Losses combined by a formula, some with learned scales.

T tasks, A active tasks.
"""

import torch
from torch import Tensor, nn

from polytask.balancing.base import LossBalancer, Scale


def positive(losses: Tensor, smallest: float = 1e-12) -> Tensor:
    """The losses, no smaller than `smallest`; a negative one is an error.

    A loss at the floor has derivative zero here: a solved task asks for nothing.
    """
    if bool((losses < 0).any()):
        raise ValueError(
            f"This balancer takes logarithms and needs losses >= 0. Found {losses.tolist()}."
        )
    return losses.clamp_min(smallest)


class UncertaintyWeighting(LossBalancer):
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
        classification: The numbers of tasks that take the classification form; others take the
            regression form, as published code does for all tasks.
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


class GeometricMean(LossBalancer):
    """Geometric loss strategy (GLS): the geometric mean of the losses.

    `(prod_t L_t)^(1/A)`, in logarithms. Chennupati et al., *MultiNet++* (CVPRW 2019). Indifferent
    to the unit of each loss: the weight is `mean / (A L_t)`. Without parameters, so a good first
    try when losses have different units; but a task that is nearly solved gets all the weight.

    Needs: losses >= 0. State: none. Cost: one backward. The plain product of known implementations
    overflows with many tasks and gives NaN at a zero loss; here such a loss has weight zero.

    Args:
        num_tasks: T.
        scale: `unit` rescales the weights to mean 1, so that the step does not shrink with the
            mean.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self, num_tasks: int, *, scale: Scale = "unit", weight_heads: bool = False
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)

    def forward(self, losses: Tensor) -> Tensor:
        """The geometric mean of the losses `[A]`."""
        self.check(losses)
        return positive(losses).log().mean().exp()
