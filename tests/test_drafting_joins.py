"""`init` where labels, parts, persons or files lie in several tables of a folder."""

import sys
import warnings
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from polytask.config import Config, load_config
from polytask.data_terminal import print_summary
from polytask.errors import DataError
from polytask.run import Run
from polytask.survey.drafting import draft
from polytask.survey.profile import profile_prepared
from polytask.survey.showing import tables
from polytask.workflow import Silent, evaluate_run, predict_run, prepare_data, train
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]

ROWS = 48


def drafted(data: Path, targets: Sequence[str], names: Sequence[str] = ()) -> tuple[Any, str]:
    file = (data if data.is_dir() else data.parent) / "mine.yaml"
    text = draft(data, targets, file, names)
    file.write_text(text)
    return yaml.safe_load(text), text


def table(folder: Path, name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")


def clinic(folder: Path) -> None:
    """A table of patients, one of what a laboratory found in most of them, one of outcomes."""
    rng = np.random.default_rng(0)
    age, crp = rng.integers(20, 90, ROWS), rng.uniform(0, 100, ROWS).round(1)
    ids = [f"{k:03}" for k in range(ROWS)]
    table(folder, "patients.csv", "patient,age,sex", [*zip(ids, age, "fm" * 24, strict=True)])
    labs = [(p, c, round(c / 9, 1)) for k, (p, c) in enumerate(zip(ids, crp, strict=True)) if k % 9]
    table(folder, "labs.csv", "patient,crp,wbc", labs)
    died = [(p, int(a + c > 110), a / 10) for p, a, c in zip(ids, age, crp, strict=True)]
    table(folder, "outcomes.csv", "patient,died,stay", [*died[5:], ("999", 1, 2.5)])


def faces(folder: Path) -> None:
    """As CelebA is published: one table with a count and a header without its first column, two
    without any, and pictures in a folder."""
    pictures = folder / "img_align_celeba"
    pictures.mkdir(parents=True)
    ids = [f"{k + 1:06}.jpg" for k in range(2 * ROWS)]
    for k, name in enumerate(ids):
        (pictures / name).write_bytes(png(200 * (k % 2) + k % 50, kind="JPEG"))
    marks = [f"{name} {k % 2 * 2 - 1:2d} {k // 3 % 2 * 2 - 1:2d}" for k, name in enumerate(ids)]
    head = [str(len(ids)), "Smiling Male "]
    (folder / "list_attr_celeba.txt").write_text("\n".join([*head, *marks]) + "\n")
    persons = [f"{name} {k % 24 * 31 + 5}\n" for k, name in enumerate(ids)]
    (folder / "identity_CelebA.txt").write_text("".join(persons))
    parts = [f"{name} {(k % 24 > 15) + (k % 24 > 19)}\n" for k, name in enumerate(ids)]
    (folder / "list_eval_partition.txt").write_text("".join(parts))
    (folder / "README.txt").write_text("Faces\n\nOf persons who are known.\n")


def test_faces_with_parts_and_persons_in_files_of_their_own(tmp_path: Path) -> None:
    faces(tmp_path / "celeba")
    written, text = drafted(tmp_path / "celeba", ["Smiling", "Male"])
    source = written["sources"]["data"]
    assert source["join"] == [
        {
            "path": "list_eval_partition.txt",
            "by": "name",
            "columns": ["name", "eval_partition"],
            "format": "csv",
        }
    ]
    assert "it says which part a row is in" in text and "96 of 96 rows have a partner" in text
    parts = {"train": "0", "validation": "1", "test": "2"}
    assert source["split"] == {"column": "eval_partition", "parts": parts}
    assert source["places"] == {"name": "img_align_celeba/{name}"}
    assert "# identity_CelebA.txt could be joined" in text
    line = next(of for of in text.splitlines() if of.startswith("#   join:"))
    joined = yaml.safe_load(line.strip("# "))["join"]
    assert joined[0]["columns"] == ["name", "identity"]
    config = load_config(
        tmp_path / "celeba" / "mine.yaml", ["training.epochs=1", "inputs.picture.size=16"]
    )
    prepared = prepare_data(config, Silent().on_decoding)
    assert prepared.summary()["rows"] == {
        "train": {"data": 64},
        "validation": {"data": 16},
        "test": {"data": 16},
    }
    run = trained_on(config, tmp_path)
    assert evaluate_run(run, "test").keys() == {"Smiling", "Male"}
    lines = list(predict_run(run, tmp_path / "celeba" / "list_attr_celeba.txt"))
    assert len(lines) == 96 and set(lines[0]) >= {"Smiling", "Male"}


def test_faces_and_persons_are_both_predicted(tmp_path: Path) -> None:
    faces(tmp_path / "celeba")
    written, text = drafted(tmp_path / "celeba", ["Smiling", "identity"])
    source = written["sources"]["data"]
    assert [join["columns"][1] for join in source["join"]] == ["identity", "eval_partition"]
    assert written["tasks"]["identity"]["kind"] == "multiclass"
    assert source["split"] == {"test": 0.15, "validation": 0.15, "stratify": "Smiling"}
    assert "# eval_partition names parts and is not used" in text
    assert "so that rows of each are in all parts" in text
    config = load_config(tmp_path / "celeba" / "mine.yaml", ["inputs.picture.size=8"])
    labels = prepare_data(config, Silent().on_decoding).labels()
    assert sum(labels["identity"].values()) == 96


def test_tables_to_predict_from_are_joined_where_nothing_else_is_left(tmp_path: Path) -> None:
    clinic(tmp_path)
    written, text = drafted(tmp_path, ["died", "stay"])
    source = written["sources"]["data"]
    assert source["path"] == "outcomes.csv"
    assert source["join"] == [
        {"path": "patients.csv", "by": "patient"},
        {"path": "labs.csv", "by": "patient"},
    ]
    assert written["inputs"]["row"]["columns"] == ["age", "sex", "crp", "wbc"]
    assert "# patient is left out: rows of labs.csv are found by it." in text


def test_a_label_of_another_table_is_joined_without_what_else_that_has(tmp_path: Path) -> None:
    clinic(tmp_path)
    written, text = drafted(tmp_path, ["died", "crp"])
    source = written["sources"]["data"]
    assert (source["path"], source["join"]) == (
        "outcomes.csv",
        [{"path": "labs.csv", "by": "patient", "take": ["crp"]}],
    )
    assert written["inputs"]["row"]["columns"] == ["stay"]
    assert "# Of labs.csv more may be taken: wbc." in text
    assert "# patients.csv could be joined, 43 of 44 rows have a partner: it has age, sex." in text
    assert "#   join: [{path: patients.csv, by: patient}]" in text
    assert "another table" not in text


def test_a_table_that_is_named_gets_labels_from_beside_it(tmp_path: Path) -> None:
    clinic(tmp_path)
    written, _ = drafted(tmp_path / "patients.csv", ["died"])
    source = written["sources"]["data"]
    assert source["path"] == "patients.csv"
    assert source["join"] == [{"path": "outcomes.csv", "by": "patient", "take": ["died"]}]
    assert written["inputs"]["row"]["columns"] == ["age", "sex"]
    (tmp_path / "deeper").mkdir()
    (tmp_path / "outcomes.csv").rename(tmp_path / "deeper" / "outcomes.csv")
    with pytest.raises(DataError, match=r"patients.csv has no column 'died' to predict"):
        drafted(tmp_path / "patients.csv", ["died"])


def test_one_table_that_has_everything_is_drafted_as_before(tmp_path: Path) -> None:
    alone, among = tmp_path / "alone", tmp_path / "among"
    alone.mkdir()
    among.mkdir()
    clinic(among)
    (alone / "labs.csv").write_text((among / "labs.csv").read_text())
    before, after = drafted(alone, ["crp"])[0], drafted(among, ["crp"])[0]
    assert "join" not in after["sources"]["data"]
    assert after["tasks"] == before["tasks"]
    assert after["sources"] == before["sources"]


@pytest.mark.parametrize("unlike", ["name", "few", "twice"])
def test_targets_of_tables_without_common_ids_are_told(unlike: str, tmp_path: Path) -> None:
    ids = [f"p{k}" for k in range(ROWS)]
    own = {"name": ids, "few": [f"q{p}" for p in ids[:30]] + ids[30:], "twice": ["p1", *ids[1:]]}
    table(tmp_path, "a.csv", "id,x,y", [(p, k % 7, k % 2) for k, p in enumerate(ids)])
    rows = [(p, k % 3) for k, p in enumerate(own[unlike])]
    table(tmp_path, "b.csv", f"{'ids' if unlike == 'name' else 'id'},z", rows)
    if unlike == "twice":
        table(tmp_path, "a.csv", "id,x,y", [(ids[1], k % 7, k % 2) for k in range(ROWS)])
    with pytest.raises(DataError, match=r"in several tables \(y in a.csv, z in b.csv\).*`by: {"):
        drafted(tmp_path, ["y", "z"])


def test_tables_that_share_a_label_are_not_joined(tmp_path: Path) -> None:
    """Though each kind is there once, and every row has one."""
    table(tmp_path, "a.csv", "x,kind,y", [(k / 7, "abc"[k % 3], k % 2) for k in range(ROWS)])
    table(tmp_path, "kinds.csv", "kind,group,weight", [("a", 1, 5), ("b", 2, 6), ("c", 1, 7)])
    written, text = drafted(tmp_path, ["y"])
    assert "join" not in text and written["inputs"]["row"]["columns"] == ["x", "kind"]
    assert "# kinds.csv is left out: it is another table" in text


def test_the_first_table_is_one_to_which_the_others_can_be_joined(tmp_path: Path) -> None:
    """Though patients have more of the targets: they have several visits each."""
    people = [(f"p{k}", 20 + k, k % 2, k % 3) for k in range(12)]
    table(tmp_path, "patients.csv", "patient,age,smoker,grade", people)
    visits = [(k, f"p{k % 12}", k % 5, 3 * k % 7 / 2) for k in range(ROWS)]
    table(tmp_path, "visits.csv", "visit,patient,ward,cost", visits)
    written, _ = drafted(tmp_path, ["smoker", "grade", "cost"])
    source = written["sources"]["data"]
    assert source["path"] == "visits.csv"
    assert source["join"] == [
        {"path": "patients.csv", "by": "patient", "take": ["smoker", "grade"]}
    ]
    assert source["split"]["group"] == "patient"


def test_persons_of_another_table_stay_in_one_part(tmp_path: Path) -> None:
    for k in range(ROWS):
        (tmp_path / f"{k}.wav").write_bytes(riff(wave(pitch=200 + 100 * (k % 2))))
    table(tmp_path, "clips.csv", "file,word", [(f"{k}.wav", "ab"[k % 2]) for k in range(ROWS)])
    table(tmp_path, "who.csv", "file,speaker,room", [(f"{k}.wav", k // 4, 1) for k in range(ROWS)])
    written, text = drafted(tmp_path, ["word"])
    source = written["sources"]["data"]
    assert source["join"] == [{"path": "who.csv", "by": "file", "take": ["speaker"]}]
    assert source["split"]["group"] == "speaker"
    assert "# Of who.csv more may be taken: room." in text
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), Silent().on_decoding)
    assert len(prepared.datasets["data"].table) == ROWS


def test_files_that_another_table_names_are_joined(tmp_path: Path) -> None:
    files = tmp_path / "index"
    (files / "photos").mkdir(parents=True)
    for k in range(ROWS):
        (files / "photos" / f"{k}.png").write_bytes(png(k))
    table(
        files, "files.csv", "id,photo,size", [(f"s{k}", f"photos/{k}.png", k) for k in range(ROWS)]
    )
    rows = [(f"s{k}", "ab"[k % 2], "xyz"[k % 3]) for k in range(4, ROWS)]
    table(tmp_path, "labels.csv", "id,sort,annotator", rows)
    written, _ = drafted(tmp_path, ["sort"])
    source = written["sources"]["data"]
    assert source["path"] == "labels.csv"
    assert source["join"] == [{"path": "index/files.csv", "by": "id"}]
    assert source["media"] == {"photo": "image"}
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), Silent().on_decoding)
    assert prepared.datasets["data"].table.media["photo"].picture(0)[1, 1, 0] == 4


