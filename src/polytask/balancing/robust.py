"""Updates that a few wild gradients do not sway.

T tasks, A active tasks, P shared parameters (entries).
"""

import torch
from torch import Tensor

from polytask.balancing.base import GradientBalancer, GramianBalancer, Scale, Where


def krum_weights(gramian: Tensor, faulty: int, selected: int) -> Tensor:
    """Weights `[A]`, summing to 1, of the gradients with the smallest distance to their nearest."""
    count = len(gramian)
    squares = gramian.diagonal()
    distances = (squares[:, None] + squares - 2 * gramian).clamp_min(0).sqrt()
    nearest = max(1, count - faulty - 2)
    scores = distances.sort(1).values[:, 1 : nearest + 1].sum(1)
    limit = scores.sort().values[min(selected, count) - 1]
    chosen = (scores <= limit + 1e-12 * scores.max()).to(gramian)
    return chosen / chosen.sum()


class Krum(GramianBalancer):
    """Krum: the gradients that lie closest to their neighbours, and no others.

    Scores are sums of distances to the `A - faulty - 2` nearest; the `selected` smallest scores are
    averaged. Blanchard et al., *Machine Learning with Adversaries* (NeurIPS 2017). Made for
    distributed learning with faulty workers; for tasks a curiosity and a baseline.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. The paper wants
    `A > 2 faulty + 2`; with fewer tasks at least the nearest neighbour counts. Ties share the
    weight.

    Args:
        num_tasks: T.
        faulty: How many gradients may be wild.
        selected: How many are averaged; more than one is Multi-Krum.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        faulty: int = 1,
        selected: int = 1,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if faulty < 0 or selected < 1:
            raise ValueError(
                f"`faulty` should be >= 0 and `selected` >= 1. Found {faulty} and {selected}."
            )
        self.faulty, self.selected = faulty, selected

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the chosen gradients."""
        self.check(losses)
        return krum_weights(gramian, self.faulty, self.selected)


class TrimmedMean(GradientBalancer):
    """Trimmed mean: in each entry the largest and smallest gradients are left out.

    Yin et al., *Byzantine-Robust Distributed Learning* (ICML 2018). Robust against a few tasks with
    wild gradients; needs many tasks.

    Needs: the gradients. State: none. Cost: one trunk backward per task, a sort of the gradients,
    and the gradients in memory.

    Args:
        num_tasks: T.
        trim: How many are left out at either end; never so many that none is left.
        scale: `unit` (the mean times the number of active tasks) or `paper` (the mean).
    """

    def __init__(self, num_tasks: int, *, trim: int = 1, scale: Scale = "unit") -> None:
        super().__init__(num_tasks, scale=scale)
        if trim < 0:
            raise ValueError(f"`trim` should be >= 0. Found {trim}.")
        self.trim = trim

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The trimmed mean `[P]` of the gradients `[A, P]`."""
        self.check(losses)
        count = len(jacobian)
        trim = min(self.trim, (count - 1) // 2)
        blocks = jacobian.split(32768, dim=1)  # Columns that stay in the cache.
        kept = [block.sort(0).values[trim : count - trim].mean(0) for block in blocks]
        mean = torch.cat(kept)
        return mean * count if self.scale == "unit" else mean
