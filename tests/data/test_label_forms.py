"""Labels whose letters Unicode can write in two ways."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polytask.config.load import load_config
from polytask.data.columns import block
from polytask.data.labels import composed_cells
from polytask.data.tables import TableFile
from polytask.errors import DataError
from polytask.origin import Origin
from polytask.run import Run
from polytask.survey.drafting import draft
from polytask.tasks import Binary, Multiclass, Multilabel, Recognition, Tagging, Task
from polytask.workflow import Silent, evaluate_run, predict_run, prepare_data, train

LONG, SHORT = unicodedata.normalize("NFD", "Größe"), "Größe"
CONFIG = """\
sources: {t: {kind: table, path: t.csv}}
inputs: {row: {kind: table, columns: [x]}}
tasks: {kind: {kind: KIND, target: kind}}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
training: {epochs: 1, threads: 1}
"""


def cells(*found: Any) -> Any:
    made = np.empty((len(found), 1), dtype=object)
    made[:, 0] = found
    return made


def made(kind: type[Task], **settings: Any) -> Any:
    return kind(name="kind", input="row", target={"t": "kind"}, **settings)


@pytest.mark.parametrize(
    ("kind", "given", "read", "count"),
    [
        (Multiclass, [LONG, SHORT, "b", None], [SHORT, SHORT, "b", None], 1),
        (Binary, [LONG, "b", 1.5], [SHORT, "b", 1.5], 1),
        (Multilabel, [f"{LONG}|b", [LONG, "b"]], [f"{SHORT}|b", [SHORT, "b"]], 2),
        (Tagging, [("O", LONG, None), f"O {LONG}"], [["O", SHORT, None], f"O {SHORT}"], 2),
        (Recognition, [LONG], [LONG], 0),  # its symbols are single signs
    ],
)
def test_labels_are_read_in_the_shorter_form(
    kind: type[Task], given: list[Any], read: list[Any], count: int
) -> None:
    found, changed = composed_cells(made(kind), cells(*given))
    assert found[:, 0].tolist() == read and changed == count


def test_names_that_a_task_has_stay() -> None:
    task = made(Multiclass, classes=(LONG, "b"))  # as a run from before may have them
    assert composed_cells(task, cells(LONG, SHORT, "b"))[0][:, 0].tolist() == [LONG, LONG, "b"]
    task = made(Multiclass, classes=(LONG, SHORT))
    assert composed_cells(task, cells(LONG, SHORT))[0][:, 0].tolist() == [LONG, SHORT]
    task = made(Multilabel, classes=(LONG, "b"))
    assert composed_cells(task, cells(f"{LONG}|b"))[0][:, 0].tolist() == [f"{LONG}|b"]


def table(folder: Path, *names: str, kind: str = "multiclass") -> Path:
    rows = [f"{k % 7},{names[k % len(names)]}" for k in range(60)]
    (folder / "t.csv").write_text("\n".join(["x,kind", *rows]), encoding="utf-8")
    (folder / "c.yaml").write_text(CONFIG.replace("KIND", kind), encoding="utf-8")
    return folder / "c.yaml"


def test_two_forms_are_one_class_and_that_is_told(tmp_path: Path) -> None:
    data = prepare_data(load_config(table(tmp_path, LONG, SHORT, "b")), None)
    assert data.tasks[0].facts()["classes"] == [SHORT, "b"]
    doubts = data.summary()["doubts"]
    assert [d for d in doubts if "Unicode" in d] == [
        "kind: labels with a letter and its sign apart (Unicode's NFD), read as those that have "
        "them in one (NFC): 20"
    ]
    assert not any("nearly the same" in d for d in doubts)
    text = draft(tmp_path / "t.csv", ["kind"], tmp_path / "x.yaml")
    assert SHORT in text and LONG not in text and "kind: binary" in text
    plain = prepare_data(load_config(table(tmp_path, SHORT, "b")), None).summary()["doubts"]
    assert not any("Unicode" in d for d in plain)


@pytest.mark.parametrize("names", [(LONG, "b"), (LONG, SHORT, "b")])
def test_runs_from_before_keep_their_labels(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(table(tmp_path, *names))
    with monkeypatch.context() as before:  # as labels were read then
        before.setattr("polytask.data.preparing.composed_cells", lambda _, found: (found, 0))
        assert train(config, tmp_path / "runs", Silent(), [])
        old = Run.newest(tmp_path / "runs")
        scores = evaluate_run(old, "test")
    assert set(old.read_json("facts.json")["tasks"]["kind"]["classes"]) == set(names)
    assert evaluate_run(old, "test") == scores
    assert {line["kind"] for line in predict_run(old, tmp_path / "t.csv")} <= set(names)
    assert train(config, tmp_path / "runs", Silent(), [], origin=Origin(old))
    facts = Run.newest(tmp_path / "runs").read_json("facts.json")["tasks"]["kind"]
    assert facts["classes"] == old.read_json("facts.json")["tasks"]["kind"]["classes"]


def test_weights_of_classes_are_named_in_either_form(tmp_path: Path) -> None:
    path = table(tmp_path, LONG, "b")
    text = path.read_text().replace(
        "kind: multiclass,", f"kind: multiclass, class_weights: {{{LONG}: 2}},"
    )
    path.write_text(text, encoding="utf-8")
    (task,) = prepare_data(load_config(path), None).tasks
    assert isinstance(task, Multiclass)
    factors = dict(zip(task.classes, task._factors().tolist(), strict=True))  # type: ignore[union-attr]
    assert factors[SHORT] == pytest.approx(2 * factors["b"])
    path.write_text(text.replace(LONG, "Grösse"), encoding="utf-8")
    with pytest.raises(DataError, match="which is no class"):
        prepare_data(load_config(path), None)


CITIES = """\
sources: {t: {kind: table, path: t.csv, split: {group: who}}}
inputs: {row: {kind: table, columns: [x, city]}}
tasks: {y: {kind: regression, target: y}}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
training: {epochs: 1, threads: 1}
"""


def cities(folder: Path, names: Sequence[str], rows: int = 60) -> Path:
    """A table with a city, and a person of two who writes in one form or the other."""
    lines = ["x,city,y,who"]
    for k in range(rows):
        lines.append(f"{k % 7},{names[k % len(names)]},{k % 5},{(LONG, SHORT)[k % 2]}{k // 6}")
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "c.yaml").write_text(CITIES, encoding="utf-8")
    return folder / "c.yaml"


def test_two_forms_are_one_category_and_that_is_told(tmp_path: Path) -> None:
    data = prepare_data(load_config(cities(tmp_path, (LONG, SHORT, "b"))), None)
    spec = data.inputs["row"].state["columns"][1]
    assert spec == {"kind": "category", "name": "city", "values": [SHORT, "b"], "form": "NFC"}
    vectors = data.datasets["t"].stores["row"].gather(np.arange(3)).values
    assert torch.equal(vectors[0, 1:], vectors[1, 1:]) and not torch.equal(vectors[0], vectors[2])
    said = [d for d in data.summary()["doubts"] if "Unicode" in d]
    assert said == [
        "row: categories of column 'city' with a letter and its sign apart (Unicode's NFD), read "
        "as those that have them in one (NFC): 20"
    ]


def test_one_person_in_two_forms_is_in_one_part(tmp_path: Path) -> None:
    data = prepare_data(load_config(cities(tmp_path, ("a", "b"))), None)
    cells = data.datasets["t"].table.cells(["who"])[:, 0]
    parts = [
        {unicodedata.normalize("NFC", cells[row]) for row in by["t"].tolist()}
        for by in data.parts.values()
    ]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_categories_of_earlier_runs_stay_apart(tmp_path: Path) -> None:
    spec = {"kind": "category", "name": "city", "values": [LONG, "b"]}  # as they were kept
    table = TableFile(path=tmp_path / "t.csv")
    cities(tmp_path, (LONG, SHORT, "b"))
    loaded = table.load()
    found = block(spec, loaded.cells(["city"])[:, 0], loaded)
    assert found[:3].tolist() == [[1, 0], [0, 0], [0, 1]]
    newer = block(
        spec | {"values": [SHORT, "b"], "form": "NFC"}, loaded.cells(["city"])[:, 0], loaded
    )
    assert newer[:3].tolist() == [[1, 0], [1, 0], [0, 1]]


def test_a_run_reads_both_forms_of_a_category_alike(tmp_path: Path) -> None:
    path = cities(tmp_path, (LONG, "b"))
    assert train(load_config(path), tmp_path / "runs", Silent(), [])
    (run,) = (tmp_path / "runs").iterdir()
    rows = "".join(f"1,{name}\n" for name in (LONG, SHORT, "b"))
    (tmp_path / "new.csv").write_text(f"x,city\n{rows}", encoding="utf-8")
    first, second, third = (p["y"] for p in predict_run(Run.open(run), tmp_path / "new.csv"))
    assert first == second != third