def test_tables_without_any_header_are_joined_by_the_names_that_are_given(tmp_path: Path) -> None:
    for name, of in (("classes", "bird{}"), ("sizes", "{}")):
        rows = [f"{k} {of.format(k % 4 if name == 'classes' else k / 8)}" for k in range(ROWS)]
        (tmp_path / f"image_{name}.txt").write_text("\n".join(rows))
    rows = [f"{k} {k % 5} {k / 3:.2f}" for k in range(ROWS)]
    (tmp_path / "images.txt").write_text("\n".join(rows))
    names = ["id", "camera", "light"]
    written, _ = drafted(tmp_path / "images.txt", ["image_classes", "image_sizes"], names)
    source = written["sources"]["data"]
    assert [join["columns"] for join in source["join"]] == [
        ["id", "image_classes"],
        ["id", "image_sizes"],
    ]
    assert written["tasks"]["image_classes"]["kind"] == "multiclass"
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), Silent().on_decoding)
    assert sum(prepared.labels()["image_sizes"].values()) == ROWS


def trained_on(config: Config, folder: Path) -> Run:
    assert train(config, folder / "runs", Silent(), sys.argv)
    return Run.newest(folder / "runs")


def test_parts_that_are_numbered_in_the_table_itself(tmp_path: Path) -> None:
    rows = [(k / 7, k % 2, (k > 30) + (k > 40)) for k in range(ROWS)]
    table(tmp_path, "a.csv", "x,y,partition", rows)
    written, _ = drafted(tmp_path / "a.csv", ["y"])
    assert written["inputs"]["row"]["columns"] == ["x"]
    assert written["sources"]["data"]["split"]["parts"] == {
        "train": "0",
        "validation": "1",
        "test": "2",
    }
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), Silent().on_decoding)
    assert len(prepared.parts["test"]["data"]) == 7


