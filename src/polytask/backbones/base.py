"""The part of a network that tasks may share: a stack of stages over one kind of features."""

from abc import ABC
from typing import Literal

from torch import nn

from polytask.types import Features

Activation = Literal["relu", "gelu", "silu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Backbone(nn.Module, ABC):
    """A stack of stages, run one after the other.

    A topology may run stages one by one and exchange features between tasks in between, so a
    stage is a module from `Features` to `Features`.

    Attributes:
        in_features: C or D in front of the first stage; None where nobody has said.
        stages: The stages in order.
        widths: C or D after each stage.
    """

    in_features: int | None = None
    stages: nn.ModuleList
    widths: tuple[int, ...]

    @property
    def out_features(self) -> int:
        """C or D after the last stage."""
        return self.widths[-1]

    def forward(self, features: Features) -> Features:
        """Run all stages."""
        for stage in self.stages:
            features = stage(features)
        return features

    def fit_to(self, features: Features) -> None:
        """Start from training examples, if this backbone has a part that does.

        Args:
            features: What enters the backbone for a sample of training examples.
        """


class SequentialBackbone(Backbone):
    """Anybody's own modules as a backbone.

    Args:
        stages: Modules from tensor to tensor (such as those of an `nn.Sequential`).
        widths: C or D after each of them.
        in_features: C or D in front of the first. None reads it off the first layer, where that is
            one that says so. Only topologies that look at what enters (gates) need it.
    """

    def __init__(
        self,
        stages: nn.Sequential | list[nn.Module],
        widths: tuple[int, ...],
        *,
        in_features: int | None = None,
    ) -> None:
        super().__init__()
        if len(stages) != len(widths):
            raise ValueError(
                f"`widths` should have one entry per stage ({len(stages)}). Found {len(widths)}."
            )
        self.stages = nn.ModuleList(OnValues(stage) for stage in stages)
        self.widths = tuple(widths)
        self.in_features = entering(stages[0]) if in_features is None else in_features


def entering(module: nn.Module) -> int | None:
    """C or D that a module takes, if its first layer is one that says so."""
    first = next(m for m in module.modules() if not any(m.children()))
    for name in ("in_features", "in_channels", "input_size", "num_features"):
        width = getattr(first, name, None)
        if isinstance(width, int):
            return width
    return None


class OnValues(nn.Module):
    """A module from tensor to tensor, applied to the values of features; the mask stays.

    Args:
        module: From `[B, ...]` to `[B, ...]`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Features) -> Features:
        """Apply the module to the values."""
        return Features(self.module(features.values), features.mask)
