"""What happens to gradients on their way: weighted where they arrive, or divided again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def divided(leaves: Sequence[Tensor], weights: Sequence[float]) -> Iterator[None]:
    """Within this context these leaves receive gradients, which are then divided by the weights."""
    before = [p.grad for p in leaves]
    for p in leaves:
        p.grad = None
    try:
        yield
    finally:
        after = [p.grad for p in leaves]
        arrived = [(grad, w) for grad, w in zip(after, weights, strict=True) if grad is not None]
        if arrived:
            torch._foreach_div_([grad for grad, _ in arrived], [w for _, w in arrived])
        for p, old, new in zip(leaves, before, after, strict=True):
            if old is not None:
                p.grad = old if new is None else old.add_(new)


def dividing(weight: float) -> Callable[[Tensor], Tensor]:
    """A hook that divides what arrives by a weight."""
    return lambda gradient: gradient / weight


@contextmanager
def scaling(features: list[Tensor | None], weights: Tensor) -> Iterator[set[int]]:
    """Within this context the gradient that arrives at each task's features is weighted.

    Yields:
        Where gradients have arrived, as numbers of entries.
    """
    arrived: set[int] = set()

    def times(i: int, weight: Tensor) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            arrived.add(i)
            return gradient * weight.to(gradient)

        return hook

    handles = [
        feature.register_hook(times(i, weight))
        for i, (feature, weight) in enumerate(zip(features, weights, strict=True))
        if feature is not None and feature.requires_grad
    ]
    try:
        yield arrived
    finally:
        for handle in handles:
            handle.remove()
