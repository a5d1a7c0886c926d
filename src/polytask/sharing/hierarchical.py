"""Tasks share a network up to a depth: the same for all, or one for each."""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from torch.nn import Parameter

from polytask.errors import nearest
from polytask.sharing.base import Trunk
from polytask.sharing.making import MakeBackbone, one, several, task_names
from polytask.types import ByName, Features


class SharedThenSplit(Trunk):
    """The first stages for all tasks, a copy of the later ones for each (Caruana 1997).

    Copies start from weights of their own. Nothing is shared behind the split.

    Args:
        make: Makes one backbone; called once more than there are tasks.
        tasks: The names of the tasks.
        shared_stages: How many stages are shared, at least 1. With all of them it is hard sharing.
    """

    def __init__(self, make: MakeBackbone, tasks: Sequence[str], *, shared_stages: int = 1) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.common, *own = several(make, 1 + len(self.tasks))
        widths = self.common.widths
        if not 1 <= shared_stages <= len(widths):
            raise ValueError(
                f"`shared_stages` should be from 1 to the backbone's {len(widths)} stages. "
                f"Found {shared_stages}. To share none, use independent networks."
            )
        self.common.stages = self.common.stages[:shared_stages]
        self.common.widths = widths[:shared_stages]
        self.branches = ByName(
            {
                task: nn.Sequential(*made.stages[shared_stages:])
                for task, made in zip(self.tasks, own, strict=True)
            }
        )
        self.out_features = dict.fromkeys(self.tasks, widths[-1])

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Each task's own stages on the shared features."""
        shared = self.common(features)
        return {task: self.branches[task](shared) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The stages before the split, if there is more than one task."""
        return self.common.parameters() if len(self.tasks) > 1 else iter(())


class Hierarchy(Trunk):
    """One backbone that each task leaves at its own depth: low-level tasks early, high-level ones
    late (Sogaard and Goldberg 2016, "Deep multi-task learning with low level tasks supervised at
    lower layers").

    A stage is moved by every task that leaves behind it or later. Stages that no task reaches are
    not made. A task's head gets what its stage gives, be it a map, a sequence or a vector; after 0
    stages that is what the backbone is given, such as word vectors or the spectra of a sound, of
    which a linear head with `pool: mean` sees the mean.

    Args:
        make: Makes the backbone.
        tasks: The names of the tasks.
        leaves: After how many stages a task leaves, by its name, 0 for before the first. Tasks
            that are not named stay to the end.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        leaves: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.backbone = one(make)
        widths = self.backbone.widths
        self.leaves = dict.fromkeys(self.tasks, len(widths))
        for task, depth in (leaves or {}).items():
            if task not in self.leaves:
                raise ValueError(f"`leaves`: no task '{task}'. {nearest(task, self.tasks)}")
            if not 0 <= depth <= len(widths):
                raise ValueError(
                    f"`leaves` should be from 0 to the backbone's {len(widths)} stages. "
                    f"Found {depth} for task '{task}'."
                )
            self.leaves[task] = depth
        deepest = max(self.leaves.values())
        entering = self.backbone.in_features
        if min(self.leaves.values()) == 0 and entering is None:
            raise ValueError(
                "`leaves`: 0 stages need a backbone that says what it is given. Set its "
                "`in_features`, or let the task leave after 1."
            )
        self.backbone.stages = self.backbone.stages[:deepest]
        self.backbone.widths = widths[:deepest]
        at = [entering or 0, *widths]
        self.out_features = {task: at[depth] for task, depth in self.leaves.items()}

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """What the backbone gives at each task's depth; no stage runs that nobody asks for."""
        at: list[Features] = [features]
        for stage in self.backbone.stages[: max(self.leaves[task] for task in tasks)]:
            at.append(stage(at[-1]))
        return {task: at[self.leaves[task]] for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The stages that at least two tasks run through."""
        depths = sorted(self.leaves.values())
        depth = depths[-2] if len(depths) > 1 else 0
        return self.backbone.stages[:depth].parameters()
