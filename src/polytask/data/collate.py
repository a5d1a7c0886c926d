"""Putting the batches of several sources together.

Letters: B examples, L samples or units of text, K numbers of a unit.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError
from polytask.types import Batch, Blend, Features

SOURCE_SHIFT = 2**40


def collate(batches: Sequence[Batch]) -> Batch:
    """One batch of several, in their order.

    Inputs of the same name are concatenated, waves and texts padded to the longest. Every batch
    holds targets (placeholders, where it has no labels) for all tasks of its inputs, so that
    targets stay aligned with the rows of their input.

    Raises:
        DataError: If an input's values do not fit together, such as pictures of two sizes.
    """
    if len(batches) == 1:
        return batches[0]
    inputs = {
        name: join_features(name, [b.inputs[name] for b in batches if name in b.inputs])
        for name in _names([list(b.inputs) for b in batches])
    }
    tasks = _names([list(b.targets) for b in batches])
    return Batch(
        inputs,
        {t: torch.cat([b.targets[t] for b in batches if t in b.targets]) for t in tasks},
        {t: torch.cat([b.present[t] for b in batches if t in b.present]) for t in tasks},
        {
            name: torch.cat([b.rows[name] for b in batches if name in b.rows])
            for name in _names([list(b.rows) for b in batches])
        },
        {
            name: _join_blends([b.blends[name] for b in batches if name in b.blends])
            for name in _names([list(b.blends) for b in batches])
        },
    )


def join_features(name: str, parts: Sequence[Features]) -> Features:
    """The rows of several features, one after the other."""
    if len(parts) == 1:
        return parts[0]
    values = [p.values for p in parts]
    lengths = {tuple(v.shape[1:]) for v in values}
    if len(lengths) == 1 and all(p.mask is None for p in parts):
        return Features(torch.cat(values))
    if any(
        v.ndim not in (2, 3) or v.ndim != values[0].ndim or v.dtype != values[0].dtype
        for v in values
    ) or any(v.is_floating_point() for v in values):
        raise DataError(
            f"Input '{name}' has values of different shapes: "
            + ", ".join(str(list(v.shape[1:])) for v in values)
            + ". All sources of an input should give the same."
        )
    longest = [max(sizes) for sizes in zip(*(v.shape[1:] for v in values), strict=True)]
    masks = [
        torch.ones(p.values.shape[:2], dtype=torch.bool) if p.mask is None else p.mask
        for p in parts
    ]
    mask = torch.cat([_padded(m, longest[:1]) for m in masks])
    padded = torch.cat([_padded(v, longest) for v in values])
    return Features(padded, None if bool(mask.all()) else mask)


def _join_blends(parts: Sequence[Blend]) -> Blend:
    return Blend(
        {task: torch.cat([p.targets[task] for p in parts]) for task in parts[0].targets},
        {task: torch.cat([p.present[task] for p in parts]) for task in parts[0].present},
        torch.cat([p.share for p in parts]),
    )


def take(batch: Batch, rows: slice) -> Batch:
    """Some rows of every input of one source's batch."""
    return Batch(
        {
            k: Features(v.values[rows], None if v.mask is None else v.mask[rows])
            for k, v in batch.inputs.items()
        },
        {k: v[rows] for k, v in batch.targets.items()},
        {k: v[rows] for k, v in batch.present.items()},
        {k: v[rows] for k, v in batch.rows.items()},
        {k: v.map(lambda values: values[rows]) for k, v in batch.blends.items()},
    )


def _padded(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Filled up with zeros at the end of every axis but the first."""
    missing = [size - had for size, had in zip(sizes, values.shape[1:], strict=True)]
    return F.pad(values, [n for size in reversed(missing) for n in (0, size)])


def _names(lists: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))
