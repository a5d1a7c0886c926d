"""The page about a run: its numbers are those of the run, and the test part stays closed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polytask.data.dataset import Prepared
from polytask.report.judged import (
    Judged,
    bins,
    calibration_error,
    confidences,
    confusion,
    interval,
    most_confused,
)
from polytask.report.seen import Seen, see
from polytask.report.training import report_run
from polytask.run import Run
from polytask.tasks import Binary, Multiclass, Regression
from polytask.workflow import evaluate_run
from tests.report.browser import needs_browser, opened
from tests.report.conftest import made

KIND = Multiclass(
    name="kind", input="x", target={"a": "k"}, classes=("p", "q", "r"), counts=(1, 1, 1)
)


def predictions(count: int = 300) -> Judged:
    torch.manual_seed(0)
    target = torch.randint(3, (count,))
    logits = torch.randn(count, 3) + 1.2 * torch.nn.functional.one_hot(target, 3)
    return Judged(KIND, logits.softmax(1), target)


def test_the_calibration_error_is_the_one_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    of = predictions()
    pair = confidences(of)
    assert pair is not None
    expected = multiclass_calibration_error(of.decoded, of.target, 3, n_bins=15, norm="l1")
    assert calibration_error(bins(*pair)) == pytest.approx(float(expected), abs=1e-6)
    assert sum(count for _, _, count in bins(*pair)) == 300


def test_yes_and_no_are_as_sure_as_their_answer() -> None:
    task = Binary(name="b", input="x", target={"a": "k"}, classes=("no", "yes"))
    of = Judged(task, torch.tensor([0.9, 0.2, 0.6]), torch.tensor([1.0, 1.0, 0.0]))
    pair = confidences(of)
    assert pair is not None
    torch.testing.assert_close(pair[0], torch.tensor([0.9, 0.8, 0.6]))
    assert pair[1].tolist() == [True, False, False]
    assert confusion(of) == ([[0, 1], [1, 1]], ["no", "yes"])


def test_a_confusion_matrix_counts_truths_in_rows() -> None:
    decoded = torch.eye(3)[[0, 1, 1, 2]]
    found = confusion(Judged(KIND, decoded, torch.tensor([0, 0, 1, 2])))
    assert found is not None and found[0] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert most_confused({"kind": found}) == [["kind", "p", "q", 1, 0.5]]


def test_the_interval_is_that_of_the_normal_approximation_where_it_holds() -> None:
    of = predictions(600)
    accuracy = float((of.decoded.argmax(1) == of.target).float().mean())
    ends = interval(of)
    assert ends is not None
    half = 1.96 * (accuracy * (1 - accuracy) / 600) ** 0.5
    assert ends[0] == pytest.approx(accuracy - half, abs=0.015)
    assert ends[1] == pytest.approx(accuracy + half, abs=0.015)


def test_a_score_that_is_not_defined_has_no_interval() -> None:
    task = Regression(name="r", input="x", target={"a": "k"}, mean=(0.0,), std=(1.0,))
    one = Judged(task, torch.zeros(1, 1), torch.zeros(1, 1))
    assert interval(one, resamples=5) is None


def test_the_page_of_a_run_says_what_the_history_says(run: Run) -> None:
    page = report_run(run)
    best = next(line for line in reversed(run.history()) if line["best"])
    for task in ("color", "shape"):
        shown = re.search(rf"{task} accuracy (\d\.\d+) \((\d\.\d+) to (\d\.\d+)\)", page.lead)
        assert shown is not None
        value, low, high = (float(number) for number in shown.groups())
        assert value == pytest.approx(best["scores"][task]["accuracy"], abs=6e-4)
        assert low <= value <= high
    assert "On the validation part" in page.lead and "has not been looked at" in page.lead
    headings = [section.heading for section in page.sections]
    assert headings[:3] == ["Scores", "Learning", "Mistakes"] and "Confidence" in headings
    path = page.write(run.path / "report.html")
    names = {file.name for file in (run.path / "report").iterdir()}
    assert {"losses.png", "weights.png", "calibration.png", "confusion-color.png"} <= names
    assert "widths: [4, 6]" in path.read_text() or "- 4" in path.read_text()


def test_the_test_part_is_shown_only_after_it_was_scored(run: Run) -> None:
    assert "test" not in report_run(run).sections[0].text
    scores = evaluate_run(run, "test")
    page = report_run(run)
    assert page.lead.startswith("On the test part")
    value = scores["color"]["accuracy"]
    assert value is not None and f"color accuracy {value:.3f}" in page.lead
    known = json.loads((run.path / "scores.json").read_text())
    del known["test"]
    (run.path / "scores.json").write_text(json.dumps(known))


def test_the_page_has_the_scores_of_evaluate_to_the_last_digit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs, noise = torch.randn(80), torch.randn(80)
    lines = [f"{x:.3f},{y:.3f}" for x, y in zip(inputs, inputs + noise, strict=True)]
    (tmp_path / "some.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    text = (
        "name: some\nsources:\n  some: {kind: table, path: some.csv, split: {test: 0.3}}\n"
        "inputs:\n  row: {kind: table, columns: [x]}\ntasks:\n  y: {kind: regression, target: y}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [8]}}\n"
        "optimizer: {kind: adamw, lr: 0.05}\n"
        # Whose rounding is plain in R2: a page that computed in another format would show it.
        "training: {epochs: 3, threads: 1, precision: bf16}\n"
    )
    run = made(tmp_path, text=text)
    scores = evaluate_run(run, "test")
    assert see(run, None).scores["y"][0] == scores["y"]["r2"]


def test_tasks_are_judged_by_what_chose_the_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs, noise = torch.randn(200), torch.randn(200)
    rare = inputs + noise > 1.8  # about a tenth, so that "no" is mostly right
    lines = [f"{x:.3f},{'yes' if y else 'no'}" for x, y in zip(inputs, rare, strict=True)]
    (tmp_path / "rare.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    text = (
        "name: rare\nsources:\n"
        "  rare: {kind: table, path: rare.csv, split: {test: 0.4, stratify: y}}\n"
        "inputs:\n  row: {kind: table, columns: [x]}\n"
        "tasks:\n  y: {kind: binary, target: y}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [8]}}\n"
        "optimizer: {kind: adamw, lr: 0.05}\n"
        "training: {epochs: 2, threads: 1, monitor: mean.auroc}\n"
    )
    run = made(tmp_path, text=text)
    scores = evaluate_run(run, "test")
    value = scores["y"]["auroc"]
    assert value is not None and scores["y"]["accuracy"] != value
    page = report_run(run)
    assert f"y auroc {value:.3f}" in page.lead and "accuracy" not in page.lead
    assert "commonest" not in page.lead and "judged by it" in page.sections[0].text
    (row,) = page.sections[0].tables[0].rows
    name, metric, shown, low, high, common, _ = row
    assert (name, metric, shown, common) == ("y", "auroc", value, None)
    assert isinstance(low, float) and isinstance(high, float) and low < value < high


def test_classes_with_strange_names_stay_apart() -> None:
    odd = replace(KIND, classes=("<b>", "$x$", "r"))
    found = confusion(Judged(odd, torch.eye(3), torch.arange(3)))
    assert found is not None and found[1] == ["<b>", "$x$", "r"]


def test_of_many_tasks_figures_show_the_best_and_the_last(tmp_path: Path) -> None:
    header = [f"t{k:02d}" for k in range(30)]
    torch.manual_seed(0)
    inputs = torch.randn(120, 1)
    # What t00 says is all noise, what t29 says is none.
    noise = torch.linspace(3, 0, 30) * torch.randn(120, 30)
    rows = [
        ",".join(["x", *header]),
        *(
            ",".join([f"{x:.3f}", *(f"{y:.3f}" for y in ys)])
            for (x,), ys in zip(inputs.tolist(), (inputs + noise).tolist(), strict=True)
        ),
    ]
    (tmp_path / "many.csv").write_text("\n".join(rows) + "\n")
    tasks = "\n".join(f"  {name}: {{kind: regression, target: {name}}}" for name in header)
    text = (
        "name: many\nsources:\n  many: {kind: table, path: many.csv, split: {test: 0.2}}\n"
        "inputs:\n  row: {kind: table, columns: [x]}\n"
        f"tasks:\n{tasks}\n"
        "trunk: {kind: hard, backbone: {kind: perceptron, widths: [4]}}\n"
        "optimizer: {kind: adamw, lr: 0.05}\ntraining: {epochs: 3, threads: 1}\n"
    )
    made_run = made(tmp_path, text=text)
    seen = see(made_run, None)
    values = [seen.scores[name][0] for name in seen.ranked]
    assert values == sorted(values, reverse=True) and len(values) == 30  # R2: more is better
    shown = [task.name for task in seen.drawn]
    assert shown == sorted({*seen.ranked[:12], *seen.ranked[-12:]})
    scores = report_run(made_run).sections[0]
    assert len(scores.tables[0].rows) == 30 and "show 24 tasks" in scores.text
    assert all(name in scores.figures[0].alt for name in shown)
    assert not any(name in scores.figures[0].alt for name in seen.ranked[12:18])


def test_the_best_of_errors_is_the_least() -> None:
    class Error(Regression):
        """A task that is judged by an error."""

        higher_is_better = False

    tasks = tuple(Error(name=name, input="x", target={"a": name}) for name in ("a", "b", "c"))
    scores = {"a": (0.5, None, None), "b": (0.1, None, None), "c": (0.9, None, None)}
    seen = Seen("test", Prepared({}, {}, tasks, {}), torch.nn.Identity(), {}, scores)  # type: ignore[arg-type]
    assert seen.ranked == ["b", "a", "c"] and [t.name for t in seen.drawn] == ["a", "b", "c"]


@needs_browser
def test_a_browser_shows_the_page_of_a_run(run: Run, tmp_path: Path) -> None:
    text = report_run(run).render()
    for width in (1200, 390):
        seen = opened(text, tmp_path, width=width)
        assert seen["wrong"] == [] and seen["wide"] <= seen["screen"] and len(seen["figures"]) >= 7
        for figure in seen["figures"]:
            assert figure["overlaps"] == [] and figure["cut"] == [], figure["label"]
            assert figure["width"] > 200 and figure["letters"] > 8, figure["label"]
