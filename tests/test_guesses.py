"""What `polytask init` takes columns for: orders, amounts, codes, persons."""

from pathlib import Path

import pytest

from polytask.errors import DataError
from polytask.survey.guesses import guess_column
from polytask.survey.lines import task_lines
from polytask.survey.orders import ranges_in_order
from polytask.survey.scales import words_in_order
from polytask.survey.target_guesses import guess_target


@pytest.mark.parametrize(
    "ordered",
    [
        ["0-2", "3-9", "10-19", "20-29", "more than 70"],
        ["<18", "18-30", "31 to 60", "60+"],
        ["[0, 10)", "[10, 20)", "[20, 30)"],
        ["Less than $40K", "$40K - $60K", "$60K - $80K", "$120K +"],
        ["0", "1-2", "3 or more"],
        ["under 1000", "1,000 to 2,000", "2,001 to 3,000"],
        ["0-2 years", "3-9 years", "70 years and over"],
        ["1 star", "2 stars", "10 stars"],
    ],
)
def test_ranges_are_put_in_order(ordered: list[str]) -> None:
    assert ranges_in_order(sorted(ordered, reverse=True)) == ordered
    target = guess_target("x", ordered * 3)
    assert (target.kind, target.settings) == ("ordinal", {"classes": ordered})
    assert "have an order" in target.why


@pytest.mark.parametrize(
    "names",
    [
        ["1-0", "0-1", "2-1"],  # results of games
        ["0-1", "0-2", "1-2"],
        ["2020-01-01", "2021-01-01", "2021-02-01"],
        ["3,10", "1,4", "27"],  # lists of labels
        ["under 10 kg", "10 - 20 kg", "20 km"],
        ["0-2", "3-9", "unknown"],
        ["1", "2", "3"],
        ["a1", "a2", "a3"],
    ],
)
def test_what_only_looks_like_ranges_is_left_alone(names: list[str]) -> None:
    assert ranges_in_order(names) is None


@pytest.mark.parametrize(
    ("column", "ordered"),
    [
        ("salt", ["low", "medium", "high"]),
        ("risk", ["Very Low", "Low", "Moderate", "High", "Very High"]),
        ("pain", ["none", "mild", "severe"]),
        ("size", ["S", "M", "L", "XL"]),
        ("smokes", ["never", "sometimes", "often", "always"]),
        ("q7", ["strongly disagree", "disagree", "neutral", "agree", "strongly agree"]),
        ("education", ["some high school", "High School", "bachelor's degree", "Master's degree"]),
        ("ajcc", ["Stage I", "Stage IIA", "Stage IIB", "Stage III", "Stage IV"]),
        ("ajcc", ["grade 1", "grade 2", "grade 10"]),
        ("tumor_stage", ["I", "II", "III", "IV", "IX"]),
        ("grade", ["A", "B", "C", "D", "F"]),
        ("age", ["teens", "twenties", "fourties", "sixties"]),
        ("cefr", ["A1", "A2", "B1", "C1"]),
    ],
)
def test_words_of_a_scale_are_put_in_order(column: str, ordered: list[str]) -> None:
    target = guess_target(column, sorted(ordered, reverse=True) * 3)
    assert (target.kind, target.settings) == ("ordinal", {"classes": ordered})
    assert "words have an order" in target.why


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("mood", ["neutral", "happy", "sad"]),
        ("blood", ["A", "B", "C"]),  # no grade, as far as the column's name says
        ("risk", ["low", "medium", "high", "unknown"]),
        ("risk", ["low", "medium", "moderate"]),  # two words of one place
        ("protein", ["type 1", "type 2", "type 3"]),
        ("letter", ["i", "v", "x"]),
        ("part", ["stage 1", "level 2", "tier 3"]),
        ("number", ["six", "ten", "two"]),
        ("grade", ["stage i", "stage 1", "stage ii"]),
    ],
)
def test_what_is_not_all_of_one_scale_has_no_order(column: str, names: list[str]) -> None:
    target = guess_target(column, names * 3)
    assert target.kind == "multiclass"


def test_two_words_of_a_scale_are_no_order() -> None:
    assert words_in_order(["low", "high"]) is None
    assert guess_target("risk", ["low", "high"] * 3).kind == "binary"


