"""Starting from weights that were trained before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polytask.config import load_config
from polytask.errors import ConfigError, DataError, RunError
from polytask.origin import Origin
from polytask.run import Run
from polytask.tasks import Binary, Multiclass, Multilabel, Regression, Task
from polytask.transfer import continued, start_from
from polytask.workflow import Silent, evaluate_run, train
from tests.networks import TASKS, network, parameters

KIND, VALUES, TRUTH, TAGS = TASKS


def test_what_fits_by_name_and_shape_is_taken_and_all_of_it_is_said() -> None:
    earlier = network(TASKS[:3], seed=1)
    model = network((KIND, TAGS), seed=2)
    fresh = parameters(model)
    start = start_from(model, parameters(earlier), (KIND, TAGS), TASKS[:3])
    now = parameters(model)
    for name, value in now.items():
        source = fresh if name in start.fresh else parameters(earlier)
        assert torch.equal(value, source[name]), name
    assert sorted(start.taken + start.fresh) == sorted(now)
    assert {name.split(".")[1] for name in start.fresh} == {"tags"}
    assert {name.split(".")[1] for name in start.left} == {"values", "training_"}
    assert dict(start.parts())["heads.values"] == "left behind"


def test_new_labels_grow_a_head_and_a_task_of_another_kind_is_replaced() -> None:
    assert isinstance(KIND, Multiclass)
    more = replace(KIND, classes=("a", "x", "y", "z"), counts=(9, 1, 2, 3))
    grown = continued(replace(KIND, classes=()), more, KIND)
    assert grown == replace(KIND, classes=("x", "y", "z", "a"), counts=(1, 2, 3, 9))
    other = Regression(name="training", input="sound", target={"b": "n"}, mean=(0.0,), std=(1.0,))
    earlier = network(seed=1)
    model = network((grown, other), seed=2)
    mine = parameters(model)
    start = start_from(model, parameters(earlier), (grown, other), TASKS)
    now, before = parameters(model), parameters(earlier)
    weight = "heads.type_.linear.weight"
    assert torch.equal(now[weight][:3], before[weight])
    assert torch.equal(now[weight][3], mine[weight][3])
    assert weight in start.grown
    assert torch.equal(now["heads.training_.linear.weight"], mine["heads.training_.linear.weight"])


def test_a_task_named_fresh_begins_anew() -> None:
    model = network(seed=2)
    mine = parameters(model)["heads.type_.linear.weight"]
    start_from(model, parameters(network(seed=1)), TASKS, TASKS, fresh=["heads.type"])
    assert torch.equal(parameters(model)["heads.type_.linear.weight"], mine)


def test_other_widths_name_the_parts() -> None:
    with pytest.raises(RunError, match=r"encoders.*\[6, 5\] there, \[4, 5\] here.*--fresh"):
        start_from(network(width=4), parameters(network()), TASKS, TASKS)
    with pytest.raises(RunError, match="No part of the run"):
        start_from(network(), {"elsewhere.x": torch.zeros(1)}, TASKS, TASKS)


@pytest.mark.parametrize(
    ("declared", "fitted", "earlier"),
    [
        (replace(KIND, classes=("y", "x", "z")), KIND, KIND),  # type: ignore[call-arg]
        (replace(TRUTH, classes=()), replace(TRUTH, classes=("a", "b")), TRUTH),  # type: ignore[call-arg]
        (replace(TAGS, classes=()), replace(TAGS, classes=("s", "r")), TAGS),  # type: ignore[call-arg]
        (VALUES, replace(VALUES, mean=(0.0,), std=(1.0,)), VALUES),  # type: ignore[call-arg]
    ],
)
def test_labels_that_cannot_stay_are_refused(declared: Task, fitted: Task, earlier: Task) -> None:
    with pytest.raises(DataError):
        continued(declared, fitted, earlier)


def test_kept_tasks_keep_order_and_scale() -> None:
    assert isinstance(TRUTH, Binary) and isinstance(VALUES, Regression)
    assert isinstance(TAGS, Multilabel)
    swapped = replace(TRUTH, classes=("yes", "no"))
    assert continued(replace(TRUTH, classes=()), swapped, TRUTH) == TRUTH
    assert continued(VALUES, replace(VALUES, mean=(9.0, 9.0)), VALUES) == VALUES
    counted = {"counts": (1, 2), "known": (4, 4)}
    one = replace(TAGS, target={"b": "tags"}, classes=("q", "s"), **counted)  # type: ignore[arg-type]
    assert continued(replace(one, classes=()), one, TAGS).classes == ("r", "s", "q")  # type: ignore[attr-defined]


CONFIG = """\
name: {name}
seed: {seed}
sources:
  shapes: {{kind: shapes, count: 60, size: 16, missing: 0.0, split: {{test: 0.2, validation: 0.2}}}}
