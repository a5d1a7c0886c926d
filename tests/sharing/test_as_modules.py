"""Topologies in a loop of one's own: plain modules, and clear words for what they cannot take."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from polytask.backbones import SequentialBackbone
from polytask.config.catalogue import TRUNKS
from polytask.sharing import CrossStitch, HardSharing, LoRA, SharedPrivate, Trunk
from polytask.types import Features

TASKS = ["a", "b"]
every_trunk = pytest.mark.parametrize("kind", TRUNKS)


def column() -> SequentialBackbone:
    """Somebody's own stages."""
    stages = nn.Sequential(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh()),
    )
    return SequentialBackbone(stages, widths=(4, 4))


def trained(kind: str) -> tuple[Trunk, Features]:
    """A topology that has just had a training pass, whose penalty nobody has asked for."""
    torch.manual_seed(0)
    trunk = TRUNKS[kind](column, TASKS)
    features = Features(torch.randn(5, 3))
    sum(found.values.sum() for found in trunk(features, TASKS).values()).backward()  # type: ignore[union-attr]
    return trunk, features


@every_trunk
@pytest.mark.filterwarnings("ignore:All tasks read one input")
def test_is_copied_and_pickled_amid_training(kind: str) -> None:
    trunk, features = trained(kind)
    file = io.BytesIO()
    torch.save(trunk, file)
    file.seek(0)
    ours = trunk.eval()(features, TASKS)
    for other in (copy.deepcopy(trunk), torch.load(file, weights_only=False)):
        assert {id(p) for p in other.parameters()}.isdisjoint(id(p) for p in trunk.parameters())
        theirs = other.eval()(features, TASKS)
        assert all(torch.equal(ours[task].values, theirs[task].values) for task in TASKS)


@every_trunk
@pytest.mark.filterwarnings("ignore:All tasks read one input")
def test_follows_the_type_of_numbers_that_it_is_brought_to(kind: str) -> None:
    trunk, features = trained(kind)
    ours = trunk.eval()(features, TASKS)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        other = copy.deepcopy(trunk).to(dtype)
        theirs = other(Features(features.values.to(dtype)), TASKS)
        for task in TASKS:
            assert theirs[task].values.dtype == dtype
            torch.testing.assert_close(
                theirs[task].values.float(), ours[task].values, rtol=0.1, atol=0.1
            )


@every_trunk
def test_says_what_it_takes(kind: str) -> None:
    trunk = TRUNKS[kind](column, ["depth", "normals"])
    values = torch.randn(5, 3)
    wrong: Any = values
    with pytest.raises(TypeError, match=r"Features\(values\)"):
        trunk(wrong, ["depth"])
    with pytest.raises(ValueError, match=r"'dept'\. Did you mean 'depth'\?"):
        trunk(Features(values), ["normals", "dept"])
    with pytest.raises(TypeError, match="list of names"):
        trunk(Features(values), "depth")


@every_trunk
@pytest.mark.parametrize(
    ("tasks", "error"),
    [([], ValueError), (["a", "a"], ValueError), (["a.b"], ValueError), ("ab", TypeError)],
)
def test_names_that_cannot_be(kind: str, tasks: list[str], error: type[Exception]) -> None:
    with pytest.raises(error, match="tasks"):
        TRUNKS[kind](column, tasks)


def test_makers_that_cannot_be() -> None:
    wrong: Any = column()
    with pytest.raises(TypeError, match=r"Found a SequentialBackbone, made already"):
        HardSharing(wrong, TASKS)
    wrong = lambda: nn.Sequential(nn.Linear(3, 4))  # noqa: E731
    with pytest.raises(TypeError, match=r"Found a Sequential\. .*SequentialBackbone\(stages"):
        HardSharing(wrong, TASKS)
    layers = nn.Sequential(nn.Linear(3, 4))
    for kind in (CrossStitch, SharedPrivate):
        with pytest.raises(ValueError, match="same layers each time"):
            kind(lambda: SequentialBackbone(layers, widths=(4,)), TASKS)  # type: ignore[arg-type]
    HardSharing(lambda: SequentialBackbone(layers, widths=(4,)), TASKS)


def test_a_backbone_takes_features() -> None:
    wrong: Any = torch.randn(5, 3)
    with pytest.raises(TypeError, match=r"Features\(values\)"):
        column()(wrong)


def test_a_task_that_comes_later_has_a_name_like_the_others() -> None:
    trunk = LoRA(column, TASKS)
    with pytest.raises(ValueError, match="no dot"):
        trunk.add_task("c.d")
    assert trunk.tasks == ("a", "b")


def moved(kind: str, **settings: float) -> Trunk:
    """A topology whose columns are no longer what they began as, after a training pass."""
    torch.manual_seed(0)
    trunk = TRUNKS[kind](column, TASKS, **settings)
    for parameter in trunk.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    trunk(Features(torch.randn(5, 3)), TASKS)
    return trunk


def passes(trunk: Trunk, count: int = 120) -> list[str]:
    """What a loop is told in so many training passes, in which nobody asks for the penalty."""
    features = Features(torch.randn(5, 3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(count):
            trunk(features, TASKS)
    return [str(w.message) for w in told if "penalty" in str(w.message)]


PENALIZED = {"soft": "weight", "shared-private": "orthogonal", "sluice": "orthogonal"}


@pytest.mark.filterwarnings("ignore:All tasks read one input")
@every_trunk
def test_a_penalty_that_nobody_asks_for_is_told_once(kind: str) -> None:
    trunk = moved(kind)
    asked = copy.deepcopy(trunk)
    told = passes(trunk)
    has_one = kind in PENALIZED
    assert len(told) == has_one and all("`trunk.penalty()`" in line for line in told)
    assert passes(trunk) == []
    asked.penalty()
    assert passes(asked) == []


@pytest.mark.filterwarnings("ignore:All tasks read one input")
@pytest.mark.parametrize("kind", PENALIZED)
def test_passes_that_train_nothing_do_not_count(kind: str) -> None:
    trunk = moved(kind)
    with torch.no_grad():
        assert passes(trunk) == []
    assert passes(trunk.eval()) == []
    assert len(passes(trunk.train(), 99)) == 1  # with the pass of `trained`
    without = moved(kind, **{PENALIZED[kind]: 0.0})
    assert passes(without) == []


def test_a_topology_of_ones_own_may_have_its_penalty_as_it_likes() -> None:
    class Own(HardSharing):
        def penalty(self) -> torch.Tensor | None:
            return torch.ones(())

    assert passes(Own(column, TASKS)) == []
