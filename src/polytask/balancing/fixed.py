"""Weights that no loss and no gradient changes.

T tasks, A active tasks.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from polytask.balancing.base import Scale, WeighingBalancer


class EqualWeighting(WeighingBalancer):
    """The sum of the losses; also called linear or unitary scalarization.

    `sum_t L_t`. Kurin et al., *In Defense of the Unitary Scalarization* (NeurIPS 2022), and Xin et
    al. (NeurIPS 2022) find that with ordinary regularization it comes close to every other method:
    the first thing to try, and what every other method has to beat.

    Needs: nothing. State: none. Cost: one backward.

    Args:
        num_tasks: T.
    """

    def __init__(self, num_tasks: int) -> None:
        super().__init__(num_tasks)

    def weigh(self, losses: Tensor) -> Tensor:
        """Ones `[A]`."""
        return torch.ones_like(losses)


class ConstantWeights(WeighingBalancer):
    """Weights that one chose, or found by search.

    `sum_t w_t L_t`. Well-chosen constants come close to the best method in most published
    comparisons; with few tasks, a small grid over them is a strong choice.

    Needs: weights. State: none. Cost: one backward.

    Args:
        num_tasks: T.
        weights: One number >= 0 per task; None for equal weights.
        scale: `unit` multiplies them so that those of the active tasks have mean 1; `paper` takes
            them as they are.
        weight_heads: Whether heads are weighted too.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        weights: tuple[float, ...] | None = None,
        scale: Scale = "paper",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        chosen = (1.0,) * num_tasks if weights is None else tuple(weights)
        named = isinstance(weights, str | Mapping)
        if named or len(chosen) != num_tasks or min(chosen) < 0 or max(chosen) <= 0:
            raise ValueError(
                f"`weights` should be {num_tasks} numbers >= 0, one per task and not all zero. "
                f"Found {weights if named else chosen}."
            )
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(chosen))

    def weigh(self, losses: Tensor) -> Tensor:
        """The chosen weights `[A]`."""
        return self.weights[self.tasks].to(losses)


class RandomWeights(WeighingBalancer):
    """Random loss weighting (RLW): new random weights in every step.

    `w = softmax(N(0, I))`, or `w ~ Dirichlet(1, ..., 1)`. Lin et al., *Reasonable Effectiveness of
    Random Weighting* (TMLR 2022). A baseline that every adaptive method should beat, and a mild
    regularizer.

    Needs: nothing. State: a counter of draws. Cost: one backward. The authors' weights sum to 1,
    which makes the learning rate T times smaller than equal weighting's; here `scale='unit'` makes
    them sum to the number of active tasks.

    Args:
        num_tasks: T.
        distribution: `normal` (through a softmax) or `dirichlet`.
        seed: The same seed gives the same weights, on every process.
        scale: `unit` or `paper`.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        distribution: Literal["normal", "dirichlet"] = "normal",
        seed: int = 0,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, seed=seed)
        if distribution not in ("normal", "dirichlet"):
            raise ValueError(
                f"`distribution` should be 'normal' or 'dirichlet'. Found {distribution!r}."
            )
        self.distribution = distribution

    def weigh(self, losses: Tensor) -> Tensor:
        """Freshly drawn weights `[A]`."""
        generator = self.generator()
        if self.distribution == "normal":
            draw = torch.randn(self.num_tasks, generator=generator)
        else:  # Exponential draws, divided by their sum, are uniform on the simplex.
            draw = torch.rand(self.num_tasks, generator=generator).log().neg().log()
        return self.of_active(draw.to(losses)).softmax(0)
