"""What happens to gradients on their way: weighted where they arrive, or divided again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def divided(owners: dict[Tensor, float]) -> Iterator[None]:
    """Within this context these leaves receive gradients, which are then divided by the weights."""
    before = [p.grad for p in owners]
    for p in owners:
        p.grad = None
    try:
        yield
    finally:
        pairs = [(p.grad, weight) for p, weight in owners.items() if p.grad is not None]
        if pairs:
            torch._foreach_div_([g for g, _ in pairs], [w for _, w in pairs])
        for p, grad in zip(owners, before, strict=True):
            if grad is not None:
                p.grad = grad if p.grad is None else grad.add_(p.grad)


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
