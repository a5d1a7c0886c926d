"""Experts that serve all tasks, each task with a mixture of its own.

Shapes: B examples, D features, E experts, T tasks.
"""

from abc import ABC
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.columns import run_columns
from polytask.sharing.base import Trunk
from polytask.sharing.gates import (
    Mixer,
    SelectorGate,
    SoftmaxGate,
    alike,
    entering_width,
    gate_input,
)
from polytask.sharing.making import MakeBackbone, several, task_names
from polytask.types import ByName, Features


class Mixture(Trunk, ABC):
    """Experts, each a copy of the whole backbone, and one gate per task that mixes their outputs.

    Args:
        make: Makes one expert.
        tasks: The names of the tasks.
        experts: The number of experts.
        gate: From D and E to a gate.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        experts: int,
        gate: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        made = alike(several(make, experts))
        self.experts = nn.ModuleList(made)
        self.width = entering_width(made[0])
        self.mixers = ByName({task: Mixer(gate(self.width, experts), experts) for task in tasks})
        self.out_features = dict.fromkeys(self.tasks, made[0].out_features)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Each task's own mixture of the experts."""
        pooled = gate_input(features, self.width)
        outputs = run_columns(list(self.experts), features)
        mask = outputs[0].mask
        experts = torch.stack([output.values for output in outputs], 1)
        return {task: Features(self.mixers[task](pooled, experts), mask) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The experts; gates are the tasks' own."""
        if len(self.tasks) > 1:
            yield from (p for p in self.experts.parameters() if p.requires_grad)

    def shares(self) -> dict[str, Tensor]:
        """What each task takes of each expert: `gates` and `load`, `[T, E]`.

        `gates` are mean weights, `load` is the share of examples whose greatest weight is the
        expert's; both are running means over training, zero before it.
        """
        mixers = [m for m in self.mixers.children() if isinstance(m, Mixer)]
        return {
            "gates": torch.stack([mixer.mean for mixer in mixers]),
            "load": torch.stack([mixer.load for mixer in mixers]),
        }

    def unused_experts(self, below: float = 0.01) -> tuple[str, ...]:
        """Experts that no task gives a mean weight of `below`; before training nothing is found."""
        gates = self.shares()["gates"]
        idle = gates.amax(0) < below
        return tuple(f"expert {e}" for e in range(len(idle)) if gates.any() and idle[e])


class MMoE(Mixture):
    """Several experts for all tasks, mixed by a softmax gate per task and example (Ma 2018).

    Multi-gate mixture of experts, Ma et al., KDD 2018. The gate sees the mean over pixels or
    valid frames of what enters the trunk, so features of any kind and size will do; the paper has
    vectors only. The cost of a step is that of `experts` backbones.

    Args:
        make: Makes one expert; called once per expert.
        tasks: The names of the tasks.
        experts: The number of experts.
    """

    def __init__(self, make: MakeBackbone, tasks: Sequence[str], *, experts: int = 3) -> None:
        if experts < 1:
            raise ValueError(f"`experts` should be at least 1. Found {experts}.")
        super().__init__(make, tasks, experts, SoftmaxGate)


class DSelectK(Mixture):
    """Each task selects at most k of the experts, differentiably (Hazimeh 2021).

    DSelect-k, Hazimeh et al., NeurIPS 2021: k selectors per task write an expert's number in
    binary digits that saturate; a softmax mixes the selectors. As in the authors' code digits start
    within `gamma / 100` of undecided, and where the number of experts is no power of two a penalty
    keeps selectors off numbers that no expert has. Per-example penalties are means over examples
    where the code has sums, so that they do not grow with the batch; the entropy's weight is
    constant where the code allows a schedule. All experts run, also those with no weight.

    Args:
        make: Makes one expert; called once per expert.
        tasks: The names of the tasks.
        experts: The number of experts, best a power of two.
        selectors: k, the greatest number of experts that a task ends up with.
        per_example: Whether each example selects; otherwise each task has one selection.
        gamma: The width of the smooth step in which a digit is undecided.
        entropy: The weight of the selectors' entropy, added to the loss: presses them to decide.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        experts: int = 4,
        selectors: int = 2,
        per_example: bool = False,
        gamma: float = 1.0,
        entropy: float = 0.0,
    ) -> None:
        if experts < 2:
            raise ValueError(f"`experts` should be at least 2. Found {experts}.")
        if not 1 <= selectors <= experts:
            raise ValueError(
                f"`selectors` should be between 1 and the number of experts ({experts}). "
                f"Found {selectors}."
            )
        if gamma <= 0 or entropy < 0:
            raise ValueError(
                "`gamma` should be positive and `entropy` not negative. "
                f"Found gamma={gamma}, entropy={entropy}."
            )

        def gate(width: int, count: int) -> nn.Module:
            return SelectorGate(
                width,
                count,
                selectors=selectors,
                per_example=per_example,
                gamma=gamma,
                entropy=entropy,
            )

        super().__init__(make, tasks, experts, gate)

    def _penalty(self) -> Tensor | None:
        """The selectors' entropy with its weight, and what keeps them on numbers of experts."""
        found = [g.penalty() for g in self.mixers.modules() if isinstance(g, SelectorGate)]
        terms = [term for term in found if term is not None]
        return torch.stack(terms).sum() if terms else None
