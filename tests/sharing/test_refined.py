"""Drafts: they are trained, they pass between tasks, and balancers see them as the task's own."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from polytask.backbones import PerceptronBackbone
from polytask.balancing import MGDA, EqualWeighting
from polytask.balancing.base import Balancer
from polytask.encoders import VectorEncoder
from polytask.model import Boundary, MultiTaskModel, joined_alias
from polytask.sharing import PADNet
from polytask.tasks import Regression
from polytask.training.step import train_step
from polytask.types import Batch, Features

NAMES = ["a", "b"]


def model(draft_weight: float = 0.5) -> tuple[MultiTaskModel, list[Regression]]:
    torch.manual_seed(0)
    tasks = [
        Regression(name=name, input="x", target={"s": name}).fit(np.array([[-1.0], [1.0]], object))
        for name in NAMES
    ]
    trunk = PADNet(lambda: PerceptronBackbone(3, widths=(5,)), NAMES, draft_weight=draft_weight)
    return MultiTaskModel({"x": VectorEncoder(3)}, trunk, tasks), tasks


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, generator=generator)
    targets = {name: torch.randn(6, 1, generator=generator) for name in NAMES}
    present = {"a": torch.ones(6, dtype=torch.bool), "b": torch.tensor([1, 0, 1, 1, 0, 1]).bool()}
    return Batch({"x": Features(x)}, targets, present)


def losses_by_hand(network: MultiTaskModel, tasks: list[Regression]) -> list[Tensor]:
    """Each task's loss and half that of its draft, over its labelled examples."""
    given = batch()
    boundary = Boundary()
    outputs = network(given.inputs, NAMES, boundary)
    found = []
    for task in tasks:
        here, target = given.present[task.name], given.targets[task.name]
        both = [outputs[task.name], boundary.drafts[task.name]]
        losses = [task.loss(output[here], target[here]).mean() for output in both]
        found.append(losses[0] + 0.5 * losses[1])
    return found


@pytest.mark.parametrize(
    "balancer", [EqualWeighting(num_tasks=2), MGDA(num_tasks=2), MGDA(num_tasks=2, at="features")]
)
def test_a_step_follows_the_loss_and_half_the_drafts_loss(balancer: Balancer) -> None:
    """Whatever balancers do to shared parameters, heads on drafts get their own gradient; with
    equal weights all parameters get the gradient of the sum."""
    network, tasks = model()
    reference, _ = model()
    torch.stack(losses_by_hand(reference, tasks)).sum().backward()
    fabric = Fabric(accelerator="cpu")
    fabric.launch()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    shared = list(network.shared_parameters())
    private = [p for p in network.parameters() if all(p is not s for s in shared)]
    train_step(
        fabric,
        wrapped,
        batch(),
        tasks,
        balancer=balancer,
        optimizer=wrapped_optimizer,
        shared=shared,
        private=private,
        clip=None,
    )
    own = {id(p) for p in private}
    moved = 0
    for (name, after), expected in zip(
        network.named_parameters(), reference.parameters(), strict=True
    ):
        step = before[name] - after.detach()
        if isinstance(balancer, EqualWeighting) or id(after) in own:
            assert expected.grad is not None
            torch.testing.assert_close(step, expected.grad, atol=1e-6, rtol=1e-5)
        moved += bool(step.any())
    assert moved == len(before)


def test_predictions_need_no_drafts_and_weight_zero_makes_no_heads() -> None:
    network, _ = model()
    inputs = batch().inputs
    boundary = Boundary()
    with_drafts = network(inputs, NAMES, boundary)
    without = network(inputs, NAMES)
    for name in NAMES:
        torch.testing.assert_close(without[name], with_drafts[name])
    plain, _ = model(draft_weight=0.0)
    boundary = Boundary()
    plain(inputs, NAMES, boundary)
    assert not boundary.drafts and len(list(plain.drafts)) == 0


def test_messages_say_what_a_task_takes_from_another() -> None:
    network, _ = model()
    trunk = network.trunk
    assert isinstance(trunk, PADNet)
    with torch.no_grad():
        trunk.refinements["a"].message.weight.zero_()  # type: ignore[union-attr, operator]
    table = trunk.shares()["messages"]
    assert table[0].tolist() == [0.0, 0.0] and table[1, 0] > 0 and table[1, 1] == 0


def test_parts_of_a_joined_alias_are_the_tensors() -> None:
    a, b = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 5)
    alias, (first, second) = joined_alias(a, b)
    assert torch.equal(first, a) and torch.equal(second, b)
    (gradient,) = torch.autograd.grad(first.sum() + 2 * second.sum(), alias)
    assert gradient.shape == (2, 17) and gradient.sum() == 2 * (12 + 2 * 5)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="draft_weight"):
        PADNet(lambda: PerceptronBackbone(3, widths=(5,)), NAMES, draft_weight=-1)
    with pytest.raises(ValueError, match="width"):
        PADNet(lambda: PerceptronBackbone(3, widths=(5,)), NAMES, width=0)
