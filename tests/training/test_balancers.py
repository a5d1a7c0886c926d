"""Every balancer of the catalogue trains a real model in the real loop, tasks missing at times."""

from pathlib import Path

import pytest
import torch

from polytask.balancing import BALANCERS, ConstantWeights
from polytask.types import Batch
from tests.networks import TASKS, network
from tests.training.loops import Memory, Watcher, trainer


def without_a_task(step: int, made: Batch) -> Batch:
    """Every third batch lacks all labels of one task."""
    if step % 3 == 2:
        made.present[TASKS[0].name].fill_(False)
    return made


@pytest.mark.parametrize("kind", sorted(BALANCERS))
def test_every_balancer_trains(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, watcher = network(), Watcher()
    before = {name: value.clone() for name, value in model.named_parameters()}
    stream = Memory(steps=4, change=without_a_task)
    balancer = BALANCERS[kind](len(TASKS))
    trainer(
        tmp_path, model=model, balancer=balancer, stream=stream, watcher=watcher, epochs=2
    ).fit()
    assert len(watcher.steps) == 8
    assert all(value.isfinite().all() for value in model.parameters())
    shared = {id(parameter) for parameter in model.shared_parameters()}
    moved = {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}
    heads = {name for name in before if name.startswith("heads")}
    assert heads <= moved  # heads learn from their own loss, whatever the balancer chooses
    assert any(id(p) in shared for n, p in model.named_parameters() if n in moved)
    absent = [record for step, record, _ in watcher.steps if step % 3 == 0]
    assert all(record.counts[0] == 0 for record in absent)
    assert all(record.weights is None or record.weights[0] == 0 for record in absent)


def test_looking_ahead_moves_weights_and_nothing_else(tmp_path: Path) -> None:
    """Weights that hardly move give the steps of weights that are given, dropout and all."""
    models = [network(dropout=0.3), network(dropout=0.3)]
    given = ConstantWeights(len(TASKS), weights=(1.0,) * len(TASKS))
    looks = BALANCERS["auto-lambda"](len(TASKS), lr=1e-12)
    for model, balancer in zip(models, (looks, given), strict=True):
        trainer(tmp_path, model=model, balancer=balancer).fit()
    states = [model.state_dict() for model in models]
    torch.testing.assert_close(*states, rtol=1e-5, atol=1e-6)
    assert not torch.equal(looks.weights, torch.full_like(looks.weights, 0.1))


def test_a_primary_task_without_labels_leaves_the_weights(tmp_path: Path) -> None:
    def without(step: int, made: Batch) -> Batch:
        made.present[TASKS[0].name].fill_(False)
        return made

    balancer = BALANCERS["auto-lambda"](len(TASKS), primary=(0,))
    trainer(tmp_path, balancer=balancer, stream=Memory(change=without)).fit()
    assert torch.equal(balancer.weights, torch.full_like(balancer.weights, 0.1))
