"""A trunk that is spread over two processes against the same trunk in one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from polytask.backbones import TransformerBackbone
from polytask.balancing import (
    BALANCERS,
    MGDA,
    Balancer,
    ConstantWeights,
    EqualWeighting,
    UncertaintyWeighting,
    UsesIndependentBatches,
    backward,
)
from polytask.balancing.needs import sees_parameters
from polytask.config.catalogue import TRUNKS
from polytask.encoders import StackedEncoder, VectorEncoder
from polytask.errors import ConfigError, TrainingError
from polytask.model import MultiTaskModel
from polytask.tasks import Task
from polytask.training.averaging import WeightAverage
from polytask.training.checkpoint import load_state
from polytask.training.optim import SGD, Adam, AdamW, OptimizerSpec, RMSprop
from polytask.training.sharding import is_spread, spread_names, whole
from polytask.training.step import train_step
from polytask.types import Batch, Features
from tests.networks import TASKS, WIDTHS, batch, network
from tests.processes import in_two_processes, launched
from tests.sharing.test_two_processes import joined, model_of, without
from tests.training.loops import Memory, Watcher, fabric, trainer
from tests.training.test_step import teachers

REFUSED = {
    "independent": "shares nothing",
    "soft": "shares nothing",
    "lora": "makes each task's weights outside of the stages",
    "shared-private": "has a penalty",
    "sluice": "has a penalty",
    "dselect-k": "has a penalty",
}
KINDS = [kind for kind in TRUNKS if kind not in REFUSED]
FEW = TASKS[:3]  # `training` alone reads `sound`, whose encoder is its own
OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": Adam(lr=0.01),
    "adamw": AdamW(lr=0.01),
    "rmsprop": RMSprop(lr=0.001),
}


def balancers(count: int) -> dict[str, Balancer]:
    """All that can be had: of losses, and of gradients where those are at features."""
    found: dict[str, Balancer] = {"zero": ConstantWeights(count, weights=(1.0, 3.0, 0.0))}
    for name, kind in BALANCERS.items():
        if name == "auto-lambda":  # learns its weights outside of a step
            continue
        for settings in ({}, {"at": "features"}):
            try:
                made = kind(count, **settings)
            except TypeError:  # no such setting
                continue
            if not sees_parameters(made) and not isinstance(made, UsesIndependentBatches):
                found[name] = made
    return found


def parts(tasks: Sequence[Task] = TASKS) -> list[list[Batch]]:
    """Two steps of two processes. In the first a task has no label in the second process, in the
    second it has none anywhere."""
    absent = [[], ["values"]], [["values"], ["values"]]
    return [
        [
            batch(
                10 * step + rank, rows=9 + rank, tasks=tasks, missing=0.5, absent=absent[step][rank]
            )
            for rank in range(2)
        ]
        for step in range(2)
    ]


def trained(
    runner: Fabric,
    model: MultiTaskModel,
    batches: Sequence[Batch],
    balancer: Balancer,
    tasks: Sequence[Task] = TASKS,
    *,
    taught: bool = False,
) -> dict[str, Tensor]:
    """Whole weights and what the last step says, after a step for each batch.

    Without running means, which are of each process's own rows.
    """
    teaching = teachers(model) if taught else None
    names = spread_names(model)
    wrapped = runner.setup_module(model)
    spec = OPTIMIZERS["sgd"]
    optimizer: Any = runner.setup_optimizers(
        spec.make(spec.groups(model, balancer.parameters(), names))
    )
    kept = [p for p in model.parameters() if not is_spread(p)]
    shared = {id(p) for p in model.shared_parameters()}
    average = WeightAverage(model, 0.5)
    for step, examples in enumerate(batches):
        torch.manual_seed(step)
        record = train_step(
            runner,
            wrapped,
            examples,
            tasks,
            balancer=balancer,
            optimizer=optimizer,
            shared=[p for p in kept if id(p) in shared],
            private=[p for p in kept if id(p) not in shared],
            clip=0.5,
            teaching=teaching,
        )
        average.update(model)
    assert record.norm is not None
    found: dict[str, Tensor] = whole(dict(model.named_parameters()), keep=True)
    averaged = {f"average {k}": whole(average.average[k], keep=True) for k in found}
    return {**found, **averaged, "losses": record.losses, "norm": record.norm}


def all_of_them(runner: Fabric, batches: Sequence[Batch], few: Sequence[Batch]) -> dict[str, Any]:
    """Every way to share with gradients at features, and every balancer with one way to share."""
    found = {
        kind: trained(runner, model_of(kind), batches, MGDA(len(TASKS), at="features"))
        for kind in KINDS
    }
    for name, balancer in balancers(len(FEW)).items():
        found[name] = trained(runner, network(FEW), few, balancer, FEW)
    equal = EqualWeighting(len(TASKS))
    found["taught"] = trained(runner, network(), batches, equal, taught=True)
    one = TASKS[:1]  # `type`, which reads `picture`
    alone = [of_type(examples) for examples in batches]
    found["alone"] = trained(runner, network(one), alone, EqualWeighting(1), one)
    found["stages that give views"] = trained(runner, with_attention(), batches, equal)
    return found


def of_type(whole: Batch) -> Batch:
    """What the task `type` has of a batch."""
    targets, present = {"type": whole.targets["type"]}, {"type": whole.present["type"]}
    return Batch({"picture": whole.inputs["picture"]}, targets, present)


def with_attention() -> MultiTaskModel:
    """A network whose trunk is a transformer."""
    torch.manual_seed(0)
    encoders = {name: StackedEncoder(VectorEncoder(size), width=6) for name, size in WIDTHS.items()}
    trunk = TRUNKS["hard"](
        lambda: TransformerBackbone(6, width=8, heads=2, dropout=0.0), [t.name for t in TASKS]
    )
    return MultiTaskModel(encoders, trunk, TASKS)


def one_of_two(rank: int, port: int, folder: str) -> None:
    runner = launched(rank, port, sharded=True)
    mine, few = [step[rank] for step in parts()], [step[rank] for step in parts(FEW)]
    torch.save(all_of_them(runner, mine, few), f"{folder}/{rank}.pt")
    examples = batch() if rank == 0 else without(batch(), "picture")
    try:
        trained(runner, network(), [examples], EqualWeighting(len(TASKS)))
    except TrainingError as error:  # Both are told, and neither waits for the other.
        Path(folder, f"{rank}.txt").write_text(str(error))


def test_a_spread_trunk_is_the_whole_one_on_the_joined_batch(tmp_path: Path) -> None:
    in_two_processes(one_of_two, str(tmp_path))
    expected = all_of_them(
        fabric(), [joined(step) for step in parts()], [joined(step) for step in parts(FEW)]
    )
    assert {"mmoe", "hard", "mgda", "uw", "famo", "graddrop", "zero"} < set(expected)
    for rank in range(2):
        unlike = (tmp_path / f"{rank}.txt").read_text()
        assert "no example of 'picture'" in unlike and "Raise batches.size" in unlike
        found = torch.load(tmp_path / f"{rank}.pt")
        assert list(found) == list(expected)
        for what, values in expected.items():
            for name, value in values.items():
                torch.testing.assert_close(
                    found[what][name],
                    value,
                    rtol=2e-5,
                    atol=2e-6,
                    msg=lambda m, w=what, n=name: f"{w}, {n}: {m}",
                )


class Halves(Memory):
    """The rows of one of several processes."""

    def __init__(self, rank: int = 0, processes: int = 1) -> None:
        super().__init__()
        self.rank, self.processes = rank, processes

    def batch(self, step: int) -> Batch:
        made = super().batch(step)
        rows = slice(8 * self.rank // self.processes, 8 * (self.rank + 1) // self.processes)
        return Batch(
            {k: Features(v.values[rows]) for k, v in made.inputs.items()},
            {k: v[rows] for k, v in made.targets.items()},
            {k: v[rows] for k, v in made.present.items()},
        )


def fitted(
    folder: Path, optimizer: str, *, runner: Fabric | None = None, until: int | None = None
) -> dict[str, Any]:
    """All that a training leaves, from its checkpoint on if there is one."""
    kept: dict[str, Tensor] = {}
    watcher = Watcher()
    made = trainer(
        folder,
        runner=runner,
        model=network(),
        balancer=UncertaintyWeighting(len(TASKS)),
        optimizer=OPTIMIZERS[optimizer],
        stream=Halves(*(0, 1) if runner is None else (runner.global_rank, 2)),
        watcher=watcher,
        keep=kept.update,
        ema=0.9,
        clip=0.5,
        unfreeze={"trunk": 1},
        sharding="trunk",
        checkpoint_minutes=0.0,
    )
    if until is not None:
        watcher.after = {until: made._stop.set}
    if made.checkpoint.exists():
        made.load_state_dict(load_state(made.checkpoint))
    made.fit()
    state = made.state_dict()
    del state["progress"]["seconds"]
    return {"kept": kept, "state": state, "scores": [e.scores for e in watcher.epochs][-1:]}


def near(found: Any, expected: Any, at: str = "") -> None:
    """The same but for rounding, down to the leaves."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), at
        for key, value in expected.items():
            near(found[key], value, f"{at}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), at
        for place, value in enumerate(expected):
            near(found[place], value, f"{at}/{place}")
    elif isinstance(expected, Tensor | float):
        torch.testing.assert_close(
            found, expected, rtol=1e-4, atol=1e-5, msg=lambda m: f"{at}: {m}"
        )
    elif not at.endswith("fused"):
        assert found == expected, at


def folders(home: Path, optimizer: str) -> list[Path]:
    """Of a training in two processes, of one begun in two, of one begun in one, of one in one."""
    return [home / optimizer / name for name in ("in_two", "from_two", "from_one", "in_one")]


def fit_in_two(rank: int, port: int, home: Path) -> None:
    runner = launched(rank, port, sharded=True)
    for optimizer in OPTIMIZERS:
        in_two, from_two, from_one, _ = folders(home, optimizer)
        straight = fitted(in_two, optimizer, runner=runner)
        fitted(from_two, optimizer, runner=runner, until=6)
        resumed = fitted(from_one, optimizer, runner=runner)
        if rank == 0:
            torch.save([straight, resumed], in_two / "both.pt")


def test_a_training_is_the_same_and_goes_on_in_one_process_or_two(tmp_path: Path) -> None:
    for optimizer in OPTIMIZERS:
        for folder in folders(tmp_path, optimizer):
            folder.mkdir(parents=True)
        fitted(folders(tmp_path, optimizer)[2], optimizer, until=6)
    in_two_processes(fit_in_two, tmp_path)
    for optimizer in OPTIMIZERS:
        in_two, from_two, _, in_one = folders(tmp_path, optimizer)
        expected = fitted(in_one, optimizer)
        assert expected["scores"] and expected["kept"]
        for found in torch.load(in_two / "both.pt", weights_only=False):
            near(found, expected, optimizer)
        near(fitted(from_two, optimizer), expected, optimizer)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_trunk_that_can_not_be_spread_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match="can't be spread over processes"):
        trainer(tmp_path, model=model_of(kind), sharding="trunk")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("mgda", "set balancer.at to 'features', or choose"),
        ("pcgrad", "balancer.at"),
        ("modo", "out, or choose"),
    ],
)
def test_a_balancer_of_gradients_at_parameters_is_refused(
    tmp_path: Path, name: str, advice: str
) -> None:
    balancer = BALANCERS[name](len(TASKS))
    with pytest.raises(ConfigError, match=f"training.sharding.*{advice}.*sees losses alone"):
        trainer(tmp_path, balancer=balancer, sharding="trunk")
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="can't be had of sharded ones"):
        backward([weight * (k + 1) for k in range(len(TASKS))], balancer, sharded=[weight])
