"""Every balancer of the catalogue trains a real model in the real loop, tasks missing at times."""

from pathlib import Path

import pytest
import torch

from polytask.balancing import BALANCERS
from polytask.types import Batch
from tests.networks import TASKS, network
from tests.training.loops import Memory, Watcher, trainer

# Learns in a call of its own, from validation data, which the loop does not hand to balancers.
OWN_LOOP = {"auto-lambda"}


def without_a_task(step: int, made: Batch) -> Batch:
    """Every third batch lacks all labels of one task."""
    if step % 3 == 2:
        made.present[TASKS[0].name].fill_(False)
    return made


@pytest.mark.parametrize("kind", sorted(set(BALANCERS) - OWN_LOOP))
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


def test_a_balancer_that_the_loop_cannot_serve_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="look_ahead"):
        trainer(tmp_path, balancer=BALANCERS["auto-lambda"](len(TASKS))).fit()
