"""What examples add to a score."""

import numpy as np
import pytest
import torch

from polytask.evaluation.units import score_of, unit_scores
from polytask.tasks import Binary, Multiclass, Regression
from tests.tasks.kinds import EXAMPLES, guess, ready

RNG = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_units_of_every_kind_have_the_score_as_their_mean_or_nothing_is_said(kind: str) -> None:
    task, target, present = ready(kind)
    target = torch.cat([target[present]] * 30)
    decoded = task.decode(guess(task, len(target)))
    units = unit_scores(task, decoded, target, groups=10)
    score = score_of(task, decoded, target)
    assert score is not None and len(units) in (0, 10, len(target))
    if task.each(decoded, target) is not None:
        assert float(units.mean()) == pytest.approx(score, abs=1e-6)
    elif len(units):
        assert float(units.mean()) == pytest.approx(score, abs=0.25 * (1 + abs(score)))


def test_classes_and_truths_are_right_or_wrong() -> None:
    classes = Multiclass(name="a", input="i", target={"s": "a"}, classes=("x", "y"))
    decoded = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert unit_scores(classes, decoded, torch.tensor([0, 0, 0])).tolist() == [1, 0, 1]
    truth = Binary(name="a", input="i", target={"s": "a"}, classes=("no", "yes"), threshold=0.7)
    assert unit_scores(truth, torch.tensor([0.8, 0.6]), torch.tensor([1.0, 1.0])).tolist() == [1, 0]


def test_another_metric_has_units_of_its_own() -> None:
    truth = Binary(name="a", input="i", target={"s": "a"}, classes=("no", "yes"))
    target = (torch.rand(240, generator=RNG) < 0.3).float()
    decoded = 0.4 * target + 0.6 * torch.rand(240, generator=RNG)
    units = unit_scores(truth, decoded, target, metric="auroc", groups=20)
    area = score_of(truth, decoded, target, "auroc")
    assert area is not None and len(units) == 20
    assert float(units.mean()) == pytest.approx(area, abs=0.02)
    assert len(unit_scores(truth, decoded, target)) == 240


def test_groups_vary_as_much_as_drawing_other_examples_makes_the_score_vary() -> None:
    n = 400
    task = Regression(name="a", input="i", target={"s": "a"}, mean=(0.0,), std=(1.0,))
    decoded = torch.randn(n, 1, generator=RNG)
    target = decoded + torch.randn(n, 1, generator=RNG)
    units = unit_scores(task, decoded, target, groups=40)
    ours = float(units.std()) / len(units) ** 0.5
    drawn = []
    for _ in range(80):
        rows = torch.randint(n, (n,), generator=RNG)
        score = score_of(task, decoded[rows], target[rows])
        assert score is not None
        drawn.append(score)
    assert ours == pytest.approx(float(np.std(drawn)), rel=0.4)
