"""Tables of the user's own."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.data.columns import as_floats
from polytask.data.delimited import open_text
from polytask.data.places import content_key, file_key, files_key
from polytask.data.table_rows import MISSING, column_names
from polytask.data.tables import TableFile
from polytask.errors import ConfigError, DataError
from tests.data.conftest import png, riff, wave

CSV = 'photo,age,kind,note\na.png,3,cat,"two\nlines"\n\nb.png,,dog,\na.png,4.5, ,NA\n'


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv_with_blanks_pictures_and_lines(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(7))
    table = TableFile(path=write(tmp_path, "t.csv", CSV), media={"photo": "image"}).load()
    assert table.columns == ("age", "kind", "note", "photo")
    cells = table.cells(["age", "kind", "note"])
    assert cells.tolist() == [[3.0, "cat", "two\nlines"], [None, "dog", None], [4.5, None, None]]
    assert [table.describe(k) for k in range(3)] == [f"t.csv row {n}" for n in (2, 5, 6)]
    assert table.media["photo"].picture(0).shape == (8, 8, 3)
    with pytest.raises(DataError, match="no such file"):
        table.media["photo"].picture(1)


@pytest.mark.parametrize("kind", ["tsv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_formats_agree(tmp_path: Path, kind: str) -> None:
    rows = [{"x": 1, "y": "a", "z": 7}, {"x": None, "y": None, "z": 8}, {"x": 3, "y": "c", "z": 9}]
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind.startswith("jsonl"):
        text = "\n\n".join(json.dumps(r) for r in rows)
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    else:
        mark = "\t" if kind == "tsv" else ","
        text = f"x{mark}y{mark}z\n1{mark}a{mark}7\n{mark}{mark}8\n3{mark}c{mark}9\n"
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    table = TableFile(path=path).load()
    assert table.cells(["x", "y"]).tolist() == [[1, "a"], [None, None], [3, "c"]]
    assert column_names(path) == ["x", "y", "z"]
    expected = {"parquet": 3, "jsonl": 5, "jsonl.gz": 5}.get(kind, 4)
    assert table.describe(2).endswith(f"row {expected}")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_rows_in_which_every_cell_is_blank_are_left_out_and_counted(
    mark: str, tmp_path: Path
) -> None:
    text = "x,y,z\n1,a,2\n,,\n , NA,\n   \n2,,\n3,b,4\n,,\n".replace(",", mark)
    path = write(tmp_path, "t.tsv" if mark == "\t" else "t.csv", text)
    with pytest.warns(UserWarning, match=r"left out 3 rows of t\..sv .* such as that of line 3"):
        table = TableFile(path=path).load()
    assert table.cells(["x", "y", "z"]).tolist() == [[1, "a", 2], [2, None, None], [3, "b", 4]]
    assert [table.describe(k).split()[-1] for k in range(3)] == ["2", "6", "7"]
    whole = TableFile(path=write(tmp_path, "t.csv", text.replace(mark * 2, f"{mark}9{mark}")))
    with pytest.warns(UserWarning, match="left out 1 row of"):
        assert whole.load().fingerprint != table.fingerprint


def test_blank_rows_change_the_fingerprint_of_their_file_alone(tmp_path: Path) -> None:
    """A run that numbered them would take other rows for its test part."""
    path = write(tmp_path, "t.csv", "x,y\n1,2\n,\n3,4\n")
    with pytest.warns(UserWarning, match="left out 1 row"):
        found = TableFile(path=path).load().fingerprint
    earlier = content_key(["table", file_key(path), files_key([]), list(MISSING)])
    assert found != earlier
    path.write_text("x,y\n1,2\n3,4\n")
    earlier = content_key(["table", file_key(path), files_key([]), list(MISSING)])
    assert TableFile(path=path).load().fingerprint == earlier


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_a_nul_in_a_cell_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    rows = [{"n": 1, "x": "a"}, {"n": 2, "x": "b\0c"}]
    if name == "t.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "t.jsonl":
        write(tmp_path, name, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = {"t.csv": ",", "t.tsv": "\t"}[name]
        write(tmp_path, name, f"n{mark}x\n1{mark}a\n2{mark}b\0c\n")
    line = {"t.parquet": 2, "t.jsonl": 2}.get(name, 3)
    with pytest.raises(DataError, match=rf"{name} row {line}, column 'x': .*NUL.*'b\\x00c'"):
        TableFile(path=tmp_path / name).load()


def test_one_column_keeps_its_blank_rows(tmp_path: Path) -> None:
    table = TableFile(path=write(tmp_path, "t.csv", 'x\na\n""\nb\n')).load()
    assert table.cells(["x"])[:, 0].tolist() == ["a", None, "b"]
    assert table.describe(2) == "t.csv row 4"


def test_encoded_bytes_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    cells = {"pic": [png(5), None], "snd": [{"bytes": riff(wave()), "path": "x"}] * 2, "y": [1, 2]}
    pq.write_table(pa.table(cells), path)
    table = TableFile(path=path, media={"pic": "image", "snd": "sound"}).load()
    assert table.media["pic"].picture(0)[3, 3, 0] == 5
    assert table.media["snd"].wave(1)[1] == 8000
    with pytest.raises(DataError, match="blank"):
        table.media["pic"].picture(1)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a.csv", "x,y\n1,a\n"), write(tmp_path, "b.csv", "y,x\nb,2\nc,3\n")
    table = TableFile(path=[one, two]).load()
    assert table.cells(["x", "y"]).tolist() == [[1, "a"], [2, "b"], [3, "c"]]
    assert table.describe(2) == "b.csv row 3"
    write(tmp_path, "c.csv", "x,z\n1,2\n")
    with pytest.raises(DataError, match=r"same columns.*y, z"):
        TableFile(path=[one, tmp_path / "c.csv"]).load()


def test_the_fingerprint_follows_table_and_linked_files(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "photo\na.png\n")
    keys = [TableFile(path=path, media={"photo": "image"}).load().fingerprint for _ in range(2)]
    (tmp_path / "a.png").write_bytes(png(1))
    keys.append(TableFile(path=path, media={"photo": "image"}).load().fingerprint)
    path.write_text("photo\na.png\na.png\n")
    keys.append(TableFile(path=path, media={"photo": "image"}).load().fingerprint)
    assert keys[0] == keys[1] and len(set(keys)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "cannot be read as CSV"),
        ("t.csv", b"\xff\xfe\x00bad", "line 1 should be text in utf-8.*`encoding: utf-16`"),
        ("t.csv", b'a,b\n1,2\n"3', "row 3 has 1 cells"),
        ("t.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("t.jsonl", b"[1]\n", "row 1 should be an object"),
        ("t.jsonl", b'[{"a": 1},\n{"a": ', "t.jsonl is not JSON"),
        ("t.json", b'{\n"a": 1,\n"b": []}', r"t.json is one object \(a, b\), no table"),
        ("t.npz", b"PK\x03\x04...", "it holds arrays of NumPy: save its rows as CSV"),
        ("t.arrow", b"\xff\xff\xff\xff", "save it as Parquet .*to_parquet"),
        ("t.pkl", b"\x80\x04", "a pickle, which could run anything"),
        ("t.csv.bz2", b"BZh91AY", "packed with bzip2: unpack it"),
        ("none.xlsx", None, "There is no file .*none.xlsx"),
        ("t.csv.gz", b"not packed", "cannot be read as CSV"),
        ("t.xlsx", b"", "no known format"),
    ],
)
def test_unreadable_tables_say_why(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        TableFile(path=tmp_path / name).load()


def test_a_list_of_objects_is_a_table_and_its_rows_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "a", "marks": [{"at": k}]} for k in range(3)]
    for name, content in (
        ("list.json", json.dumps(rows, indent=1)),
        ("line.json", json.dumps(rows)),
        ("lines.json", "\n".join(map(json.dumps, rows))),
        ("one.json", json.dumps(rows[0])),
    ):
        table = TableFile(path=write(tmp_path, name, content)).load()
        assert table.columns == ("text", "marks")
        assert table.describe(len(table) - 1) == f"{name} row {len(table)}"


def test_objects_that_hold_tables_are_told_from_rows(tmp_path: Path) -> None:
    rows = [{"x": k} for k in range(30)]
    path = write(tmp_path, "t.json", json.dumps({"data": rows, "version": 1}))
    with pytest.raises(DataError, match=r"object \(data, version\).*write t.json#data"):
        TableFile(path=path).load()
    path = write(tmp_path, "t.json", json.dumps({"images": rows, "annotations": rows}))
    with pytest.raises(DataError, match=r"write t\.json#images or t\.json#annotations"):
        TableFile(path=path).load()


def test_missing_file_and_columns_name_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "labels.csv", "photo,age\na.png,1\n")
    with pytest.raises(DataError, match=r"no file .*label\.csv.*Did you mean 'labels\.csv'"):
        TableFile(path=tmp_path / "label.csv").load()
    with pytest.raises(DataError, match="Did you mean 'photo'"):
        TableFile(path=path, media={"foto": "image"}).load()
    table = TableFile(path=path).load()
    with pytest.raises(DataError, match=r"Task 'a' reads column 'agee'.*Did you mean 'age'"):
        table.check_column("agee", "Task 'a'")
    with pytest.raises(DataError, match=r"needs a column of pictures.*`media`"):
        table.check_column("photo", "Input 'p'", kind="image")
    with pytest.raises(ConfigError):
        TableFile(path=[])


def test_own_words_for_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "x,y\n?,None\n2,b\n")
    cells = TableFile(path=path, missing=["?"]).load().cells(["x", "y"])
    assert cells.tolist() == [[None, "None"], [2, "b"]]
    assert np.array_equal(TableFile(path=path).load().cells(["y"])[:, 0], [None, "b"])


@pytest.mark.parametrize(
    "text", ["a;b;c, d\n1;x;\n", "a\tb\tc, d\n1\tx\ty\n", "\n a , b\n 1 , x ,\n"]
)
def test_a_csv_is_divided_by_what_divides_its_header(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "t.csv", text)
    table = TableFile(path=path).load()
    assert list(table.columns) == column_names(path)
    assert table.cells(["a"]).tolist() == [[1]]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_is_read_once_for_the_lines_of_all_its_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ['{"a": 1}', "", *['{"a": 2}'] * 20] if name == "t.jsonl" else ["a", *"12" * 10, "", "3"]
    table = TableFile(path=write(tmp_path, name, "\n".join(rows))).load()
    opened: list[Path] = []

    def counted(path: Path, encoding: str = "utf-8") -> IO[str]:
        opened.append(path)
        return open_text(path, encoding)

    monkeypatch.setattr("polytask.data.json_rows.open_text", counted)
    monkeypatch.setattr("polytask.data.delimited.open_text", counted)
    places = [table.describe(row) for row in range(len(table))]
    assert places[0] == f"{name} row {1 if name == 't.jsonl' else 2}"
    assert places[-1] == f"{name} row {22 if name == 't.jsonl' else 23}"
    assert len(opened) <= 2  # a CSV also for its header


def test_another_table_in_utf8_is_read_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("city,x\nKöln,1\n".encode("cp1252"))
    source = TableFile(path=tmp_path / "t.csv", encoding="cp1252")
    (tmp_path / "u.csv").write_text("city,x\nKöln,1\n", encoding="utf-8")
    for name in ("t.csv", "u.csv"):
        table = source.another(tmp_path / name, ["city"]).load()
        assert table.cells(["city"])[0, 0] == "Köln"


def test_commas_of_texts_divide_no_table_whose_columns_are_named(tmp_path: Path) -> None:
    rows = ["a1|Printing, in it|Printing, in it", "a2|one|two", 'a3|"so, he said|so, he said']
    path = write(tmp_path, "t.csv", "\n".join(rows))
    table = TableFile(path=path, columns=["id", "text", "said"], quotes=False).load()
    assert table.cells(["text"])[:, 0].tolist() == ["Printing, in it", "one", '"so, he said']


def test_decimals_of_parquet_are_numbers(tmp_path: Path) -> None:
    values = pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2))
    pq.write_table(pa.table({"pay": values}), tmp_path / "t.parquet")
    table = TableFile(path=tmp_path / "t.parquet").load()
    assert table.cells(["pay"])[:, 0].tolist() == [1.5, None, -2.25]


def test_rows_longer_than_the_header_shift_nothing(tmp_path: Path) -> None:
    table = TableFile(path=write(tmp_path, "t.csv", "a,b\n1,2,\n3,4,\n")).load()
    assert table.cells(["a", "b"]).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"row 2 has 3 cells, more than .*\(2: a, b\)"):
        TableFile(path=write(tmp_path, "t.csv", "a,b\n1,2,9\n3,4,9\n")).load()


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns named 'y'"):
        TableFile(path=write(tmp_path, "t.csv", "x,y,y\n1,2,3\n")).load()


def test_rows_below_a_very_long_cell_are_located(tmp_path: Path) -> None:
    table = TableFile(path=write(tmp_path, "t.csv", f"a,b\n{'x' * 200_000},1\ny,2\n")).load()
    assert table.describe(1) == "t.csv row 3"


def test_blanks_divide_tables_of_numbers(tmp_path: Path) -> None:
    """As auto-mpg of UCI: columns as wide as their cells, a tab before a name in quotes."""
    rows = ['18.0   8  307.0   130.0\t"chevrolet malibu"', '  9.5   4  97.00      ?\t"vw 1131"  ']
    (tmp_path / "t.data").write_text("\n".join(rows) + "\n\n")
    named = TableFile(
        path=tmp_path / "t.data",
        format="csv",
        columns=["mpg", "cylinders", "size", "power", "name"],
        missing=["?"],
    ).load()
    assert named.cells(list(named.columns)).tolist() == [
        [18.0, 8, 307.0, 130.0, "chevrolet malibu"],
        [9.5, 4, 97.0, None, "vw 1131"],
    ]
    assert named.describe(1) == "t.data row 2"
    (tmp_path / "u.csv").write_text("x  y\n1 2\n  3\t4\n")
    headed = TableFile(path=tmp_path / "u.csv").load()
    assert headed.cells(["x", "y"]).tolist() == [[1, 2], [3, 4]]
    (tmp_path / "u.csv").write_text("x y\n1 2\n3 4 5\n6 7\n")
    assert list(TableFile(path=tmp_path / "u.csv").load().columns) == ["x y"]
    (tmp_path / "u.csv").write_text("full name\nAda Lovelace\nAlan Turing\n")
    assert list(TableFile(path=tmp_path / "u.csv").load().columns) == ["full name"]


def test_rows_with_one_cell_more_or_less_are_named_where_blanks_divide(tmp_path: Path) -> None:
    (tmp_path / "t.data").write_text("1 2\n" * 60 + "1\n" + "1 2\n")
    with pytest.raises(DataError, match=r"t\.data row 61 has 1 cells"):
        TableFile(path=tmp_path / "t.data", format="csv", columns=["x", "y"]).load()


CODES = st.lists(st.text("0123456789", min_size=1, max_size=6), min_size=1, max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=CODES, ages=CODES, mark=st.sampled_from([",", ";", "\t"]), quoted=st.booleans())
def test_whole_numbers_that_begin_with_a_zero_are_as_they_are_written(
    tmp_path: Path, codes: list[str], ages: list[str], mark: str, quoted: bool
) -> None:
    pairs = list(zip(codes, ages, strict=False))
    around = '"' if quoted else ""
    lines = [mark.join(f"{around}{cell}{around}" for cell in pair) for pair in pairs]
    (tmp_path / "t.csv").write_text("\n".join([mark.join(["code", "age"]), *lines]))
    cells = TableFile(path=tmp_path / "t.csv").load().cells(["code", "age"])
    for found, written in zip(cells.T.tolist(), zip(*pairs, strict=True), strict=True):
        zero = any(len(cell) > 1 and cell[0] == "0" for cell in written)
        assert found == [cell if zero else int(cell) for cell in written]


def test_codes_with_zeros_are_labels_groups_and_numbers_too(tmp_path: Path) -> None:
    text = "code,size,day\n01,007,01/02/2020\n1,10,02/02/2020\n,010 ,03/02/2020\n01,2,04/02/2020\n"
    (tmp_path / "t.csv").write_text(text)
    table = TableFile(path=tmp_path / "t.csv").load()
    assert table.cells(["code"])[:, 0].tolist() == ["01", "1", None, "01"]
    sizes = table.cells(["size"])[:, 0]
    assert sizes.tolist() == ["007", "10", "010", "2"]
    assert as_floats("size", sizes, table.describe).tolist() == [7, 10, 10, 2]
    (tmp_path / "u.csv").write_text("code;x\n0;0,5\n10;01,5\n")
    plain = TableFile(path=tmp_path / "u.csv", decimal=",").load()
    assert plain.cells(["code", "x"]).tolist() == [[0, 0.5], [10, 1.5]]


def test_a_zero_between_two_pieces_of_a_text_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in range(1, 30):
        monkeypatch.setattr("polytask.data.leading_zeros._CHUNK", chunk)
        (tmp_path / "t.csv").write_text("code,x\n1,5\n22,6\n0333,7\n4,8\n")
        cells = TableFile(path=tmp_path / "t.csv").load().cells(["code"])[:, 0]
        assert cells.tolist() == ["1", "22", "0333", "4"], chunk
