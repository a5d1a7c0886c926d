"""The part of a network that tasks may share: a stack of stages over one kind of features."""

from abc import ABC
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

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

    def __call__(self, features: Features) -> Features:
        """Features after the last stage.

        Raises:
            TypeError: If it is given something other than features.
        """
        if not isinstance(features, Features):
            raise TypeError(
                f"A backbone takes Features. Found {type(features).__name__}. Pass "
                "`polytask.types.Features(values)`, and with padded sequences their mask."
            )
        given: Features = super().__call__(features)
        return given

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


def require_widths(widths: Sequence[int]) -> None:
    """Make sure that there are stages, each of them with features.

    Raises:
        ValueError: If not.
    """
    if not widths or min(widths) < 1:
        raise ValueError(
            f"`widths` should be at least one number, each at least 1. Found {list(widths)}."
        )


class SequentialBackbone(Backbone):
    """Anybody's own modules as a backbone.

    Topologies exchange features after every stage, so each module of the list is one: put layers
    that belong together (a convolution, its normalisation, its activation) in an `nn.Sequential`
    of their own.

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
        if not isinstance(stages, nn.Sequential | nn.ModuleList | Sequence):
            raise TypeError(
                "`stages` should be an nn.Sequential, or a list of modules that run one after the "
                f"other. Found {type(stages).__name__}, whose forward pass nobody can take apart. "
                "Pass the modules of which it is made, such as "
                "[net.features, nn.Sequential(net.pool, nn.Flatten())]."
            )
        if not len(stages) or len(stages) != len(widths):
            names = ", ".join(type(stage).__name__ for stage in stages) or "none"
            raise ValueError(
                f"`widths` should have one entry per stage, of which there are {len(stages)} "
                f"({names}). Found {len(widths)}: {tuple(widths)}. To have fewer stages, put "
                "modules that belong together in an nn.Sequential of their own."
            )
        self.stages = nn.ModuleList(
            OwnStage(stage, width, f"stages[{place}]")
            for place, (stage, width) in enumerate(zip(stages, widths, strict=True))
        )
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


class OwnStage(nn.Module):
    """Somebody's module as a stage: as `OnValues`, and what it gives is looked at.

    Args:
        module: From `[B, ...]` to `[B, ...]`.
        width: C or D of what it should give.
        place: Where it stands, for messages.
    """

    def __init__(self, module: nn.Module, width: int, place: str) -> None:
        super().__init__()
        self.module, self.width, self.place = module, width, place

    def forward(self, features: Features) -> Features:
        """Apply the module to the values.

        Raises:
            TypeError: If it gives something other than a tensor.
            ValueError: If it gives features of another width, or of no known kind.
        """
        values = self.module(features.values)
        called = f"`{self.place}` ({type(self.module).__name__})"
        if not isinstance(values, Tensor):
            raise TypeError(
                f"{called} should give a tensor. Found {type(values).__name__}. Wrap it in a "
                "module that returns the tensor alone, as recurrent layers need (their first one)."
            )
        at = 1 if values.ndim == 4 else -1
        if values.ndim not in (2, 3, 4) or values.shape[at] != self.width:
            raise ValueError(
                f"{called} should give vectors [B, {self.width}], sequences [B, L, {self.width}] "
                f"or maps [B, {self.width}, H, W], as `widths` says. Found {tuple(values.shape)}."
            )
        return Features(values, features.mask)
