"""What the Gramian of a step is made of, as the settings say it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.balancing import MGDA, Balancer, EqualWeighting, MoDo
from polytask.errors import ConfigError
from polytask.model import Boundary, MultiTaskModel
from polytask.training.losses import partial_losses, task_losses
from tests.networks import TASKS, batch, network
from tests.training.loops import Memory, Watcher, fabric, trainer


def weights_by_hand(model: MultiTaskModel, rows: int, measured: list[Tensor]) -> Tensor:
    """MGDA's weights from the gradients on the first rows, with plain autograd."""
    made = Memory().batch(0)
    losses = []
    for task in TASKS:
        here = made.present[task.name][:rows]
        outputs = model(made.inputs, [task.name])[task.name][:rows]
        loss = task.loss(outputs[here], made.targets[task.name][:rows][here]).mean()
        losses.append(task.weight * loss)
    jacobian = [
        torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).flatten()
                for p, g in zip(
                    measured,
                    torch.autograd.grad(loss, measured, retain_graph=True, allow_unused=True),
                    strict=True,
                )
            ]
        )
        for loss in losses
    ]
    rows_ = torch.stack(jacobian).double()
    return MGDA(len(TASKS))(rows_ @ rows_.T, torch.ones(len(TASKS))) * len(TASKS)


@pytest.mark.parametrize(
    ("settings", "rows", "last"),
    [
        ({}, 8, False),
        ({"groups": 3}, 8, False),
        ({"at_once": 2}, 8, False),
        ({"at_once": 9, "measured": "last_stage"}, 8, True),
        ({"measured": "last_stage"}, 8, True),
        ({"subsample": 0.7}, 6, False),
        ({"subsample": 0.7, "measured": "last_stage", "groups": 2}, 6, True),
    ],
)
def test_the_weights_are_those_of_what_is_measured(
    settings: dict[str, Any], rows: int, last: bool, tmp_path: Path
) -> None:
    model, watcher = network(), Watcher()
    measured = next(iter(model.trunk.backbones())).stages[-1] if last else None
    shared: list[Tensor] = list(measured.parameters() if measured else model.shared_parameters())
    made = Memory().batch(0)
    assert all(bool(made.present[task.name][:rows].any()) for task in TASKS)
    expected = weights_by_hand(model, rows, shared)
    trainer(
        tmp_path, model=model, balancer=MGDA(len(TASKS)), watcher=watcher, epochs=1, **settings
    ).fit()
    found = watcher.steps[0][1].weights
    assert found is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_a_task_without_a_label_in_the_part_makes_it_the_whole() -> None:
    model, made = network(), batch()
    made.present[TASKS[0].name][:4] = False
    _, counts = task_losses(fabric(), model, made, TASKS, Boundary())
    assert counts[0] > 0
    assert partial_losses(fabric(), model, made, TASKS, counts > 0, 0.5) is None
    assert partial_losses(fabric(), model, made, TASKS, counts, 1.0) is None
    assert partial_losses(fabric(), model, made, TASKS, counts, 0.99) is not None


@pytest.mark.parametrize(
    "balancer", [EqualWeighting(4), MGDA(4, at="features"), MoDo(4)], ids=lambda b: type(b).__name__
)
def test_a_balancer_that_has_no_use_for_it_says_so(balancer: Balancer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.subsample and training.groups"):
        trainer(tmp_path, balancer=balancer, subsample=0.5, groups=2)


@pytest.mark.parametrize(
    "balancer", [EqualWeighting(4), MGDA(4, at="features"), MoDo(4)], ids=lambda b: type(b).__name__
)
def test_a_balancer_without_gradients_of_tasks_says_so(balancer: Balancer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.at_once: .* does not"):
        trainer(tmp_path, balancer=balancer, at_once=2)


def test_a_part_of_the_batch_is_measured_one_by_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.at_once: .*training.subsample"):
        trainer(tmp_path, balancer=MGDA(len(TASKS)), at_once=2, subsample=0.5)


def test_nothing_shared_in_any_stage_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stage that tasks share"):
        trainer(
            tmp_path,
            model=network(trunk="independent"),
            balancer=MGDA(len(TASKS)),
            measured="last_stage",
        )


@pytest.mark.parametrize("settings", [{"subsample": 0.0}, {"subsample": 1.5}, {"groups": 0}])
def test_numbers_out_of_range(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should be"):
        trainer(tmp_path, **settings)
