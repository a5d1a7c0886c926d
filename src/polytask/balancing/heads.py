"""Linear heads right above shared features, found in the graph, and their own gradients.

B examples, D features, K outputs of a head.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from polytask.balancing.stacked import heads_at

FACTOR = {"AddmmBackward0": 1, "MmBackward0": 0}  # Which input of a product is the left factor.
LEAF = "torch::autograd::AccumulateGrad"
PLAIN: set[type] = {Tensor, torch.nn.Parameter}  # Subclasses may multiply in ways of their own.


@dataclass
class Learned:
    """What a linear head of its own learns, where that is nothing but leaves of the graph.

    Attributes:
        features: As the head read them, `[B, D]`.
        weight: The parameter `[K, D]`.
        bias: The parameter `[K]`; None if there is none that learns.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None


@dataclass
class Linear:
    """A product in the graph whose left factor is a task's features, and nothing else's is.

    Attributes:
        node: Where the gradient of its outputs arrives.
        weight: `[K, D]`.
        place: Which of `StackedHeads` it is; None for a head of its own.
        learned: What it learns, if that needs no pass beyond its outputs.
    """

    node: Node
    weight: Tensor
    place: int | None = None
    learned: Learned | None = None

    def own(self, gradient: Tensor) -> Tensor:
        """What arrives at this head's outputs, `[B, K]`."""
        return gradient if self.place is None else gradient[:, self.place]


def linear_head(
    feature: Tensor,
    entered: dict[Node, list[Node]],
    stacked: dict[Node, dict[object, tuple[int, Tensor]] | None],
) -> Linear | None:
    """The linear head that reads these features, if nothing else reads them.

    Args:
        feature: A task's alias of the features.
        entered: What `leaves` told of the graph above.
        stacked: What `heads_at` told of the nodes that were met before; filled.
    """
    below = feature.grad_fn
    if below is None or not _usual(feature):
        return None
    above = entered.get(below, [])
    if len(above) != 1:
        return None
    node = above[0]
    if node not in stacked:
        stacked[node] = heads_at(node)
    if (heads := stacked[node]) is not None:
        one = heads.get((below, feature.output_nr))
        return None if one is None else Linear(node, one[1], one[0])
    if (slot := FACTOR.get(node.name())) is None:
        return None
    if node.next_functions[slot] != (below, feature.output_nr):
        return None
    if all(n is None for j, (n, _) in enumerate(node.next_functions) if j != slot):
        return None  # Nothing here learns, so no pass comes by.
    saved: Any = node
    weight: Tensor = saved._saved_mat2
    plain = type(weight) in PLAIN and weight.layout == torch.strided
    if not plain or not weight.is_floating_point():
        return None
    scale = getattr(node, "_saved_alpha", 1)
    weight = weight.detach().T
    return Linear(node, weight if scale == 1 else weight * scale)


def plain_heads(
    roots: Sequence[Node | None], features: Sequence[Tensor | None], shared: Iterable[Tensor]
) -> dict[int, Linear] | None:
    """The linear heads above the features, each with what it learns, if nothing else learns there.

    None otherwise, and wherever it takes more than a look at the graph to know.

    Args:
        roots: Where the graphs of the losses begin.
        features: Per loss its alias of the features.
        shared: What is no head's.

    Raises:
        RuntimeError: As a pass would, if what a head read has been changed in place since.
    """
    edges: dict[object, int] = {}
    below: set[Node | None] = {None}
    for i, feature in enumerate(features):
        if feature is None or feature.grad_fn is None or not _usual(feature):
            return None
        edges[feature.grad_fn, feature.output_nr] = i
        below.add(feature.grad_fn)
    no_heads = {id(p) for p in shared}
    found: dict[int, Linear] = {}
    seen: set[Node | None] = set()
    todo = [*roots]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node is None or node in below or (name := node.name()) == LEAF:
            return None  # Something else reads the features or learns.
        onward = node.next_functions
        slot = FACTOR.get(name)
        task = None if slot is None else edges.get(onward[slot])
        if task is None:
            todo += [n for n, _ in onward if n is not None]
            continue
        head = None if task in found else _plain_head(node, onward, slot, no_heads)
        if head is None:
            return None
        found[task] = head
    if len(found) < len(features) or len({head.weight.dtype for head in found.values()}) > 1:
        return None
    return dict(sorted(found.items()))


def heads_on_one(
    roots: Sequence[Node | None], shared: Iterable[Tensor]
) -> tuple[GradientEdge, dict[int, Linear]] | None:
    """Such heads where no features are given: all read one tensor, and each loss its own head.

    None otherwise.

    Args:
        roots: As in `plain_heads`.
        shared: Likewise.

    Returns:
        Where the tensor is made, and the head of each loss.

    Raises:
        RuntimeError: Likewise.
    """
    no_heads = {id(p) for p in shared}
    found: dict[int, Linear] = {}
    edges: set[Any] = set()
    seen: dict[Node, int] = {}
    for task, root in enumerate(roots):
        todo = [root]
        while todo:
            node = todo.pop()
            if node is None or (name := node.name()) == LEAF or seen.get(node, task) != task:
                return None  # Something else learns, or losses meet above the heads.
            if node in seen:
                continue
            seen[node] = task
            onward = node.next_functions
            slot = FACTOR.get(name)
            head = None if slot is None else _plain_head(node, onward, slot, no_heads)
            if slot is None or head is None:
                todo += [n for n, _ in onward if n is not None]
                continue
            edges.add(onward[slot])
            if task in found or len(edges) > 1:
                return None
            found[task] = head
    if len(found) < len(roots) or len({head.weight.dtype for head in found.values()}) > 1:
        return None
    node, number = edges.pop()
    return None if node is None else (GradientEdge(node, number), found)


def _plain_head(node: Any, onward: Any, slot: int | None, no_heads: set[int]) -> Linear | None:
    """The head whose product `node` is, with what it learns; None if that is not plain to see."""
    turned = onward[-1][0]
    if turned is None or turned.name() != "TBackward0":
        return None
    weight = _leaf(turned.next_functions[0][0], no_heads)
    if weight is None or weight.ndim != 2 or weight.dtype not in (torch.float32, torch.float64):
        return None
    bias = None
    if slot:
        if node._saved_alpha != 1 or node._saved_beta != 1:
            return None
        if (added := onward[0][0]) is not None:
            bias = _leaf(added, no_heads)
            if bias is None or bias.shape != weight.shape[:1]:
                return None
    read: Tensor = node._saved_mat1 if slot else node._saved_self
    right: Tensor = node._saved_mat2
    if not {type(read), type(right)} <= PLAIN or right.data_ptr() != weight.data_ptr():
        return None
    return Linear(node, weight, None, Learned(read, weight, bias))


def _usual(feature: Tensor) -> bool:
    return not feature._backward_hooks and feature.layout == torch.strided


def _leaf(node: Any, no_heads: set[int]) -> Tensor | None:
    """The parameter of a head that `node` accumulates into, unless somebody watches it."""
    if node is None or node.name() != LEAF or id(node.variable) in no_heads:
        return None
    found: Tensor = node.variable
    return None if found._backward_hooks or found._post_accumulate_grad_hooks else found
