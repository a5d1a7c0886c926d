"""The diagnosis sees the true cosines, and changes nothing."""

from typing import Any

import pytest
import torch

from polytask.balancing import (
    MGDA,
    Conflict,
    ConstantWeights,
    GradDrop,
    backward,
)
from tests.balancing.toys import Toy, flat


@pytest.mark.parametrize("use_features", [True, False])
@pytest.mark.parametrize(
    "balancer",
    [
        ConstantWeights(3, weights=(1.0, 2.0, 0.5)),
        ConstantWeights(3, weights=(1.0, 2.0, 0.5), weight_heads=True),
        MGDA(3),
        MGDA(3, every=5),
        GradDrop(3, leak=1.0),
    ],
)
def test_observed_and_unobserved_steps_agree(balancer: Any, use_features: bool) -> None:
    model = Toy(private=True)
    groups = {"first": model.trunk[0].parameters(), "last": model.trunk[2].parameters()}
    conflict = Conflict(3, groups=groups, every=2)
    rows, _ = model.gradients()
    updates = []
    for _ in range(3):
        model.clear()
        parts, aliases = model()
        backward(
            parts,
            balancer,
            model.shared,
            features=aliases if use_features else None,
            observe=conflict,
        )
        updates.append(flat(model.shared + model.others))
    torch.testing.assert_close(updates[0], updates[1])
    torch.testing.assert_close(updates[0], updates[2])
    assert [r.step for r in conflict.records] == [1, 3]
    units = rows / rows.norm(dim=1, keepdim=True)
    torch.testing.assert_close(conflict.cosines(), units @ units.T)
    norms = rows.norm(dim=1)
    torch.testing.assert_close(conflict.sizes(), norms / norms.mean())
    first = rows[:, : sum(p.numel() for p in model.trunk[0].parameters())]
    units = first / first.norm(dim=1, keepdim=True)
    torch.testing.assert_close(conflict.cosines("first"), units @ units.T)
    if isinstance(balancer, ConstantWeights):
        torch.testing.assert_close(conflict.weights(), torch.tensor([1.0, 2.0, 0.5]).double())


def test_absent_tasks_and_rates() -> None:
    conflict = Conflict(3, every=1)
    conflict.due()
    conflict.record({"all": torch.tensor([[1.0, -0.5], [-0.5, 4.0]]).double()}, None, [0, 2])
    conflict.due()
    conflict.record({"all": torch.eye(3).double()}, torch.ones(3), [0, 1, 2])
    assert conflict.rate()[0, 2] == 0.5
    assert conflict.cosines()[0, 2] == pytest.approx(-0.125)
    assert conflict.rate()[0, 1] == 0.0
    picture = conflict.svg(["a", "b", "c<"])
    assert picture.startswith("<svg")
    assert "c&lt;" in picture
    with pytest.raises(ValueError, match="group"):
        conflict.cosines("middle")


def test_before_anything_was_seen() -> None:
    conflict = Conflict(2)
    assert conflict.cosines().isnan().all()
    assert conflict.weights().isnan().all()
    assert "<svg" in conflict.svg()
