"""Scales and shifts per task: nothing at first, then their formula."""

import pytest
import torch

from polytask.sharing import FiLM
from polytask.types import Features
from tests.sharing.kinds import KINDS, movers, shared_names, unsettle

NAMES = ["a", "type"]


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_plain_backbone_and_shares_it_exactly(kind: str) -> None:
    torch.manual_seed(0)
    make, inputs = KINDS[kind]
    trunk, features = FiLM(make, NAMES).eval(), inputs()
    plain = trunk.backbone(features).values
    assert all(torch.equal(g.values, plain) for g in trunk(features, NAMES).values())
    assert not trunk.shares()["scale"].any() and not trunk.shares()["shift"].any()
    unsettle(trunk.train())
    moved = movers(trunk, features, NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
    assert trunk.shares()["scale"].all()


def test_is_its_formula() -> None:
    torch.manual_seed(0)
    make, inputs = KINDS["maps"]
    trunk, features = FiLM(make, NAMES).eval(), inputs()
    unsettle(trunk)
    expected = features
    for stage, made in zip(trunk.backbone.stages, trunk._modulations("type"), strict=True):
        values = stage(expected).values
        expected = Features(
            values * made.get_parameter("scale")[None, :, None, None]
            + made.get_parameter("shift")[None, :, None, None]
        )
    torch.testing.assert_close(trunk(features, ["type"])["type"].values, expected.values)


def test_each_task_has_its_own_running_statistics() -> None:
    torch.manual_seed(0)
    make, inputs = KINDS["maps"]
    trunk, features = FiLM(make, NAMES, own_statistics=True), inputs()
    plain, alone = make(), make()
    for other in (plain, alone):
        other.load_state_dict(trunk.backbone.state_dict())
    made = {name: value.clone() for name, value in trunk.named_buffers()}
    for _ in range(3):
        trunk(features, ["type"])
        alone(features)
    moved = {n for n, value in trunk.named_buffers() if not torch.equal(value, made[n])}
    assert moved and all(name.startswith("statistics.type_.") for name in moved)
    given = trunk.eval()(features, NAMES)
    assert torch.equal(given["a"].values, plain.eval()(features).values)
    assert torch.equal(given["type"].values, alone.eval()(features).values)


@pytest.mark.parametrize("kind", KINDS)
def test_with_own_statistics_the_backbone_is_shared_exactly(kind: str) -> None:
    torch.manual_seed(0)
    make, inputs = KINDS[kind]
    trunk = FiLM(make, NAMES, own_statistics=True)
    unsettle(trunk)
    moved = movers(trunk, inputs(), NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
