"""Small convex problems over a Gramian, in float64 on the CPU.

A tasks. A Gramian `[A, A]` is symmetric and positive semidefinite, of any rank and any magnitude.
"""

import torch
from torch import Tensor

from polytask.balancing.base import SolverError


def min_norm(gramian: Tensor) -> Tensor:
    """The convex combination of the rows of J with the least norm, as weights `[A]`.

    `argmin w' G w  such that  w >= 0, sum w = 1`: in closed form for two rows, else by a
    primal-dual interior point method on rows brought to norm 1, until the gap is below 1e-12 of the
    optimum.
    """
    norms = gramian.diagonal().clamp_min(0).sqrt()
    if bool((norms == 0).any()):
        zero = (norms == 0).to(gramian)
        return zero / zero.sum()
    smallest = norms.min()
    price = smallest / norms  # The constraint becomes price' y = 1, with w = y price.
    cosines = (gramian / norms) / norms[:, None]
    if len(norms) == 1:
        return torch.ones_like(norms)
    if len(norms) == 2:
        between = gramian[0, 1]
        gap = (norms**2).sum() - 2 * between
        first = ((norms[1] ** 2 - between) / gap).clamp(0, 1) if gap > 0 else norms.new_tensor(0.5)
        return torch.stack([first, 1 - first])
    y = _quadratic_on_simplex(cosines, price)
    weights = y * price
    return weights / weights.sum()


def _quadratic_on_simplex(matrix: Tensor, price: Tensor, limit: int = 100) -> Tensor:
    """`argmin y' M y / 2  such that  y >= 0, price' y = 1`, for M with unit diagonal."""
    y = torch.ones_like(price) / price.sum()
    product = matrix @ y
    level = (y @ product).clamp_min(1e-3)
    s = (product - level * price).clamp_min(0.1 * float(y.max()))
    for _ in range(limit):
        product = matrix @ y
        value, gap = float(y @ product), float(y @ s)
        residual = product - level * price - s
        if gap <= max(1e-12 * value, 1e-15) and float(residual.abs().max()) <= 1e-9 * max(
            float(product.abs().max()), 1e-9
        ):
            return y
        factor = cholesky(matrix + (s / y).diag())
        along = torch.cholesky_solve(price[:, None], factor)[:, 0]
        slope = price @ along

        def step(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """The Newton step towards y s = target, price' y = 1."""
            right = -residual + (target - y * s) / y  # noqa: B023
            free = torch.cholesky_solve(right[:, None], factor)[:, 0]  # noqa: B023
            dlevel = (1 - price @ y - price @ free) / slope  # noqa: B023
            dy = free + dlevel * along  # noqa: B023
            return dy, dlevel, (target - y * s - s * dy) / y  # noqa: B023

        dy, _, ds = step(torch.zeros_like(y))
        reach = min(_reach(y, dy), _reach(s, ds))
        after = float((y + reach * dy) @ (s + reach * ds))
        centre = (max(after, 0.0) / gap) ** 3 * gap / len(y)
        dy, dlevel, ds = step(centre - dy * ds)
        reach = 0.995 * min(_reach(y, dy), _reach(s, ds))
        y, level, s = y + reach * dy, level + reach * dlevel, s + reach * ds
    raise SolverError(f"The min-norm point was not reached in {limit} iterations.")


def cholesky(matrix: Tensor) -> Tensor:
    """The factor of a positive semidefinite matrix, nudged at rounding level if need be."""
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix)
    nudge = 1e-15 * float(matrix.diagonal().mean())
    while int(info):
        nudge *= 10
        if not nudge < float("inf") or nudge > 1e-3 * float(matrix.diagonal().max()):
            raise SolverError("A matrix that should be positive semidefinite is not.")
        factor, info = torch.linalg.cholesky_ex(matrix + nudge * torch.eye(len(matrix)).to(matrix))
    return factor


def _reach(value: Tensor, step: Tensor) -> float:
    """How much of a step keeps `value` >= 0; at most 1."""
    shrinking = step < 0
    if not bool(shrinking.any()):
        return 1.0
    return min(1.0, float((-value[shrinking] / step[shrinking]).min()))
