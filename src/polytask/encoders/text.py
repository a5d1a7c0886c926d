"""Numbers of words, characters and pieces of words to vectors.

Shapes: B examples, L units, K characters of a word, D features.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.encoders.base import Encoder
from polytask.errors import ConfigError, DataError
from polytask.types import Features

Vector = NDArray[np.float32]

# As the vocabulary has them: what pads, and the first number that is a name's.
PADDING, NAMED = 0, 2


class TextEncoder(Encoder):
    """What text encoders have in common: numbers in, and word by word out if that is wanted.

    Args:
        per_word: Whether units are pieces of words, and one vector for each word is wanted.
    """

    def __init__(self, per_word: bool) -> None:
        super().__init__()
        self.per_word = per_word

    def units(self, raw: Features) -> Tensor:
        """The numbers of the units, `[B, L]`."""
        return raw.values if raw.values.ndim == 2 else raw.values[:, :, 0]

    def regrouped(self, features: Features, raw: Features) -> Features:
        """The vector of each word's first unit, `[B, L, D]`; what follows the words is masked."""
        if not self.per_word:
            return features
        firsts = raw.values[:, :, 1].long() - 1  # counted from 1; 0 past the last word
        index = firsts.clamp(min=0).unsqueeze(2).expand(-1, -1, features.values.shape[2])
        return Features(features.values.gather(1, index), firsts >= 0)


class EmbeddingEncoder(TextEncoder):
    """A learned vector for each unit, and for words with characters what a convolution makes of
    their spelling.

    The convolution is that of Ma and Hovy (2016, arXiv 1603.01354): the greatest response of each
    filter over the word. Vectors start uniform in +-sqrt(3 / D), as theirs do, unless a file gives
    them.

    Args:
        vocabulary: How many numbers units have.
        letters: How many numbers characters have; 0 where words come without them.
        unknown: The number of what the vocabulary lacks; None if there is none.
        per_word: Whether units are pieces of words, and one vector for each word is wanted.
        names: The units from number 2 on, to look them up in a file of vectors.
        width: D of a unit's vector.
        letter_width: D of a character's vector.
        filters: Filters over the characters of a word, which are added to its vector's D.
        span: Characters that a filter sees; an odd number.
        dropout: Dropout on the vectors.
        word_dropout: While training, the share of units that are taken for unknown.
        vectors: A text file with a word and its D numbers on each line, as GloVe has them. Words
            are looked up as they are, then in lower case. Read when training begins or
            goes on, not after.
    """

    def __init__(
        self,
        vocabulary: int,
        letters: int,
        unknown: int | None,
        per_word: bool,
        names: Sequence[str],
        *,
        width: int = 100,
        letter_width: int = 30,
        filters: int = 30,
        span: int = 3,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        vectors: Path | None = None,
    ) -> None:
        super().__init__(per_word)
        if span % 2 == 0:
            raise ValueError(f"`span` should be odd. Found {span}.")
        self.unknown, self.names = unknown, names
        self.table = nn.Embedding(vocabulary, width, padding_idx=PADDING)
        bound = math.sqrt(3.0 / width)
        nn.init.uniform_(self.table.weight, -bound, bound)
        with torch.no_grad():
            self.table.weight[PADDING] = 0.0
        self.spelling = Spelling(letters, letter_width, filters, span) if letters else None
        self.dropout = nn.Dropout(dropout)
        self.word_dropout = word_dropout
        self.vectors = vectors
        self.out_features = width + (filters if letters else 0)

    def forward(self, raw: Features) -> Features:
        """Numbers `[B, L]` (with characters `[B, L, 1 + K]`) to vectors `[B, L, D]`."""
        units = self.units(raw)
        if self.training and self.word_dropout and self.unknown is not None:
            lost = torch.rand(units.shape, device=units.device) < self.word_dropout
            units = units.masked_fill(lost & (units != PADDING), self.unknown)
        vectors = self.table(units)
        if self.spelling is not None:
            vectors = torch.cat([vectors, self.spelling(raw.values[:, :, 1:])], dim=2)
        return Features(self.dropout(vectors), raw.mask)

    def fit_to(self, raw: Features) -> None:
        """Take the vectors of a file, if one is given."""
        if self.vectors is not None:
            found = read_vectors(self.vectors, self.names, self.table.embedding_dim)
            for number, vector in found.items():
                self.table.weight[number + NAMED] = torch.from_numpy(vector)


