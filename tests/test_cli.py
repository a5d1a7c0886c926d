"""The command line as a person uses it: real files, and real processes wherever one is started,
stopped or killed; what only reads a run or a mistake needs none of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from polytask.cli import app
from polytask.cli.studies import tune
from polytask.training.devices import own_cores

SHAPES = """\
name: tiny
sources:
  shapes: {kind: shapes, count: 400, missing: 0.3, split: {test: 0.2, validation: 0.2}}
inputs:
  picture: {kind: image, column: image, size: 32, augment: [{kind: crop, padding: 2}]}
tasks:
  color: {kind: multiclass, target: color, dropout: 0.1}
  letter: {kind: multiclass, target: letter, dropout: 0.1}
trunk: {kind: hard, backbone: {kind: residual, widths: [8, 16]}}
balancer: {kind: uw}
batches: {size: 16}
optimizer: {kind: adamw, lr: 0.01}
schedule: {kind: one_cycle}
training: {epochs: 3, ema: 0.9, checkpoint_minutes: 0.0001, threads: 1}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, and a cache that the tests of this module share."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(SHAPES)
    return folder


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start `polytask` in `home`."""
    surroundings = {k: v for k, v in os.environ.items() if k != "POLYTASK_DATA"}
    surroundings |= {"POLYTASK_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "polytask.cli", *arguments],
        cwd=home,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def polytask(home: Path, *arguments: str, code: int = 0) -> str:
    """Run `polytask` to its end; what it printed."""
    process = start(home, *arguments)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    return out + err


def here(home: Path, *arguments: str, code: int = 0) -> str:
    """The same in this process, which has loaded everything already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("POLYTASK_DATA", raising=False)
        patch.setenv("POLYTASK_CACHE", str(home / "cache"))
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def only_run(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


def wait_for_checkpoint(process: "subprocess.Popen[str]", runs: Path) -> Path:
    """Wait until a training under `runs` has saved a checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = list(runs.glob("*/checkpoint.pt"))
        if found:
            return found[0].parent
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """A run that went to its end."""
    out = polytask(home, "train", "tiny.yaml", "--runs", "whole")
    assert "epoch 3/3" in out and "polytask evaluate" in out
    return only_run(home / "whole")


def same_result(one: Path, other: Path) -> None:
    """Weights and history are equal bit for bit."""
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].equal(b[name]), name
    for left, right in zip(history(one), history(other), strict=True):
        assert {**left, "seconds": 0} == {**right, "seconds": 0}


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_evaluate_scores_the_test_part(home: Path, trained: Path) -> None:
    out = polytask(home, "evaluate", str(trained))
    scores = json.loads((trained / "scores.json").read_text())["test"]
    assert set(scores) == {"color", "letter"}
    assert set(scores["color"]) == {
        *("accuracy", "precision", "recall", "f1", "majority", "loss", "count")
    }
    assert 0 < scores["color"]["count"] < 80  # 80 test rows, some without a label
    assert f"{scores['color']['accuracy']:.4f}" in out


def test_a_stopped_training_goes_on_bit_for_bit(home: Path, trained: Path) -> None:
    process = start(home, "train", "tiny.yaml", "--runs", "stopped")
    run = wait_for_checkpoint(process, home / "stopped")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "--resume" in out
    polytask(home, "train", "--resume", str(run))
    same_result(trained, run)


def test_a_killed_training_goes_on_from_its_checkpoint(home: Path, trained: Path) -> None:
    process = start(home, "train", "tiny.yaml", "--runs", "killed")
    run = wait_for_checkpoint(process, home / "killed")
    process.kill()
    process.communicate(timeout=60)
    polytask(home, "train", "--resume", str(run))
    same_result(trained, run)


def test_a_run_whose_files_no_longer_fit_says_so(home: Path, trained: Path) -> None:
    other = home / "edited"
    shutil.copytree(trained, other)
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("[8, 16]", "[8, 12]"))
    out = here(home, "evaluate", str(other), code=1)
    assert "does not fit its config.yaml" in out and "Traceback" not in out
    (other / "config.yaml").write_text(text.replace("count: 400", "count: 300"))
    out = here(home, "evaluate", str(other), code=1)
    assert "has changed since" in out and "Traceback" not in out
    (other / "environment.json").write_text("{}")
    out = here(home, "train", "--resume", str(other), code=1)
    assert "lacks precision, threads" in out and "Traceback" not in out


def test_a_run_of_another_version_says_so(home: Path, trained: Path) -> None:
    other = home / "older"
    shutil.copytree(trained, other)
    facts = json.loads((other / "environment.json").read_text())
    version = facts["polytask"]
    (other / "environment.json").write_text(json.dumps({**facts, "polytask": "0.0.9"}))
    told = f"'{other}' was made by Polytask 0.0.9, and this is {version}"
    Image.new("RGB", (40, 40)).save(other / "a.png")
    picture = ["--input", str(other / "a.png")]
    for command in (["evaluate"], ["train", "--resume"], ["predict", *picture]):
        assert here(home, *command, str(other)).count(told) == 1
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("training:\n", "training:\n  swift: 3\n"))
    out = here(home, "evaluate", str(other), code=1)
    assert "training.swift" in out and f"{told}: use that one" in out
    assert "0.0.9" not in here(home, "evaluate", str(trained))


def test_resuming_a_finished_run_changes_nothing(home: Path, trained: Path) -> None:
    before = (trained / "history.jsonl").read_text()
    out = here(home, "train", "--resume", str(trained))
    assert "Finished" in out
    assert (trained / "history.jsonl").read_text() == before


def test_predict_writes_labels_and_probabilities(home: Path, trained: Path) -> None:
    folder = home / "new"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(noise.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    polytask(home, "predict", str(trained), "--input", "new", "--output", "out.csv")
    table = pd.read_csv(home / "out.csv")
    assert len(table) == 2
    probabilities = table[[c for c in table if c.startswith("letter.")]]
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    best = probabilities.idxmax(axis=1).str.removeprefix("letter.")
    assert (table["letter"].astype(str) == best).all()

    here(home, "predict", str(trained), "--input", "new/a.png", "--output", "out.jsonl")
    (line,) = (home / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["letter"] == str(table["letter"][0])
    here(home, "predict", str(trained), "--input", "new", "--output", "out.parquet")
    assert pd.read_parquet(home / "out.parquet")["color"].tolist() == table["color"].tolist()


PEOPLE = """\
sources: {s: {kind: table, path: t.csv, split: {test: 0.2, validation: 0.2}}}
inputs: {x: {kind: table, columns: [a]}}
tasks:
  kind: {kind: multiclass, target: kind}
  tall: {kind: regression, target: tall}
trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}
training: {epochs: 1, threads: 1}
"""


def test_a_table_without_rows_gives_the_columns_of_predictions(tmp_path: Path) -> None:
    rows = "".join(f"{k},{['cat', 'dog'][k % 2]},{k % 7}\n" for k in range(40))
    (tmp_path / "t.csv").write_text("a,kind,tall\n" + rows)
    (tmp_path / "c.yaml").write_text(PEOPLE)
    (tmp_path / "new.csv").write_text("a\n")
    here(tmp_path, "train", "c.yaml")
    told = ["predict", "--input", "new.csv", "--output"]
    for name in ("out.csv", "out.parquet"):
        assert "new.csv has no rows to predict" in here(tmp_path, *told, name, code=1)
    expected = ["input", "kind", "kind.cat", "kind.dog", "tall"]
    assert (tmp_path / "out.csv").read_text().splitlines() == [",".join(expected)]
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert list(found.columns) == expected and not len(found)
    here(tmp_path, "predict", "--input", "t.csv", "--output", "full.csv")
    full = (tmp_path / "full.csv").read_text()
    assert full.splitlines()[0] == ",".join(expected)
    # Earlier predictions are not lost for a table without rows.
    assert "full.csv is left as it was" in here(tmp_path, *told, "full.csv", code=1)
    assert (tmp_path / "full.csv").read_text() == full


def test_predictions_wait_for_nothing_that_only_training_needs(home: Path, trained: Path) -> None:
    code = (
        "import sys; from polytask.cli import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "print({'lightning_fabric', 'torchmetrics', 'transformers'} & set(sys.modules), 'loaded')"
    )
    given = ("predict", str(trained), "--input", "new/a.png", "--output", "quick.csv")
    out = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=home, capture_output=True, text=True
    )
    assert "set() loaded" in out.stdout, out.stdout + out.stderr


def test_check_counts_labels_without_training(home: Path) -> None:
    out = here(home, "check", "tiny.yaml")
    assert "labels of letter" in out and "one epoch =" in out


def newcomers_folder(folder: Path) -> Path:
    """A table of pictures with three targets, one of them half empty."""
    (folder / "photos").mkdir(parents=True)
    noise = np.random.default_rng(1)
    rows = []
    for number in range(60):
        bright = int(noise.integers(0, 2))
        pixels = noise.integers(0, 100, (20, 24, 3)) + 120 * bright
        path = f"photos/{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
        rows.append(
            {
                "photo": path,
                "light": "day" if bright else "night",
                "ok": ["yes", "no"][number % 2],
                "level": pixels.mean().round(2) if number % 2 else None,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    (folder / "mine.yaml").write_text(
        "sources:\n"
        "  mine: {kind: table, path: labels.csv, media: {photo: image},"
        " split: {test: 0.2, validation: 0.2}}\n"
        "inputs:\n  picture: {kind: image, column: photo, size: 16}\n"
        "tasks:\n"
        "  light: {kind: multiclass, target: light}\n"
        "  ok: {kind: binary, target: ok}\n"
        "  level: {kind: regression, target: level}\n"
        "trunk: {kind: hard, backbone: {kind: residual, widths: [8, 8]}}\n"
        "batches: {size: 8}\n"
        "optimizer: {kind: adamw, lr: 0.02}\n"
        "training: {epochs: 4, threads: 1}\n"
    )
    return folder


def test_a_newcomers_table_with_a_half_empty_column(tmp_path: Path) -> None:
    home = newcomers_folder(tmp_path / "mine")
    polytask(home, "train", "mine.yaml")
    here(home, "evaluate")
    scores = json.loads((only_run(home / "runs") / "scores.json").read_text())["test"]
    assert set(scores["level"]) == {"mae", "rmse", "r2", "loss", "count"}
    assert 0 < scores["level"]["count"] < 12
    assert scores["light"]["accuracy"] > 0.7


def test_mistakes_are_told_without_a_traceback(tmp_path: Path) -> None:
    home = newcomers_folder(tmp_path / "mine")
    out = polytask(home, "train", "mien.yaml", code=1)
    assert "mine.yaml" in out and "Traceback" not in out
    out = here(home, "check", "mine.yaml", "--set", "tasks.light.target=lihgt", code=1)
    assert "light" in out and "Traceback" not in out
    (home / "photos" / "7.png").write_bytes(b"no picture")
    out = here(home, "train", "mine.yaml", code=1)
    assert "row 9" in out and "7.png" in out and "Traceback" not in out
    out = here(home, "train", "mine.yaml", "--set", "on_bad=skip")
    assert "left out 1 row of mine" in out
    out = here(home, "evaluate", "runs/nowhere", code=1)
    assert "is no run" in out and "Traceback" not in out


def test_a_loss_that_is_not_finite_stops_with_step_and_task(home: Path) -> None:
    out = here(
        home,
        *("train", "tiny.yaml", "--runs", "nan", "--set", "optimizer={kind: sgd, lr: 1.0e+30}"),
        code=1,
    )
    assert "Step" in out and "not a finite number" in out and "Traceback" not in out


@pytest.mark.parametrize("launcher", ["devices", "torchrun", "torchrun, sharded"])
def test_two_processes_make_one_run(home: Path, launcher: str) -> None:
    runs = home / launcher
    more = ["--runs", str(runs), "--set", "training.accelerator=cpu"]
    if "sharded" in launcher:
        more += ["--set", "training.sharding=trunk"]
    epochs = ("--set", "training.epochs=1")
    if launcher == "devices":
        out = polytask(home, "train", "tiny.yaml", *more, *epochs, "--set", "training.devices=2")
    else:
        more += ["--set", "training.threads=auto"]
        surroundings = os.environ | {"POLYTASK_CACHE": str(home / "cache")}
        surroundings.pop("OMP_NUM_THREADS", None)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        found = subprocess.run(
            [*torchrun, "-m", "polytask.cli", "train", "tiny.yaml", *more, *epochs],
            cwd=home,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=240,
        )
        out = found.stdout + found.stderr
        assert found.returncode == 0, out
    assert out.count("epoch 1/1") == out.count("Finished") == 1
    assert "processes: 2" in out
    known = json.loads((only_run(runs) / "environment.json").read_text())
    assert known["threads"] in (1, own_cores() // 2)  # each process has its share
    (epoch,) = history(only_run(runs))
    here(home, "evaluate", str(only_run(runs)), "--part", "validation")
    scores = json.loads((only_run(runs) / "scores.json").read_text())["validation"]
    for task, measured in epoch["scores"].items():
        assert scores[task] == pytest.approx(measured, rel=1e-4)


def test_who_stops_a_search_is_told_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    newcomers_folder(tmp_path / "mine")
    monkeypatch.setattr("polytask.study.tuning.tune", stopped)
    with pytest.raises(typer.Exit) as end:
        tune(tmp_path / "mine" / "mine.yaml")
    assert end.value.exit_code == 130
    assert "The same command goes on." in capsys.readouterr().err