CLINIC = """
sources:
  data:
    kind: table
    path: patients.csv
    join:
      - {path: labs.csv, by: patient}
      - {path: outcomes.csv, by: {patient: patient}, take: {died: died, days: stay}}
    split: {test: 0.2, validation: 0.2}
inputs:
  row:
    kind: table
    columns: [age, sex, crp, wbc]
    clean: {missing: {strategy: median}, scale: standard}
tasks:
  died: {kind: binary, target: died}
  days: {kind: regression, target: days}
training: {epochs: 2}
"""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    clinic(tmp_path)
    (tmp_path / "mine.yaml").write_text(CLINIC)
    trained_on(load_config(tmp_path / "mine.yaml"), tmp_path).path.rename(tmp_path / "run")
    return tmp_path


def test_a_run_reads_what_is_joined_and_refuses_it_when_it_has_changed(trained: Path) -> None:
    prepared = prepare_data(load_config(trained / "mine.yaml"), Silent().on_decoding)
    (labs, outcomes) = prepared.summary()["joined"]["data"]
    assert (labs["found"], labs["rows"], labs["unused"]) == (42, 48, 0)
    assert (outcomes["found"], outcomes["unused"]) == (43, 1)
    assert sum(prepared.labels()["days"].values()) == 43
    said = StringIO()
    print_summary(prepared.summary(), Console(file=said, width=200))
    assert "data: labs.csv, joined by patient: 42 of 48 rows have a partner\n" in said.getvalue()
    (shown,) = [of for head, of in tables(profile_prepared(prepared)) if head == "Joined tables"]
    assert shown.rows[1] == ["data", "outcomes.csv", "patient", 48, 43, 1, 0]
    assert evaluate_run(Run.open(trained / "run"), "test").keys() == {"died", "days"}
    text = (trained / "outcomes.csv").read_text()
    (trained / "outcomes.csv").write_text(text.replace("999,1", "999,0"))
    with pytest.raises(DataError, match="source 'data' has changed"):
        evaluate_run(Run.open(trained / "run"), "test")


