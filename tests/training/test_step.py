"""One training step against a hand-written one."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from polytask.balancing import AutoLambda, EqualWeighting, PCGrad
from polytask.balancing.base import Balancer
from polytask.distillation import Lesson, Teacher, Teaching
from polytask.errors import TrainingError
from polytask.model import MultiTaskModel
from polytask.training.optim import SGD
from polytask.training.processes import differentiation
from polytask.training.step import StepRecord, train_step
from polytask.types import Batch, Features
from tests.networks import TASKS, batch, network, parameters
from tests.processes import in_two_processes, launched
from tests.training.loops import fabric


def step(
    runner: Fabric,
    model: MultiTaskModel,
    examples: Batch,
    *,
    balancer: Balancer | None = None,
    clip: float | None = None,
    lr: float = 0.1,
    taught: bool = False,
    second: Batch | None = None,
) -> StepRecord:
    spec = SGD(lr=lr)
    wrapped, optimizer = runner.setup(model, spec.make(spec.groups(model, [])))
    shared = list(model.shared_parameters())
    private = [p for p in model.parameters() if all(p is not s for s in shared)]
    return train_step(
        runner,
        wrapped,
        examples,
        TASKS,
        balancer=balancer or EqualWeighting(len(TASKS)),
        optimizer=optimizer,
        shared=shared,
        private=private,
        clip=clip,
        second=second,
        teaching=teachers(model) if taught else None,
        progress=0.25,
    )


def teachers(model: MultiTaskModel) -> Teaching:
    """A teacher that speaks of three tasks, and fills in their labels."""
    tasks = TASKS[:3]
    lesson = Lesson(run=Path(), fill_missing=True, anneal=True)
    return Teaching([Teacher(network(tasks, width=4, seed=9), tasks, model, TASKS, lesson)])


def by_hand(model: MultiTaskModel, examples: Batch, lr: float = 0.1) -> dict[str, Tensor]:
    """Plain PyTorch: the mean loss of each task over its labelled rows, summed."""
    outputs = model(examples.inputs, [task.name for task in TASKS])
    total = torch.zeros(())
    for task in TASKS:
        rows = examples.present.get(task.name, torch.zeros(0, dtype=torch.bool))
        if rows.any():
            loss = task.loss(outputs[task.name][rows], examples.targets[task.name][rows])
            total = total + task.weight * loss.mean()
    model.zero_grad()
    total.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= lr * parameter.grad
    return parameters(model)


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("trunk", ["hard", "independent"])
@pytest.mark.parametrize("absent", [[], ["type"], ["values", "tags"]])
def test_a_step_is_the_hand_written_one(trunk: str, absent: list[str]) -> None:
    examples = batch(absent=absent)
    model, twin = network(trunk=trunk), network(trunk=trunk)
    record = step(fabric(), model, examples)
    same(parameters(model), by_hand(twin, examples))
    active = [task.name not in absent for task in TASKS]
    assert [int(n) > 0 for n in record.counts] == active
    assert record.counts.tolist() == [int(examples.present[t.name].sum()) for t in TASKS]
    assert record.weights is not None and record.weights.tolist() == [float(a) for a in active]
    assert record.norm is None and record.examples == 16


def test_an_input_that_is_absent_leaves_its_encoder_and_heads() -> None:
    whole = batch()
    only = Batch({"sound": whole.inputs["sound"]}, whole.targets, whole.present)
    model, before = network(), parameters(network())
    record = step(fabric(), model, only)
    assert record.counts[:2].tolist() == [0, 0] and record.losses[:2].tolist() == [0, 0]
    for name, value in parameters(model).items():
        untouched = "picture" in name or "type" in name or "values" in name
        assert torch.equal(value, before[name]) == untouched, name


@pytest.mark.parametrize("balancer", [EqualWeighting, PCGrad])
def test_a_loss_that_is_no_number_names_the_task_and_moves_nothing(
    balancer: type[Balancer],
) -> None:
    examples = batch(missing=0.0)
    examples.inputs["sound"].values[0, 0] = float("nan")
    model, before = network(), parameters(network())
    with pytest.raises(TrainingError, match="'training', 'tags' is not a finite"):
        step(fabric(), model, examples, balancer=balancer(len(TASKS)))
    assert all(torch.equal(value, before[name]) for name, value in parameters(model).items())


@pytest.mark.parametrize("taught", [False, True])
def test_a_batch_without_labels_moves_nothing_unless_it_is_taught(taught: bool) -> None:
    examples, balancer = batch(absent=[t.name for t in TASKS]), PCGrad(len(TASKS))
    model, before = network(), parameters(network())
    state = copy.deepcopy(balancer.state_dict())
    record = step(fabric(), model, examples, balancer=balancer, taught=taught)
    still = all(torch.equal(value, before[name]) for name, value in parameters(model).items())
    assert still != taught and record.idle != taught
    assert record.counts.tolist() == ([8, 8, 8, 0] if taught else [0, 0, 0, 0])
    assert all(p.grad is None for p in model.parameters())
    if not taught:
        assert record.weights is None and record.norm is None
        torch.testing.assert_close(balancer.state_dict(), state, equal_nan=True)


def test_clipping_scales_the_gradient_to_the_norm() -> None:
    examples, model, before = batch(), network(), parameters(network())
    record = step(fabric(), model, examples, clip=0.01, lr=1.0)
    after = parameters(model)
    moved = torch.cat([(after[n] - before[n]).flatten() for n, _ in model.named_parameters()])
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)
    assert record.norm is not None and float(record.norm) > 0.01
    plain = network()
    step(fabric(), plain, examples, lr=1.0)
    whole = torch.cat(
        [(parameters(plain)[n] - before[n]).flatten() for n, _ in plain.named_parameters()]
    )
    torch.testing.assert_close(moved / moved.norm(), whole / whole.norm(), atol=1e-4, rtol=1e-3)


def test_a_step_in_half_precision_is_near_the_exact_one() -> None:
    examples, model, twin = batch(), network(), network()
    step(fabric("bf16-mixed"), model, examples)
    same(parameters(model), by_hand(twin, examples), tolerance=0.02)


def halves(kind: str) -> list[Batch]:
    """Two processes' batches; label counts differ, and a task is absent on the second."""
    return [batch(1, rows=10, missing=0.2), batch(2, rows=10, missing=0.7, absent=["values"])]


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        {k: Features(torch.cat([p.inputs[k].values for p in parts])) for k in parts[0].inputs},
        {k: torch.cat([p.targets[k] for p in parts]) for k in parts[0].targets},
        {k: torch.cat([p.present[k] for p in parts]) for k in parts[0].present},
    )


