"""Low-rank changes: nothing at first, nobody else's, and merged into a plain backbone."""

from typing import Any

import pytest
import torch

from polytask.sharing import LoRA
from polytask.types import Features
from tests.sharing.kinds import KINDS, movers, shared_names, unsettle

NAMES = ["a", "type", "c"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, **settings: Any) -> tuple[LoRA, Features]:
    torch.manual_seed(0)
    make, features = KINDS[kind]
    return LoRA(make, NAMES, rank=2, **settings), features()


@every_kind
def test_the_first_output_is_the_plain_backbones(kind: str) -> None:
    trunk, features = made(kind)
    trunk.eval()
    plain = trunk.backbone(features).values
    assert all(torch.equal(given.values, plain) for given in trunk(features, NAMES).values())
    assert not trunk.shares()["changes"].any()


@every_kind
@pytest.mark.parametrize("freeze", [True, False])
def test_shared_is_what_several_tasks_move(kind: str, freeze: bool) -> None:
    trunk, features = made(kind, freeze=freeze)
    unsettle(trunk)
    moved = movers(trunk, features, NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
    assert bool(shared_names(trunk)) is not freeze


@every_kind
def test_a_task_added_later_leaves_the_others_bit_for_bit(kind: str) -> None:
    trunk, features = made(kind, freeze=True)
    unsettle(trunk)
    before = {t: g.values.detach() for t, g in trunk.eval()(features, NAMES).items()}
    trunk.train().add_task("training")
    optimizer = torch.optim.SGD([p for p in trunk.own["training"].parameters()], lr=0.1)
    for _ in range(3):
        trunk(features, ["training"])["training"].values.square().sum().backward()
        optimizer.step()
    after = trunk.eval()(features, [*NAMES, "training"])
    assert all(torch.equal(after[task].values, before[task]) for task in NAMES)
    assert trunk.shares()["changes"][3].any() and trunk.out_features["training"]
    with pytest.raises(ValueError, match="'a' is there already"):
        trunk.add_task("a")


@every_kind
def test_merged_is_the_tasks_own_backbone(kind: str) -> None:
    trunk, features = made(kind)
    unsettle(trunk)
    trunk.eval()
    merged = trunk.merge("type")
    expected = trunk(features, ["type"])["type"].values
    torch.testing.assert_close(merged(features).values, expected)
    assert not torch.equal(expected, trunk.backbone(features).values)
    assert not {id(p) for p in merged.parameters()} & {id(p) for p in trunk.parameters()}


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`rank`"):
        LoRA(KINDS["vectors"][0], NAMES, rank=0)
