"""Losses combined for a wanted trade-off between the tasks.

T tasks, A active tasks.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from polytask.balancing.base import LossBalancer, Scale
from polytask.balancing.scalarization import positive


class Preferring(LossBalancer):
    """A loss balancer with a preference and an ideal point, one number per task each.

    Args:
        num_tasks: T.
        preference: How much each task matters, numbers > 0; None for equally much.
        ideal: The best loss that each task could reach; None for zero.
        scale: As everywhere.
        weight_heads: As everywhere.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        preference: tuple[float, ...] | None,
        ideal: tuple[float, ...] | None,
        scale: Scale,
        weight_heads: bool,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        wanted = (1.0,) * num_tasks if preference is None else tuple(preference)
        best = (0.0,) * num_tasks if ideal is None else tuple(ideal)
        if len(wanted) != num_tasks or min(wanted) <= 0:
            raise ValueError(f"`preference` should be {num_tasks} numbers > 0. Found {wanted}.")
        if len(best) != num_tasks:
            raise ValueError(f"`ideal` should be {num_tasks} numbers. Found {best}.")
        self.preference: Tensor
        self.ideal: Tensor
        self.register_buffer("preference", torch.tensor(wanted), persistent=False)
        self.register_buffer("ideal", torch.tensor(best), persistent=False)

    def wanted(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """The preference `[A]`, summing to 1, and the distances `[A]` of losses from the ideal."""
        self.check(losses)
        preference = self.preference[self.tasks].to(losses)
        return preference / preference.sum(), losses - self.ideal[self.tasks].to(losses)


class Tchebycheff(Preferring):
    """Tchebycheff scalarization: only the worst task is trained.

    `max_t r_t (L_t - z_t)` with preference r and ideal point z. Bowman (1976); the classical way to
    any Pareto-optimal trade-off, convex or not. Jumps from task to task; `stch` is its smooth form.

    Needs: nothing. State: none. Cost: one backward. Ties share the weight equally.

    Args:
        num_tasks: T.
        preference: How much each task matters, numbers > 0; None for equally much.
        ideal: The best loss that each task could reach; None for zero.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        preference: tuple[float, ...] | None = None,
        ideal: tuple[float, ...] | None = None,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, preference=preference, ideal=ideal, scale=scale, weight_heads=weight_heads
        )

    def forward(self, losses: Tensor) -> Tensor:
        """The largest of the weighted distances of the losses `[A]` from the ideal."""
        preference, distance = self.wanted(losses)
        return (preference * distance).amax()


class COSMOS(Preferring):
    """COSMOS: a weighted sum that rewards losses in the proportion of the preference.

    `sum_t r_t L_t - penalty cos(r, L)`. Ruchte and Grabocka, *Scalable Pareto Front Approximation
    for Deep Multi-Objective Learning* (ICDM 2021). Meant for a model that is told the preference r
    as an input; here r is constant.

    Needs: nothing. State: none. Cost: one backward. Authors' penalties go from 0.01 to 8 by data
    set. Weights may be negative under a large penalty.

    Args:
        num_tasks: T.
        penalty: How strongly proportions are rewarded.
        preference: How much each task matters, numbers > 0; None for equally much.
        ideal: Subtracted from the losses; None for zero, as in the paper.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        penalty: float = 1.0,
        preference: tuple[float, ...] | None = None,
        ideal: tuple[float, ...] | None = None,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, preference=preference, ideal=ideal, scale=scale, weight_heads=weight_heads
        )
        self.penalty = penalty

    def forward(self, losses: Tensor) -> Tensor:
        """The weighted sum of the losses `[A]`, less their alignment with the preference."""
        preference, distance = self.wanted(losses)
        norms = preference.norm() * distance.norm().clamp_min(1e-12)
        total = (preference * distance).sum()
        combined: Tensor = total - self.penalty * total / norms
        return combined


