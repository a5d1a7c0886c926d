"""What processes tell each other."""

from collections.abc import Sequence
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor
from torch.nn import Parameter

from polytask.balancing.graph import Differentiate


def reduce_gradients(fabric: Fabric, parameters: Sequence[Parameter]) -> None:
    """Average gradients over processes; a process without one contributes zero.

    What has no gradient in any process keeps none, as in one process: an optimiser leaves it as it
    is, where a gradient of zero would let it decay and go on with its momentum.
    """
    if fabric.world_size == 1 or not parameters:
        return
    has = torch.tensor([p.grad is not None for p in parameters], device=fabric.device)
    anywhere = all_reduced(fabric, has.int(), "sum") > 0
    for parameter, moved in zip(parameters, anywhere.tolist(), strict=True):
        if not moved:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.copy_(all_reduced(fabric, parameter.grad))


def differentiation(fabric: Fabric) -> Differentiate:
    """`fabric.backward`, or `Tensor.backward` where it is nothing else, which is quicker to ask."""
    strategy, precision = type(fabric.strategy), type(fabric.strategy.precision)
    steps = ("pre_backward", "backward", "post_backward")
    plain = strategy.backward is Strategy.backward and all(
        getattr(precision, step) is getattr(Precision, step) for step in steps
    )
    return Tensor.backward if plain and fabric.world_size == 1 else fabric.backward


def all_reduced(fabric: Fabric, values: Tensor, how: Literal["mean", "sum"] = "mean") -> Tensor:
    """The mean or sum over processes."""
    reduced = fabric.all_reduce(values, reduce_op=how)
    assert isinstance(reduced, Tensor)
    return reduced
