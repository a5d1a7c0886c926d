"""Splits: disjoint, complete, exact, pure in groups, even in strata."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data.media import ArrayMedia, FileMedia
from polytask.data.sources import Table
from polytask.data.splits import Split, held_out_and_seen, part_begun
from polytask.errors import ConfigError, DataError


def table(**columns: object) -> Table:
    frame = pd.DataFrame(columns)
    return Table("t", frame, {}, "key", lambda row: f"t.csv row {row + 2}")


SHARES = st.tuples(st.floats(0.05, 0.4), st.floats(0.05, 0.4))


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 300), SHARES, st.integers(0, 5), st.integers(1, 7))
def test_parts_are_disjoint_complete_exact_and_even(
    rows: int, shares: tuple[float, float], seed: int, classes: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, rows)
    some = table(label=[f"c{v}" for v in labels])
    parts = Split(test=shares[0], validation=shares[1], stratify="label").assign(some, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(rows))
    assert len(parts["test"]) == round(shares[0] * rows)
    assert len(parts["validation"]) == round(shares[1] * rows)
    for picked in parts.values():
        for value in range(classes):
            exact = (labels == value).sum() * len(picked) / rows
            assert abs((labels[picked] == value).sum() - exact) < 1 + 1e-6
    again = Split(test=shares[0], validation=shares[1], stratify="label").assign(some, seed)
    assert all((parts[p] == again[p]).all() for p in parts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=25), st.integers(0, 3), st.booleans())
def test_no_group_is_in_two_parts(sizes: list[int], seed: int, stratified: bool) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    some = table(speaker=groups, sex=np.array(["f", "m"])[groups % 2])
    split = Split(test=0.2, validation=0.2, group="speaker", stratify="sex" if stratified else None)
    parts = split.assign(some, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(groups)))
    seen = [set(groups[rows].tolist()) for rows in parts.values()]
    assert all(len(s) > 0 for s in seen)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    if max(sizes) * 10 < len(groups):
        assert abs(len(parts["test"]) - 0.2 * len(groups)) <= max(sizes)


def test_seeds_differ_and_an_own_seed_wins() -> None:
    some = table(x=range(100))
    drawn = [Split().assign(some, seed)["test"].tolist() for seed in (0, 1)]
    own = [Split(seed=3).assign(some, seed)["test"].tolist() for seed in (0, 1)]
    assert drawn[0] != drawn[1] and own[0] == own[1]


def test_numbers_are_stratified_by_tenths() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    parts = Split(test=0.2, validation=0.0, stratify="y").assign(table(y=values), 0)
    assert len(parts["validation"]) == 0
    assert abs(np.median(values[parts["test"]]) - np.median(values)) < 0.05


def test_a_column_names_the_parts() -> None:
    names = ["train", "Training", "dev", "VAL ", "test", "train"]
    parts = Split(column="part").assign(table(part=names), 0)
    assert {p: r.tolist() for p, r in parts.items()} == {
        "train": [0, 1, 5],
        "validation": [2, 3],
        "test": [4],
    }
    with pytest.raises(DataError, match=r"t\.csv row 3: .*Found 'trian'"):
        Split(column="part").assign(table(part=["train", "trian"]), 0)
    with pytest.raises(DataError, match="Did you mean 'part'"):
        Split(column="prt").assign(table(part=["train"]), 0)


def test_the_publishers_split_keeps_its_test_and_gives_validation_from_train() -> None:
    some = table(label=["a", "b"] * 50)
    with pytest.raises(DataError, match="without a split of its own"):
        Split(fixed=True).assign(some, 0)
    some.fixed_split = pd.Series(["train"] * 80 + ["test"] * 20)
    parts = Split(fixed=True, validation=0.1, stratify="label").assign(some, 0)
    assert parts["test"].tolist() == list(range(80, 100))
    assert len(parts["validation"]) == 10 and parts["validation"].max() < 80
    assert sum(row % 2 for row in parts["validation"].tolist()) == 5


def test_impossible_splits_say_so() -> None:
    with pytest.raises(ConfigError, match="leave rows to train on"):
        Split(test=0.6, validation=0.4)
    with pytest.raises(ConfigError, match="exclude each other"):
        Split(column="a", fixed=True)
    with pytest.raises(DataError, match=r"test part of t is empty: it has 3 rows"):
        Split().assign(table(x=[1, 2, 3]), 0)
    with pytest.raises(DataError, match=r"is empty.* in 2 groups"):
        Split(group="g").assign(table(g=["a", "b"] * 10), 0)
    with pytest.raises(DataError, match=r"row 3: the split's group 'g' is blank"):
        Split(group="g").assign(table(g=["a", None]), 0)


def test_held_out_rows_that_an_earlier_training_learned_from_are_counted() -> None:
    rows = torch.arange
    now = {"train": {"a": rows(0, 6)}, "validation": {"a": rows(6, 8)}, "test": {"a": rows(8, 12)}}
    earlier = {"train": {"other name": rows(7, 10)}, "test": {"other name": rows(10, 12)}}
    assert held_out_and_seen(now, {"a": "x"}, earlier, {"other name": "x"}) == {"a": 3}
    assert held_out_and_seen(now, {"a": "x"}, earlier, {"other name": "y"}) == {}
    assert held_out_and_seen(now, {"a": "x"}, now, {"a": "x"}) == {}


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_one_file_are_a_group(seed: int) -> None:
    paths = [Path(f"{k // 3}.png") for k in range(60)]
    rows = table(x=range(60))
    rows.media = {"image": FileMedia("image", paths)}
    parts = Split(test=0.2, validation=0.2, group="image").assign(rows, seed)
    named = [{paths[row] for row in of.tolist()} for of in parts.values()]
    assert [len(of) for of in parts.values()] == [36, 12, 12]
    assert sum(map(len, named)) == len(set.union(*named)) == 20
    rows.media = {"image": FileMedia("image", [None, *paths[1:]])}
    with pytest.raises(DataError, match="the split's group 'image' is blank"):
        Split(group="image").assign(rows, seed)
    rows.media = {"image": ArrayMedia(60, lambda item: np.zeros((2, 2, 3), np.uint8))}
    with pytest.raises(DataError, match="needs a column of plain values"):
        Split(group="image").assign(rows, seed)
    named_by = Split(test=0.0, validation=0.0, column="part", group="image")
    rows = table(part=["train", "test"] * 30)
    rows.media = {"image": FileMedia("image", paths)}
    with pytest.raises(DataError, match=r"'0\.png' in the column 'image' of the split's `group`"):
        named_by.assign(rows, seed)


def test_parts_that_names_of_folders_begin_with() -> None:
    begun = {"train-clean-100": "train", "dev_other": "validation", "Test": "test"}
    assert {name: part_begun(name) for name in begun} == begun
    assert [part_begun(name) for name in ("training2", "my-train", "19", "")] == [None] * 4
