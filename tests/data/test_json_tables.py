"""Tables inside of JSON: under a key, with a name for each row, in lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from polytask.data.joining import Join
from polytask.data.json_rows import tables_inside, tabular
from polytask.data.table_rows import column_names
from polytask.data.tables import TableFile
from polytask.errors import DataError

IMAGES = [{"id": 7 * k, "file_name": f"{k}.jpg"} for k in range(30)]
CAPTIONS = [{"image_id": 7 * (k % 30), "id": k, "caption": f"text {k}"} for k in range(60)]
WHOLE = {"info": {"year": 2017}, "images": IMAGES, "data": {"captions": CAPTIONS, "few": [[1]]}}


def saved(folder: Path, content: Any, name: str = "t.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.mark.parametrize("indent", [None, 1])
def test_the_table_under_a_key_is_read_and_its_rows_are_counted(
    tmp_path: Path, indent: int | None
) -> None:
    (tmp_path / "t.json").write_text(json.dumps(WHOLE, indent=indent))
    path = tmp_path / "t.json#images"
    table = TableFile(path=path).load()
    assert table.columns == ("id", "file_name") and len(table) == 30
    assert column_names(path) == ["id", "file_name"]
    assert table.describe(4) == "t.json#images row 5"
    deep = TableFile(path=tmp_path / "t.json#data.captions").load()
    assert deep.cells(["caption"])[:, 0].tolist() == [row["caption"] for row in CAPTIONS]
    keys = {table.fingerprint, deep.fingerprint}
    assert len(keys) == 2 and TableFile(path=path).load().fingerprint in keys


def test_a_table_is_joined_to_another_of_its_file(tmp_path: Path) -> None:
    path = saved(tmp_path, WHOLE)
    join = Join(path=Path(f"{path}#images"), by={"image_id": "id"})
    assert join.names() == ["file_name"]
    table = TableFile(path=Path(f"{path}#data.captions"), join=[join]).load()
    found = table.cells(["image_id", "file_name"]).tolist()
    assert found == [[7 * (k % 30), f"{k % 30}.jpg"] for k in range(60)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("t.json#image", r"nothing under t.json#image. Did you mean 'images'"),
        ("t.json#data.caption", r"nothing under t.json#data.caption. Did you mean 'captions'"),
        ("t.json#images.id", r"nothing under t.json#images.id"),
        ("t.json#info", r"#info should hold a list of objects.*Found 'year': 2017"),
        ("t.json#info.year", r"should hold a list of objects. Found 2017"),
        ("t.json#data.few", r"row 1 should be an object.*lists name all columns.*Found \[1\]"),
        ("u.json#images", r"There is no file .*u.json. .*Did you mean 't.json'"),
        ("t.json", r"To read a table in it, write t.json#images"),
    ],
)
def test_what_is_no_table_inside_says_what_is_there(
    tmp_path: Path, address: str, message: str
) -> None:
    saved(tmp_path, WHOLE)
    with pytest.raises(DataError, match=message):
        TableFile(path=tmp_path / address).load()


def test_a_file_whose_name_has_the_mark_is_itself(tmp_path: Path) -> None:
    path = saved(tmp_path, IMAGES, "a.json#images")
    saved(tmp_path, WHOLE, "a.json")
    assert len(TableFile(path=path, format="jsonl").load()) == 30
    saved(tmp_path, IMAGES, "b#1.json")
    assert len(TableFile(path=tmp_path / "b#1.json").load()) == 30


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_objects_is_a_table_whose_rows_have_names(
    tmp_path: Path, indent: int | None
) -> None:
    rows = {f"guitar_{k:03}": {"pitch": k, "qualities": ["dark"]} for k in range(25)}
    (tmp_path / "t.json").write_text(json.dumps(rows, indent=indent))
    assert tabular(tmp_path / "t.json") and tables_inside(tmp_path / "t.json") == []
    table = TableFile(path=tmp_path / "t.json").load()
    assert table.columns == ("key", "pitch", "qualities")
    assert table.cells(["key"])[3, 0] == "guitar_003" and table.describe(3) == "t.json row 4"


def test_one_object_of_few_objects_stays_a_row(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": {"x": 1}, "b": {"x": 2}}, "t.jsonl")
    assert TableFile(path=path).load().columns == ("a", "b")


def test_rows_that_are_lists_have_the_columns_that_are_named(tmp_path: Path) -> None:
    parts = {"train": [["hello", "greet"], ["bye", "leave"]], "val": [["hi", "greet"]]}
    path = saved(tmp_path, parts)
    source = TableFile(
        path={"train": Path(f"{path}#train"), "validation": Path(f"{path}#val")},
        columns=["text", "intent"],
    )
    table = source.load()
    assert table.cells(["text", "intent"]).tolist() == [*parts["train"], *parts["val"]]
    assert list(table.fixed_split) == ["train", "train", "validation"]  # type: ignore[call-overload]
    new = saved(tmp_path, [["good day", None]], "new.json")
    assert source.another(new, ["text"]).load().cells(["text"]).tolist() == [["good day"]]
    objects = saved(tmp_path, [{"text": "good day"}], "objects.json")
    assert source.another(objects, ["text"]).load().columns == ("text",)
    with pytest.raises(DataError, match=r"#train row 1 has 2 values, and `columns` names 1: text"):
        TableFile(path=Path(f"{path}#train"), columns=["text"]).load()


def test_tables_inside_are_lists_of_many_objects(tmp_path: Path) -> None:
    path = saved(tmp_path, {**WHOLE, "licenses": IMAGES[:3]})
    assert tables_inside(path) == ["images"]
    path.write_text("{ no json")
    assert tables_inside(path) == []
