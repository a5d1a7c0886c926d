"""Regression against torch and scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from polytask.errors import DataError
from polytask.tasks import Regression
from polytask.tasks.metrics import Explained, regression_metrics
from tests.tasks.kinds import cells, guess, ready

COMMON = {"name": "task", "input": "x", "target": {"t": "label"}}


def fitted(*values: object, **settings: object) -> Regression:
    return Regression(**COMMON, **settings).fit(cells(*values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("criterion", "theirs"),
    [("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", lambda a, b: F.huber_loss(a, b, delta=0.5))],
)
def test_loss_is_torchs_on_the_standard_scale(criterion: str, theirs: object) -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    task = fitted(*values, criterion=criterion, delta=0.5)
    target, _ = task.encode(cells(*values))
    output = guess(task, 4)
    scaled = (target - np.mean(values)) / np.std(values)
    expected = theirs(output, scaled.float())  # type: ignore[operator]
    torch.testing.assert_close(task.loss(output, target).mean(), expected)
    plain = fitted(*values, criterion=criterion, delta=0.5, standardize=False)
    torch.testing.assert_close(
        plain.loss(output, target).mean(),
        theirs(output, target),  # type: ignore[operator]
    )


def test_each_example_counts_with_the_mean_over_its_known_outputs() -> None:
    task, target, present = ready("outputs")
    output = guess(task, len(target))
    ours = task.loss(output, target)
    scaled = (target - torch.tensor(task.mean)) / torch.tensor(task.std)  # type: ignore[attr-defined]
    for row in present.nonzero().flatten().tolist():
        known = ~target[row].isnan()
        torch.testing.assert_close(ours[row], F.huber_loss(output[row][known], scaled[row][known]))


def test_scale_is_that_of_the_known_values() -> None:
    task, _, _ = ready("outputs")
    first, second = [1, -3, 0.5, 2], [200, 150, 175.5, 100]
    assert task.facts()["mean"] == pytest.approx([np.mean(first), np.mean(second)])
    assert task.facts()["std"] == pytest.approx([np.std(first), np.std(second)])


def test_decoding_undoes_the_scale() -> None:
    task = fitted(10.0, 30.0)
    torch.testing.assert_close(
        task.decode(torch.tensor([[1.0], [0.0]])), torch.tensor([[30.0], [20.0]])
    )
    assert task.describe(torch.tensor([[30.0]])) == [{"task": 30.0}]
    two, _, _ = ready("outputs")
    assert two.describe(torch.tensor([[1.0, 2.0]])) == [{"outputs.x": 1.0, "outputs.y": 2.0}]


@given(st.floats(-1e6, 1e6, width=32), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_a_constant_target_is_learned_by_its_mean(value: float, rows: int) -> None:
    task = fitted(*[value] * rows)
    assert task.std == (1.0,)
    target, _ = task.encode(cells(value, value + 1))
    assert task.loss(torch.zeros(2, 1), target).isfinite().all()
    assert float(task.decode(torch.zeros(1, 1))) == pytest.approx(value, rel=1e-6)


def test_an_output_without_a_number_is_named() -> None:
    task = Regression(name="pose", input="x", target={"t": ("x", "y")})
    with pytest.raises(DataError, match=r"'pose' has no number .* output 2 of 2 .*t\.x, t\.y"):
        task.fit(cells([1, None], [2, None]))


@given(data=st.data(), rows=st.integers(2, 30), outputs=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_metrics_are_scikit_learns_over_known_entries(
    data: st.DataObject, rows: int, outputs: int
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    truth = random.normal(data.draw(st.sampled_from([0.0, 1000.0])), 3.0, (rows, outputs))
    found = truth + random.normal(0, 1, (rows, outputs))
    # As the metrics see them: among close labels, what rounding takes away weighs in R2.
    truth, found = (x.astype(np.float32).astype(np.float64) for x in (truth, found))
    truth[random.random((rows, outputs)) < 0.3] = np.nan
    columns = [c for c in range(outputs) if (~np.isnan(truth[:, c])).sum() >= 2]
    truth[:, [c for c in range(outputs) if c not in columns]] = np.nan
    if not columns:
        return
    task = Regression(
        name="t",
        input="x",
        target={"t": tuple("abc"[:outputs])},
        mean=(0.0,) * outputs,
        std=(1.0,) * outputs,
    )
    collection = task.metrics()
    split = data.draw(st.integers(0, rows))
    for part in (slice(0, split), slice(split, rows)):
        collection.update(
            torch.from_numpy(found[part]).float(), torch.from_numpy(truth[part]).float()
        )
    ours = {k: float(v) for k, v in collection.compute().items()}
    per_output = []
    for c in columns:
        known = ~np.isnan(truth[:, c])
        pair = truth[known, c], found[known, c]
        per_output.append(
            (
                oracle.mean_absolute_error(*pair),
                oracle.root_mean_squared_error(*pair),
                oracle.r2_score(*pair),
            )
        )
    mae, rmse, r2 = np.mean(per_output, axis=0)
    assert ours == pytest.approx({"mae": mae, "rmse": rmse, "r2": r2}, rel=1e-3, abs=1e-3)


def test_r2_keeps_the_variance_of_targets_far_from_zero() -> None:
    random = np.random.default_rng(0)
    truth = np.float32(1e5 + random.normal(0, 1, 4000))
    found = np.float32(truth + random.normal(0, 0.5, 4000))
    metric = Explained()
    for start in range(0, 4000, 64):
        part = slice(start, start + 64)
        metric.update(torch.from_numpy(found[part]), torch.from_numpy(truth[part]))
    assert float(metric.compute()) == pytest.approx(oracle.r2_score(truth, found), abs=1e-3)


def test_r2_of_one_example_is_undefined_and_of_a_constant_is_scikit_learns() -> None:
    metric = Explained()
    metric.update(torch.ones(1), torch.ones(1))
    assert metric.compute().isnan()
    metric.update(torch.ones(1), torch.ones(1))
    assert metric.compute() == 1.0
    metric.update(torch.zeros(1), torch.ones(1))
    assert metric.compute() == 0.0


@pytest.mark.parametrize("unit", [1e-24, 1.0, 1e25])
def test_scores_are_those_of_scikit_learn_in_any_unit(unit: float) -> None:
    """Joules of a molecule have squares that float32 takes for zero, metres of galaxies none."""
    random = np.random.default_rng(3)
    truth = (random.normal(5.0, 1.0, 40) * unit).astype(np.float32)
    found = (truth + random.normal(0.0, 0.5, 40) * unit).astype(np.float32)
    metrics = regression_metrics(1)
    for part in (slice(0, 25), slice(25, 40)):
        metrics.update(
            torch.from_numpy(found[part])[:, None], torch.from_numpy(truth[part])[:, None]
        )
    pair = truth.astype(np.float64), found.astype(np.float64)
    wanted = {
        "mae": oracle.mean_absolute_error(*pair),
        "rmse": oracle.root_mean_squared_error(*pair),
        "r2": oracle.r2_score(*pair),
    }
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(
        wanted, rel=1e-6, abs=0
    )
