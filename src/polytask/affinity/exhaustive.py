"""Every set of a few tasks, measured rather than predicted.

T tasks, M = 2^T - T - 1 sets of two tasks or more.
"""

import torch
from torch import Tensor

from polytask.affinity.grouping import Gains

# Sets of so many tasks: 247, whose trainings go through 1,016 tasks.
MOST = 8


def every_set(num_tasks: int) -> Tensor:
    """All sets `[M, T]` (bool) of two tasks or more; row order is that of binary numbers.

    Raises:
        ValueError: With fewer than 2 or more than `MOST` tasks.
    """
    if not 2 <= num_tasks <= MOST:
        raise ValueError(f"`num_tasks` should be from 2 to {MOST}. Found {num_tasks}.")
    numbers = torch.arange(2**num_tasks)
    masks = (numbers[:, None] >> torch.arange(num_tasks)) % 2 == 1
    return masks[masks.sum(1) > 1]


def looked_up(gains: Tensor) -> Gains:
    """Gains of any set as they were measured; a set in which nothing was measured counts as 0.

    Args:
        gains: `[M, T]`, of the sets of `every_set`; NaN for tasks that are not in a set, or whose
            gain could not be measured.
    """
    count = gains.shape[1]
    numbers = 2 ** torch.arange(count)
    table = torch.zeros(2**count, count, dtype=torch.float64)
    table[every_set(count).long() @ numbers] = gains.double().nan_to_num(nan=0.0)

    def found(subsets: Tensor) -> Tensor:
        measured = table[subsets.long() @ numbers]
        return torch.where(subsets, measured, torch.nan)

    return found
