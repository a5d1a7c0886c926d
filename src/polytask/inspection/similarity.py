"""How alike the tasks' features are, stage by stage.

Shapes: N examples, D and E features.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.inspection.mixtures import MixtureKeeper
from polytask.model import Boundary, MultiTaskModel
from polytask.sharing import Trunk
from polytask.types import Batch, Features

HEAD = "heads' input"


def unbiased_hsic(one: Tensor, other: Tensor) -> Tensor:
    """The unbiased estimator of the Hilbert-Schmidt independence criterion (Song et al. 2012).

    Args:
        one: `[N, N]` inner products of the examples in one representation, N at least 4.
        other: The same in another.
    """
    count = len(one)
    one, other = (m - torch.diag(m.diagonal()) for m in (one, other))
    inner = (one * other).sum()
    sums = one.sum() * other.sum() / ((count - 1) * (count - 2))
    crossed = 2 * (one.sum(0) @ other.sum(0)) / (count - 2)
    return (inner + sums - crossed) / (count * (count - 3))


def cka(one: Tensor, other: Tensor) -> float | None:
    """Linear centred kernel alignment (Kornblith, Norouzi, Lee and Hinton 2019), debiased.

    1 where the representations are the same up to rotation, scale and shift; about 0 where they
    have nothing to do with each other, whatever D is (the plain estimator grows with D / N).

    Args:
        one: `[N, D]`.
        other: `[N, E]`, of the same examples.

    Returns:
        None with fewer than 4 examples, or where one of them is constant.

    Raises:
        ValueError: If they are no vectors of the same examples.
    """
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other):
        raise ValueError(
            "`cka` compares vectors [N, D] and [N, E] of the same N examples. Found "
            f"{tuple(one.shape)} and {tuple(other.shape)}. Pool maps and sequences first, such as "
            "by `Features(...).pooled()`."
        )
    if len(one) < 4:
        return None
    grams = [(f.double() - f.double().mean(0)) for f in (one, other)]
    left, right = (f @ f.T for f in grams)
    sizes = unbiased_hsic(left, left) * unbiased_hsic(right, right)
    if not bool(sizes > 1e-24):
        return None
    value = float(unbiased_hsic(left, right) / sizes.sqrt())
    return value if math.isfinite(value) else None


def path(trunk: Trunk, task: str) -> list[nn.Module]:
    """The modules that a task's own features enter after each stage but the last, in order.

    Read off how topologies name their parts: `attentions`, `columns`, `branches`, `leaves`, one
    `backbone`. Empty for experts, of which no single one is a task's own (see `MixtureKeeper`).
    """
    parts: Any = trunk
    if hasattr(trunk, "attentions"):
        return list(parts.attentions[task])[1:]
    if hasattr(trunk, "columns"):
        return list(parts.columns[task].stages)[1:]
    if hasattr(trunk, "branches"):
        return [*list(parts.common.stages)[1:], *parts.branches[task]]
    if hasattr(trunk, "backbone"):
        depth = getattr(trunk, "leaves", {}).get(task)
        return list(parts.backbone.stages)[1:depth]
    return []


@torch.no_grad()
def streams(model: MultiTaskModel, batch: Batch, tasks: Sequence[str]) -> dict[str, list[Tensor]]:
    """Each task's features after each stage, as vectors `[N, D]`; the last is its head's input.

    Args:
        model: In evaluation mode.
        batch: The examples; tasks whose input is not there are left out.
        tasks: The tasks, each of which passes through the network alone.
    """
    found: dict[str, list[Tensor]] = {}
    for task in tasks:
        if model.inputs[task] not in batch.inputs:
            continue
        modules = path(model.trunk, task)
        seen: dict[int, Tensor] = {}
        handles = [
            module.register_forward_pre_hook(_keeper(seen, depth))
            for depth, module in enumerate(modules)
        ]
        boundary = Boundary()
        try:
            with MixtureKeeper(model.trunk, task) as kept:
                model(batch.inputs, [task], boundary)
        finally:
            for handle in handles:
                handle.remove()
        last = Features(boundary.features[task], boundary.masks[task]).pooled()
        found[task] = [*(seen[depth] for depth in sorted(seen)), *kept.streams(), last]
    return found


def _keeper(seen: dict[int, Tensor], depth: int) -> Any:
    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        features = [some for some in given if isinstance(some, Features)]
        if depth not in seen and features:
            seen[depth] = features[-1].pooled()

    return keep


def similarities(
    found: Mapping[str, Sequence[Tensor]], rows: Mapping[str, Tensor], tasks: Sequence[str]
) -> dict[str, list[list[float | None]]]:
    """CKA of each two tasks, by stage.

    Args:
        found: What `streams` gave.
        rows: Per task the rows that it saw: features of different rows cannot be compared.
        tasks: The order of rows and columns.
    """
    depths = max((len(stream) for stream in found.values()), default=0)
    tables: dict[str, list[list[float | None]]] = {}

    def at(task: str, depth: int) -> Tensor | None:
        """A task's features after a stage; its head's input is at the end of its own list."""
        stream = found.get(task, ())
        if depth == depths - 1:
            return stream[-1] if stream else None
        return stream[depth] if depth < len(stream) - 1 else None

    def alike(one: str, other: str, depth: int) -> float | None:
        left, right = at(one, depth), at(other, depth)
        if left is None or right is None or not torch.equal(rows[one], rows[other]):
            return None
        return cka(left, right)

    for depth in range(depths):
        name = HEAD if depth == depths - 1 else f"after stage {depth + 1}"
        tables[name] = [[alike(one, other, depth) for other in tasks] for one in tasks]
    return tables