BALANCING: dict[str, type[Balancer]] = {"pcgrad": PCGrad, "ahead": AutoLambda}


def halves_step(runner: Fabric, kind: str, batches: Callable[[list[Batch]], Batch]) -> Any:
    """A step of a new network, and what it gave."""
    model = network()
    balancer = BALANCING.get(kind, EqualWeighting)(len(TASKS))
    second = batches(halves(kind)[::-1]) if kind == "ahead" else None
    record = step(
        runner,
        model,
        batches(halves(kind)),
        balancer=balancer,
        taught=kind == "taught",
        second=second,
    )
    return parameters(model), record.losses, record.counts, balancer.state_dict()


def one_of_two(rank: int, port: int, folder: str, kind: str) -> None:
    runner = launched(rank, port)
    torch.save(halves_step(runner, kind, lambda parts: parts[rank]), f"{folder}/{rank}.pt")


@pytest.mark.parametrize("kind", ["equal", "pcgrad", "taught", "ahead"])
def test_two_processes_are_one_on_the_joined_batch(kind: str, tmp_path: Path) -> None:
    in_two_processes(one_of_two, str(tmp_path), kind)
    weights, losses, counts, state = halves_step(fabric(), kind, joined)
    expected = copy.deepcopy(weights)
    for rank in range(2):
        ours, their_losses, their_counts, theirs = torch.load(tmp_path / f"{rank}.pt")
        same(ours, expected, tolerance=1e-5)
        torch.testing.assert_close(their_losses, losses, atol=1e-5, rtol=1e-5)
        assert torch.equal(their_counts, counts)
        torch.testing.assert_close(theirs, state, atol=1e-6, rtol=1e-2, equal_nan=True)


@pytest.mark.parametrize(
    ("precision", "plain"), [("32-true", True), ("64-true", True), ("bf16-mixed", False)]
)
def test_losses_are_differentiated_without_detour_where_there_is_none(
    precision: Any, plain: bool
) -> None:
    runner = Fabric(accelerator="cpu", devices=1, precision=precision)
    assert (differentiation(runner) is Tensor.backward) == plain
    assert plain or differentiation(runner) == runner.backward
