"""A trunk's own penalty: differentiated, averaged and shown, and nobody's loss."""

import copy
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from polytask.backbones import Backbone
from polytask.balancing import CAGrad, EqualWeighting
from polytask.balancing.base import Balancer
from polytask.encoders import Encoder, StackedEncoder, VectorEncoder
from polytask.errors import TrainingError
from polytask.model import Boundary, MultiTaskModel
from polytask.sharing import HardSharing, MakeBackbone, Trunk
from polytask.training.checkpoint import load_state
from polytask.types import ByName, Features
from tests.networks import TASKS, WIDTHS, batch, network, parameters
from tests.processes import in_two_processes, launched
from tests.training.loops import Watcher, fabric, trainer
from tests.training.test_step import halves, joined, same, step


class Pulled(Trunk):
    """A shared and private backbones; it wants small private weights and small shared features."""

    def __init__(self, make: MakeBackbone, tasks: Sequence[str], factor: float = 0.5) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.shared = HardSharing(make, tasks)
        self.columns = ByName({task: make() for task in tasks})
        self.out_features = self.shared.out_features
        self.factor = factor
        self.seen: list[Tensor] = []

    def forward(self, features: Features, tasks: Sequence[str]) -> dict[str, Features]:
        common = self.shared(features, tasks)
        if self.training and torch.is_grad_enabled():
            self.seen.append(common[tasks[0]].values)
        own = {task: self.columns[task](features).values for task in tasks}
        return {task: Features(common[task].values + own[task]) for task in tasks}

    def shared_parameters(self) -> Iterator[Parameter]:
        return self.shared.shared_parameters()

    def penalty(self) -> Tensor:
        weights = torch.stack([p.square().sum() for p in self.columns.parameters()]).sum()
        activity = torch.stack([seen.square().mean() for seen in self.seen]).mean()
        self.seen.clear()
        return self.factor * (weights + activity)


def pulled(factor: float = 0.5) -> MultiTaskModel:
    model = network(dropout=0.0)
    encoders: dict[str, Encoder] = {
        name: StackedEncoder(VectorEncoder(size), width=6) for name, size in WIDTHS.items()
    }
    made = next(model.trunk.backbones())
    torch.manual_seed(0)

    def backbone() -> Backbone:
        copied = copy.deepcopy(made)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return copied

    return MultiTaskModel(encoders, Pulled(backbone, [t.name for t in TASKS], factor), TASKS)


@pytest.mark.parametrize("balancer", [EqualWeighting, CAGrad])
def test_gradients_grow_by_the_penaltys_and_weights_are_the_same(
    balancer: type[Balancer],
) -> None:
    examples, model, plain = batch(), pulled(), pulled(factor=0.0)
    before = parameters(model)
    boundary = Boundary()
    twin = pulled()
    twin(examples.inputs, [t.name for t in TASKS], boundary)
    assert boundary.penalty is not None
    boundary.penalty.backward()
    record = step(fabric(), model, examples, balancer=balancer(len(TASKS)))
    without = step(fabric(), plain, examples, balancer=balancer(len(TASKS)))
    assert record.penalty is not None and torch.equal(record.penalty, boundary.penalty.detach())
    assert record.weights is not None and without.weights is not None
    assert torch.equal(record.weights, without.weights)
    assert torch.equal(record.losses, without.losses)
    own = {name: p.grad for name, p in twin.named_parameters()}
    assert own["trunk.columns.tags.stages.0.module.linear.weight"] is not None
    assert own["encoders.sound.project.weight"] is not None
    for name, value in parameters(model).items():
        pull = own.get(name)
        moved = parameters(plain)[name] - before[name] - (0 if pull is None else 0.1 * pull)
        torch.testing.assert_close(value, before[name] + moved, msg=name)


def test_a_trunk_without_a_penalty_shows_none() -> None:
    model = network()
    assert model.trunk.penalty() is None
    assert step(fabric(), model, batch()).penalty is None


def test_the_penalty_is_computed_in_full_precision() -> None:
    model, exact = pulled(), pulled()
    record = step(fabric("bf16-mixed"), model, batch())
    expected = step(fabric(), exact, batch())
    assert record.penalty is not None and record.penalty.dtype == torch.float32
    torch.testing.assert_close(record.penalty, expected.penalty, rtol=1e-3, atol=0)
    same(parameters(model), parameters(exact), tolerance=0.02)


def test_evaluation_and_passes_without_gradients_leave_nothing_behind() -> None:
    model, examples, names = pulled(), batch(), [t.name for t in TASKS]
    with torch.no_grad():
        boundary = Boundary()
        model(examples.inputs, names, boundary)
    model.eval()(examples.inputs, names)
    trunk = model.trunk
    assert boundary.penalty is None and isinstance(trunk, Pulled) and not trunk.seen


def test_a_penalty_that_is_no_number_moves_nothing() -> None:
    model, before = pulled(float("inf")), parameters(pulled())
    with pytest.raises(TrainingError, match="trunk's penalty is not a finite"):
        step(fabric(), model, batch())
    same(parameters(model), before, tolerance=0)


def test_a_stop_and_a_resume_change_nothing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    told, first, second = Watcher(), Watcher({6: interrupt}), Watcher()
    straight = trainer(tmp_path / "a", model=pulled(), watcher=told)
    assert straight.fit()
    assert not trainer(tmp_path / "b", model=pulled(), watcher=first).fit()
    resumed = trainer(tmp_path / "b", model=pulled(), watcher=second)
    resumed.load_state_dict(load_state(resumed.checkpoint))
    assert resumed.fit()
    same(parameters(resumed.bare), parameters(straight.bare), tolerance=0)
    penalties = [record.penalty for record in told.epochs]
    assert [record.penalty for record in first.epochs + second.epochs] == penalties
    by_step = [float(r.penalty) for _, r, _ in told.steps if r.penalty is not None]
    assert penalties[0] == pytest.approx(sum(by_step[:4]) / 4)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def one_of_two(rank: int, port: int, folder: str) -> None:
    runner = launched(rank, port)
    model = pulled()
    record = step(runner, model, halves("")[rank])
    torch.save((parameters(model), record.penalty), f"{folder}/{rank}.pt")


def test_two_processes_average_it(tmp_path: Path) -> None:
    """Halves of equal size have the joined batch's mean activity as the mean of theirs."""
    in_two_processes(one_of_two, str(tmp_path))
    parts, whole = halves(""), pulled()
    record = step(fabric(), whole, joined(parts))
    for rank in range(2):
        ours, penalty = torch.load(tmp_path / f"{rank}.pt")
        same(ours, parameters(whole), tolerance=1e-5)
        torch.testing.assert_close(penalty, record.penalty)
