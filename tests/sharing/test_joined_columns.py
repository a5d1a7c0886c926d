"""Columns that meet at the end, and columns that each task fuses after every stage."""

import pytest
import torch
from torch import nn

from polytask.backbones import Backbone, PerceptronBackbone, RecurrentBackbone, ResidualBackbone
from polytask.sharing import NDDR, Independent, Joined
from polytask.sharing.channels import ChannelLinear, ChannelNorm
from polytask.sharing.fused import fused_start
from polytask.types import Features

NAMES = ["a", "b", "c"]
X = Features(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))


def backbone() -> Backbone:
    return PerceptronBackbone(4, widths=(5, 3))


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 4, 3, 5)])
def test_a_linear_layer_on_channels_is_one_wherever_channels_stand(shape: tuple[int, ...]) -> None:
    layer, values = ChannelLinear(4, 3), torch.randn(shape)
    last = values.movedim(1, -1) if len(shape) == 4 else values
    expected = nn.functional.linear(last, layer.weight, layer.bias)
    expected = expected.movedim(-1, 1) if len(shape) == 4 else expected
    torch.testing.assert_close(layer(values), expected)


def test_normalisation_leaves_out_padding() -> None:
    mask = torch.arange(6) < torch.tensor([[6], [2], [3]])
    values = torch.randn(3, 6, 4)
    norm, plain = ChannelNorm(4), nn.BatchNorm1d(4)
    expected = plain(values[mask])
    found = norm.normalized(Features(values.masked_fill(~mask.unsqueeze(2), 50.0), mask))
    torch.testing.assert_close(found[mask], expected)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    assert not found[~mask].any()
    torch.testing.assert_close(
        norm.eval().normalized(Features(values, mask))[mask], plain.eval()(values[mask])
    )
    maps = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(ChannelNorm(4).normalized(Features(maps)), nn.BatchNorm2d(4)(maps))


def test_joined_heads_read_one_layer_over_all_columns() -> None:
    torch.manual_seed(0)
    alone = Independent(backbone, NAMES)
    torch.manual_seed(0)
    trunk = Joined(backbone, NAMES, width=7, activation="relu")
    given = trunk(X, NAMES)
    ends = torch.cat([alone(X, [task])[task].values for task in NAMES], 1)
    torch.testing.assert_close(given["b"].values, trunk.join(ends).relu())
    assert given["a"] is given["c"] and trunk.out_features == dict.fromkeys(NAMES, 7)
    with pytest.raises(ValueError, match=r"`width` should be at least 1. Found 0"):
        Joined(backbone, NAMES, width=0)


def test_columns_are_pooled_before_the_join_if_asked() -> None:
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    values = torch.randn(2, 6, 4)
    trunk = Joined(lambda: RecurrentBackbone(4, width=3), NAMES, pool=True)
    found = trunk(Features(values, mask), ["a"])["a"]
    assert found.values.shape == (2, 6) and found.mask is None
    shorter = trunk(Features(values[1:, :2], mask[1:, :2]), ["a"])["a"]
    torch.testing.assert_close(found.values[1:], shorter.values)
    maps = Joined(lambda: ResidualBackbone(3, widths=(4,), stem="conv3", stem_width=4), NAMES)
    assert maps(Features(torch.randn(2, 3, 8, 8)), ["a"])["a"].values.ndim == 4


def test_fusions_start_as_in_the_paper() -> None:
    start = fused_start(2, 3, 1, 0.9)
    expected = torch.cat([0.05 * torch.eye(2), 0.9 * torch.eye(2), 0.05 * torch.eye(2)], 1)
    torch.testing.assert_close(start, expected)
    trunk = NDDR(backbone, NAMES)
    table = trunk.shares()["fusions"]
    torch.testing.assert_close(table, (0.05 + 0.85 * torch.eye(3)).expand(2, 3, 3))
    assert NDDR(backbone, ["a"]).shares() == {}


def test_columns_that_fuse_with_nobody_are_independent() -> None:
    torch.manual_seed(0)
    alone = Independent(backbone, NAMES)
    torch.manual_seed(0)
    trunk = NDDR(backbone, NAMES, keep=1.0, normalize=False)
    for task, found in trunk(X, NAMES).items():
        torch.testing.assert_close(found.values, alone(X, [task])[task].values)
    torch.manual_seed(0)
    single = NDDR(backbone, ["a"])
    torch.testing.assert_close(single(X, ["a"])["a"].values, alone(X, ["a"])["a"].values)
    assert not list(single.shared_parameters())


@pytest.mark.parametrize("normalize", [True, False])
def test_only_the_last_fusions_are_a_tasks_own(normalize: bool) -> None:
    trunk = NDDR(backbone, NAMES, normalize=normalize)
    shared = {id(p) for p in trunk.shared_parameters()}
    own = {name for name, p in trunk.named_parameters() if id(p) not in shared}
    assert {name.rsplit(".", 2)[0] for name in own} == {f"fusions.{t}.1" for t in NAMES}
    for task in NAMES:
        trunk.zero_grad()
        (trunk(X, [task])[task].values * torch.randn(5, 3)).sum().backward()
        moved = {n for n, p in trunk.named_parameters() if p.grad is not None and p.grad.any()}
        assert {n for n in own if n in moved} == {n for n in own if f".{task}." in n}
        assert {n for n, p in trunk.named_parameters() if id(p) in shared} <= moved
