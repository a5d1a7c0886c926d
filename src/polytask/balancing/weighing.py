"""Weights brought to gradients: the shared parameters' weighted, all others' their own.

A active tasks, P shared parameters (entries), D features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from polytask.balancing.factored import cotangents, linear_heads, weighted_at_one_tensor
from polytask.balancing.graph import leaves
from polytask.balancing.hooks import divided, dividing, scaling
from polytask.balancing.needs import need_reached
from polytask.balancing.owners import owners_of
from polytask.balancing.passes import Passes, identity
from polytask.balancing.places import Place


def weighted(passes: Passes, weights: Tensor, weight_heads: bool) -> None:
    """Shared parameters get the weighted sum; all others too, or their own gradients.

    One backward; with unweighted heads and no features a second one through the heads, unless each
    of their parameters serves one task alone.
    """
    plain = weights.tolist()
    with averaged(passes):
        if weight_heads or not passes.shared.declared or all(w == 1 for w in plain):
            passes.losses.differentiate(passes.tasks, weights, passes.call)
        elif not passes.shared:  # All frozen.
            passes.losses.differentiate(passes.tasks, passes.ones(), passes.call)
        elif (places := linear_heads(passes)) is not None:
            _pulled(passes, places, weights, passes.amplification())
        elif not weighted_at_one_tensor(passes, weights):
            _through_heads(passes, weights, plain)


def _through_heads(passes: Passes, weights: Tensor, plain: list[float]) -> None:
    """Passes that go through the heads, of which all have their own gradients."""
    if (owners := owners_of(passes, plain)) is not None:
        with divided(*owners):
            passes.losses.differentiate(passes.tasks, weights, passes.call)
    elif passes.features is not None:
        with private_unweighted(passes, weights), scaling(passes.features, weights) as arrived:
            passes.losses.differentiate(passes.tasks, passes.ones(), passes.call)
        passes.on_the_way(arrived)
    else:
        _twice(passes, weights)


def _twice(passes: Passes, weights: Tensor) -> None:
    """One pass for all that isn't shared, and one with weights for what is."""
    shared = passes.shared.everyone
    mine = set(shared)
    reached = leaves(passes.losses.nodes(passes.tasks))
    need_reached(passes, reached)
    others = [p for p in reached if p not in mine]
    if others:
        passes.losses.differentiate(
            passes.tasks, passes.ones(), passes.call, inputs=others, retain_graph=True
        )
    passes.losses.differentiate(passes.tasks, weights, passes.call, inputs=shared)


@contextmanager
def averaged(passes: Passes) -> Iterator[None]:
    """Within this context shared parameters receive gradients, then averaged over processes."""
    if passes.reduce is identity or not passes.shared.parameters:
        yield
        return
    update = passes.shared.zeros()
    with passes.shared.collecting() as point:
        point(update)
        yield
    passes.shared.add(passes.reduce(update), reached=None)


def features_weighted(
    passes: Passes, places: Sequence[Place], weights: Tensor, factor: float, heads: bool
) -> None:
    """One trunk backward with the weighted cotangents, summed over aliases first.

    Args:
        passes: The step's.
        places: What `gradients_at_features` gave.
        weights: `[A]`.
        factor: What `amplification` gave.
        heads: Whether parameters below the features that aren't shared get their gradient.
    """
    with averaged(passes):
        if heads:
            _pulled(passes, places, weights, factor)
        else:
            only = passes.shared.everyone
            passes.pull(*_scaled(places, weights), factor, inputs=only, retain_graph=True)


def _pulled(passes: Passes, places: Sequence[Place], weights: Tensor, factor: float) -> None:
    """The trunk backward, in which what isn't shared gets its own gradient."""
    with private_unweighted(passes, weights, lambda: cotangents(passes, places), factor):
        passes.pull(*_scaled(places, weights), factor)


def _scaled(places: Sequence[Place], weights: Tensor) -> tuple[list[int], list[Tensor]]:
    """One alias of each place, and the weighted cotangent that goes on from there."""
    if len(places) == 1 and len(places[0].members) == len(weights):
        return places[0].members[:1], [places[0].combined(weights)]
    everyone = [place.members[0] for place in places]
    return everyone, [place.combined(weights[place.members]) for place in places]


def others_weighted(passes: Passes, weights: Tensor) -> None:
    """Everything that isn't shared gets the weighted sum."""
    mine = set(passes.shared.everyone)
    others = [p for p in leaves(passes.losses.nodes(passes.tasks)) if p not in mine]
    if others:
        passes.losses.differentiate(passes.tasks, weights, passes.call, inputs=others)


@contextmanager
def private_unweighted(
    passes: Passes,
    weights: Tensor,
    given: Callable[[], Sequence[Tensor | None]] | None = None,
    factor: float = 1.0,
) -> Iterator[None]:
    """Within this context weighted features give unweighted gradients below the shared part.

    A parameter that lies below the features and isn't shared (an encoder of one task's own)
    gets its gradient multiplied by the task's weight, and here divided by it again. Where
    that can't be done (weight 0; several tasks; also used above) it takes one more pass, from the
    features where `given` makes the gradients there.
    """
    assert passes.features is not None
    mine = {id(p) for p in passes.shared.everyone}
    nodes = [None if f is None else f.grad_fn for f in passes.features]
    below = [p for p in leaves(nodes) if id(p) not in mine]
    if not below:
        yield
        return
    factors: dict[Tensor, set[float]] = {p: set() for p in below}
    for node, weight in zip(nodes, weights.tolist(), strict=True):
        for p in leaves([node]):
            if id(p) not in mine:
                factors[p].add(weight)
    also_above = set(passes.above())
    awkward = {p for p, f in factors.items() if len(f) != 1 or 0.0 in f or p in also_above}
    if awkward:
        first = {"inputs": list(awkward), "retain_graph": True}
        if given is None:
            passes.losses.differentiate(passes.tasks, passes.ones(), passes.call, **first)
        else:
            passes.pull(range(len(passes.tasks)), given(), factor, **first)
    handles = [
        p.register_hook(torch.zeros_like if p in awkward else dividing(next(iter(f))))
        for p, f in factors.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
