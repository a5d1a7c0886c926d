"""The passes of several tasks below features that they share, made as one.

A active tasks, K of them at once, P shared parameters (entries).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.balancing.graph import Shared
from polytask.errors import TrainingError


def source(feature: Tensor) -> object:
    """What an alias or a copy of a tensor was made of."""
    node = feature.grad_fn
    if node is None:
        return feature
    same = ("ViewBackward0", "AliasBackward0", "CloneBackward0", "ReshapeAliasBackward0")
    return (
        node.next_functions[0] if node.name() in same else (node, feature.output_nr),
        feature.shape,
    )


def of_one_tensor(features: Sequence[Tensor | None], which: Iterable[int]) -> list[list[int]]:
    """The entries whose features alias one tensor, for each such tensor."""
    found: dict[object, list[int]] = {}
    for i in which:
        feature = features[i]
        assert feature is not None
        found.setdefault(source(feature), []).append(i)
    return list(found.values())


def together(
    feature: Tensor,
    cotangents: Sequence[Tensor],
    shared: Shared,
    rows: Tensor,
    members: Sequence[int],
    retain_graph: bool,
) -> None:
    """Put the gradients of K tasks in their rows, by `torch.vmap` of one pass.

    Args:
        feature: The features, or an alias of them.
        cotangents: K gradients of losses at the features.
        shared: The shared parameters.
        rows: `[A, P]`. Entries of parameters that no pass reaches stay as they are.
        members: The K rows that are theirs.
        retain_graph: Whether another pass will go through the graph.

    Raises:
        TrainingError: If an operation of the network can't be made for several tasks at once.
    """
    below = _below(feature)
    reached = [p for p in shared.parameters if p in below]
    if not reached:
        return

    def gradients(cotangent: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            feature, reached, cotangent, retain_graph=retain_graph, materialize_grads=True
        )

    try:
        found = iter(torch.vmap(gradients)(torch.stack(list(cotangents))))
    except RuntimeError as error:
        raise TrainingError(
            f"The passes of {len(members)} tasks through the network could not be made as one: "
            f"{error}. Leave `at_once` at 1, or use a smaller one if memory is what lacks."
        ) from error
    finally:
        feature.grad = None  # Once asked for, it is kept in every pass, here as vmap's own kind.
    index, first = torch.tensor(members, device=rows.device), 0
    for n, p in enumerate(shared.parameters):
        if p in below:
            several = next(found)  # [K, *p.shape]
            if p.is_contiguous():
                block = rows[:, first : first + p.numel()]
                block.index_copy_(0, index, several.flatten(1))
            else:
                for i, gradient in zip(members, several, strict=True):
                    shared.views(rows[i])[n].copy_(gradient)
        first += p.numel()


def _below(feature: Tensor) -> set[Tensor]:
    """The leaves of the graph below.

    Raises:
        TrainingError: If there are functions of Python's, which may hide others from the graph, as
            `checkpoint` with `use_reentrant=True` does.
    """
    found: set[Tensor] = set()
    seen: set[Any] = {None}
    todo: list[Any] = [feature.grad_fn]
    written = torch.autograd.function.BackwardCFunction
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if issubclass(type(node), written):
            raise TrainingError(
                f"The network goes through {node.name()}, a function of Python's, whose pass can't "
                "be made for several tasks at once. Leave `at_once` at 1."
            )
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(leaf)
        else:
            todo += [n for n, _ in node.next_functions]
    return found
