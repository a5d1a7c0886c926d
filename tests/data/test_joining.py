"""Columns of further tables, joined by a key."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.joining import Join
from polytask.data.sources import BlankCell, Table
from polytask.data.splits import Split
from polytask.data.tables import TableFile
from polytask.errors import ConfigError, DataError
from tests.data.conftest import png


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)


def load(folder: Path, *joins: Join, **settings: Any) -> Table:
    return TableFile(path=folder / "main.csv", join=list(joins), **settings).load()


def test_rows_get_the_columns_of_their_partners_and_blanks_without_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="id,x\nb,1\na,2\nc,3\na,4\n,5\n",
        labs="crp,id,n\n1.5,a,7\n2.5,b,8\n9,d,9\n,,1\n",
    )
    table = load(tmp_path, Join(path=tmp_path / "labs.csv", by="id"))
    assert table.columns == ("id", "x", "crp", "n")
    assert table.cells(["id", "x", "crp", "n"]).tolist() == [
        ["b", 1, 2.5, 8],
        ["a", 2, 1.5, 7],
        ["c", 3, None, None],
        ["a", 4, 1.5, 7],
        [None, 5, None, None],
    ]
    (facts,) = table.joined
    assert (facts.rows, facts.found, facts.unused, facts.repeated) == (5, 3, 2, 0)
    said = "labs.csv, joined by id: 3 of 5 rows have a partner; rows there that are no row's "
    assert str(facts) == f"{said}partner: 2"
    assert table.describe(3) == "main.csv row 5"


_KEYS = st.text("ab01", min_size=1, max_size=3)


@given(mine=st.lists(_KEYS, max_size=30), theirs=st.lists(_KEYS, min_size=1, unique=True))
def test_a_join_is_what_pandas_calls_a_left_merge_of_texts(
    mine: list[str], theirs: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    mine = [*mine, theirs[0]]  # without any partner it is an error
    left = pandas.DataFrame({"id": mine, "x": range(len(mine))}, dtype=object)
    right = pandas.DataFrame({"id": theirs, "y": [f"y{k}" for k in range(len(theirs))]})
    left.to_json(folder / "main.jsonl", orient="records", lines=True)
    right.to_json(folder / "more.jsonl", orient="records", lines=True)
    join = Join(path=folder / "more.jsonl", by="id")
    table = TableFile(path=folder / "main.jsonl", join=[join]).load()
    merged = left.merge(right, on="id", how="left")
    expected = merged.astype(object).where(merged.notna(), None)
    assert table.cells(["id", "x", "y"]).tolist() == expected.to_numpy().tolist()
    assert table.joined[0].found == int(merged["y"].notna().sum())
    assert table.joined[0].unused == len(set(theirs) - set(mine))


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_large_whole_numbers_stay_whole_beside_blanks(kind: str, tmp_path: Path) -> None:
    large = 2**60 + 1
    rows = [{"id": 1, "code": large, "yes": True}]
    path = tmp_path / f"more.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows[0]))
    write(tmp_path, main="id,x\n1,1\n2,2\n")
    table = load(tmp_path, Join(path=path, by="id"))
    assert table.cells(["code", "yes"]).tolist() == [[large, True], [None, None]]


@pytest.mark.parametrize(
    ("mine", "theirs", "found", "unlike"),
    [
        (["7", "8"], ["7", "8"], 2, 0),
        (["7", ""], ["7.0", "8.0"], 1, 0),  # with a blank, some programs write fractions
        (["007", "008"], ["007", "008"], 2, 0),
        (["007", "10"], ["7", "10"], 1, 1),
        (["7", "10"], ["07", "10"], 1, 1),
        (["7", "x"], ["7", "8"], 1, 0),
    ],
)
def test_keys_with_zeros_in_front_are_texts(
    mine: list[str], theirs: list[str], found: int, unlike: int, tmp_path: Path
) -> None:
    main = "".join(f"{key},1\n" for key in mine)
    write(tmp_path, main="id,x\n" + main, more="id,y\n" + "".join(f"{k},2\n" for k in theirs))
    (facts,) = load(tmp_path, Join(path=tmp_path / "more.csv", by="id")).joined
    assert (facts.found, facts.unlike) == (found, unlike)


def test_several_columns_are_a_key_and_may_have_other_names(tmp_path: Path) -> None:
    write(tmp_path, main="who,day,x\na,1,5\na,2,6\nb,1,7\n", more="d,w,y\n1,a,10\n2,a,20\n1,c,30\n")
    join = Join(path=tmp_path / "more.csv", by={"who": "w", "day": "d"})
    table = load(tmp_path, join)
    assert table.cells(["x", "y"]).tolist() == [[5, 10], [6, 20], [7, None]]
    write(tmp_path, more="who,day,x\na,1,10\na,2,20\n")
    named = Join(path=tmp_path / "more.csv", by=["who", "day"], take={"z": "x"})
    assert load(tmp_path, named).cells(["x", "z"]).tolist() == [[5, 10], [6, 20], [7, None]]


def test_a_joined_table_may_have_the_key_of_the_next(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="visit,x\n1,5\n2,6\n3,7\n",
        visits="visit,patient\n1,a\n2,b\n3,a\n",
        patients="patient,sex\na,f\nb,m\n",
    )
    joins = [Join(path=tmp_path / "visits.csv", by="visit")]
    joins += [Join(path=tmp_path / "patients.csv", by="patient")]
    table = load(tmp_path, *joins)
    assert table.cells(["patient", "sex"]).tolist() == [["a", "f"], ["b", "m"], ["a", "f"]]


def test_rows_that_are_alike_are_counted_and_others_with_one_key_are_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path, main="id,x\na,1\nb,2\n", more="id,y,z\na,1,\nb,2,5\na,1,\na,1,6\n")
    join = Join(path=tmp_path / "more.csv", by="id", take=["y"])
    assert load(tmp_path, join).joined[0].repeated == 2
    with pytest.raises(DataError) as error:
        load(tmp_path, Join(path=tmp_path / "more.csv", by="id"))
    said = "more.csv row 2 and more.csv row 5 have the same key 'a', by which they are joined, and "
    assert str(error.value).startswith(said + "differ in column 'z': (blank) and '6")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "id"}, r"'x' is in main.csv and in more.csv.*take: \{x_2: x\}"),
        ({"by": "ids"}, r"joined by 'ids', which is no column of main.csv. Did you mean 'id'\?"),
        ({"by": {"id": "idd"}}, "'idd', which is no column of more.csv. Did you mean 'id'"),
        ({"by": "id", "take": ["yy"]}, "`take` names a column 'yy', which more.csv does not have"),
        ({"by": "id", "encoding": "utf-16"}, "more.csv"),
        ({"by": "id", "format": "parquet"}, "more.csv"),
        ({"by": "id", "columns": ["id", "y"]}, "`columns` names 2 columns.*more.csv has 3 cells"),
        ({"by": ["id", "x", "y"], "take": ["x"]}, "'y', which is no column of main.csv"),
        ({"by": {"id": "id", "x": "x", "a": "y"}}, "'a', which is no column of main.csv"),
    ],
)
def test_what_cannot_be_joined_is_told(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path, main="id,x\na,1\nb,2\n", more="id,x,y\na,1,2\n")
    with pytest.raises(DataError, match=said):
        load(tmp_path, Join(path=tmp_path / "more.csv", **settings))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "id,y\nc,1\n",
            r"No row of main.csv has a partner in more.csv.*'01', and there such as 'c'",
        ),
        ("id,y\n1,1\n", "Zeros in front count"),
        ("id,y\n", r"No row of main.csv .* there such as \(blank\)"),
        ("id,y\n01,a\0b\n", r"more.csv row 2, column 'y': the cell holds a NUL"),
        ("id,y\n01\n", "more.csv row 2 has 1 cells"),
        ("id\n01\n", "more.csv has no column but those by which it is joined"),
        ("01,5\n02,6\n", r"no column of more.csv.*`columns` of the join"),
    ],
)
def test_rows_that_cannot_be_joined_are_told(more: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, main="id,x\n01,1\n02,2\n", more=more)
    with pytest.raises(DataError, match=said):
        load(tmp_path, Join(path=tmp_path / "more.csv", by="id"))


def test_a_file_that_is_not_there_and_a_key_of_lists_are_told(tmp_path: Path) -> None:
    write(tmp_path, main="id,x\n1,1\n2,2\n")
    with pytest.raises(DataError, match=r"more.csv"):
        load(tmp_path, Join(path=tmp_path / "more.csv", by="id"))
    (tmp_path / "more.jsonl").write_text('{"id": [1], "y": 1}')
    with pytest.raises(DataError, match=r"more.jsonl row 1, column 'id': the key .* one value"):
        load(tmp_path, Join(path=tmp_path / "more.jsonl", by="id"))
    for wrong in ({"by": []}, {"by": "id", "take": []}):
        with pytest.raises(ConfigError, match=r"`(by|take)` should name"):
            Join(path=tmp_path / "more.csv", **wrong)
    (tmp_path / "more.jsonl").write_text('{"id": {"a": 1}, "y": 2}\n{"id": "a", "y": 3}\n')
    with pytest.raises(DataError, match=r"more.jsonl row 1, column 'id': the key .* one value"):
        load(tmp_path, Join(path=tmp_path / "more.jsonl", by="id"))


def test_files_of_a_joined_column_start_at_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_bytes(png(7))
    write(tmp_path, main="id,x\n1,1\n2,2\n")
    write(tmp_path / "media", files="id,photo\n1,a.png\n")
    table = load(
        tmp_path, Join(path=tmp_path / "media" / "files.csv", by="id"), media={"photo": "image"}
    )
    assert table.media["photo"].picture(0).shape == (8, 8, 3)
    with pytest.raises(BlankCell):
        table.media["photo"].picture(1)
    placed = Join(path=tmp_path / "media" / "files.csv", by="id", take={"name": "photo"})
    places = {"name": "{name}"}
    again = load(tmp_path, placed, media={"name": "image"}, places=places).media["name"]
    assert (again.picture(0) == table.media["photo"].picture(0)).all()


def test_encoded_pictures_of_a_joined_table(tmp_path: Path) -> None:
    cells = [{"bytes": png(k), "path": None} for k in range(3)]
    pq.write_table(pa.table({"id": ["c", "a", "b"], "image": cells}), tmp_path / "more.parquet")
    write(tmp_path, main="id,x\na,1\nd,2\nc,3\n")
    join = Join(path=tmp_path / "more.parquet", by="id")
    assert "image" in load(tmp_path, join).unread
    media = load(tmp_path, join, media={"image": "image"}).media["image"]
    own = TableFile(path=tmp_path / "more.parquet", media={"image": "image"}).load().media["image"]
    assert (media.picture(0) == own.picture(1)).all() and (media.picture(2) == own.picture(0)).all()
    assert len(media) == 3
    twice = pa.table({"id": ["a", "a", "b"], "image": cells})
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"same key 'a', .* in column 'image': encoded files"):
        load(tmp_path, Join(path=tmp_path / "twice.parquet", by="id"))
    with pytest.raises(BlankCell):
        media.picture(1)


def test_the_fingerprint_has_joined_files_and_how_they_are_joined(tmp_path: Path) -> None:
    write(tmp_path, main="id,x\na,1\nb,2\n", more="id,y,z\na,1,5\nb,2,6\n")
    more = tmp_path / "more.csv"
    kinds = [[], [Join(path=more, by="id")], [Join(path=more, by="id", take=["y"])]]
    kinds += [
        [Join(path=more, by="id", take={"w": "y"})],
        [Join(path=more, by="id", missing=["5"])],
    ]
    keys = [load(tmp_path, *joins).fingerprint for joins in kinds]
    assert len(set(keys)) == len(keys)
    assert load(tmp_path, Join(path=more, by="id")).fingerprint == keys[1]
    write(tmp_path, more="id,y,z\na,1,5\nb,2,7\n")
    assert load(tmp_path, Join(path=more, by="id")).fingerprint != keys[1]


def test_parts_may_be_named_by_other_values_of_a_joined_column(tmp_path: Path) -> None:
    rows = "".join(f"{k:03}.jpg {k % 3}\n" for k in range(12))
    (tmp_path / "partition.txt").write_text(rows)
    write(tmp_path, main="name,x\n" + "".join(f"{k:03}.jpg,{k}\n" for k in range(12)))
    join = Join(path=tmp_path / "partition.txt", by="name", columns=["name", "part"], format="csv")
    table = load(tmp_path, join)
    split = Split(column="part", parts={"train": "0", "validation": "1", "test": ["2"]})
    assert {p: rows.tolist() for p, rows in split.assign(table, 0).items()} == {
        part: list(range(k, 12, 3)) for k, part in enumerate(("train", "validation", "test"))
    }
    with pytest.raises(DataError, match=r"main.csv row 2: column 'part' .*Found '0'.*`parts`"):
        Split(column="part").assign(table, 0)
    with pytest.raises(DataError, match=r"should name a part \(0, 1\). Found '2'"):
        Split(column="part", parts={"train": "0", "test": "1"}).assign(table, 0)
    (tmp_path / "partition.txt").write_text(rows.replace("003.jpg 0\n", ""))
    with pytest.raises(DataError, match=r"main.csv row 5: .*Found ''. A row without partner"):
        split.assign(load(tmp_path, join), 0)


def test_parts_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="Name the column, too"):
        Split(parts={"train": "0"})
    with pytest.raises(ConfigError, match="'1' under train and under test"):
        Split(column="part", parts={"train": ["0", "1"], "test": "1"})


def test_many_rows_are_joined_without_reading_rows_one_by_one(tmp_path: Path) -> None:
    """The partner of each of many rows, whatever their order."""
    count = 20_000
    order = np.random.default_rng(0).permutation(count)
    write(
        tmp_path,
        main="id,x\n" + "".join(f"{k},{k}\n" for k in range(count)),
        more="id,y\n" + "".join(f"{k},{2 * k}\n" for k in order.tolist()),
    )
    cells = load(tmp_path, Join(path=tmp_path / "more.csv", by="id")).cells(["x", "y"])
    assert (cells[:, 1] == 2 * cells[:, 0]).all()
