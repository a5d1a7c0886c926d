"""Updates from the angles between gradients: made equal, or made right.

T tasks, A active tasks.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from polytask.balancing.base import GramianBalancer, Scale, SolverError, Where
from polytask.balancing.solvers import equal_projections, row_norms


def imtl_weights(gramian: Tensor) -> Tensor:
    """Weights `[A]`, summing to 1, of the update that projects equally on all gradients."""
    norms = row_norms(gramian)
    if bool((norms == 0).any()):  # Its direction is free: the equal projection is zero.
        zero = (norms == 0).to(gramian)
        return zero / zero.sum()
    units, _ = equal_projections(gramian)
    weights = units * (norms.min() / norms)
    total = weights.sum()
    if float(total.abs()) <= 1e-9 * float(weights.abs().sum()):
        raise SolverError("No weights that sum to 1 project equally on all gradients.")
    return weights / total


class IMTLG(GramianBalancer):
    """The gradient half of impartial multi-task learning (IMTL-G): equal projections.

    `w` with `sum w = 1` such that `u_t . d` is the same for all unit gradients `u_t`. Liu et al.,
    *Towards Impartial Multi-task Learning* (ICLR 2021). Closed form, indifferent to gradient sizes
    in direction. Weights may be negative and large where gradients oppose each other; then try
    UPGrad.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. Solved on cosines, with
    eigenvalues below 1e-6 taken as rounding: known copies fail on duplicate or imbalanced rows.
    Where only the zero vector projects equally, the update is zero (and counted). The authors
    released no code.

    Args:
        num_tasks: T.
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
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the update with equal projections."""
        self.check(losses)
        return imtl_weights(gramian)


class IMTL(GramianBalancer):
    """Impartial multi-task learning (IMTL): equal losses for heads, equal projections for the rest.

    Losses are scaled by learned `exp(s_t)` as in `imtl-l`, and the gradients of the scaled losses
    combined as in `imtl-g`. Liu et al., *Towards Impartial Multi-task Learning* (ICLR 2021).

    Needs: the Gramian; its parameters in the optimizer, without weight decay. State: T parameters.
    Cost: one trunk backward per task. In the paper the scaled losses train the heads:
    `weight_heads` gives heads the whole weights here, which contain that scale. `|s| <= bound`. The
    authors released no code.

    Args:
        num_tasks: T.
        bound: The largest `|s|`.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` (weights sum to the number of active tasks) or `paper`.
        weight_heads: Whether heads are weighted too.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        bound: float = 10.0,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        self.bound = bound
        self.log_scale = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]`: the scale of each loss times its share in the update."""
        self.check(losses)
        with torch.no_grad():
            self.log_scale.clamp_(-self.bound, self.bound)
        s = self.log_scale[self.tasks]
        self.learn((s.exp() * losses.to(s) - s).sum())
        scale = s.detach().to(gramian).exp()
        return imtl_weights(scale * gramian * scale[:, None]) * scale


Reference = Literal["min", "median", "rmse"]


def aligned_weights(gramian: Tensor, preference: Tensor, mode: Reference, rtol: float) -> Tensor:
    """`B p`, `B = sigma V D^(-1/2) V'`, over eigenvalues of G above `rtol` of the largest."""
    values, vectors = torch.linalg.eigh(gramian)
    kept = values > rtol * values[-1]
    if not bool(values[-1] > 0):
        return preference
    values, vectors = values[kept], vectors[:, kept]
    sigma = {
        "min": values[0],
        "median": values[(len(values) - 1) // 2],
        "rmse": values.mean(),
    }[mode].sqrt()
    weights: Tensor = sigma * (vectors @ ((vectors.T @ preference) / values.sqrt()))
    return weights


class AlignedMTL(GramianBalancer):
    """Aligned multi-task learning (Aligned-MTL): the Jacobian's condition number made 1.

    `w = B p`, `B = sigma V D^(-1/2) V'` from the eigenvalues D and vectors V of G; p is the
    preference, sigma the root of the smallest (or median, or mean) eigenvalue. Senushkin et al.,
    *Independent Component Alignment for Multi-Task Learning* (CVPR 2023). Removes dominance and
    conflict together; converges to the optimum of the preference. With `min` the step collapses
    when two gradients are nearly parallel; `median` and `rmse` don't.

    Needs: the Gramian. State: none. Cost: one trunk backward per task. Eigenvalues are those of a
    Gramian of float32 gradients, so those below `rtol` of the largest are taken as rounding and
    left out. Authors' defaults: `min`, preference 1 each.

    Args:
        num_tasks: T.
        mode: Which eigenvalue sets the step's length: `min`, `median` or `rmse`.
        preference: How much each task matters; None for 1 each. Multiplied to mean 1.
        rtol: The smallest eigenvalue that counts, relative to the largest.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree: the update is a sum.
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        mode: Reference = "min",
        preference: tuple[float, ...] | None = None,
        rtol: float = 1e-6,
        at: Where = "parameters",
        every: int = 1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, at=at, every=every)
        if mode not in ("min", "median", "rmse"):
            raise ValueError(f"`mode` should be 'min', 'median' or 'rmse'. Found {mode!r}.")
        wanted = (1.0,) * num_tasks if preference is None else tuple(preference)
        if len(wanted) != num_tasks or min(wanted) <= 0:
            raise ValueError(f"`preference` should be {num_tasks} numbers > 0. Found {wanted}.")
        self.mode: Reference = mode
        if not 0 <= rtol < 1:
            raise ValueError(f"`rtol` should be in [0, 1). Found {rtol}.")
        self.rtol = rtol
        self.preference: Tensor
        self.register_buffer("preference", torch.tensor(wanted), persistent=False)

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` of the aligned gradients."""
        self.check(losses)
        preference = self.preference[self.tasks].to(gramian)
        return aligned_weights(gramian, preference / preference.mean(), self.mode, self.rtol)


def config_weights(gramian: Tensor) -> Tensor:
    """Weights `[A]` of the direction of equal cosines, as long as the gradients along it."""
    norms = row_norms(gramian)
    some = norms > 0
    weights = torch.zeros_like(norms)
    if not bool(some.any()):
        return weights
    gramian, norms = gramian[some][:, some], norms[some]
    units, projection = equal_projections(gramian)
    shares = units / norms
    length = float((shares @ gramian @ shares).clamp_min(0).sqrt())
    if projection == 0 or length == 0:
        return weights
    along = (gramian @ shares).sum() / length  # sum_t g_t . d / |d|
    weights[some] = shares * (along / length)
    return weights


class ConFIG(GramianBalancer):
    """Conflict-free inverse gradients (ConFIG): equal cosines with every gradient.

    `d ~ U^+ 1` with U the unit gradients, as long as the sum of all `g_t . d / |d|`. Liu, Chu,
    Thuerey, *ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks* (ICLR
    2025). Keeps the length where gradients agree and shortens it where they conflict. Made for few
    losses of very different size, such as those of physics-informed networks.

    Needs: the Gramian. State: none. Cost: one trunk backward per task; the pseudo-inverse is taken
    of the cosines `[A, A]`, not of `[A, P]` gradients. Eigenvalues below 1e-6 are taken as
    rounding. Tasks with a gradient of zero are left out. Where only the zero vector has equal
    cosines the update is zero (and counted).

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        every: Weights are refreshed each `every` steps.
        scale: `unit` and `paper` agree.
        weight_heads: Whether heads are weighted too.
    """

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
        """Weights `[A]` of the conflict-free direction."""
        self.check(losses)
        return config_weights(gramian)
