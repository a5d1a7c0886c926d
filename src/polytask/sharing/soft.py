"""A network per task, connected so that what one finds reaches the others.

Shapes: T tasks, S stages, B examples, C channels or features.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.backbones.columns import run_stages
from polytask.sharing.base import Trunk
from polytask.sharing.making import MakeBackbone, by_task, task_names
from polytask.types import ByName, Features


class CrossStitch(Trunk):
    """A column per task; after every stage each column goes on with a learned mixture of all
    (Misra, Shrivastava, Gupta and Hebert 2016, "Cross-stitch Networks for Multi-task Learning").

    The mixtures start as the paper's: `keep` of a column's own features, the rest in equal parts
    of the others'. All columns run for every input, also those of tasks that are not asked for or
    that read another input, because the mixtures need them; so a task gets the same features alone
    and in company. Since every task's loss reaches every column, all parameters are shared.

    Differences from the paper: columns start from weights of their own, not from trained
    single-task networks; stitches follow every stage; their learning rate is not raised
    (the optimiser's factors can do that: the paper found 100 to 1000 times useful).

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
        keep: A column's share of itself at the start.
        per_channel: Whether each channel has a mixture of its own.
    """

    by_order = ("stitches",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        keep: float = 0.9,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        self.out_features = {task: column.out_features for task, column in made.items()}
        start = stitched_start(len(self.tasks), keep)
        widths = made[self.tasks[0]].widths if len(self.tasks) > 1 else ()
        self.stitches = nn.ParameterList(
            start[:, :, None].repeat(1, 1, width if per_channel else 1) for width in widths
        )

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """All columns, stage by stage; mixtures after each."""
        networks = [c for c in self.columns.children() if isinstance(c, Backbone)]
        columns = [list(network.stages) for network in networks]
        at = [features] * len(columns)
        for depth in range(len(columns[0])):
            at = run_stages([column[depth] for column in columns], at)
            if len(self.stitches):
                mixed = stitched(torch.stack([f.values for f in at]), self.stitches[depth])
                at = [Features(v, f.mask) for v, f in zip(mixed.unbind(), at, strict=True)]
        given = dict(zip(self.tasks, at, strict=True))
        return {task: given[task] for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """Everything, if there is more than one task: columns reach each other at every stage."""
        return self.parameters() if len(self.tasks) > 1 else iter(())

    def shares(self) -> dict[str, Tensor]:
        """`stitches`, `[S, T, T]`: how much of each column (last axis) a task takes, by stage.

        With mixtures per channel their mean.
        """
        if not len(self.stitches):
            return {}
        return {"stitches": torch.stack([stitch.detach().mean(2) for stitch in self.stitches])}


def stitched_start(count: int, keep: float) -> Tensor:
    """`[T, T]` whose rows sum to 1, with `keep` on the diagonal (1 for a single task)."""
    if count == 1:
        return torch.ones(1, 1)
    start = torch.full((count, count), (1 - keep) / (count - 1))
    return start.fill_diagonal_(keep)


def stitched(values: Tensor, stitch: Tensor) -> Tensor:
    """Mix columns: `out[t] = sum_u stitch[t, u] * values[u]`, channel by channel.

    Args:
        values: `[T, B, C, H, W]`, `[T, B, L, C]` or `[T, B, C]`.
        stitch: `[T, T, C]`, or `[T, T, 1]` for one mixture of all channels.
    """
    if stitch.shape[2] == 1:
        return torch.einsum("tu,u...->t...", stitch[:, :, 0], values)
    if values.ndim == 5:
        return torch.einsum("tuc,ubchw->tbchw", stitch, values)
    return torch.einsum("tuc,u...c->t...c", stitch, values)
