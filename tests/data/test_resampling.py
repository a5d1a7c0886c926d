"""Resampling: counts that are asked for, of training rows only, the same for the same seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.data.dataset import Prepared
from polytask.errors import ConfigError, DataError
from polytask.run import Run
from polytask.workflow import Silent, make_stream, prepare_data, train

CONFIG = """\
sources: {own: {kind: table, path: t.csv, split: {test: 0.2, validation: 0.2, stratify: kind}}}
inputs: {row: {kind: table, columns: [x, y]}}
tasks:
  kind: {kind: multiclass, target: kind, class_weights: balanced}
  flag: {kind: binary, target: flag}
  age: {kind: regression, target: age}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
batches: {size: 8, resample: RESAMPLE}
training: {epochs: 2, threads: 1}
"""


def configured(folder: Path, resample: str) -> Config:
    """120 rows: 90 of a, 20 of b, 10 of c; every sixth without that label."""
    rng = np.random.default_rng(0)
    lines = ["x,y,kind,flag,age"]
    for k in range(120):
        kind = "" if k % 6 == 5 else "abc"[(k >= 90) + (k >= 110)]
        x, y = rng.normal(size=2) + (k >= 90)
        lines.append(f"{x:.4f},{y:.4f},{kind},{'yes' if k % 10 == 0 else 'no'},{k}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "c.yaml").write_text(CONFIG.replace("RESAMPLE", resample))
    return load_config(folder / "c.yaml")


def drawn(config: Config, prepared: Prepared) -> tuple[Counter[int], np.ndarray, str]:
    """How often each class is drawn, the rows, and what is said."""
    stream = make_stream(config, prepared, 0, 1)
    rows = stream.rows["own"]
    data = prepared.datasets["own"]
    labelled = rows[data.present["kind"][rows].numpy()]
    return Counter(data.targets["kind"][labelled].tolist()), rows, stream.describe_epoch()


def test_rare_classes_are_drawn_more_often(tmp_path: Path) -> None:
    config = configured(tmp_path, "{kind: over, task: kind, share: 0.5}")
    prepared = prepare_data(config, None)
    train_rows = prepared.parts["train"]["own"]
    before = prepared.summary()["classes"]["kind"]["train"]
    counts, rows, said = drawn(config, prepared)
    half = round(before["a"] / 2)
    assert counts == {0: before["a"], 1: half, 2: half} and before["b"] < half
    assert set(rows.tolist()) == set(train_rows.tolist()), "no row is new, and none is lost"
    unlabelled = ~prepared.datasets["own"].present["kind"].numpy()
    assert all(v == 1 for v in Counter(rows[unlabelled[rows]].tolist()).values())
    assert f"resampled: a {before['a']} -> {before['a']}, b {before['b']} -> {half}" in said
    assert prepared.tasks[0].counts == tuple(before.values()), "weights count each row once"  # type: ignore[attr-defined]
    again = drawn(config, prepare_data(config, None))[1]
    assert np.array_equal(rows, again)
    other = drawn(config.model_copy(update={"seed": 7}), prepared)[1]
    assert len(other) == len(rows) and not np.array_equal(rows, other)


def test_frequent_classes_are_left_out(tmp_path: Path) -> None:
    config = configured(tmp_path, "{kind: under, task: kind}")
    prepared = prepare_data(config, None)
    least = min(prepared.summary()["classes"]["kind"]["train"].values())
    counts, rows, _ = drawn(config, prepared)
    assert set(counts.values()) == {least} and len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(prepared.parts["train"]["own"].tolist())


def test_pairs_of_neighbours_of_two_classes_lose_the_frequent_one(tmp_path: Path) -> None:
    config = configured(tmp_path, "{kind: tomek, task: kind}")
    prepared = prepare_data(config, None)
    data, train_rows = prepared.datasets["own"], prepared.parts["train"]["own"]
    rows = drawn(config, prepared)[1]
    labelled = train_rows[data.present["kind"][train_rows]].numpy()
    values = data.stores["row"].gather(labelled).values.numpy()
    far = np.linalg.norm(values[:, None] - values[None], axis=2) + np.diag([np.inf] * len(values))
    nearest, kinds = far.argmin(1), data.targets["kind"][labelled].numpy()
    number = Counter(kinds.tolist())
    linked = (nearest[nearest] == np.arange(len(nearest))) & (kinds[nearest] != kinds)
    gone = {
        int(r)
        for r, k in zip(labelled[linked], kinds[linked], strict=True)
        if number[k] > min(number.values())
    }
    assert gone and set(labelled.tolist()) - set(rows.tolist()) == gone


@pytest.mark.parametrize(
    ("resample", "told"),
    [
        ("{kind: over, task: knd}", "no task 'knd'. Did you mean 'kind'"),
        ("{kind: over, task: age}", "'age' has no classes"),
        ("{kind: over, task: kind, share: 2}", "batches.resample: `share` should be above 0"),
    ],
)
def test_what_cannot_be_resampled_says_so(tmp_path: Path, resample: str, told: str) -> None:
    with pytest.raises((ConfigError, DataError), match=told):
        config = configured(tmp_path, resample)
        make_stream(config, prepare_data(config, None), 0, 1)


def test_a_run_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured(tmp_path, "{kind: over, task: flag}")
    assert train(config, tmp_path / "runs", Silent(), ["test"])
    run = Run.newest(tmp_path / "runs")
    (note,) = run.read_json("data.json")["notes"]
    assert note.startswith("training rows of own by flag, resampled: no ")
