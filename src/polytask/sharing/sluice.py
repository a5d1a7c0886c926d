"""A network per task whose layers' halves are mixed with those of all tasks.

Shapes: T tasks, S stages, K subspaces of a stage's features, B examples, C or D channels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.columns import run_stages
from polytask.sharing.adversarial import orthogonality
from polytask.sharing.base import Trunk
from polytask.sharing.channels import stages_of
from polytask.sharing.making import MakeBackbone, by_task, task_names
from polytask.sharing.soft import stitched, stitched_start
from polytask.types import ByName, Features


class StageMixture(nn.Module):
    """One task's weights of its column's stages; they start with most on the last one.

    Args:
        count: How many stages, at least 2.
        keep: The last stage's weight at the start; the others get the rest in equal parts.
    """

    def __init__(self, count: int, keep: float) -> None:
        super().__init__()
        self.weight = Parameter(stitched_start(count, keep)[-1])

    def forward(self, stages: Sequence[Features]) -> Features:
        """The weighted sum."""
        values = torch.stack([f.values for f in stages])
        return Features(torch.einsum("s,s...->...", self.weight, values), stages[-1].mask)


class Sluice(Trunk):
    """A column per task; after every stage the subspaces of all columns are mixed, and each task
    reads a mixture of its column's stages (Ruder, Bingel, Augenstein and Sogaard 2019, "Latent
    Multi-task Architecture Learning").

    A stage's channels fall into K subspaces of equal width, and a matrix `[T K, T K]` (alpha)
    makes each subspace a mixture of all; it starts with `keep` on its diagonal. A stage whose
    width K does not divide is mixed as a whole. A vector per task (beta) weighs its column's
    stages. A penalty wants the subspaces of each column's stages to be orthogonal.

    Beta takes part only if all stages have one width and, at run time, one length or size too;
    otherwise a task reads the last stage alone and its beta, if it has one, is idle.

    All columns run for every input, because mixtures need them. Each task's loss reaches all
    columns and all alphas; betas are the tasks' own.

    Differences from the paper: any backbone in place of LSTM layers; the penalty is the squared
    overlap of the subspaces' features before they are mixed, averaged over frames or pixels,
    without their means and relative to their size, where the paper takes the plain product of the
    layers' subspaces; alpha and beta learn at the optimiser's rate; no hard parameter choice
    afterwards.

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
        subspaces: K, at least 1 (then there is no penalty).
        keep: Weight of a subspace of itself, and of the last stage, at the start.
        orthogonal: Weight of the penalty.
    """

    by_order = ("alphas",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        subspaces: int = 2,
        keep: float = 0.9,
        orthogonal: float = 0.01,
    ) -> None:
        super().__init__()
        if subspaces < 1:
            raise ValueError(f"`subspaces` should be at least 1. Found {subspaces}.")
        self.tasks = task_names(tasks)
        self.orthogonal = orthogonal
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        self.out_features = {task: column.out_features for task, column in made.items()}
        widths = made[self.tasks[0]].widths
        self.subspaces = [1 if width % subspaces else subspaces for width in widths]
        self.alphas = nn.ParameterList(
            stitched_start(len(self.tasks) * parts, keep) for parts in self.subspaces
        )
        alike = len(widths) > 1 and len(set(widths)) == 1
        self.betas = ByName({task: StageMixture(len(widths), keep) for task in self.tasks if alike})
        # Of each group of tasks: the pooled features of each column's stages, [T, K, B, C / K].
        self._seen: dict[tuple[str, ...], list[Tensor]] = {}

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """All columns, stage by stage; mixtures after each, and of all at the end."""
        columns = stages_of(self.columns)
        at, seen = [features] * len(columns), []
        passed: list[list[Features]] = []
        for depth, (alpha, parts) in enumerate(zip(self.alphas, self.subspaces, strict=True)):
            at = run_stages([column[depth] for column in columns], at)
            if parts > 1 and self.training and torch.is_grad_enabled():
                seen.append(subspaces(at, parts))
            at = sluiced(at, alpha, parts)
            passed.append(at)
        if seen:
            self._seen[tuple(tasks)] = seen
        shapes = {stage[0].values.shape[1:] for stage in passed}
        given = {}
        for task in tasks:
            own = [stage[self.tasks.index(task)] for stage in passed]
            mix = task in self.betas and len(shapes) == 1
            given[task] = self.betas[task](own) if mix else own[-1]
        return given

    def shared_parameters(self) -> Iterator[Parameter]:
        """The columns and the alphas, if there is more than one task."""
        if len(self.tasks) > 1:
            yield from self.columns.parameters()
            yield from self.alphas.parameters()

    def _penalty(self) -> Tensor | None:
        """How much subspaces of one column overlap, summed over columns, stages and pairs."""
        seen, self._seen = self._seen, {}
        if not seen:
            return None
        overlaps = [
            orthogonality(parts[i].float(), parts[j].float()) / len(seen)
            for stages in seen.values()
            for stage in stages
            for parts in stage
            for i in range(len(parts))
            for j in range(i)
        ]
        return self.orthogonal * torch.stack(overlaps).sum()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a file is made of: without what waits for the penalty, on its graph."""
        return {**self.__dict__, "_seen": {}}

    def shares(self) -> dict[str, Tensor]:
        """`alphas`, `[S, T, T]`: how much of each column (last axis) a task takes, by stage, as the
        mean over its subspaces; `betas`, `[T, S]`, where there are any."""
        count = len(self.tasks)
        tables = [
            alpha.detach().view(count, parts, count, parts).sum(3).mean(1)
            for alpha, parts in zip(self.alphas, self.subspaces, strict=True)
        ]
        found = {"alphas": torch.stack(tables)}
        if self.tasks[0] in self.betas:
            rows = [self.betas[task].get_parameter("weight").detach() for task in self.tasks]
            found["betas"] = torch.stack(rows)
        return found


def subspaces(columns: Sequence[Features], parts: int) -> Tensor:
    """The pooled features of each column's subspaces, `[T, K, B, C / K]`."""
    pooled = torch.stack([f.pooled() for f in columns])
    parted: Tensor = pooled.unflatten(2, (parts, -1))
    return parted.transpose(1, 2)


def sluiced(columns: Sequence[Features], alpha: Tensor, parts: int) -> list[Features]:
    """Mix the subspaces of all columns.

    Args:
        columns: T features of one shape.
        alpha: `[T K, T K]`; subspace k of task t is number `t K + k`.
        parts: K.
    """
    at = 1 if columns[0].values.ndim == 4 else -1
    pieces = [piece for f in columns for piece in f.values.chunk(parts, at)]
    mixed = stitched(torch.stack(pieces), alpha[:, :, None]).unbind()
    return [
        Features(torch.cat(mixed[t * parts : (t + 1) * parts], at), f.mask)
        for t, f in enumerate(columns)
    ]
