"""Small convex problems over a Gramian, in float64 on the CPU.

A tasks, K right-hand sides. A Gramian `[A, A]` is symmetric and positive semidefinite, of any rank
and any magnitude. Every solver first brings the rows behind it to norm 1, so that neither the
magnitude nor an imbalance of the rows costs accuracy.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from polytask.balancing.base import SolverError
from polytask.balancing.few import ALONE, Array, shortest_of_few, unit_rows
from polytask.balancing.pivoting import complementary, of_length, single

Derivatives = Callable[[Tensor], tuple[Tensor, Tensor]]


def row_norms(gramian: Tensor) -> Tensor:
    """The norms `[A]` of the rows behind a Gramian."""
    return torch.from_numpy(np.sqrt(np.maximum(gramian.numpy().diagonal(), 0.0)))


def cosines(gramian: Tensor, norms: Tensor) -> Tensor:
    """The Gramian of the rows divided by `norms`; rows of norm zero become orthogonal to all.

    A Gramian of float32 rows can be indefinite at rounding level. What comes out is not.
    """
    size = norms.numpy()
    safe = np.where(size > 0, size, 1.0)
    matrix = torch.from_numpy((gramian.numpy() / safe) / safe[:, None])
    matrix.fill_diagonal_(1.0)
    raised = matrix.clone()
    raised.diagonal().add_(1e-12)
    if int(torch.linalg.cholesky_ex(raised).info):
        values, vectors = torch.linalg.eigh(matrix)
        matrix = (vectors * values.clamp_min(0)) @ vectors.T
    return matrix


def min_norm(gramian: Tensor) -> Tensor:
    """The convex combination of the rows with the least norm, as weights `[A]`.

    `argmin w' G w  such that  w >= 0, sum w = 1`: in closed form for two rows, else by
    block pivoting, checked; where that fails, by interior point steps.
    """
    if len(gramian) == 2:
        return gramian.new_tensor(_shortest_of_two(gramian.tolist()))
    if 2 < len(gramian) <= ALONE and (few := shortest_of_few(gramian.numpy())) is not None:
        return torch.from_numpy(few)
    norms = row_norms(gramian)
    if bool((norms == 0).any()):
        zero = (norms == 0).to(gramian)
        return zero / zero.sum()
    if len(norms) == 1:
        return torch.ones_like(norms)
    matrix = cosines(gramian, norms)
    price = norms.min() / norms  # The constraint becomes price' y = 1, with w = y price.

    y = _pivoted(matrix, price)
    if y is None:
        y = on_simplex(price, lambda y: (matrix @ y, matrix))
    weights = y * price
    return weights / weights.sum()


def _shortest_of_two(gramian: list[list[float]]) -> list[float]:
    """The min-norm weights of two rows."""
    (a, between), (_, d) = gramian
    if a <= 0 or d <= 0:
        zeros = [float(a <= 0), float(d <= 0)]
        return [zero / sum(zeros) for zero in zeros]
    if min(a, d) <= between:
        return [0.5, 0.5] if a == d else [float(a < d), float(d < a)]
    gap = (a - between) + (d - between)
    return [(d - between) / gap, (a - between) / gap]


def _pivoted(matrix: Tensor, price: Tensor) -> Tensor | None:
    """The min-norm point as the direction of `argmin y' M y / 2 - price' y, y >= 0`.

    A few exchanges find it, unless it is zero or nearly (then the minimum is unbounded): None.
    """
    try:
        y = single(matrix, -price, limit=30)
    except SolverError:
        return None
    total = price @ y
    y = y / total
    product = matrix @ y
    value = y @ product
    good = bool((product - value * price >= -1e-10 * value * price).all())
    return y if good and float(value) > 1e-9 * float(y.sum()) ** 2 else None


def conflict_averse(gramian: Tensor, c: float) -> Tensor:
    """CAGrad's inner problem, as the weights `[A]` of its whole update, before any rescaling.

    `argmin_w g_w . g_0 + c |g_0| |g_w|` over the simplex, with g_0 the mean of the rows; the update
    is `g_0 + c |g_0| g_w / |g_w|`. A `g_w` shorter than 1e-6 of `|g_0|` is rounding, and is not
    lengthened beyond that measure.
    """
    g, count = gramian.numpy(), len(gramian)
    mean = np.full(count, 1 / count)
    towards = g @ mean  # g_0 . g_t
    size = math.sqrt(max(float(mean @ towards), 0.0))  # |g_0|
    known = unit_rows(g)
    if known is None:
        norms = row_norms(gramian).numpy()
        there = norms > 0
        matrix = cosines(gramian, torch.from_numpy(norms)).numpy() * (there & there[:, None])
    else:
        matrix, norms = known
    if c == 0 or count == 1 or not size > 1e-12 * norms.max():
        return torch.from_numpy(mean * (1 + c if count == 1 else 1.0))
    unit = np.where(norms > 0, norms, norms.max())
    price = unit.min() / unit
    pull = towards / unit / size
    corner = 1e-9 * size / float(unit.min())
    if count == 2 and norms.min() > 0:
        return torch.from_numpy(mean) + c * _on_segment(gramian, size, c)
    found = of_length(matrix, pull, price, c)
    if found is not None and c > 1e3 * corner * float(price @ found):
        return torch.from_numpy(mean + size * (found / unit))  # |y| is c.
    problem = torch.from_numpy(matrix), torch.from_numpy(pull), torch.from_numpy(price)
    y = _averse_step_by_step(*problem, c, corner).numpy()
    length = max(math.sqrt(max(float(y @ matrix @ y), 0.0)), 1e3 * corner)
    return torch.from_numpy(mean + c * size * (y / unit) / length)


def _averse_step_by_step(
    matrix: Tensor, pull: Tensor, price: Tensor, c: float, corner: float
) -> Tensor:
    """`argmin_y pull . y + c |y|_M` over the simplex `y >= 0, price . y = 1`, by Newton steps."""

    def direct(y: Tensor) -> tuple[Tensor, Tensor]:
        product = matrix @ y
        length = (y @ product + corner**2).sqrt()
        along = product / length
        return pull + c * along, (c / length) * (matrix - torch.outer(along, along))

    try:
        return on_simplex(price, direct)
    except SolverError:
        return _by_bisection(matrix, pull, price, c, corner)


def _on_segment(gramian: Tensor, size: float, c: float) -> Tensor:
    """`|g_0| w / |g_w|` of the conflict-averse problem of two rows, by bisection on the slope."""
    (a, b), (_, d) = gramian.tolist()
    low, high = 0.0, 1.0
    for _ in range(60):
        t = (low + high) / 2
        length = math.sqrt(max(t * t * a + 2 * t * (1 - t) * b + (1 - t) ** 2 * d, 0.0))
        slope = (a - d) / 2  # Of g_w . g_0; then that of c |g_0| |g_w|, times |g_w|.
        slope = slope * length + c * size * (t * (a - b) - (1 - t) * (d - b))
        low, high = (t, high) if slope < 0 else (low, t)
    t = (low + high) / 2
    length = math.sqrt(max(t * t * a + 2 * t * (1 - t) * b + (1 - t) ** 2 * d, 0.0))
    return gramian.new_tensor([t, 1 - t]) * (size / max(length, 1e-6 * size))


def _by_bisection(matrix: Tensor, pull: Tensor, price: Tensor, c: float, corner: float) -> Tensor:
    """The same where `|g_w|` vanishes at the optimum or nearly: a sequence of quadratic problems.

    The optimum minimizes `pull . y + r y' M y / 2` for the r with `r |g_w| = c`, which grows with
    r.
    """
    low, high = -12.0, -math.log10(corner)
    for _ in range(60):
        middle = (low + high) / 2
        matrix_r = 10**middle * matrix
        y = on_simplex(price, lambda y, m=matrix_r: (pull + m @ y, m))  # type: ignore[misc]
        if 10**middle * float((y @ matrix @ y).clamp_min(0).sqrt()) < c:
            low = middle
        else:
            high = middle
        if high - low < 1e-9:
            break
    return y


def on_simplex(
    price: Tensor, derivatives: Derivatives, start: Tensor | None = None, limit: int = 200
) -> Tensor:
    """`argmin f(y)  such that  y >= 0, price' y = 1`, for a convex f, by a primal-dual method.

    Args:
        price: `[A]`, not negative.
        derivatives: Gradient `[A]` and Hessian `[A, A]` of f.
        start: `[A]`, positive; None for all alike.
        limit: The most iterations.
    """
    y = torch.ones_like(price) / price.sum() if start is None else start
    gradient, hessian = derivatives(y)
    size = float(y @ gradient.abs()) + 1e-300
    level = (y @ gradient).clamp_min(-size)
    s = (gradient - level * price).clamp_min(0.1 * size / float(y.sum()))
    for _ in range(limit):
        gap = float(y @ s)
        residual = gradient - level * price - s
        noise = 1e-15 * float(y @ (hessian.abs() @ y + gradient.abs()))
        enough = max(1e-12 * abs(float(y @ gradient)), noise)
        if gap <= enough and float((y * residual).abs().sum()) <= 10 * enough:
            return y
        factor = cholesky(hessian + (s / y).diag())
        along = torch.cholesky_solve(price[:, None], factor)[:, 0]

        def step(
            target: Tensor,
            residual: Tensor = residual,
            y: Tensor = y,
            s: Tensor = s,
            factor: Tensor = factor,
            along: Tensor = along,
        ) -> tuple[Tensor, Tensor, Tensor]:
            """The Newton step towards `y s = target` and `price' y = 1`."""
            right = (target - y * s) / y - residual
            free = torch.cholesky_solve(right[:, None], factor)[:, 0]
            dlevel = (1 - price @ y - price @ free) / (price @ along)
            dy = free + dlevel * along
            return dy, dlevel, (target - y * s - s * dy) / y

        dy, _, ds = step(torch.zeros_like(y))
        reach = min(_reach(y, dy), _reach(s, ds))
        after = float((y + reach * dy) @ (s + reach * ds))
        centre = (max(after, 0.0) / gap) ** 3 * gap / len(y)
        dy, dlevel, ds = step(centre - dy * ds)
        reach = 0.995 * min(_reach(y, dy), _reach(s, ds))
        y, level, s = y + reach * dy, level + reach * dlevel, s + reach * ds
        gradient, hessian = derivatives(y)
    raise SolverError(f"An optimum over the simplex was not reached in {limit} iterations.")


def fair(gramian: Tensor, alpha: float, limit: int = 200) -> Tensor:
    """The positive solution `[A]` of `G w = w^(-1/alpha)`, by a damped Newton method.

    It is the minimum of the convex `w' G w / 2 - sum_t w_t^p / p` with `p = 1 - 1/alpha` (the
    logarithm for alpha 1). There is none if a combination of the rows with weights >= 0 vanishes.
    """
    norms = row_norms(gramian).numpy()
    if not norms.all():
        zero = np.flatnonzero(norms == 0).tolist()
        raise SolverError(f"Active tasks number {zero} have a gradient of zero: no fair update.")
    scale = norms ** (-2 * alpha / (1 + alpha))
    unit = scale ** (1 - 1 / alpha)  # What the diagonal becomes, and each right-hand side.
    matrix = scale * gramian.numpy() * scale[:, None]
    y = np.full_like(norms, max(matrix.sum() / unit.sum(), 1e-3) ** (-alpha / (1 + alpha)))
    product, force = matrix @ y, unit * y ** (-1 / alpha)
    for _ in range(limit):
        gradient = product - force
        excess = np.abs(gradient) - 1e-12 * force
        worst = excess.max()
        if worst <= 0:
            break
        if worst <= 1e-8 * force.max():  # Or all of it is rounding.
            noise = np.minimum(1e-15 * (np.abs(matrix) @ y), 1e-6 * force)
            if (excess <= noise).all():
                break
        dy = _downhill(matrix, force / (alpha * y), gradient)
        slope = gradient @ dy
        fastest = (dy / y).min()
        t = min(1.0, 0.95 * min(2.0, -1 / fastest)) if fastest < 0 else 1.0
        for _ in range(40):
            trial = y + t * dy
            product, force = matrix @ trial, unit * trial ** (-1 / alpha)
            if (product - force) @ dy <= -0.5 * slope:
                break
            t /= 2
        y = trial
        if not y.max() < 1e7:
            raise SolverError("The gradients cancel each other: there is no fair update.")
    else:
        raise SolverError(f"A fair update was not found in {limit} Newton steps.")
    return torch.from_numpy(scale * y)


def _downhill(matrix: Array, diagonal: Array, gradient: Array) -> Array:
    """The step `[A]` of Newton with the curvature `matrix + diag(diagonal)`, which is downhill."""
    curved = matrix.copy()
    curved.flat[:: len(matrix) + 1] += diagonal
    try:
        step: Array = -np.linalg.solve(curved, gradient)
        if gradient @ step < 0:
            return step
    except np.linalg.LinAlgError:  # Singular, which is rounding.
        pass
    factor = cholesky(torch.from_numpy(curved))
    return -torch.cholesky_solve(torch.from_numpy(gradient)[:, None], factor)[:, 0].numpy()


def in_dual_cone(gramian: Tensor, targets: Tensor) -> Tensor:
    """For each row u `[K, A]` of `targets`: `argmin v' G v  such that  v >= u`.

    `v' J` is the projection of `u' J` onto the cone of updates that conflict with no row of J. The
    complementarity problems are solved together: many of them to 1e-10 of their largest entry, few
    to rounding.
    """
    if len(gramian) == 2:
        plain = gramian.tolist()
        two = [_in_cone_of_two(plain, target) for target in targets.tolist()]
        if None not in two:
            return gramian.new_tensor(two)
    known = unit_rows(gramian.numpy())
    if known is None:
        size = row_norms(gramian)
        matrix = cosines(gramian, size).numpy()
        # A row of zeros has no size of its own, and must not make the others' look like rounding.
        norms = size.masked_fill(size == 0, float(size.max()) or 1.0).numpy()
    else:
        matrix, norms = known
    matrix.flat[:: len(matrix) + 1] += 1e-13
    least = targets.numpy()
    low = least * norms  # [K, A]
    found = complementary(torch.from_numpy(matrix), torch.from_numpy(low @ matrix)).numpy()
    return torch.from_numpy(np.maximum((low + found) / norms, least))  # Rounding may be below.


def _in_cone_of_two(gramian: list[list[float]], target: list[float]) -> list[float] | None:
    """The same for two rows and one u, unless both entries of v are above it.

    In numbers of Python's, since nothing else is so quick in the middle of a model's step.
    """
    (a, between), (_, d) = gramian
    s, t = a * target[0] + between * target[1], between * target[0] + d * target[1]
    # Rounding of either sum.
    least_s = -1e-15 * (abs(a * target[0]) + abs(between * target[1]))
    least_t = -1e-15 * (abs(between * target[0]) + abs(d * target[1]))
    if s >= least_s and t >= least_t:
        return target
    if s < 0 < a and t - between * s / a >= least_t:
        return [target[0] - s / a, target[1]]
    if t < 0 < d and s - between * t / d >= least_s:
        return [target[0], target[1] - t / d]
    return None


def equal_projections(gramian: Tensor, rtol: float = 1e-6) -> tuple[Tensor, float]:
    """Weights `[A]` of the unit rows whose sum projects equally on every row, and that projection.

    `C^+ 1` with C the cosines, if 1 lies in their range. Else only the zero vector projects
    equally, and the weights are those that give it. Eigenvalues below `rtol` are rounding.
    """
    values, vectors = torch.linalg.eigh(cosines(gramian, row_norms(gramian)))
    kept = values > rtol * values[-1]
    parts = vectors.sum(0)  # 1 in terms of the eigenvectors.
    lost = vectors[:, ~kept] @ parts[~kept]
    if float(lost.norm()) > 1e-4 * len(values) ** 0.5:
        return lost, 0.0
    return vectors[:, kept] @ (parts[kept] / values[kept]), 1.0


def onto_simplex(point: Tensor) -> Tensor:
    """The nearest point `[A]` with entries >= 0 that sum to 1."""
    falling = point.sort(descending=True).values
    excess = (falling.cumsum(0) - 1) / torch.arange(1, len(point) + 1).to(point)
    last = int((falling > excess).sum()) - 1
    return (point - excess[last]).clamp_min(0)


def cholesky(matrix: Tensor) -> Tensor:
    """The factor of a positive semidefinite matrix, nudged at rounding level if need be."""
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix)
    size = float(matrix.diagonal().mean())
    for power in range(-14, -2):
        if not int(info):
            return factor
        nudged = matrix + size * 10.0**power * torch.eye(len(matrix), dtype=matrix.dtype)
        factor, info = torch.linalg.cholesky_ex(nudged)
    if int(info) or not bool(factor.isfinite().all()):
        raise SolverError("A matrix that should be positive semidefinite is not.")
    return factor


def _reach(value: Tensor, step: Tensor) -> float:
    """How much of a step keeps `value` >= 0; at most all of it."""
    fastest = float((step / value).min())
    return min(1.0, -1 / fastest) if fastest < 0 else 1.0
