"""Tasks in an order, the lower ones' features fed to the higher ones."""

import pytest
import torch

from polytask.backbones import Backbone, PerceptronBackbone
from polytask.sharing import JointMany
from polytask.sharing.joint import depths
from polytask.types import Features

NAMES = ["a", "b", "c", "d"]
X = Features(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))


def backbone() -> Backbone:
    return PerceptronBackbone(4, widths=(5, 3, 6))


def test_tasks_are_spread_over_the_stages_in_their_order() -> None:
    assert list(depths(["a", "b", "c"], {}, 3).values()) == [1, 2, 3]
    assert list(depths(NAMES, {}, 2).values()) == [1, 1, 2, 2]
    assert list(depths(["a", "b"], {}, 5).values()) == [3, 5]
    assert depths(["a", "b"], {"b": 1}, 5) == {"a": 3, "b": 1}
    with pytest.raises(ValueError, match="no task 'e'"):
        depths(NAMES, {"e": 1}, 2)
    with pytest.raises(ValueError, match=r"from 1 to the backbone's 2 stages. Found 3"):
        depths(NAMES, {"a": 3}, 2)


def test_what_a_lower_task_found_is_added_to_what_enters_the_next_stage() -> None:
    trunk = JointMany(backbone, ["a", "b"], leaves={"a": 1, "b": 2}, width=7)
    assert len(trunk.backbone.stages) == 2 and trunk.out_features == {"a": 7, "b": 7}
    first = trunk.backbone.stages[0](X).values
    low = trunk.layers["a"](first)
    high = trunk.backbone.stages[1](Features(first + trunk.feeds[0](low))).values
    given = trunk(X, ["b", "a"])
    torch.testing.assert_close(given["a"].values, low)
    torch.testing.assert_close(given["b"].values, trunk.layers["b"](high))


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("leaves", [{"a": 1, "b": 1, "c": 2, "d": 3}, {"a": 3, "b": 2, "c": 2}])
def test_what_is_shared_is_what_several_tasks_move(leaves: dict[str, int], detach: bool) -> None:
    torch.manual_seed(0)
    trunk = JointMany(backbone, NAMES, leaves=leaves, detach=detach)
    movers: dict[str, set[str]] = {}
    for task in NAMES:
        trunk.zero_grad()
        values = trunk(X, NAMES)[task].values
        (values * torch.randn(values.shape)).sum().backward()
        for name, p in trunk.named_parameters():
            if p.grad is not None and p.grad.any():
                movers.setdefault(name, set()).add(task)
    shared = {id(p) for p in trunk.shared_parameters()}
    assert {n for n, who in movers.items() if len(who) > 1} == {
        n for n, p in trunk.named_parameters() if id(p) in shared
    }
    low = min(NAMES, key=lambda task: trunk.leaves[task])
    assert (movers[f"layers.{low}.0.weight"] == {low}) == detach
    assert set(movers) == {name for name, _ in trunk.named_parameters()}


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`width` should be at least 1\. Found 0"):
        JointMany(lambda: PerceptronBackbone(4, widths=(5,)), ["a"], width=0)
