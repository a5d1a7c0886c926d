"""Stopping, resuming, keeping the best, and what is said on the way."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.balancing import (
    AutoLambda,
    DynamicWeightAverage,
    EqualWeighting,
    RandomWeights,
    UncertaintyWeighting,
)
from polytask.errors import ConfigError, TrainingError
from polytask.training import trainer as trainer_module
from polytask.training.checkpoint import load_state
from polytask.training.optim import SGD, AdamW, Cosine
from polytask.training.settings import Settings
from polytask.training.trainer import Trainer, step_seed
from polytask.types import Batch, Scores
from tests.networks import TASKS, batch, network, parameters
from tests.training.loops import Memory, Watcher, trainer

BALANCERS = {
    "equal": EqualWeighting,
    "uncertainty": UncertaintyWeighting,
    "random": RandomWeights,
    "dwa": DynamicWeightAverage,
    "auto-lambda": AutoLambda,
}


def everything(made: Trainer, watcher: Watcher) -> dict[str, Any]:
    state = made.state_dict()
    state["progress"] |= {"seconds": 0.0}
    state["history"] = [{**r.as_dict(), "seconds": 0.0} for r in watcher.epochs]
    return state


def identical(a: Any, b: Any, at: str = "") -> None:
    """Bit for bit, down to the leaves."""
    assert type(a) is type(b), at
    if isinstance(a, Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=at)
    elif isinstance(a, Mapping):
        assert list(a) == list(b), at
        for key in a:
            identical(a[key], b[key], f"{at}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            identical(x, y, f"{at}/{i}")
    else:
        assert a == b, at


def full(
    directory: Path, watcher: Watcher, balancer: str, adam: bool, trunk: str = "hard"
) -> Trainer:
    optimizer = AdamW(lr=0.02) if adam else SGD(lr=0.05, momentum=0.9, weight_decay=1e-3)
    return trainer(
        directory,
        model=network(dropout=0.3, trunk=trunk),
        balancer=BALANCERS[balancer](len(TASKS)),
        optimizer=optimizer,
        schedule=Cosine(warmup=0.2),
        watcher=watcher,
        ema=0.9,
        clip=1.0,
    )


@pytest.mark.parametrize("stop_at", [1, 4, 6, 11])
@pytest.mark.parametrize(
    ("balancer", "adam", "trunk"),
    [
        ("uncertainty", False, "hard"),
        ("random", True, "hard"),
        ("dwa", False, "hard"),
        ("equal", True, "hard"),
        ("equal", True, "independent"),
        ("auto-lambda", False, "hard"),
    ],
)
def test_a_stop_and_a_resume_change_nothing(
    tmp_path: Path, balancer: str, adam: bool, trunk: str, stop_at: int
) -> None:
    told = Watcher()
    straight = full(tmp_path / "a", told, balancer, adam, trunk)
    straight.directory.mkdir()
    assert straight.fit()

    (tmp_path / "b").mkdir()
    first = Watcher({stop_at: lambda: os.kill(os.getpid(), signal.SIGINT)})
    stopped = full(tmp_path / "b", first, balancer, adam, trunk)
    assert not stopped.fit()
    torch.manual_seed(99)  # whatever another process's generator holds
    second = Watcher()
    resumed = full(tmp_path / "b", second, balancer, adam, trunk)
    resumed.load_state_dict(load_state(resumed.checkpoint))
    assert resumed.progress.step == stop_at
    assert resumed.fit()
    second.epochs[:0] = first.epochs
    assert [s for s, _, _ in first.steps + second.steps] == list(range(1, 13))
    identical(everything(resumed, second), everything(straight, told))


def test_a_kill_loses_what_came_after_the_last_checkpoint_and_no_more(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    told = Watcher()
    straight = full(tmp_path / "a", told, "uncertainty", False)
    straight.fit()

    def kill() -> None:
        raise SystemExit

    killed = full(tmp_path / "b", Watcher({6: kill}), "uncertainty", False)
    with pytest.raises(SystemExit):
        killed.fit()
    watcher = Watcher()
    resumed = full(tmp_path / "b", watcher, "uncertainty", False)
    resumed.load_state_dict(load_state(resumed.checkpoint))
    assert resumed.progress.step == 4
    resumed.fit()
    watcher.epochs.insert(0, told.epochs[0])
    identical(everything(resumed, watcher), everything(straight, told))


def test_checkpoints_come_in_the_time_that_was_set(tmp_path: Path) -> None:
    made = trainer(tmp_path, checkpoint_minutes=0.0, epochs=1, watcher=Watcher({3: lambda: 1 / 0}))
    with pytest.raises(ZeroDivisionError):
        made.fit()
    assert load_state(made.checkpoint)["progress"]["step"] == 2


def test_batches_without_labels_are_told_once_and_end_no_training(tmp_path: Path) -> None:
    def some(step: int, found: Batch) -> Batch:
        return found if step % 4 else batch(step, absent=[task.name for task in TASKS])

    watcher = Watcher()
    assert trainer(tmp_path, stream=Memory(change=some), watcher=watcher).fit()
    assert [record.idle for _, record, _ in watcher.steps] == [True, False, False, False] * 3
    assert len(watcher.warnings) == 1 and watcher.warnings[0].startswith("1 of 4 steps")
    assert all(loss is not None for epoch in watcher.epochs for loss in epoch.losses.values())


def test_each_step_has_its_own_randomness() -> None:
    seeds = {step_seed(s, n, r) for s in range(3) for n in range(50) for r in range(2)}
    assert len(seeds) == 300
    assert all(0 <= step_seed(2**62, n, 0) < 2**63 for n in range(3))


class Fixed:
    """Scores that were decided beforehand, one per epoch."""

    def __init__(self, values: list[float | None]) -> None:
        self.values = iter(values)

    def __call__(self, model: torch.nn.Module) -> Scores:
        value = next(self.values)
        return {
            task.name: {task.score: value, "mae": None if value is None else -value}
            for task in TASKS
        }


def kept(tmp_path: Path, values: list[float | None], **settings: Any) -> tuple[list[int], Watcher]:
    """The epochs whose weights were kept, and what was told."""
    epochs: list[int] = []
    watcher = Watcher()
    states: list[Mapping[str, Tensor]] = []
    trainer(
        tmp_path,
        validate=Fixed(values),
        keep=lambda state: states.append({k: v.clone() for k, v in state.items()}),
        watcher=watcher,
        stream=Memory(2),
        epochs=len(values),
        **settings,
    ).fit()
    epochs = [r.epoch for r in watcher.epochs if r.best]
    assert len(states) == len(epochs)
    return epochs, watcher


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    epochs, watcher = kept(tmp_path, [0.1, 0.3, 0.2, float("nan"), 0.3, 0.4])
    assert epochs == [1, 2, 6]
    assert [r.monitored for r in watcher.epochs][:3] == pytest.approx([0.1, 0.3, 0.2])


def test_of_an_error_less_is_better(tmp_path: Path) -> None:
    assert kept(tmp_path, [0.1, 0.3, 0.2], monitor="values.mae")[0] == [1, 2]


def test_patience_counts_epochs_without_improvement(tmp_path: Path) -> None:
    epochs, watcher = kept(tmp_path, [0.1, 0.3, 0.2, 0.3, 0.9, 1.0], patience=2)
    assert epochs == [1, 2] and len(watcher.epochs) == 4


def test_where_nothing_can_be_measured_the_latest_weights_are_kept(tmp_path: Path) -> None:
    epochs, watcher = kept(tmp_path, [None, None, None], patience=1)
    assert epochs == [1, 2, 3] and watcher.epochs[0].monitored is None
    assert kept(tmp_path, [None, 0.2, None, 0.1])[0] == [1, 2]


def test_without_validation_the_latest_weights_are_kept(tmp_path: Path) -> None:
    states: list[Mapping[str, Tensor]] = []
    made = trainer(tmp_path, validate=None, keep=states.append, patience=1)
    assert made.fit() and len(states) == 3
    assert all(torch.equal(v, states[-1][k]) for k, v in parameters(made.bare).items())


def test_the_average_is_validated_and_kept_and_training_goes_on_from_its_own(
    tmp_path: Path,
) -> None:
    seen: list[dict[str, Tensor]] = []
    states: list[Mapping[str, Tensor]] = []

    def watch(model: torch.nn.Module) -> Scores:
        seen.append({k.removeprefix("module."): v for k, v in parameters(model).items()})
        return {task.name: {task.score: float(len(seen))} for task in TASKS}

    def copied(state: Mapping[str, Tensor]) -> None:
        states.append({k: v.clone() for k, v in state.items()})

    averaged = trainer(tmp_path, validate=watch, keep=copied, ema=0.9)
    averaged.fit()
    plain = trainer(tmp_path, validate=None)
    plain.fit()
    identical(parameters(averaged.bare), parameters(plain.bare))
    for shown, saved in zip(seen, states, strict=True):
        assert all(torch.equal(v, shown[k]) for k, v in saved.items())
    assert not torch.equal(
        states[-1]["heads.tags.linear.weight"], parameters(plain.bare)["heads.tags.linear.weight"]
    )


def test_a_loss_that_is_no_number_stops_with_step_task_and_checkpoint(tmp_path: Path) -> None:
    def poison(step: int, made: Batch) -> Batch:
        if step == 6:
            made.inputs["sound"].values.fill_(float("inf"))
        return made

    made = trainer(tmp_path, stream=Memory(4, poison))
    with pytest.raises(
        TrainingError, match=r"Step 7: .*'training'.*checkpoint is of step 4: .*\.pt"
    ):
        made.fit()
    assert all(v.isfinite().all() for v in made.bare.state_dict().values())
    early = trainer(tmp_path / "none", stream=Memory(9, poison))
    with pytest.raises(TrainingError, match="No checkpoint had been saved yet"):
        early.fit()


def test_a_full_disk_warns_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, state: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer_module, "save_state", full_disk)
    watcher = Watcher()
    assert trainer(tmp_path, watcher=watcher).fit()
    assert len(watcher.warnings) == 3 and "No space left" in watcher.warnings[0]
    assert len(watcher.epochs) == 3


def test_history_has_the_mean_loss_over_the_labels_of_the_epoch(tmp_path: Path) -> None:
    watcher = Watcher()
    trainer(tmp_path, watcher=watcher, epochs=1).fit()
    (epoch,) = watcher.epochs
    for i, task in enumerate(TASKS):
        pairs = [(float(r.losses[i]), int(r.counts[i])) for _, r, _ in watcher.steps]
        mean = sum(loss * n for loss, n in pairs) / sum(n for _, n in pairs)
        assert epoch.losses[task.name] == pytest.approx(mean)


def test_the_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    watcher, schedule = Watcher(), Cosine(warmup=0.25)
    trainer(tmp_path, watcher=watcher, schedule=schedule, optimizer=SGD(lr=0.5)).fit()
    rates = [lr for _, _, lr in watcher.steps]
    assert rates == pytest.approx([0.5 * schedule.factor(step, 12) for step in range(12)])


def test_training_learns(tmp_path: Path) -> None:
    watcher = Watcher()
    trainer(tmp_path, watcher=watcher, epochs=6, optimizer=SGD(lr=0.1, momentum=0.9)).fit()
    first, last = watcher.epochs[0].losses, watcher.epochs[-1].losses
    assert first["type"] is not None and last["type"] is not None
    assert sum(v or 0 for v in last.values()) < sum(v or 0 for v in first.values())


def test_a_monitor_that_no_task_measures_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"type\.acuracy.*Did you mean 'type\.accuracy'"):
        trainer(tmp_path, monitor="type.acuracy")
    watcher = Watcher()
    trainer(tmp_path, monitor="type.loss", watcher=watcher, epochs=1).fit()
    assert watcher.epochs[0].monitored == -watcher.epochs[0].scores["type"]["loss"]  # type: ignore[operator]
    assert Settings().monitor == "mean"


def test_history_has_the_mean_weight_over_the_steps_in_which_a_task_had_labels(
    tmp_path: Path,
) -> None:
    watcher = Watcher()
    full(tmp_path, watcher, "uncertainty", False).fit()
    epoch = watcher.epochs[0]
    steps = [record for _, record, _ in watcher.steps[:4]]
    assert epoch.weights is not None
    for i, task in enumerate(TASKS):
        weights = [
            float(r.weights[i]) for r in steps if r.weights is not None and int(r.counts[i]) > 0
        ]
        assert epoch.weights[task.name] == pytest.approx(sum(weights) / len(weights))
