"""One backbone; each task attends to what it needs of every stage.

Shapes: T tasks, S stages, C channels after a stage.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.sharing.gates import KEPT
from polytask.sharing.growing import Growing
from polytask.sharing.making import MakeBackbone, one, task_names
from polytask.sharing.places import at_every_place, fitted
from polytask.types import ByName, Features


class Attention(nn.Module):
    """Weights in (0, 1) for a stage's features, from these and what the task attended to before.

    Args:
        before: C of the previous stage; 0 for the first.
        width: C of the stage.

    Attributes:
        mean: Running mean of the weights over training passes.
        seen: The number of training passes.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(before + width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.Sigmoid(),
        )
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, shared: Features, attended: Features | None) -> Features:
        """The stage's features times their weights."""
        joined = shared.values
        if attended is not None:
            before = fitted(attended, shared).to(joined.dtype)
            joined = torch.cat((joined, before), 1 if joined.ndim == 4 else -1)
        weights = at_every_place(self.layers, joined)
        if self.training:
            self._note(Features(weights.detach(), shared.mask))
        return Features(shared.values * weights, shared.mask)

    @torch.no_grad()
    def _note(self, weights: Features) -> None:
        """Take weights into the running mean; the first ones count alike."""
        self.seen += 1
        rate = (1 / self.seen.to(self.mean.dtype)).clamp(min=1 - KEPT)
        self.mean.lerp_(weights.pooled().to(self.mean.dtype).mean(), rate)


class MTAN(Growing):
    """One shared backbone, and per task and stage a soft attention over its features (Liu 2019).

    Multi-task attention network, Liu, Johns and Davison, CVPR 2019. A task's attention at a stage
    sees the shared features of the stage and what the task attended to at the stage before,
    brought to the stage's size whatever its stride (see `fitted`): two linear layers at every
    place (1x1 convolutions of maps), a sigmoid, and the product with the shared features. The
    task's head gets what it attends to at the last stage. The backbone runs once for all tasks.

    Differences from the paper: a stage is taken as a whole, so attention weighs the same
    features that it looks at, where the paper looks at the end of a stage and weighs its middle;
    the previous stage's features are joined in without the paper's 3x3 convolution, and attention
    adds no decoder. The first layer's normalisation is over channels where the paper's is over
    the batch, so that padding and neighbours have no say; there is none before the sigmoid, where
    it would fix the mean weight of each place.

    Args:
        make: Makes the backbone; called once.
        tasks: The names of the tasks.
    """

    def __init__(self, make: MakeBackbone, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.backbone = one(make)
        self.attentions = ByName({task: self.parts_for(task)["attentions"] for task in self.tasks})
        self.out_features = dict.fromkeys(self.tasks, self.backbone.out_features)

    def parts_for(self, task: str) -> Mapping[str, nn.Module]:
        """An attention for every stage."""
        widths = self.backbone.widths
        sizes = zip((0, *widths), widths, strict=False)
        return {"attentions": nn.ModuleList(Attention(*size) for size in sizes)}

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The backbone once; each task's attention along it."""
        attended: dict[str, Features | None] = dict.fromkeys(tasks)
        for depth, stage in enumerate(self.backbone.stages):
            features = stage(features)
            for task in tasks:
                attended[task] = self._attentions(task)[depth](features, attended[task])
        return {task: given for task, given in attended.items() if given is not None}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The backbone; attention is the tasks' own."""
        if len(self.tasks) > 1:
            yield from (p for p in self.backbone.parameters() if p.requires_grad)

    def shares(self) -> dict[str, Tensor]:
        """`attention`, `[T, S]`: each task's mean weight of a stage's features.

        Running means over training, zero before it.
        """
        rows = [
            torch.stack([attention.get_buffer("mean") for attention in self._attentions(task)])
            for task in self.tasks
        ]
        return {"attention": torch.stack(rows)}

    def _attentions(self, task: str) -> nn.ModuleList:
        attentions = self.attentions[task]
        assert isinstance(attentions, nn.ModuleList)
        return attentions
