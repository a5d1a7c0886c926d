"""Every set of a few tasks."""

import itertools

import pytest
import torch

from polytask.affinity import best_grouping, every_set, looked_up


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_every_set_is_there_once(tasks: int) -> None:
    found = {tuple(mask.nonzero().flatten().tolist()) for mask in every_set(tasks)}
    sizes = range(2, tasks + 1)
    assert found == {s for n in sizes for s in itertools.combinations(range(tasks), n)}
    assert len(every_set(tasks)) == len(found) == 2**tasks - tasks - 1


def test_what_was_measured_is_found_again() -> None:
    masks = every_set(4)
    gains = torch.randn(masks.shape, dtype=torch.float64).where(masks, torch.nan)
    order = torch.randperm(len(masks))
    torch.testing.assert_close(looked_up(gains)(masks[order]), gains[order], equal_nan=True)
    alone = looked_up(gains)(torch.eye(4, dtype=torch.bool))
    assert torch.equal(alone.diagonal(), torch.zeros(4, dtype=torch.float64))
    assert alone.isnan().sum() == 12


def test_the_best_grouping_is_that_of_the_measured_gains() -> None:
    """Four tasks: the pairs (0, 2) and (1, 3) gain, all else loses."""
    masks = every_set(4)
    good = [[0, 2], [1, 3]]
    gains = torch.full(masks.shape, -0.1).where(masks, torch.nan)
    for row, mask in enumerate(masks):
        if mask.nonzero().flatten().tolist() in good:
            gains[row, mask] = 0.2
    chosen = best_grouping(4, looked_up(gains), budget=2)
    assert sorted(list(g.trains) for g in chosen.groups) == good and chosen.total == pytest.approx(
        0.2
    )


def test_a_gain_that_was_not_measured_counts_as_nothing() -> None:
    gains = torch.full((1, 2), torch.nan)
    assert torch.equal(
        looked_up(gains)(torch.ones(1, 2, dtype=torch.bool)), torch.zeros(1, 2).double()
    )


def test_too_many_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="from 2 to 8"):
        every_set(9)
