"""A network per task; after every stage each task fuses all of them.

Shapes: T tasks, S stages, C or D channels after a stage.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.columns import run_stages
from polytask.sharing.base import Trunk
from polytask.sharing.channels import ChannelLinear, ChannelNorm, joined, stages_of
from polytask.sharing.making import MakeBackbone, by_task, task_names
from polytask.types import ByName, Features


class Fusion(nn.Module):
    """One task's reduction of all columns: a linear layer on channels, normalised, rectified.

    Args:
        width: C of each column.
        count: T.
        own: The position of the task's own column.
        keep: Weight of the own column's channels at the start.
        normalize: Whether batch normalisation and a rectifier follow.
    """

    def __init__(self, width: int, count: int, own: int, *, keep: float, normalize: bool) -> None:
        super().__init__()
        self.count = count
        self.reduce = ChannelLinear(count * width, width, bias=not normalize)
        with torch.no_grad():
            self.reduce.weight.copy_(fused_start(width, count, own, keep))
            if not normalize:
                nn.init.zeros_(self.reduce.bias)
        self.norm = ChannelNorm(width, momentum=0.05) if normalize else None

    def forward(self, features: Features) -> Features:
        """`[..., T C]` to `[..., C]`."""
        values = self.reduce(features.values)
        if self.norm is not None:
            values = self.norm.normalized(Features(values, features.mask)).relu()
        return Features(values, features.mask)


class NDDR(Trunk):
    """A column per task; after every stage each task reduces all columns' channels to its own
    (Gao, Ma, Zhao, Liu and Yuille 2019, "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by
    Neural Discriminative Dimensionality Reduction").

    The reduction is a linear layer on channels (a 1x1 convolution of maps) without bias, batch
    normalisation and a rectifier. It starts as `keep` of the own column's channel and the rest in
    equal parts of the others' same channel. Normalisation leaves out the padding of sequences. If
    tasks read different inputs, it sees each input in turn and keeps one running mean of all.

    All columns run for every input, because fusions need them. Each task's loss reaches every
    column and every fusion but the other tasks' last ones.

    Differences from the paper: columns start from weights of their own, not from trained
    single-task networks; fusions follow every stage; their learning rate is not raised and their
    weight decay is the optimiser's; the last stage's shortcut variant is left out; without
    `normalize` a bias takes the place of both the normalisation and the rectifier.

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
        keep: Weight of a column's own channels at the start.
        normalize: Whether fusions end in batch normalisation and a rectifier. Without, one
            example's features do not depend on the others in its batch.
    """

    by_order = ("fusions",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        keep: float = 0.9,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        self.out_features = {task: column.out_features for task, column in made.items()}
        count = len(self.tasks)
        widths = made[self.tasks[0]].widths if count > 1 else ()
        self.fusions = ByName(
            {
                task: nn.ModuleList(
                    Fusion(width, count, own, keep=keep, normalize=normalize) for width in widths
                )
                for own, task in enumerate(self.tasks)
            }
        )

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """All columns, stage by stage; fusions after each, the last for the asked tasks only."""
        at = dict.fromkeys(self.tasks, features)
        columns = stages_of(self.columns)
        last = len(columns[0]) - 1
        for depth in range(last + 1):
            ends = run_stages([column[depth] for column in columns], list(at.values()))
            if len(self.tasks) == 1:
                at = dict(zip(self.tasks, ends, strict=True))
                continue
            together = joined(ends)
            wanted = tasks if depth == last else self.tasks
            at = {task: self._fusions(task)[depth](together) for task in wanted}
        return {task: at[task] for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The columns, and all fusions but those after the last stage."""
        if len(self.tasks) == 1:
            return
        yield from self.columns.parameters()
        for task in self.tasks:
            yield from self._fusions(task)[:-1].parameters()

    @torch.no_grad()
    def shares(self) -> dict[str, Tensor]:
        """`fusions`, `[S, T, T]`: the part of a task's weights (by their absolute values) that is
        on each column (last axis), by stage."""
        if len(self.tasks) == 1:
            return {}
        tables = []
        for depth in range(len(self._fusions(self.tasks[0]))):
            rows = [self._columns_part(task, depth) for task in self.tasks]
            tables.append(torch.stack(rows))
        return {"fusions": torch.stack(tables)}

    def _columns_part(self, task: str, depth: int) -> Tensor:
        fusion = self._fusions(task)[depth]
        assert isinstance(fusion, Fusion)
        sums = fusion.reduce.weight.abs().sum(0).view(fusion.count, -1).sum(1)
        return sums / sums.sum().clamp(min=1e-12)

    def _fusions(self, task: str) -> nn.ModuleList:
        fusions = self.fusions[task]
        assert isinstance(fusions, nn.ModuleList)
        return fusions


def fused_start(width: int, count: int, own: int, keep: float) -> Tensor:
    """`[C, T C]`: `keep` times the own column's channel, the rest in equal parts of the others'."""
    weights = torch.full((count,), (1 - keep) / max(count - 1, 1))
    weights[own] = keep
    return torch.kron(weights[None], torch.eye(width))
