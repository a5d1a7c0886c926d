"""Topologies over one backbone that tasks may join when others are trained already."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from polytask.backbones.base import Backbone
from polytask.sharing.base import Trunk
from polytask.sharing.making import task_names
from polytask.types import ByName


class Growing(Trunk, ABC):
    """One backbone for all tasks, and parts of each task's own.

    Attributes:
        backbone: The backbone.
    """

    backbone: Backbone

    @abstractmethod
    def parts_for(self, task: str) -> Mapping[str, nn.Module]:
        """A new task's own parts, by the attribute (a `ByName` of tasks) to which each belongs."""

    def add_task(self, task: str) -> None:
        """Give a further task parts of its own, as a first task gets them; others stay as they are.

        An optimiser that exists already does not know the new parameters, nor does a model have a
        head for the task. `polytask train --from` makes both, and takes the others' weights.

        Raises:
            ValueError: If the task is there already, or its name has a dot.
        """
        if task in self.tasks:
            raise ValueError(f"The task '{task}' is there already. Tasks: {', '.join(self.tasks)}.")
        tasks = task_names([*self.tasks, task])
        device = next(self.backbone.parameters()).device
        for name, part in self.parts_for(task).items():
            before = getattr(self, name)
            kept = {known: before[known] for known in self.tasks}
            setattr(self, name, ByName(kept | {task: part.to(device)}))
        self.tasks = tasks
        self.out_features[task] = self.backbone.out_features
        self.train(self.training)
