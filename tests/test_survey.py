"""`polytask init` and `polytask profile`: guesses with reasons that train, and numbers."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config import load_config
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.guesses import guess_column
from polytask.survey.profile import profile_data, profile_prepared
from polytask.survey.showing import tables, verdict
from polytask.survey.target_guesses import guess_target
from polytask.workflow import Silent, prepare_data, train
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def people(rows: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(0)
    age = random.integers(18, 90, rows).astype(float)
    made = pd.DataFrame(
        {
            "id": np.arange(rows) + 1000,
            "age": np.where(random.random(rows) < 0.2, np.nan, age),
            "home town": random.choice(["Ulm", "Bonn", "Kiel: north"], rows),
            "joined": pd.date_range("2020-01-01", periods=rows, freq="9D").strftime("%Y-%m-%d"),
            "about": [
                f"likes {a} and long walks on day {k}"
                for k, a in enumerate(random.choice(["tea", "cats"], rows))
            ],
            "always": 1,
            "yes": random.choice(["on", "off"], rows),
            "sick?": (age > 60).astype(int),
            "pay": random.normal(30, 5, rows).round(2),
            "stars": random.integers(1, 6, rows),
            "tags": random.choice(["a|b", "b", "a|c", "c"], rows),
        }
    )
    made.loc[3, "pay"] = np.nan
    return made


def test_a_drafted_table_checks_trains_and_says_why(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "my data.csv", index=False)
    file = tmp_path / "conf" / "people.yaml"
    done = CliRunner().invoke(
        app,
        [
            "init",
            str(tmp_path / "my data.csv"),
            "--targets",
            "sick?,pay, stars,tags,yes",
            "--output",
            str(file),
        ],
    )
    assert done.exit_code == 0, done.output
    text = file.read_text()
    assert "# id is left out: every row has another one" in text
    assert "# always is left out: it says the same in every row" in text
    assert '- "home town"  # category: 3 different values' in text
    assert "; 1 labels missing" in text and "dates: [joined]" in text and "texts: [about]" in text
    config = load_config(file, ["training.epochs=1", "training.threads=1"])
    kinds = {name: task.chosen for name, task in config.tasks.items()}
    assert kinds == {
        "sick": "binary",
        "pay": "regression",
        "stars": "ordinal",
        "tags": "multilabel",
        "yes": "binary",
    }
    assert train(config, tmp_path / "runs", Silent(), [])


def test_rows_that_go_on_in_time_are_told(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=60, freq="D").strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "y": np.random.default_rng(0).normal(size=60)})
    for order, told in ((frame, True), (frame[::-1], True), (frame.sample(frac=1), False)):
        order.to_csv(tmp_path / "t.csv", index=False)
        text = draft(tmp_path / "t.csv", ["y"], tmp_path / "c.yaml")
        assert ("# rows go on in time (day)" in text) == told


def test_few_rows_of_a_table_are_seen_more_often(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for rows, epochs in ((400, 200), (4000, 50)):
        frame = pd.DataFrame(draws.normal(size=(rows, 2)), columns=["x", "y"])
        frame.to_csv(tmp_path / "t.csv", index=False)
        text = draft(tmp_path / "t.csv", ["y"], tmp_path / "c.yaml")
        assert f"epochs: {epochs}}}" in text


def test_a_draft_overwrites_nothing_and_needs_known_targets(tmp_path: Path) -> None:
    people(30).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text("mine")
    told = CliRunner().invoke(
        app,
        ["init", str(tmp_path / "t.csv"), "--targets", "pay", "--output", str(tmp_path / "t.yaml")],
    )
    assert told.exit_code == 1 and (tmp_path / "t.yaml").read_text() == "mine"
    with pytest.raises(DataError, match=r"no column 'payy' to predict. Did you mean 'pay'"):
        draft(tmp_path / "t.csv", ["payy"], tmp_path / "x.yaml")
    with pytest.raises(DataError, match="under --targets, of: id, age"):
        draft(tmp_path / "t.csv", [], tmp_path / "x.yaml")
    with pytest.raises(DataError, match="too many for classes"):
        draft(tmp_path / "t.csv", ["about"], tmp_path / "x.yaml")


@pytest.mark.parametrize("parts", [(), ("train", "val", "test")])
@pytest.mark.parametrize("kind", ["image", "sound"])
def test_class_folders_are_drafted_and_train(
    kind: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    for part in parts or ("",):
        for k, label in enumerate(("cat", "big dog")):
            for n in range(12):
                path = (
                    tmp_path / "pets" / part / label / f"{n}.{'png' if kind == 'image' else 'wav'}"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                sound = riff(wave(0.1, pitch=200 + n + 300 * k))
                content = png(20 * n, (30, 30)) if kind == "image" else sound
                path.write_bytes(content)
    text = draft(tmp_path / "pets", [], tmp_path / "pets.yaml")
    (tmp_path / "pets.yaml").write_text(text)
    small = "inputs.picture.body.widths=[4]" if kind == "image" else "inputs.sound.body.width=4"
    config = load_config(tmp_path / "pets.yaml", ["training.epochs=1", "training.threads=1", small])
    assert ("fixed: true" in text) == bool(parts)
    assert train(config, tmp_path / "runs", Silent(), [])


def test_pictures_of_a_table_are_read_near_their_size(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(png(20 * n, (90, 40 + n)))
    (tmp_path / "0.png").write_bytes(b"no picture")
    made = pd.DataFrame({"file": [f"{n}.png" for n in range(12)], "age": random.normal(size=12)})
    made.loc[5, "file"] = None
    made.to_csv(tmp_path / "faces.csv", index=False)
    text = draft(tmp_path / "faces.csv", ["age"], tmp_path / "faces.yaml")
    assert "size: 96" in text and "are 90 to 90" in text and "1 of 11 cannot be read" in text
    (tmp_path / "faces.yaml").write_text(text)
    assert load_config(tmp_path / "faces.yaml")
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(b"no picture")
    text = draft(tmp_path / "faces.csv", ["age"], tmp_path / "faces.yaml")
    assert "None of 11 pictures looked at can be read" in text and "size: 64" in text


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1.5, 2, None, 3], "number"),
        (["1", "2", "x"], "category"),
        (["2020-01-01", "2021-05-06 10:00"], "date"),
        ([True, False, True], "category"),
        ([None, None], "left out"),
        (["train", "val", "test"], "split"),
        ([f"u{k}" for k in range(30)], "left out"),
    ],
)
def test_columns_are_guessed(cells: list[object], kind: str, tmp_path: Path) -> None:
    name = "split" if kind == "split" else "x"
    assert guess_column(name, cells, tmp_path).kind == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([0, 1, 1], "binary"),
        (["low", "high", "high"], "binary"),
        ([1, 2, 3, 2], "multiclass"),
        ([10, 20, 40], "multiclass"),
        ([0.5, 1.5, 2.0], "regression"),
        (list(range(50)), "regression"),
        (["a", "b", "c", "a"], "multiclass"),
        (["a,b", "b", "a", "c,a", "b,c", "b"], "multilabel"),
    ],
)
def test_targets_are_guessed(cells: list[object], kind: str) -> None:
    assert guess_target("x", cells).kind == kind


def test_a_profile_counts_labels_overlap_blanks_outliers_and_leaks(tmp_path: Path) -> None:
    table = people(100)[["age", "pay"]]
    table["part"] = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    table["a"] = [*([1.0, 0.0] * 25), *([np.nan] * 10), *([1.0, 0.0] * 20)]
    table["b"] = [*([np.nan] * 50), *([1.0, 2.5] * 25)]
    table.loc[90, ["age", "pay"]] = table.loc[20, ["age", "pay"]] = [33.0, 12.5]
    table.loc[5, "pay"] = 9e5
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text(
        "sources: {t: {kind: table, path: t.csv, split: {column: part}}}\n"
        "inputs: {x: {kind: table, columns: [age, pay]}}\n"
        "tasks:\n  a: {kind: binary, target: a}\n  b: {kind: regression, target: b}\n"
    )
    facts = profile_prepared(prepare_data(load_config(tmp_path / "t.yaml"), None))
    assert facts["overlap"]["x"] == {"tasks": ["a", "b"], "rows": [[50, 0], [0, 10]]}
    assert facts["columns"]["x"]["pay"]["outliers"] == 1
    blank = table["age"].isna()
    assert facts["columns"]["x"]["age"]["missing"]["train"] == int(blank[:60].sum())
    (leak,) = [facts["leaks"]["t"]["x"]["test"]]
    assert leak["rows"] == 1 and leak["examples"] == ["t.csv row 92 is t.csv row 22"]
    assert "1 held-out rows" in verdict(facts) and "1 pairs of tasks of x share no" in verdict(
        facts
    )
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["profile", str(tmp_path / "t.yaml"), "--output", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "profile.json").read_text()) == json.loads(json.dumps(facts))
    assert (out / "profile" / "overlap-x.png").read_bytes().startswith(b"\x89PNG")
    assert "Held-out rows" in (out / "profile.html").read_text()


def test_a_repeated_text_leaks_whatever_words_stand_beside_it(tmp_path: Path) -> None:
    texts = [f"word{k} again" for k in range(30)]
    texts[20] = texts[3]
    texts[2] = "w" * 15  # makes room for its letters in the batch of training rows only
    table = pd.DataFrame({"text": texts, "part": ["train"] * 20 + ["val"] * 5 + ["test"] * 5})
    table["y"] = [k % 2 for k in range(30)]
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text(
        "sources: {t: {kind: table, path: t.csv, split: {column: part}}}\n"
        "inputs: {x: {kind: text, column: text, min_count: 1, characters: 20, pool: mean}}\n"
        "tasks: {y: {kind: binary, target: y}}\n"
    )
    facts = profile_prepared(prepare_data(load_config(tmp_path / "t.yaml"), None))
    assert facts["leaks"]["t"]["x"]["validation"]["rows"] == 1


def test_a_table_alone_has_a_profile_of_its_columns(tmp_path: Path) -> None:
    table = pd.concat([people(30), people(30)[:2]])
    table.to_csv(tmp_path / "t.csv", index=False)
    facts = profile_data(tmp_path / "t.csv")
    assert facts["rows"] == 32 and facts["repeated_rows"] == 2
    assert facts["columns"]["age"]["missing"] == int(table["age"].isna().sum())
    assert tables(facts)[0][0] == "Columns" and "2 of 32 rows repeat" in verdict(facts)


def test_a_table_without_header_is_profiled_under_names(tmp_path: Path) -> None:
    lines = [f"text {'ab'[k % 2]} {k}\t{k % 3}" for k in range(30)]
    lines[4] = '"' + lines[4]  # a letter, for nothing closes it
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    assert "does the first line of the file name the columns?" in verdict(
        profile_data(tmp_path / "t.tsv")
    )
    out = tmp_path / "out"
    args = ["profile", str(tmp_path / "t.tsv"), "--columns", "text, mood", "--output", str(out)]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    facts = json.loads((out / "profile.json").read_text())
    assert facts["rows"] == 30 and list(facts["columns"]) == ["text", "mood"]
    assert verdict(facts) == "30 rows, none of them twice."
    (tmp_path / "x.yaml").write_text("a: 1")
    refused = CliRunner().invoke(app, ["profile", str(tmp_path / "x.yaml"), "--columns", "a"])
    assert refused.exit_code == 1 and "--columns goes with a table" in refused.output


@pytest.mark.parametrize("command", ["init", "profile"])
def test_pipes_and_links_to_nothing_are_told_at_once(tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop").symlink_to("loop")
    for name, said in (("pipe.csv", "no file but a device or a pipe"), ("loop", "a link to loop")):
        given = [command, str(tmp_path / name), "--output", str(tmp_path / "o")]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 1 and said in done.output, done.output
