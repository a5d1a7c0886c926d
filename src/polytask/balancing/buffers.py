"""Memory that is kept from step to step.

A active tasks, P shared parameters (entries).
"""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from polytask.balancing.graph import Shared

_KEPT: WeakKeyDictionary[object, Tensor] = WeakKeyDictionary()


def kept_buffer(owner: object, shared: Shared, count: int) -> Tensor:
    """Memory `[count, P]` with anything in it, the same in each step of `owner`.

    On a CPU, C libraries give memory of this size back to the system, which clears each page anew:
    a tenth of a step with 40 tasks. What is kept goes when `owner` goes.
    """
    like, size = shared.parameters[0], count * shared.size
    kept = _KEPT.get(owner)
    if kept is None or len(kept) < size or (kept.dtype, kept.device) != (like.dtype, like.device):
        kept = _KEPT[owner] = torch.empty(size, dtype=like.dtype, device=like.device)
    return kept[:size].view(count, shared.size)
