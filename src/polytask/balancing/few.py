"""Linear complementarity problems of few tasks, all at once.

A active tasks, K problems. Of matrices this small a solver's time is that of its calls, each of
which finds the processor's caches full of the model's. So there are few of them, and NumPy's,
which take less than torch's: each problem's free set is cut out by a mask, and no index.
"""

import numpy as np
import torch
from torch import Tensor

FEW = 16  # Up to so many tasks, whole masked matrices are solved quicker than their pieces.


def by_masks(matrix: Tensor, pull: Tensor, limit: int = 12) -> Tensor | None:
    """For each row q `[K, A]` of `pull`: x >= 0 with `s = q + M x >= 0` and `x . s = 0`.

    Each exchange moves all entries of x or s that are negative to the other side. None unless
    `limit` exchanges end where every x passes a check against the matrix: there are cases in which
    they go in circles, or pieces of the matrix are singular.
    """
    m, q = matrix.numpy(), pull.numpy()
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
            return torch.from_numpy(np.maximum(x, 0.0)) if solved.all() else None
        free ^= wrong
    return None
