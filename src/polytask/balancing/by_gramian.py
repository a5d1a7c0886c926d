"""Weights from inner products of task gradients: the way of balancers that see the Gramian.

A active tasks, P shared parameters (entries).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polytask.balancing.base import GramianBalancer, SolverError, UsesIndependentBatches
from polytask.balancing.factored import gradients_at_features
from polytask.balancing.graph import Losses, Shared
from polytask.balancing.needs import (
    active_tasks,
    need_features,
    need_reached,
    need_shared,
    raise_unless_scaled,
    reached_leaves,
)
from polytask.balancing.outer import Gradients, gradients_at_parameters
from polytask.balancing.passes import Passes, gramian
from polytask.balancing.places import Place
from polytask.balancing.weighing import features_weighted, others_weighted, weighted


def probes_of(
    balancer: GramianBalancer,
    passes: Passes,
    measured: Iterable[Tensor] | None,
    estimate: Tensor | Sequence[Tensor] | None,
    groups: int,
) -> list[Passes]:
    """The passes that make the Gramian, where they aren't those that make the gradients."""
    if groups < 1:
        raise ValueError(f"`groups` should be at least 1. Found {groups}.")
    if balancer.at == "features" or isinstance(balancer, UsesIndependentBatches):
        raise ValueError(
            "`measured`, `estimate` and `groups` need at='parameters' and a single batch."
        )
    losses = passes.losses if estimate is None else Losses(estimate)
    active_tasks(losses, balancer.num_tasks, None)
    shared = passes.shared if measured is None else Shared(measured)
    if not set(shared.parameters) <= set(passes.shared.parameters):
        raise ValueError("`measured` should be parameters among `shared`.")
    features = passes.features if estimate is None else None
    return [
        replace(passes, losses=losses, shared=group, features=features)
        for group in shared.divided(groups)
    ]


def by_probes(
    balancer: GramianBalancer, values: Tensor, passes: Passes, probes: list[Passes]
) -> Tensor:
    """Weights `[A]` from a Gramian measured apart, applied by one more backward."""
    need_shared(balancer, probes[0])
    factor = balancer.amplification = passes.amplification()
    first = probes[0]
    starts = None if first.features is None else first.cotangents()
    count = len(passes.tasks)
    products = torch.zeros(count, count, dtype=torch.float64)
    for probe in probes:
        found = gradients_at_parameters(balancer, probe, starts, factor, heads=False, measured=True)
        products += found.products()
    weights = _choose(balancer, products, values, passes, factor)
    weighted(passes, weights, balancer.weight_heads)
    return weights


def by_rows(
    balancer: GramianBalancer,
    values: Tensor,
    passes: Passes,
    second: Passes | None,
) -> Tensor:
    """Weights `[A]` from inner products of gradients, and all gradients put in place."""
    need_shared(balancer, passes)
    at_features = balancer.at == "features"
    if at_features:
        need_features(passes)
    factor = balancer.amplification = passes.amplification()
    heads = not balancer.weight_heads
    # What parameters reach is asked before passes may free the graph; features leave it as it is.
    reached = None if at_features else reached_leaves(passes)
    found: Gradients | None = None
    places: list[Place] = []
    if at_features:
        places = gradients_at_features(passes, heads)
        products = _products(passes, places)
    else:
        above = passes.above() if heads and passes.features is not None else []
        cotangents = None if passes.features is None else passes.cotangents(above)
        if second is None:
            found = gradients_at_parameters(balancer, passes, cotangents, factor, heads)
            products = found.products()
        else:
            rows = passes.jacobian(cotangents, factor, heads)
            others = second.jacobian(None, factor, heads=False)
            products = gramian(rows, others)
            found = Gradients(passes.shared, (rows + others) / 2)
    if float(products.trace()) == 0.0:
        need_reached(passes, reached_leaves(passes) if at_features else reached)
    weights = _choose(balancer, products, values, passes, factor)
    if found is None:
        features_weighted(passes, places, weights, factor, heads)
    else:
        found.add(weights, reached)
    if not heads:
        others_weighted(passes, weights)
    return weights


def _products(passes: Passes, places: list[Place]) -> Tensor:
    """The Gramian `[A, A]` of gradients at features.

    Tasks whose features are different tensors, such as those with their own batches, have product
    zero. Processes hold different examples, so their Gramians are averaged.
    """
    count = len(passes.tasks)
    if len(places) == 1 and len(places[0].members) == count:
        total = places[0].products()
    else:
        total = torch.zeros(count, count, dtype=torch.float64)
        for place in places:
            index = torch.tensor(place.members)
            total[index[:, None], index] = place.products()
    return passes.reduce(total.to(passes.losses.values.device)).cpu()


def _choose(
    balancer: GramianBalancer, products: Tensor, values: Tensor, passes: Passes, factor: float
) -> Tensor:
    """The balancer's weights `[A]` for a Gramian `[A, A]` in float64 on the CPU.

    Args:
        balancer: Whose weights.
        products: The Gramian, of gradients that carry `factor`.
        values: The losses `[A]`.
        passes: The step's.
        factor: What `amplification` gave.
    """
    if factor != 1.0:
        products = products / factor**2
    # A gradient that isn't finite makes its own entry of the diagonal so.
    if not math.isfinite(float(products.trace())):
        raise_unless_scaled(products, passes, factor)
        return torch.ones_like(values)
    try:
        weights = balancer.scaled(balancer(products, values.to("cpu", torch.float64)))
    except SolverError:
        balancer.failures += 1
        raise
    balancer.remember(weights)
    chosen = weights.detach().numpy()
    if chosen @ products.numpy() @ chosen == 0.0:
        balancer.zero_updates += 1
    return weights.to(values)
