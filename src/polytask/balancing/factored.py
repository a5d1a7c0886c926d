"""Whether gradients at shared features stay factors of linear heads or become rows, and their pass.

A active tasks of one place, B examples, D features, K_t outputs of task t's head.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from polytask.balancing.at_once import of_one_tensor
from polytask.balancing.graph import leaves
from polytask.balancing.heads import Linear, heads_on_one, linear_head, plain_heads
from polytask.balancing.passes import BLOCK, Passes
from polytask.balancing.places import Factored, Place, Rows
from polytask.balancing.stacked import stopped

# What an entry of the rows costs, in multiplications of factors: it is written, stacked, read
# twice and given back, and a product of rows, of which both halves are computed, takes three times
# as long. From steps with 2 to 100 tasks and 2 to 400 outputs each, on one thread.
TRAFFIC, LONG = 50, 3
# From how many entries of features on, of all tasks and of each, a sum of factors is quicker than
# one of gradients. From steps with 4 to 139 tasks, 64 to 1,024 examples and 64 to 512 features.
WORTH, EACH = 1 << 21, 1 << 15
# The same for plain heads with no more outputs than examples: from how many of them on. With 4 a
# step of a millisecond takes 0.07 longer, with 12 one of four takes 0.3 less.
SEVERAL = 8


def gradients_at_features(passes: Passes, heads: bool) -> list[Place]:
    """The gradients of the losses at their features, from one pass through all heads.

    Aliases of one tensor are one place. Where every task has a linear head of its own right above
    its features, and that costs less, they are kept factored.

    Args:
        passes: The step's.
        heads: Whether what lies above the features receives its gradient in the same pass.
    """
    assert passes.features is not None
    if heads and (plain := _plain(passes)) and _pays(passes, plain):
        return _caught(passes, plain, learn=_accumulate)
    entered: dict[Node, list[Node]] = {}
    above = passes.above(entered) if heads else []
    linear = _linear(passes, entered) if heads else {}
    if linear and _pays(passes, linear):
        return _caught(passes, linear, above)
    cotangents = passes.cotangents(above)
    found = {i: c for i, c in enumerate(cotangents) if c is not None}
    return [
        Rows(members, [found[i] for i in members])
        for members in of_one_tensor(passes.features, found)
    ]


def linear_heads(passes: Passes) -> list[Place] | None:
    """The same where only a weighted sum is wanted: factors, or nothing where they would not pay.

    One product of all factors takes the place of a small one per task, whose results are added up
    one by one. None too if a loss reaches shared parameters by another way than its features.
    """
    if (plain := _plain(passes)) and _quicker(passes, plain):
        return _caught(passes, plain, learn=torch.autograd.backward)
    features = passes.features or []
    sizes = {i: f.numel() for i, f in enumerate(features) if f is not None}
    if not sizes or sum(sizes.values()) < WORTH or min(sizes.values()) < EACH:
        return None
    edges = frozenset(f.grad_fn for f in features if f is not None)
    first = next(iter(sizes))
    entered: dict[Node, list[Node]] = {}
    leaves(passes.losses.nodes(passes.tasks[first : first + 1]), stop=edges, entered=entered)
    feature = features[first]
    if feature is None or linear_head(feature, entered, {}) is None:
        return None  # Most heads are something else, which one of them tells.
    entered.clear()
    above = passes.reached_above(entered)
    linear = _linear(passes, entered)
    if not linear or not set(above).isdisjoint(passes.shared.everyone):
        return None
    return _caught(passes, linear, above)


def _quicker(passes: Passes, plain: dict[int, Linear]) -> bool:
    """Whether products of all heads' factors are quicker than a pass through each head."""
    if len(plain) < SEVERAL or passes.call is not Tensor.backward:
        return False
    outputs = sum(len(head.weight) for head in plain.values())
    return outputs <= sum(len(head.learned.features) for head in plain.values() if head.learned)


def weighted_at_one_tensor(passes: Passes, weights: Tensor) -> bool:
    """Where all heads are plain and read one tensor: all gradients, from a pass that parts there.

    False, with nothing done, where this is not so, where parameters below aren't shared, or where
    it would not be quicker.

    Args:
        passes: The step's, without features.
        weights: `[A]`.
    """
    if passes.features is not None or len(passes.tasks) < SEVERAL:
        return False
    one = heads_on_one(passes.losses.nodes(passes.tasks), passes.shared.everyone)
    if one is None:
        return False
    edge, heads = one
    below = leaves([edge.node])
    if not below or not set(below) <= set(passes.shared.everyone) or not _quicker(passes, heads):
        return False
    arrived = _arrived(passes, heads)
    if len(arrived) < len(heads):
        return False
    members = [*heads]
    place = Factored(members, [arrived[i] for i in members], [heads[i].weight for i in members])
    own, gradients = place.taught([head.learned for head in heads.values()])
    # One call: copies of a model on other processes wait for all that arrives in one.
    roots: list[Any] = [edge, *own]
    torch.autograd.backward(roots, [place.combined(weights), *gradients])
    return True