class PretrainedWords(TextEncoder):
    """The vectors that a pretrained network has for its units, for a body of kind `pretrained`.

    They are read from the network's folder, whose tokenizer.json the input has to use. With the
    same folder as the body's `path` the two are the network as it was trained.

    Args:
        vocabulary: How many numbers units have.
        per_word: Whether units are pieces of words, and one vector for each word is wanted.
        path: A folder with weights as safetensors. A run needs it as long as the run is used.
        dropout: Dropout on the vectors.
    """

    def __init__(
        self, vocabulary: int, per_word: bool, *, path: Path, dropout: float = 0.0
    ) -> None:
        super().__init__(per_word)
        weight = word_vectors(path)
        if len(weight) < vocabulary:
            raise ConfigError(
                f"The network in '{path}' knows {len(weight)} units, the input {vocabulary}. Give "
                "the input 'level: subwords' and the network's own tokenizer.json."
            )
        self.table = nn.Embedding.from_pretrained(weight, freeze=False)
        self.dropout = nn.Dropout(dropout)
        self.out_features = weight.shape[1]

    def forward(self, raw: Features) -> Features:
        """Numbers `[B, L]` to vectors `[B, L, D]`."""
        return Features(self.dropout(self.table(self.units(raw))), raw.mask)


def word_vectors(path: Path) -> Tensor:
    """The table of units of a folder of the `transformers` library.

    Raises:
        ConfigError: If there is none.
    """
    from safetensors import safe_open

    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - a file, not a mapping
                if key.endswith(("word_embeddings.weight", "embed_tokens.weight")):
                    weight: Tensor = stored.get_tensor(key).float()
                    return weight
    raise ConfigError(
        f"`path` should be a folder with a language model as safetensors. '{path}' has no table of "
        "words (word_embeddings.weight)."
    )


class Spelling(nn.Module):
    """What a convolution over the characters of a word finds.

    Args:
        letters: How many numbers characters have.
        width: D of a character.
        filters: D of a word.
        span: Characters that a filter sees.
    """

    def __init__(self, letters: int, width: int, filters: int, span: int) -> None:
        super().__init__()
        self.table = nn.Embedding(letters, width, padding_idx=PADDING)
        self.convolve = nn.Conv1d(width, filters, span, padding=span // 2)
        self.filters = filters

    def forward(self, letters: Tensor) -> Tensor:
        """Characters `[B, L, K]`, 0 past a word's end, to `[B, L, filters]`; 0 for no character.

        Most places of a batch are past the ends of its sentences. Training leaves them out; an
        export, which is of a network in evaluation, has no shapes that depend on values.
        """
        flat = letters.flatten(0, 1)  # [B L, K]
        if self.training:
            words = (flat != PADDING).any(1).nonzero().flatten()  # [N]
            found = self.greatest(flat.index_select(0, words))
            best = found.new_zeros(len(flat), self.filters).index_copy(0, words, found)
        else:
            best = self.greatest(flat)
        return best.view(*letters.shape[:2], self.filters)

    def greatest(self, words: Tensor) -> Tensor:
        """The greatest response of each filter, `[N, K] -> [N, filters]`."""
        responses = self.convolve(self.table(words).transpose(1, 2))  # [N, filters, K]
        inside = (words != PADDING).unsqueeze(1)
        best = responses.masked_fill(~inside, float("-inf")).amax(2)
        return torch.where(inside.any(2), best, 0.0)


def read_vectors(path: Path, names: Sequence[str], width: int) -> dict[int, Vector]:
    """The vectors of a text file, by place among the names.

    Raises:
        DataError: If the file cannot be read, or a line has another number of numbers.
    """
    places = {name: place for place, name in enumerate(names)}
    lowered: dict[str, list[int]] = {}
    for name, place in places.items():
        lowered.setdefault(name.lower(), []).append(place)
    exact: dict[int, Vector] = {}
    found: dict[int, Vector] = {}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2:
                    continue  # word2vec's text format says first how many there are
                if number <= 2 or len(parts) <= width:
                    _require_width(parts, width, path, number)
                word = " ".join(parts[:-width])
                if word in places or word in lowered:
                    vector = _numbers(parts[-width:], path, number)
                    found |= dict.fromkeys(lowered.get(word, ()), vector)
                    if word in places:
                        exact[places[word]] = vector
    except (OSError, UnicodeError) as error:
        raise DataError(f"`vectors`: '{path}' cannot be read: {error}") from error
    return {**found, **exact}


def _require_width(parts: Sequence[str], width: int, path: Path, line: int) -> None:
    if len(parts) != width + 1:
        raise DataError(
            f"{path.name} line {line} should hold a word and {width} numbers, as many as the "
            f"encoder's `width`. Found {len(parts) - 1}: {' '.join(parts)[:60]}"
        )


def _numbers(parts: Sequence[str], path: Path, line: int) -> Vector:
    try:
        return np.array(parts, dtype=np.float32)
    except ValueError:
        raise DataError(
            f"{path.name} line {line} should hold a word and numbers. Found {' '.join(parts)[:60]}"
        ) from None
