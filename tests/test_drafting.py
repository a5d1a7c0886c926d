"""`polytask init` for data as publishers leave it: shards, groups, patterns, formulas."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from polytask.config import load_config
from polytask.config.build import build_sources
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.persons import guess_group
from polytask.survey.profile import profile_data, profile_prepared
from polytask.survey.samples import rounded_up
from polytask.survey.showing import tables, verdict
from polytask.workflow import Silent, prepare_data
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def shard(folder: Path, name: str, rows: int, first: bytes | None) -> None:
    """Faces with the names of their classes; the first of them may be blank."""
    sex = {"names": ["Male", "Female"], "_type": "ClassLabel"}
    note = json.dumps({"info": {"features": {"sex": sex}}}).encode()
    pictures = [first, *(png(k) for k in range(1, rows))]
    cells = {
        "image": [None if p is None else {"bytes": p, "path": "x.png"} for p in pictures],
        "age": [20 + 7 * k % 60 for k in range(rows)],
        "sex": [k % 2 for k in range(rows)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(cells).replace_schema_metadata({b"huggingface": note}), folder / name)


@pytest.mark.parametrize("named", [".", "data", "data/train-00001-of-00002.parquet"])
def test_shards_are_one_table_with_its_parts(named: str, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    shard(faces / "data", "train-00000-of-00002.parquet", 30, None)
    shard(faces / "data", "train-00001-of-00002.parquet", 30, png(3))
    shard(faces / "data", "test-00000-of-00001.parquet", 10, png(3))
    file = tmp_path / "faces.yaml"
    file.write_text(draft(faces / named, ["age", "sex"], file))
    written = yaml.safe_load(file.read_text())
    source, tasks = written["sources"]["data"], written["tasks"]
    assert {part: len([of] if isinstance(of, str) else of) for part, of in source["path"].items()}
    assert source["media"] == {"image": "image"}
    assert source["split"] == {"fixed": True, "validation": 0.15, "stratify": "sex"}
    assert set(tasks["sex"]["classes"]) == {"Male", "Female"}
    config = load_config(file, ["on_bad=skip", "inputs.picture.size=8"])
    prepared = prepare_data(config, Silent().on_decoding)
    assert prepared.summary()["rows"]["test"] == {"data": 10}
    assert "rows are there more than once" not in file.read_text()
    if named == ".":
        facts = profile_data(faces)
        assert facts["columns"]["image"]["kind"] == "image"
        assert verdict(facts) == "70 rows."


def test_a_folder_of_several_tables_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"several tables: a.csv, b.csv. Name one"):
        draft(tmp_path, ["y"], tmp_path / "x.yaml")


def test_parts_without_headers_are_parts(tmp_path: Path) -> None:
    for part, first in (("train", '"so'), ("dev", "no"), ("test", "ha")):
        rows = [f"{first if k == 0 else 'ha'} {k}\t{k % 3},{k % 2}\te{part}{k}" for k in range(40)]
        (tmp_path / f"{part}.tsv").write_text("\n".join(rows))
    text = draft(tmp_path, ["mood"], tmp_path / "x.yaml", ["text", "mood", "id"])
    source = yaml.safe_load(text)["sources"]["data"]
    assert source["path"] == {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    assert source["split"] == {"fixed": True}


def test_a_table_of_excel_is_read_as_it_is_written(tmp_path: Path) -> None:
    rows = ["Nr.;Größe;Tag;Preis"]
    rows += [f"{k + 1};{k % 37},{k % 9};{1 + k % 28}.03.2020;{k * 3},{k % 10}5" for k in range(60)]
    (tmp_path / "t.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    text = draft(tmp_path / "t.csv", ["Preis"], tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(text)
    drafted = yaml.safe_load(text)
    source = drafted["sources"]["data"]
    assert source["encoding"] == "cp1252" and source["decimal"] == ","
    assert drafted["tasks"]["Preis"]["kind"] == "regression"
    assert drafted["inputs"]["row"]["columns"] == ["Größe", "Tag"]  # Nr. numbers the rows
    assert drafted["inputs"]["row"]["dates"] == ["Tag"]
    data = prepare_data(load_config(tmp_path / "x.yaml"), None)
    assert data.datasets["data"].table.cells(["Preis"])[7, 0] == pytest.approx(21.75)
    wide = "\ufeff" + "\r\n".join(rows)
    (tmp_path / "w.csv").write_bytes(wide.encode("utf-16-le"))
    assert "encoding: utf-16" in draft(tmp_path / "w.csv", ["Preis"], tmp_path / "x.yaml")


def test_dates_of_which_nothing_says_the_order_are_told(tmp_path: Path) -> None:
    rows = [f"{1 + k % 12}/{1 + k % 7}/2020,{k * 1.5}" for k in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["day out,pay", *rows]))
    text = draft(tmp_path / "t.csv", ["pay"], tmp_path / "x.yaml")
    said = "dates of column day out such as 8/1/2020 are read with the month first"
    assert f"    # {said}" in text and "date_order: {day out: day-first}" in text
    facts = profile_data(tmp_path / "t.csv")
    assert [said in doubt for doubt in facts["doubts"]] == [True]
    assert any(
        said in row[0] for head, t in tables(facts) if head == "To look at" for row in t.rows
    )
    (tmp_path / "x.yaml").write_text(text)
    told = profile_prepared(prepare_data(load_config(tmp_path / "x.yaml"), None))
    assert [head for head, _ in tables(told)][-1] == "To look at"
    certain = text.replace("dates: [", 'date_order: {"day out": day-first}\n    dates: [')
    (tmp_path / "x.yaml").write_text(certain)
    summary = prepare_data(load_config(tmp_path / "x.yaml"), None).summary()
    assert not any("dates of column" in line for line in summary["doubts"])


def test_lists_of_two_numbers_are_no_fractions(tmp_path: Path) -> None:
    rows = [f"say it {k}\t{k % 5}{',7' if k % 3 == 0 else ''}" for k in range(60)]
    (tmp_path / "t.tsv").write_text("text\tmood\n" + "\n".join(rows))
    drafted = yaml.safe_load(draft(tmp_path / "t.tsv", ["mood"], tmp_path / "x.yaml"))
    assert drafted["tasks"]["mood"]["kind"] == "multilabel"
    assert "decimal" not in drafted["sources"]["data"]


def test_marks_between_thousands_make_no_labels(tmp_path: Path) -> None:
    rows = [f'{k % 7}.5,"1,{k:03d}.50",{k % 2}' for k in range(60)]
    (tmp_path / "t.csv").write_text("x,price,y\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"'price' can be no target: numbers such as '1,000.50'"):
        draft(tmp_path / "t.csv", ["price"], tmp_path / "x.yaml")
    text = draft(tmp_path / "t.csv", ["y"], tmp_path / "x.yaml")
    assert "# price is left out: to read numbers such as 1,000.50, remove marks" in text


def test_tables_whose_names_say_no_format_are_drafted(tmp_path: Path) -> None:
    rows = "".join(f"{k % 7},{k % 2}\n" for k in range(40))
    (tmp_path / "t.data").write_text("x,y\n" + rows)
    text = draft(tmp_path / "t.data", ["y"], tmp_path / "x.yaml")
    assert yaml.safe_load(text)["sources"]["data"]["format"] == "csv"
    kinds = "@relation r\n@attribute x numeric\n@attribute y {no,yes}\n@data\n"
    values = "".join(f"{k % 7},{('no', 'yes')[k % 2]}\n" for k in range(40))
    (tmp_path / "t.arff").write_text(kinds + values)
    (tmp_path / "x.yaml").write_text(draft(tmp_path / "t.arff", ["y"], tmp_path / "x.yaml"))
    assert load_config(tmp_path / "x.yaml").sources["data"].kind == "arff"


def test_rare_labels_are_not_monitored_by_accuracy(tmp_path: Path) -> None:
    rows = [f"{k % 7}.5,{int(k % 12 == 0)},{k % 2},{k}.25" for k in range(60)]
    (tmp_path / "t.csv").write_text("x,rare,even,z\n" + "\n".join(rows))

    def training(*targets: str) -> dict[str, object]:
        text = draft(tmp_path / "t.csv", targets, tmp_path / "x.yaml")
        drafted: dict[str, object] = yaml.safe_load(text)["training"]
        return drafted

    assert training("rare", "even")["monitor"] == "mean.auroc"
    assert "monitor" not in training("even") and "monitor" not in training("rare", "z")


def test_values_that_are_nearly_all_different_are_left_out(tmp_path: Path) -> None:
    rows = [f"p{k if k < 40 else k - 20},{k % 9}.5,{k % 2}" for k in range(60)]
    (tmp_path / "t.csv").write_text("link,x,y\n" + "\n".join(rows))
    text = draft(tmp_path / "t.csv", ["y"], tmp_path / "x.yaml")
    assert "# link is left out: 40 different values in 60 rows tell rows apart." in text


def test_a_test_part_without_the_targets_is_not_taken(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k % 2}\n" for k in range(40))
    (tmp_path / "train.csv").write_text("x,y\n" + rows)
    (tmp_path / "test.csv").write_text("x\n1\n")
    text = draft(tmp_path, ["y"], tmp_path / "x.yaml")
    assert yaml.safe_load(text)["sources"]["data"]["path"] == "train.csv"
    assert "# test.csv is left out: its columns are not those of train.csv." in text


@pytest.mark.parametrize(
    ("name", "cells", "found"),
    [
        ("subject#", [k // 4 for k in range(40)], True),
        ("speakerId", [f"s{k // 4}" for k in range(40)], True),
        ("patient", [f"p{k // 4}" for k in range(40)], True),
        ("id", [k // 4 for k in range(40)], True),
        ("id", list(range(40)), False),  # names rows
        ("patient_age", [k // 4 for k in range(40)], False),
        ("actor", [None] + [k // 4 for k in range(39)], False),  # the split needs all
        ("rater_id", [k // 4 for k in range(40)], False),
        ("client_id", [f"{k // 4:032x}" for k in range(40)], True),
        ("patient_nbr", [k if k < 36 else k - 8 for k in range(40)], True),  # four are there again
        ("Dialogue_ID", [k // 4 for k in range(40)], True),
    ],
)
def test_whose_rows_are_whose_is_guessed(name: str, cells: list[object], found: bool) -> None:
    assert guess_group({"other": list(range(40)), name: cells}) == (name if found else None)


def test_rows_of_one_subject_stay_in_one_part_and_tell_nothing(tmp_path: Path) -> None:
    rows = [f"{k // 5},{k % 7}.5,{k * 37 % 101}.25" for k in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["subject#,Jitter(%),motor:UPDRS", *rows]))
    text = draft(tmp_path / "t.csv", ["motor:UPDRS"], tmp_path / "t.yaml")
    written = yaml.safe_load(text)
    assert written["sources"]["data"]["split"]["group"] == "subject#"
    assert written["inputs"]["row"]["columns"] == ["Jitter(%)"]
    assert list(written["tasks"]) == ["motor-UPDRS"]


def test_patterns_name_targets_and_what_is_none_is_said(tmp_path: Path) -> None:
    lines = ["smiles,A_1,A_2,A_few,A_same,B_1"]
    for k in range(60):
        few = k % 2 if k < 5 else ""
        lines.append(f"C{'cO' * (k % 25)}N,{k % 2}.0,{k % 3 // 2},{few},0,{k % 2}")
    (tmp_path / "t.csv").write_text("\n".join(lines))

    def tasks(targets: list[str]) -> list[str]:
        return list(yaml.safe_load(draft(tmp_path / "t.csv", targets, tmp_path / "x"))["tasks"])

    assert tasks(["A_*"]) == ["A_1", "A_2"]
    assert tasks(["*", "-smiles", "-A_2"]) == ["A_1", "B_1"]
    assert tasks(["A_1..A_few", "-A_1"]) == ["A_2"]  # fewer than 20 labels, and not by name
    assert tasks(["B_1..A_few"]) == ["B_1"]
    with pytest.raises(DataError, match=r"no column 'A_9' to predict"):
        tasks(["A_1..A_9"])
    assert tasks(["A_few", "A_1"]) == ["A_few", "A_1"]  # who names it wants it
    text = draft(tmp_path / "t.csv", ["*", "-smiles"], tmp_path / "x")
    assert "# A_few is left out: it has 5 labels." in text
    assert "# A_same is left out: every label is '0'." in text
    # Between letters of a formula are no spaces.
    assert "column: smiles, level: characters, split: spaces" in text
    with pytest.raises(DataError, match=r"no column 'C_\*' to predict"):
        tasks(["C_*"])
    with pytest.raises(DataError, match="every label is '0'"):
        tasks(["A_same"])


def test_a_tsv_without_header_whose_quotes_are_letters_is_drafted(tmp_path: Path) -> None:
    lines = [f"say {'ab'[k % 2]} now\t{k % 3}\te{k}" for k in range(40)]
    lines[3], lines[6] = f'"{lines[3]}', f'"{lines[6]}'
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="name them under `columns`"):
        draft(tmp_path / "t.tsv", ["mood"], tmp_path / "t.yaml")
    text = draft(tmp_path / "t.tsv", ["mood"], tmp_path / "t.yaml", ["text", "mood", "id"])
    source = yaml.safe_load(text)["sources"]["data"]
    assert source["columns"] == ["text", "mood", "id"] and source["quotes"] is False


def test_folders_that_say_no_labels_are_told_of_a_table(tmp_path: Path) -> None:
    for actor in ("Actor_01", "Actor_02"):
        (tmp_path / "r" / actor).mkdir(parents=True)
        (tmp_path / "r" / actor / "03-01-05.png").write_bytes(png(1))
    with pytest.raises(DataError, match=r"'label'.*Found emotion.*write a table"):
        draft(tmp_path / "r", ["emotion"], tmp_path / "x.yaml")


@pytest.mark.parametrize("how", ["paths", "encoded", "folders"])
def test_sounds_are_read_at_the_rate_and_length_of_most(how: str, tmp_path: Path) -> None:
    cells = []
    for k in range(40):
        rate = 8000 if k % 4 == 0 else 11025
        path = tmp_path / "in" / "ab"[k % 2] / f"{k}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = 3.0 if k == 21 else 0.3 + k / 100
        path.write_bytes(b"RIFF" if k == 7 else riff(wave(length, rate), rate))
        cells.append({"sound": path.relative_to(tmp_path).as_posix(), "y": "ab"[k % 2]})
    if how == "paths":
        pq.write_table(pa.Table.from_pylist(cells), tmp_path / "t.parquet")
    elif how == "encoded":
        for cell in cells:
            cell["sound"] = (tmp_path / cell["sound"]).read_bytes()
        pq.write_table(pa.Table.from_pylist(cells), tmp_path / "t.parquet")
    text = (
        draft(tmp_path / "in", [], tmp_path / "x.yaml")
        if how == "folders"
        else draft(tmp_path / "t.parquet", ["y"], tmp_path / "x.yaml")
    )
    sound = yaml.safe_load(text)["inputs"]["sound"]
    assert sound["sample_rate"] == 11025
    assert sound["seconds"] == 0.7  # 0.69 s, and one of 3.0 s
    assert "29 of 40 sounds looked at have 11025 samples a second; those with 8000 are" in text
    assert "0.3 to 3.0 seconds; 1 are longer" in text and "1 of them cannot be read" in text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.02, 0.1), (0.61, 0.7), (0.7, 0.7), (1.2, 1.5), (9.6, 10), (12.1, 13)]
)
def test_lengths_are_rounded_up_as_people_would(seconds: float, shown: float) -> None:
    assert rounded_up(seconds) == shown


def test_marks_that_stand_for_blanks_are_seen(tmp_path: Path) -> None:
    from polytask.survey.notations import marks_of_blanks

    numbers: list[object] = ["1.5", "2", "-3e4", "7"]
    assert marks_of_blanks([*numbers, "?", "Unknown", "#DIV/0!", None]) == [
        "#DIV/0!",
        "?",
        "Unknown",
    ]
    assert marks_of_blanks([*numbers, "many"]) == [] == marks_of_blanks([1, 2.5, None])
    assert marks_of_blanks(["?", "private", "state", "private"]) == ["?"]
    assert marks_of_blanks(["?", "!", "yes", "no"]) == []  # a column of words
    assert marks_of_blanks(["?", "yes", "?"]) == []  # it may be one of two answers

    rows = [f"{'?' if k % 9 == 4 else k / 3:},{'?' if k % 7 == 3 else 'abc'[k % 3]},{k % 31}"
            for k in range(120)]  # fmt: skip
    (tmp_path / "t.csv").write_text("power,maker,age\n" + "\n".join(rows) + "\n")
    text = draft(tmp_path / "t.csv", ["age"], tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text(text)
    assert '"?"]  # as ? in power' in text and "power  # number" in text and "left out" not in text
    source = build_sources(load_config(tmp_path / "c.yaml"))["data"].load()
    blanks = {name: cells.isna().sum() for name, cells in source.frame.items()}
    assert blanks == {"power": 13, "maker": 17, "age": 0}


@pytest.mark.parametrize("tags", [["O", "B-PER"], [0, 1]])
def test_lists_of_words_and_of_labels_are_tagging(tmp_path: Path, tags: list[object]) -> None:
    for part, count in (("train", 60), ("validation", 20), ("test", 20)):
        rows = [
            {
                "id": str(k),  # each part is counted anew
                "tokens": ["Anna", "runs", "home"][: 1 + k % 3],
                "ner_tags": [tags[1], tags[0], tags[0]][: 1 + k % 3],
                "mood": ["good", "bad", "so so"][k % 3],
            }
            for k in range(count)
        ]
        file = tmp_path / "d" / f"{part}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(map(json.dumps, rows)))
    text = draft(tmp_path / "d", ["ner_tags", "mood"], tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text(text)
    written = yaml.safe_load(text)
    assert {n: t["kind"] for n, t in written["tasks"].items()} == {
        "ner_tags": "tagging",
        "mood": "multiclass",
    }
    assert written["sources"]["data"]["split"] == {"fixed": True} and "several parts" not in text
    prepared = prepare_data(load_config(tmp_path / "c.yaml"), None)
    assert prepared.summary()["labels"]["ner_tags"] == {"train": 60, "validation": 20, "test": 20}


def test_lists_of_other_lengths_are_several_labels(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b", "c"][: 1 + k % 3], "moods": ["x", "y"][: 1 + k % 2], "n": k / 3}
            for k in range(60)]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = draft(tmp_path / "t.jsonl", ["moods"], tmp_path / "c.yaml")
    assert yaml.safe_load(text)["tasks"]["moods"]["kind"] == "multilabel"
