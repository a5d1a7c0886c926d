"""Networks side by side whose ends are joined.

Shapes: T tasks, C or D features at the end of a column, J joined features.
"""

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn import Parameter

from polytask.backbones.base import ACTIVATIONS, Activation
from polytask.backbones.columns import run_columns
from polytask.sharing.base import Trunk
from polytask.sharing.channels import ChannelLinear, joined
from polytask.sharing.making import MakeBackbone, by_task, task_names
from polytask.types import ByName, Features


class Joined(Trunk):
    """A column per task up to the end, then one layer over all of them that every head reads
    (columns as in "multi-column" and late-fusion networks: Ciresan, Meier and Schmidhuber 2012
    average them, Ngiam et al. 2011 join them by a layer).

    Columns do not see each other before the join. It is a linear layer with an activation over
    the columns' concatenated vectors, or each frame of sequences, or each pixel of maps (a 1x1
    convolution). Because each head reads the joined features, each task's loss reaches each
    column: columns are named after tasks, but all parameters are shared. That is the difference
    from independent networks, and it means that a column is not kept free of other tasks.

    Args:
        make: Makes one backbone; called once per task.
        tasks: The names of the tasks.
        width: J; null for the width of one column.
        activation: The nonlinearity after the joining layer.
        pool: Whether columns are averaged over frames or pixels before the join. Then heads get
            vectors.
    """

    by_order = ("join",)

    def __init__(
        self,
        make: MakeBackbone,
        tasks: Sequence[str],
        *,
        width: int | None = None,
        activation: Activation = "gelu",
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = task_names(tasks)
        self.pool = pool
        made = by_task(make, self.tasks)
        self.columns = ByName(made)
        ins = [column.out_features for column in made.values()]
        outs = ins[0] if width is None else width
        if outs < 1:
            raise ValueError(f"`width` should be at least 1. Found {outs}.")
        self.join = ChannelLinear(sum(ins), outs)
        self.activation: nn.Module = ACTIVATIONS[activation]()
        self.out_features = dict.fromkeys(self.tasks, outs)

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        """All columns and their join, the same for every task."""
        ends = run_columns([self.columns[task] for task in self.tasks], features)
        if self.pool:
            ends = [Features(end.pooled()) for end in ends]
        values, mask = joined(ends)
        found = Features(self.activation(self.join(values)), mask)
        return dict.fromkeys(tasks, found)

    def shared_parameters(self) -> Iterator[Parameter]:
        """Everything, if there is more than one task: each head reads all columns."""
        return self.parameters() if len(self.tasks) > 1 else iter(())
