"""Text as an input: sentences, or words that each have a label.

Letters: N rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.inputs import Input
from polytask.data.ragged import Numbers, Ragged, TextStore
from polytask.data.sources import Table
from polytask.data.stores import Rows, Store
from polytask.data.vocabulary import (
    UNKNOWN,
    Subwords,
    learned_subwords,
    most_frequent,
    numbered,
    opened,
    read_tokenizer,
    unknown_of,
)
from polytask.data.words import Splitting, is_list, require_words, words_of
from polytask.errors import ConfigError, DataError

Level = Literal["words", "characters", "subwords"]


class TextInput(Input):
    """A column of text, or of lists of words, as numbers.

    The vocabulary is that of the training rows. What it lacks is one number for all, what pads a
    batch another.

    Args:
        columns: Per source, the column: text, or lists of words (as CoNLL files give them).
        level: What is numbered: words, characters, or pieces of words (subwords).
        vocabulary: At most this many numbers, the most frequent units.
        min_count: A unit needs this many occurrences in training rows. With 1, nothing in them
            is unknown, and only `word_dropout` teaches the network what to make of it.
        max_length: Units of a text; what is longer is cut, counted, and said.
        lowercase: Whether capitals are forgotten. Characters of words keep theirs.
        split: Where words end in text that is no list: `words` takes marks off them, as treebanks
            do; `spaces` takes the text as it is.
        characters: Beside each word its first characters, so many; 0 for none. Level `words` only.
        subwords: How pieces are learned: Byte-pair encoding (Sennrich et al. 2016), WordPiece
            (Schuster and Nakajima 2012), or a unigram model (Kudo 2018).
        tokenizer: A tokenizer.json, or its folder, in place of learned pieces; the run keeps a
            copy. `vocabulary`, `min_count` and `lowercase` are then its own.
        per_word: Of subwords and characters: whether, after the input's own network, each word is
            its first unit's vector, as tasks need that label every word. None: if the column
            holds lists.
    """

    media = None

    def __init__(
        self,
        *,
        columns: dict[str, str],
        level: Level = "words",
        vocabulary: int = 20000,
        min_count: int = 2,
        max_length: int = 512,
        lowercase: bool = False,
        split: Splitting = "words",
        characters: int = 0,
        subwords: Subwords = "bpe",
        tokenizer: Path | None = None,
        per_word: bool | None = None,
    ) -> None:
        if vocabulary < 3 or min_count < 1 or max_length < 1 or characters < 0:
            raise ConfigError(
                "`vocabulary` should be at least 3, `min_count` and `max_length` at least 1, "
                f"`characters` at least 0. Found {vocabulary}, {min_count}, {max_length} and "
                f"{characters}."
            )
        if characters and level != "words":
            raise ConfigError(f"`characters` go with words. Found level '{level}'.")
        if tokenizer is not None and level != "subwords":
            raise ConfigError(f"`tokenizer` goes with 'level: subwords'. Found level '{level}'.")
        self.columns = columns
        self.level: Level = level
        self.vocabulary, self.min_count, self.max_length = vocabulary, min_count, max_length
        self.lowercase, self.characters = lowercase, characters
        self.split: Splitting = split
        self.subwords: Subwords = subwords
        self.tokenizer, self.per_word = tokenizer, per_word
        self.state = {}

    @property
    def features(self) -> dict[str, Any]:
        """After `fit`: `vocabulary` and `letters` (how many numbers there are of units and of
        characters), `unknown`, `per_word`, and `names` of the units from number 2 on."""
        if not self.state:
            return {}
        names = self.state.get("units", [])
        count = self.state.get("size", len(names) + 2)
        letters = len(self.state["letters"]) + 2 if self.characters else 0
        return {
            "vocabulary": count,
            "letters": letters,
            "unknown": self.state["unknown"],
            "per_word": self.state["per_word"],
            "names": names,
        }

    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """The vocabulary of the training rows."""
        cells = []
        for table, _, rows in parts:
            column = self.columns[table.name]
            found = table.cells([column], rows)[:, 0].tolist()
            _require_words(table, column, rows.tolist(), found)
            cells += found
        texts = [words_of(cell, self.split) for cell in cells]
        if not any(texts):
            raise DataError(
                f"No training row has any text in column {', '.join(self.columns.values())}."
            )
        lists = any(map(is_list, cells)) if self.per_word is None else self.per_word
        self.state = {"per_word": lists and self.level != "words", "unknown": UNKNOWN}
        if self.level == "subwords":
            self.state |= self._pieces(texts)
            return self.state
        counts: Counter[str] = Counter()
        for words in texts:
            counts.update(
                map(self._cased, words) if self.level == "words" else self._spelled(words)
            )
        self.state["units"] = most_frequent(counts, self.vocabulary, self.min_count)
        if self.characters:
            letters = Counter(letter for words in texts for word in words for letter in word)
            self.state["letters"] = most_frequent(letters, 10_000, 1)
        return self.state

    def _pieces(self, texts: Sequence[Sequence[str]]) -> dict[str, Any]:
        if self.tokenizer is not None:
            described = read_tokenizer(self.tokenizer)
        else:
            described = learned_subwords(
                texts,
                self.subwords,
                size=self.vocabulary,
                min_count=self.min_count,
                lowercase=self.lowercase,
            )
        tokenizer = opened(described)
        size = tokenizer.get_vocab_size()
        return {"tokenizer": described, "size": size, "unknown": unknown_of(tokenizer)}

    def _cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _spelled(self, words: Sequence[str]) -> str:
        return self._cased(" ".join(words))

    def stored(self, table: Table, *, column: str | None = None) -> TextStore:
        """All rows of a table as numbers.

        Args:
            table: The rows.
            column: Their column, where the table is not one of the declared sources.
        """
        if not self.state:
            raise DataError("A text input has to be fitted before it makes numbers.")
        column = column or self.columns[table.name]
        cells = table.cells([column])[:, 0].tolist()
        _require_words(table, column, range(len(cells)), cells)
        if self.tokenizer is not None and not self.state["per_word"]:
            # The tokenizer has its own way with raw text.
            raw = ["" if c is None else " ".join(c) if is_list(c) else str(c) for c in cells]
            return self._pieces_of(raw, _keys([[text] for text in raw]), split=False)
        split = [words_of(cell, self.split) for cell in cells]
        keys = _keys([[self._cased(word) for word in words] for words in split])
        if self.level == "words":
            return self._words(split, keys)
        if self.level == "characters":
            return self._characters(split, keys)
        return self._pieces_of(split, keys)

    def spelled(self, cell: Any) -> list[str]:
        """The units of a cell as people read them, in the order of their numbers."""
        words = words_of(cell, self.split)
        if self.level == "words":
            found = list(words)
        elif self.level == "characters":
            found = list(self._spelled(words))
        else:
            whole = self.tokenizer is not None and not self.state["per_word"]
            text: Any = words
            if whole:
                text = "" if cell is None else " ".join(cell) if is_list(cell) else str(cell)
            tokenizer = opened(self.state["tokenizer"])
            tokenizer.enable_truncation(self.max_length)
            found = tokenizer.encode(text, is_pretokenized=not whole).tokens
        return found[: self.max_length]

    def _cut(self, rows: Sequence[Sequence[Any]]) -> tuple[list[Any], NDArray[np.bool_]]:
        cut = np.fromiter((len(row) > self.max_length for row in rows), np.bool_, len(rows))
        return [row[: self.max_length] for row in rows], cut

    def _words(self, texts: Sequence[Sequence[str]], keys: NDArray[np.int64]) -> TextStore:
        tokens = _counts(texts)
        texts, cut = self._cut(texts)
        index = numbered(self.state["units"])
        common: dict[str, Any] = {"unknown": UNKNOWN, "truncated": cut, "keys": keys}
        common["tokens"] = tokens
        if not self.characters:
            units = [[index.get(self._cased(word), UNKNOWN) for word in words] for words in texts]
            return TextStore(Ragged(units), **common)
        kinds: dict[str, int] = {}
        units = [[kinds.setdefault(word, len(kinds) + 1) for word in words] for words in texts]
        letters = numbered(self.state["letters"])
        spelling: Numbers = np.zeros((len(kinds) + 1, 1 + self.characters), np.int32)
        for word, kind in kinds.items():
            spelling[kind, 0] = index.get(self._cased(word), UNKNOWN)
            spelled = [letters.get(letter, UNKNOWN) for letter in word[: self.characters]]
            spelling[kind, 1 : 1 + len(spelled)] = spelled
        return TextStore(Ragged(units), spelling=spelling, **common)

    def _characters(self, texts: Sequence[Sequence[str]], keys: NDArray[np.int64]) -> TextStore:
        index = numbered(self.state["units"])
        spelled, cut = self._cut([self._spelled(words) for words in texts])
        units = [[index.get(letter, UNKNOWN) for letter in text] for text in spelled]
        firsts = [[first for first in _begins(words) if first < self.max_length] for words in texts]
        return TextStore(
            Ragged(units),
            firsts=Ragged(firsts) if self.state["per_word"] else None,
            unknown=UNKNOWN,
            tokens=_counts(texts if self.state["per_word"] else spelled),
            truncated=cut,
            keys=keys,
        )

    def _pieces_of(
        self, texts: Sequence[Any], keys: NDArray[np.int64], *, split: bool = True
    ) -> TextStore:
        tokenizer = opened(self.state["tokenizer"])
        tokenizer.enable_truncation(self.max_length)  # keeps the marks that end a text
        found = tokenizer.encode_batch(list(texts), is_pretokenized=split)
        cut = np.fromiter((bool(text.overflowing) for text in found), np.bool_, len(found))
        tokens = _counts(texts if self.state["per_word"] else [text.ids for text in found])
        firsts = None
        if self.state["per_word"]:
            firsts = Ragged([_firsts(*pair) for pair in zip(found, tokens.tolist(), strict=True)])
        return TextStore(
            Ragged([text.ids for text in found]),
            firsts=firsts,
            unknown=self.state["unknown"],
            tokens=tokens,
            truncated=cut,
            keys=keys,
        )


def _require_words(table: Table, column: str, rows: Sequence[int], cells: Sequence[Any]) -> None:
    """Make sure that the cells of some rows are words; see `require_words`."""
    for row, cell in zip(rows, cells, strict=True):
        require_words(cell, lambda row=row: f"{table.describe(row)}: column '{column}'")  # type: ignore[misc]


def _counts(rows: Sequence[Sized]) -> NDArray[np.int64]:
    return np.fromiter((len(row) for row in rows), np.int64, len(rows))


def _begins(words: Sequence[str]) -> Iterator[int]:
    """Where each word begins in the words with spaces between."""
    place = 0
    for word in words:
        yield place
        place += len(word) + 1


def _firsts(pieces: Any, count: int) -> list[int]:
    """Where each word's first piece is; a word without pieces has that of the word before it."""
    places: dict[int, int] = {}
    for place, word in enumerate(pieces.word_ids):
        if word is not None:
            places.setdefault(word, place)
    if pieces.overflowing:
        count = max(places, default=-1) + 1
    found, at = [], min(places.values(), default=0)
    for word in range(count):
        at = places.get(word, at)
        found.append(at)
    return found


