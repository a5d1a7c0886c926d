"""Sharing up to a depth, and columns that are stitched together."""

import pytest
import torch

from polytask.backbones import Backbone, PerceptronBackbone
from polytask.sharing import CrossStitch, HardSharing, Hierarchy, Independent, SharedThenSplit
from polytask.sharing.soft import stitched, stitched_start
from polytask.types import Features

NAMES = ["a", "b", "c"]
X = Features(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))


def backbone() -> Backbone:
    return PerceptronBackbone(4, widths=(5, 3, 6))


def test_what_is_shared_of_a_hierarchy_is_what_two_tasks_run_through() -> None:
    trunk = Hierarchy(backbone, NAMES, leaves={"a": 1, "b": 2})
    assert trunk.out_features == {"a": 5, "b": 3, "c": 6}
    given = trunk(X, NAMES)
    for task in NAMES:
        assert given[task].values.shape[1] == trunk.out_features[task]
    shared = {id(p) for p in trunk.shared_parameters()}
    movers: dict[int, set[str]] = {}
    for task in NAMES:
        trunk.zero_grad()
        (trunk(X, NAMES)[task].values * torch.randn(5, 1)).sum().backward()
        for p in trunk.parameters():
            if p.grad is not None and p.grad.any():
                movers.setdefault(id(p), set()).add(task)
    assert shared == {p for p, who in movers.items() if len(who) > 1}
    assert shared == {id(p) for p in trunk.backbone.stages[:2].parameters()}


def test_stages_that_no_task_reaches_are_not_made() -> None:
    trunk = Hierarchy(backbone, ["a", "b"], leaves={"a": 2, "b": 1})
    assert len(trunk.backbone.stages) == 2
    assert torch.equal(trunk(X, ["a"])["a"].values, trunk(X, ["b", "a"])["a"].values)


def test_a_task_may_leave_before_the_first_stage() -> None:
    trunk = Hierarchy(backbone, NAMES, leaves={"a": 0, "b": 2})
    assert trunk(X, NAMES)["a"] is X
    assert trunk.out_features == {"a": X.values.shape[1], "b": 3, "c": 6}
    shared = {id(p) for p in trunk.shared_parameters()}
    assert shared == {id(p) for p in trunk.backbone.stages[:2].parameters()}
    alone = Hierarchy(backbone, ["a"], leaves={"a": 0})  # as a network of its own has it
    assert alone(X, ["a"])["a"] is X and not list(alone.parameters())


def test_a_backbone_that_does_not_say_what_it_is_given_has_a_first_stage() -> None:
    def unsaid() -> Backbone:
        made = backbone()
        made.in_features = None
        return made

    assert Hierarchy(unsaid, NAMES, leaves={"a": 1}).out_features["a"] == 5
    with pytest.raises(ValueError, match="`in_features`, or let the task leave after 1"):
        Hierarchy(unsaid, NAMES, leaves={"a": 0})


def test_a_hierarchy_says_what_is_wrong_with_its_depths() -> None:
    with pytest.raises(ValueError, match="no task 'd'"):
        Hierarchy(backbone, NAMES, leaves={"d": 1})
    with pytest.raises(ValueError, match=r"0 to the backbone's 3 stages. Found 4 for task 'a'"):
        Hierarchy(backbone, NAMES, leaves={"a": 4})
    with pytest.raises(ValueError, match=r"0 to the backbone's 3 stages. Found -1"):
        Hierarchy(backbone, NAMES, leaves={"b": -1})
    with pytest.raises(ValueError, match=r"1 to the backbone's 3 stages. Found 0"):
        SharedThenSplit(backbone, NAMES, shared_stages=0)


def test_split_after_all_stages_is_hard_sharing() -> None:
    torch.manual_seed(0)
    hard = HardSharing(backbone, NAMES)
    torch.manual_seed(0)
    split = SharedThenSplit(backbone, NAMES, shared_stages=3)
    assert torch.equal(split(X, ["b"])["b"].values, hard(X, ["b"])["b"].values)
    assert sum(p.numel() for p in split.parameters()) == sum(p.numel() for p in hard.parameters())
    early = SharedThenSplit(backbone, NAMES, shared_stages=1)
    given = early(X, NAMES)
    assert not torch.equal(given["a"].values, given["b"].values)


def test_stitches_start_as_in_the_paper_and_their_rows_sum_to_one() -> None:
    assert torch.equal(stitched_start(1, 0.9), torch.ones(1, 1))
    torch.testing.assert_close(stitched_start(2, 0.9), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    torch.testing.assert_close(stitched_start(5, 0.9).sum(1), torch.ones(5))
    table = CrossStitch(backbone, NAMES).shares()["stitches"]
    torch.testing.assert_close(table, stitched_start(3, 0.9).expand(3, 3, 3))
    assert CrossStitch(backbone, ["a"]).shares() == {}


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 4, 3, 5)])
@pytest.mark.parametrize("channels", [1, 4])
def test_stitching_is_a_sum_over_columns(shape: tuple[int, ...], channels: int) -> None:
    values, stitch = torch.randn(3, *shape), torch.randn(3, 3, channels)
    found = stitched(values, stitch)
    for t in range(3):
        at = (-1, 1, 1) if len(shape) == 4 else (-1,)
        expected = sum(stitch[t, u].view(at) * values[u] for u in range(3))
        torch.testing.assert_close(found[t], expected)


@pytest.mark.parametrize("per_channel", [False, True])
def test_columns_that_keep_to_themselves_are_independent(per_channel: bool) -> None:
    torch.manual_seed(0)
    alone = Independent(backbone, NAMES)
    torch.manual_seed(0)
    trunk = CrossStitch(backbone, NAMES, keep=1.0, per_channel=per_channel)
    for task, found in trunk(X, NAMES).items():
        torch.testing.assert_close(found.values, alone(X, [task])[task].values)
    assert {id(p) for p in trunk.shared_parameters()} == {id(p) for p in trunk.parameters()}
