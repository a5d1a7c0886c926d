"""Targets that are rows of different lengths: a label per token, or a text's characters.

Shapes: N rows, B examples, L labels of the longest row, M tokens of the longest example of a batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

PADDING = -2  # beyond the end of a row
UNKNOWN = -1  # a place without a label


def padded(rows: Sequence[Sequence[int]], classes: int) -> Tensor:
    """Rows of class numbers as one tensor `[N, L]`, in the smallest integers that hold them.

    Args:
        rows: Numbers below `classes`, or `UNKNOWN`; a row may be empty.
        classes: How many numbers there are.
    """
    small = next(t for t in (torch.int8, torch.int16, torch.int32) if classes <= torch.iinfo(t).max)
    target = torch.full((len(rows), max(map(len, rows), default=0)), PADDING, dtype=small)
    for number, row in enumerate(rows):
        target[number, : len(row)] = torch.tensor(row, dtype=small)
    return target


def widened(target: Tensor, length: int) -> Tensor:
    """`[N, L]` with padding up to `length` at the end, or cut there."""
    missing = length - target.shape[1]
    if missing <= 0:
        return target[:, :length]
    return torch.nn.functional.pad(target, (0, missing), value=PADDING)


def alike(targets: Sequence[Tensor]) -> list[Tensor]:
    """Targets of several sources with one length L, so that they can stand in one batch."""
    longest = max((target.shape[1] for target in targets), default=0)
    return [widened(target, longest) for target in targets]


def lengths(target: Tensor) -> Tensor:
    """How many places each row has, labelled or not, `[N]`."""
    return (target != PADDING).sum(1)
