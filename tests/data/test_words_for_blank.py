"""Words in cells of labels that are taken as blank: a person is told, and how to keep them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from polytask.config.load import load_config
from polytask.data import delimited
from polytask.data.tables import TableFile
from polytask.survey.drafting import draft
from polytask.workflow import prepare_data
from tests.data.broken import check, put

CONFIG = """\
sources: {own: {kind: table, path: t.csv, split: {test: 0.2, validation: 0.2}}}
inputs: {row: {kind: table, columns: [x]}}
tasks: {roof: {kind: multiclass, target: roof}}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
"""
TOLD = "cells of column roof that are taken as blank: 15 'NA', 15 'None'. If such a word is a label"
ROOFS = ["None", "brick", "slate", "NA", ""]


def write(folder: Path, name: str = "t.csv") -> Path:
    """A table in which some roofs are of nothing, some unknown and some blank."""
    found = [ROOFS[k % 5] for k in range(75)]
    path = folder / name
    if path.suffix == ".csv":
        put(folder, name, "x,roof\n" + "".join(f"{k},{roof}\n" for k, roof in enumerate(found)))
    elif path.suffix == ".jsonl":
        rows = [json.dumps({"x": k, "roof": roof}) for k, roof in enumerate(found)]
        put(folder, name, "\n".join(rows))
    else:
        pd.DataFrame({"x": range(75), "roof": found}).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_labels_that_usually_mean_blank_are_told(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    put(tmp_path, "c.yaml", CONFIG.replace("t.csv", name))
    begins, said = check(tmp_path)
    assert begins and f"roof: {TOLD}" in said


def test_who_says_what_is_blank_is_told_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path, "c.yaml", CONFIG.replace("path: t.csv", "path: t.csv, missing: [NA]"))
    begins, said = check(tmp_path)
    assert begins and "taken as blank" not in said
    prepared = prepare_data(load_config(tmp_path / "c.yaml"), None)
    assert sorted(prepared.tasks[0].classes) == ["None", "brick", "slate"]  # type: ignore[attr-defined]


def test_blank_cells_alone_are_no_surprise(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "x,roof\n" + "1,brick\n2,slate\n3,\n" * 20)
    assert TableFile(path=tmp_path / "t.csv").load().taken_as_blank("roof") == ""


def test_a_draft_tells_such_words_too(tmp_path: Path) -> None:
    write(tmp_path)
    text = draft(tmp_path / "t.csv", ["roof"], tmp_path / "c.yaml")
    assert f"# {TOLD}" in text


def test_words_of_a_joined_table_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path, "first.csv", "key,y\n" + "".join(f"{k},{k % 7}\n" for k in range(75)))
    join = "join: [{path: t.csv, by: {key: x}}]"
    config = CONFIG.replace("path: t.csv", f"path: first.csv, {join}").replace("[x]", "[y]")
    put(tmp_path, "c.yaml", config)
    begins, said = check(tmp_path)
    assert begins and f"roof: {TOLD}" in said


def test_beside_numbers_such_a_word_is_no_surprise(tmp_path: Path) -> None:
    put(tmp_path, "t.csv", "x,roof\n" + "1,0\n2,1.5\n3,NA\n" * 20)
    assert TableFile(path=tmp_path / "t.csv").load().taken_as_blank("roof") == ""


def test_a_table_is_read_once_more_for_all_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"t{k}" for k in range(20)]
    rows = [",".join([str(k), *(["None", "a", "b", ""][k % 4] for _ in names)]) for k in range(40)]
    put(tmp_path, "t.csv", ",".join(["x", *names]) + "\n" + "\n".join(rows) + "\n")
    table, read = TableFile(path=tmp_path / "t.csv").load(), []
    original = delimited.words_in
    monkeypatch.setattr(delimited, "words_in", lambda *a: read.append(a) or original(*a))
    assert all("10 'None'" in table.taken_as_blank(name) for name in names)
    assert len(read) == 1


def test_blanks_among_lists_are_no_surprise_either(tmp_path: Path) -> None:
    roofs = [["brick"], None, ["slate", "brick"], "slate"]
    rows = [json.dumps({"x": k, "roof": roofs[k % 4]}) for k in range(40)]
    put(tmp_path, "t.jsonl", "\n".join(rows))
    config = CONFIG.replace("t.csv", "t.jsonl").replace("multiclass", "multilabel")
    put(tmp_path, "c.yaml", config)
    begins, said = check(tmp_path)
    assert begins and "taken as blank" not in said