def _keys(texts: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """A number for each text, the same for the same words."""
    digests = b"".join(
        blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for words in texts
    )
    return np.frombuffer(digests, np.int64)


def text_facts(
    inputs: Mapping[str, Input],
    stores: Mapping[str, Mapping[str, Store]],
    parts: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, Any]:
    """What a person should know of every text input before training on it.

    Args:
        inputs: The inputs, fitted.
        stores: By source and input.
        parts: Rows by part and source.

    Returns:
        By input `vocabulary`, `unknown` (the share of validation units that it lacks), `blank` and
        `truncated` (rows), and `repeated`: by part the held-out rows whose text is that of a
        training row.
    """
    found: dict[str, Any] = {}
    for name, some in inputs.items():
        if not isinstance(some, TextInput):
            continue
        rows: dict[str, list[tuple[TextStore, Rows]]] = {part: [] for part in parts}
        for part, by_source in parts.items():
            for source, picked in by_source.items():
                store = stores[source].get(name)
                if isinstance(store, TextStore) and len(picked):
                    rows[part].append((store, picked.numpy()))
        shares = [
            (store.unknown_share(at), int(store.units.counts(at).sum()))
            for store, at in rows.get("validation", ())
        ]
        total = sum(count for _, count in shares)
        seen = _joined(rows.get("train", ()))
        found[name] = {
            "vocabulary": some.features["vocabulary"],
            "unknown": sum((s or 0.0) * n for s, n in shares) / total if total else None,
            "blank": sum(
                int((s.units.counts(at) == 0).sum()) for per in rows.values() for s, at in per
            ),
            "truncated": sum(int(s.truncated[at].sum()) for per in rows.values() for s, at in per),
            "repeated": {
                part: int(np.isin(_joined(rows[part]), seen).sum())
                for part in ("validation", "test")
                if rows.get(part)
            },
        }
    return found


def _joined(rows: Sequence[tuple[TextStore, Rows]]) -> NDArray[np.int64]:
    """The keys of rows that have any text."""
    return np.concatenate(
        [np.zeros(0, np.int64), *(s.keys[at][s.units.counts(at) > 0] for s, at in rows)]
    )
