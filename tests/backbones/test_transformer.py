"""Attention, masks and positions, against torch's layers and by their properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polytask.backbones import TransformerBackbone
from polytask.backbones.transformer import EncoderLayer, rotated, sinusoids
from polytask.errors import ConfigError
from polytask.types import Features

POSITIONS = ["rotary", "sinusoidal", "none"]
every_position = pytest.mark.parametrize("positions", POSITIONS)


def backbone(**settings: object) -> TransformerBackbone:
    torch.manual_seed(0)
    given = {"width": 8, "heads": 2, **settings}
    return TransformerBackbone(3, **given)  # type: ignore[arg-type]


def test_a_layer_is_torchs_with_norms_first() -> None:
    ours = EncoderLayer(
        8, 2, hidden=16, rotary=False, activation=nn.GELU(), dropout=0.0, last=True
    ).eval()
    theirs = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True),
        1,
        norm=nn.LayerNorm(8),
        enable_nested_tensor=False,
    ).eval()
    names = {
        "before_attention": "layers.0.norm1",
        "attend": "layers.0.self_attn.in_proj",
        "merge": "layers.0.self_attn.out_proj",
        "before_perceptron": "layers.0.norm2",
        "perceptron.0": "layers.0.linear1",
        "perceptron.3": "layers.0.linear2",
        "after": "norm",
    }
    state: dict[str, Tensor] = {}
    for name, value in ours.state_dict().items():
        part, kind = name.rsplit(".", 1)
        joint = "_" if part == "attend" else "."
        state[f"{names[part]}{joint}{kind}"] = value
    theirs.load_state_dict(state)
    x, mask = torch.randn(3, 5, 8), torch.arange(5) < torch.tensor([[5], [2], [1]])
    with torch.no_grad():
        found = ours(Features(x, mask)).values
        expected = theirs(x, src_key_padding_mask=~mask)
        torch.testing.assert_close(ours(Features(x)).values, theirs(x))
    torch.testing.assert_close(found[mask], expected[mask])


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    positions=st.sampled_from(POSITIONS),
)
@settings(max_examples=25, deadline=None)
def test_padding_never_influences(lengths: list[int], padding: int, positions: str) -> None:
    made = backbone(positions=positions).eval()
    longest = max(lengths) + padding
    values = torch.randn(len(lengths), longest, 3)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    filled = values.masked_fill(~mask.unsqueeze(2), float("nan"))
    with torch.no_grad():
        found = made(Features(filled, mask))
        assert found.values.isfinite().all()
        for i, length in enumerate(lengths):
            alone = made(Features(values[i : i + 1, :length])).values[0]
            torch.testing.assert_close(found.values[i, :length], alone, rtol=1e-4, atol=1e-5)


def test_padding_gets_no_gradient() -> None:
    values = torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[2], [5]])
    backbone(dropout=0.0)(Features(values, mask)).pooled().square().sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad.any(2), mask)


@every_position
def test_an_example_without_content_is_finite(positions: str) -> None:
    mask = torch.tensor([[False, False], [True, False]])
    values = torch.randn(2, 2, 3, requires_grad=True)
    made = backbone(positions=positions)
    out = made(Features(values, mask))
    out.values.sum().backward()
    assert out.values.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_only_positions_tell_the_order() -> None:
    values = torch.randn(2, 5, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        for positions in POSITIONS:
            made = backbone(positions=positions).eval()
            straight = made(Features(values)).values[:, order]
            moved = made(Features(values[:, order])).values
            close = torch.allclose(straight, moved, atol=1e-5)
            assert close == (positions == "none"), positions


@given(shift=st.integers(0, 7), first=st.integers(0, 5), second=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_rotations_show_the_distance_and_nothing_else(shift: int, first: int, second: int) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(6), torch.randn(6)

    def product(at: int, other: int) -> Tensor:
        turned = [rotated(v.expand(16, 6))[i] for v, i in ((query, at), (key, other))]
        return turned[0] @ turned[1]

    torch.testing.assert_close(product(first, second), product(first + shift, second + shift))
    torch.testing.assert_close(rotated(query.expand(9, 6)).norm(dim=1), query.norm().expand(9))
    assert torch.equal(rotated(query.expand(1, 6))[0], query)


def test_sinusoids_are_those_of_the_paper() -> None:
    found = sinusoids(7, 6, torch.device("cpu"))
    for place in range(7):
        for i in range(3):
            angle = torch.tensor(place / 10000 ** (2 * i / 6))
            torch.testing.assert_close(found[place, i], angle.sin())
            torch.testing.assert_close(found[place, 3 + i], angle.cos())


def test_a_vectors_numbers_are_tokens_that_know_which_they_are() -> None:
    made = backbone(positions="none").eval()
    tokens = made.stages[0](Features(torch.randn(4, 3))).values
    assert tokens.shape == (4, 3, 8)
    zeros = made.stages[0](Features(torch.zeros(1, 3))).values[0]
    assert not torch.allclose(zeros[0], zeros[1])
    x = torch.randn(5, 3)
    bare = made.stages[0](Features(x)).values - sinusoids(3, 8, x.device)
    entry = made.stages[0].project
    summed = (bare - entry.bias).sum(1) / 3**0.5 + entry.bias
    torch.testing.assert_close(summed, entry(x))


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    made, features = backbone(dropout=0.5), Features(torch.randn(2, 4, 3))
    assert not torch.equal(made(features).values, made(features).values)
    made.eval()
    assert torch.equal(made(features).values, made(features).values)


@every_position
def test_it_can_be_exported_for_sequences_of_any_length(positions: str) -> None:
    class Exported(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = backbone(positions=positions).eval()

        def forward(self, values: Tensor, mask: Tensor) -> Tensor:
            found: Tensor = self.inner(Features(values, mask)).values
            return found

    made = Exported()
    rows, length = torch.export.Dim("rows", max=64), torch.export.Dim("length", max=512)
    values, mask = torch.randn(3, 6, 3), torch.arange(6) < torch.tensor([[6], [3], [2]])
    shapes = ({0: rows, 1: length}, {0: rows, 1: length})
    program = torch.export.export(made, (values, mask), dynamic_shapes=shapes)
    fewer = values[:2, :4], mask[:2, :4]
    torch.testing.assert_close(program.module()(*fewer), made(*fewer))


def test_what_it_cannot_read_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"multiple of twice `heads` \(8\)\. Found 12"):
        TransformerBackbone(3, width=12, heads=4)
    with pytest.raises(ConfigError, match=r"reads sequences and vectors\. Found maps"):
        backbone()(Features(torch.randn(2, 3, 4, 4)))
