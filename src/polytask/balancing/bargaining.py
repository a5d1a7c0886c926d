"""Updates that divide the gain fairly between the tasks.

T tasks, A active tasks.
"""

from torch import Tensor

from polytask.balancing.base import GramianBalancer, Scale, Where
from polytask.balancing.solvers import fair


class NashMTL(GramianBalancer):
    """Multi-task learning as a bargaining game (Nash-MTL).

    `G w = 1 / w`, w > 0: the update of norm 1 that maximizes the sum of `log g_t . d`. Navon et al.
    (ICML 2022). Proportional fairness: indifferent to the size of every gradient and loss, and
    among the strongest in published comparisons.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. Solved by Newton steps to
    1e-12; the authors' sequence of at most 20 convex programs starts at the last solution, so their
    result depends on history, and keeps it silently where it fails. Where gradients cancel each
    other or one is zero there is no solution, and a `SolverError` says so. Authors also clip the
    norm at 1 and weight heads.

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (not normalized).
        weight_heads: Whether heads are weighted too, as in the authors' code.
    """

    convention = "free"

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
        """Weights `[A]` of the bargaining solution."""
        self.check(losses)
        return fair(gramian, 1.0)


class FairGrad(GramianBalancer):
    """Fair resource allocation (FairGrad): alpha-fair gains.

    `G w = w^(-1/alpha)`, w > 0: maximizes the alpha-fair utility of the gains `g_t . d`. Ban and
    Ji, *Fair Resource Allocation in Multi-Task Learning* (ICML 2024). alpha 1 is Nash-MTL; larger
    alpha favours the task that gains least.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. The authors tune alpha per
    data set; their least-squares solver fails on small gradients, this one is a Newton method to
    1e-12. No solution, as for Nash-MTL, is a `SolverError`. Authors also multiply by T and clip the
    norm at 1.

    Args:
        num_tasks: T.
        alpha: The fairness, > 0.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (not normalized).
        weight_heads: Whether heads are weighted too.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        alpha: float = 1.0,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if alpha <= 0:
            raise ValueError(f"`alpha` should be > 0. Found {alpha}.")
        self.alpha = alpha

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the alpha-fair update."""
        self.check(losses)
        return fair(gramian, self.alpha)
