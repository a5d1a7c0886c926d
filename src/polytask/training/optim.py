"""Optimisers and learning-rate schedules, as frozen descriptions that make the real thing."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn
from torch.nn import Parameter

from polytask.errors import ConfigError, require_number

_STAGE = re.compile(r"^(.*?\bstages)\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(ABC):
    """What all optimisers have.

    Attributes:
        lr: The learning rate at the schedule's peak.
        weight_decay: Decay of weight matrices and kernels. Biases, normalisations' gains and a
            balancer's own parameters never decay.
        factors: Factors of the learning rate by the beginning of a parameter's name, such as
            `{heads: 0.1, encoders.sound: 0.5}`. The longest beginning that fits counts.
        layer_decay: Factor of the learning rate from each stage of a backbone to the stage before
            it, for backbones that were trained before; 1 treats all stages alike.
    """

    lr: float = 0.01
    weight_decay: float = 0.0
    factors: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        require_number("lr", self.lr, 0)
        require_number("weight_decay", self.weight_decay, 0)
        require_number("layer_decay", self.layer_decay, 0, above=True)
        for beginning, factor in self.factors.items():
            require_number(f"factors.{beginning}", factor, 0)

    @abstractmethod
    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""

    def groups(
        self, model: nn.Module, others: Iterable[Parameter], apart: Container[str] = ()
    ) -> list[dict[str, object]]:
        """Parameter groups of a model, by decay and learning rate, and of a balancer's parameters.

        Args:
            model: The model.
            others: The balancer's parameters.
            apart: Names of parameters that can't be in a group with others: sharded ones.

        Raises:
            ConfigError: If a name under `factors` fits no parameter.
        """
        collected: dict[tuple[float, bool, bool], list[Parameter]] = {}
        unused = set(self.factors)
        depth = stage_depths([name for name, _ in model.named_parameters()])
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            fits = [f for f in self.factors if name == f or name.startswith(f + ".")]
            unused -= set(fits)
            factor = self.factors[max(fits, key=len)] if fits else 1.0
            factor *= self.layer_decay ** depth.get(name, 0)
            kind = (factor, parameter.ndim > 1, name in apart)
            collected.setdefault(kind, []).append(parameter)
        if unused:
            raise ConfigError(
                f"optimizer.factors names {sorted(unused)}, which begins no parameter's name. "
                f"Parameters begin with: {', '.join(name_beginnings(model))}."
            )
        collected.setdefault((1.0, False, False), []).extend(others)
        return [
            {
                "params": parameters,
                "lr": self.lr * factor,
                "peak": self.lr * factor,
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (factor, decays, _), parameters in collected.items()
            if parameters
        ]


def stage_depths(names: Sequence[str]) -> dict[str, int]:
    """How many stages of its backbone come after each parameter that lies in a stage."""
    found = {name: match for name in names if (match := _STAGE.match(name))}
    last: dict[str, int] = {}
    for match in found.values():
        last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    return {name: last[match[1]] - int(match[2]) for name, match in found.items()}


def name_beginnings(model: nn.Module) -> list[str]:
    """The first two parts of the parameters' names, for messages."""
    return sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters()})


@dataclass(frozen=True, kw_only=True)
class SGD(OptimizerSpec):
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: Share of the previous step that is kept, in [0, 1).
        nesterov: Whether the gradient is taken after the momentum's step.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("momentum", self.momentum, 0, 1)
        if self.nesterov and not self.momentum:
            raise ConfigError("`nesterov` needs a `momentum` above 0.")

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        # PyTorch has no fused step of SGD for sharded parameters, which are of another type.
        given = [p for group in groups for p in cast("list[Parameter]", group["params"])]
        fused = all(type(p) is Parameter for p in given)
        made = torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused
        )
        if self.momentum:
            made.register_step_pre_hook(begin_momentum)
        return made


def begin_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Give parameters that get their first gradient a momentum of zero, which changes no number.

    The fused step takes no group in which some have a momentum and some have none yet, as happens
    where a part starts to learn later than others.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@dataclass(frozen=True, kw_only=True)
class Adam(OptimizerSpec):
    """Adam (Kingma & Ba 2015); weight decay is added to the gradient.

    Attributes:
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_means(self.betas, self.eps)

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


def _require_means(betas: tuple[float, float], eps: float) -> None:
    for beta in betas:
        require_number("betas", beta, 0, 1)
    require_number("eps", eps, 0)


@dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Attributes:
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_means(self.betas, self.eps)

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True)
class RMSprop(OptimizerSpec):
    """RMSprop (Tieleman & Hinton 2012).

    Attributes:
        alpha: Decay of the running mean of the squared gradient.
        eps: Added to the denominator.
        momentum: Share of the previous step that is kept, in [0, 1).
    """

    lr: float = 1e-3
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("alpha", self.alpha, 0, 1)
        require_number("eps", self.eps, 0)
        require_number("momentum", self.momentum, 0, 1)

    def make(self, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        return torch.optim.RMSprop(
            groups, lr=self.lr, alpha=self.alpha, eps=self.eps, momentum=self.momentum
        )


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """The learning rate as a factor of its peak; a pure function of the step.

    Attributes:
        warmup: Share of all steps over which the factor first rises linearly, in [0, 1).
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        require_number("warmup", self.warmup, 0, 1)

    def factor(self, step: int, steps: int) -> float:
        """The factor of step `step` (from 0) of `steps`."""
        rising = round(self.warmup * steps)
        if step < rising:
            return (step + 1) / rising
        return self.after(step - rising, max(1, steps - rising))

    @abstractmethod
    def after(self, step: int, steps: int) -> float:
        """The factor after the warm-up; `step` and `steps` count from its end."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """Always the peak."""

    def after(self, step: int, steps: int) -> float:
        """One."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Falls by a factor at milestones.

    Attributes:
        milestones: Shares of the steps after warm-up, in (0, 1).
        gamma: The factor at each milestone.
    """

    milestones: tuple[float, ...] = (0.6, 0.85)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for milestone in self.milestones:
            require_number("milestones", milestone, 0, 1, above=True)
        require_number("gamma", self.gamma, 0)

    def after(self, step: int, steps: int) -> float:
        """`gamma` to the number of milestones passed."""
        passed = sum(step >= milestone * steps for milestone in self.milestones)
        return float(self.gamma**passed)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Falls along half a cosine (Loshchilov & Hutter 2017, without restarts).

    Attributes:
        final: The factor at the end.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("final", self.final, 0)

    def after(self, step: int, steps: int) -> float:
        """From one to `final`."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Rises linearly during the warm-up, then falls linearly (Smith & Topin 2018).

    Attributes:
        final: The factor at the end.
    """

    warmup: float = 0.2
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("final", self.final, 0)

    def after(self, step: int, steps: int) -> float:
        """From one to `final`."""
        return 1.0 + (self.final - 1.0) * step / steps


OPTIMIZERS: dict[str, type[OptimizerSpec]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
}
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}
