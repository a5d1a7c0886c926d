"""What holds for each kind of task."""

import json
import math

import pytest
import torch

from polytask.errors import DataError
from polytask.tasks import LabelError
from polytask.tasks.dense import DenseTask
from polytask.tasks.stored import StoredTask
from polytask.training.history import ERRORS
from polytask.types import Features
from tests.tasks.kinds import EXAMPLES, cells, features, guess, raw, ready

KINDS = list(EXAMPLES)
# Metrics that are not about being right.
NEITHER = ("majority", "chance", "coverage", "width")
CELLS = [kind for kind in KINDS if not issubclass(EXAMPLES[kind][0], StoredTask)]


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_one_number_per_example(kind: str) -> None:
    task, target, present = ready(kind)
    output = guess(task, len(target))
    whole = task.loss(output, target)
    assert whole.shape == (len(target),) and whole.dtype == torch.float32
    assert kind == "gaussian" or (whole >= 0).all()
    alone = torch.cat([task.loss(o[None], t[None]) for o, t in zip(output, target, strict=True)])
    if kind == "similarity":  # which is about pairs
        assert (alone == 0).all() and (whole[present] > 0).all()
    else:
        torch.testing.assert_close(alone, whole)
    assert task.loss(output[:0], target[:0]).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_labels_are_absent_and_leave_no_gradient(kind: str) -> None:
    task, target, present = ready(kind)
    assert present.tolist() == [True, True, False, True, True, True]
    output = guess(task, len(target)).requires_grad_()
    task.loss(output[present], target[present]).sum().backward()
    assert output.grad is not None
    assert output.grad[2].eq(0).all() and output.grad.isfinite().all()


