"""What words, characters and pieces of words are numbered by; learned from training rows alone."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from polytask.errors import DataError, require

Subwords = Literal["bpe", "wordpiece", "unigram"]

# What pads, and what the vocabulary lacks.
PADDING, UNKNOWN = 0, 1
SPECIAL = ("[PAD]", "[UNK]")


def most_frequent(counts: Counter[str], size: int, min_count: int) -> list[str]:
    """The most frequent names, at most `size - 2`, ties in alphabetical order."""
    kept = (pair for pair in counts.items() if pair[1] >= min_count)
    return [name for name, _ in sorted(kept, key=lambda pair: (-pair[1], pair[0]))][: size - 2]


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Numbers from 2 on: 0 pads, 1 is unknown."""
    return {name: number for number, name in enumerate(names, start=len(SPECIAL))}


def learned_subwords(
    texts: Iterable[Sequence[str]], kind: Subwords, *, size: int, min_count: int, lowercase: bool
) -> dict[str, Any]:
    """A tokenizer in the form of tokenizer.json, learned from the words of texts."""
    tokenizers = require("tokenizers", "text")
    models, trainers = tokenizers.models, tokenizers.trainers
    before, unknown = tokenizers.pre_tokenizers, SPECIAL[UNKNOWN]
    common: dict[str, Any] = {"special_tokens": list(SPECIAL), "show_progress": False}
    common["vocab_size"] = size
    if kind == "unigram":
        model, trainer = models.Unigram(), trainers.UnigramTrainer(unk_token=unknown, **common)
    elif kind == "wordpiece":
        model = models.WordPiece(unk_token=unknown)
        trainer = trainers.WordPieceTrainer(min_frequency=min_count, **common)
    else:
        model = models.BPE(unk_token=unknown)
        trainer = trainers.BpeTrainer(min_frequency=min_count, **common)
    tokenizer = tokenizers.Tokenizer(model)
    if lowercase:
        tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    # WordPiece marks pieces inside a word, the others a word's beginning.
    tokenizer.pre_tokenizer = (
        before.WhitespaceSplit() if kind == "wordpiece" else before.Metaspace()
    )
    tokenizer.train_from_iterator((" ".join(words) for words in texts), trainer)
    described: dict[str, Any] = json.loads(tokenizer.to_str())
    return described


def read_tokenizer(path: Path) -> dict[str, Any]:
    """A tokenizer.json.

    Raises:
        DataError: If it is missing or none.
    """
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        text = path.read_text(encoding="utf-8")
        opened(json.loads(text))
    except (OSError, ValueError) as error:
        raise DataError(
            f"`tokenizer` should be a tokenizer.json of the tokenizers library. '{path}' cannot be "
            f"read as one: {error}"
        ) from error
    described: dict[str, Any] = json.loads(text)
    return described


def opened(described: dict[str, Any]) -> Any:
    """A tokenizer that pads and cuts nothing.

    Raises:
        ValueError: If it is not described as the library does.
    """
    tokenizers = require("tokenizers", "text")
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(described))
    except Exception as error:  # the library raises no other kind
        raise ValueError(str(error)) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def unknown_of(tokenizer: Any) -> int | None:
    """The number of what a tokenizer does not know; None where it knows everything."""
    name = getattr(tokenizer.model, "unk_token", None) or SPECIAL[UNKNOWN]
    number: int | None = tokenizer.token_to_id(name)
    return number