inputs:
  picture: {{kind: image, column: image, size: 16}}
tasks:
{tasks}
trunk: {{kind: hard, backbone: {{kind: residual, widths: [4]}}}}
batches: {{size: 16}}
optimizer: {{kind: sgd, lr: {lr}}}
training: {{epochs: {epochs}, precision: fp32, threads: 1}}
teachers: {teachers}
"""
COLOR = "  color: {kind: multiclass, target: color}\n"
LETTER = "  letter: {kind: multiclass, target: letter}\n"


def trained(folder: Path, origin: Origin | None = None, **settings: Any) -> Run:
    """A small run on coloured shapes."""
    text = CONFIG.format(
        **{"name": "a", "seed": 0, "lr": 0.1, "epochs": 1, "teachers": [], **settings}
    )
    (folder / "c.yaml").write_text(text)
    before = set(folder.glob("runs/*"))
    assert train(load_config(folder / "c.yaml"), folder / "runs", Silent(), [], origin)
    (path,) = set(folder.glob("runs/*")) - before
    return Run.open(path)


def test_a_training_starts_from_a_run_and_says_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    first = trained(tmp_path, tasks=COLOR)
    second = trained(tmp_path, Origin(first), tasks=COLOR + LETTER, seed=1, lr=1e-9)
    before, after = first.weights(), second.weights()
    for name, value in before.items():
        if name in after and value.is_floating_point() and "running" not in name:
            torch.testing.assert_close(after[name], value, atol=1e-6, rtol=1e-6, msg=name)
    said = second.read_json("start.json")
    assert said["run"] == str(first.path) and said["weights"] == first.fingerprint()
    assert all(name.startswith("heads.letter") for name in said["parts_fresh"])
    assert second.read_json("facts.json")["inputs"] == first.read_json("facts.json")["inputs"]
    assert evaluate_run(second, "test")["color"]["count"]
    # Without a checkpoint a resumed training starts from the same weights again.
    (second.path / "checkpoint.pt").unlink()
    (second.path / "model.safetensors").unlink()
    assert train(second, tmp_path, Silent(), [])
    torch.testing.assert_close(second.weights(), after, atol=0, rtol=0)
    (second.path / "checkpoint.pt").unlink()
    first.save_weights({"x": torch.zeros(1)})
    with pytest.raises(RunError, match="have changed"):
        train(second, tmp_path, Silent(), [])


class Told(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize(("seed", "leaks"), [(0, False), (1, True)])
@pytest.mark.parametrize("teaches", [False, True])
def test_held_out_rows_that_the_other_run_has_seen_are_told(
    teaches: bool, seed: int, leaks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    first = trained(tmp_path, tasks=COLOR)
    teachers = f"[{{run: {first.path}}}]" if teaches else "[]"
    settings = {"name": "b", "lr": 0.1, "epochs": 1, "tasks": COLOR, "teachers": teachers}
    (tmp_path / "c.yaml").write_text(CONFIG.format(seed=seed, **settings))
    told = Told()
    origin = None if teaches else Origin(first)
    assert train(load_config(tmp_path / "c.yaml"), tmp_path / "runs", told, [], origin)
    assert [str(first.path) in message for message in told.warnings] == [True] * leaks


def test_runs_teach_a_run_which_says_who_and_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    runs = [trained(tmp_path, tasks=task) for task in (COLOR, LETTER)]
    taught = [f"{{run: {run.path}, fill_missing: true}}" for run in runs]
    tasks = COLOR + LETTER
    with monkeypatch.context() as patched:
        patched.setattr(
            "tests.test_transfer.CONFIG", CONFIG.replace("missing: 0.0", "missing: 0.5")
        )
        student = trained(tmp_path, tasks=tasks, teachers=f"[{', '.join(taught)}]")
    said = student.read_json("teachers.json")
    assert [t["weights"] for t in said] == [run.fingerprint() for run in runs]
    assert [list(t["tasks"]) for t in said] == [["color"], ["letter"]]
    (epoch,) = student.history()
    labels = student.read_json("data.json")["labels"]["color"]["train"]
    rows = student.read_json("data.json")["rows"]["train"]["shapes"]
    assert 0 < epoch["filled"]["color"] <= rows - labels + 16
    assert evaluate_run(student, "test")["letter"]["count"]
    with pytest.raises(ConfigError, match=r"teachers\.0.*no task 'letter'"):
        trained(tmp_path, tasks=tasks, teachers=f"[{{run: {runs[0].path}, tasks: {{letter: 1}}}}]")
    runs[0].save_weights({name: value + 1 for name, value in runs[0].weights().items()})
    with pytest.raises(RunError, match=r"teacher.*have changed"):
        train(student, tmp_path, Silent(), [])
