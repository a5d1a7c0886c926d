"""Ordinal classes against the papers' formulas and scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from polytask.errors import DataError
from polytask.tasks import Ordinal
from polytask.tasks.ordinal import coral_loss, corn_loss, median_rank
from polytask.types import Features
from tests.tasks.kinds import cells

COMMON = {"name": "grade", "input": "x", "target": {"t": "label"}}


def ordinal(**settings: object) -> Ordinal:
    return Ordinal(**COMMON, **settings).fit(cells(1, 2, 3, 4))  # type: ignore[arg-type]


def logits(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))


def test_coral_loss_is_the_articles_sum_over_levels() -> None:
    output, rank = logits(), torch.tensor([0, 1, 2, 3, 3, 0])
    levels = torch.tensor([[float(r > k) for k in range(3)] for r in rank.tolist()])
    theirs = -(F.logsigmoid(output) * levels + (F.logsigmoid(output) - output) * (1 - levels)).sum(
        1
    )
    torch.testing.assert_close(coral_loss(output, rank), theirs)


def test_corn_loss_asks_only_those_who_passed_the_question_before() -> None:
    output, rank = logits(), torch.tensor([0, 1, 2, 3, 3, 0])
    total = torch.zeros(())
    for k in range(3):
        asked = rank > k - 1
        above = (rank[asked] > k).float()
        total += F.binary_cross_entropy_with_logits(output[asked, k], above, reduction="sum")
    torch.testing.assert_close(corn_loss(output, rank).sum(), total)


def test_corns_probabilities_follow_the_chain_rule() -> None:
    task, output = ordinal(method="corn"), logits()
    asked = output.sigmoid()
    above = torch.stack([asked[:, 0], asked[:, :2].prod(1), asked.prod(1)], 1)
    likely = task.decode(output)
    torch.testing.assert_close(likely.sum(1), torch.ones(6))
    torch.testing.assert_close(1 - likely.cumsum(1)[:, :3], above)
    assert median_rank(likely).tolist() == (above > 0.5).sum(1).tolist()


def test_corals_head_has_one_slope_and_its_probabilities_keep_the_order() -> None:
    task = ordinal()
    head = task.head(5)
    assert sum(p.numel() for p in head.parameters()) == 5 + 1 + 3
    output = head(Features(torch.randn(7, 5)))
    assert (output[:, :-1] >= output[:, 1:]).all()
    assert (task.decode(10 * output) >= 0).all()


@given(data=st.data(), rows=st.integers(2, 20))
@settings(max_examples=30, deadline=None)
def test_metrics_are_scikit_learns(data: st.DataObject, rows: int) -> None:
    column = st.lists(st.integers(0, 3), min_size=rows, max_size=rows)
    truth, found = data.draw(column), data.draw(column)
    collection = ordinal().metrics()
    collection.update(F.one_hot(torch.tensor(found), 4).float(), torch.tensor(truth))
    ours = {k: float(v) for k, v in collection.compute().items()}
    assert ours["mae"] == pytest.approx(oracle.mean_absolute_error(truth, found), abs=1e-6)
    assert ours["accuracy"] == pytest.approx(oracle.accuracy_score(truth, found), abs=1e-6)
    if len(set(truth) | set(found)) > 1:
        theirs = oracle.cohen_kappa_score(truth, found, weights="quadratic", labels=range(4))
        assert ours["kappa"] == pytest.approx(theirs, abs=1e-5)


def test_words_need_an_order_and_numbers_have_one() -> None:
    assert Ordinal(**COMMON).fit(cells(10, 9, "2")).classes == ("2", "9", "10")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"'fair'.*lowest to highest under 'tasks\.grade\.classes'"):
        Ordinal(**COMMON).fit(cells("fair", "good"))  # type: ignore[arg-type]


def test_an_order_stays_that_of_the_run_to_start_from() -> None:
    task = ordinal()
    assert task.continuing(task) == task
    with pytest.raises(DataError, match="method corn"):
        task.continuing(ordinal(method="corn"))
    assert np.isclose(float(task.decode(logits()).sum()), 6)
