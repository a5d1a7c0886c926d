"""The real data, where there is a folder of it."""

from pathlib import Path

import pytest

from polytask.data.sentences import Chunks, EnglishWeb, Questions, Sentences
from polytask.data.speech import SpokenDigits
from polytask.data.timit import Timit
from polytask.data.vision import Cifar10


def needs(root: Path, *names: str) -> None:
    if not any((root / name).is_dir() for name in names):
        pytest.skip(f"POLYTASK_DATA has no folder {' or '.join(names)}")


def test_cifar10(real_data: Path) -> None:
    needs(real_data, "cifar10")
    table = Cifar10(download=False).load()
    assert len(table) == 60000 and set(table.frame["label"].value_counts()) == {6000}
    assert table.fixed_split is not None and (table.fixed_split == "test").sum() == 10000
    assert table.media["image"].picture(59999).shape == (32, 32, 3)


def test_spoken_digits(real_data: Path) -> None:
    needs(real_data, "fsdd")
    table = SpokenDigits(download=False).load()
    assert len(table) == 3000 and table.frame["speaker"].nunique() == 6
    assert table.fixed_split is not None and (table.fixed_split == "test").sum() == 300
    assert table.media["audio"].wave(2999)[1] == 8000


def test_timit(real_data: Path) -> None:
    needs(real_data, "timit", "timit_nltk_sample")
    table = Timit().load()
    assert table.frame["phone"].nunique() == 61 and table.frame["broad"].nunique() == 10
    assert table.frame["speaker"].nunique() >= 16
    assert table.media["audio"].wave(0)[1] == 16000


def test_language(real_data: Path) -> None:
    needs(real_data, "nltk")
    needs(real_data, "sentence_classification")
    needs(real_data, "ud_uner_en_ewt")
    sizes = {
        "chunks": (Chunks(), {"train": 8936, "test": 2012}),
        "questions": (Questions(), {"train": 5452, "test": 500}),
        "films": (Sentences(set="sst2"), {"train": 6920, "validation": 872, "test": 1821}),
        "web": (EnglishWeb(), {"train": 12543, "validation": 2001, "test": 2077}),
    }
    tables = {}
    for name, (source, expected) in sizes.items():
        tables[name] = source.load()
        split = tables[name].fixed_split
        assert split is not None and split.value_counts().to_dict() == expected, name
    questions = tables["questions"].frame
    assert questions["coarse"].nunique() == 6 and questions["fine"].nunique() == 50
    # The other copy of the questions has numbers for classes, which are named alike.
    other = Sentences(set="trec").load().frame
    assert (other["label"] == questions["coarse"]).mean() > 0.999
