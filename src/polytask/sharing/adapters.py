"""One backbone whose weights each task changes a little.

Shapes: T tasks, r the rank of a change.
"""

import copy
import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

from polytask.backbones.base import Backbone
from polytask.sharing.adapted import Adapted
from polytask.sharing.making import MakeBackbone
from polytask.types import Features


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


class LoRA(Adapted):
    """One backbone, and per task a low-rank change of each of its weights (Hu 2021).

    LoRA, Hu et al., ICLR 2022 (arXiv 2106.09685). Every parameter of two or more dimensions is
    changed: linear, convolutional (flattened to `[out, in * k * k]`) and recurrent weights; the
    paper changes attention's projections only. The change is added to the weight before the
    pass, so any module will do, and the paper's dropout has no place. Changes are zero at first:
    each task starts with the backbone as it is.

    Each task has its own pass through the backbone, over the examples that have its label: where
    all have all, a step with T tasks costs about T backbones.
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

    apart = True

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
        super().__init__(make, tasks, freeze, partial(changes, rank=rank, scale=alpha / rank))

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The backbone with each task's weights, one pass per task."""
        return {
            task: functional_call(self.backbone, self._weights(task), (features,)) for task in tasks
        }

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

    def _weights(self, task: str) -> dict[str, Tensor]:
        """The task's own version of each weight that is changed."""
        return {
            name: change(self.backbone.get_parameter(name))
            for name, change in zip(changed(self.backbone), self.part_of(task), strict=True)
        }


def changed(backbone: Backbone) -> list[str]:
    """The names of the weights that are changed: those of two or more dimensions."""
    return [name for name, parameter in backbone.named_parameters() if parameter.ndim > 1]


def changes(backbone: Backbone, rank: int, scale: float) -> nn.ModuleList:
    """A task's change of each of these weights."""
    weights = (backbone.get_parameter(name).detach() for name in changed(backbone))
    return nn.ModuleList(LowRank(weight, rank, scale) for weight in weights)
