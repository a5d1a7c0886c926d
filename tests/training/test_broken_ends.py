"""Trainings whose network breaks, and runs of which something is gone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config import load_config
from polytask.config.schema import Config
from polytask.errors import ConfigError, RunError
from polytask.origin import Origin
from polytask.run import Run
from polytask.training.history import monitored, overflowing
from polytask.types import Scores
from polytask.workflow import train
from polytask.workflow.watching import Silent
from tests.networks import TASKS
from tests.training.loops import Watcher, scored, trainer


class Heard(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(60, 3)), columns=["x", "y", "z"]).to_csv(tmp_path / "t.csv")
    (tmp_path / "t.yaml").write_text(
        "sources:\n  rows: {kind: table, path: t.csv}\n"
        "inputs:\n  cells: {kind: table, columns: [x, y]}\n"
        "tasks:\n  z: {kind: regression, target: z}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}\n"
        "training: {epochs: 3, threads: 1, accelerator: cpu}\n"
    )
    return load_config(tmp_path / "t.yaml")


def trained(config: Config, root: Path) -> Run:
    assert train(config, root, Silent(), [])
    return Run.newest(root)


def broken(name: str) -> Scores:
    """The scores of a network whose answers for one task are no numbers."""
    found: dict[str, dict[str, float | None]] = {
        task.name: {task.score: 0.5, "loss": 1.0, "count": 4} for task in TASKS
    }
    found[name] = {k: None for k in found[name]} | {"loss": float("nan"), "count": 4}
    return found


def test_a_task_without_a_score_is_left_out_of_the_mean_unless_its_network_is_broken() -> None:
    first = TASKS[0].name
    without = broken(first)
    without[first]["loss"] = None  # type: ignore[index]
    assert overflowing(without, TASKS) == []
    assert monitored(without, "mean", TASKS) is not None
    assert overflowing(broken(first), TASKS) == [first]
    for monitor in ("mean", f"{TASKS[1].name}.{TASKS[1].score}"):
        assert monitored(broken(first), monitor, TASKS) != monitored(broken(first), monitor, TASKS)


def test_an_epoch_whose_answers_are_no_numbers_is_never_kept(tmp_path: Path) -> None:
    epochs, kept = iter(range(4)), []

    def validate(model: nn.Module) -> Scores:
        return broken(TASKS[0].name) if next(epochs) in (0, 2) else scored(model)

    def keep(state: Mapping[str, Tensor]) -> None:
        kept.append(len(watcher.epochs) + 1)

    watcher = Watcher()
    made = trainer(tmp_path, watcher=watcher, validate=validate, keep=keep, epochs=3)
    assert made.fit()
    assert kept == [2] and [record.best for record in watcher.epochs] == [False, True, False]
    assert [record.monitored is None for record in watcher.epochs] == [True, False, True]
    json.dumps([record.as_dict()["monitored"] for record in watcher.epochs], allow_nan=False)
    assert [w.split(":")[0] for w in watcher.warnings] == ["Epoch 1", "Epoch 3"]
    assert f"'{TASKS[0].name}'" in watcher.warnings[0]


def test_weights_that_could_not_be_saved_are_not_the_best(tmp_path: Path) -> None:
    full = iter([True, False, True])

    def keep(state: Mapping[str, Tensor]) -> None:
        if next(full, True):
            raise OSError(28, "No space left on device")

    better = iter((0.1, 0.2, 0.3))

    def validate(model: nn.Module) -> Scores:
        score = next(better)
        return {task.name: {task.score: score, "loss": 1.0, "count": 4} for task in TASKS}

    watcher = Watcher()
    trainer(tmp_path, watcher=watcher, keep=keep, validate=validate).fit()
    assert [record.best for record in watcher.epochs] == [False, True, False]
    first, last = watcher.warnings
    assert "There are none yet" in first and "Those of epoch 2 are whole" in last


def test_a_training_that_could_keep_no_weights_is_no_success(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Run, state: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "save_weights", full)
    with pytest.raises(RunError, match=r"reached its end, and '.*' has no weights"):
        train(config, tmp_path / "runs", Silent(), [])


def test_a_run_without_its_checkpoint_does_not_begin_anew(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    before = (run.path / "model.safetensors").read_bytes()
    (run.path / "checkpoint.pt").unlink()
    with pytest.raises(RunError, match=r"no checkpoint.pt, .* though 3 epochs have ended"):
        train(run, tmp_path / "runs", Silent(), [])
    assert (run.path / "model.safetensors").read_bytes() == before
    assert len(run.history()) == 3
    # One that was killed before its first checkpoint has nothing to lose.
    run.cut_history(1)
    assert train(run, tmp_path / "runs", Silent(), [])
    assert len(run.history()) == 3


def test_a_history_that_lacks_epochs_is_told(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    lines = (run.path / "history.jsonl").read_text().splitlines(keepends=True)
    (run.path / "history.jsonl").write_text("".join(lines[1:]))
    heard = Heard()
    assert train(run, tmp_path / "runs", heard, [])
    (said,) = heard.warnings
    assert "history.jsonl' has 2 of the 3 epochs so far" in said
    assert [line["epoch"] for line in run.history()] == [2, 3]


def test_a_run_that_has_lost_its_facts_does_not_begin_anew(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    before = (run.path / "model.safetensors").read_bytes()
    facts = (run.path / "facts.json").read_bytes()
    (run.path / "facts.json").unlink()
    with pytest.raises(RunError, match=r"no facts.json, .* though it has trained"):
        train(run, tmp_path / "runs", Silent(), [])
    assert (run.path / "model.safetensors").read_bytes() == before and len(run.history()) == 3
    (run.path / "facts.json").write_bytes(facts)
    assert train(run, tmp_path / "runs", Silent(), [])


def test_weights_that_are_gone_are_told(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    (run.path / "model.safetensors").unlink()
    for ask in (run.weights, run.fingerprint, lambda: train(run, tmp_path, Silent(), [])):
        with pytest.raises(RunError, match=r"no model.safetensors, though its epochs so far are 3"):
            ask()


@pytest.mark.parametrize("left", [None, 0, 100])
def test_best_weights_that_are_gone_midway_are_replaced_by_the_next(
    left: int | None, config: Config, tmp_path: Path
) -> None:
    run = trained(config, tmp_path / "runs")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("epochs: 3", "epochs: 5"))
    weights = run.path / "model.safetensors"
    if left is None:
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:left])
    longer, heard = Run.open(run.path), Heard()
    state = longer.config.resolved()["training"]["epochs"]
    assert state == 5
    assert train(longer, tmp_path / "runs", heard, [])
    assert any("best weights so far" in w and "are gone" in w for w in heard.warnings)
    assert longer.weights()
    assert longer.history()[3]["best"]


def test_broken_weights_of_a_training_that_has_ended_are_told(
    config: Config, tmp_path: Path
) -> None:
    run = trained(config, tmp_path / "runs")
    (run.path / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"model.safetensors' cannot be read"):
        train(run, tmp_path, Silent(), [])


def test_files_that_are_something_else_are_told(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    lines = (run.path / "history.jsonl").read_text()
    (run.path / "history.jsonl").write_text("[1, 2]\n")
    with pytest.raises(RunError, match=r"history.jsonl' cannot be read .*a line of it is no epoch"):
        train(run, tmp_path, Silent(), [])
    (run.path / "history.jsonl").write_text(lines)
    (run.path / "checkpoint.pt").unlink()
    (run.path / "checkpoint.pt").mkdir()
    with pytest.raises(RunError, match=r"checkpoint.pt' cannot be read"):
        train(run, tmp_path, Silent(), [])


def test_a_broken_file_of_scores_says_how_to_go_on(config: Config, tmp_path: Path) -> None:
    run = Run.create(config, tmp_path / "runs")
    (run.path / "scores.json").write_text("{")
    with pytest.raises(RunError, match=r"not valid JSON.*Remove it, and evaluate again"):
        run.save_scores("test", {})


def checked(path: Path, *changes: str) -> str:
    sets = [part for change in changes for part in ("--set", change)]
    result = CliRunner().invoke(app, ["check", str(path), *sets])
    return result.output if result.exit_code == 0 else f"refused: {result.output}"


def test_check_refuses_what_a_training_would(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    assert "warning" not in checked(path) and "refused" not in checked(path)
    for change, said in (
        ("training.monitor=z.rsme", "Did you mean 'z.rmse'"),
        ("training.at_once=2", "EqualWeighting does not"),
        ("training.groups=2", "EqualWeighting does not"),
        ("teachers=[{run: nowhere}]", "is no run"),
    ):
        found = " ".join(checked(path, change).split())
        assert found.startswith("refused") and said in found


def test_check_refuses_what_a_comparison_or_a_search_would(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    two = ["inputs.cells.columns=[y]", "tasks.x={kind: regression, target: x}"]
    for changes, said in (
        (["compare={seeds: [1, 2]}"], "There is one task"),
        ([*two, "compare={seeds: [1, 1]}"], "compare.seeds: expected different numbers"),
        ([*two, "compare={tasks: [[z, y]]}"], "there is no task 'y'"),
        ([*two, "compare={sharing: [{kind: hierarchy, leaves: {x: 7}}]}"], "'hierarchy + equal'"),
        (["tune={optimizer.lrr: {low: 1, high: 2}}"], "Did you mean 'lr'"),
    ):
        found = " ".join(checked(path, *changes).split())
        assert found.startswith("refused") and said in found
    fine = [*two, "compare={seeds: [1, 2]}", "tune={optimizer.lr: {low: 0.1, high: 2}}"]
    assert "refused" not in checked(path, *fine)


def test_nothing_to_choose_by_is_told(config: Config, tmp_path: Path) -> None:
    changes = ["sources.rows.split={validation: 0}", "training.patience=1"]
    assert "training.patience: there are no validation rows" in checked(
        tmp_path / "t.yaml", *changes
    )
    heard = Heard()
    assert train(load_config(tmp_path / "t.yaml", changes), tmp_path / "runs", heard, [])
    assert any("training.patience: there are no validation rows" in w for w in heard.warnings)


def test_what_begins_anew_has_to_be_there(config: Config, tmp_path: Path) -> None:
    run = trained(config, tmp_path / "runs")
    assert train(config, tmp_path / "next", Silent(), [], Origin(run, ("heads.z",)))
    with pytest.raises(ConfigError, match=r"--fresh heads.zz: no part .* Did you mean 'heads.z'"):
        train(config, tmp_path / "other", Silent(), [], Origin(run, ("heads.zz",)))
