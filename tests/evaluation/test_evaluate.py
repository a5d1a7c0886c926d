"""Scores of a model against scikit-learn on the labelled rows."""

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from polytask.data.collate import SOURCE_SHIFT
from polytask.evaluation import evaluate
from polytask.tasks import Regression
from polytask.types import Batch, Features, Scores, loss_of
from tests.networks import TASKS, batch, network

NAMES = [task.name for task in TASKS]
CPU = torch.device("cpu")


def rows(whole: Batch, start: int, stop: int) -> Batch:
    part = slice(start, stop)
    return Batch(
        {k: Features(v.values[part]) for k, v in whole.inputs.items()},
        {k: v[part] for k, v in whole.targets.items()},
        {k: v[part] for k, v in whole.present.items()},
    )


def close(ours: Scores, theirs: Scores) -> None:
    assert ours.keys() == theirs.keys()
    for task, scores in ours.items():
        assert dict(scores) == pytest.approx(dict(theirs[task]), rel=1e-4, abs=1e-5)


def test_scores_are_scikit_learns_on_the_labelled_rows() -> None:
    model, whole = network(), batch(rows=60)
    scores = evaluate(model, [rows(whole, 0, 25), rows(whole, 25, 60)], TASKS, CPU)
    model.eval()
    with torch.no_grad():
        outputs = model(whole.inputs, NAMES)
    here = whole.present
    truth, found = whole.targets["type"][here["type"]], outputs["type"][here["type"]].argmax(1)
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(
        truth, found, average="macro", zero_division=0
    )
    expected = {
        "accuracy": oracle.accuracy_score(truth, found),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "majority": np.bincount(truth).max() / len(truth),
        "loss": float(torch.nn.functional.cross_entropy(outputs["type"][here["type"]], truth)),
        "count": int(here["type"].sum()),
    }
    assert scores["type"] == pytest.approx(expected, abs=1e-5)
    truth = whole.targets["training"][here["training"]]
    found = outputs["training"][here["training"], 0] > 0
    assert scores["training"]["f1"] == pytest.approx(oracle.f1_score(truth, found), abs=1e-5)
    values = TASKS[1].decode(outputs["values"])[here["values"]]
    target = whole.targets["values"][here["values"]]
    known = [~target[:, k].isnan() for k in range(2)]
    assert scores["values"]["r2"] == pytest.approx(
        np.mean([oracle.r2_score(target[m, k], values[m, k]) for k, m in enumerate(known)]),
        abs=1e-4,
    )


def test_losses_of_each_source_are_those_of_its_own_examples() -> None:
    model, whole = network(), batch(rows=30)
    numbers = {"picture": torch.arange(30) % 2 + 3, "sound": torch.full((30,), 4)}
    known = {k: v * SOURCE_SHIFT + torch.arange(30) for k, v in numbers.items()}
    sourced = Batch(whole.inputs, whole.targets, whole.present, known)
    scores = evaluate(model, [sourced], TASKS, CPU, sources={3: "odd", 4: "even"})
    plain = evaluate(model, [sourced], TASKS, CPU)
    for task in TASKS:
        for number, source in (3, "odd"), (4, "even"):
            has = whole.present[task.name] & (numbers[task.input] == number)
            if not has.any():
                assert loss_of(source) not in scores[task.name]
                continue
            present = {**whole.present, task.name: has}
            alone = Batch(whole.inputs, whole.targets, present, known)
            expected = evaluate(model, [alone], TASKS, CPU)[task.name]["loss"]
            assert scores[task.name][loss_of(source)] == pytest.approx(expected)
        kept = {k: v for k, v in scores[task.name].items() if not k.startswith(loss_of(""))}
        assert kept == plain[task.name]
    assert loss_of("odd") in scores["type"] and loss_of("odd") not in scores["tags"]


def test_scores_do_not_depend_on_the_batches() -> None:
    model, whole = network(dropout=0.5), batch(rows=30)
    at_once = evaluate(model, [whole], TASKS, CPU)
    for size in (1, 7):
        parts = [rows(whole, start, start + size) for start in range(0, 30, size)]
        close(evaluate(model, parts, TASKS, CPU), at_once)


def test_no_label_is_none_and_not_zero() -> None:
    scores = evaluate(network(), [batch(absent=["type", "tags"])], TASKS, CPU)
    assert scores["type"] == {
        "accuracy": None,
        "precision": None,
        "recall": None,
        "f1": None,
        "majority": None,
        "loss": None,
        "count": 0,
    }
    assert scores["tags"]["f1"] is None and scores["training"]["f1"] is not None
    assert all(s["count"] == 0 for s in evaluate(network(), [], TASKS, CPU).values())


def test_an_input_that_is_nowhere_leaves_its_tasks_without_scores() -> None:
    whole = batch()
    only = Batch({"sound": whole.inputs["sound"]}, whole.targets, whole.present)
    scores = evaluate(network(), [only], TASKS, CPU)
    assert scores["type"]["accuracy"] is None and scores["training"]["accuracy"] is not None


def test_what_one_example_cannot_tell_is_none() -> None:
    scores = evaluate(network(), [rows(batch(), 7, 8)], TASKS, CPU)
    assert scores["values"]["count"] == 1
    assert scores["values"]["r2"] is None and scores["values"]["mae"] is not None


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_as_before_even_after_an_error(training: bool) -> None:
    model = network().train(training)
    evaluate(model, [batch()], TASKS, CPU)
    assert model.training is training

    def broken() -> Batch:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        evaluate(model, (broken() for _ in range(1)), TASKS, CPU)
    assert model.training is training


class Huge(torch.nn.Module):
    """Predicts what no number can hold."""

    def forward(
        self, inputs: dict[str, Features], tasks: list[str], rows: object
    ) -> dict[str, torch.Tensor]:
        return {"size": torch.full((len(inputs["x"].values), 1), float("inf"))}


def test_a_score_that_is_no_finite_number_is_none() -> None:
    task = Regression(name="size", input="x", target={}, mean=(0.0,), std=(1.0,))
    target = torch.tensor([[0.0], [1.0], [2.0]])
    few = Batch(
        {"x": Features(torch.zeros(3, 2))}, {"size": target}, {"size": torch.ones(3, dtype=bool)}
    )
    assert evaluate(Huge(), [few], [task], CPU)["size"]["r2"] is None
