"""The page of a look inside: for a run of pictures, and one of a table and a sound-like input."""

import json
import math
from pathlib import Path

import pytest
import torch

from polytask.inspection.attribution import Attribution
from polytask.inspection.looking import column_means
from polytask.inspection.page import inspect_run
from tests.report.conftest import made


@pytest.mark.parametrize("kind", ["cgc", "cross-stitch"])
def test_a_run_is_looked_into(kind: str, tmp_path: Path) -> None:
    run = made(tmp_path, f"trunk.kind={kind}", "training.epochs=1", "sources.shapes.count=100")
    page, found = inspect_run(run)
    headings = [section.heading for section in page.sections]
    assert headings == [
        "Who shares what",
        "How alike the tasks' features are",
        "Where gradients conflict",
        "What each task looks at",
    ]
    assert found["part"] == "validation" and found["tasks"] == ["color", "shape"]
    assert set(found["attribution"]) == {"color", "shape"}
    told = json.loads(json.dumps(found, allow_nan=False))
    counted = sum(sum(part.values()) for part in told["sharing"]["parameters"].values())
    assert f"{counted:,} parameters" in page.lead
    path = page.write(tmp_path / "inspection.html")
    names = {file.name for file in path.with_suffix("").iterdir()}
    assert {"similarity.png", "conflict-cosine.png", "looks-picture.png"} <= names
    assert any(name.startswith("sharing-") for name in names)


TABLE = """\
name: one
sources:
  rows: {kind: table, path: rows.csv, split: {validation: 0.3}}
inputs:
  facts: {kind: table, columns: [near, far, kind]}
tasks:
  price: {kind: regression, target: price}
trunk: {kind: mmoe, backbone: {kind: perceptron, widths: [8]}}
batches: {size: 16}
training: {epochs: 30, threads: 1}
optimizer: {kind: adamw, lr: 0.02}
"""


def test_one_task_over_a_table_uses_the_column_that_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(0)
    near, far = torch.randn(2, 120, generator=random)
    lines = [
        f"{n},{f},{'ab'[i % 2]},{3 * n}"
        for i, (n, f) in enumerate(zip(near.tolist(), far.tolist(), strict=True))
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["near,far,kind,price", *lines]))
    monkeypatch.chdir(tmp_path)
    run = made(tmp_path, text=TABLE)
    page, found = inspect_run(run)
    assert page.lead.startswith("One task")
    columns = found["attribution"]["price"]["columns"]
    assert next(iter(columns)) == "near" and columns["near"] > 0.5
    assert math.isclose(sum(columns.values()), 1.0, rel_tol=1e-4)


def test_a_task_that_leaves_before_the_first_stage_shares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{n % 7},{n % 5},{'ab'[n % 2]},{n % 3}\n" for n in range(60))
    (tmp_path / "rows.csv").write_text("near,far,kind,price\n" + rows)
    monkeypatch.chdir(tmp_path)
    text = TABLE.replace("near, far, kind]", "near]").replace("kind: mmoe,", "kind: hierarchy,")
    text = text.replace("tasks:\n", "tasks:\n  kind: {kind: binary, target: kind}\n")
    text = text.replace("tasks:\n", "tasks:\n  far: {kind: regression, target: far}\n")
    run = made(tmp_path, "trunk.leaves={kind: 0}", "training.epochs=1", text=text)
    page, found = inspect_run(run)
    assert found["sharing"]["sharers"] == ["far", "price"]
    assert page.lead.startswith("2 of 3 tasks share ")
    assert "parameters (Hierarchy); kind: none of them." in page.lead


def test_column_means_are_shares_of_absolute_values() -> None:
    values = torch.tensor([[1.0, -3.0], [-1.0, 3.0]])
    of = Attribution(values, values, None, torch.zeros(2))
    assert column_means(of, ["a", "b"]) == {"b": 0.75, "a": 0.25}
    assert list(column_means(of, None)) == ["column 2", "column 1"]
