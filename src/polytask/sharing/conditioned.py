"""One backbone whose features each task scales and shifts.

Shapes: C or D channels after a stage, T tasks.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.sharing.base import MakeBackbone, Trunk
from polytask.types import ByName, Features


class Modulation(nn.Module):
    """A scale and a shift per channel; the identity at first.

    Args:
        width: C or D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = Parameter(torch.ones(width))
        self.shift = Parameter(torch.zeros(width))

    def forward(self, features: Features) -> Features:
        """Scale and shift vectors, sequences (last dimension) or maps (second)."""
        shape = (-1, 1, 1) if features.values.ndim == 4 else (-1,)
        scaled = features.values * self.scale.view(shape) + self.shift.view(shape)
        return Features(scaled, features.mask)


class FiLM(Trunk):
    """One backbone; each task scales and shifts every channel after each stage (Perez 2018).

    FiLM, Perez et al., AAAI 2018, with the task as the condition: a table of one scale and one
    shift per task, stage and channel, in place of the paper's network that predicts them. They
    stand after whole stages, where the paper has them inside residual blocks.

    After the first stage each task has its own pass: a step with T tasks costs about T backbones
    less T - 1 first stages. Batch normalisation sees the tasks' passes in turn and keeps one
    running mean of all of them.

    Args:
        make: Makes the backbone; called once.
        tasks: The names of the tasks.
    """

    def __init__(self, make: MakeBackbone, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.backbone = make()
        widths = self.backbone.widths
        self.modulations = ByName(
            {task: nn.ModuleList(Modulation(width) for width in widths) for task in self.tasks}
        )
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The first stage once; then each task's own pass."""
        first, *rest = self.backbone.stages
        common = first(features)
        given = {}
        for task in tasks:
            modulate = self._modulations(task)
            stream = modulate[0](common)
            for stage, modulation in zip(rest, modulate[1:], strict=True):
                stream = modulation(stage(stream))
            given[task] = stream
        return given

    def shared_parameters(self) -> Iterator[Parameter]:
        """The backbone; scales and shifts are the tasks' own."""
        if len(self.tasks) > 1:
            yield from (p for p in self.backbone.parameters() if p.requires_grad)

    @torch.no_grad()
    def shares(self) -> dict[str, Tensor]:
        """`scale` and `shift`, `[T, stages]`: how far from 1 and 0, as root mean squares."""
        tables = []
        for name, neutral in (("scale", 1.0), ("shift", 0.0)):
            rows = [
                torch.stack(
                    [(m.get_parameter(name) - neutral).square().mean().sqrt() for m in modulate]
                )
                for modulate in map(self._modulations, self.tasks)
            ]
            tables.append(torch.stack(rows))
        return {"scale": tables[0], "shift": tables[1]}

    def _modulations(self, task: str) -> nn.ModuleList:
        modulations = self.modulations[task]
        assert isinstance(modulations, nn.ModuleList)
        return modulations
