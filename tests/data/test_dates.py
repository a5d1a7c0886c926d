"""Dates that are given as numbers: days, years, and what is neither."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.data.dates import as_dates
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.errors import DataError
from polytask.survey.guesses import guess_column


def read(*cells: Any) -> list[str]:
    found = as_dates("day", np.array(cells, dtype=object), lambda k: f"row {k + 2}", day_first=None)
    return [str(date)[:10] for date in found]


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        (20180601, "2018-06-01"),
        (np.int64(20180601), "2018-06-01"),
        (20180601.0, "2018-06-01"),
        ("20180601", "2018-06-01"),
        (" 20180601.0", "2018-06-01"),
        (2018, "2018-01-01"),
        ("2018", "2018-01-01"),
    ],
)
def test_whole_numbers_are_days_or_years_whether_or_not_they_are_texts(cell: Any, day: str) -> None:
    assert read(cell, None) == [day, "NaT"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (44000.5, "days as Excel counts them: pandas.to_datetime.*origin='1899-12-30'"),
        (1514764800, "seconds since 1970: .*unit='s'"),
        ("1514764800", "seconds since 1970: .*unit='s'"),
        (1514764800000, "milliseconds since 1970: .*unit='ms'"),
        (20181301, "Write 2024-05-31 or 20240531.$"),
        ("31122018", "Write 2024-05-31"),
        ("180601", "Write 2024-05-31"),
        (-5, "Found -5, a number that is no date"),
        (201806, "Found 201806"),
        (10**400, "a number that is no date"),
    ],
)
def test_other_numbers_are_no_dates(cell: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"row 3: column 'day' should hold dates\..*{told}"):
        read("2018-06-01", cell)


def test_years_do_not_stand_beside_days(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3: .* years alone .* 2018, and 20180601 in row 2"):
        read(20180601, 2018)


def test_a_column_of_days_as_numbers_is_learned_as_the_days_they_are(tmp_path: Path) -> None:
    days = pd.date_range("2018-01-01", periods=40)
    facts = {}
    for how in ("%Y%m%d", "%Y-%m-%d"):
        pd.DataFrame({"day": days.strftime(how)}).to_csv(tmp_path / "t.csv", index=False)
        table = TableFile(path=tmp_path / "t.csv").load()
        some = TableInput(columns={"t.csv": ["day"]}, dates=["day"])
        some.fit([(table, None, np.arange(40))])
        facts[how] = some.state
    assert facts["%Y%m%d"] == facts["%Y-%m-%d"]


@pytest.mark.parametrize(
    "cell",
    ["12:30", " 9:05:01 pm", "now", "Today", "10:30 5 May", "10:30 -0200", "10:30 12/25"],
)
def test_what_would_be_read_as_the_present_day_is_no_date(cell: str) -> None:
    with pytest.raises(DataError, match=r"row 3: column 'day' should hold dates"):
        read("2018-06-01 12:30", cell)


@pytest.mark.parametrize("cell", ["5 May", "May 5", "May", "5/3", "5 May 10:30", "10am", "May '24"])
def test_a_date_without_a_year_is_no_date(cell: str) -> None:
    with pytest.raises(DataError, match=rf"row 3: column 'day' should hold dates .*Found .{cell}"):
        read("2018-06-01 12:30", cell)
    if cell == "5/3":  # and no column of such is drafted as dates
        days = [f"{k % 12 + 1}/{k}" for k in range(1, 29)]
        assert guess_column("day", days, Path()).kind != "date"


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("5 May 24", "2024-05-05"),
        ("10:30 5 May 24", "2024-05-05"),
        ("10:30 2024-05-05", "2024-05-05"),
        ("10:30, 5.5.2024", "2024-05-05"),
        ("10:30 05/05/24", "2024-05-05"),
        ("10:30 am May 5, 2024", "2024-05-05"),
        ("May 2024", "2024-05-01"),
        ("0001-05-05", "0001-05-05"),
    ],
)
def test_a_date_with_a_year_is_one(cell: str, day: str) -> None:
    assert read("2018-06-01", cell) == ["2018-06-01", day]
