"""Parts of each task's gradient left out at the shared features, before it enters the trunk.

A active tasks, B examples, D features of one example (maps and sequences: all their entries).
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from polytask.balancing.passes import Passes, identity
from polytask.balancing.weighing import averaged, private_unweighted


def pushes(passes: Passes, cotangents: Sequence[Tensor | None]) -> Tensor:
    """How each task wants each feature to change in size, up to a factor of all: `[A, D]`.

    The sum over examples of `sign(z) dL/dz`, averaged over processes, which hold different
    examples. Tasks may have batches of their own; the features of one example are alike for all.
    """
    assert passes.features is not None
    pairs = list(zip(passes.features, cotangents, strict=True))
    shapes = {f.shape[1:] for f, c in pairs if f is not None and c is not None}
    if len(shapes) > 1:
        raise ValueError(
            "Features should have one shape per example, the same for all tasks, to be dropped by "
            f"feature. Found {sorted(map(tuple, shapes))}."
        )
    size = _agreed(passes, prod(next(iter(shapes))) if shapes else 0)
    kind = torch.promote_types(passes.shared.everyone[0].dtype, torch.float32)
    rows = torch.zeros(len(pairs), size, dtype=kind, device=passes.losses.values.device)
    for row, (feature, cotangent) in zip(rows, pairs, strict=True):
        if feature is not None and cotangent is not None:
            row.copy_((feature.detach().sign() * cotangent).sum(0, dtype=kind).flatten())
    return passes.reduce(rows)


def _agreed(passes: Passes, size: int) -> int:
    """The number of features of one example in all processes; one may have no labels, hence 0."""
    if passes.reduce is identity:
        return size
    here = torch.tensor([size > 0, size, size**2], dtype=torch.float64)
    share, mean, square = passes.reduce(here.to(passes.losses.values.device)).tolist()
    if share == 0:
        return 0
    if square * share - mean**2 > 1e-9 * mean**2:  # A variance: every process raises alike.
        raise ValueError(
            f"Processes have examples with different numbers of features (here {size}), which "
            "can't be dropped by feature. Pad inputs to one size, or take at='parameters'."
        )
    return int(mean / share + 0.5)


def dropped(
    passes: Passes, cotangents: Sequence[Tensor | None], kept: Tensor, factor: float
) -> None:
    """One trunk backward with what is kept of each cotangent.

    Args:
        passes: The step's.
        cotangents: What `passes.cotangents` gave. Parameters below the features that aren't shared
            get their gradient from these, as they are.
        kept: `[A, D]`, what is kept of each task's gradient at each feature.
        factor: What `passes.amplification` gave.
    """
    everyone = range(len(cotangents))
    left = [
        None if c is None else c * row.to(c).view(c.shape[1:])
        for c, row in zip(cotangents, kept, strict=True)
    ]

    nothing = kept.new_zeros(len(kept))
    with averaged(passes), private_unweighted(passes, nothing, lambda: cotangents, factor):
        passes.pull(everyone, left, factor)
