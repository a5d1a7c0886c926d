"""`init` for folders that hold more than one table, and for tables beside others."""

from pathlib import Path

import pytest
import yaml

from polytask.errors import DataError
from polytask.survey.drafting import draft
from tests.data.conftest import png, riff, wave

ROWS = 30


def write(folder: Path, **headers: str) -> None:
    for name, header in headers.items():
        rows = [",".join("ab"[k // 2**j % 2] for j in range(3)) for k in range(ROWS)]
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]))


def drafted(data: Path, targets: list[str]) -> tuple[object, str]:
    text = draft(data, targets, data / "mine.yaml")
    return yaml.safe_load(text)["sources"]["data"]["path"], text


def test_the_table_that_has_the_targets_is_meant(tmp_path: Path) -> None:
    write(tmp_path, clips="x,y,label", people="name,age,sex")
    path, text = drafted(tmp_path, ["label"])
    assert path == "clips.csv"
    assert "people.csv is left out: it is another table" in text
    with pytest.raises(DataError, match=r"none has a column 'lable'.*Did you mean 'label'"):
        draft(tmp_path, ["lable"], tmp_path / "mine.yaml")
    with pytest.raises(DataError, match=r"several tables: clips.csv, people.csv. Name one"):
        draft(tmp_path, ["*"], tmp_path / "mine.yaml")


def test_parts_are_taken_from_among_other_tables_with_their_columns(tmp_path: Path) -> None:
    write(tmp_path, train="x,y,label", dev="x,y,label", test="x,y,label", invalidated="x,y,label")
    path, text = drafted(tmp_path, ["label"])
    assert path == {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"}
    assert "invalidated.csv is left out: it is another table" in text


def test_tables_that_are_alike_can_be_listed(tmp_path: Path) -> None:
    write(tmp_path, red="x,y,label", white="x,y,label")
    with pytest.raises(DataError, match=r"same columns.*`path`.*\[a.csv, b.csv\]"):
        draft(tmp_path, ["label"], tmp_path / "mine.yaml")


def test_other_parts_beside_a_table_are_told(tmp_path: Path) -> None:
    write(tmp_path, train="x,y,label", test="x,y,label", notes="x,y,label")
    text = draft(tmp_path / "train.csv", ["label"], tmp_path / "mine.yaml")
    assert "# test.csv beside it: to take parts as files have them, name the folder." in text
    assert "notes.csv" not in text


def test_tables_beside_one_folder_of_pictures_are_named(tmp_path: Path) -> None:
    write(tmp_path, labels="x,y,label")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(png())
    with pytest.raises(DataError, match=r"one folder.*Beside it: labels.csv.*--targets a,b"):
        draft(tmp_path, [], tmp_path / "mine.yaml")
    for k in range(20):
        (tmp_path / f"ab{k:04}.png").write_bytes(png(k))
    with pytest.raises(DataError, match=r"no folders that.*Beside it: labels.csv.*--targets a,b"):
        draft(tmp_path, [], tmp_path / "mine.yaml")


@pytest.mark.parametrize("targets", [["Young"], ["Young", "Male"], ["Young..Old"]])
def test_a_table_by_its_columns_though_not_by_its_name(targets: list[str], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    rows = []
    for k in range(ROWS):
        (tmp_path / "pictures" / f"{k}.png").write_bytes(png(k % 2))
        rows.append(f"{k}.png {k % 2 * 2 - 1:2d} {(k // 2) % 2 * 2 - 1:2d} {-(k % 2):2d}")
    (tmp_path / "labels.txt").write_text("\n".join([str(ROWS), "Young Male Old ", *rows]) + "\n")
    (tmp_path / "parts.txt").write_text("".join(f"{k}.png 0\n" for k in range(ROWS)))
    text = draft(tmp_path, targets, tmp_path / "mine.yaml")
    drafted = yaml.safe_load(text)
    assert drafted["sources"]["data"]["places"] == {"name": "pictures/{name}"}
    assert all(task["kind"] == "binary" for task in drafted["tasks"].values())
    with pytest.raises(DataError, match=r"Beside it: labels.txt, parts.txt.*--targets a,b"):
        draft(tmp_path, [], tmp_path / "mine.yaml")


def test_marks_that_are_not_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("".join(f"{k}::1193::5::978300760\n" for k in range(30)))
    with pytest.raises(DataError, match=r"'::' seems to divide.*Found '0::1193::5.*Write commas"):
        draft(tmp_path / "ratings.dat", ["c"], tmp_path / "c.yaml", ["a", "b", "c", "d"])


def test_texts_among_sounds_are_told(tmp_path: Path) -> None:
    for k in range(4):
        file = tmp_path / f"clean/19/{k}/19-{k}-0000.wav"
        file.parent.mkdir(parents=True)
        file.write_bytes(riff(wave(0.2)))
        (file.parent / f"19-{k}.trans.txt").write_text("HELLO WORLD")
    said = (
        r"one folder, 'clean'.*Texts such as clean/19/0/19-0\.trans\.txt are not.*--columns a,b,c,d"
    )
    with pytest.raises(DataError, match=said):
        draft(tmp_path, ["text"], tmp_path / "mine.yaml")
