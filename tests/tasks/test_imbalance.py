"""Losses for rare classes and tuned thresholds, against formulas and scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from polytask.tasks import Binary, Multiclass, Multilabel, Task
from polytask.tasks.imbalance import best_threshold, frequency_factors, positive_factor
from tests.tasks.kinds import cells, guess

COMMON = {"name": "task", "input": "x", "target": {"t": "label"}}
ROWS = ["a"] * 6 + ["b"] * 3 + ["c"]


def test_effective_numbers_are_the_sums_of_a_geometric_series() -> None:
    factors = frequency_factors(torch.tensor([3, 1, 0]), "effective", 0.9)
    assert factors.tolist() == pytest.approx([1 / (1 + 0.9 + 0.81), 1.0, 0.0])


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_effective_is_between_none_and_balanced(negative: int, positive: int) -> None:
    sides = torch.tensor(negative), torch.tensor(positive)
    balanced = float(positive_factor(*sides, "balanced", 0.9))
    assert balanced == pytest.approx(max(negative, 1) / max(positive, 1), rel=1e-5)
    low, high = sorted((1.0, balanced))
    effective = float(positive_factor(*sides, "effective", 0.9))
    assert low - 1e-5 <= effective <= high + 1e-5


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    task = Multiclass(**COMMON, focal=gamma).fit(cells(*ROWS))  # type: ignore[arg-type]
    target, output = torch.tensor([0, 1, 2]), guess(task, 3).double()
    p = output.softmax(1)[torch.arange(3), target]
    torch.testing.assert_close(task.loss(output, target), -((1 - p) ** gamma) * p.log())
    binary = Binary(**COMMON, focal=gamma).fit(cells(0, 1))  # type: ignore[arg-type]
    logit, truth = guess(binary, 4).double(), torch.tensor([0.0, 1.0, 1.0, 0.0]).double()
    p = torch.where(truth > 0, logit[:, 0].sigmoid(), 1 - logit[:, 0].sigmoid())
    torch.testing.assert_close(binary.loss(logit, truth), -((1 - p) ** gamma) * p.log())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_a_focal_loss_of_what_is_certain_has_a_finite_gradient(gamma: float) -> None:
    made: list[tuple[Task, torch.Tensor]] = [
        (Multiclass(**COMMON, focal=gamma).fit(cells(*ROWS)), torch.tensor([0])),  # type: ignore[arg-type]
        (Binary(**COMMON, focal=gamma).fit(cells(0, 1)), torch.tensor([1.0])),  # type: ignore[arg-type]
    ]
    for task, target in made:
        output = torch.zeros(1, task.outputs)
        output[0, 0] = 200.0
        output.requires_grad_()
        task.loss(output, target).sum().backward()
        assert output.grad is not None and output.grad.isfinite().all()


def test_logit_adjustment_is_cross_entropy_with_priors() -> None:
    task = Multiclass(**COMMON, logit_adjustment=1.5).fit(cells(*ROWS))  # type: ignore[arg-type]
    target, output = torch.tensor([0, 1, 2]), guess(task, 3)
    shifted = output + 1.5 * torch.tensor([0.6, 0.3, 0.1]).log()
    theirs = F.cross_entropy(shifted, target, reduction="none")
    torch.testing.assert_close(task.loss(output, target), theirs)
    torch.testing.assert_close(task.decode(output), output.softmax(1))


def test_adjusted_binary_and_multilabel_losses_shift_by_the_log_odds() -> None:
    labels = [1, 0, 0, 0, None]
    binary = Binary(**COMMON, logit_adjustment=2.0).fit(cells(*labels))  # type: ignore[arg-type]
    several = Multilabel(name="m", input="x", target={"t": ("u", "v")}, logit_adjustment=2.0).fit(
        cells(*[[x, None if x is None else 1 - x] for x in labels])
    )
    output = guess(several, 3)
    truth = torch.tensor([0.0, 1.0, 0.0])
    shift = 2.0 * np.log(1 / 3)
    theirs = F.binary_cross_entropy_with_logits(output[:, 0] + shift, truth, reduction="none")
    torch.testing.assert_close(binary.loss(output[:, :1], truth), theirs)
    target = torch.stack([truth, torch.full((3,), torch.nan)], 1)
    torch.testing.assert_close(several.loss(output, target), theirs)


def test_balanced_positive_weights_count_known_labels_only() -> None:
    several = Multilabel(
        name="m", input="x", target={"t": ("u", "v")}, positive_weight="balanced"
    ).fit(cells([1, 1], [0, None], [0, 0], [0, None]))
    output, target = guess(several, 2), torch.ones(2, 2)
    theirs = F.binary_cross_entropy_with_logits(
        output, target, pos_weight=torch.tensor([3.0, 1.0]), reduction="none"
    )
    torch.testing.assert_close(several.loss(output, target), theirs.mean(1))


def test_one_vs_rest_is_a_binary_question_per_class() -> None:
    task = Multiclass(**COMMON, criterion="one-vs-rest").fit(cells(*ROWS))  # type: ignore[arg-type]
    target, output = torch.tensor([0, 1, 2, 1]), guess(task, 4)
    theirs = F.binary_cross_entropy_with_logits(output, F.one_hot(target).float(), reduction="none")
    torch.testing.assert_close(task.loss(output, target), theirs.sum(1))
    alone = output.sigmoid()
    torch.testing.assert_close(task.decode(output), alone / alone.sum(1, keepdim=True))
    assert task.decode(torch.full((1, 3), -500.0)).tolist() == [pytest.approx([1 / 3] * 3)]


@pytest.mark.parametrize("name", ["label_smoothing", "logit_adjustment"])
def test_what_one_vs_rest_has_no_use_for_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="criterion: softmax"):
        Multiclass(**COMMON, criterion="one-vs-rest", **{name: 0.1})  # type: ignore[arg-type]


@given(data=st.data(), rows=st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_the_best_threshold_has_the_greatest_f1_of_all(data: st.DataObject, rows: int) -> None:
    columns = st.lists(st.integers(0, 10), min_size=rows, max_size=rows)
    scores = np.array(data.draw(columns)) / 10
    truth = np.array(data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))
    found = best_threshold(torch.from_numpy(scores).float(), torch.from_numpy(truth).float())
    if truth.sum() == 0:
        assert found is None
        return
    assert found is not None

    def f1(cut: float) -> float:
        return float(oracle.f1_score(truth, scores.astype(np.float32) > cut, zero_division=0))

    assert f1(found) == pytest.approx(max(f1(c) for c in [-0.1, *np.unique(scores) - 0.01]))


def test_a_threshold_ignores_unknown_labels_and_keeps_a_half_without_a_positive() -> None:
    task = Multilabel(name="m", input="x", target={"t": ("u", "v")}, threshold="tuned").fit(
        cells([1, 1], [0, 0])
    )
    decoded = torch.tensor([[0.2, 0.9], [0.3, 0.1], [0.9, 0.9]])
    target = torch.tensor([[0.0, 0.0], [1.0, 0.0], [torch.nan, 0.0]])
    tuned = task.tuned(decoded, target)
    assert tuned.cuts == (pytest.approx(0.25), 0.5)
    assert tuned.describe(decoded)[1]["m"] == "u"
    assert task.restored(tuned.facts()) == tuned
    counted = tuned.metrics()
    counted.update(decoded, target)
    assert float(counted.compute()["accuracy"]) == pytest.approx(3 / 5)