@pytest.mark.parametrize("rare", [-1, 1])
def test_of_two_signs_1_is_yes(rare: int) -> None:
    """Of other labels the rarer one."""
    signs = guess_target("young", [-rare] * 30 + [rare] * 20)
    assert signs.settings["classes"] == ["-1", "1"]
    codes = guess_target("young", [3 - rare] * 30 + [3 + rare] * 20)
    assert codes.settings["classes"] == [str(3 - rare), str(3 + rare)]


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("ethnicity", [0, 1, 2, 3, 4], "multiclass"),
        ("overall_rating", [1, 2, 3, 4, 5], "ordinal"),
        ("KLGrade", [0, 1, 3, 4], "ordinal"),
        ("Stars", ["1", "2", "3"], "ordinal"),
        ("age", [18, 21, 35, 60], "regression"),
        ("age_group", [0, 1, 2, 3], "ordinal"),
        ("stage_name", [1, 2, 3], "ordinal"),
        ("postage", [1, 2, 3], "multiclass"),
        ("opinion", [-2, -1, 0, 1, 2], "ordinal"),
        ("opinion", [-1, 0, 1, 2], "multiclass"),  # -1 may say that it is missing
    ],
)
def test_few_whole_numbers_have_an_order_if_something_says_so(
    name: str, cells: list[object], kind: str
) -> None:
    target = guess_target(name, cells * 3)
    assert target.kind == kind
    assert ("write kind: ordinal if they have an order" in target.why) == (kind == "multiclass")


def test_classes_with_few_examples_are_named() -> None:
    target = guess_target("x", ["a"] * 20 + ["b"] * 5 + ["c"] * 4 + ["d"])
    assert target.rare == {"d": 1, "c": 4}
    assert "by: 1 of 'd', 4 of 'c'" in task_lines([target])[1]
    assert guess_target("x", [0, 1, 0, 0, 0, 0, 0]).rare == {"1": 1}
    assert guess_target("x", [["a", "b"], ["b"], ["b"], ["b", "b"], ["b"]]).rare == {"a": 1}
    assert not guess_target("x", [0.5, 1.5, 2.5]).rare


def test_files_are_no_labels() -> None:
    with pytest.raises(DataError, match=r"files, such as m/0\.png.*kind: segmentation"):
        guess_target("mask", [f"m/{k}.png" for k in range(60)])


@pytest.mark.parametrize(
    ("name", "first", "kind"),
    [
        ("instant", 1, "left out"),
        ("Observation", 0, "left out"),
        ("nr", 7, "left out"),
        ("day", 1, "number"),
        ("sensor_time", 0, "number"),
        ("instant", 5, "number"),
    ],
)
def test_columns_that_number_the_rows_are_no_inputs(name: str, first: int, kind: str) -> None:
    cells = list(range(first, first + 60))
    assert guess_column(name, cells, Path()).kind == kind
    assert guess_column(name, [*cells[1:], cells[0]], Path()).kind == "number"


def test_cells_that_list_numbers_are_no_text() -> None:
    cells = [" ".join(str((k * j) % 255) for j in range(64)) for k in range(30)]
    column = guess_column("pixels", cells, Path())
    assert column.kind == "left out" and "list 64 numbers" in column.why
    assert guess_column("said", [f"{c} times" for c in cells], Path()).kind == "text"


def test_times_without_a_day_are_no_dates() -> None:
    """A date would be of the day on which it is read."""
    times = [f"{hour}:{minute:02}" for hour in range(8, 20) for minute in (0, 15, 30)]
    column = guess_column("seen", times, Path())
    assert column.kind == "left out" and "write them as numbers, 12:30 as 12.5" in column.why
    assert guess_column("shift", ["06:00", "14:00", "22:00"] * 10, Path()).kind == "category"
    assert guess_column("seen", [f"2024-05-31 {time}" for time in times], Path()).kind == "date"


def test_days_may_be_written_as_numbers() -> None:
    days = [20180100 + day for day in range(1, 31)]
    column = guess_column("seen", days, Path())
    assert column.kind == "date" and "such as 20180101" in column.why
    assert guess_column("sales", [*days[1:], 20180199], Path()).kind == "number"
