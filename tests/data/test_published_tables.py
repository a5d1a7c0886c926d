"""Tables as publishers write them: shards with names of classes, no header, quotes as letters."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.splits import Split
from polytask.data.tables import TableFile
from polytask.errors import ConfigError, DataError
from tests.data.conftest import png


def hub(path: Path, columns: dict[str, Any], features: dict[str, Any]) -> Path:
    """A Parquet file with the note that the library `datasets` leaves in its schema."""
    note = {"info": {"features": features}}
    table = pa.table(columns).replace_schema_metadata({b"huggingface": json.dumps(note).encode()})
    pq.write_table(table, path)
    return path


SEX = {"names": ["Male", "Female"], "_type": "ClassLabel"}
MOODS = {"names": ["joy", "fear", "love"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    "lists", [{"feature": MOODS, "_type": "Sequence"}, {"feature": MOODS, "_type": "List"}, [MOODS]]
)
def test_class_numbers_become_the_names_that_the_file_has(tmp_path: Path, lists: Any) -> None:
    columns = {"sex": [0, 1, None, -1], "age": [3, 4, 5, 6], "moods": [[0, 2], [], None, [1]]}
    path = hub(tmp_path / "t.parquet", columns, {"sex": SEX, "moods": lists, "age": {"x": 1}})
    table = TableFile(path=path).load()
    assert table.cells(["sex"])[:, 0].tolist() == ["Male", "Female", None, None]
    assert table.cells(["age"])[:, 0].tolist() == [3, 4, 5, 6]
    moods = table.cells(["moods"])[:, 0].tolist()
    assert moods == [["joy", "love"], [], None, ["fear"]]


def test_a_class_number_without_a_name_is_an_error(tmp_path: Path) -> None:
    path = hub(tmp_path / "t.parquet", {"sex": [0, 2]}, {"sex": SEX})
    with pytest.raises(DataError, match=r"row 2: column 'sex' has class 2.*0 \(Male\) to 1"):
        TableFile(path=path).load()


def test_another_writers_note_changes_nothing(tmp_path: Path) -> None:
    table = pa.table({"sex": [0, 1]}).replace_schema_metadata({b"huggingface": b"[1, 2]"})
    pq.write_table(table, tmp_path / "t.parquet")
    assert TableFile(path=tmp_path / "t.parquet").load().cells(["sex"])[:, 0].tolist() == [0, 1]


def test_shards_by_part_are_one_table_that_keeps_their_parts(tmp_path: Path) -> None:
    shards = []
    for k, name in enumerate(["train-0", "train-1", "test-0"]):
        path = tmp_path / f"{name}.parquet"
        cells = {"image": [{"bytes": png(k + 1), "path": "x.png"}], "sex": [k % 2]}
        shards.append(hub(path, cells, {"sex": SEX}))
    path = {"train": shards[:2], "test": shards[2]}
    table = TableFile(path=path, media={"image": "image"}).load()
    assert [table.media["image"].picture(k)[3, 3, 0] for k in range(3)] == [1, 2, 3]
    assert table.describe(2) == "test-0.parquet row 1"
    parts = Split(fixed=True, validation=0.0).assign(table, 0)
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "train": [0, 1],
        "validation": [],
        "test": [2],
    }
    swapped = {"train": shards[:1], "test": shards[1:]}
    assert TableFile(path=swapped).load().fingerprint != TableFile(path=path).load().fingerprint
    with pytest.raises(ConfigError, match=r"train, validation, test.*'training'"):
        TableFile(path={"training": shards[0]})


LONE = 'so "good\t1,2\ta\n"then bad\t0\tb\nworst"\t3\tc\n\tx\td\n'


def test_a_tsv_without_a_header_whose_quotes_are_letters(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(LONE)
    named = ["text", "labels", "id"]
    table = TableFile(path=path, columns=named, quotes=False).load()
    assert table.cells(["text", "labels"]).tolist() == [
        ['so "good', "1,2"],
        ['"then bad', "0"],
        ['worst"', "3"],
        [None, "x"],
    ]
    assert table.describe(1) == "t.tsv row 2"
    with pytest.raises(DataError, match=r"t.tsv row 2: a quote in column 'text'.*`quotes: false`"):
        TableFile(path=path, columns=named).load()
    with pytest.raises(DataError, match=r"`columns` names 2 columns.*has 3 cells"):
        TableFile(path=path, columns=["text", "labels"], quotes=False).load()


def test_a_quote_that_swallows_rows_of_a_csv_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = ["fine,1", "bad,0", '"lone,1', "gone,0", "gone too,1", 'closed",0', "fine,0"]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    with pytest.raises(
        DataError, match=r"t.csv row 4: a quote in column 'text' takes in whole rows"
    ):
        TableFile(path=path).load()


def test_a_quote_that_swallows_rows_that_bars_divide_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"a{k}|{chr(34) if k in (3, 6) else ''}It is {k}, you see|it is {k}" for k in range(9)]
    path.write_text("\n".join(rows) + "\n")
    named = ["id", "raw", "text"]
    with pytest.raises(
        DataError, match=r"t.csv row 4: a quote in column 'raw' takes in whole rows"
    ):
        TableFile(path=path, columns=named).load()
    assert len(TableFile(path=path, columns=named, quotes=False).load()) == 9
    path.write_text('id|text\na|"one | two\nthree"\nb|c\n')
    assert TableFile(path=path).load().cells(["text"])[0, 0] == "one | two\nthree"


def test_of_marks_that_divide_as_well_a_comma_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("".join(f"a{k}|Well, it is {k}|well it is {k}, he said\n" for k in range(5)))
    table = TableFile(path=path, columns=["id", "raw", "text"]).load()
    assert table.cells(["raw"])[1, 0] == "Well, it is 1"


@pytest.mark.parametrize(
    "letter",
    [
        "Dear John, hello\nI owe you 3, or 4\nyours",  # as many commas as a row, other cells
        "It costs $1,000\nthe end",  # a number in the label's place, once
        "a, b, c\nd\n1",
        "one\ntwo",
    ],
)
def test_a_text_of_several_lines_may_stand_in_a_cell(tmp_path: Path, letter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'text,label\nx,1\ny,0\n"{letter}",1\nz,0\n')
    assert TableFile(path=path).load().cells(["text"])[2, 0] == letter


def test_a_first_line_that_counts_rows_and_rows_with_names(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("3\nYoung Male \na.jpg  1 -1\nb.jpg -1  1\nc.jpg -1 -1\n")
    table = TableFile(path=path, format="csv").load()
    assert table.columns == ("name", "Young", "Male")
    assert table.cells(["name", "Male"]).tolist() == [["a.jpg", -1], ["b.jpg", 1], ["c.jpg", -1]]
    assert table.describe(1) == "t.txt row 4"
    path.write_text('x y name\n"1" 1.5 2 0\n"2" 2.5 3 1\n')
    table = TableFile(path=path, format="csv").load()
    assert table.columns == ("row", "x", "y", "name")
    assert table.cells(["x"])[:, 0].tolist() == [1.5, 2.5]
    rows = [f"{k}.jpg 1 -1" for k in range(60)]
    path.write_text("\n".join(["61", "Young Male", *rows, "b.jpg -1"]))
    with pytest.raises(DataError, match=r"t.txt row 63 has 2 cells, where the header names 3"):
        TableFile(path=path, format="csv").load()


def test_commas_with_blanks_behind_them_divide_and_not_the_blanks(tmp_path: Path) -> None:
    """As Adult is published: `39, State-gov, 77516, <=50K`, without a header."""
    rows = [f"{k}, State-gov, {77516 + k}, {'<=50K' if k % 2 else '>50K'}" for k in range(30)]
    path = tmp_path / "adult.data"
    path.write_text("\n".join(rows))
    names = ["age", "work", "weight", "income"]
    table = TableFile(path=path, format="csv", columns=names).load()
    assert table.cells(names)[1].tolist() == [1, "State-gov", 77517, "<=50K"]


@pytest.mark.parametrize("marks", [["?"], ["", "?"], ["-1.0"], []])
def test_own_marks_leave_blank_cells_blank_and_numbers_numbers(
    tmp_path: Path, marks: list[str]
) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,1.0\n2,0.0\n3,\n4,1.0\n")
    table = TableFile(path=tmp_path / "t.csv", missing=marks).load()
    assert table.cells(["y"])[:, 0].tolist() == [1, 0, None, 1]
