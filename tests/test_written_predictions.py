"""What `predict` writes, and where."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from polytask.cli import app
from polytask.cli.writing import write_table


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose tasks are called as columns of predictions are, of a table and its texts."""
    home = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    kinds = np.where(np.arange(40) % 2 == 0, "cat", "dog")
    words = [f"a {kind} sleeps" for kind in kinds]
    frame = pd.DataFrame({"x": rng.normal(size=40), "kind": kinds, "words": words})
    frame.to_csv(home / "t.csv", index=False)
    (home / "m.yaml").write_text(
        "name: m\n"
        "sources: {rows: {kind: table, path: t.csv}}\n"
        "inputs:\n"
        "  said: {kind: text, columns: words}\n"
        "tasks:\n"
        "  input: {kind: multiclass, target: kind, input: said}\n"
        "  said: {kind: regression, target: x, input: said}\n"
        "trunk: {kind: hard, backbone: {kind: recurrent, width: 4, layers: 1}}\n"
        "training: {epochs: 1, threads: 1, accelerator: cpu}\n"
    )
    result = run("train", home / "m.yaml", "--runs", home / "runs")
    assert result.exit_code == 0, result.output
    return home


def test_tasks_keep_their_columns_whatever_they_are_called(home: Path) -> None:
    result = run(
        "predict", "--runs", home / "runs", "--input", home / "t.csv", "--output", home / "o.csv"
    )
    assert result.exit_code == 0, result.output
    found = pd.read_csv(home / "o.csv")
    assert list(found.columns)[:3] == ["row", "said text", "input"]
    assert found["row"][0] == "t.csv row 2"
    assert found["said text"][0] == "a cat sleeps"
    assert set(found["input"]) <= {"cat", "dog"} and found["said"].dtype == float


def test_a_table_is_not_written_over_by_its_predictions(home: Path) -> None:
    before = (home / "t.csv").read_bytes()
    link = home / "link.csv"
    link.symlink_to(home / "t.csv")
    for output in (home / "t.csv", link):
        result = run(
            "predict", "--runs", home / "runs", "--input", home / "t.csv", "--output", output
        )
        assert result.exit_code != 0 and "would be lost" in result.output
    assert (home / "t.csv").read_bytes() == before


class Full:
    """A cell that cannot be written, as on a disk without room."""

    def __str__(self) -> str:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_what_was_written_before_stays_where_the_disk_is_full(ending: str, tmp_path: Path) -> None:
    output = tmp_path / f"o{ending}"
    write_table([{"a": 1}], output)
    before = output.read_bytes()
    with pytest.raises((OSError, TypeError, ValueError)):
        write_table([{"a": 2}, {"a": Full()}], output)
    assert output.read_bytes() == before
    assert list(tmp_path.iterdir()) == [output]


def test_what_is_no_file_is_told(home: Path) -> None:
    pipe, folder = home / "pipe.csv", home / "folder.csv"
    os.mkfifo(pipe)
    folder.mkdir()
    given = ("predict", "--runs", home / "runs", "--input")
    for more, told in (
        ((pipe,), "pipe.csv is no file but a device or a pipe. Save it as a file."),
        ((home / "t.csv", "--output", folder), "folder.csv' is a folder. Name a file."),
        (
            (home / "t.csv", "--column", "words=kind", "--column", "words=x"),
            "--column words is there twice",
        ),
    ):
        result = run(*given, *more)
        assert result.exit_code == 1 and told in result.output, result.output


def test_a_reader_of_predictions_may_have_enough(home: Path) -> None:
    given = ["predict", str(next((home / "runs").iterdir())), "--input", str(home / "t.csv")]
    command = [sys.executable, "-m", "polytask.cli", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
    assert process.returncode == 1
