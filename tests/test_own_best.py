"""Tasks that keep the weights of their own best epochs."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config import load_config
from polytask.data.predicting import read_unlabelled
from polytask.errors import RunError
from polytask.inspection.page import inspect_run
from polytask.own_best import EachAtItsBest, own_epochs
from polytask.report.training import report_run
from polytask.run import Run
from polytask.training.history import kept, monitored, own_scores, told_epochs
from polytask.training.keeping import Keeper
from polytask.training.progress import Progress
from polytask.types import Scores
from polytask.workflow import answering_model, best_model, evaluate_run, predict_run, train
from tests.networks import TASKS
from tests.test_following import Stopping, history
from tests.training.loops import fabric

CONFIG = """\
name: own
seed: 3
sources:
  rows: {kind: table, path: rows.csv, split: {column: part}}
inputs:
  cells: {kind: table, columns: [a, b, c]}
tasks:
  sign: {kind: multiclass, target: sign}
  coin: {kind: multiclass, target: coin}
  heads: {kind: multilabel, target: [one, two], threshold: tuned}
  never: {kind: regression, target: never}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [16]}}
batches: {size: 20}
optimizer: {kind: sgd, lr: 0.1}
training: {epochs: 8, keep: each, precision: fp32, threads: 1, accelerator: cpu}
"""
STEPS = 10  # in an epoch


class Hearing(Stopping):
    """Remembers warnings too."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(at)
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task to learn, others of thrown coins, and one whose labels are in training rows alone."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(400, 3)), columns=["a", "b", "c"])
    table["part"] = ["train"] * 200 + ["validation"] * 120 + ["test"] * 80
    table["sign"] = np.where(table["a"] > table["b"], "yes", "no")
    for name in ("coin", "one", "two"):
        table[name] = rng.integers(0, 2, 400)
    table["never"] = table["c"].where(table["part"] == "train")
    table.to_csv(folder / "rows.csv", index=False)
    (folder / "own.yaml").write_text(CONFIG)
    return folder / "own.yaml"


def trained(file: Path, root: str, at: int = 0) -> tuple[Run, Hearing]:
    """A training, which is stopped after a step unless that is 0."""
    watcher = Hearing(at)
    assert train(load_config(file), file.parent / root, watcher, []) == (not at)
    return Run.open(watcher.run), watcher


@pytest.fixture(scope="module")
def whole(file: Path) -> Run:
    run, watcher = trained(file, "whole")
    assert not watcher.warnings
    return run


def own_files(run: Run) -> dict[str, bytes]:
    paths = [*(run.path / "own_best").iterdir(), run.path / "own_best.json"]
    return {path.name: path.read_bytes() for path in paths}


def test_each_task_answers_with_its_own_best_epoch(whole: Run) -> None:
    epochs, lines = own_epochs(whole), whole.history()
    assert epochs.keys() == {"sign", "coin", "heads"}  # the fourth has no score
    assert len(set(epochs.values())) > 1
    for name, epoch in epochs.items():
        metric = {"heads": "f1"}.get(name, "accuracy")
        course = [line["scores"][name][metric] for line in lines]
        assert course.index(max(course)) + 1 == epoch
    names = {f"{epoch}.safetensors" for epoch in epochs.values()}
    assert own_files(whole).keys() == names | {"own_best.json"}
    found = kept(lines)
    assert found is not None and found[1] == epochs
    scores = evaluate_run(whole, "validation")
    for name, epoch in epochs.items():
        noted = lines[epoch - 1]["scores"][name]
        assert found[0]["scores"][name] == noted
        assert scores[name]["loss"] == pytest.approx(noted["loss"])


def test_of_averaged_weights_it_keeps_the_average(file: Path) -> None:
    watcher = Hearing()
    config = load_config(file, ["training.ema=0.9", "training.epochs=3"])
    assert train(config, file.parent / "averaged", watcher, [])
    run = Run.open(watcher.run)
    lines, scores = run.history(), evaluate_run(run, "validation")
    for name, epoch in own_epochs(run).items():
        noted = lines[epoch - 1]["scores"][name]["loss"]
        assert scores[name]["loss"] == pytest.approx(noted)


