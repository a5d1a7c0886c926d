"""Linear complementarity problems of one matrix, by block principal pivoting.

A active tasks, K problems. Given M `[A, A]`, positive semidefinite, and q `[A]`: x >= 0 with
`s = q + M x >= 0` and `x . s = 0`, which is where `x' M x / 2 + q' x` is least over x >= 0. Where x
may be positive is the *free* set; an exchange moves every index whose x or s is negative to the
other side, all at once while that makes fewer of them, else the last one alone.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from polytask.balancing.base import SolverError
from polytask.balancing.conjugate import by_conjugate_gradients
from polytask.balancing.few import ALONE, FEW, Array, by_masks

ROOM = 1 << 17  # Entries of the matrices that are solved together, 1 MiB of float64.
PATIENCE = 10  # How many exchanges in a row may leave as many negative entries as before.


def complementary(matrix: Tensor, pull: Tensor, limit: int = 1000, steps: int = 100) -> Tensor:
    """For each row q `[K, A]` of `pull`: x >= 0 with `s = q + M x >= 0` and `x . s = 0`.

    Many rows of many entries are solved by at most `steps` steps of conjugate gradients. Those
    whose x does not pass the check there are solved by pivoting, from the free sets that it has.

    Raises:
        SolverError: If there is none, or pivoting does not end.
    """
    few_enough = len(matrix) <= (ALONE if len(pull) == 1 else FEW)
    if few_enough and (few := by_masks(matrix.numpy(), pull.numpy())) is not None:
        return torch.from_numpy(few)
    if len(pull) == 1:
        return _nudged(matrix, limit, lambda m, most: single(m, pull[0], most)[None])
    if len(matrix) <= FEW:
        return _from_scratch(matrix, pull, limit)
    known = by_conjugate_gradients(matrix.numpy(), pull.numpy(), steps)
    found, free, solved = map(torch.from_numpy, known)
    if not bool(solved.all()):
        left = (~solved).nonzero()[:, 0]
        try:
            found[left] = _together(matrix, pull[left], free[left], limit)
        except SolverError:
            found[left] = _from_scratch(matrix, pull[left], limit)
    return found


def _from_scratch(matrix: Tensor, pull: Tensor, limit: int) -> Tensor:
    free = pull < -_tolerance(pull)
    return _nudged(matrix, limit, lambda m, most: _together(m, pull, free, most))


def _nudged(matrix: Tensor, limit: int, solve: Callable[[Tensor, int], Tensor]) -> Tensor:
    """What `solve` finds for M, or for one as good.

    Two rows that are opposite up to the rounding of float32 can make exchanges go in circles. Then
    the diagonal of M, which should be near 1, is raised by up to that rounding. Of an M with many
    small eigenvalues, exchanges one by one may be hundreds before they end, in no circle.
    """
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    tries = {0.0: limit, 1e-11: limit // 10, 1e-9: limit // 10, 1e-7: limit // 10}
    for nudge, most in tries.items():
        try:
            return solve(matrix + nudge * eye if nudge else matrix, most)
        except SolverError:
            continue
    return solve(matrix + 1e-6 * eye, limit // 2)


def single(matrix: Tensor, pull: Tensor, limit: int) -> Tensor:
    """The solution `[A]` of one problem."""
    free = pull < -_tolerance(pull)
    best, tries = len(pull) + 1, PATIENCE
    for _ in range(limit):
        x = _solve_free(matrix, -pull, free)
        least = torch.where(free, x, torch.addmv(pull, matrix, x))
        wrong = least < -_tolerance(pull, x)
        which = wrong.nonzero()[:, 0]
        if not len(which):
            return x.clamp_min(0)
        tries = PATIENCE if len(which) < best else tries - 1
        best = min(best, len(which))
        if tries <= 0:
            wrong = torch.zeros_like(wrong)
            wrong[which[-1]] = True
        free = free ^ wrong
    raise SolverError(f"A complementary pair was not found in {limit} exchanges.")


def of_length(m: Array, pull: Array, price: Array, length: float) -> Array | None:
    """The x of the problem with `q = pull - level price` whose level gives `x' M x = length^2`.

    On a free set x is linear in the level, so the level is the root of a quadratic equation and is
    found anew with each exchange. x has the direction of `argmin pull . y + length |y|_M` over the
    simplex `y >= 0, price . y = 1`. None if the exchanges do not end, as where that minimum is at
    a y of length zero.

    Args:
        m: `[A, A]`.
        pull: `[A]`.
        price: `[A]`, positive.
        length: Positive.
    """
    both = np.stack([price, pull], 1)  # [A, 2]
    reach = pull / price
    free = reach <= reach.min() + length / np.linalg.norm(price)
    best, tries = len(pull) + 1, PATIENCE
    for _ in range(4 * PATIENCE):
        index = np.flatnonzero(free)
        right = both[index]
        try:
            parts = np.linalg.solve(m[index[:, None], index], right)
        except np.linalg.LinAlgError:  # A piece is singular.
            return None
        aa, ab, _, bb = (right.T @ parts).ravel().tolist()
        root = ab**2 - aa * (bb - length**2)
        if not (aa > 0 and math.isfinite(root)):
            return None
        level = (ab + math.sqrt(max(root, 0.0))) / aa
        x = np.zeros_like(pull)
        x[index] = level * parts[:, 0] - parts[:, 1]
        slack = pull - level * price + m @ x
        wrong = np.where(free, x, slack) < -1e-12 * np.abs(x).max()
        which = np.flatnonzero(wrong)
        if not len(which):
            good = root >= 0 and abs(float(x @ m @ x) / length**2 - 1) < 1e-9
            return np.maximum(x, 0.0) if good else None
        tries = PATIENCE if len(which) < best else tries - 1
        best = min(best, len(which))
        if tries <= 0:
            wrong = np.zeros_like(wrong)
            wrong[which[-1]] = True
        free ^= wrong
        if not free.any():
            return None
    return None


def _tolerance(*values: Tensor) -> Tensor:
    """Below what an entry counts as zero, for each problem: a part of the largest entry."""
    most = torch.stack([v.abs().amax(-1, keepdim=True) for v in values]).amax(0)
    return 1e-12 * most.clamp_min(1e-300)


def _solve_free(matrix: Tensor, right: Tensor, free: Tensor) -> Tensor:
    """`x` `[A]` with `matrix[F, F] x[F] = right[F]` on the free set F, else zero."""
    x = torch.zeros_like(right)
    index = free.nonzero()[:, 0]
    if len(index):
        x[index] = _solve(matrix[index].T[index], right[index, None])[:, 0]
    return x


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """`matrix^-1 right`, for a matrix that is positive definite but for rounding."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    solved: Tensor
    if bool(info):
        eye = torch.eye(len(matrix), dtype=matrix.dtype)
        solved = torch.linalg.solve(matrix + 1e-11 * eye, right)
    else:
        solved = torch.cholesky_solve(right, factor)
    return solved


