"""Problems of few tasks: complementarity, the shortest combination.

A active tasks, K problems. Of matrices this small a solver's time is that of its calls, each of
which finds the processor's caches full of the model's. So there are few of them, and NumPy's,
which take less than torch's: each problem's free set is cut out by a mask, and no index. Every
answer is checked, and where there is none the solvers for any number of tasks have their turn.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Up to so many tasks, whole masked matrices are solved quicker than their pieces: of A problems at
# once, and of one.
FEW, ALONE = 16, 128


def by_masks(m: Array, q: Array, limit: int = 12) -> Array | None:
    """For each row of q `[K, A]`: x >= 0 with `s = q + M x >= 0` and `x . s = 0`.

    Each exchange moves all entries of x or s that are negative to the other side. None unless
    `limit` exchanges end where every x passes a check against the matrix: there are cases in which
    they go in circles, or pieces of the matrix are singular.
    """
    eye = np.eye(len(m))
    most = np.maximum(np.abs(q).max(1, keepdims=True), 1e-300)
    free = q < -1e-12 * most
    for _ in range(limit):
        pieces = np.where(free[:, :, None] & free[:, None, :], m, eye)
        try:
            x = np.linalg.solve(pieces, np.where(free, -q, 0.0)[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:  # A piece is singular.
            return None
        s = q + x @ m
        least = -1e-12 * np.maximum(np.abs(x).max(1, keepdims=True), most)
        wrong = np.where(free, x, s) < least
        if not wrong.any():
            solved = (np.abs(s) <= -least) | ~free
            return np.maximum(x, 0.0) if solved.all() else None
        free ^= wrong
    return None


def shortest_of_few(gramian: Array) -> Array | None:
    """The min-norm weights `[A]` of rows none of which is zero, as `solvers.min_norm` has them."""
    known = unit_rows(gramian)
    if known is None:
        return None
    matrix, norms = known
    price = norms.min() / norms
    found = by_masks(matrix, -price[None])
    if found is None:
        return None
    y = found[0] / (price @ found[0])
    product = matrix @ y
    value = y @ product
    if not (
        (product - value * price >= -1e-10 * value * price).all() and value > 1e-9 * y.sum() ** 2
    ):
        return None
    shares: Array = y * price
    weights: Array = shares / shares.sum()
    return weights


def unit_rows(gramian: Array) -> tuple[Array, Array] | None:
    """The Gramian of rows of norm 1, and the norms; None if a row is zero or it is indefinite."""
    squares = gramian.diagonal()
    if not squares.min() > 0:
        return None
    norms = np.sqrt(squares)
    matrix = gramian / norms / norms[:, None]
    matrix.flat[:: len(matrix) + 1] = 1.0
    if np.abs(matrix).sum(1).max() < 2.0:  # Gershgorin: no eigenvalue is negative.
        return matrix, norms
    raised = matrix + 1e-12 * np.eye(len(matrix))
    try:
        np.linalg.cholesky(raised)
    except np.linalg.LinAlgError:
        return None
    return matrix, norms
