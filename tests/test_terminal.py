"""What a person sees: nothing wraps within a word, nothing is cut, nothing is read as markup."""

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from polytask.config import load_config
from polytask.data_terminal import print_summary
from polytask.run import Run
from polytask.terminal import Bars, Terminal, print_scores
from polytask.training.history import EpochRecord
from polytask.training.step import StepRecord
from polytask.workflow import evaluate_run, train
from tests.data.conftest import own_cache

__all__ = ["own_cache"]

NAMES = ("color", "shape", "letter", "material", "size")
ACCURACY = {"accuracy": 0.5, "f1": 0.5, "precision": 0.5, "recall": 0.5, "loss": 1.0, "count": 40}
ERROR = {"mae": 0.5, "r2": 0.5, "rmse": 0.5, "loss": 1.0, "count": 40}


def terminal(width: int, is_terminal: bool) -> Terminal:
    """A terminal whose text is kept."""
    shown = Terminal()
    shown.console = Console(
        file=io.StringIO(), width=width, force_terminal=is_terminal, emoji=False, color_system=None
    )
    shown.progress = Bars(shown.console)
    shown.names, shown.epochs = list(NAMES), 9
    shown.judged = dict.fromkeys(NAMES, "accuracy")
    return shown


def text(shown: Terminal) -> str:
    assert isinstance(shown.console.file, io.StringIO)
    return shown.console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_bar_is_whole_at_every_width(width: int) -> None:
    shown = terminal(width, is_terminal=True)
    shown._bar("training", 1200, 0)
    ones = torch.ones(len(NAMES))
    shown.on_step(600, StepRecord(ones, ones, None, None, 64), 0.0123)
    shown.console.print(*shown.progress.get_renderables())
    lines = text(shown).splitlines()
    assert all(len(line) <= width for line in lines)
    assert "600/1200" in lines[0] and "lr 0.012" in lines[0] and "examples/s" in lines[0]
    assert "…" not in text(shown)
    assert " ".join(" ".join(lines[1:]).split()) == "losses: " + " ".join(
        f"{name} 1.000" for name in NAMES
    )


def test_an_epoch_is_one_line_in_a_file_and_whole_words_on_a_terminal() -> None:
    record = EpochRecord(
        3, 30, 61.0, dict.fromkeys(NAMES, 1.25), dict.fromkeys(NAMES, ACCURACY), 0.5, True
    )
    narrow, file = terminal(80, is_terminal=True), terminal(80, is_terminal=False)
    narrow.on_epoch(record)
    file.on_epoch(record)
    assert text(file).count("\n") == 1 and "\x1b" not in text(file)
    lines = text(narrow).splitlines()
    assert len(lines) > 1 and all(len(line) <= 80 for line in lines)
    assert " ".join(text(narrow).split()) == " ".join(text(file).split())
    assert any(line.strip().startswith("letter 1.25") or "letter 1.2500" in line for line in lines)


