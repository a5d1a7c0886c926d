"""Broken data that a draft or a profile is asked for: refused in words, as by a check."""

import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from polytask.cli import app
from polytask.data.disguises import require_folder, require_openable
from polytask.data.tables import TableFile
from polytask.errors import CannotWrite, DataError
from polytask.survey.drafting import draft
from polytask.survey.profile import profile_data
from polytask.survey.showing import write
from tests.data.broken import FOREIGN, check, put
from tests.data.conftest import png


def stored() -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    pd.DataFrame({"x": range(60), "kind": ["cat", "dog"] * 30}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"PAR1", "it was cut off"),
        (stored()[:-300], "it was cut off"),
        (b"x,kind\n1,cat\n", "it does not begin as Parquet does. If it is text"),
    ],
)
def test_parquet_that_is_none(content: bytes, told: str, tmp_path: Path) -> None:
    put(tmp_path, "t.parquet", content)
    asked = (
        lambda: draft(tmp_path / "t.parquet", ["kind"], tmp_path / "c.yaml"),
        lambda: profile_data(tmp_path / "t.parquet"),
    )
    for ask in asked:
        with pytest.raises(DataError, match=f"t.parquet cannot be read as Parquet: {told}") as said:
            ask()
        assert not FOREIGN.search(str(said.value))


def test_parquet_to_predict_that_was_cut(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "x,kind\n1,cat\n")
    put(tmp_path, "n.parquet", stored()[:-300])
    with pytest.raises(DataError, match=r"n.parquet cannot be read as Parquet: it was cut off"):
        TableFile(path=tmp_path / "t.csv").another(tmp_path / "n.parquet", ["x"])


@pytest.mark.parametrize("cell", [{"v": "cat"}, {"v": [1, 2]}])
def test_objects_are_no_labels(cell: dict[str, object], tmp_path: Path) -> None:
    rows = [json.dumps({"x": k, "kind": cell}) for k in range(40)]
    put(tmp_path, "t.jsonl", "\n".join(rows))
    with pytest.raises(DataError, match=r"'kind' can be no target: its cells are objects .*\{'v'"):
        draft(tmp_path / "t.jsonl", ["kind"], tmp_path / "c.yaml")


@contextmanager
def somebody() -> Iterator[None]:
    """Files are opened as somebody to whom they can be forbidden."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, as those of tests are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_folders_that_must_not_be_read(place: Path) -> None:
    put(place, "locked/t.csv", "x,kind\n" + "1,cat\n2,dog\n" * 20)
    put(place, "names/t.csv", "x,kind\n" + "1,cat\n2,dog\n" * 20)
    asked = (require_openable, require_folder)
    output = ["--output", str(place / "c.yaml")]
    command = ["init", str(place / "names" / "t.csv"), "--targets", "kind", *output]
    CliRunner().invoke(app, command)  # what it imports may not be read either
    (place / "c.yaml").unlink(missing_ok=True)
    (place / "locked").chmod(0)
    (place / "names").chmod(0o311)  # its files may be opened, but not listed
    try:
        with somebody():
            for ask in asked:
                with pytest.raises(DataError, match="locked cannot be opened: Permission denied"):
                    ask(place / "locked")
            with pytest.raises(DataError, match=r"t.csv cannot be opened: Permission denied"):
                require_openable(place / "locked" / "t.csv")
            done = CliRunner().invoke(app, command)
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
        assert "names cannot be opened: Permission denied" in done.output.replace("\n", " ")
    finally:
        (place / "locked").chmod(0o755)
        (place / "names").chmod(0o755)


@pytest.mark.parametrize(("name", "content"), [("t.csv", "x,kind\n"), ("t.json", "[]")])
def test_a_table_without_rows(name: str, content: str, tmp_path: Path) -> None:
    put(tmp_path, name, content)
    with pytest.raises(DataError, match=f"{name} has no rows below the columns' names"):
        profile_data(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} has no rows below the columns' names"):
        draft(tmp_path / name, ["kind"], tmp_path / "c.yaml")


def test_a_class_that_falls_into_the_test_part_is_left_out_of_it(tmp_path: Path) -> None:
    for label, count in (("a", 12), ("b", 12), ("c", 1)):
        for k in range(count):
            put(tmp_path, f"ph/{label}/{k}.png", png(k))
    found = []
    for seed in range(4):  # by which a single picture is in another part
        text = draft(tmp_path / "ph", [], tmp_path / "c.yaml")
        put(tmp_path, "c.yaml", text.replace("split: {", f"split: {{seed: {seed}, "))
        begins, said = check(tmp_path)
        assert begins, said
        found.append("left out 1 label of label that training rows lack: c 1" in said)
    assert any(found) and not all(found)


def test_a_row_with_another_number_of_labels_than_of_words(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b", f"c{k % 4}"], "tags": ["X", "Y", "X"]} for k in range(40)]
    rows[6]["tags"] = ["X", "Y"]
    put(tmp_path, "t.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"t.jsonl row 7: column 'tags' .* 2 labels for 3 words"):
        draft(tmp_path / "t.jsonl", ["tags"], tmp_path / "c.yaml")


def test_a_profile_does_not_go_where_a_file_is(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "x,kind\n" + "1,cat\n2,dog\n" * 20)
    facts = profile_data(tmp_path / "t.csv")
    with pytest.raises(CannotWrite, match=r"t.csv' cannot be written, for a file .* Name another"):
        write(facts, tmp_path / "t.csv", "t")
