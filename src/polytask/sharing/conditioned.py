"""One backbone whose features each task scales and shifts.

Shapes: C or D channels after a stage, T tasks.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm

from polytask.sharing.growing import Growing
from polytask.sharing.making import MakeBackbone, one, task_names
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


class Statistics(nn.Module):
    """A copy of the running means and variances of every batch normalisation in a stage.

    Args:
        stage: The stage.
    """

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stored_as: dict[str, str] = {}
        for path, module in stage.named_modules():
            if isinstance(module, _BatchNorm):
                for name, buffer in module.named_buffers(path, recurse=False):
                    self.stored_as[name] = name.replace(".", "_")
                    self.register_buffer(self.stored_as[name], buffer.clone())

    def forward(self, stage: nn.Module, features: Features) -> Features:
        """Run the stage with these statistics in place of its own; a training pass moves them."""
        buffers = {name: self.get_buffer(stored) for name, stored in self.stored_as.items()}
        given: Features = functional_call(stage, buffers, (features,))
        return given


class FiLM(Growing):
    """One backbone; each task scales and shifts every channel after each stage (Perez 2018).

    FiLM, Perez et al., AAAI 2018, with the task as the condition: a table of one scale and one
    shift per task, stage and channel, in place of the paper's network that predicts them. They
    stand after whole stages, where the paper has them inside residual blocks.

    After the first stage each task has its own pass: a step with T tasks costs about T backbones
    less T - 1 first stages. In training, batch normalisation normalises each pass by itself; its
    running mean and variance are of all tasks' passes together, so that a task whose features lie
    elsewhere is normalised otherwise in evaluation than in training. `own_statistics` mends that:
    each task has running means and variances of its own, the weights stay shared. The first stage
    then runs once per task too, because tasks may read different inputs; the backbone's own
    statistics are left as they were made, and a task that is added later starts from them.

    Args:
        make: Makes the backbone; called once.
        tasks: The names of the tasks.
        own_statistics: Whether each task has its own running statistics of batch normalisation.
    """

    def __init__(
        self, make: MakeBackbone, tasks: Sequence[str], *, own_statistics: bool = False
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.backbone = one(make)
        self.own_statistics = own_statistics
        made = {task: self.parts_for(task) for task in self.tasks}
        self.modulations = ByName({task: parts["modulations"] for task, parts in made.items()})
        self.statistics = ByName(
            {task: parts["statistics"] for task, parts in made.items() if own_statistics}
        )
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)

    def parts_for(self, task: str) -> Mapping[str, nn.Module]:
        """Scales and shifts without effect at first, and statistics where tasks have their own."""
        made = {"modulations": nn.ModuleList(map(Modulation, self.backbone.widths))}
        if self.own_statistics:
            made["statistics"] = nn.ModuleList(map(Statistics, self.backbone.stages))
        return made

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The first stage once, unless statistics are the tasks' own; then each task's pass."""
        if self.own_statistics:
            return {task: self._with_own_statistics(features, task) for task in tasks}
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

    def _with_own_statistics(self, features: Features, task: str) -> Features:
        """All stages for one task."""
        statistics = self.statistics[task]
        assert isinstance(statistics, nn.ModuleList)
        stages = zip(self.backbone.stages, statistics, self._modulations(task), strict=True)
        for stage, own, modulation in stages:
            features = modulation(own(stage, features))
        return features

    def _modulations(self, task: str) -> nn.ModuleList:
        modulations = self.modulations[task]
        assert isinstance(modulations, nn.ModuleList)
        return modulations
