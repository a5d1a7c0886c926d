"""The update from task gradients themselves: the way of balancers that see them whole.

A active tasks, K of them in a turn, P shared parameters (entries).
"""

from dataclasses import replace

import torch
from torch import Tensor

from polytask.balancing.base import DropsFeatures, GradientBalancer, TakesTurns
from polytask.balancing.dropping import dropped, pushes
from polytask.balancing.graph import leaves
from polytask.balancing.needs import (
    need_features,
    need_reached,
    need_shared,
    raise_unless_scaled,
    reached_leaves,
)
from polytask.balancing.passes import Passes
from polytask.balancing.weighing import others_weighted


def by_gradients(balancer: GradientBalancer, values: Tensor, passes: Passes) -> None:
    """The update from the gradients themselves."""
    need_shared(balancer, passes)
    factor = balancer.amplification = passes.amplification()
    if isinstance(balancer, DropsFeatures) and balancer.at == "features":
        _by_features(balancer, values, passes, factor)
        return
    cotangents = None if passes.features is None else passes.cotangents(passes.above())
    reached = reached_leaves(passes)
    if isinstance(balancer, TakesTurns):
        rows = _rows_in_turn(balancer, passes, cotangents, factor)
    else:
        rows = passes.jacobian(cotangents, factor, heads=True)
    if not bool(rows.any()):
        need_reached(passes, reached)
    if not bool(rows.isfinite().all()):
        raise_unless_scaled(rows, passes, factor)
        update = rows.sum(0)
    else:
        update = balancer(rows / factor if factor != 1.0 else rows, values) * factor
        balancer.zero_updates += int(not bool(update.any()))
    passes.shared.add(update, reached)


def _by_features(balancer: GradientBalancer, values: Tensor, passes: Passes, factor: float) -> None:
    """The gradients of the features, without what the balancer drops, and one trunk backward."""
    assert isinstance(balancer, DropsFeatures)
    need_features(passes)
    cotangents = passes.cotangents(passes.above())
    signed = pushes(passes, cotangents)
    if not bool(signed.isfinite().all()):
        raise_unless_scaled(signed, passes, factor)
        kept = torch.ones_like(signed)
    else:
        kept = balancer.kept(signed, values)
        balancer.zero_updates += int(not bool((kept * signed).any()))
    dropped(passes, cotangents, kept, factor)


def _rows_in_turn(
    balancer: TakesTurns, passes: Passes, cotangents: list[Tensor | None] | None, factor: float
) -> Tensor:
    """Gradients `[K, P]` of the tasks whose turn it is; what is not shared learns from all."""
    turn = balancer.turn()
    features = passes.features
    some = replace(
        passes,
        tasks=[passes.tasks[i] for i in turn],
        features=None if features is None else [features[i] for i in turn],
    )
    if features is None or cotangents is None:
        rows = some.jacobian(None, factor, heads=False)
        others_weighted(passes, passes.ones())
        return rows
    rows = some.jacobian([cotangents[i] for i in turn], factor, heads=False)
    mine = set(passes.shared.everyone)
    below = [p for p in leaves(f.grad_fn for f in features if f is not None) if p not in mine]
    if below:  # Encoders of one task's own.
        passes.pull(range(len(cotangents)), cotangents, factor, inputs=below)
    return rows
