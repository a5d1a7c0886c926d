"""One backbone, and small layers of each task's own after its stages.

Shapes: T tasks, S stages, C channels after a stage.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from polytask.backbones.base import Backbone
from polytask.sharing.adapted import Adapted
from polytask.sharing.gates import entering_width
from polytask.sharing.making import MakeBackbone
from polytask.sharing.places import at_every_place, fitted
from polytask.types import Features


class Bottleneck(nn.Module):
    """Two linear layers at every place with few channels between them; gives zeros at first.

    Args:
        in_features: C of what it sees.
        width: Channels between the layers.
        out_features: C of what it gives.
    """

    def __init__(self, in_features: int, width: int, out_features: int) -> None:
        super().__init__()
        self.down = nn.Linear(in_features, width)
        self.up = nn.Linear(width, out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """From `[..., in_features]` to `[..., out_features]`."""
        given: Tensor = self.up(nn.functional.gelu(self.down(features)))
        return given


class Adapters(Adapted):
    """One backbone; each task adds the output of a small bottleneck to every stage's.

    Serial adapters (Houlsby et al., ICML 2019, arXiv 1902.00751) see what the stage gives:
    `y = stage(x)`, `y + up(gelu(down(y)))`. Parallel ones (Rebuffi, Bilen and Vedaldi, CVPR 2018)
    see what enters it: `stage(x) + up(gelu(down(x)))`, with x brought to the size of the stage's
    output (see `fitted`). The last layer is zero at first: each task starts with the backbone as
    it is, bit for bit. Both layers work at every place, as 1x1 convolutions on maps.

    Differences from the papers: adapters stand at whole stages, where Houlsby has two in each
    Transformer layer and Rebuffi one beside each convolution; the backbone's normalisation stays
    shared, where both give each task its own; Houlsby starts near zero, not at it, and Rebuffi's
    have one linear layer without a bottleneck.

    After the first stage each task has its own pass: a step with T tasks costs about T backbones
    less T - 1 first stages. Batch normalisation that is not frozen sees the tasks' passes in turn
    and keeps one running mean of all of them; frozen, it normalises as in evaluation.

    Args:
        make: Makes the backbone; called once. One with trained weights is what the papers mean.
        tasks: The names of the tasks.
        bottleneck: The channels between an adapter's two layers.
        placement: `serial`, on what a stage gives, or `parallel`, on what enters it.
        freeze: Whether the backbone's own weights stay as they are; it is then as in evaluation.
    """

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        bottleneck: int = 16,
        placement: Literal["serial", "parallel"] = "serial",
        freeze: bool = False,
    ) -> None:
        if bottleneck < 1:
            raise ValueError(f"`bottleneck` should be at least 1. Found {bottleneck}.")
        if placement not in ("serial", "parallel"):
            raise ValueError(f"`placement` should be 'serial' or 'parallel'. Found '{placement}'.")
        part = partial(adapters, width=bottleneck, parallel=placement == "parallel")
        super().__init__(make, tasks, freeze, part)
        self.placement = placement

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """The first stage once; then each task's own pass."""
        first, *rest = self.backbone.stages
        common = first(features)
        given = {}
        for task in tasks:
            adapters = self.part_of(task)
            stream = self._adapted(adapters[0], features, common)
            for stage, adapter in zip(rest, adapters[1:], strict=True):
                stream = self._adapted(adapter, stream, stage(stream))
            given[task] = stream
        return given

    @torch.no_grad()
    def shares(self) -> dict[str, Tensor]:
        """`adapters`, `[T, S]`: the norm of each adapter's two layers multiplied, without gelu."""
        rows = [
            torch.stack(
                [
                    (a.get_parameter("up.weight") @ a.get_parameter("down.weight")).norm()
                    for a in self.part_of(task)
                ]
            )
            for task in self.tasks
        ]
        return {"adapters": torch.stack(rows)}

    def _adapted(self, adapter: nn.Module, before: Features, after: Features) -> Features:
        """A stage's output with the adapter's added."""
        seen = after.values if self.placement == "serial" else fitted(before, after)
        change = at_every_place(adapter, seen)
        return Features(after.values + change.to(after.values.dtype), after.mask)


def adapters(backbone: Backbone, width: int, parallel: bool) -> nn.ModuleList:
    """A task's adapter of each stage; parallel ones see what enters it."""
    ins = outs = backbone.widths
    if parallel:
        ins = (entering_width(backbone), *outs[:-1])
    sizes = zip(ins, outs, strict=True)
    return nn.ModuleList(Bottleneck(i, width, o) for i, o in sizes)
