"""Values that seem to stand for others are said, and others are not."""

import re
from pathlib import Path

import numpy as np
import pytest

from polytask.data.stand_ins import (
    far_off,
    marks_of_nothing,
    stand_in,
    with_another_separator,
    zeros_apart,
)
from tests.data.broken import check, put
from tests.data.conftest import png
from tests.data.test_broken_tables import BASE, each, with_

USUAL = np.linspace(10.0, 40.0, 60)


@pytest.mark.parametrize("value", [-999.0, -200.0, 9999.0, 99999.0, 1e6, -1.0e9])
def test_values_far_from_all_others_are_found(value: float) -> None:
    found = stand_in(np.append(USUAL, [value] * 3))
    assert found is not None and (found.value, found.count) == (value, 3)
    assert (found.low, found.high) == (10.0, 40.0)
    assert stand_in(np.append(USUAL, [value] * 2)) is None  # an outlier or two are no habit


@pytest.mark.parametrize(
    "values",
    [
        np.append(USUAL, [0.0] * 9),
        np.append(USUAL, [50.0] * 9),
        np.append(USUAL - 30.0, [-21.0] * 9),  # temperatures
        np.array([0.0, 1.0] * 40),
        np.array([1.0, 2.0, 99.0] * 40),  # codes
        np.full(80, 5.0),
        np.zeros(0),
        np.round(np.random.default_rng(0).exponential(50.0, 500)),
        np.round(np.random.default_rng(0).normal(0.0, 5.0, 500)),
    ],
)
def test_usual_values_are_none(values: np.ndarray) -> None:
    assert stand_in(values) is None


def test_values_out_of_all_proportion_are_found() -> None:
    for far in ([1e12], [-3e9], [1e12, -5e13, 1e10]):
        found = far_off(np.append(far, USUAL).astype(np.float32))
        assert found.tolist() == list(range(len(far)))
    mostly_zero = np.append(np.zeros(60), [1.0, 2.0, 3e4])
    assert far_off(mostly_zero).tolist() == [62]
    random = np.random.default_rng(0)
    for usual in (
        np.append(USUAL, [4000.0]),  # far, and within proportion
        np.append(USUAL[:5], [1e12]),  # of too few to know
        np.exp(random.normal(0.0, 3.0, 5000)),  # sales and incomes have such tails
        random.pareto(1.2, 5000),
        random.standard_cauchy(2000),
        np.zeros(60),
        np.append(np.zeros(60), [1e12]),  # nothing says what is near
    ):
        assert far_off(usual).tolist() == []


def test_a_person_is_told_of_values_out_of_all_proportion(tmp_path: Path) -> None:
    put(tmp_path, "c.yaml", BASE)
    put(tmp_path, "t.csv", with_("age", "1e12", [7]))
    told = r"age: column age has 1e\+12 in t.csv row 9, out of all proportion .*\(20 to \d+\)"
    assert re.search(told, said(tmp_path))
    put(tmp_path, "t.csv", with_("size", "-1e15", [7]))
    assert re.search(r"row: column size has -1e\+15 in t.csv row 9, out of all", said(tmp_path))


def test_zeros_of_depth_are_told_from_those_that_are_near() -> None:
    depth = np.linspace(500.0, 4000.0, 990)
    found = zeros_apart(np.append(depth, np.zeros(10)))
    assert found is not None and found.count == 10 and found.low == 500.0
    assert zeros_apart(np.append(depth, np.zeros(2))) is None
    assert zeros_apart(np.append(np.linspace(0.1, 4000.0, 990), np.zeros(10))) is None
    assert zeros_apart(np.append(depth - 2000.0, np.zeros(10))) is None
    assert zeros_apart(np.zeros(9)) is None


def test_labels_that_list_others() -> None:
    assert with_another_separator(("a", "b", "a;b"), "|") == ("a;b", ";")
    assert with_another_separator(("a", "b", "a/c"), "|") is None
    assert with_another_separator(("a", "b", "a;b"), ";") is None


def test_a_person_is_told_of_them(tmp_path: Path) -> None:
    put(tmp_path, "c.yaml", BASE)
    put(tmp_path, "t.csv", with_("age", "-999", range(0, 40, 4)))
    told = r"age: of its training labels \d are -999, far from all others \(20 to 28\)"
    assert re.search(told, said(tmp_path))
    put(tmp_path, "t.csv", with_("size", "9999", range(0, 40, 4)))
    assert re.search(r"row: of the training rows of size \d are 9999, far", said(tmp_path))
    put(tmp_path, "t.csv", each("kind", lambda k: ["1", "2", "-100"][k % 3]))
    assert "kind: '-100' is a label like others" in said(tmp_path)


def test_zeros_of_a_map_are_said_unless_it_is_known_what_they_are(tmp_path: Path) -> None:
    config = """\
sources: {own: {kind: table, path: t.csv, media: {photo: image, depth: map}, split: {test: 0.2}}}
inputs: {photo: {kind: image, column: photo, size: 8}}
tasks: {depth: {kind: dense_regression, target: depth}}
trunk: {kind: hard, backbone: {kind: unet, widths: [4, 8]}}
"""
    for k in range(12):
        depth = np.linspace(900.0, 5000.0, 64).reshape(8, 8)
        depth[0, k % 8] = 0
        np.save(tmp_path / f"{k}.npy", depth)
        put(tmp_path, f"{k}.png", png(10 * k))
    put(tmp_path, "t.csv", "photo,depth\n" + "".join(f"{k}.png,{k}.npy\n" for k in range(12)))
    put(tmp_path, "c.yaml", config)
    assert "are 0, far from all others" in said(tmp_path)
    put(tmp_path, "c.yaml", config.replace("target: depth", "target: depth, unknown: 0"))
    assert "far from all others" not in said(tmp_path)


def said(folder: Path) -> str:
    """What a person reads, with which training may begin."""
    begins, text = check(folder)
    assert begins, text
    return text


def test_a_sign_among_signs_is_a_label() -> None:
    assert marks_of_nothing(["NN", "VB", "-100"]) == ["-100"]
    assert marks_of_nothing(["cat", "dog", "?"]) == ["?"]
    assert marks_of_nothing(["NN", "VB", ".", ",", ":"]) == []
    assert marks_of_nothing(["NN", ".", ",", "-100"]) == ["-100"]
