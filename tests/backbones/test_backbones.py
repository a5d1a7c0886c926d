"""Shapes, identities and oracles of the backbones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from polytask.backbones import (
    Backbone,
    PerceptronBackbone,
    RecurrentBackbone,
    ResidualBackbone,
    SequentialBackbone,
    TransformerBackbone,
)
from polytask.backbones.convolutional import PooledStage, WhiteningStem
from polytask.errors import ConfigError
from polytask.types import Features

SEQUENCE = Features(torch.randn(3, 9, 4), torch.arange(9) < torch.tensor([[9], [4], [1]]))
EVERY: dict[str, tuple[Callable[[], Backbone], Features]] = {
    "small pictures": (
        lambda: ResidualBackbone(3, widths=(8, 12, 16)),
        Features(torch.randn(2, 3, 32, 32)),
    ),
    "learned stem": (
        lambda: ResidualBackbone(1, widths=(8, 8), stem="conv3", stem_width=4, depth=3),
        Features(torch.randn(2, 1, 32, 32)),
    ),
    "large pictures": (
        lambda: ResidualBackbone(3, widths=(4, 4, 4, 8, 8), stem="conv7", stem_width=4, depth=1),
        Features(torch.randn(1, 3, 224, 224)),
    ),
    "gru": (lambda: RecurrentBackbone(4, width=5), SEQUENCE),
    "lstm": (
        lambda: RecurrentBackbone(4, cell="lstm", width=5, bidirectional=False, stride=2, layers=3),
        SEQUENCE,
    ),
    "perceptron": (lambda: PerceptronBackbone(4, widths=(6, 6, 3)), Features(torch.randn(5, 4))),
    "frames": (lambda: PerceptronBackbone(4, widths=(6,), normalize=False), SEQUENCE),
    "transformer": (lambda: TransformerBackbone(4, width=8, heads=2), SEQUENCE),
    "sinusoids": (
        lambda: TransformerBackbone(4, width=8, heads=1, layers=3, positions="sinusoidal"),
        SEQUENCE,
    ),
    "numbers as tokens": (
        lambda: TransformerBackbone(4, width=8, heads=2),
        Features(torch.randn(5, 4)),
    ),
    "own modules": (
        lambda: SequentialBackbone(nn.Sequential(nn.Linear(4, 7), nn.ReLU()), (7, 7)),
        Features(torch.randn(5, 4)),
    ),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("training", [True, False])
def test_stages_widths_and_batch_of_one_agree(name: str, training: bool) -> None:
    make, whole = EVERY[name]
    backbone = make().train(training)
    one = Features(whole.values[:1], None if whole.mask is None else whole.mask[:1])
    for features in (whole, one):
        assert len(backbone.stages) == len(backbone.widths)
        at = features
        for stage, width in zip(backbone.stages, backbone.widths, strict=True):
            at = stage(at)
            assert at.values.shape[1 if at.values.ndim == 4 else -1] == width
        assert backbone.out_features == width
        assert at.values.isfinite().all()
        assert (at.mask is None) == (features.mask is None)


@pytest.mark.parametrize("name", EVERY)
def test_computes_in_half_precision(name: str) -> None:
    make, features = EVERY[name]
    torch.manual_seed(0)
    backbone = make().eval()
    with torch.no_grad():
        exact = backbone(features).values
        with torch.autocast("cpu", torch.bfloat16):
            rough = backbone(features).values
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))


def test_the_pictures_sizes_after_the_stages() -> None:
    def sizes(name: str) -> list[int]:
        make, at = EVERY[name]
        found = []
        for stage in make().stages:
            at = stage(at)
            found.append(at.values.shape[-1])
        return found

    assert sizes("small pictures") == [31, 15, 7, 3]
    assert sizes("learned stem") == [32, 16, 8]
    assert sizes("large pictures") == [56, 28, 14, 7, 3, 1]


def test_pictures_too_small_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"too small.*1x1 pixels.*fewer entries"):
        ResidualBackbone(3, widths=(4, 4, 4))(Features(torch.randn(2, 3, 8, 8)))


def test_whitened_patches_are_uncorrelated_and_of_unit_power() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    pictures = torch.einsum("cd,bdhw->bchw", mixing, torch.randn(50, 3, 9, 9)).cumsum(3) * 10
    stem = WhiteningStem(3, nn.Identity())
    stem.fit_to(pictures)
    with torch.no_grad():
        out = stem(pictures)  # [B, 24, 8, 8]
    assert torch.equal(out[:, 12:], -out[:, :12])
    responses = out[:, :12].transpose(0, 1).flatten(1).double()
    power = responses @ responses.T / responses.shape[1]
    torch.testing.assert_close(power, torch.eye(12, dtype=torch.float64), atol=0.02, rtol=0)


def test_a_flat_direction_is_not_blown_up() -> None:
    stem = WhiteningStem(1, nn.Identity())
    stem.fit_to(torch.full((4, 1, 6, 6), 0.5))
    assert stem.weight.abs().max() <= 1 / 5e-4**0.5 + 1e-3


def test_the_stem_is_frozen_but_for_its_bias_and_is_saved() -> None:
    backbone = ResidualBackbone(3, widths=(8,))
    names = dict(backbone.named_parameters())
    assert "stages.0.module.bias" in names and "stages.0.module.weight" not in names
    backbone.fit_to(Features(torch.randn(8, 3, 16, 16)))
    other = ResidualBackbone(3, widths=(8,))
    other.load_state_dict(backbone.state_dict())
    x = Features(torch.randn(2, 3, 16, 16))
    assert torch.equal(other.eval()(x).values, backbone.eval()(x).values)


def test_a_residual_branch_of_zeros_leaves_what_entered_it() -> None:
    stage = PooledStage(4, 6, 3, nn.GELU).eval()
    assert stage.residual is not None
    nn.init.zeros_(stage.residual[-2].weight)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(stage(x), stage.enter(x))


def test_convolutions_start_by_passing_their_channels_on() -> None:
    stage = PooledStage(4, 6, 1, nn.Identity).eval()
    x = torch.randn(2, 4, 8, 8)
    expected = nn.functional.max_pool2d(x, 2)
    torch.testing.assert_close(stage(x)[:, :4], expected, rtol=1e-4, atol=1e-4)


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    cell=st.sampled_from(["gru", "lstm"]),
)
@settings(max_examples=30, deadline=None)
def test_recurrent_layers_are_torchs_packed_ones(
    lengths: list[int], padding: int, cell: str
) -> None:
    torch.manual_seed(0)
    backbone = RecurrentBackbone(3, cell=cell, width=4).eval()  # type: ignore[arg-type]
    kind = nn.GRU if cell == "gru" else nn.LSTM
    oracle = kind(3, 4, num_layers=2, batch_first=True, bidirectional=True)
    state = {}
    for i, layer in enumerate(backbone.stages):
        for suffix, part in (("", layer.forwards), ("_reverse", layer.backwards)):
            for name, value in part.state_dict().items():
                state[name.replace("_l0", f"_l{i}") + suffix] = value
    oracle.load_state_dict(state)
    longest = max(lengths) + padding
    values = torch.randn(len(lengths), longest, 3)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        ours = backbone(Features(values, mask)).values
        packed = pack_padded_sequence(
            values, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        theirs, _ = pad_packed_sequence(oracle(packed)[0], batch_first=True, total_length=longest)
        full = backbone(Features(values)).values
        torch.testing.assert_close(full, oracle(values)[0])
    torch.testing.assert_close(ours[mask], theirs[mask])


def test_sequences_without_content_are_finite() -> None:
    for features in (
        Features(torch.randn(2, 4, 3), torch.zeros(2, 4, dtype=torch.bool)),
        Features(torch.randn(2, 1, 3)),
    ):
        out = RecurrentBackbone(3, width=4, stride=2)(features)
        assert out.values.isfinite().all()


@given(length=st.integers(1, 9), stride=st.integers(1, 4), valid=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_joining_frames_does_not_see_what_pads_the_last_group(
    length: int, stride: int, valid: int
) -> None:
    valid = min(valid, length)
    torch.manual_seed(0)
    backbone = RecurrentBackbone(2, width=3, stride=stride).eval()
    values = torch.randn(1, length, 2)
    values[:, valid:] = 7.0
    mask = torch.arange(length)[None] < valid
    padded = backbone(Features(values, mask))
    alone = backbone(Features(values[:, :valid]))
    assert padded.mask is not None and padded.values.shape[1] == -(-length // stride)
    assert int(padded.mask.sum()) == alone.values.shape[1]
    torch.testing.assert_close(padded.values[:, : alone.values.shape[1]], alone.values)


def test_perceptron_layers_of_equal_width_are_residual() -> None:
    backbone = PerceptronBackbone(4, widths=(4, 4), normalize=False, activation="relu")
    for stage in backbone.stages:
        nn.init.zeros_(stage.module.linear.weight)
        nn.init.zeros_(stage.module.linear.bias)
    x = torch.randn(3, 4)
    assert torch.equal(backbone(Features(x)).values, x)


def test_own_modules_need_a_width_each() -> None:
    with pytest.raises(ValueError, match="one entry per stage"):
        SequentialBackbone([nn.ReLU()], (3, 4))


class Whole(nn.Module):
    """A network of one piece."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values


