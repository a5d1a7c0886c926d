"""Columns that `init` keeps from the inputs, since they say what is to be predicted."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polytask.config import load_config
from polytask.survey.drafting import draft
from polytask.survey.guesses import guess_column
from polytask.survey.persons import guess_folds
from polytask.survey.sameness import gives_away, same_as
from polytask.survey.target_guesses import guess_target

ROWS = 60


def drafted(frame: pd.DataFrame, targets: list[str], folder: Path) -> tuple[dict[str, dict], str]:
    frame.to_csv(folder / "t.csv", index=False)
    text = draft(folder / "t.csv", targets, folder / "mine.yaml")
    return yaml.safe_load(text), text


def columns(config: dict[str, dict]) -> list[str]:
    return list(config["inputs"]["row"]["columns"])


labels = st.lists(st.sampled_from("abc"), min_size=ROWS, max_size=ROWS)


@given(labels, st.permutations([7, 8, 9]), st.integers(0, ROWS - 1))
def test_codes_of_labels_are_told_from_columns_with_one_exception(
    names: list[str], codes: list[int], row: int
) -> None:
    if len(set(names)) < 2:
        return
    cells: list[int | None] = [codes["abc".index(name)] for name in names]
    goal = guess_target("kind", names)
    assert same_as(cells, [goal], {"kind": names}) == "kind"
    gone = [None if k % 3 == 0 else c for k, c in enumerate(cells)]
    if len({c for c in gone if c is not None}) > 1:
        assert same_as(gone, [goal], {"kind": names}) == "kind"
    cells[row] = 10 if names.count(names[row]) > 1 else None
    if cells[row] == 10:
        assert same_as(cells, [goal], {"kind": names}) is None


def test_a_label_s_code_is_no_input(tmp_path: Path) -> None:
    kind = np.arange(ROWS) % 3
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=ROWS), "code": kind * 7})
    frame["kind"] = np.array(["cat", "dog", "cow"])[kind]
    config, text = drafted(frame, ["kind"], tmp_path)
    assert columns(config) == ["x"]
    assert "# code is left out: it is kind in other words." in text


def test_sums_of_targets_are_no_inputs_and_sums_that_are_targets_are_told(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.integers(0, 90, (ROWS, 3)), columns=["casual", "known", "x"])
    frame["all"] = frame.casual + frame.known
    frame["nearly"] = frame["all"] + (np.arange(ROWS) == 3)
    config, text = drafted(frame, ["casual", "known"], tmp_path)
    assert columns(config) == ["x", "nearly"]
    assert "# all is left out: casual and known add up to it." in text
    config, text = drafted(frame, ["all"], tmp_path)
    assert "# all follows exactly from casual, known: leave out what is not known before." in text
    assert columns(config) == ["casual", "known", "x", "nearly"]


def test_folds_divide_rows_and_are_no_input(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=ROWS), "kfold": np.arange(ROWS) % 5})
    frame["kind"] = np.where(frame.x > 0, "a", "b")
    config, text = drafted(frame, ["kind"], tmp_path)
    assert columns(config) == ["x"]
    assert config["sources"]["data"]["split"]["group"] == "kfold"
    assert "kfold is left out: it says which fold this row is in" in text
    frame["patient"] = np.arange(ROWS) // 3
    config, text = drafted(frame, ["kind"], tmp_path)
    assert columns(config) == ["x"]
    assert config["sources"]["data"]["split"]["group"] == "patient"
    assert "kfold is left out: it divides rows into folds" in text


@pytest.mark.parametrize("name", ["fold", "Fold", "kfold", "cv_fold", "folds", "fold_id"])
def test_columns_of_folds(name: str) -> None:
    assert guess_folds({name: [1, 2, 3] * 9}) == name
    assert guess_folds({name: [f"fold{k}" for k in range(5)] * 9}) == name


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("fold", ["train", "test", "val"] * 9),
        ("fold", [0.5, 1.5, 2.5] * 9),
        ("fold", list(range(27))),
        ("unfolded", [1, 2, 3] * 9),
        ("fold", [1, 2, None] * 9),
    ],
)
def test_columns_that_are_no_folds(name: str, cells: list[object]) -> None:
    assert guess_folds({name: cells}) is None


def test_numbers_that_are_codes_are_categories(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"movieId": draw.integers(1, 9, ROWS), "width": draw.integers(1, 9, ROWS)})
    frame["kind"] = draw.choice(["a", "b"], ROWS)
    config, text = drafted(frame, ["kind"], tmp_path)
    assert config["inputs"]["row"]["categories"] == ["movieId"]
    assert "movieId  # category: 8 different numbers, which are codes" in text
    for name, kind in (("zip_code", "category"), ("PULocationID", "category"), ("paid", "number")):
        assert guess_column(name, draw.integers(1, 9, ROWS).tolist(), Path()).kind == kind
    many = draw.permutation(ROWS)
    assert guess_column("zip_code", [*many, many[0]], Path()).kind == "left out"


def test_columns_of_which_one_is_1_are_told_to_be_one_label(tmp_path: Path) -> None:
    kind = np.arange(ROWS) % 3
    frame = pd.DataFrame({name: (kind == k) * 1.0 for k, name in enumerate("abc")})
    frame["x"] = np.random.default_rng(0).normal(size=ROWS)
    _, text = drafted(frame, ["a", "b", "c"], tmp_path)
    assert "# In every row exactly one is 1 of a, b, c." in text
    frame.loc[3, "a"] = 1 - frame.loc[3, "a"]
    assert "exactly one" not in drafted(frame, ["a", "b", "c"], tmp_path)[1]


def test_kinds_of_another_targets_classes_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 8, 80)
    frame = pd.DataFrame({"a": rng.normal(size=80)})
    frame["species (seen)"] = [f"s{k}" for k in kind]
    frame["genus"] = [f"g{k // 2}" for k in kind]
    frame["order"] = [f"o{min(k // 2, 2)}" for k in kind]
    frame["mood"] = rng.choice(["x", "y", "z"], 80)
    # Four rows of each, which are of one genus by coincidence.
    frame["mark"] = [f"m{5 * (k // 2) + row % 5}" for row, k in enumerate(kind)]
    targets = ["species (seen)", "genus", "order", "mood", "mark"]
    config, text = drafted(frame, targets, tmp_path)
    parents = {name: task.get("parent") for name, task in config["tasks"].items()}
    assert parents.pop("species-seen") == "genus" and parents.pop("genus") == "order"
    assert set(parents.values()) == {None}
    assert "each is of one genus" in text
    (tmp_path / "mine.yaml").write_text(text)
    load_config(tmp_path / "mine.yaml")


def test_a_label_without_the_one_above_it_is_no_kind(tmp_path: Path) -> None:
    kind = np.arange(200) % 8
    frame = pd.DataFrame({"a": np.arange(200) / 7, "species": [f"s{k}" for k in kind]})
    frame["genus"] = [f"g{k // 2}" for k in kind]
    assert drafted(frame, ["species", "genus"], tmp_path)[0]["tasks"]["species"]["parent"]
    frame.loc[7, "genus"] = None
    assert "parent" not in drafted(frame, ["species", "genus"], tmp_path)[0]["tasks"]["species"]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([f"t{k}" if k % 4 == 0 else None for k in range(60)], "filled exactly where died is 1"),
        ([None if k % 4 == 0 else k / 7 for k in range(60)], "blank exactly where died is 1"),
        (["DIED" if k % 4 == 0 else ["HOME", "SNF"][k % 2] for k in range(60)], "'DIED' exactly"),
        ([None if k % 4 == 0 and k else k / 7 for k in range(60)], None),  # but for one row
        ([k / 7 for k in range(60)], None),
        ([["a"]] * 60, None),
    ],
)
def test_a_value_or_blanks_of_one_label_alone_give_it_away(
    cells: list[Any], why: str | None
) -> None:
    died = [int(k % 4 == 0) for k in range(60)]
    told = gives_away(cells, [guess_target("died", died)], {"died": died})
    assert (told is None) if why is None else (told is not None and why in told)
    few = gives_away(cells[:30], [guess_target("died", died[:30])], {"died": died[:30]})
    assert few is None  # of eight rows that may be chance
