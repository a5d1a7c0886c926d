"""One backbone whose weights each task changes a little.

Shapes: T tasks, r the rank of a change.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.sharing.base import MakeBackbone, Trunk
from polytask.types import ByName, Features


class LowRank(nn.Module):
    """A low-rank change of one weight; zero at first.

    Args:
        weight: The weight, `[out, ...]`.
        rank: r.
        scale: Factor of the change.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = Parameter(weight.new_empty(rank, weight[0].numel()))
        self.up = Parameter(weight.new_zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as in the authors' code

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + (self.scale * self.up @ self.down).view(weight.shape).to(weight.dtype)


class LoRA(Trunk):
    """One backbone, and per task a low-rank change of each of its weights (Hu 2021).

    LoRA, Hu et al., ICLR 2022 (arXiv 2106.09685). Every parameter of two or more dimensions is
    changed: linear, convolutional (flattened to `[out, in * k * k]`) and recurrent weights; the
    paper changes attention's projections only. The change is added to the weight before the
    pass, so any module will do, and the paper's dropout has no place. Changes are zero at first:
    each task starts with the backbone as it is.

    Each task has its own pass through the backbone: a step with T tasks costs about T backbones.
    Batch normalisation that is not frozen normalises each pass by itself in training, and keeps
    one running mean and variance of all tasks' passes together: what a task gets in evaluation
    differs from training the more the tasks' changes differ. Frozen, it is as in evaluation.

    Args:
        make: Makes the backbone; called once. One with trained weights is what the paper means.
        tasks: The names of the tasks.
        rank: r.
        alpha: The change is scaled by `alpha / rank`.
        freeze: Whether the backbone's own weights stay as they are; it is then as in evaluation.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        rank: int = 8,
        alpha: float = 8.0,
        freeze: bool = False,
    ) -> None:
        if rank < 1:
            raise ValueError(f"`rank` should be at least 1. Found {rank}.")
        super().__init__()
        self.tasks = ()
        self.out_features = {}
        self.rank, self.scale, self.freeze = rank, alpha / rank, freeze
        self.backbone = make().requires_grad_(not freeze)
        self.adapted = tuple(n for n, p in self.backbone.named_parameters() if p.ndim > 1)
        self.changes = ByName({task: self._made() for task in tasks})
        self.tasks = tuple(tasks)
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)
        self.train()

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The backbone with each task's weights, one pass per task."""
        return {
            task: functional_call(self.backbone, self._weights(task), (features,)) for task in tasks
        }

    def shared_parameters(self) -> Iterator[Parameter]:
        """The backbone where it is not frozen; changes are the tasks' own."""
        if len(self.tasks) > 1:
            yield from (p for p in self.backbone.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen backbone stays in evaluation, or its statistics would move."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def add_task(self, task: str) -> None:
        """Give a further task changes of its own, zero at first; other tasks' stay as they are.

        An optimiser that exists already does not know the new parameters.

        Raises:
            ValueError: If the task is there already.
        """
        if task in self.tasks:
            raise ValueError(f"The task '{task}' is there already. Tasks: {', '.join(self.tasks)}.")
        kept = {name: self.changes[name] for name in self.tasks}
        self.changes = ByName(kept | {task: self._made()})
        self.tasks = (*self.tasks, task)
        self.out_features[task] = self.backbone.out_features
        self.train(self.training)

    @torch.no_grad()
    def merge(self, task: str) -> Backbone:
        """A plain backbone with the task's weights; it shares nothing with this trunk."""
        merged = copy.deepcopy(self.backbone)
        weights = self._weights(task)
        for name, parameter in merged.named_parameters():
            parameter.requires_grad_(True)
            if name in weights:
                parameter.copy_(weights[name])
        return merged.train(self.training)

    @torch.no_grad()
    def shares(self) -> dict[str, Tensor]:
        """`changes`, `[T, stages]`: the norm of each task's change relative to the weights'.

        Weights that lie outside the backbone's stages are left out.
        """
        rows = []
        for task in self.tasks:
            changed, size = (torch.zeros(len(self.backbone.stages)) for _ in range(2))
            for name, weight in self._weights(task).items():
                if not name.startswith("stages."):
                    continue
                stage, before = int(name.split(".")[1]), self.backbone.get_parameter(name)
                changed[stage] += (weight - before).float().square().sum().cpu()
                size[stage] += before.float().square().sum().cpu()
            rows.append((changed / size.clamp(min=1e-12)).sqrt())
        return {"changes": torch.stack(rows)}

    def _made(self) -> nn.ModuleList:
        weights = (self.backbone.get_parameter(name) for name in self.adapted)
        return nn.ModuleList(LowRank(weight.detach(), self.rank, self.scale) for weight in weights)

    def _weights(self, task: str) -> dict[str, Tensor]:
        """The task's own version of each weight that is changed."""
        changes = self.changes[task]
        assert isinstance(changes, nn.ModuleList)
        return {
            name: change(self.backbone.get_parameter(name))
            for name, change in zip(self.adapted, changes, strict=True)
        }
