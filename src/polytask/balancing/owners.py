"""Whose parameters are whose: what one task alone moves, told by a walk over the graphs.

A active tasks.
"""

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from polytask.balancing.graph import leaves
from polytask.balancing.passes import Passes

LEAST = 1e-3  # Of the largest weight: a gradient weighted by less is not divided by it again.


def owners_of(passes: Passes, weights: list[float]) -> tuple[list[Tensor], list[float]] | None:
    """Each parameter that isn't shared, and the weight of the task that it belongs to.

    None where a weighted gradient does not give the unweighted one by a division: parameters of
    several tasks that are not declared shared, weights that are zero or nearly, parts of a head
    that the graph hides (`checkpoint` with `use_reentrant=True`).
    """
    if min(weights) <= LEAST * max(weights):
        return None
    nodes = passes.losses.nodes(passes.tasks)
    features = passes.features or [None] * len(nodes)
    mine = {id(p) for p in passes.shared.everyone}
    mine.update(id(f) for f in features if f is not None)
    edges = {f.grad_fn for f in features if f is not None}
    visitor: dict[Node, int] = {}  # The task whose loss comes by first.
    together: set[Node] = set()  # Where several tasks' graphs have become one.
    found: list[Tensor] = []
    factors: list[float] = []
    arrived: set[int] = set()
    reached = False  # Whether a shared parameter is.
    for i, (root, weight) in enumerate(zip(nodes, weights, strict=True)):
        feature = features[i]
        edge = None if feature is None else feature.grad_fn
        todo: list[Node] = [] if root is None else [root]
        while todo:
            node = todo.pop()
            if node in edges:
                if node is edge:
                    arrived.add(i)
                together.add(node)
                continue
            if (first := visitor.setdefault(node, -1)) >= 0:
                if first != i:
                    together.add(node)
                continue
            visitor[node] = i
            if (leaf := getattr(node, "variable", None)) is None:
                if isinstance(node, BackwardCFunction) and "CheckpointFunction" in node.name():
                    return None
                todo += [n for n, _ in node.next_functions if n is not None]
            elif id(leaf) not in mine:
                found.append(leaf)
                factors.append(weight)
            else:
                reached = True
                if leaf is feature:
                    arrived.add(i)
    below = leaves(together)
    if any(id(p) not in mine for p in below):
        return None
    if passes.features is not None:
        passes.on_the_way(arrived)
    elif not reached and not below:
        return None  # For the slower way to say that nothing shared is reached.
    return found, factors
