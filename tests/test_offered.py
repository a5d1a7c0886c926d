"""Data as publishers offer it: pictures within Parquet, lists of labels, many sparse tasks."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.run import Run
from polytask.survey.drafting import draft
from polytask.survey.profile import profile_prepared
from polytask.survey.showing import tables
from polytask.workflow import Silent, evaluate_run, predict_run, prepare_data, train

SMALL = ("training.epochs=1", "training.threads=1")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))


def drafted(data: Path, targets: list[str], *changes: str) -> Config:
    """The configuration that a person would get."""
    file = data.with_name("drafted.yaml")
    file.write_text(draft(data, targets, file))
    return load_config(file, (*SMALL, *changes))


def trained(config: Config, folder: Path) -> Run:
    assert train(config, folder / "runs", Silent(), ["test"])
    return Run.newest(folder / "runs")


def face(age: int, sex: int, origin: int) -> bytes:
    pixels = np.full((20, 16, 3), (2 * age, 120 * sex, 60 * origin), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("structs", [True, False])
def test_faces_in_parquet_with_age_sex_and_origin(tmp_path: Path, structs: bool) -> None:
    rows = [(1 + 37 * k % 89, k % 2, k % 4) for k in range(80)]
    encoded = [face(*row) for row in rows]
    cells = [{"bytes": b, "path": None} for b in encoded] if structs else encoded
    columns = {
        "image": cells,
        "age": [age for age, _, _ in rows],
        "sex": ["fm"[sex] for _, sex, _ in rows],
        "origin": ["abcd"[origin] for _, _, origin in rows],
    }
    pq.write_table(pa.table(columns), tmp_path / "faces.parquet")
    body = "inputs.picture.body.widths=[4, 8]"
    size = () if structs else ("inputs.picture.size=16", body)
    config = drafted(tmp_path / "faces.parquet", ["age", "sex", "origin"], *size)
    kinds = {name: task.chosen for name, task in config.tasks.items()}
    assert kinds == {"age": "regression", "sex": "binary", "origin": "multiclass"}
    assert config.inputs["picture"].chosen == "image"
    if structs:
        prepare_data(config, None)
        return
    run = trained(config, tmp_path)
    assert set(evaluate_run(run, "test", None)) == {"age", "sex", "origin"}
    lines = list(predict_run(run, tmp_path / "faces.parquet"))
    assert len(lines) == 80 and {"age", "sex", "origin"} <= set(lines[0])


@pytest.mark.parametrize("several", [True, False])
def test_emotions_of_texts_one_or_several_a_row(tmp_path: Path, several: bool) -> None:
    moods = ["joy", "fear", "anger"]
    rows = [
        {
            "text": f"i am so {moods[k % 3]} about {k}",
            "mood": sorted({moods[k % 3], moods[7 * k % 5 % 3]}) if several else moods[k % 3],
        }
        for k in range(60)
    ]
    if several:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "moods.parquet")
    else:
        (tmp_path / "moods.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = drafted(tmp_path / f"moods.{'parquet' if several else 'jsonl'}", ["mood"])
    assert config.tasks["mood"].chosen == ("multilabel" if several else "multiclass")
    assert config.inputs["words"].chosen == "text"
    prepared = prepare_data(config, None)
    assert sum(prepared.labels()["mood"].values()) == 60
    if several:
        assert prepared.tasks[0].classes == ("anger", "fear", "joy")  # type: ignore[attr-defined]


def test_sixty_sparse_tasks_and_numbers_of_one_patient(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bits = (rng.random((120, 30)) < 0.3).astype(int)
    labels = (bits @ rng.normal(size=(30, 60)) > 0).astype(int)
    gone = rng.random(labels.shape) < 0.71
    names = [*(f"bit.{k}" for k in range(30)), *(f"assay-{k}" for k in range(60)), "score"]
    lines = [",".join(names)]
    for k in range(120):
        known = ["" if gone[k, j] else str(labels[k, j]) for j in range(60)]
        lines.append(",".join([*map(str, bits[k]), *known, f"{bits[k].sum() / 7:.3f}"]))
    (tmp_path / "wide.csv").write_text("\n".join(lines) + "\n")
    config = drafted(tmp_path / "wide.csv", names[30:])
    run = trained(config, tmp_path)
    summary = run.read_json("data.json")
    counts = np.array([sum(by.values()) for t, by in summary["labels"].items() if t != "score"])
    assert counts.tolist() == (~gone).sum(0).tolist()
    scores = evaluate_run(run, "test", None)
    assert len(scores) == 61 and scores["score"]["count"] == 18
    assert len(next(iter(predict_run(run, tmp_path / "wide.csv")))) >= 61
    facts = profile_prepared(prepare_data(config, None))
    shown = dict(tables(facts))
    assert len(shown["Labels"].rows) == 61
