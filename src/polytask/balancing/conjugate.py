"""Linear complementarity problems of one matrix, by conjugate gradients that share its products.

K problems, A active tasks. Whatever their free sets are, the products of all problems with the
matrix `[A, A]` are one product of a `[K, A]` with it, and a mask takes the place of each subset.
Steps and exchanges of the sets take turns: as long as sets change, a few steps tell which entries
are on the wrong side, and to solve for a set exactly would be a waste.
"""

import math

import torch
from torch import Tensor

TOLERANCE = 1e-12  # Of an entry, where the largest of its problem is 1.
BLUR = 0.02  # Is added to the diagonal, near 1, before the inverse is taken.
TINY = 1e-290  # Keeps 0 / 0 away where there is nothing to do.
FLOOR = 1e-30  # Is added to residuals, so that none is zero before a step has known it to be small.


def by_conjugate_gradients(
    matrix: Tensor, pull: Tensor, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """For each row q `[K, A]` of `pull`: x >= 0 with `s = q + M x >= 0` and `x . s = 0`, or a try.

    Returns x `[K, A]`, the free sets `[K, A]` that it ends with, and which rows `[K]` are solved:
    those whose x passes a check against the matrix, however it was found. Of an ill-conditioned
    matrix `limit` steps may not be enough, but the free sets are nearly right by then.
    """
    size = pull.abs().amax(1, keepdim=True).clamp_min_(TINY)
    scaled = pull / size
    free = scaled < -TOLERANCE
    if not bool(free.any()):
        return torch.zeros_like(pull), free, free.new_ones(len(free))
    x, free = _descend(matrix, scaled, free, limit)
    mask = free.to(x)
    slack = torch.addmm(scaled, x, matrix)
    least = _least(x)
    good = torch.lerp(slack, x, mask) >= least
    good &= slack.mul_(mask).abs_() <= -least
    return x.clamp_min(0).mul_(size), free, good.all(1)


def _least(x: Tensor) -> Tensor:
    """From where on `[K, 1]` an entry of x or s counts as not negative."""
    return x.amax(1, keepdim=True).clamp_min_(1).mul_(-TOLERANCE)


@torch.inference_mode()
def _descend(matrix: Tensor, pull: Tensor, free: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """x `[K, A]` and its free sets `[K, A]`, when nothing is left to do or after `limit` steps.

    Sets that keep changing need more steps between exchanges: one more for every third of those.
    Inference mode takes a tenth off the time, which is mostly that of calls.
    """
    problems = _Problems(matrix, pull, free)
    steps, exchanges, ahead = 0, 0, 2
    while steps < limit:
        wrong = problems.wrong()
        if bool(wrong.any()):
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

    All matrices are made once and written in place, which saves a sixth of the time.
    """

    def __init__(self, matrix: Tensor, pull: Tensor, free: Tensor) -> None:
        blurred = matrix + BLUR * torch.eye(len(matrix), dtype=matrix.dtype)
        self.matrix, self.pull = matrix, pull
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(blurred)[0])
        self.free, self.mask = free, free.to(pull)
        room = pull.new_zeros(6, *pull.shape)
        self.x, self.slack, self.along, self.bent, self.left, self.ahead = room
        self.state, self.change = room[:2], room[2:4]
        self.slack.copy_(pull)
        self.least = pull.new_full((1, 1), -TOLERANCE)
        self.ones, self.tiny = matrix.new_ones(len(matrix), 1), matrix.new_full((1,), TINY)
        self.floor = matrix.new_full((1,), FLOOR)
        self.near = len(matrix) / BLUR * TOLERANCE**2  # No `r' P r` of a small r is above it.

    def wrong(self) -> Tensor:
        """Which entries `[K, A]` should be on the other side."""
        return torch.lerp(self.slack, self.x, self.mask) < self.least

    def exchange(self, wrong: Tensor) -> None:
        self.free = self.free ^ wrong
        self.mask.copy_(self.free)
        self.x *= self.mask
        torch.addmm(self.pull, self.x, self.matrix, out=self.slack)
        self.least = _least(self.x)
        self.along.zero_()

    def steps_ahead(self) -> int:
        """How many steps to take before the next look: none where s is zero on all free sets.

        A step of a good matrix divides `r' P r` by about 100.
        """
        rest = float(self.now.amax())
        if not math.isfinite(rest):  # Steps lead nowhere, and no check will pass what they gave.
            return 0
        if rest <= self.near:  # The cheap question first.
            torch.mul(self.slack, self.mask, out=self.left)
            if not bool((self.left.abs_() > -self.least).any()):
                return 0
        return min(max(math.ceil(math.log10(rest / TOLERANCE**2) / 2), 1), 4)

    def step(self) -> None:
        """One step of conjugate gradients, whose directions p are scaled to `p . r = 1`."""
        torch.addcmul(self.floor, self.slack, self.mask, out=self.left)
        torch.mm(self.left, self.inverse, out=self.ahead).mul_(self.mask)
        self.now = torch.addmm(self.tiny, self.left.mul_(self.ahead), self.ones)
        self.along.addcmul_(self.ahead, self.now.reciprocal())
        torch.mm(self.along, self.matrix, out=self.bent)
        torch.mul(self.along, self.bent, out=self.left)
        far = torch.addmm(self.tiny, self.left, self.ones).reciprocal_()
        self.state.addcmul_(self.change, far, value=-1)
