"""Words, characters and pieces as vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polytask.backbones import (
    Backbone,
    NgramBackbone,
    PretrainedBackbone,
    RecurrentBackbone,
    TransformerBackbone,
)
from polytask.encoders import EmbeddingEncoder, PretrainedWords, StackedEncoder
from polytask.errors import ConfigError, DataError
from polytask.types import Features

BODIES: dict[str, Any] = {
    "ngrams": lambda d: NgramBackbone(d, spans=(2, 3), filters=4),
    "recurrent": lambda d: RecurrentBackbone(d, cell="lstm", width=4),
    "transformer": lambda d: TransformerBackbone(d, width=8, heads=2),
}


def encoder(
    body: Backbone | None = None, *, letters: int = 0, per_word: bool = False, **given: Any
) -> StackedEncoder:
    torch.manual_seed(0)
    front = EmbeddingEncoder(9, letters, 1, per_word, [], width=6, filters=5, **given)
    return StackedEncoder(front, body).eval()


def raw(kind: str, length: int = 5, seed: int = 0) -> Tensor:
    """One text as an input of that kind gives it."""
    made = torch.Generator().manual_seed(seed)
    words = torch.randint(2, 9, (1, length), generator=made, dtype=torch.int32)
    if kind == "words":
        return words
    if kind == "letters":
        letters = torch.randint(2, 7, (1, length, 4), generator=made, dtype=torch.int32)
        letters[:, ::2, 2:] = 0
        return torch.cat([words.unsqueeze(2), letters], 2)
    firsts = torch.zeros((1, length), dtype=torch.int32)
    firsts[0, : length - 2] = torch.arange(length - 2, dtype=torch.int32) + 2
    return torch.stack([words, firsts], 2)


def of(kind: str, body: str) -> StackedEncoder:
    letters = 7 if kind == "letters" else 0
    width = 11 if letters else 6
    return encoder(BODIES[body](width), letters=letters, per_word=kind == "pieces")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["words", "letters", "pieces"])
def test_what_pads_a_text_changes_nothing(kind: str, body: str) -> None:
    made, text = of(kind, body), raw(kind)
    alone = made(Features(text))
    padding = raw(kind, 3, seed=1)  # whatever stands there
    if kind == "pieces":
        padding[:, :, 1] = 0
    longer = Features(torch.cat([text, padding], 1), torch.arange(8)[None, :] < 5)
    found = made(longer)
    words = 3 if kind == "pieces" else 5
    torch.testing.assert_close(found.values[:, :words], alone.values[:, :words])
    assert found.mask is not None and found.mask.sum() == words
    for how in ("mean", "max"):
        torch.testing.assert_close(found.pooled(how), alone.pooled(how))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["letters", "pieces"])
def test_it_can_be_exported_and_computes_in_half_precision(kind: str) -> None:
    made = of(kind, "transformer")

    class Exported(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made

        def forward(self, values: Tensor, mask: Tensor) -> Tensor:
            found: Tensor = self.inner(Features(values, mask)).values
            return found

    values = torch.cat([raw(kind), raw(kind, seed=1)])
    mask = torch.arange(5)[None, :] < torch.tensor([[5], [3]])
    rows, length = torch.export.Dim("rows", max=64), torch.export.Dim("length", max=512)
    shapes = ({0: rows, 1: length}, {0: rows, 1: length})
    program = torch.export.export(Exported(), (values, mask), dynamic_shapes=shapes)
    three = torch.cat([values, values[:1]])[:, :4], torch.cat([mask, mask[:1]])[:, :4]
    torch.testing.assert_close(program.module()(*three), Exported()(*three))
    with torch.autocast("cpu", torch.bfloat16):
        rough = made(Features(values, mask)).values.float()
    torch.testing.assert_close(rough, made(Features(values, mask)).values, atol=0.05, rtol=0.1)


def test_pieces_become_their_words() -> None:
    made, text = encoder(per_word=True), raw("pieces")
    table = made.front.table.weight  # type: ignore[union-attr, index]
    values, mask = made(Features(text))
    torch.testing.assert_close(values[0, :3], table[text[0, 1:4, 0].long()])
    assert mask is not None and mask.tolist() == [[True, True, True, False, False]]


def test_spelling_is_the_greatest_response_within_the_word() -> None:
    front = EmbeddingEncoder(9, 7, 1, False, [], width=2, filters=3)
    spelling = front.spelling
    assert spelling is not None
    letters = torch.tensor([[[2, 3, 4], [5, 0, 0], [0, 0, 0]]], dtype=torch.int32)
    found = spelling(letters)
    responses = spelling.convolve(spelling.table(letters[0, 0]).T[None])
    torch.testing.assert_close(found[0, 0], responses[0].amax(1))
    one = spelling.convolve(spelling.table(letters[0, 1]).T[None])[0, :, 0]
    torch.testing.assert_close(found[0, 1], one)
    assert found[0, 2].eq(0).all()


@pytest.mark.parametrize("words", [0, 3])
def test_training_leaves_out_places_without_letters_and_computes_the_same(words: int) -> None:
    front = encoder(letters=7).front
    assert isinstance(front, EmbeddingEncoder) and front.spelling is not None
    spelling = front.spelling
    letters = torch.randint(2, 7, (2, 6, 4), generator=torch.Generator().manual_seed(0))
    letters[0, words:] = 0
    letters[1, : words and 1] = 0  # a place within a text, too
    letters[1, words:] = 0
    seen: list[int] = []
    spelling.convolve.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))

    def run(training: bool) -> list[Tensor]:
        spelling.train(training).zero_grad()
        found = spelling(letters)
        (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
        return [found, *(p.grad for p in spelling.parameters() if p.grad is not None)]

    expected, found = run(training=False), run(training=True)
    assert seen == [12, 5 if words else 0] and len(expected) == len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert found[0][:, words:].eq(0).all()


def test_lost_words_are_unknown_and_only_in_training() -> None:
    front = EmbeddingEncoder(9, 0, 1, False, [], width=3, word_dropout=1.0)
    words = Features(torch.tensor([[2, 5, 0]]), torch.tensor([[True, True, False]]))
    found = front(words).values[0]
    assert torch.equal(found[0], front.table.weight[1]) and torch.equal(found[0], found[1])
    assert found[2].eq(0).all()
    assert torch.equal(front.eval()(words).values[0, 0], front.table.weight[2])


def test_vectors_of_a_file_are_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2\nThe 3 4\ncat 5 6\nother 7 8\n")
    names = ["The", "the", "Cat", "dog"]
    front = EmbeddingEncoder(6, 0, 1, False, names, width=2, vectors=path)
    before = front.table.weight[5].clone()
    with torch.no_grad():
        front.fit_to(Features(torch.zeros(1, 1)))
    assert front.table.weight[2:5].tolist() == [[3, 4], [1, 2], [5, 6]]
    assert torch.equal(front.table.weight[5], before)
    wide = EmbeddingEncoder(6, 0, 1, False, names, width=3, vectors=path)
    with pytest.raises(DataError, match=r"line 1 should hold a word and 3 numbers.*Found 2"):
        wide.fit_to(Features(torch.zeros(1, 1)))


def test_filters_see_neighbours_and_need_a_sequence() -> None:
    ngrams = NgramBackbone(3, spans=(1,), filters=2)
    words = torch.randn(2, 4, 3)
    layer = ngrams.stages[0].convolutions[0]  # type: ignore[union-attr, index]
    expected = torch.relu(words @ layer.weight[:, :, 0].T + layer.bias)
    torch.testing.assert_close(ngrams(Features(words)).values, expected)
    with pytest.raises(ConfigError, match=r"those of a sequence. Found features of shape \(2, 3\)"):
        ngrams(Features(torch.randn(2, 3)))


def test_a_pretrained_networks_words_and_layers_are_that_network(tmp_path: Path) -> None:
    from tests.backbones.test_pretrained import stored  # skips without transformers

    model = stored("bert", tmp_path)
    made = StackedEncoder(
        PretrainedWords(11, False, path=tmp_path), PretrainedBackbone(8, path=tmp_path)
    ).eval()
    units = torch.tensor([[1, 4, 7, 2], [1, 2, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    with torch.no_grad():
        ours = made(Features(units, mask)).values
        theirs = model(input_ids=units, attention_mask=mask.long())[0]
    torch.testing.assert_close(ours[mask], theirs[mask], rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="knows 11 units, the input 12"):
        PretrainedWords(12, False, path=tmp_path)
    with pytest.raises(ConfigError, match="has no table of words"):
        PretrainedWords(3, False, path=tmp_path / "none")
    assert np.isfinite(ours.numpy()).all()
