"""Tasks in an order, each at a depth of its own, the lower ones' features fed to the higher ones.

Shapes: C or D channels after a stage, P projected features.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from torch.nn import Parameter

from polytask.backbones.base import ACTIVATIONS, Activation
from polytask.errors import nearest
from polytask.sharing.base import Trunk
from polytask.sharing.channels import ChannelLinear
from polytask.sharing.making import MakeBackbone, one, task_names
from polytask.types import ByName, Features


class JointMany(Trunk):
    """One backbone; a task leaves it at its depth, and what it found enters the next stage
    (Hashimoto, Xiong, Tsuruoka and Socher 2017, "A Joint Many-Task Model").

    Each task has a layer of its own at its depth, whose output its head reads. A projection of
    that output back to the stage's channels is added to what enters the next stage, so that the
    tasks above see it. Tasks at one depth do not see each other.

    A stage is moved by every task at its end or above. A task's layer is moved by the task and,
    unless detached, by every task above; its projection by the tasks above alone. Tasks do not
    have to be asked for to be fed upwards.

    Differences from the paper: features of a task's layer are fed upwards in place of embeddings
    of its predicted labels, and added through a learned projection in place of concatenated, so
    stages stay as the backbone makes them (a linear layer on a concatenation is such a sum);
    any backbone in place of LSTM layers; words do not enter each stage anew; no training of one
    task after another, and so no successive regularisation.

    Args:
        make: Makes the backbone.
        tasks: The names of the tasks.
        leaves: After how many stages a task leaves, by its name. The others are spread over the
            stages in their order, the first at the bottom and the last at the end; state them where
            a training starts from one with fewer tasks, or tasks will have moved.
        width: P; null for the width of the task's stage.
        activation: The nonlinearity of the tasks' layers.
        detach: Whether higher tasks leave the layers of lower ones alone. Stages they still move.
    """

    by_order = ("feeds",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        leaves: Mapping[str, int] | None = None,
        width: int | None = None,
        activation: Activation = "gelu",
        detach: bool = False,
    ) -> None:
        super().__init__()
        if width is not None and width < 1:
            raise ValueError(f"`width` should be at least 1. Found {width}.")
        self.tasks = task_names(tasks)
        self.detach = detach
        self.backbone = one(make)
        self.leaves = depths(self.tasks, leaves or {}, len(self.backbone.stages))
        deepest = max(self.leaves.values())
        widths = self.backbone.widths[:deepest]
        self.backbone.stages = self.backbone.stages[:deepest]
        self.backbone.widths = widths
        at = {task: widths[depth - 1] for task, depth in self.leaves.items()}
        self.out_features = {task: at[task] if width is None else width for task in self.tasks}
        self.layers = ByName(
            {
                task: nn.Sequential(
                    ChannelLinear(at[task], self.out_features[task]), ACTIVATIONS[activation]()
                )
                for task in self.tasks
            }
        )
        # By position: a projection belongs to the tasks above, not to the one whose name it has.
        self.feeding = [task for task in self.tasks if self.leaves[task] < deepest]
        self.feeds = nn.ModuleList(
            ChannelLinear(self.out_features[task], at[task]) for task in self.feeding
        )

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Stage by stage, as deep as the asked tasks need."""
        deepest = max(self.leaves[task] for task in tasks)
        found: dict[str, Features] = {}
        for depth, stage in enumerate(self.backbone.stages[:deepest], 1):
            features = stage(features)
            here = [task for task in self.tasks if self.leaves[task] == depth]
            for task in here:
                if task in tasks or depth < deepest:
                    found[task] = Features(self.layers[task](features.values), features.mask)
            if depth < deepest:
                features = self._fed(features, {task: found[task] for task in here})
        return {task: found[task] for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """Stages of at least two tasks, layers that a higher task moves, and projections that two
        higher tasks move."""
        order = sorted(self.leaves.values())
        if len(order) == 1:
            return
        yield from self.backbone.stages[: order[-2]].parameters()
        for task, feed in zip(self.feeding, self.feeds, strict=True):
            if not self.detach:
                yield from self.layers[task].parameters()
            if sum(depth > self.leaves[task] for depth in order) > 1:
                yield from feed.parameters()

    def _fed(self, features: Features, found: Mapping[str, Features]) -> Features:
        """A stage's features with what the tasks at its end found."""
        values = features.values
        for task, own in found.items():
            given = own.values.detach() if self.detach else own.values
            values = values + self.feeds[self.feeding.index(task)](given)
        return Features(values, features.mask)


def depths(tasks: Sequence[str], leaves: Mapping[str, int], stages: int) -> dict[str, int]:
    """After how many stages each task leaves: as stated, or spread evenly in the tasks' order."""
    found = {task: -(-(i + 1) * stages // len(tasks)) for i, task in enumerate(tasks)}
    for task, depth in leaves.items():
        if task not in found:
            raise ValueError(f"`leaves`: no task '{task}'. {nearest(task, tasks)}")
        if not 1 <= depth <= stages:
            raise ValueError(
                f"`leaves` should be from 1 to the backbone's {stages} stages. "
                f"Found {depth} for task '{task}'."
            )
        found[task] = depth
    return found
