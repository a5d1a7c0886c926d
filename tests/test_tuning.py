"""Thresholds: chosen on validation rows of a real training, kept, and used afterwards."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polytask.config import load_config
from polytask.config.build import build_tasks
from polytask.errors import ConfigError
from polytask.run import Run
from polytask.tasks import Binary
from polytask.tuning import said
from polytask.workflow import Silent, best_model, evaluate_run, predict_run, reopen_data, train

RARE = """\
sources:
  t: {kind: table, path: t.csv, split: {test: 0.2, validation: 0.3}}
inputs:
  x: {kind: table, columns: [a, b]}
tasks:
  one: {kind: binary, target: one, threshold: tuned}
  tags: {kind: multilabel, target: [u, v], threshold: tuned}
  grade: {kind: ordinal, target: grade}
  price: {kind: quantile, target: price}
  size: {kind: gaussian, target: price}
trunk: {kind: hard, backbone: {widths: [8]}}
batches: {size: 32}
optimizer: {kind: adamw, lr: 0.01}
training: {epochs: 2, threads: 1, monitor: mean.auroc}
"""


def write(folder: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    frame = pd.DataFrame(x, columns=["a", "b"])
    frame["one"] = (x[:, 0] > 1.2).astype(int)
    frame["u"], frame["v"] = (x[:, 1] > 1).astype(int), (x[:, 0] < -1.5).astype(int)
    frame["grade"] = np.digitize(x[:, 0], [-1, 0, 1])
    frame["price"] = x.sum(1) * 10
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "rare.yaml").write_text(RARE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rare")
    write(folder)
    assert train(load_config(folder / "rare.yaml"), folder / "runs", Silent(), [])
    return Run.newest(folder / "runs")


def test_thresholds_are_those_of_the_validation_part(run: Run) -> None:
    model, _, tasks = best_model(run)
    prepared = reopen_data(run, None)
    rows = prepared.parts["validation"]["t"]
    batch = prepared.datasets["t"].gather(rows)
    with torch.inference_mode():
        outputs = model(batch.inputs, ["one", "tags"])
    for task in tasks[:2]:
        assert task.tunes and len(task.facts()["thresholds"]) == len(set(task.classes) - {"0"})
        again = task.tuned(task.decode(outputs[task.name]), batch.targets[task.name])
        assert again.facts()["thresholds"] == pytest.approx(task.facts()["thresholds"], abs=1e-5)
    lines = said(run.read_json("facts.json"), build_tasks(run.config))
    assert [line.split(",")[0] for line in lines] == ["thresholds of one", "thresholds of tags"]


def test_evaluation_and_prediction_use_them(run: Run) -> None:
    facts = run.read_json("facts.json")["tasks"]
    scores = evaluate_run(run, "validation")
    assert scores["one"]["f1"] > 0  # after two epochs nothing is above a half
    folder = run.path.parent.parent
    lines = list(predict_run(run, folder / "t.csv"))
    (cut,) = facts["one"]["thresholds"]
    assert 0 < sum(line["one"] == "1" for line in lines) < len(lines)
    assert all((line["one"] == "1") == (line["one.1"] > cut) for line in lines)
    cuts = dict(zip("uv", facts["tags"]["thresholds"], strict=True))
    for line in lines:
        named = {name for name in "uv" if line[f"tags.{name}"] > cuts[name]}
        assert set(line["tags"].split("|")) - {""} == named
    assert all(line["price.q0.05"] <= line["price"] <= line["price.q0.95"] for line in lines)


def test_without_validation_labels_there_is_nothing_to_tune_on(tmp_path: Path) -> None:
    write(tmp_path)
    config = load_config(tmp_path / "rare.yaml", ["sources.t.split.validation=0.0"])
    with pytest.raises(ConfigError, match=r"tasks\.one\.threshold: there are no validation labels"):
        train(config, tmp_path / "runs", Silent(), [])


@pytest.mark.parametrize(("number", "lines"), [(2, 2), (100, 1)])
def test_thresholds_of_many_tasks_are_one_line(number: int, lines: int) -> None:
    target = {"s": "y"}
    names = [f"t{k}" for k in range(number)]
    tasks = [Binary(name=n, input="x", target=target, threshold="tuned") for n in names]
    facts = {"tasks": {n: {"classes": ["no", "yes"], "thresholds": [0.25]} for n in names}}
    told = said(facts, tasks)
    assert len(told) == lines and ("yes 0.250" in told[0]) == (lines == 2)
