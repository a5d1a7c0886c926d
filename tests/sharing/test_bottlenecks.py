"""Adapters: nothing at first, nobody else's, and their formula."""

from typing import Any

import pytest
import torch
from torch import nn

from polytask.backbones import SequentialBackbone
from polytask.sharing import Adapters
from polytask.types import Features
from tests.sharing.kinds import KINDS, movers, shared_names, unsettle

NAMES = ["a", "type", "c"]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_placement = pytest.mark.parametrize("placement", ["serial", "parallel"])


def made(kind: str, **settings: Any) -> tuple[Adapters, Features]:
    torch.manual_seed(0)
    make, features = KINDS[kind]
    return Adapters(make, NAMES, bottleneck=2, **settings), features()


@every_kind
@every_placement
def test_the_first_output_is_the_plain_backbones(kind: str, placement: str) -> None:
    trunk, features = made(kind, placement=placement)
    trunk.eval()
    plain = trunk.backbone(features).values
    assert all(torch.equal(given.values, plain) for given in trunk(features, NAMES).values())
    assert not trunk.shares()["adapters"].any()


@every_kind
@every_placement
@pytest.mark.parametrize("freeze", [True, False])
def test_shared_is_what_several_tasks_move(kind: str, placement: str, freeze: bool) -> None:
    trunk, features = made(kind, placement=placement, freeze=freeze)
    unsettle(trunk)
    moved = movers(trunk, features, NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
    assert bool(shared_names(trunk)) is not freeze
    own = {name for name, _ in trunk.own.named_parameters(prefix="own")}
    assert own <= set(moved)


@every_kind
@every_placement
def test_a_task_added_later_leaves_the_others_bit_for_bit(kind: str, placement: str) -> None:
    trunk, features = made(kind, placement=placement, freeze=True)
    unsettle(trunk)
    before = {t: g.values.detach() for t, g in trunk.eval()(features, NAMES).items()}
    trunk.train().add_task("training")
    optimizer = torch.optim.SGD(trunk.own["training"].parameters(), lr=0.1)
    for _ in range(3):
        trunk(features, ["training"])["training"].values.square().sum().backward()
        optimizer.step()
    after = trunk.eval()(features, [*NAMES, "training"])
    assert all(torch.equal(after[task].values, before[task]) for task in NAMES)
    assert trunk.shares()["adapters"][3].any() and trunk.out_features["training"]
    with pytest.raises(ValueError, match="'a' is there already"):
        trunk.add_task("a")


@every_placement
def test_is_its_formula_on_maps(placement: str) -> None:
    trunk, features = made("maps", placement=placement)
    unsettle(trunk.eval())
    expected = features.values
    for stage, adapter in zip(trunk.backbone.stages, trunk.part_of("type"), strict=True):
        after = stage(Features(expected)).values
        seen = after
        if placement == "parallel":
            seen = nn.functional.adaptive_avg_pool2d(expected, tuple(after.shape[2:]))
        for name in ("down", "up"):
            weight = adapter.get_parameter(f"{name}.weight")[:, :, None, None]
            seen = nn.functional.conv2d(seen, weight, adapter.get_parameter(f"{name}.bias"))
            seen = nn.functional.gelu(seen) if name == "down" else seen
        expected = after + seen
    torch.testing.assert_close(trunk(features, ["type"])["type"].values, expected)


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    trunk, features = made("maps", freeze=True)
    before = {k: v.clone() for k, v in trunk.backbone.state_dict().items()}
    trunk.train()(features, NAMES)
    assert all(torch.equal(v, before[k]) for k, v in trunk.backbone.state_dict().items())


def test_settings_that_cannot_be_are_refused() -> None:
    make = KINDS["vectors"][0]
    with pytest.raises(ValueError, match="`bottleneck`"):
        Adapters(make, NAMES, bottleneck=0)
    with pytest.raises(ValueError, match="Found 'both'"):
        Adapters(make, NAMES, placement="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`in_features=None`"):
        Adapters(lambda: SequentialBackbone([nn.Tanh()], (4,)), NAMES, placement="parallel")