def _together(matrix: Tensor, pull: Tensor, free: Tensor, limit: int) -> Tensor:
    """Many problems at once, from given free sets; those that are solved leave."""
    found = torch.zeros_like(pull)
    left = torch.arange(len(pull))
    best = torch.full((len(pull),), pull.shape[1] + 1)
    tries = torch.full((len(pull),), PATIENCE)
    for _ in range(limit):
        x = _solve_subsets(matrix, -pull, free)
        least = torch.where(free, x, torch.addmm(pull, x, matrix))
        wrong = least < -_tolerance(pull, x)
        count = wrong.sum(1)
        done = count == 0
        if bool(done.any()):
            found[left[done]] = x[done]
            keep = (~done).nonzero()[:, 0]
            if not len(keep):
                return found.clamp_min(0)
            left, pull, free = left[keep], pull[keep], free[keep]
            wrong, count, best, tries = wrong[keep], count[keep], best[keep], tries[keep]
        free = free ^ _exchanged(wrong, count, best, tries)
    raise SolverError(f"A complementary pair was not found in {limit} exchanges.")


def _exchanged(wrong: Tensor, count: Tensor, best: Tensor, tries: Tensor) -> Tensor:
    """Which entries change sides; `best` and `tries` are kept up to date in place."""
    better = count < best
    tries.copy_(torch.where(better, PATIENCE, tries - 1))
    best.copy_(torch.where(better, count, best))
    if bool((tries > 0).all()):
        return wrong
    index = torch.arange(wrong.shape[1]).expand_as(wrong)
    last = torch.zeros_like(wrong)
    last.scatter_(1, torch.where(wrong, index, -1).amax(1, keepdim=True), True)
    return torch.where((tries > 0)[:, None], wrong, last)


def _solve_subsets(matrix: Tensor, right: Tensor, subset: Tensor) -> Tensor:
    """For each row k: `x` with `matrix[F, F] x[F] = right[k, F]` on `F = subset[k]`, else zero.

    So many rows at a time as take `ROOM` entries of matrices: of hundreds of tasks all pieces
    together would take gigabytes.
    """
    most = int(subset.sum(1).max())
    rows = ROOM // max(1, most) ** 2
    if rows < 2:
        return torch.stack([_solve_free(matrix, r, s) for r, s in zip(right, subset, strict=True)])
    blocks = zip(right.split(rows), subset.split(rows), strict=True)
    return torch.cat([_solve_block(matrix, r, s) for r, s in blocks])


def _solve_block(matrix: Tensor, right: Tensor, subset: Tensor) -> Tensor:
    most = int(subset.sum(1).max())
    if most == 0:
        return torch.zeros_like(right)
    count = len(matrix)
    chosen, order = subset.to(torch.int8).topk(most, dim=1)
    place = order + count * (1 - chosen)  # What is not chosen becomes a row of the identity.
    wide = torch.block_diag(matrix, torch.eye(count, dtype=matrix.dtype))
    pieces = wide.take(2 * count * place[:, :, None] + place[:, None, :])  # [K, m, m]
    values = right.gather(1, order) * chosen
    factor, info = torch.linalg.cholesky_ex(pieces)
    if bool(info.any()):
        eye = torch.eye(most, dtype=matrix.dtype)
        solved = torch.linalg.solve(pieces + 1e-11 * eye, values)
    else:
        solved = torch.cholesky_solve(values[:, :, None], factor)[:, :, 0]
    return torch.zeros_like(right).scatter_(1, order, solved)
