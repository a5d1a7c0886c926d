"""A linear model of n-grams beside the network of a task."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polytask.errors import ConfigError
from polytask.tasks import Multiclass, Regression, Similarity
from polytask.tasks.wide import Wide, WideLinear
from polytask.types import Features

TEXTS = st.lists(st.lists(st.integers(0, 40), max_size=9), min_size=1, max_size=6)


def filled(spans: tuple[int, ...] = (1, 2, 3), outputs: int = 2, buckets: int = 4096) -> WideLinear:
    """A part that has learned something."""
    made = Wide(spans=spans, buckets=buckets).made(outputs).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made.weight.copy_(torch.randn(made.weight.shape, generator=generator))
        made.bias.copy_(torch.randn(made.bias.shape, generator=generator))
    return made


def padded(texts: list[list[int]], length: int, fill: int = 0) -> Features:
    values = torch.tensor([[*text, *[fill] * (length - len(text))] for text in texts])
    mask = torch.arange(length) < torch.tensor([[len(text)] for text in texts])
    return Features(values.int(), mask)


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.integers(0, 4), st.integers(0, 40))
def test_what_pads_a_batch_is_in_no_ngram(texts: list[list[int]], more: int, fill: int) -> None:
    part = filled()
    length = max(1, *map(len, texts)) + more
    together = part(padded(texts, length, fill))
    for row, text in enumerate(texts):
        alone = Features(torch.tensor([text], dtype=torch.int32))
        torch.testing.assert_close(together[row], part(alone)[0] if text else part.bias)


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_it_is_a_sum_over_ngrams_divided_by_the_root_of_their_number(
    texts: list[list[int]],
) -> None:
    part = filled(spans=(1, 2))

    def says(*text: int) -> Tensor:
        said: Tensor = part(Features(torch.tensor([text])))[0] - part.bias
        return said

    def of_pair(one: int, other: int) -> Tensor:
        return says(one, other) * 3**0.5 - says(one) - says(other)

    found = part(padded(texts, max(1, *map(len, texts))))
    for row, text in enumerate(texts):
        total = sum(map(says, text), torch.zeros(2))
        total = total + sum(map(of_pair, text, text[1:]), torch.zeros(2))
        count = max(1, len(text) + max(0, len(text) - 1))
        expected = total / count**0.5 + part.bias
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(TEXTS)
def test_what_units_add_is_the_whole_but_for_the_bias(texts: list[list[int]]) -> None:
    part, units = filled(), padded(texts, 10)
    said = part.by_unit(units)
    assert not said[~units.mask].any()
    torch.testing.assert_close(said.sum(1) + part.bias, part(units))


def test_words_keep_numbers_of_their_own_and_pairs_know_their_order() -> None:
    part = filled(spans=(1,), buckets=500)
    words = part(Features(torch.arange(500).unsqueeze(1)))
    assert len(words.unique(dim=0)) == 500
    pairs = filled(spans=(2,), buckets=1 << 16)
    both = torch.cartesian_prod(torch.arange(60), torch.arange(60))
    said = pairs(Features(both))
    # As many share a bucket as by chance: 3,600 balls in 65,536 bins.
    assert 3600 - len(said.unique(dim=0)) < 150
    assert (said[both[:, 0] < both[:, 1]].abs().sum(1) > 0).all()


def test_it_learns_which_words_and_pairs_matter_and_begins_by_saying_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(5, 30, (400, 8), generator=generator)
    for row in range(400):  # "3 4" or "4 3" somewhere, which words alone can't tell apart
        place = int(torch.randint(7, (1,), generator=generator))
        texts[row, place : place + 2] = torch.tensor([3, 4] if row % 2 else [4, 3])
    target = torch.arange(400) % 2

    def learned(*spans: int) -> float:
        torch.manual_seed(0)
        part = Wide(spans=spans, buckets=1024).made(2)
        assert not part(Features(texts)).any()
        optimizer = torch.optim.Adam(part.parameters(), lr=0.02)
        for step in range(120):
            rows = torch.arange(300)[step % 3 :: 3]
            loss = nn.functional.cross_entropy(part(Features(texts[rows])), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        said = part.eval()(Features(texts[300:])).argmax(1)
        return float((said == target[300:]).float().mean())

    assert learned(1, 2) > 0.95
    assert learned(1) < 0.7


def test_it_is_exported_with_any_number_and_length_of_texts() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = filled()

        def forward(self, numbers: Tensor, mask: Tensor) -> Tensor:
            said: Tensor = self.part(Features(numbers, mask))
            return said

    size, length = torch.export.Dim("size"), torch.export.Dim("length")
    dynamic = ({0: size, 1: length}, {0: size, 1: length})
    example = padded([[1, 2, 3], [4]], 4)
    exported = torch.export.export(Plain(), tuple(example), dynamic_shapes=dynamic).module()
    other = padded([[5, 6, 7, 8, 9], [1, 2], []], 7)
    torch.testing.assert_close(exported(*other), filled()(other))


def test_it_computes_in_float32_where_networks_compute_in_bfloat16() -> None:
    units = padded([[1, 2, 3], [4, 5]], 3)
    with torch.autocast("cpu", torch.bfloat16):
        said = filled()(units)
    assert said.dtype == torch.float32 and torch.equal(said, filled()(units))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"spans": ()}, "`spans` should be different numbers of units"),
        ({"spans": (0, 1)}, "at least 1 each"),
        ({"spans": (2, 2)}, "different"),
        ({"buckets": 0}, "`buckets` should be 1 to"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Wide(**given)  # type: ignore[arg-type]


def test_tasks_of_whole_texts_have_it_and_embeddings_do_not() -> None:
    common = {"name": "t", "input": "x", "target": {"a": "y"}, "wide": Wide(buckets=8)}
    part = Multiclass(**common, classes=("p", "q", "r")).beside()
    assert part is not None and part.weight.shape == (3, 8)
    number = Regression(**common, mean=(0.0,), std=(1.0,)).beside()
    assert number is not None and number.weight.shape == (1, 8)
    with pytest.raises(ConfigError, match="`wide` goes with answers"):
        Similarity(**common)
