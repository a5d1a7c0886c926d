"""`init` of folders with files for parts, for what is only to be predicted, and for submissions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from polytask.config import load_config
from polytask.survey.drafting import draft
from polytask.workflow import prepare_data

ROWS = 60


def drafted(data: Path, targets: Sequence[str], names: Sequence[str] = ()) -> tuple[Any, str]:
    file = data.parent / "mine.yaml"
    text = draft(data, targets, file, names)
    file.write_text(text)
    return yaml.safe_load(text), text


def table(path: Path, header: str, rows: Sequence[Sequence[object]], mark: str = ",") -> None:
    lines = [header] if header else []
    path.write_text("\n".join([*lines, *(mark.join(map(str, row)) for row in rows)]) + "\n")


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """As contests publish theirs: labels to train on, rows without any, and how to answer."""
    folder = tmp_path / "contest"
    folder.mkdir()
    draw = np.random.default_rng(0)
    rows = [
        (f"r{k}", a, round(b, 2), int(a > 4), int(b > 0.5), int(a > 2))
        for k, (a, b) in enumerate(zip(draw.integers(0, 9, ROWS), draw.random(ROWS), strict=True))
    ]
    table(folder / "train.csv", "id,many,share,toxic,insult,threat", rows)
    table(folder / "test.csv", "id,many,share", [(f"t{k}", *r[1:3]) for k, r in enumerate(rows)])
    answers = [(f"t{k}", 0.5, 0.5, 0.5) for k in range(ROWS)]
    table(folder / "sample_submission.csv", "id,toxic,insult,threat", answers)
    table(
        folder / "test_labels.csv", "id,toxic,insult,threat", [(a, -1, -1, -1) for a, *_ in answers]
    )
    return folder


def test_of_a_contest_the_rows_with_labels_are_drafted(contest: Path) -> None:
    config, text = drafted(contest, ["toxic", "insult", "threat"])
    assert config["sources"]["data"]["path"] == "contest/train.csv"
    assert "# test.csv is left out: its columns are not those of train.csv." in text
    assert list(config["tasks"]) == ["toxic", "insult", "threat"]


@pytest.mark.parametrize("named", ["", "train.csv"])
def test_what_rows_to_predict_lack_is_no_input(contest: Path, named: str) -> None:
    for other in ("sample_submission.csv", "test_labels.csv"):
        (contest / other).unlink()
    file = contest / named if named else contest
    text = draft(file, ["toxic"], contest.parent / "mine.yaml")
    for later in ("insult", "threat"):
        assert f"# {later} is left out: test.csv, which is without labels, lacks it." in text
    assert "beside it" not in text
    assert yaml.safe_load(text)["inputs"]["row"]["columns"] == ["many", "share"]


def test_parts_in_texts_whose_names_say_no_format(tmp_path: Path) -> None:
    """As SemEval publishes tables: `.txt` with a header and tabs, in a file for each part."""
    folder = tmp_path / "English"
    folder.mkdir()
    for part, count in (("dev", 20), ("test", 20), ("train", ROWS)):
        rows = [(f"{part}-{k}", f"word {k} and some more", k % 2, k % 3 > 0) for k in range(count)]
        rows = [(a, b, c, int(d)) for a, b, c, d in rows]
        table(folder / f"2018-E-c-En-{part}.txt", "ID\tTweet\tanger\tjoy", rows, "\t")
    config, _ = drafted(folder, ["anger", "joy"])
    assert {p: Path(f).stem[-5:] for p, f in config["sources"]["data"]["path"].items()} == {
        "train": "train", "validation": "n-dev", "test": "-test",
    }  # fmt: skip
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), None)
    assert [len(prepared.parts[p]["data"]) for p in ("train", "validation", "test")] == [60, 20, 20]
    _, text = drafted(folder / "2018-E-c-En-train.txt", ["anger"])
    assert "2018-E-c-En-dev.txt, 2018-E-c-En-test.txt beside it: to take parts as files" in text


def test_parts_without_headers_are_found_by_the_names_of_their_columns(tmp_path: Path) -> None:
    """As the emotions of Saravia et al. (2018) are published: `text;label` in .txt."""
    folder = tmp_path / "emotions"
    folder.mkdir()
    for part, count in (("train", ROWS), ("val", 20), ("test", 20)):
        rows = [(f"i feel {'so ' * (k % 4)}{k}", ["joy", "anger"][k % 2]) for k in range(count)]
        table(folder / f"{part}.txt", "", rows, ";")
    (folder / "README.txt").write_text("What this is.\n")
    config, _ = drafted(folder, ["label"], ["text", "label"])
    assert list(config["sources"]["data"]["path"]) == ["train", "validation", "test"]
    assert config["sources"]["data"]["columns"] == ["text", "label"]


def test_a_year_behind_a_part_is_no_other_part(tmp_path: Path) -> None:
    folder = tmp_path / "years"
    folder.mkdir()
    for part in ("train2017", "val2017"):
        table(folder / f"clips_{part}.csv", "x,y", [(k, k % 2) for k in range(ROWS)])
    config, _ = drafted(folder, ["y"])
    assert list(config["sources"]["data"]["path"]) == ["train", "validation"]