def test_answers_are_those_of_the_networks_of_these_epochs(whole: Run) -> None:
    new = whole.path.parent / "new.csv"
    pd.DataFrame(np.eye(3), columns=["a", "b", "c"]).to_csv(new, index=False)
    together, inputs, tasks = answering_model(whole)
    assert isinstance(together, EachAtItsBest)
    lines = list(predict_run(whole, new))
    (batch,) = read_unlabelled(new, inputs).batches(9)
    model, _, _ = best_model(whole)
    epochs = own_epochs(whole)
    every = together(batch.inputs, [task.name for task in tasks])
    assert list(every) != [] and every.keys() == {task.name for task in tasks}
    for task in tasks:
        epoch = epochs.get(task.name)
        weights = f"own_best/{epoch}.safetensors" if epoch else "model.safetensors"
        model.load_state_dict(load_file(whole.path / weights))
        with torch.no_grad():
            alone = model(batch.inputs, [task.name])[task.name]
        assert torch.equal(together(batch.inputs, [task.name])[task.name], alone)
        assert torch.equal(every[task.name], alone)
        for line, said in zip(lines, task.describe(task.decode(alone)), strict=True):
            assert {name: line[name] for name in said} == said


def test_thresholds_are_tuned_with_the_weights_that_they_are_for(whole: Run) -> None:
    _, _, tasks = answering_model(whole)
    (heads,) = [task for task in tasks if task.name == "heads"]
    at_best = evaluate_run(whole, "validation")["heads"]["f1"]
    assert heads.facts()["thresholds"] != [0.5, 0.5]
    facts = whole.read_json("facts.json")
    for cuts in ([0.5, 0.5], [0.4, 0.6]):
        other = json.loads(json.dumps(facts))
        other["tasks"]["heads"]["thresholds"] = cuts
        whole.write_json("facts.json", other)
        worse = evaluate_run(whole, "validation")["heads"]["f1"]
        assert worse is not None and at_best is not None and worse <= at_best
    whole.write_json("facts.json", facts)


@pytest.mark.parametrize("at", [4, 2 * STEPS, 3 * STEPS + 4, 5 * STEPS])
def test_a_stop_and_a_resume_change_nothing(file: Path, whole: Run, at: int) -> None:
    stopped, _ = trained(file, f"stopped-{at}", at)
    assert train(stopped, file.parent, Hearing(), [])
    assert own_files(stopped) == own_files(whole)
    assert history(stopped.path) == history(whole.path)


def test_weights_kept_after_the_last_checkpoint_are_forgotten(file: Path, whole: Run) -> None:
    """A process that is killed between keeping an epoch's weights and its checkpoint."""
    at = next(line["epoch"] for line in whole.history()[2:] if line["best_of"])
    stopped, _ = trained(file, "killed", (at - 1) * STEPS)
    later, _ = trained(file, "later", at * STEPS)
    assert own_epochs(stopped) != own_epochs(later)
    shutil.rmtree(stopped.path / "own_best")
    shutil.copytree(later.path / "own_best", stopped.path / "own_best")
    shutil.copy(later.path / "own_best.json", stopped.path)
    watcher = Hearing()
    assert train(stopped, file.parent, watcher, [])
    assert not watcher.warnings and own_files(stopped) == own_files(whole)


def test_weights_that_are_gone_are_told(file: Path, whole: Run) -> None:
    run, _ = trained(file, "gone", 3 * STEPS)
    epochs = own_epochs(run)
    (run.path / "own_best" / f"{epochs['sign']}.safetensors").write_bytes(b"broken")
    with pytest.raises(RunError, match=rf"own_best/{epochs['sign']}.safetensors' cannot be read"):
        evaluate_run(run, "test")
    watcher = Hearing()
    assert train(run, file.parent, watcher, [])
    (said,) = watcher.warnings
    assert "best epoch so far of" in said and "sign" in said and "kept in their place" in said
    lines = run.history()
    later = [line["scores"]["sign"]["accuracy"] for line in lines[3:]]
    assert own_epochs(run)["sign"] == later.index(max(later)) + 4
    evaluate_run(run, "test")
    (run.path / "own_best.json").unlink()
    with pytest.raises(RunError, match=r"no own_best.json, which says with which weights"):
        evaluate_run(run, "test")
    (run.path / "own_best.json").write_text('{"coin": "four"}')
    with pytest.raises(RunError, match="should say an epoch for each task"):
        evaluate_run(run, "test")


def test_a_finished_training_whose_weights_are_gone_is_not_resumed(file: Path) -> None:
    run, _ = trained(file, "done")
    epoch = own_epochs(run)["coin"]
    (run.path / "own_best" / f"{epoch}.safetensors").unlink()
    with pytest.raises(RunError, match=r"best epoch so far of .*coin.* are gone"):
        train(run, file.parent, Hearing(), [])


