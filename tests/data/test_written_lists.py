"""Lists that a table has as texts."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polytask.data.tables import TableFile
from polytask.data.written_lists import read_list
from polytask.errors import DataError
from polytask.survey.drafting import draft

items = st.lists(st.one_of(st.text(max_size=6), st.integers(), st.none(), st.booleans()))


@given(items)
def test_lists_are_read_as_python_and_json_write_them(cells: list[object]) -> None:
    assert read_list(repr(cells)) == cells
    assert read_list(json.dumps(cells)) == cells


@given(st.lists(st.lists(st.text(max_size=4), min_size=1), min_size=1))
def test_lists_in_lists_are_read_too(cells: list[list[str]]) -> None:
    assert read_list(repr(cells)) == cells


words = st.lists(
    st.text(st.characters(codec="ascii", categories=("L", "P")), min_size=1), min_size=1
)


@given(words)
def test_arrays_as_numpy_writes_them(cells: list[str]) -> None:
    with np.printoptions(threshold=10_000):
        assert read_list(str(np.array(cells, dtype=object))) == cells
        assert read_list(str(np.arange(len(cells)))) == list(range(len(cells)))


@pytest.mark.parametrize(
    "text", ["[deleted]", "[a, b]", "a", "['a'", "['a'b]", "[a]['b']", "{'a'}"]
)
def test_other_texts_are_no_lists(text: str) -> None:
    assert read_list(text) is None


def test_a_table_with_lists_says_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("tags,n\n\"['a', 'b']\",1\n,2\n\"['c']\",3\n")
    table = TableFile(path=tmp_path / "t.csv", lists=["tags"]).load()
    assert table.cells(["tags"])[:, 0].tolist() == [["a", "b"], None, ["c"]]
    with pytest.raises(DataError, match=r"t.csv row 2, column 'n': a list such as.*Found '1'"):
        TableFile(path=tmp_path / "t.csv", lists=["n"]).load()
    with pytest.raises(DataError, match=r"`lists` names column 'tag'.*Did you mean 'tags'"):
        TableFile(path=tmp_path / "t.csv", lists=["tag"]).load()


def test_a_table_to_predict_is_read_so_and_needs_no_labels(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("words\n\"['one', 'two']\"\n")
    like = TableFile(path=tmp_path / "t.csv", lists=["words", "tags"])
    table = like.another(tmp_path / "n.csv", ["words"]).load()
    assert table.cells(["words"])[0, 0] == ["one", "two"]


def test_init_drafts_lists_of_labels_and_labels_of_words(tmp_path: Path) -> None:
    rows = [[["a", "b"], ["it", "is", f"w{k}"], [0, k % 2, 1]] for k in range(40)]
    lines = [",".join(f'"{cell}"' for cell in row) for row in rows]
    (tmp_path / "t.csv").write_text("\n".join(["topics,tokens,tags", *lines]))
    drafted = yaml.safe_load(draft(tmp_path / "t.csv", ["tags"], tmp_path / "m.yaml"))
    assert drafted["sources"]["data"]["lists"] == ["topics", "tokens", "tags"]
    assert drafted["tasks"]["tags"]["kind"] == "tagging"
    assert drafted["inputs"]["words"]["column"] == "tokens"
    rows = [[["a"] if k % 2 else ["a", "b"], f"what is {k} of {k % 3}"] for k in range(40)]
    lines = [f'"{topics}",{text}' for topics, text in rows]
    (tmp_path / "t.csv").write_text("\n".join(["topics,text", *lines]))
    drafted = yaml.safe_load(draft(tmp_path / "t.csv", ["topics"], tmp_path / "m.yaml"))
    assert drafted["tasks"]["topics"]["kind"] == "multilabel"
    assert "separator" not in drafted["tasks"]["topics"]
