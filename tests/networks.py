"""A small network of several tasks, and batches for it, for the tests of several floors.

Two inputs, `picture` (vectors here) and `sound`; tasks with names that could clash with methods.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.backbones import PerceptronBackbone
from polytask.config.catalogue import TRUNKS
from polytask.encoders import Encoder, StackedEncoder, VectorEncoder
from polytask.model import MultiTaskModel
from polytask.tasks import Binary, Multiclass, Multilabel, Regression, Task
from polytask.types import Batch, Features

WIDTHS = {"picture": 5, "sound": 3}

TASKS: tuple[Task, ...] = (
    Multiclass(
        name="type",
        input="picture",
        target={"a": "kind"},
        classes=("x", "y", "z"),
        counts=(3, 4, 5),
    ),
    Regression(
        name="values",
        input="picture",
        target={"a": ("p", "q")},
        mean=(0.5, -1.0),
        std=(2.0, 0.5),
    ),
    Binary(name="training", input="sound", target={"b": "truth"}, classes=("no", "yes")),
    Multilabel(name="tags", input="sound", target={"b": ("r", "s")}, classes=("r", "s")),
)


def network(
    tasks: Sequence[Task] = TASKS,
    *,
    trunk: str = "hard",
    dropout: float = 0.0,
    width: int = 6,
    seed: int = 0,
) -> MultiTaskModel:
    """The network: a projection per input, a perceptron trunk, linear heads."""
    torch.manual_seed(seed)
    encoders: dict[str, Encoder] = {
        name: StackedEncoder(VectorEncoder(size), width=width)
        for name, size in WIDTHS.items()
        if any(task.input == name for task in tasks)
    }
    names = [task.name for task in tasks]
    made = TRUNKS[trunk](
        lambda: PerceptronBackbone(width, widths=(width, 7), dropout=dropout, normalize=False),
        names,
    )
    return MultiTaskModel(encoders, made, tasks)


def batch(
    seed: int = 0,
    rows: int = 8,
    *,
    tasks: Sequence[Task] = TASKS,
    missing: float = 0.4,
    absent: Sequence[str] = (),
) -> Batch:
    """Random examples of both inputs; a share of the labels is missing, of `absent` tasks all."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    made: dict[str, Tensor] = {
        "type": torch.randint(0, 3, (rows,), generator=random),
        "values": drawn(rows, 2),
        "training": (drawn(rows) > 0).float(),
        "tags": (drawn(rows, 2) > 0).float(),
    }
    made["values"][0, 0] = made["tags"][1, 1] = float("nan")
    present = {}
    for task in TASKS:
        there = torch.rand(rows, generator=random) >= missing
        there[-1] = True
        present[task.name] = there & (task.name not in absent)
        # A placeholder that would be noticed: it must never be read.
        if made[task.name].is_floating_point():
            made[task.name][~present[task.name]] = float("nan")
        else:
            made[task.name][~present[task.name]] = -1
    inputs = {name: Features(drawn(rows, size)) for name, size in WIDTHS.items()}
    used = {task.input for task in tasks}
    names = [task.name for task in tasks]
    return Batch(
        {name: value for name, value in inputs.items() if name in used},
        {name: made[name] for name in names},
        {name: present[name] for name in names},
    )


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
