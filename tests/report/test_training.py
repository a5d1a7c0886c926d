"""The page about a run: its numbers are those of the run, and the test part stays closed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polytask.report.judged import (
    Judged,
    bins,
    calibration_error,
    confidences,
    confusion,
    interval,
    most_confused,
)
from polytask.report.training import report_run
from polytask.run import Run
from polytask.tasks import Binary, Multiclass, Regression
from polytask.workflow import evaluate_run
from tests.report.browser import needs_browser, opened

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


def test_classes_with_strange_names_stay_apart() -> None:
    odd = replace(KIND, classes=("<b>", "$x$", "r"))
    found = confusion(Judged(odd, torch.eye(3), torch.arange(3)))
    assert found is not None and found[1] == ["<b>", "$x$", "r"]


@needs_browser
def test_a_browser_shows_the_page_of_a_run(run: Run, tmp_path: Path) -> None:
    text = report_run(run).render()
    for width in (1200, 390):
        seen = opened(text, tmp_path, width=width)
        assert seen["wrong"] == [] and seen["wide"] <= seen["screen"] and len(seen["figures"]) >= 7
        for figure in seen["figures"]:
            assert figure["overlaps"] == [] and figure["cut"] == [], figure["label"]
            assert figure["width"] > 200 and figure["letters"] > 8, figure["label"]
