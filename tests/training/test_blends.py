"""The loss of examples that are two in one."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from polytask.config.catalogue import TASKS
from polytask.config.checks import mismatches
from polytask.model import Boundary
from polytask.tasks import Binary, Multiclass, Multilabel, Regression, Task
from polytask.training.losses import label_sizes, task_losses
from polytask.types import Batch, Blend, Features

KINDS: list[tuple[Task, Tensor, Tensor]] = [
    (
        Multiclass(name="t", input="i", target={}, classes=("a", "b", "c"), counts=(2, 2, 2)),
        torch.tensor([0, 2, 1, 0, 0, 1]),
        torch.tensor([1, 1, 0, 2, 2, 0]),
    ),
    (
        Binary(name="t", input="i", target={}, classes=("no", "yes")),
        torch.tensor([0.0, 1, 1, 0, 0, 1]),
        torch.tensor([1.0, 1, 0, 0, 1, 0]),
    ),
    (
        Multilabel(name="t", input="i", target={}, classes=("a", "b")),
        torch.tensor([[0.0, 1], [1, 1], [0, 0], [1, 0], [0, 1], [1, 0]]),
        torch.tensor([[1.0, 1], [0, 1], [0, 1], [1, 1], [0, 0], [1, 0]]),
    ),
    (
        Regression(name="t", input="i", target={}, mean=(0.0, 0.0), std=(1.0, 2.0)),
        torch.randn(6, 2, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[1.0, float("nan")], [0, 1], [0, 1], [1, 1], [0, 0], [1, 0]]),
    ),
]
SHARE = torch.tensor([0.3, 1.0, 0.0, 0.5, 0.8, 0.6])
PRESENT = torch.tensor([True, True, True, False, True, False])
OTHER = torch.tensor([True, False, True, True, False, False])


class Fixed(nn.Module):
    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(
        self, inputs: object, tasks: list[str], boundary: object, rows: object
    ) -> dict[str, Tensor]:
        return dict.fromkeys(tasks, self.outputs)


def batch(task: Task, target: Tensor, other: Tensor, share: Tensor = SHARE) -> Batch:
    return Batch(
        {"i": Features(torch.zeros(6, 1))},
        {"t": target},
        {"t": PRESENT},
        {},
        {"i": Blend({"t": other}, {"t": OTHER}, share)},
    )


@pytest.mark.parametrize(("task", "target", "other"), KINDS, ids=lambda k: type(k).__name__)
def test_the_loss_is_the_weighted_mean_over_labels_that_are_there(
    task: Task, target: Tensor, other: Tensor
) -> None:
    assert task.blends
    fabric = Fabric(accelerator="cpu", devices=1)
    outputs = torch.randn(6, task.outputs, generator=torch.Generator().manual_seed(1))  # type: ignore[attr-defined]
    model = Fixed(outputs)
    given = batch(task, target, other)
    (loss,), counts = task_losses(fabric, model, given, [task], Boundary())  # type: ignore[arg-type]
    total, weights = 0.0, 0.0
    for k in range(6):
        for label, there, weight in (
            (target, PRESENT, float(SHARE[k])),
            (other, OTHER, 1 - float(SHARE[k])),
        ):
            if there[k]:
                total += weight * float(task.loss(outputs[k : k + 1], label[k : k + 1]))
                weights += weight
    assert loss.item() == pytest.approx(total / weights, rel=1e-5)
    assert counts.tolist() == [4] and label_sizes(fabric, given, [task]) == [pytest.approx(weights)]
    loss.backward()
    gradient = model.outputs.grad
    assert gradient is not None and gradient[5].eq(0).all(), "neither of its labels is there"
    assert gradient[3].abs().sum() > 0, "its other label is"


def test_a_share_of_one_is_no_blend() -> None:
    task, target, other = KINDS[0]
    fabric = Fabric(accelerator="cpu", devices=1)
    model = Fixed(torch.randn(6, 3, generator=torch.Generator().manual_seed(1)))
    blended = batch(task, target, other, torch.ones(6))
    plain = Batch(blended.inputs, blended.targets, blended.present)
    (one,), _ = task_losses(fabric, model, blended, [task], Boundary())  # type: ignore[arg-type]
    (two,), _ = task_losses(fabric, model, plain, [task], Boundary())  # type: ignore[arg-type]
    assert one.item() == pytest.approx(two.item(), rel=1e-6)


def test_only_tasks_about_a_whole_example_blend() -> None:
    blending = {name for name, kind in TASKS.items() if kind.blends}
    assert {"multiclass", "binary", "multilabel", "regression"} <= blending
    assert "tagging" not in blending


def test_a_task_that_cannot_blend_is_a_mistake_in_the_file() -> None:
    raw = {
        "sources": {"s": {}},
        "inputs": {"i": {"kind": "sound", "columns": {"s": "audio"}, "blend": {"kind": "mixup"}}},
        "tasks": {
            "words": {"kind": "tagging", "input": "i", "target": {"s": "w"}},
            "word": {"kind": "multiclass", "input": "i", "target": {"s": "w"}},
        },
    }
    told = [str(m) for m in mismatches(raw) if "blend" in str(m)]
    assert len(told) == 1 and "a tagging task cannot learn from examples that are two" in told[0]
    raw["inputs"]["i"]["blend"] = None  # type: ignore[index]
    assert not [m for m in mismatches(raw) if "blend" in str(m)]
