"""Two processes make, over every topology, the step that one process makes on the joined batch."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from polytask.backbones import PerceptronBackbone
from polytask.balancing import EqualWeighting
from polytask.config.catalogue import TRUNKS
from polytask.encoders import StackedEncoder, VectorEncoder
from polytask.model import MultiTaskModel
from polytask.training.optim import SGD
from polytask.training.step import train_step
from polytask.types import Batch, Features
from tests.networks import TASKS, WIDTHS, batch, parameters
from tests.processes import in_two_processes, launched
from tests.training.loops import fabric

# What is about a batch as a whole, each process does for its own part of it: normalisation over the
# batch, and penalties of features (`tests/training/test_penalty.py` has their mean).
SETTINGS: dict[str, dict[str, object]] = {
    "nddr": {"normalize": False},
    "shared-private": {"orthogonal": 0.0, "adversarial": 0.0},
    "sluice": {"orthogonal": 0.0},
}


def model_of(kind: str) -> MultiTaskModel:
    torch.manual_seed(0)
    encoders = {name: StackedEncoder(VectorEncoder(size), width=6) for name, size in WIDTHS.items()}

    def make() -> PerceptronBackbone:
        return PerceptronBackbone(6, widths=(6, 6), normalize=False)

    trunk = partial(TRUNKS[kind], **SETTINGS.get(kind, {}))(make, [task.name for task in TASKS])
    model = MultiTaskModel(encoders, trunk, TASKS)
    with torch.no_grad():
        for parameter in model.trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def without(whole: Batch, missing: str) -> Batch:
    """A batch in which an input has no example."""
    kept = [task.name for task in TASKS if task.input != missing]
    return Batch(
        {name: values for name, values in whole.inputs.items() if name != missing},
        {name: whole.targets[name] for name in kept},
        {name: whole.present[name] for name in kept},
    )


def parts() -> list[list[Batch]]:
    """Two steps of two processes. In the first a task has no label in the second process; in the
    second that process has no example of one input, and a task has no label in any."""
    first = [batch(1, rows=10, missing=0.2), batch(2, rows=10, missing=0.7, absent=["values"])]
    second = [batch(seed, rows=10, absent=["tags"]) for seed in (3, 4)]
    return [first, [second[0], without(second[1], "picture")]]


def joined(some: Sequence[Batch]) -> Batch:
    """The examples of all processes as one batch."""

    def together(what: str) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {}
        for part in some:
            for name, values in getattr(part, what).items():
                found.setdefault(name, []).append(
                    values.values if isinstance(values, Features) else values
                )
        return {name: torch.cat(values) for name, values in found.items()}

    inputs = {name: Features(values) for name, values in together("inputs").items()}
    return Batch(inputs, together("targets"), together("present"))


def trained(runner: Fabric, kind: str, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Parameters and what the last step says after a step for each batch."""
    model = model_of(kind)
    spec = SGD(lr=0.1, momentum=0.9, weight_decay=0.1)
    wrapped, optimizer = runner.setup(model, spec.make(spec.groups(model, [])))
    shared = list(model.shared_parameters())
    ids = {id(p) for p in shared}
    for step, examples in enumerate(batches):
        torch.manual_seed(step)
        record = train_step(
            runner,
            wrapped,
            examples,
            TASKS,
            balancer=EqualWeighting(len(TASKS)),
            optimizer=optimizer,
            shared=shared,
            private=[p for p in model.parameters() if id(p) not in ids],
            clip=1.0,
        )
    buffers = {name for name, _ in model.named_buffers()}
    found = {n: value for n, value in parameters(model).items() if n not in buffers}
    return found | {"losses": record.losses, "counts": record.counts}


def one_of_two(rank: int, port: int, folder: str) -> None:
    runner = launched(rank, port)
    mine = [step[rank] for step in parts()]
    torch.save({kind: trained(runner, kind, mine) for kind in TRUNKS}, f"{folder}/{rank}.pt")


def test_two_processes_are_one_on_the_joined_batch_over_every_topology(tmp_path: Path) -> None:
    in_two_processes(one_of_two, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for kind in TRUNKS:
        expected = trained(fabric(), kind, [joined(step) for step in parts()])
        for found in ranks:
            for name, value in expected.items():
                torch.testing.assert_close(
                    found[kind][name],
                    value,
                    rtol=2e-5,
                    atol=2e-6,
                    msg=lambda m, n=name, k=kind: f"{k}, {n}: {m}",
                )
