"""Text as numbers: splitting, vocabularies, padding, and what is said of it."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data.collate import join_features
from polytask.data.conll import Columns
from polytask.data.ragged import Ragged
from polytask.data.sentences import Lines
from polytask.data.sources import Table
from polytask.data.tables import TableFile
from polytask.data.text import TextInput, text_facts
from polytask.data.vocabulary import UNKNOWN
from polytask.data.words import split_words
from polytask.errors import ConfigError, DataError
from polytask.types import Features

WORDS = ["the cat sat", "the dog", "", "a cat a cat and the dog sat"]


def table(cells: list[Any], name: str = "s") -> Table:
    frame = pd.DataFrame({"text": pd.Series(cells, dtype=object)})
    return Table(name, frame, {}, "", lambda row: f"line {row + 1}")


def fitted(cells: list[Any] = WORDS, **settings: Any) -> TextInput:
    made = TextInput(columns={"s": "text"}, **settings)
    made.fit([(table(cells), None, np.arange(len(cells)))])
    return made


def rows(count: int) -> np.ndarray:
    return np.arange(count)


def test_marks_are_taken_off_words_as_treebanks_do() -> None:
    said = "Don't panic!! It's Mr. Smith's well-made U.S. car (1,000.50 dollars)."
    expected = "Do n't panic !! It 's Mr. Smith 's well-made U.S. car ( 1,000.50 dollars ) ."
    assert split_words(said) == expected.split()


@pytest.mark.parametrize(
    "said",
    [
        "हिन्दी में बात करते हैं ।",  # vowels below and beside the letters
        "தமிழ் மொழி",
        "שָׁלוֹם עולם !",  # points
        "مُحَمَّد ولد",
        "می\u200cخواهم بروم",  # a joiner of no width inside a word
        "Tiê\u0301ng Viê\u0323t",
    ],
)
def test_signs_that_combine_with_a_letter_belong_to_its_word(said: str) -> None:
    assert split_words(said) == said.split()


def test_a_word_is_the_same_in_both_ways_of_unicode_to_write_it() -> None:
    two = unicodedata.normalize("NFD", "schöne Größe")
    assert len(two) > len("schöne Größe")
    some = fitted(["schöne Größe", two, ["schöne", "Größe"], two.split()], min_count=4)
    assert sorted(some.state["units"]) == ["Größe", "schöne"]
    numbers = some.stored(table([two])).gather(rows(1)).values
    assert numbers.tolist() == some.stored(table(["schöne Größe"])).gather(rows(1)).values.tolist()


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab'n t.,-!A1 ’", max_size=25))
def test_nothing_but_spaces_is_lost_in_splitting(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6), st.randoms())
def test_padded_rows_are_the_rows(made: list[list[int]], random: Any) -> None:
    ragged = Ragged(made)
    order = np.array([random.randrange(len(made)) for _ in range(4)])
    values, mask = ragged.padded(order, fill=7)
    assert values.shape[1] == max(1, *(len(made[k]) for k in order))
    for k, (row, inside) in enumerate(zip(values, mask, strict=True)):
        assert row[inside].tolist() == made[order[k]] and (row[~inside] == 7).all()
    assert ragged.picked(order).tolist() == [n for k in order for n in made[k]]


def test_numbers_are_those_of_frequent_training_words() -> None:
    some = fitted(min_count=2)
    assert some.state["units"] == ["cat", "the", "a", "dog", "sat"]
    values, mask = some.stored(table(["the cow sat", "Cat"])).gather(rows(2))
    assert values.tolist() == [[3, UNKNOWN, 6], [UNKNOWN, 0, 0]]
    assert mask is not None and mask.tolist() == [[True] * 3, [True, False, False]]
    assert some.stored(table(["cat sat"])).gather(rows(1)).mask is None
    assert fitted(vocabulary=4).state["units"] == ["cat", "the"]
    low = fitted(["Cat CAT", "cat"], lowercase=True, characters=4)
    assert low.state["units"] == ["cat"] and set(low.state["letters"]) == set("CATcat")


def test_fitting_looks_at_training_rows_alone() -> None:
    made = TextInput(columns={"s": "text"}, min_count=1, characters=3)
    made.fit([(table(["a b", "zebra", "b"]), None, np.array([0, 2]))])
    assert made.state["units"] == ["b", "a"] and made.state["letters"] == ["b", "a"]
    with pytest.raises(DataError, match="No training row has any text in column text"):
        TextInput(columns={"s": "text"}).fit([(table([None, " "]), None, rows(2))])


def test_words_come_with_their_first_characters() -> None:
    some = fitted(["ab abc", "abc abcdef"], min_count=1, characters=4)
    store = some.stored(table(["abcdef zz", "b"]))
    a, b, c = (some.state["letters"].index(letter) + 2 for letter in "abc")
    d = some.state["letters"].index("d") + 2
    word = some.state["units"].index("abcdef") + 2
    both = store.gather(rows(2)).values
    assert both[0].tolist() == [[word, a, b, c, d], [UNKNOWN, UNKNOWN, UNKNOWN, 0, 0]]
    assert store.gather(np.array([1])).values.tolist() == [[[UNKNOWN, b]]]  # no wider than needed


def test_what_is_longer_is_cut_and_counted() -> None:
    some = fitted(max_length=2)
    store = some.stored(table(WORDS))
    assert store.truncated.tolist() == [True, False, False, True]
    assert store.lengths().tolist() == [3, 2, 0, 8] and store.kept().tolist() == [2, 2, 0, 2]
    assert store.gather(rows(4)).values.shape == (4, 2)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_each_words_first_piece_is_found(kind: Any) -> None:
    cells = [("lowest", "newer", "low"), ("low", "", "widest"), ("newest",)]
    some = fitted(cells, level="subwords", subwords=kind, vocabulary=24, min_count=1)
    store = some.stored(table(cells))
    values, mask = store.gather(rows(3))
    assert store.lengths().tolist() == [3, 3, 1] == store.kept().tolist()
    units, firsts = values[:, :, 0], values[:, :, 1].long() - 1
    assert mask is not None and (units[~mask] == 0).all()
    alone = some.stored(table([("low",), ("widest",)])).gather(rows(2)).values
    assert units[0, firsts[0, 2]] == alone[0, 0, 0] == units[1, firsts[1, 0]]
    assert units[1, firsts[1, 2]] == alone[1, 0, 0]
    assert (firsts >= 0).sum(1).tolist() == [3, 3, 1]


def test_characters_of_words_begin_after_spaces() -> None:
    some = fitted([("ab", "c"), ("abc",)], level="characters", min_count=1)
    values, _ = some.stored(table([("ab", "c")])).gather(rows(1))
    assert values[0, :, 1].tolist() == [1, 4, 0, 0]
    assert (
        fitted(["ab c"], level="characters").stored(table(["ab"])).gather(rows(1)).values.ndim == 2
    )


def test_a_given_tokenizer_is_kept_with_the_run(tmp_path: Path) -> None:
    learned = fitted(level="subwords", vocabulary=30, min_count=1).state["tokenizer"]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(learned))
    some = fitted(level="subwords", tokenizer=path)
    path.unlink()
    again = TextInput(columns={"s": "text"}, level="subwords", tokenizer=path)
    again.load_state(json.loads(json.dumps(some.state)))
    ours, theirs = (i.stored(table(WORDS)).gather(rows(4)) for i in (some, again))
    assert torch.equal(ours.values, theirs.values)
    path.write_text("{}")
    with pytest.raises(DataError, match=r"should be a tokenizer.json"):
        fitted(level="subwords", tokenizer=path)


@pytest.mark.parametrize(
    "settings", [{}, {"characters": 5}, {"level": "subwords", "vocabulary": 30}]
)
def test_a_fit_survives_json(settings: Any) -> None:
    some = fitted(**settings)
    again = TextInput(columns={"s": "text"}, **settings)
    again.load_state(json.loads(json.dumps(some.state)))
    assert again.features == some.features
    ours, theirs = (i.stored(table(WORDS)).gather(rows(4)) for i in (some, again))
    assert torch.equal(ours.values, theirs.values)


def test_settings_that_go_with_another_level_are_refused() -> None:
    with pytest.raises(ConfigError, match="`characters` go with words"):
        TextInput(columns={}, level="subwords", characters=3)
    with pytest.raises(ConfigError, match="`tokenizer` goes with"):
        TextInput(columns={}, tokenizer=Path("x"))
    with pytest.raises(ConfigError, match="`vocabulary` should be at least 3"):
        TextInput(columns={}, vocabulary=2)


def test_texts_of_two_sources_meet_in_one_batch() -> None:
    one = Features(torch.ones(2, 3, 4, dtype=torch.int32))
    two = Features(torch.full((1, 2, 6), 2, dtype=torch.int32), torch.tensor([[True, False]]))
    values, mask = join_features("words", [one, two])
    assert values.shape == (3, 3, 6) and values[:2, :, 4:].eq(0).all() and values[2, 2].eq(0).all()
    assert mask is not None and mask.tolist() == [[True] * 3, [True] * 3, [True, False, False]]


def test_repeated_texts_and_unknown_words_are_said() -> None:
    some = fitted(["the cat", "a dog", "the cat", "a cow", "", ""], min_count=1)
    stores = {"s": {"t": some.stored(table(["the cat", "a dog", "the  cat", "a cow", "", ""]))}}
    parts = {"train": [0, 1, 4], "validation": [2, 5], "test": [3]}
    facts = text_facts({"t": some}, stores, {p: {"s": torch.tensor(r)} for p, r in parts.items()})
    assert facts["t"]["repeated"] == {"validation": 1, "test": 0}  # blank ones are no texts
    lost = some.stored(table(["the horse sat"]))
    facts = text_facts({"t": some}, {"s": {"t": lost}}, {"validation": {"s": torch.tensor([0])}})
    assert facts["t"]["unknown"] == pytest.approx(2 / 3) and facts["t"]["truncated"] == 0


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "u8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_letter(encoding: str, tmp_path: Path) -> None:
    words, lines, table = (tmp_path / name for name in ("words", "lines", "rows.jsonl"))
    words.write_text("\ufeffAnna B-PER\nsees O\n\n", encoding="utf-8")
    lines.write_text("\ufeffgood it is\n", encoding="utf-8")
    table.write_text('\ufeff{"y": 1}\n', encoding="utf-8")
    columns = Columns(path=words, columns=["words", "ner"], encoding=encoding).load()
    assert columns.frame["words"][0] == ("Anna", "sees")
    assert Lines(path=lines, label=True, encoding=encoding).load().frame["label"][0] == "good"
    assert list(TableFile(path=table, encoding=encoding).load().frame.columns) == ["y"]