@pytest.mark.parametrize("kind", CELLS)
def test_a_nan_is_as_missing_as_none(kind: str) -> None:
    task, target, present = ready(kind)
    table = EXAMPLES[kind][2].copy()
    table[table == None] = float("nan")  # noqa: E711
    again, present_again = task.encode(table)
    assert raw(kind).fit(table) == task
    assert torch.equal(present, present_again)
    torch.testing.assert_close(target, again, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_survive_json(kind: str) -> None:
    task, target, _ = ready(kind)
    again = raw(kind).restored(json.loads(json.dumps(task.facts())))
    assert again == task
    torch.testing.assert_close(
        again.encode(EXAMPLES[kind][2])[0], target, equal_nan=True, rtol=0, atol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_label_at_all_is_an_error_that_names_the_column(kind: str) -> None:
    task = raw(kind)
    blank = EXAMPLES[kind][2].copy()
    blank[:] = None
    with pytest.raises(DataError, match=rf"'{kind}' has no label .*t\.\w+.*tasks\.{kind}\.target"):
        task.fit(blank)


@pytest.mark.parametrize("kind", KINDS)
def test_all_labels_missing_encodes_to_nothing_present(kind: str) -> None:
    task, target, _ = ready(kind)
    blank = EXAMPLES[kind][2].copy()
    blank[:] = None
    absent, present = task.encode(blank)
    assert not present.any() and len(absent) == len(target) and absent.dtype == target.dtype
    assert [t.shape[1:] for t in task.alike([absent, target])] == [target.shape[1:]] * 2
    empty = task.encode(blank[:0])[0]
    assert len(empty) == 0 and task.alike([empty, target])[0].shape[1:] == target.shape[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_overfits_ten_examples(kind: str) -> None:
    task, target, present = ready(kind)
    target, present = target.repeat(2, *[1] * (target.ndim - 1))[:10], present.repeat(2)[:10]
    torch.manual_seed(0)
    x, mask = features(task, 6, 8)
    x = x.repeat(2, *[1] * (x.ndim - 1))[:10]
    mask = None if mask is None else mask.repeat(2, 1)[:10]
    body = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh())
    guides = (task.guide(target),) if task.reads_target else ()
    dense = isinstance(task, DenseTask)  # channels come first in maps
    head = task.head(64)
    adam = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.02)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, total_iters=150)
    for _ in range(150):
        values = body(x.movedim(1, -1)).movedim(-1, 1) if dense else body(x)
        output = head(Features(values, mask), *guides)
        loss = task.loss(output[present], target[present]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        slower.step()
    output = head.eval()(Features(values, mask), *guides)
    metrics = task.metrics()
    metrics.update(task.decode(output[present]), target[present])
    # The gradient of absolute errors does not fade near the solution.
    bar = 0.9 if kind.startswith("quantile") or kind == "synthesis" else 0.98
    reached = metrics.compute()
    assert float(reached[task.score]) > bar
    # Who keeps the weights of an epoch, or searches, must know of which less is better.
    before = task.metrics()
    before.update(task.decode(guess(task, len(target))[present]), target[present])
    for name, value in before.compute().items():
        if name not in NEITHER and bool(value.isfinite()):
            better = float(value) - float(reached[name])
            assert better * (1 if name in ERRORS else -1) >= -1e-4, name


@pytest.mark.parametrize("kind", KINDS)
def test_its_score_is_one_of_its_metrics_and_metrics_start_afresh(kind: str) -> None:
    task, target, present = ready(kind)
    assert task.score in task.metrics()
    decoded = task.decode(guess(task, len(target)))[present]
    first, second = task.metrics(), task.metrics()
    first.update(decoded, target[present])
    first.reset()
    for metrics in (first, second):
        metrics.update(decoded[:3], target[present][:3])
    assert {k: float(v) for k, v in first.compute().items()} == pytest.approx(
        {k: float(v) for k, v in second.compute().items()}, nan_ok=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_outputs_are_decoded_in_single(kind: str) -> None:
    task, target, _ = ready(kind)
    output = guess(task, len(target))
    decoded = task.decode(output.bfloat16())
    if not decoded.is_floating_point():
        assert torch.equal(decoded, task.decode(output.bfloat16().float()))
        return
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(
        task.decode(output.bfloat16()), task.decode(output), rtol=0.05, atol=0.05, equal_nan=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_describes_each_example_by_name(kind: str) -> None:
    task, target, _ = ready(kind)
    rows = task.describe(task.decode(guess(task, len(target))))
    assert len(rows) == len(target)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "tagging"])
def test_unknown_label_names_row_and_nearest_or_is_skipped(kind: str) -> None:
    task, _, _ = ready(kind)
    known, near = {
        "multiclass": ("dog", "dig"),
        "binary": ("yes", "yess"),
        "multilabel": ("round", "rond"),
        "tagging": ("NOUN", "NOUM"),
    }[kind]
    table = cells(known, None, near)
    with pytest.raises(LabelError, match=f"{near}.*Did you mean '{known}'") as caught:
        task.encode(table)
    assert caught.value.row == 2
    _, present = task.encode(table, unknown="skip")
    assert present.tolist() == [True, False, False]


@pytest.mark.parametrize("kind", ["regression", "outputs"])
@pytest.mark.parametrize("cell", ["tall", "inf", 1e39, -math.inf, [1.0]])
def test_what_is_no_finite_number_names_row_and_cell(kind: str, cell: object) -> None:
    task, _, _ = ready(kind)
    table = EXAMPLES[kind][2].copy()
    table[4, -1] = cell
    with pytest.raises(LabelError, match="needs finite numbers") as caught:
        task.encode(table)
    assert caught.value.row == 4 and repr(cell) in str(caught.value)


def test_a_strange_yes_or_no_in_a_column_names_the_label_or_is_skipped() -> None:
    task, _, _ = ready("columns")
    with pytest.raises(LabelError, match=r"'round'.*'maybe'") as caught:
        task.encode(cells([1, 1], [0, "maybe"]))
    assert caught.value.row == 1
    target, present = task.encode(cells([1, 1], [0, "maybe"]), unknown="skip")
    assert present.all() and target[1, 0] == 0 and target[1, 1].isnan()
