"""Who moves which parameter, for every sharing topology."""

from collections.abc import Sequence

import pytest
import torch

from polytask.backbones import PerceptronBackbone
from polytask.tasks import Task
from polytask.types import Features
from tests.networks import TASKS, TRUNKS, batch, network

NAMES = ["a", "b", "c"]
every_trunk = pytest.mark.parametrize("kind", TRUNKS)


@every_trunk
def test_gives_each_task_features_of_its_width(kind: str) -> None:
    trunk = TRUNKS[kind](lambda: PerceptronBackbone(4, widths=(5, 3)), NAMES)
    features = Features(torch.randn(6, 4))
    given = trunk(features, ["c", "a"])
    assert list(given) == ["c", "a"]
    for task, found in given.items():
        assert found.values.shape == (6, trunk.out_features[task])
    assert set(trunk.out_features) == set(trunk.tasks) == set(NAMES)


@every_trunk
def test_a_task_alone_gets_the_features_it_gets_in_company(kind: str) -> None:
    trunk = TRUNKS[kind](lambda: PerceptronBackbone(4, widths=(5, 3)), NAMES).eval()
    features = Features(torch.randn(6, 4))
    together = trunk(features, NAMES)
    for task in NAMES:
        assert torch.equal(trunk(features, [task])[task].values, together[task].values)


@every_trunk
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shared_parameters_are_exactly_those_that_several_tasks_move(kind: str, count: int) -> None:
    tasks = TASKS[:count]
    model = network(tasks, trunk=kind)
    assert moved_by_several(kind, tasks) == {
        name
        for name, p in model.named_parameters()
        if any(p is shared for shared in model.shared_parameters())
    }
    shared = list(model.shared_parameters())
    assert len({id(p) for p in shared}) == len(shared)


def moved_by_several(kind: str, tasks: Sequence[Task]) -> set[str]:
    """Found by differentiating each task's loss alone, over batches with all labels."""
    movers: dict[str, set[str]] = {}
    for task in tasks:
        model = network(tasks, trunk=kind)
        examples = batch(missing=0.0)
        outputs = model(examples.inputs, [t.name for t in tasks])
        task.loss(outputs[task.name], examples.targets[task.name]).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                movers.setdefault(name, set()).add(task.name)
    return {name for name, who in movers.items() if len(who) > 1}


@every_trunk
def test_a_tasks_gradient_is_zero_on_the_others_own_parameters(kind: str) -> None:
    model = network(trunk=kind)
    shared = {id(p) for p in model.shared_parameters()}
    examples = batch(missing=0.0)
    for task in TASKS:
        model.zero_grad()
        outputs = model(examples.inputs, [t.name for t in TASKS])
        task.loss(outputs[task.name], examples.targets[task.name]).sum().backward()
        for name, parameter in model.named_parameters():
            moved = parameter.grad is not None and bool(parameter.grad.any())
            others = [t.name for t in TASKS if t is not task]
            own = id(parameter) not in shared
            if own and any(f".{other}" in name for other in others):
                assert not moved, f"{task.name} moves {name}"
            # In an order of tasks the lower ones do not move what lies above them.
            if f"heads.{task.name}" in name or (
                id(parameter) in shared and name.startswith("trunk.") and kind != "joint"
            ):
                assert moved, f"{task.name} does not move {name}"


def test_a_frozen_part_of_the_trunk_is_not_shared() -> None:
    model = network()
    next(model.trunk.parameters()).requires_grad_(False)
    assert all(p.requires_grad for p in model.shared_parameters())


@every_trunk
def test_every_backbone_is_found(kind: str) -> None:
    trunk = TRUNKS[kind](lambda: PerceptronBackbone(4, widths=(5,)), NAMES)
    count = {
        "hard": 1,
        "split": 1,
        "hierarchy": 1,
        "lora": 1,
        "film": 1,
        "joint": 1,
        "mtan": 1,
        "pad-net": 1,
        "adapters": 1,
        "shared-private": 4,
        "cgc": 4,
        "ple": 4,
        "dselect-k": 4,
    }.get(kind, 3)
    assert len(list(trunk.backbones())) == count