def test_scores_of_unlike_tasks_are_not_cut() -> None:
    shown = terminal(80, is_terminal=False)
    print_scores({"kind": ACCURACY, "age": ERROR}, "test part of runs/[bold]x :x:", shown.console)
    assert "…" not in text(shown) and "rmse" in text(shown) and "precision" in text(shown)
    assert "runs/[bold]x :x:" in text(shown)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_scores_that_do_not_fit_go_on_below_and_none_is_cut(width: int) -> None:
    metrics = ("accuracy", "auroc", "average_precision", "f1", "majority", "recall", "loss")
    by = {metric: 0.1234 + index for index, metric in enumerate(metrics)} | {"count": 1234567.0}
    console = Console(file=io.StringIO(), width=width)
    print_scores({"a task whose name is longer than most": by, "b": by}, "test", console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    for metric in metrics:
        assert text.count(f" {metric} ") == 1
        assert text.count(f" {by[metric]:.4f} ") == 2
    assert text.count("1,234,567") == 2
    assert max(map(len, text.splitlines())) <= width


def test_warnings_are_shown_as_they_are() -> None:
    shown = terminal(80, is_terminal=False)
    shown.warn(f"Could not save '{Path('/data/[a]/run')}'")
    assert "/data/[a]/run" in text(shown)


def test_an_epoch_shows_of_each_task_the_score_that_decides() -> None:
    scores = {"word": {"accuracy": 0.9, "chrf": 0.7}, "mine": {"accuracy": 0.94, "auroc": None}}
    shown = terminal(200, is_terminal=False)
    shown.judged = {"word": "chrf", "mine": "auroc"}
    shown.on_epoch(EpochRecord(1, 9, 1.0, {"word": 1.0, "mine": 2.0}, scores, 0.5, False))
    assert text(shown).endswith("validation: word chrf 0.7000  mine auroc -\n")


def test_many_tasks_are_said_in_a_few_lines() -> None:
    names = [f"task {k}" for k in range(100)]
    scores = {n: {"accuracy": k / 100, "loss": None, "count": k} for k, n in enumerate(names)}
    losses: dict[str, float | None] = {n: k / 50 for k, n in enumerate(names)}
    shown = terminal(200, is_terminal=False)
    shown.judged = dict.fromkeys(names, "accuracy")
    shown.on_epoch(EpochRecord(1, 9, 1.0, losses, scores, 0.5, True))
    line = text(shown)
    assert line.count("\n") == 1 and len(line) < 250
    assert "losses: 0.0000 to 1.9800, median 0.9900 (100 tasks)" in line
    assert "validation: accuracy 0.0000 to 0.9900, median 0.4950 (100 tasks)" in line
    print_scores(scores, "test part", shown.console)
    rows = {r[1].strip(): r[2:5] for r in (x.split("│") for x in text(shown).splitlines()) if r[4:]}
    assert [cell.strip() for cell in rows["mean of 100 tasks"]] == ["0.4950", "-", "50"]
    assert [cell.strip() for cell in rows["tasks that have it"]] == ["100", "0", "100"]
    labels = {n: {"train": k} for k, n in enumerate(names)}
    print_summary({"rows": {"train": {"own": 7}}, "labels": labels}, shown.console)
    assert "labels of 100 tasks: least" in text(shown) and "4,950" in text(shown)


def test_scores_in_small_and_large_units_keep_their_digits() -> None:
    from polytask.report.words import number
    from polytask.terminal import _number

    for shown in (_number, number):
        assert shown(3.25e-24) == "3.25e-24".replace("-", "−" if shown is number else "-")
        assert shown(6.02214e23) == "6.022e+23" and shown(0.0) == "0.0000"
        assert shown(0.12345) == "0.1235" and shown(12345.6) == "12345.6000"


@pytest.mark.parametrize(
    ("test", "validation", "told"),
    [
        (0.2, 0.2, "Finished. Score the test part with: polytask evaluate {run}"),
        (0, 0.2, "no test part. Score the validation part.* evaluate {run} --part validation"),
        (0, 0, "no part can be scored. Predict with: polytask predict {run} --input FILE"),
    ],
)
def test_the_last_line_names_a_command_that_works(
    test: float, validation: float, told: str, tmp_path: Path
) -> None:
    rows = "".join(f"{k},{k % 3}\n" for k in range(30))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    (tmp_path / "c.yaml").write_text(
        "sources: {t: {kind: table, path: t.csv, "
        f"split: {{test: {test}, validation: {validation}}}}}}}\n"
        "inputs: {row: {kind: table, columns: [x]}}\n"
        "tasks: {y: {kind: regression, target: y}}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}\n"
        "training: {epochs: 1, threads: 1}\n"
    )
    shown = terminal(500, is_terminal=False)
    with shown:
        assert train(load_config(tmp_path / "c.yaml"), tmp_path / "runs", shown, [])
    (run,) = (tmp_path / "runs").iterdir()
    last = text(shown).strip().splitlines()[-1]
    assert re.search(told.format(run=re.escape(str(run))), last), last
    if "evaluate" in last:  # it is one that works
        part = "validation" if "--part validation" in last else "test"
        assert evaluate_run(Run.open(run), part, None)
