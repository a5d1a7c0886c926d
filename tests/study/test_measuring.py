"""What is measured before a comparison begins."""

from pathlib import Path

import pytest
import torch

from polytask.config.load import load_config
from polytask.config.variants import with_tasks
from polytask.study import measuring
from polytask.study.measuring import measured, part_of
from polytask.workflow import make_stream, prepare_data
from tests.study.test_plan import TWO_SOURCES

TABLE = """\
sources: {t: {kind: table, path: t.csv, split: {validation: 0.2}}}
inputs: {row: {kind: table, columns: ["*"], clean: CLEAN}}
tasks:
  a: {kind: binary, target: a}
  b: {kind: regression, target: b}
  c: {kind: multiclass, target: c}
batches: {size: 8}
training: {epochs: 1, threads: 1, precision: fp32}
compare: {seeds: [0], trials: 1}
"""


def table(folder: Path, clean: str) -> Path:
    lines = [f"{k},{k % 7},{k % 2},{k % 3},{'uvw'[k % 3]}" for k in range(60)]
    (folder / "t.csv").write_text("\n".join(["x,y,a,b,c", *lines]))
    (folder / "c.yaml").write_text(TABLE.replace("CLEAN", clean))
    return folder / "c.yaml"


@pytest.mark.parametrize("tasks", [["a"], ["c"], ["a", "b"]])
def test_a_part_of_the_data_is_what_preparing_it_gives(tasks: list[str], tmp_path: Path) -> None:
    config = load_config(table(tmp_path, "{scale: standard}"))
    own = with_tasks(config, tasks)
    part, anew = part_of(prepare_data(config, None), own), prepare_data(own, None)
    assert part is not None and part.tasks == anew.tasks
    assert part.inputs["row"].state == anew.inputs["row"].state
    assert part.summary() == anew.summary()
    for step in range(4):
        ours, theirs = (make_stream(own, p, 0, 1).batch(step) for p in (part, anew))
        assert torch.equal(ours.inputs["row"].values, theirs.inputs["row"].values)
        for found, wanted in ((ours.targets, theirs.targets), (ours.present, theirs.present)):
            assert found.keys() == wanted.keys() == set(tasks)
            assert all(torch.equal(found[t], wanted[t]) for t in tasks)


def test_inputs_that_would_learn_something_else_are_prepared_anew(tmp_path: Path) -> None:
    chosen = load_config(table(tmp_path, "{select: {kind: univariate, keep: 1}}"))
    assert part_of(prepare_data(chosen, None), with_tasks(chosen, ["a"])) is None
    drops = load_config(table(tmp_path, "{missing: {kind: drop}}"))
    with (tmp_path / "t.csv").open("a") as file:
        file.write("\n60,,1,2,u" * 20)
    assert part_of(prepare_data(drops, None), with_tasks(drops, ["a"])) is None
    (tmp_path / "p.yaml").write_text(TWO_SOURCES.replace("BUDGET", "steps"))
    pictures = load_config(tmp_path / "p.yaml")
    assert part_of(prepare_data(pictures, None), with_tasks(pictures, ["color"])) is None


def test_one_source_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(*given: object) -> object:
        asked.append(1)
        return prepare_data(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "prepare_data", counted)
    facts = measured(load_config(table(tmp_path, "{scale: standard}")), 1)
    assert len(asked) == 1
    assert {"a alone", "b alone", "c alone"} < set(facts["seconds"])
