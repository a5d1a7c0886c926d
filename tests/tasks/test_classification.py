"""Multiclass, binary and multilabel against torch and scikit-learn."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.utils.class_weight import compute_class_weight

from polytask.errors import DataError
from polytask.tasks import Binary, Multiclass, Multilabel
from polytask.tasks.labels import composed, label_counts, label_text, sort_labels
from tests.tasks.kinds import cells, guess, ready

COMMON = {"name": "task", "input": "x", "target": {"t": "label"}}


def multiclass(*labels: object, **settings: object) -> Multiclass:
    return Multiclass(**COMMON, **settings).fit(cells(*labels))  # type: ignore[arg-type]


RANKINGS = {"auroc": oracle.roc_auc_score, "average_precision": oracle.average_precision_score}


def test_multiclass_loss_is_cross_entropy_on_the_labelled_rows() -> None:
    task, target, present = ready("multiclass")
    output = guess(task, len(target))
    expected = F.cross_entropy(output[present], target[present])
    torch.testing.assert_close(task.loss(output[present], target[present]).mean(), expected)


@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_balanced_weights_are_scikit_learns_and_average_to_one(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    task = multiclass(*labels.tolist(), class_weights="balanced")
    target, _ = task.encode(cells(*labels.tolist()))
    output = guess(task, len(target))
    weights = task.loss(output, target) / F.cross_entropy(output, target, reduction="none")
    theirs = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    torch.testing.assert_close(weights, torch.from_numpy(theirs[labels]).float())
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)


def test_named_weights_are_torchs_scaled_to_mean_one() -> None:
    labels = ["a", "a", "a", "b", "c", "c"]
    task = multiclass(*labels, class_weights={"b": 6.0})
    target, _ = task.encode(cells(*labels))
    output = guess(task, 6)
    theirs = F.cross_entropy(output, target, weight=torch.tensor([1.0, 6.0, 1.0]))
    torch.testing.assert_close(task.loss(output, target).mean(), theirs)


def test_weights_of_classes_without_a_training_row_are_harmless() -> None:
    task = multiclass("a", "b", classes=("a", "b", "never"), class_weights="balanced")
    loss = task.loss(guess(task, 3), torch.tensor([0, 1, 2]))
    assert loss.isfinite().all() and loss[2] == 0


def test_label_smoothing_is_torchs() -> None:
    task = multiclass("a", "b", "c", label_smoothing=0.2)
    output, target = guess(task, 3), torch.tensor([2, 0, 1])
    theirs = F.cross_entropy(output, target, label_smoothing=0.2)
    torch.testing.assert_close(task.loss(output, target).mean(), theirs)


@pytest.mark.parametrize(
    "weights", [{"a": 0.0, "b": 0.0}, {"a": -1.0}, {"a": float("nan")}, {"a": float("inf")}]
)
def test_weights_that_cannot_be_scaled_are_an_error(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match="class_weights should be finite"):
        multiclass("a", "b", class_weights=weights)


def test_weight_of_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"class_weights names 'catt'.*Did you mean 'cat'"):
        multiclass("cat", "dog", class_weights={"catt": 2.0})


@pytest.mark.parametrize("labels", [("a", "a"), ("a",)])
def test_one_class_only_cannot_be_learned(labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="at least two different classes"):
        multiclass(*labels)


def test_a_class_twice_is_an_error() -> None:
    with pytest.raises(DataError, match=r"'tasks.*classes' lists 'a' twice"):
        multiclass("a", "b", classes=("a", "b", "a"))


def test_one_label_has_one_name_however_a_file_types_it() -> None:
    assert {label_text(x) for x in (3, 3.0, "3", " 3 ", np.int64(3), np.float32(3))} == {"3"}
    assert [label_text(x) for x in (True, np.bool_(False), 3.5, "True")] == [
        "true",
        "false",
        "3.5",
        "True",
    ]
    task = multiclass(10, 9.0, "2")
    assert task.classes == ("2", "9", "10")
    assert task.encode(cells("10", 2.0, np.int64(9)))[0].tolist() == [2, 0, 1]


@given(st.lists(st.one_of(st.integers(-99, 99).map(str), st.text(max_size=3)), max_size=8))
@settings(max_examples=50, deadline=None)
def test_label_order_is_a_sorted_set_that_forgets_the_rows_order(names: list[str]) -> None:
    once = sort_labels(names)
    assert set(once) == set(names) and len(once) == len(set(names))
    assert sort_labels(list(reversed(names))) == once


@given(data=st.data(), classes=st.integers(2, 5), rows=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_multiclass_metrics_are_scikit_learns(data: st.DataObject, classes: int, rows: int) -> None:
    column = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    truth, found = data.draw(column), data.draw(column)
    task = multiclass(*range(classes))
    collection = task.metrics()
    outputs = task.decode(10.0 * F.one_hot(torch.tensor(found), classes))
    for part in (slice(0, rows // 2), slice(rows // 2, rows)):
        if len(outputs[part]):
            collection.update(outputs[part], torch.tensor(truth)[part])
    ours = {k: float(v) for k, v in collection.compute().items()}
    assert ours == pytest.approx(_macro(truth, found), abs=1e-6)


@given(data=st.data(), rows=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_binary_metrics_are_scikit_learns(data: st.DataObject, rows: int) -> None:
    column = st.lists(st.integers(0, 1), min_size=rows, max_size=rows)
    truth, found = data.draw(column), data.draw(column)
    task = Binary(**COMMON).fit(cells(0, 1))  # type: ignore[arg-type]
    collection = task.metrics()
    collection.update(task.decode(20.0 * torch.tensor(found)[:, None] - 10.0), torch.tensor(truth))
    ours = {k: float(v) for k, v in collection.compute().items()}
    both = len(set(truth)) == 2
    for name, theirs in RANKINGS.items():
        value = ours.pop(name)
        assert value == pytest.approx(theirs(truth, found), abs=1e-6) if both else value != value
    assert ours == pytest.approx(_macro(truth, found, average="binary"), abs=1e-6)


def _macro(truth: object, found: object, average: str = "macro") -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, f1, _ = oracle.precision_recall_fscore_support(
            truth, found, average=average, zero_division=0
        )
    accuracy = oracle.accuracy_score(truth, found)
    majority = np.unique(np.asarray(truth), return_counts=True)[1].max() / np.size(truth)
    return {
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "majority": majority,
    }


def test_multilabel_metrics_are_scikit_learns_over_known_entries() -> None:
    task, _, _ = ready("multilabel")
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (40, 3)).astype(float)
    truth[random.random((40, 3)) < 0.3] = np.nan
    found = random.integers(0, 2, (40, 3))
    collection = task.metrics()
    for part in (slice(0, 15), slice(15, 40)):
        collection.update(
            task.decode(20.0 * torch.from_numpy(found[part]).float() - 10.0),
            torch.from_numpy(truth[part]).float(),
        )
    ours = {k: float(v) for k, v in collection.compute().items()}
    known = ~np.isnan(truth)
    per_label = [
        oracle.precision_recall_fscore_support(
            truth[known[:, c], c], found[known[:, c], c], average="binary", zero_division=0
        )[:3]
        for c in range(3)
    ]
    precision, recall, f1 = np.mean(per_label, axis=0)
    for name, theirs in RANKINGS.items():
        expected = [theirs(truth[known[:, c], c], found[known[:, c], c]) for c in range(3)]
        assert ours.pop(name) == pytest.approx(np.mean(expected), abs=1e-6)
    exact = np.mean([(truth[i][known[i]] == found[i][known[i]]).all() for i in range(40)])
    assert ours == pytest.approx(
        {
            "accuracy": (truth[known] == found[known]).mean(),
            "exact_match": exact,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        },
        abs=1e-6,
    )


def test_binary_loss_is_torchs_with_its_positive_weight() -> None:
    task, target, present = ready("binary")
    output = guess(task, len(target))[present]
    theirs = F.binary_cross_entropy_with_logits(
        output[:, 0], target[present], pos_weight=torch.tensor(2.0)
    )
    torch.testing.assert_close(task.loss(output, target[present]).mean(), theirs)


def test_multilabel_loss_is_the_mean_over_each_examples_known_labels() -> None:
    task, target, present = ready("columns")
    output = guess(task, len(target))
    ours = task.loss(output, target)
    for row in present.nonzero().flatten().tolist():
        known = ~target[row].isnan()
        theirs = F.binary_cross_entropy_with_logits(output[row][known], target[row][known])
        torch.testing.assert_close(ours[row], theirs)


def test_multilabel_positive_weight_is_torchs() -> None:
    task, target, present = ready("multilabel")
    output = guess(task, len(target))[present]
    theirs = F.binary_cross_entropy_with_logits(
        output, target[present], pos_weight=torch.full((3,), 3.0)
    )
    torch.testing.assert_close(task.loss(output, target[present]).mean(), theirs)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("no", "yes"), ("no", "yes")),
        ((1, 0.0), ("0", "1")),
        ((True, False), ("false", "true")),
        (("Y", "N"), ("N", "Y")),
        (("T", "N"), ("N", "T")),  # tumour and normal keep their names
        (("male", "female"), ("female", "male")),
        (("f", "m"), ("f", "m")),
        (("yes",), ("no", "yes")),
        ((0,), ("0", "1")),
        (("True", True, "false"), ("false", "true")),
    ],
)
def test_binary_understands_yes_and_no(
    labels: tuple[object, ...], classes: tuple[str, str]
) -> None:
    task = Binary(**COMMON).fit(cells(*labels))  # type: ignore[arg-type]
    assert tuple(c.lower() for c in task.classes) == tuple(c.lower() for c in classes)
    target, present = task.encode(cells(*labels))
    assert present.all()
    names = [label_text(label).lower() for label in labels]
    assert target.tolist() == [float(name == classes[1].lower()) for name in names]


@pytest.mark.parametrize("labels", [("a",), ("a", "b", "c"), ("n", "f"), ("yes", "y"), (0, 1, 2)])
def test_binary_refuses_what_is_not_two_sided(labels: tuple[object, ...]) -> None:
    with pytest.raises(DataError, match="two different labels"):
        Binary(**COMMON).fit(cells(*labels))  # type: ignore[arg-type]
    named = Binary(**COMMON, classes=("f", "n")).fit(cells("n", "f"))  # type: ignore[arg-type]
    assert named.encode(cells("n", "f"))[0].tolist() == [1, 0]


def test_classification_describes_names_and_probabilities() -> None:
    task = multiclass("cat", "dog")
    (row,) = task.describe(torch.tensor([[0.25, 0.75]]))
    assert row == {"task": "dog", "task.cat": 0.25, "task.dog": 0.75}
    binary, _, _ = ready("binary")
    assert binary.describe(torch.tensor([0.25, 0.75])) == [
        {"binary": "no", "binary.yes": 0.25},
        {"binary": "yes", "binary.yes": 0.75},
    ]
    many, _, _ = ready("multilabel")
    (row,) = many.describe(torch.tensor([[0.75, 0.25, 1.0]]))
    assert row["multilabel"] == "red|soft" and row["multilabel.round"] == 0.25


def test_probabilities_sum_to_one() -> None:
    task = multiclass("a", "b", "c")
    torch.testing.assert_close(task.decode(guess(task, 5)).sum(1), torch.ones(5))


def test_multilabel_reads_lists_and_the_empty_list() -> None:
    task = Multilabel(**COMMON)  # type: ignore[arg-type]
    table = cells("x", "x", "x")
    table[0, 0], table[1, 0], table[2, 0] = np.array(["a", "b"]), ("b", 3), []
    fitted = task.fit(table)
    assert fitted.classes == ("3", "a", "b")
    target, present = fitted.encode(table)
    assert present.all() and target.tolist() == [[0, 1, 1], [1, 0, 1], [0, 0, 0]]
    assert fitted.encode(cells(" a | 3 ", "|"))[0].tolist() == [[1, 1, 0], [0, 0, 0]]


def test_multilabel_classes_must_fit_its_columns() -> None:
    two = {**COMMON, "target": {"t": ("a", "b")}}
    with pytest.raises(DataError, match=r"one label per target column \(2\)"):
        Multilabel(**two, classes=("a", "b", "c")).fit(cells([1, 0]))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="kind: binary"):
        Multilabel(**COMMON).fit(cells("a", "a"))  # type: ignore[arg-type]


@given(
    st.lists(
        st.sampled_from([True, False, 1, 1.0, 0, "1", " 1", "true", 2.5, np.float64(1), np.True_])
        | st.text(max_size=3)
    )
)
def test_labels_are_counted_as_they_are_named(column: list[Any]) -> None:
    """Cells that are equal, such as 1 and true, may be two labels; others may be one."""
    named = [composed(label_text(cell)) for cell in column]
    assert label_counts(column) == Counter(named)
    assert list(label_counts(column)) == list(dict.fromkeys(named))