def test_keys_that_only_lack_their_zeros_are_told(trained: Path) -> None:
    text = (trained / "labs.csv").read_text().replace("\n00", "\nx00").replace("\n04", "\n4")
    (trained / "labs.csv").write_text(text.replace("\nx00", "\n00"))
    prepared = prepare_data(load_config(trained / "mine.yaml"), Silent().on_decoding)
    (doubt,) = [of for of in prepared.summary()["doubts"] if "zeros in front" in of]
    assert "a partner in labs.csv without zeros in front of patient: 7." in doubt


def predicted(folder: Path, header: str, *rows: str, **called: str) -> list[Any]:
    (folder / "new.csv").write_text("\n".join([header, *rows]))
    lines = predict_run(Run.open(folder / "run"), folder / "new.csv", called=called)
    return [line["days"] for line in lines]


def test_a_table_to_predict_has_joined_columns_itself_or_the_key(trained: Path) -> None:
    (trained / "outcomes.csv").unlink()  # labels are not needed
    _, crp, wbc = (trained / "labs.csv").read_text().splitlines()[1].split(",")
    by_key = predicted(trained, "patient,age,sex", "001,50,f", "002,60,m")
    assert predicted(trained, "who,age,sex", "001,50,f", "002,60,m", patient="who") == by_key
    assert predicted(trained, "age,sex,crp,wbc", f"50,f,{crp},{wbc}") == pytest.approx(by_key[:1])
    own = predicted(trained, "patient,age,sex,crp", f"001,50,f,{crp}")  # and wbc by the key
    assert own == pytest.approx(by_key[:1])
    assert predicted(trained, "patient,age,sex,crp,wbc", f"xy,50,f,{crp},{wbc}") == pytest.approx(
        by_key[:1]
    )
    said = "1 of 2 rows of new.csv have no partner in labs.csv: crp, wbc are blank"
    with pytest.warns(UserWarning, match=said):
        assert predicted(trained, "patient,age,sex", "001,50,f", "xy,60,m")[0] == by_key[0]


def test_a_table_to_predict_without_the_key_is_told_what_it_lacks(trained: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"'crp'.*came from labs.csv by patient: add patient"):
            predicted(trained, "age,sex", "50,f")
        with pytest.raises(DataError, match=r"No row of new.csv .*columns crp, wbc to new.csv"):
            predicted(trained, "patient,age,sex", "xy,50,f")
        with pytest.raises(DataError, match=r"no input reads a column 'patien'.*Did you mean"):
            predicted(trained, "p,age,sex", "xy,50,f", patien="p")
        (trained / "labs.csv").unlink()
        with pytest.raises(DataError, match=r"come from .*labs.csv, which is not there: restore"):
            predicted(trained, "patient,age,sex", "001,50,f")