def cotangents(passes: Passes, places: Sequence[Place]) -> list[Tensor | None]:
    """The gradient of each loss at its features; None if it has none."""
    found: list[Tensor | None] = [None] * len(passes.tasks)
    for place in places:
        for i, gradient in zip(place.members, place.each(), strict=True):
            found[i] = gradient
    return found


def _linear(passes: Passes, entered: dict[Node, list[Node]]) -> dict[int, Linear]:
    """The linear head of each entry that has features; empty unless all of them have one."""
    assert passes.features is not None
    found: dict[int, Linear] = {}
    stacked: dict[Node, dict[object, tuple[int, Tensor]] | None] = {}
    nodes = passes.losses.nodes(passes.tasks)
    for i, (feature, node) in enumerate(zip(passes.features, nodes, strict=True)):
        if feature is None or node is None or not feature.requires_grad:
            continue
        head = linear_head(feature, entered, stacked)
        if head is None:
            return {}
        found[i] = head
    return found


def _pays(passes: Passes, linear: dict[int, Linear]) -> bool:
    """Whether products of factors cost less than rows and their products."""
    assert passes.features is not None
    factors = rows = 0
    for members in of_one_tensor(passes.features, linear):
        feature = passes.features[members[0]]
        assert feature is not None
        examples, width = feature.shape
        outputs = sum(len(linear[i].weight) for i in members)
        if max(examples, width) > BLOCK:  # Longer sums are not right in float32.
            return False
        factors += outputs**2 * (examples + width)
        count = len(members)
        rows += count * (LONG * count + TRAFFIC) * examples * width
    return factors <= rows


def _plain(passes: Passes) -> dict[int, Linear] | None:
    """The heads of `plain_heads`."""
    if passes.features is None:
        return None
    roots = passes.losses.nodes(passes.tasks)
    return plain_heads(roots, passes.features, passes.shared.everyone)


def _caught(
    passes: Passes,
    linear: dict[int, Linear],
    above: Sequence[Tensor] = (),
    learn: Callable[[list[Tensor], list[Tensor]], None] | None = None,
) -> list[Place]:
    """One pass through all heads that does not go on to the features.

    Args:
        passes: The step's.
        linear: The heads.
        above: What receives its gradient on the way. For plain heads none: the pass ends at their
            outputs, and what they learn is one product.
        learn: What then brings the product's gradients to the heads' parameters.
    """
    assert passes.features is not None
    arrived = _arrived(passes, linear, above)
    passes.on_the_way(set(arrived))
    places = [
        Factored(members, [arrived[i] for i in members], [linear[i].weight for i in members])
        for members in of_one_tensor(passes.features, linear)
    ]
    if learn is not None:
        for place in places:
            learn(*place.taught([linear[i].learned for i in place.members]))
    return [*places]


def _accumulate(parameters: list[Tensor], gradients: list[Tensor]) -> None:
    """What the engine does with leaves that nobody watches, of which a start takes 0.3 ms.

    Copies of a model that other processes await by the engine have no use for it: they have to
    say `reduce` to balancers that see gradients, and are averaged afterwards.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        there = parameter.grad
        parameter.grad = gradient if there is None else there.add_(gradient)


def _arrived(
    passes: Passes, linear: dict[int, Linear], above: Sequence[Tensor] = ()
) -> dict[int, Tensor]:
    """What arrives at the heads' outputs `[B, K_t]`, by task, on the way to what is above."""
    ends: list[Any] = [*above] or [GradientEdge(head.node, 0) for head in linear.values()]
    everyone = len(passes.tasks) == len(passes.losses.values)
    if above or not everyone or passes.call is not Tensor.backward:
        return _hooked(passes, linear, ends)
    # The same without hooks, of which each takes 20 us of a step.
    found = torch.autograd.grad(
        passes.losses.whole, ends, passes.ones(), retain_graph=True, allow_unused=True
    )
    return {i: g for i, g in zip(linear, found, strict=True) if g is not None}


def _hooked(passes: Passes, linear: dict[int, Linear], ends: Sequence[Any]) -> dict[int, Tensor]:
    """What arrives at the heads' outputs, in a pass that ends at `ends`."""
    arrived: dict[int, Tensor] = {}

    def catch(i: int) -> Callable[[tuple[Tensor | None, ...]], None]:
        def hook(gradients: tuple[Tensor | None, ...]) -> None:
            if gradients[0] is not None:
                arrived[i] = linear[i].own(gradients[0])

        return hook

    with ExitStack() as stack:
        for node in {head.node for head in linear.values() if head.place is not None}:
            stack.enter_context(stopped(node))
        handles = [head.node.register_prehook(catch(i)) for i, head in linear.items()]
        try:
            passes.losses.differentiate(
                passes.tasks, passes.ones(), passes.call, inputs=ends, retain_graph=True
            )
        finally:
            for handle in handles:
                handle.remove()
    return arrived
