"""Known tables of many tasks, from small files as their publishers write them."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from polytask.data.arff import ArffFile
from polytask.data.preparing import prepare
from polytask.data.splits import Split
from polytask.data.tabular import TableInput
from polytask.data.tabular_sets import Adult, Landmine, School, Tox21
from polytask.errors import DataError
from polytask.tasks import Regression


def cells(*arrays: np.ndarray) -> np.ndarray:
    held = np.empty((1, len(arrays)), dtype=object)
    for k, array in enumerate(arrays):
        held[0, k] = array
    return held


def test_school_has_a_column_of_scores_for_each_school(tmp_path: Path) -> None:
    features = [np.array([[1, 2, 1], [3, 4, 1]], np.uint8), np.array([[5, 6, 1]], np.uint8)]
    scores = [np.array([[10], [20]], np.uint8), np.array([[30]], np.uint8)]
    path = tmp_path / "school.mat"
    scipy.io.savemat(path, {"X": cells(*features), "Y": cells(*scores)})
    table = School(path=path).load()
    assert list(table.columns) == ["f.1", "f.2", "school", "score", "score.1", "score.2"]
    assert table.cells(["score.1"])[:, 0].tolist() == [10, 20, None]
    assert table.cells(["f.2"])[:, 0].tolist() == [2, 4, 6]
    assert table.describe(2) == "school.mat school 2 row 1"
    with pytest.raises(DataError, match="no variable 'feature'"):
        Landmine(path=path).load()


def test_a_file_that_is_no_matlab_says_so(tmp_path: Path) -> None:
    (tmp_path / "school.mat").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
        School(path=tmp_path).load()


def test_landmines(tmp_path: Path) -> None:
    features = cells(np.zeros((2, 9)), np.ones((3, 9)))
    labels = cells(np.array([[0], [1]]), np.array([[1], [0], [0]]))
    scipy.io.savemat(tmp_path / "LandmineData.mat", {"feature": features, "label": labels})
    table = Landmine(path=tmp_path).load()
    assert len(table) == 5 and table.cells(["mine.2"])[:, 0].tolist() == [None, None, 1, 0, 0]


def test_tox21_joins_labels_and_fingerprints(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "tox21.csv.gz", "wt") as file:
        file.write("NR-AR,SR-p53,mol_id,smiles\n0,,T1,CC\n1,1,T2,CO\n")
    bits = np.array([[128, 1], [0, 0]], np.uint8)
    np.savez(tmp_path / "tox21_ecfp4_1024.npz", fp_packed=bits)
    table = Tox21(path=tmp_path).load()
    assert table.cells(["NR-AR", "SR-p53"]).tolist() == [[0, None], [1, 1]]
    assert table.cells([f"fp.{k}" for k in range(16)])[0].nonzero()[0].tolist() == [0, 15]
    assert table.describe(1) == "tox21.csv.gz row 3"
    np.savez(tmp_path / "tox21_ecfp4_1024.npz", fp_packed=bits[:1])
    with pytest.raises(DataError, match="2 molecules and 1 fingerprints"):
        Tox21(path=tmp_path).load()


ROW = "39, ?, 77516, Bachelors, 13, Divorced, Sales, Wife, White, Male, 2174, 0, 40, Cuba, "


def test_adult_leaves_remarks_and_points_out(tmp_path: Path) -> None:
    (tmp_path / "adult.data").write_text(f"{ROW}<=50K\n\n{ROW}>50K.\n")
    (tmp_path / "adult.test").write_text(f"|1x3 Cross validator\n{ROW}<=50K.\n")
    table = Adult(path=tmp_path).load()
    assert table.cells(["income"])[:, 0].tolist() == ["<=50K", ">50K", "<=50K"]
    assert table.cells(["workclass", "age"])[0].tolist() == [None, 39]
    assert list(table.fixed_split) == ["train", "train", "test"]  # type: ignore[call-overload]
    assert table.describe(2) == "adult.test row 2"
    (tmp_path / "adult.test").write_text("|\n1, 2\n")
    with pytest.raises(DataError, match=r"adult\.test row 2: expected 15 cells. Found 2"):
        Adult(path=tmp_path).load()


ARFF = "@relation r\n@attribute x numeric\n@attribute kind {a,b}\n@attribute y {0,1}\n@data\n"


def test_values_of_arff_may_have_spaces_and_quotes(tmp_path: Path) -> None:
    head = "% of a river\n@RELATION 'r: -C 1'\n@ATTRIBUTE 'Temp (C)' REAL\n"
    head += "@attribute season {winter, 'late summer' }\n@attribute n{1, 2}\n\n@DATA\n"
    rows = "1.5, winter,1\n% a remark\n?,'late summer', 2\n-3e2 ,?,?\n"
    (tmp_path / "t.arff").write_text(head + rows)
    table = ArffFile(path=tmp_path / "t.arff").load()
    assert table.columns == ("Temp (C)", "season", "n")
    found = table.cells(table.columns).tolist()
    assert found == [[1.5, "winter", "1"], [None, "late summer", "2"], [-300.0, None, None]]
    (tmp_path / "t.arff").write_text(f"{ARFF}1,c,0\n")
    with pytest.raises(DataError, match=r"'c' is no value of 'kind': a, b"):
        ArffFile(path=tmp_path / "t.arff").load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,a,0\n1,c,0\n", r"line \d+, 'c' is no value of 'kind': a, b"),
        ("zero,a,0\n", r"line \d+, 'x' should be a number, found 'zero'"),
        ("1,a\n", r"line \d+ has 2 cells for 3 attributes"),
        ("1,a,0\n@relation again\n", r"line \d+ has 1 cells for 3"),
        (b"1,a,0\n1,\xe4,0\n", r"t\.arff line \d+ is not text in UTF-8: found the byte 0xe4"),
    ],
)
def test_rows_of_arff_that_are_none_are_named(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    more = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "t.arff").write_bytes(ARFF.encode() + more)
    wrong = ARFF.count("\n") + (2 if b"\n1" in more or b"@" in more else 1)
    with pytest.raises(DataError, match=said.replace(r"\d+", str(wrong))):
        ArffFile(path=tmp_path / "t.arff").load()


def test_attributes_of_one_name_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.arff").write_text(ARFF.replace("attribute kind", "attribute x") + "1,a,0\n")
    with pytest.raises(DataError, match=r"t\.arff has two columns named 'x'"):
        ArffFile(path=tmp_path / "t.arff").load()


def test_arff_alone_and_in_a_zip_with_its_publishers_split(tmp_path: Path) -> None:
    (tmp_path / "t.arff").write_text(f"{ARFF}1.5,a,0\n?,?,1\n")
    table = ArffFile(path=tmp_path / "t.arff").load()
    assert table.cells(["x", "kind", "y"]).tolist() == [[1.5, "a", "0"], [None, None, "1"]]
    assert table.fixed_split is None
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("d/s-train.arff", f"{ARFF}1,a,0\n")
        archive.writestr("d/s-test.arff", f"{ARFF}2,b,1\n")
    both = ArffFile(path=tmp_path / "z.zip", members=["d/s-train.arff", "d/s-test.arff"]).load()
    assert list(both.fixed_split) == ["train", "test"]  # type: ignore[call-overload]
    assert both.describe(1) == "d/s-test.arff row 1 of its data"
    with pytest.raises(DataError, match=r"no file 'd/s-tst.arff'. Did you mean 'd/s-test.arff'"):
        ArffFile(path=tmp_path / "z.zip", members=["d/s-tst.arff"]).load()
    (tmp_path / "t.arff").write_text(f"{ARFF}{{0 1, 2 1}}\n")
    with pytest.raises(DataError, match=r"t\.arff cannot be read as ARFF.*write it as CSV"):
        ArffFile(path=tmp_path / "t.arff").load()


def test_a_star_stands_for_columns_and_a_run_remembers_which(tmp_path: Path) -> None:
    (tmp_path / "t.arff").write_text(
        ARFF.replace("attribute kind {a,b}", "attribute x2 numeric")
        + "1,2,0\n3,4,1\n5,6,0\n7,9,1\n"
    )
    source = {"t": ArffFile(path=tmp_path / "t.arff")}
    task = Regression(name="y", input="i", target={"t": "y"})
    some = TableInput(columns={"t": ["x*"]})
    prepare(source, {"i": some}, [task], splits=Split(test=0.25, validation=0.25))
    assert some.columns == {"t": ["x", "x2"]} and some.names == ["x", "x2"]
    again = TableInput(columns={"t": ["x*"]})
    again.load_state(some.state)
    assert again.columns == some.columns
    with pytest.raises(DataError, match="No column of t is named like 'z\\*'"):
        prepare(source, {"i": TableInput(columns={"t": ["z*"]})}, [task])


@pytest.mark.parametrize(
    ("made", "rows", "columns"),
    [(Tox21, 8014, 1038), (School, 15362, 168), (Landmine, 14820, 40), (Adult, 48842, 15)],
)
def test_the_real_sets(real_data: Path, made: type, rows: int, columns: int) -> None:
    table = made().load()
    assert (len(table), len(table.columns)) == (rows, columns)
