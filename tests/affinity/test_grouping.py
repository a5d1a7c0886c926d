"""The best groups against all there are."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from polytask.affinity.candidates import best_groupings
from polytask.affinity.grouping import (
    Gains,
    Grouping,
    best_grouping,
    clustered_grouping,
    every_subset,
    gains_of_pairs,
    pairwise_gains,
    scored,
)


def partitions(tasks: list[int]) -> Iterator[list[list[int]]]:
    """All ways to divide tasks into groups."""
    if not tasks:
        yield []
        return
    for rest in partitions(tasks[1:]):
        yield [[tasks[0]], *rest]
        for number, group in enumerate(rest):
            yield [*rest[:number], [tasks[0], *group], *rest[number + 1 :]]


def masked(groups: list[list[int]], tasks: int) -> Tensor:
    mask = torch.zeros(len(groups), tasks, dtype=torch.bool)
    for number, group in enumerate(groups):
        mask[number, group] = True
    return mask


def random_gains(tasks: int, seed: int) -> Gains:
    """Any gains at all, by a table."""
    table = torch.randn(2**tasks, tasks, generator=torch.Generator().manual_seed(seed))
    table[[2**t for t in range(tasks)]] = 0.0
    powers = 2 ** torch.arange(tasks)
    return lambda masks: torch.where(masks, table[masks.long() @ powers].double(), torch.nan)


@pytest.mark.parametrize("tasks", [1, 3, 5, 6])
@pytest.mark.parametrize("most", [1, 2, 4])
def test_partitions_are_the_best_of_all(tasks: int, most: int) -> None:
    for seed in range(3):
        gains = random_gains(tasks, seed)
        found = best_grouping(tasks, gains, budget=most)
        best = max(
            scored(masked(groups, tasks), gains).total
            for groups in partitions(list(range(tasks)))
            if len(groups) <= most
        )
        assert found.exact and len(found.groups) <= most
        assert found.total == pytest.approx(best)
        assert sorted(t for g in found.groups for t in g.trains) == list(range(tasks))


@pytest.mark.parametrize("tasks", [1, 4, 6])
def test_several_partitions_are_the_best_of_all_in_order(tasks: int) -> None:
    gains = random_gains(tasks, 0)
    every = [p for p in partitions(list(range(tasks))) if len(p) <= 3]
    expected = sorted((scored(masked(p, tasks), gains).total for p in every), reverse=True)
    found = best_groupings(tasks, gains, most=3, count=7)
    assert [one.total for one in found] == pytest.approx(expected[:7])
    assert len({one.groups for one in found}) == len(found) and found[0].exact
    assert all(len(one.groups) <= 3 for one in found)


def test_several_partitions_of_many_tasks_differ_and_the_best_is_first() -> None:
    table = torch.randn(14, 14, generator=torch.Generator().manual_seed(1))
    gains = pairwise_gains(table)
    found = best_groupings(14, gains, most=5, count=4)
    totals = [one.total for one in found]
    assert totals == sorted(totals, reverse=True) and len({one.groups for one in found}) > 1
    assert totals[0] == best_grouping(14, gains, budget=5).total


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_overlapping_groups_are_the_best_of_all_covers(tasks: int) -> None:
    masks = every_subset(tasks)
    for seed in range(3):
        gains = random_gains(tasks, seed)
        expected = torch.where(masks, gains(masks), -torch.inf)
        for most in (1, 2):
            covers = [
                expected[list(chosen)].amax(0).mean()
                for chosen in torch.combinations(
                    torch.arange(len(masks)), most, with_replacement=True
                ).tolist()
            ]
            found = best_grouping(tasks, gains, budget=most, overlapping=True)
            assert found.total == pytest.approx(float(max(covers)))
            served = sorted(t for g in found.groups for t in g.serves)
            assert served == list(range(tasks))
            assert all(set(g.serves) <= set(g.trains) for g in found.groups)


def test_a_task_may_help_without_being_served() -> None:
    # Task 0 helps 1 and is harmed by it.
    affinity = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    apart = best_grouping(2, pairwise_gains(affinity), budget=2)
    helped = best_grouping(2, pairwise_gains(affinity), budget=2, overlapping=True)
    assert apart.total == 0.0 and helped.gains.tolist() == [0.0, 1.0]
    assert [(g.trains, g.serves) for g in helped.groups] == [((0,), (0,)), ((0, 1), (1,))]


def test_costs_bound_the_groups() -> None:

    def gains(masks: Tensor) -> Tensor:
        """The more, the better for each."""
        return torch.where(masks, masks.sum(1, keepdim=True) - 1.0, torch.nan).double()

    big = best_grouping(4, gains, budget=16, cost=lambda m: m.sum(1).double() ** 2)
    small = best_grouping(4, gains, budget=8, cost=lambda m: m.sum(1).double() ** 2)
    assert len(big.groups) == 1 and sorted(len(g.trains) for g in small.groups) == [2, 2]
    with pytest.raises(ValueError, match="No grouping fits"):
        best_grouping(4, gains, budget=3, cost=lambda m: m.sum(1).double() ** 2)


def test_pairs_never_seen_together_count_as_nothing() -> None:
    affinity = torch.tensor([[0, torch.nan, 0.4], [0.2, 0, torch.nan], [0.6, 0.2, 0]])
    found = pairwise_gains(affinity)(torch.tensor([[True, True, True], [True, False, False]]))
    assert found[0].tolist() == pytest.approx([0.4, 0.1, 0.2])
    assert found[1, 0] == 0 and bool(found[1, 1:].isnan().all())


def planted(clusters: list[int]) -> Tensor:
    """Tasks help those of their own cluster and harm all others, with some noise."""
    labels = torch.tensor([c for c, size in enumerate(clusters) for _ in range(size)])
    same = labels[:, None] == labels[None]
    noise = 0.2 * torch.randn(len(labels), len(labels), generator=torch.Generator().manual_seed(0))
    return torch.where(same, 1.0, -1.0).double() + noise


def groups_of(found: Grouping) -> list[int]:
    return sorted(len(g.trains) for g in found.groups)


def test_a_search_finds_planted_groups_of_many_tasks() -> None:
    found = best_grouping(31, pairwise_gains(planted([8, 12, 10, 1])), budget=4)
    assert groups_of(found) == [1, 8, 10, 12] and not found.exact
    fewer = best_grouping(31, pairwise_gains(planted([8, 12, 10, 1])), budget=2)
    assert len(fewer.groups) == 2


@pytest.mark.parametrize("seed", range(4))
def test_a_search_is_near_the_exact_one(seed: int) -> None:
    affinity = torch.randn(7, 7, generator=torch.Generator().manual_seed(seed)).double()
    gains = pairwise_gains(affinity)
    best = best_grouping(7, gains, budget=7)
    near = clustered_grouping(affinity, gains, most=7)
    assert 0.7 * best.total <= near.total <= best.total + 1e-9


def test_gains_of_pairs_go_from_row_to_column() -> None:
    affinity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
    affinity.fill_diagonal_(0.0)
    assert torch.allclose(gains_of_pairs(4, pairwise_gains(affinity)), affinity)


def test_what_cannot_be_searched_is_refused() -> None:
    gains = pairwise_gains(torch.ones(11, 11))
    with pytest.raises(ValueError, match="overlap"):
        best_grouping(11, gains, budget=3, overlapping=True)
    with pytest.raises(ValueError, match="number of models"):
        best_grouping(11, gains, budget=3, cost=lambda m: m.sum(1))