def test_pages_and_the_terminal_say_whose_weights_are_whose(file: Path, whole: Run) -> None:
    epochs = own_epochs(whole)
    page = report_run(whole)
    told = ", ".join(f"{epoch} ({name})" for name, epoch in epochs.items())
    assert f"the weights are of epochs {told}" in page.lead
    sets = str(len({*epochs.values(), 0}))
    rows = [row for section in page.sections for table in section.tables for row in table.rows]
    assert ["sets of them, of different epochs, that answer", sets] in rows
    assert "each task answers with those of its own best epoch" in inspect_run(whole)[0].footer
    found = CliRunner().invoke(app, ["train", str(file), "--runs", str(file.parent / "said")])
    assert found.exit_code == 0, found.output
    flat = " ".join(found.output.split())
    assert f"validation, epochs {told}" in flat and "best so far of: all together, sign" in flat


def test_epochs_are_told_in_few_words() -> None:
    assert told_epochs(4, {}) == "epoch 4"
    assert told_epochs(4, {"a": 3, "b": 3}) == "epoch 3"
    many = {f"t{k}": k + 1 for k in range(20)}
    assert told_epochs(4, many) == "epochs 1 to 20, each task's own best"


def test_without_validation_rows_it_has_no_use(file: Path) -> None:
    text = CONFIG.replace("split: {column: part}", "split: {test: 0.2, validation: 0}")
    text = text.replace(", threshold: tuned", "").replace("epochs: 8", "epochs: 1")
    (file.parent / "blind.yaml").write_text(text)
    run, watcher = trained(file.parent / "blind.yaml", "blind")
    assert [w.split(":")[0] for w in watcher.warnings] == ["training.keep"]
    assert own_epochs(run) == {} and evaluate_run(run, "test")


@pytest.mark.parametrize("monitor", ["mean", "mean.loss", "mean.mae", "values.mae", "type.loss"])
def test_the_epoch_is_the_one_that_a_task_alone_would_keep(monitor: str) -> None:
    scores = {
        task.name: {task.score: 0.1 * k, "loss": 1.0 + k, "mae": 0.5}
        for k, task in enumerate(TASKS)
    }
    for name in ("type", "training", "tags"):
        del scores[name]["mae"]
    found = own_scores(scores, monitor, TASKS)
    name, _, metric = monitor.rpartition(".")
    for task in TASKS:
        alone = monitor
        if name not in ("mean", task.name) or metric not in scores[task.name]:
            alone = "mean"
        assert found[task.name] == monitored({task.name: scores[task.name]}, alone, [task])
    expected = {"mean.loss": -2.0, "mean.mae": -0.5, "values.mae": -0.5}.get(monitor, 0.1)
    assert found["values"] == pytest.approx(expected)
    assert found["type"] == pytest.approx(-1.0 if metric == "loss" else 0.0)


SCORE = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(
    st.lists(st.tuples(*[SCORE for _ in TASKS]), min_size=1, max_size=7),
    st.lists(st.booleans(), min_size=14, max_size=14),
)
def test_every_task_keeps_the_first_of_its_best_epochs(
    course: list[tuple[float | None, ...]], full: list[bool]
) -> None:
    """Epochs whose weights could not be saved are of no task."""
    disk, saved, attempts = iter(full), {}, []  # type: ignore[var-annotated]

    def save(state: object, epoch: int, tasks: Iterable[str], before: dict[str, int]) -> None:
        assert before == saved
        attempts.append(epoch)
        if next(disk):
            raise OSError(28, "No space left on device")
        saved.update(dict.fromkeys(tasks, epoch))

    warned: list[str] = []
    keeper = Keeper(
        fabric(),
        TASKS,
        "mean",
        keep=lambda state: None,
        keep_own=save,  # type: ignore[arg-type]
        warn=warned.append,
    )
    progress = Progress.start(len(TASKS))
    best: dict[str, float] = {}
    first: dict[str, int] = {}
    failed = iter(full)
    for epoch, values in enumerate(course, start=1):
        scores: Scores = {
            task.name: {task.score: value, "loss": None if value is None else 1.0, "count": 1}
            for task, value in zip(TASKS, values, strict=True)
        }
        better = {
            task.name: value
            for task, value in zip(TASKS, values, strict=True)
            if value is not None and value > best.get(task.name, -1.0)
        }
        if better and next(failed):
            better = {}
        best |= better
        first |= dict.fromkeys(better, epoch)
        found = keeper.end_epoch(progress, epoch, {"w": torch.zeros(1)}, scores)
        assert found.best_of is not None and set(found.best_of) == set(better)
    assert progress.own_epoch == first == saved and progress.own_best == best
    assert len(warned) == sum(full[: len(attempts)])
