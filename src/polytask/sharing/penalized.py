"""Columns of the tasks' own, drawn together by a penalty.

Shapes: T tasks, N entries of one parameter.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from polytask.sharing.base import Trunk
from polytask.sharing.making import MakeBackbone, by_task, task_names
from polytask.types import ByName, Features


class SoftSharing(Trunk):
    """A backbone per task and no shared parameter; a penalty makes the backbones alike.

    `distance` is the squared distance of each task's parameters from the tasks' mean (Duong et al.
    2015, "Low Resource Dependency Parsing"; with two tasks it is half of theirs, which measures
    one task from the other). `trace_norm` stacks the tasks' copies of a parameter as rows of a
    matrix and adds up its singular values, so that tasks come to be mixtures of a few (Yang and
    Hospedales 2017, "Trace Norm Regularised Deep Multi-Task Learning", flattened along the last
    axis; not their Tucker and tensor-train variants). Both are sums over all trained parameters,
    biases and normalisations included.

    All columns start from the first one's weights (`same_start`): units of networks that were
    drawn apart do not correspond, and drawing them together would only make them small. Duong et
    al. start from the other task's network; Yang and Hospedales from trained single-task networks.

    A task's loss moves its own column only, which runs on the examples with its label. The penalty
    moves all, also those of tasks that are absent from a step.

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
        pull: What the penalty measures.
        weight: The penalty's weight.
        same_start: Whether all columns start from the same weights.
    """

    apart = True

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        pull: Literal["distance", "trace_norm"] = "distance",
        weight: float = 0.01,
        same_start: bool = True,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.pull, self.weight = pull, weight
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        self.out_features = {task: made[task].out_features for task in self.tasks}
        if same_start:
            first, *others = made.values()
            for column in others:
                column.load_state_dict(first.state_dict())

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """Each task's own backbone on the same features."""
        return {task: self.columns[task](features) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """None: a task's loss moves its own column alone."""
        return iter(())

    def _penalty(self) -> Tensor | None:
        """What draws the columns together; None for a single task."""
        if len(self.tasks) == 1:
            return None
        measure = squared_distances if self.pull == "distance" else trace_norm
        columns = [self.columns[task].parameters() for task in self.tasks]
        pulls = [
            measure(torch.stack([p.flatten() for p in copies]).float())
            for copies in zip(*columns, strict=True)
            if any(p.requires_grad for p in copies)
        ]
        return self.weight * torch.stack(pulls).sum() if pulls else None


def squared_distances(copies: Tensor) -> Tensor:
    """The sum of squared distances of the rows of `[T, N]` from their mean."""
    return (copies - copies.mean(0)).square().sum()


def trace_norm(copies: Tensor) -> Tensor:
    """The sum of the singular values of `[T, N]`.

    They are the roots of the eigenvalues of `[T, T]` inner products, in float64. Where rows
    depend on each other some are zero; those are left out, which gives the subgradient of least
    norm where the root has none.
    """
    rows = copies.double()
    values = torch.linalg.eigvalsh(rows @ rows.T)
    kept = values[values > 1e-10 * values.max().clamp(min=1e-30)]
    total: Tensor = kept.sqrt().sum()
    return total.to(copies.dtype)
