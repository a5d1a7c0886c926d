"""Tasks draft their predictions, and refine them with what the others drafted.

Shapes: T tasks, C or D channels of the backbone, W channels of a draft.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.backbones.base import ACTIVATIONS, Activation
from polytask.sharing.base import Trunk
from polytask.sharing.channels import ChannelLinear
from polytask.sharing.making import MakeBackbone, one, task_names
from polytask.types import ByName, Features


class Refinement(nn.Module):
    """A task's draft with messages from the other tasks' drafts, let in by a gate of its own.

    Args:
        others: The number of other tasks.
        width: W.
    """

    def __init__(self, others: int, width: int) -> None:
        super().__init__()
        self.message = ChannelLinear(others * width, width)
        self.gate = ChannelLinear(width, width)

    def forward(self, own: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The refined draft, of the draft's shape."""
        told = self.message(torch.cat(list(others), 1 if own.ndim == 4 else -1))
        refined: Tensor = own + torch.sigmoid(self.gate(own)) * told
        return refined


class PADNet(Trunk):
    """One backbone; each task drafts its prediction, and drafts are distilled into one another
    (Xu, Ouyang, Wang and Sebe 2018, "PAD-Net", with its attention-guided distillation).

    A layer of each task's own, over the backbone's end, gives its draft: features of which a
    first head predicts (its loss times `draft_weight` is added to the task's), so that the tasks'
    own predictions are what passes between them. Each task then adds messages from all other
    drafts, as far as its gate, which looks at its own draft, lets them in.

    The backbone and the drafting layers are moved by every task; messages and gates are a task's
    own.

    Differences from the paper: every task drafts and is refined, where the paper has auxiliary
    tasks that only draft (give such a task a small `weight`, or read its scores as a by-product);
    linear layers at every place (1x1 convolutions of maps) in place of 3x3 convolutions and
    deconvolutions, so that any backbone will do; one message from all other drafts together,
    which is the sum of one from each.

    Args:
        make: Makes the backbone.
        tasks: The names of the tasks.
        width: W; null for the backbone's width.
        draft_weight: The factor of the first heads' losses. 0 leaves them out.
        activation: The nonlinearity of the drafting layers.
    """

    by_order = ("refinements",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        width: int | None = None,
        draft_weight: float = 1.0,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        if width is not None and width < 1:
            raise ValueError(f"`width` should be at least 1. Found {width}.")
        if draft_weight < 0:
            raise ValueError(f"`draft_weight` should be at least 0. Found {draft_weight}.")
        self.tasks = task_names(tasks)
        self.draft_weight = draft_weight
        self.backbone = one(make)
        wide = self.backbone.out_features if width is None else width
        self.layers = ByName(
            {
                task: nn.Sequential(
                    ChannelLinear(self.backbone.out_features, wide), ACTIVATIONS[activation]()
                )
                for task in self.tasks
            }
        )
        alone = len(self.tasks) == 1
        self.refinements = ByName(
            {} if alone else {task: Refinement(len(tasks) - 1, wide) for task in self.tasks}
        )
        self.out_features = dict.fromkeys(self.tasks, wide)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The refined drafts of some tasks."""
        return self.with_drafts(features, tasks)[0]

    def with_drafts(
        self, features: Features, tasks: Sequence[str]
    ) -> tuple[dict[str, Features], dict[str, Features]]:
        """The refined drafts of some tasks, and their drafts."""
        features = self.backbone(features)
        drafts = {task: self.layers[task](features.values) for task in self.tasks}
        refined = {}
        for task in tasks:
            others = [draft for other, draft in drafts.items() if other != task]
            own = drafts[task]
            values = self.refinements[task](own, others) if others else own
            refined[task] = Features(values, features.mask)
        return refined, {task: Features(drafts[task], features.mask) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        """The backbone and the drafting layers, if there is more than one task."""
        if len(self.tasks) > 1:
            yield from self.backbone.parameters()
            yield from self.layers.parameters()

    def shares(self) -> dict[str, Tensor]:
        """`messages`, `[T, T]`: the norm of what each task (row) takes from each other's draft."""
        count = len(self.tasks)
        table = torch.zeros(count, count)
        for row, task in enumerate(self.tasks if count > 1 else ()):
            refinement = self.refinements[task]
            assert isinstance(refinement, Refinement)
            weight = refinement.message.weight.detach()  # [W, (T - 1) W]
            norms = weight.unflatten(1, (count - 1, -1)).norm(dim=(0, 2))
            table[row, [k for k in range(count) if k != row]] = norms.float().cpu()
        return {"messages": table}
