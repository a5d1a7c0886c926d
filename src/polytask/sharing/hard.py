"""All tasks share everything, or nothing."""

from collections.abc import Iterator, Sequence

from torch.nn import Parameter

from polytask.sharing.base import Trunk
from polytask.sharing.making import MakeBackbone, by_task, one, task_names
from polytask.types import ByName, Features


class HardSharing(Trunk):
    """One backbone for all tasks (Caruana 1997); only the heads are the tasks' own.

    Args:
        make: Makes the backbone.
        tasks: The names of the tasks.
    """

    def __init__(self, make: MakeBackbone, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.backbone = one(make)
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The same features for every task."""
        shared = self.backbone(features)
        return dict.fromkeys(tasks, shared)

    def shared_parameters(self) -> Iterator[Parameter]:
        """The whole backbone, if there is more than one task."""
        return self.backbone.parameters() if len(self.tasks) > 1 else iter(())


class Independent(Trunk):
    """A backbone for each task; nothing is shared. The baseline that sharing has to beat.

    In training and evaluation a task's backbone runs on the examples that have its label, and on no
    other; its batch normalisation, if any, takes statistics of those.

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
    """

    apart = True

    def __init__(self, make: MakeBackbone, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        self.out_features = {task: made[task].out_features for task in self.tasks}

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Each task's own backbone on the same features."""
        return {task: self.columns[task](features) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """None."""
        return iter(())
