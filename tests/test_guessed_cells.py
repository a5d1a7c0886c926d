"""Guesses about columns whose cells are not what they seem: numbers with something beside them, one
bad cell, counts and ids by their names."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from polytask.data.sources import Table
from polytask.errors import DataError
from polytask.survey.codes import are_codes
from polytask.survey.drafting import draft
from polytask.survey.guesses import guess_column
from polytask.survey.notations import marks_of_blanks, with_units
from polytask.survey.persons import guess_group
from polytask.survey.target_guesses import guess_target
from polytask.survey.targets import chosen
from tests.data.conftest import png

MEASURES = [
    ("12.5 kg", "{} kg"), ("87,3%", "{}%"), ("€ 3", "€ {}"), ("29cm", "{}cm"), ("-4.0 °C", "{} °C"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "form"), MEASURES)
def test_numbers_with_something_beside_them_are_told(first: str, form: str) -> None:
    cells = [first, *(form.format(k) for k in range(40))]
    assert with_units(cells) == first
    column = guess_column("size", cells, Path())
    assert column.kind == "left out" and f"numbers such as {first}, remove what" in column.why
    with pytest.raises(DataError, match=r"Column 'size' can be no target.*something beside them"):
        guess_target("size", cells)


@pytest.mark.parametrize(
    "cells",
    [
        ["12", "13"],
        ["1 kg", "2 g"],
        ["1 kg", "two"],
        ["2024-01-02", "2024-01-03"],
        ["1:30", "2:30"],
        ["a1", "a2"],
        [],
    ],
)
def test_other_cells_are_no_numbers_with_units(cells: list[str]) -> None:
    assert with_units(cells) is None


def test_few_amounts_stay_classes_in_their_order() -> None:
    target = guess_target("dose", ["1 mg", "10 mg", "2 mg"] * 10)
    assert target.kind == "ordinal" and target.settings["classes"] == ["1 mg", "2 mg", "10 mg"]


@pytest.mark.parametrize("bad", ["oops", float("inf"), "> 89"])
def test_one_bad_cell_does_not_hide_a_column_of_numbers(bad: Any) -> None:
    cells = [k / 7 for k in range(60)]
    cells[40] = bad
    column = guess_column("x", cells, Path())
    assert column.kind == "number"
    assert column.doubt.startswith(f"x holds numbers in 59 of 60 rows, and '{bad}' is none")


@pytest.mark.parametrize("target", ["stay", "died"])
def test_a_table_with_a_bad_cell_is_drafted_with_a_comment(tmp_path: Path, target: str) -> None:
    rows = [f"{20 + k % 60},{k / 3:.2f},{k % 2},{k}" for k in range(80)]
    rows[33] = rows[33].replace("53,", "> 89,")
    (tmp_path / "pictures").mkdir()  # whose names are numbers, beside the table's folder
    for k in range(80):
        (tmp_path / "pictures" / f"{k:03}.png").write_bytes(png())
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "t.csv").write_text("age,stay,died,dose\n" + "\n".join(rows))
    text = draft(tmp_path / "tables" / "t.csv", [target], tmp_path / "mine.yaml")
    assert "# age holds numbers in 79 of 80 rows, and '> 89' is none: correct it, or" in text


def test_texts_with_digits_are_declared_as_categories() -> None:
    times = [f"{k % 24}.00.00" for k in range(240)]
    assert guess_column("Time", times, Path()).codes
    words = guess_column("color", ["red", "green", "blue"] * 20, Path())
    assert words.kind == "category" and not words.codes


def test_rows_that_files_of_parts_count_anew_are_still_counted() -> None:
    counts = [*range(200), *range(40), *range(30)]
    assert guess_column("index", counts, Path()).why == "it numbers the rows, from 0 on"
    assert guess_column("Sr No.", [*range(1, 50), *range(1, 30)], Path()).kind == "left out"
    assert guess_column("score", [*range(30)] * 5, Path()).kind == "number"
    assert guess_column("cycle", [*range(1, 200), *range(1, 90)], Path()).kind == "number"
    assert guess_column("MYKEY", [110011 + 7 * k for k in range(50)], Path()).kind == "left out"


def test_how_many_there_are_is_no_person() -> None:
    counts = [k % 7 for k in range(50)]
    for name in ("Customers", "Number of H-Bond Donors", "n_patients", "num_users"):
        assert guess_group({name: counts}) is None, name
    for name in (
        "customer",
        "Customer ID",
        "donor",
        "uniquepid",
        "reviewerID",
        "patientunitstayid",
    ):
        found = guess_group({name: [f"p{k}" for k in counts]})
        assert found == (name if name != "patientunitstayid" else None), name
    assert guess_group({"patients": [f"p{k}" for k in counts]}) == "patients"


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("hospitalid", True), ("patientunitstayid", True), ("store_id", True), ("Shop ID", True),
        ("fluid", False), ("acid", False), ("paid", False), ("humid", False),
    ],
)  # fmt: skip
def test_ids_of_known_things_are_codes(name: str, codes: bool) -> None:
    assert are_codes(name, [3, 1, 4, 1, 5]) is codes


def test_question_marks_beside_numbers_are_blanks_however_many() -> None:
    assert marks_of_blanks(["?"] * 84 + [*range(16)]) == ["?"]
    assert marks_of_blanks(["?"] * 40 + [1, 2]) == []
    assert marks_of_blanks(["-"] * 84 + [*range(16)]) == []  # it may be a label


def test_targets_of_one_name_are_of_one_kind() -> None:
    cells = {f"G{k}": [*range(20 + (k == 2))] * 10 for k in (1, 2, 3)}
    cells = {name: values[:200] for name, values in cells.items()}
    frame = pd.DataFrame(cells)
    table = Table("marks", frame, {}, "key", str)
    goals, _ = chosen(["G1", "G2", "G3"], table, cells)
    assert [goal.kind for goal in goals] == ["regression"] * 3
    alone, _ = chosen(["G1"], table, cells)
    assert alone[0].kind == "multiclass"