def test_own_modules_that_cannot_be_stages_are_told_by_their_place() -> None:
    whole: Any = Whole()
    with pytest.raises(TypeError, match="Found Whole, whose forward pass nobody can take apart"):
        SequentialBackbone(whole, (3,))
    with pytest.raises(ValueError, match=r"there are 2 \(Linear, ReLU\)\. Found 1: \(3,\)"):
        SequentialBackbone(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (3,))
    with pytest.raises(ValueError, match=r"there are 0 \(none\)"):
        SequentialBackbone([], ())
    backbone = SequentialBackbone([nn.Linear(3, 5), nn.ReLU()], (5, 3))
    with pytest.raises(ValueError, match=r"`stages\[1\]` \(ReLU\) .* \[B, 3\].* Found \(2, 5\)"):
        backbone(Features(torch.randn(2, 3)))
    with pytest.raises(TypeError, match=r"`stages\[0\]` \(GRU\) should give a tensor. Found tuple"):
        SequentialBackbone([nn.GRU(3, 4)], (4,))(Features(torch.randn(2, 5, 3)))
    flat = SequentialBackbone([nn.Conv2d(3, 4, 1), nn.Flatten(0)], (4, 4))
    with pytest.raises(ValueError, match=r"or maps \[B, 4, H, W\].*Found \(72,\)"):
        flat(Features(torch.randn(2, 3, 3, 3)))