class BoundaryIntersection(Preferring):
    """Penalty-based boundary intersection (PBI).

    `d1 + theta d2`: the length of `L - z` along the preference, and theta times its distance from
    that line. Zhang and Li, *MOEA/D* (IEEE TEC 2007). Like COSMOS it keeps losses in proportion,
    but linearly in the deviation.

    Needs: nothing. State: none. Cost: one backward. The distance has no derivative on the line
    itself, where it counts as zero here. Weights may be negative under a large theta.

    Args:
        num_tasks: T.
        theta: The price of leaving the line; the authors' 5.
        preference: How much each task matters, numbers > 0; None for equally much.
        ideal: The best loss that each task could reach; None for zero.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        theta: float = 5.0,
        preference: tuple[float, ...] | None = None,
        ideal: tuple[float, ...] | None = None,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, preference=preference, ideal=ideal, scale=scale, weight_heads=weight_heads
        )
        self.theta = theta

    def forward(self, losses: Tensor) -> Tensor:
        """The length of the losses `[A]` along the preference, plus theta times their distance."""
        preference, distance = self.wanted(losses)
        direction = preference / preference.norm()
        along = direction @ distance
        aside = distance - along * direction
        off = float(aside.detach().norm()) > 1e-6 * float(distance.detach().norm())
        combined: Tensor = along + self.theta * aside.norm() if off else along
        return combined


def smooth_tchebycheff(distance: Tensor, preference: Tensor, mu: float) -> Tensor:
    """`mu log sum_t exp(r_t distance_t / mu)`."""
    return mu * torch.logsumexp(preference * distance / mu, 0)


class SmoothTchebycheff(Preferring):
    """Smooth Tchebycheff scalarization (STCH): mostly the worst task, smoothly.

    `plain`: `mu log sum_t exp(r_t (L_t - z_t) / mu)`. `nadir`, the authors' recipe for multi-task
    learning: `sum_t log L_t` while warming up, then `mu log sum_t exp(log(L_t / n_t) / mu)`, where
    n is the mean loss of the epoch after the warm-up. Lin et al., *Smooth Tchebycheff Scalarization
    for Multi-Objective Optimization* (ICML 2024). Small mu comes close to the worst task alone.

    Needs: losses > 0 and mean losses per epoch (`EndsEpoch`) for `nadir`. State: epochs and nadir
    per task. Cost: one backward. As in the authors' code, the log losses stay in use during the
    epoch that measures the nadir; unlike there, nadir and epochs survive a resumed run. While any
    active task has no nadir yet, the warm-up's formula is used. Their code multiplies by T, as
    `unit` does.

    Args:
        num_tasks: T.
        form: `nadir` or `plain`.
        mu: The smoothing; the authors' 1.0.
        warmup_epochs: The authors' 4; for `nadir`.
        preference: How much each task matters, numbers > 0; None for equally much. For `plain`.
        ideal: The best loss that each task could reach; None for zero. For `plain`.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        form: Literal["nadir", "plain"] = "nadir",
        mu: float = 1.0,
        warmup_epochs: int = 4,
        preference: tuple[float, ...] | None = None,
        ideal: tuple[float, ...] | None = None,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(
            num_tasks, preference=preference, ideal=ideal, scale=scale, weight_heads=weight_heads
        )
        if form not in ("nadir", "plain"):
            raise ValueError(f"`form` should be 'nadir' or 'plain'. Found {form!r}.")
        if form == "nadir" and (preference is not None or ideal is not None):
            raise ValueError("`preference` and `ideal` are for form='plain'.")
        if mu <= 0:
            raise ValueError(f"`mu` should be > 0. Found {mu}.")
        self.form, self.mu, self.warmup_epochs = form, mu, warmup_epochs
        self.epochs: Tensor
        self.nadir: Tensor
        self.register_buffer("epochs", torch.zeros(num_tasks, dtype=torch.int64))
        self.register_buffer("nadir", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def forward(self, losses: Tensor) -> Tensor:
        """The smooth maximum of the losses `[A]`."""
        preference, distance = self.wanted(losses)
        if self.form == "plain":
            return smooth_tchebycheff(distance, preference, self.mu)
        nadir = self.nadir[self.tasks].to(losses)
        if bool(nadir.isnan().any()):
            return positive(losses).log().sum()
        logs = (positive(losses) / nadir).log()
        return smooth_tchebycheff(logs, torch.ones_like(logs), self.mu) * len(losses)

    def end_epoch(self, mean_losses: Tensor, active: Tensor | None = None) -> None:
        """Count an epoch; the one after the warm-up gives the nadir."""
        values = self.everyone(mean_losses).to(self.nadir)
        known = values.isfinite() & (values > 0)
        known = known if active is None else known & active.to(known.device)
        now = known & (self.epochs >= self.warmup_epochs) & self.nadir.isnan()
        self.nadir.copy_(torch.where(now, values, self.nadir))
        self.epochs += known
