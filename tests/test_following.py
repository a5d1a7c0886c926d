"""Training whose mixing follows validation losses: who gets more, stops, and processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from polytask.config import load_config
from polytask.errors import ConfigError
from polytask.own_best import own_epochs
from polytask.report.training import report_run
from polytask.run import Run
from polytask.training.history import kept
from polytask.training.step import StepRecord
from polytask.workflow import evaluate_run, train
from polytask.workflow.watching import Silent

TWO = """\
name: two
sources:
  clear: {kind: table, path: clear.csv, split: {test: 0.1, validation: 0.2}}
  noise: {kind: table, path: noise.csv, split: {test: 0.1, validation: 0.2}}
inputs:
  cells: {kind: table, columns: {clear: [a, b], noise: [a, b]}}
tasks:
  sign: {kind: multiclass, target: clear.label}
  coin: {kind: multiclass, target: noise.label}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [16]}}
batches: {size: 20, mixing: {kind: validation-loss, smoothing: 0.2}}
optimizer: {kind: sgd, lr: 0.3}
training: {epochs: 5, precision: fp32, threads: 1, accelerator: cpu, checkpoint_minutes: 1000}
"""


class Stopping(Silent):
    """Asks to stop after a step; keeps what was said."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.run, self.facts = at, Path(), {}  # type: ignore[var-annotated]

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        self.run, self.facts = run.path, facts

    def on_step(self, step: int, record: StepRecord, lr: float) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with a source that is easy, and one whose labels are thrown coins."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(5)
    for name in ("clear", "noise"):
        table = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
        sign = table["a"] > table["b"]
        table["label"] = np.where(sign if name == "clear" else rng.random(400) < 0.5, "yes", "no")
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "two.yaml").write_text(TWO)
    return folder / "two.yaml"


@pytest.fixture(scope="module")
def whole(file: Path) -> Path:
    """A training that was not stopped."""
    watcher = Stopping()
    assert train(load_config(file), file.parent / "whole", watcher, [])
    return watcher.run


def history(run: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": 0} for line in Run.open(run).history()]


def test_the_source_that_stays_hard_is_drawn_more(whole: Path) -> None:
    drawn = [line["drawn"] for line in history(whole)]
    steps = sum(drawn[0].values()) // 20
    assert all(sum(d.values()) == pytest.approx(20 * steps, abs=1) for d in drawn)
    assert drawn[0] == drawn[1]  # after the first epoch all of every loss is left
    more = [d["noise"] - d["clear"] for d in drawn[1:]]
    assert more == sorted(more) and more[0] == 0 and more[-1] > 0.3 * 20 * steps
    for line in history(whole):
        scores = line["scores"]
        assert scores["sign"]["loss of clear"] == pytest.approx(scores["sign"]["loss"])
        assert "loss of noise" not in scores["sign"]


@pytest.mark.parametrize("at", [56, 60, 84])
def test_a_stop_and_a_resume_change_nothing(file: Path, whole: Path, at: int) -> None:
    """At the end of an epoch of 28 steps, and twice within one."""
    watcher = Stopping(at)
    assert not train(load_config(file), file.parent / f"stopped-{at}", watcher, [])
    assert watcher.facts["steps"] == 5 * 28
    torch.manual_seed(99)
    assert train(Run.open(watcher.run), file.parent, Silent(), [])
    assert history(watcher.run) == history(whole)
    weights = "model.safetensors"
    assert (watcher.run / weights).read_bytes() == (whole / weights).read_bytes()
    one, other = (torch.load(run / "checkpoint.pt") for run in (watcher.run, whole))
    assert one["stream"] == other["stream"] and len(one["stream"]["shares"]) == 6
    assert all(torch.equal(one["model"][k], other["model"][k]) for k in other["model"])


def test_two_processes_share_the_shares(file: Path, whole: Path) -> None:
    """And keep the weights of each task's own best epoch, where they are asked to."""
    command = [sys.executable, "-m", "polytask.cli", "train", str(file), "--runs", "pair"]
    found = subprocess.run(
        [*command, "--set", "training.devices=2", "--set", "training.keep=each"],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    (pair,) = (file.parent / "pair").iterdir()
    for one, two in zip(history(whole), history(pair), strict=True):
        assert two["drawn"] == pytest.approx(one["drawn"], abs=1)
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    noted = kept(Run.open(pair).history())
    assert noted is not None and own_epochs(Run.open(pair)) == noted[1]
    assert noted[1].keys() == {"sign", "coin"}
    evaluate_run(Run.open(pair), "test")
    weights = load_file(pair / "model.safetensors")
    for name, value in load_file(whole / "model.safetensors").items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_source_without_validation_keeps_its_share_and_that_is_said(file: Path) -> None:
    text = TWO.replace(
        "path: noise.csv, split: {test: 0.1, validation: 0.2}",
        "path: noise.csv, split: {test: 0.1, validation: 0.0}",
    )
    (file.parent / "silent.yaml").write_text(text.replace("epochs: 5", "epochs: 3"))
    watcher = Stopping()
    assert train(load_config(file.parent / "silent.yaml"), file.parent / "silent", watcher, [])
    assert "noise has no labels in validation rows" in watcher.facts["epoch"]
    drawn = [line["drawn"] for line in history(watcher.run)]
    assert all(d == pytest.approx(drawn[0], abs=1) for d in drawn)
    assert json.loads((watcher.run / "data.json").read_text())["notes"]


def test_the_report_shows_what_the_mixing_did(whole: Path) -> None:
    page = report_run(Run.open(whole))
    (learning,) = (section for section in page.sections if section.heading == "Learning")
    (figure,) = (figure for figure in learning.figures if figure.name == "drawn")
    assert figure.alt == "Examples of clear, noise by epoch"
    (data,) = (section for section in page.sections if section.heading == "Data")
    assert "at first, then by validation losses" in data.text


def test_balancers_that_compare_two_batches_are_refused(file: Path) -> None:
    config = load_config(file, ["balancer={kind: modo}"])
    with pytest.raises(ConfigError, match="MoDo compares each batch"):
        train(config, file.parent / "modo", Silent(), [])
