"""Attention per task over shared stages: its formula, its sizes, and what it reports."""

import pytest
import torch
from torch import nn

from polytask.sharing import MTAN
from polytask.sharing.attention import Attention
from polytask.sharing.places import at_every_place, fitted
from polytask.types import Features
from tests.sharing.kinds import KINDS, movers, shared_names, unsettle

NAMES = ["a", "type"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str) -> tuple[MTAN, Features]:
    torch.manual_seed(0)
    make, features = KINDS[kind]
    return MTAN(make, NAMES), features()


@every_kind
def test_shared_is_what_several_tasks_move(kind: str) -> None:
    trunk, features = made(kind)
    unsettle(trunk)
    moved = movers(trunk, features, NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
    assert shared_names(trunk) and set(moved) == {name for name, _ in trunk.named_parameters()}


def test_is_its_formula_on_maps() -> None:
    trunk, features = made("maps")
    trunk.eval()
    attended = None
    for stage, attention in zip(trunk.backbone.stages, trunk._attentions("type"), strict=True):
        features = stage(features)
        joined = features.values
        if attended is not None:
            small = nn.functional.adaptive_avg_pool2d(attended, tuple(joined.shape[2:]))
            joined = torch.cat((joined, small), 1)
        enter, norm, _, leave, _ = attention.get_submodule("layers").children()
        assert isinstance(enter, nn.Linear) and isinstance(leave, nn.Linear)
        x = nn.functional.conv2d(joined, enter.weight[:, :, None, None], enter.bias)
        x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).relu()
        x = nn.functional.conv2d(x, leave.weight[:, :, None, None], leave.bias).sigmoid()
        attended = features.values * x
    found = made("maps")
    given = found[0].eval()(found[1], ["type"])["type"].values
    torch.testing.assert_close(given, attended)


@every_kind
def test_says_the_mean_weight_of_each_stage(kind: str) -> None:
    trunk, features = made(kind)
    assert not trunk.shares()["attention"].any()
    with torch.no_grad():
        for attention in trunk._attentions("type"):
            layers = attention.get_submodule("layers")
            last = list(layers.children())[-2]
            assert isinstance(last, nn.Linear)
            last.weight.zero_()
            last.bias.fill_(2.0)
    for _ in range(3):
        trunk(features, ["type"])
    trunk.eval()(features, NAMES)
    table = trunk.shares()["attention"]
    assert not table[0].any()
    torch.testing.assert_close(table[1], torch.full_like(table[1], 2.0).sigmoid())


def test_the_mean_weight_is_over_frames_with_content() -> None:
    torch.manual_seed(0)
    attention = Attention(0, 3)
    values = torch.randn(2, 4, 3)
    short = Features(values[:, :2], torch.ones(2, 2, dtype=torch.bool))
    attention(short, None)
    expected = attention.mean.clone()
    attention.seen.zero_()
    values[:, 2:] = 50.0
    attention(Features(values, torch.arange(4) < torch.tensor([[2], [2]])), None)
    torch.testing.assert_close(attention.mean, expected)


def test_a_shorter_sequence_gets_means_of_the_frames_that_were_joined() -> None:
    values = torch.arange(10.0).view(2, 5, 1)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    values[1, 3:] = float("nan")
    found = fitted(Features(values, mask), Features(torch.zeros(2, 3, 7)))
    expected = torch.tensor([[0.5, 2.5, 4.0], [5.5, 7.0, 0.0]])
    torch.testing.assert_close(found.squeeze(2), expected)
    whole = fitted(Features(values[:1]), Features(torch.zeros(1, 3, 7)))
    torch.testing.assert_close(whole.squeeze(2), expected[:1])


def test_another_kind_or_a_longer_sequence_gets_the_mean_everywhere() -> None:
    maps, vectors = Features(torch.randn(2, 3, 4, 4)), Features(torch.randn(2, 3))
    sequences = Features(torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]]))
    longer = Features(torch.zeros(2, 6, 1))
    torch.testing.assert_close(fitted(maps, vectors), maps.values.mean((2, 3)))
    assert fitted(sequences, maps).shape == (2, 3, 4, 4)
    found = fitted(sequences, longer)
    assert found.shape == (2, 6, 3)
    torch.testing.assert_close(found[1], sequences.values[1, :2].mean(0).expand(6, 3))
    assert torch.equal(fitted(vectors, Features(torch.zeros(2, 9))), vectors.values)


def test_a_linear_layer_at_every_pixel_is_a_convolution() -> None:
    torch.manual_seed(0)
    layer, maps = nn.Linear(3, 2), torch.randn(2, 3, 4, 5)
    expected = nn.functional.conv2d(maps, layer.weight[:, :, None, None], layer.bias)
    torch.testing.assert_close(at_every_place(layer, maps), expected)
