"""Backbones of every kind of features, small, for tests of what is peculiar to a topology."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from polytask.backbones import (
    Backbone,
    PerceptronBackbone,
    RecurrentBackbone,
    ResidualBackbone,
    SequentialBackbone,
)
from polytask.sharing import Trunk
from polytask.types import Features

MASK = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])


def own_modules() -> SequentialBackbone:
    """Somebody's own stages, from maps to vectors."""
    stages = [
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Tanh()),
        nn.Sequential(nn.Linear(5, 5), nn.Tanh()),
    ]
    return SequentialBackbone(stages, (4, 5, 5))


KINDS: dict[str, tuple[Callable[[], Backbone], Callable[[], Features]]] = {
    "vectors": (
        lambda: PerceptronBackbone(4, widths=(5, 5, 3)),
        lambda: Features(torch.randn(4, 4)),
    ),
    "maps": (
        lambda: ResidualBackbone(3, widths=(4, 6)),
        lambda: Features(torch.randn(4, 3, 9, 8)),
    ),
    "sequences": (
        lambda: RecurrentBackbone(4, width=3, layers=3, stride=2),
        lambda: Features(torch.randn(4, 6, 4), MASK),
    ),
    "own": (own_modules, lambda: Features(torch.randn(4, 3, 7, 7))),
}


def movers(trunk: Trunk, features: Features, tasks: Sequence[str]) -> dict[str, set[str]]:
    """Which tasks move each parameter, by differentiating each task's features alone."""
    found: dict[str, set[str]] = {}
    for task in tasks:
        trunk.zero_grad()
        given = trunk(features, tasks)[task]
        values = given.values
        if given.mask is not None:
            values = values * given.mask.unsqueeze(2)
        (values * torch.randn(values.shape)).sum().backward()
        for name, parameter in trunk.named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                found.setdefault(name, set()).add(task)
    return found


def shared_names(trunk: Trunk) -> set[str]:
    """The names of the parameters that the trunk calls shared."""
    shared = {id(p) for p in trunk.shared_parameters()}
    return {name for name, p in trunk.named_parameters() if id(p) in shared}


def unsettle(trunk: Trunk) -> None:
    """Move every parameter off its start, where some have no gradient (zeros, identities)."""
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
