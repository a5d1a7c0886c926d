"""Linear complementarity problems of one matrix, by conjugate gradients that share its products.

K problems, A active tasks. Whatever their free sets are, the products of all problems with the
matrix `[A, A]` are one product of a `[K, A]` with it, and a mask takes the place of each subset.
Steps and exchanges of the sets take turns: as long as sets change, a few steps tell which entries
are on the wrong side, and to solve for a set exactly would be a waste.
"""

import math

import numpy as np

from polytask.balancing.few import Array

TOLERANCE = 1e-10  # Of an entry, where the largest of its problem is 1.
BLUR = 0.02  # Is added to the diagonal, near 1, before the inverse is taken.
TINY = 1e-290  # Keeps 0 / 0 away where there is nothing to do.
FLOOR = 1e-30  # Is added to residuals, so that none is zero before a step has known it to be small.


def by_conjugate_gradients(m: Array, q: Array, limit: int) -> tuple[Array, Array, Array]:
    """For each row of q `[K, A]`: x >= 0 with `s = q + M x >= 0` and `x . s = 0`, or a try.

    Returns x `[K, A]`, the free sets `[K, A]` that it ends with, and which rows `[K]` are solved:
    those whose x passes a check against the matrix, however it was found. Of an ill-conditioned
    matrix `limit` steps may not be enough, but the free sets are nearly right by then.
    """
    size = np.maximum(np.abs(q).max(1, keepdims=True), TINY)
    scaled = q / size
    free = scaled < -TOLERANCE
    if not free.any():
        return np.zeros_like(q), free, np.ones(len(q), bool)
    with np.errstate(all="ignore"):  # Whatever steps of a bad matrix lead to fails the check.
        try:
            x, free = _descend(m, scaled, free, limit)
        except np.linalg.LinAlgError:  # A matrix that is not even nearly semidefinite.
            return np.zeros_like(q), free, np.zeros(len(q), bool)
        slack = scaled + x @ m
        least = _least(x)
        good = (np.where(free, x, slack) >= least) & ((np.abs(slack) <= -least) | ~free)
        return np.maximum(x, 0.0) * size, free, good.all(1)


def _least(x: Array) -> Array:
    """From where on `[K, 1]` an entry of x or s counts as not negative."""
    least: Array = np.maximum(x.max(1, keepdims=True), 1.0) * -TOLERANCE
    return least


def _descend(m: Array, q: Array, free: Array, limit: int) -> tuple[Array, Array]:
    """x `[K, A]` and its free sets `[K, A]`, when nothing is left to do or after `limit` steps.

    Sets that keep changing need more steps between exchanges: one more for every third of those.
    """
    problems = _Problems(m, q, free)
    steps, exchanges, ahead = 0, 0, 2
    while steps < limit:
        wrong = np.where(problems.free, problems.x, problems.slack) < problems.least
        if wrong.any():
            problems.exchange(wrong)
            exchanges += 1
            ahead = 2 + exchanges // 3
        elif steps:
            ahead = problems.steps_ahead()
            if not ahead:
                break
        for _ in range(ahead):
            problems.step()
        steps += ahead
    return problems.x, problems.free


class _Problems:
    """K problems on their way: x, s, and a direction for each.

    On its free set F a row solves `M_FF x_F = -q_F`, preconditioned by `P_FF` with `P = (M +
    BLUR)^-1`. With no blur, `M_FF P_FF` has the eigenvalues `1 / (1 - c^2)`, with c the canonical
    correlations of the rows in F and the others, and most of them are near 1. But of a singular M
    the inverse would know no more than the null space.

    Matrices `[K, A]` are made once and written in place.
    """

    def __init__(self, m: Array, q: Array, free: Array) -> None:
        self.m, self.q, self.free = m, q, free
        self.inverse = np.linalg.inv(m + BLUR * np.eye(len(m)))
        self.mask = free.astype(q.dtype)
        self.x, self.along, self.bent, self.left, self.ahead = np.zeros((5, *q.shape))
        self.slack = q.copy()
        self.least: Array | float = -TOLERANCE

    def exchange(self, wrong: Array) -> None:
        """Let the entries `[K, A]` that are wrong change sides."""
        self.free = self.free ^ wrong
        self.mask[...] = self.free
        self.x *= self.mask
        np.matmul(self.x, self.m, out=self.slack)
        self.slack += self.q
        self.least = _least(self.x)
        self.along.fill(0.0)

    def steps_ahead(self) -> int:
        """How many steps to take before the next look: none where s is zero on all free sets.

        A step of a good matrix divides s there by about 10.
        """
        np.multiply(self.slack, self.mask, out=self.left)
        rest = np.abs(self.left, out=self.left)
        most = float(rest.max())
        if not math.isfinite(most):  # Steps lead nowhere, and no check will pass what they gave.
            return 0
        if not (rest > -0.5 * self.least).any():  # Half: the check may round otherwise.
            return 0
        return min(max(math.ceil(math.log10(most / TOLERANCE)), 1), 4)

    def step(self) -> None:
        """One step of conjugate gradients, whose directions p are scaled to `p . r = 1`."""
        left, ahead, bent = self.left, self.ahead, self.bent
        np.multiply(self.slack, self.mask, out=left)
        left += FLOOR
        np.matmul(left, self.inverse, out=ahead)
        ahead *= self.mask
        ahead /= _row_products(left, ahead)
        self.along += ahead
        np.matmul(self.along, self.m, out=bent)
        far = _row_products(self.along, bent)
        np.divide(self.along, far, out=left)
        self.x -= left
        bent /= far
        self.slack -= bent


def _row_products(a: Array, b: Array) -> Array:
    """The inner product of each two rows, `[K, 1]`, and never zero."""
    found: Array = np.vecdot(a, b)[:, None]
    found += TINY
    return found
