"""One backbone, often trained and frozen, and parts of each task that tasks may join later."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

from torch import nn
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.sharing.growing import Growing
from polytask.sharing.making import MakeBackbone, one, task_names
from polytask.types import ByName


class Adapted(Growing, ABC):
    """One backbone for all tasks, and `own` parts per task.

    Args:
        make: Makes the backbone; called once.
        tasks: The names of the tasks.
        freeze: Whether the backbone's own weights stay as they are; it is then as in evaluation.
        part: Makes a task's own part for the backbone.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        freeze: bool,
        part: Callable[[Backbone], nn.ModuleList],
    ) -> None:
        super().__init__()
        self.freeze, self.part = freeze, part
        self.backbone = one(make).requires_grad_(not freeze)
        self.tasks = task_names(tasks)
        self.own = ByName({task: part(self.backbone) for task in self.tasks})
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)
        self.train()

    def shared_parameters(self) -> Iterator[Parameter]:
        """The backbone where it is not frozen."""
        if len(self.tasks) > 1:
            yield from (p for p in self.backbone.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen backbone stays in evaluation, or its statistics would move."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def parts_for(self, task: str) -> Mapping[str, nn.Module]:
        """A part without effect at first."""
        return {"own": self.part(self.backbone)}

    def part_of(self, task: str) -> nn.ModuleList:
        """A task's own part."""
        part = self.own[task]
        assert isinstance(part, nn.ModuleList)
        return part
