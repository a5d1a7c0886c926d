"""A task's features between the stages of experts, before these are mixed for it.

Shapes: N examples, E experts, D features after a stage of one expert.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from polytask.sharing import Trunk
from polytask.sharing.gates import Mixer
from polytask.types import Features


class Level(NamedTuple):
    """Experts that run side by side, and the gate that mixes their ends for a task.

    Attributes:
        mixer: The gate with its sum.
        experts: The stages of each expert, in the order of the gate's weights.
    """

    mixer: Mixer
    experts: Sequence[Sequence[nn.Module]]


def levels(trunk: Trunk, task: str) -> list[Level]:
    """The experts that a task's features come from; empty for a topology without any.

    Read off how topologies name their parts: `experts` and `mixers`, or `shared`, `private`,
    `gates` and the `bounds` of levels.
    """
    parts: Any = trunk
    if hasattr(trunk, "mixers"):
        return [Level(parts.mixers[task], [list(e.stages) for e in parts.experts])]
    if not hasattr(trunk, "private"):
        return []
    own = parts.tasks.index(task) * parts.num_private
    columns = [*parts.private[own : own + parts.num_private], *parts.shared]
    found = []
    for gates, start, end in zip(parts.gates, parts.bounds, parts.bounds[1:], strict=False):
        found.append(Level(gates[task], [list(c.stages[start:end]) for c in columns]))
    return found


class MixtureKeeper:
    """Inside this context, notes what experts give after each stage and how a task weighs them.

    Args:
        trunk: The topology.
        task: The task, which should pass alone.
    """

    def __init__(self, trunk: Trunk, task: str) -> None:
        self.levels = levels(trunk, task)
        self.pooled: dict[nn.Module, Tensor] = {}  # by stage, [N, D]
        self.weights: dict[nn.Module, Tensor] = {}  # by mixer, [N, E]
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for level in self.levels:
            for stage in (stage for expert in level.experts for stage in expert):
                self._hooks.enter_context(stage.register_forward_hook(self._keep_stage))
            self._hooks.enter_context(level.mixer.register_forward_pre_hook(self._keep_weights))
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def streams(self) -> list[Tensor]:
        """A task's features after each stage but the last, `[N, ...]` each.

        At the end of a level these are what the gate mixes, the sum of weighted experts. In the
        midst of one, where the units of two experts have nothing to do with each other, they are
        the experts' features side by side, each times the weight that the gate will give it.
        """
        found = []
        for level in self.levels:
            weights = self.weights[level.mixer]
            for depth in range(len(level.experts[0])):
                given = torch.stack([self.pooled[expert[depth]] for expert in level.experts], 1)
                weighted = given * weights.unsqueeze(2)
                ends = depth == len(level.experts[0]) - 1
                found.append(weighted.sum(1) if ends else weighted.flatten(1))
        return found[:-1]

    def _keep_stage(self, stage: nn.Module, _: object, given: Features) -> None:
        self.pooled.setdefault(stage, given.pooled())

    def _keep_weights(self, mixer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(mixer, Mixer)
        weights: Tensor = mixer.gate(given[0])
        self.weights.setdefault(mixer, weights)
