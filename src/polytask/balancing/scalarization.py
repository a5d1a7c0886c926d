"""Losses combined by a formula without state.

T tasks, A active tasks.
"""

from torch import Tensor

from polytask.balancing.base import Scale, WeighingBalancer


def positive(losses: Tensor, smallest: float = 1e-12) -> Tensor:
    """The losses, no smaller than `smallest`; a negative one is an error.

    A loss at the floor has derivative zero here: a solved task asks for nothing.
    """
    if bool((losses < 0).any()):
        raise ValueError(
            f"This balancer takes logarithms and needs losses >= 0. Found {losses.tolist()}."
        )
    return losses.clamp_min(smallest)


class GeometricMean(WeighingBalancer):
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

    def weigh(self, losses: Tensor) -> Tensor:
        """The mean over the number of tasks and each loss, `[A]`; zero for a loss of zero."""
        above = positive(losses)
        return (losses >= above) * (above.log().mean().exp() / len(losses)) / above


class ScaleInvariant(WeighingBalancer):
    """Scale-invariant loss (SI): the sum of the logarithms.

    `sum_t log L_t`, so the weight is `1 / L_t`. The baseline of that name in Navon et al.,
    *Multi-Task Learning as a Bargaining Game* (ICML 2022). Indifferent to the unit of each loss, as
    the geometric mean, whose gradient has the same direction.

    Needs: losses >= 0. State: none. Cost: one backward. A loss of zero has weight zero.

    Args:
        num_tasks: T.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self, num_tasks: int, *, scale: Scale = "unit", weight_heads: bool = False
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)

    def forward(self, losses: Tensor) -> Tensor:
        """The sum of the logarithms of the losses `[A]`."""
        self.check(losses)
        return positive(losses).log().sum()

    def weigh(self, losses: Tensor) -> Tensor:
        """One over each loss, `[A]`; zero for a loss of zero."""
        above = positive(losses)
        return (losses >= above) / above
