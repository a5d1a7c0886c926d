"""Text to predict is read as that of training was, where it is written so."""

from pathlib import Path

import pytest

from polytask.data.conll import Columns, UniversalDependencies
from polytask.data.likewise import Texts, Written, read_texts
from polytask.data.sentences import Lines
from polytask.errors import DataError

LABELS = {"ner": ("O", "B-PER"), "label": ("NUM:date", "HUM:ind"), "coarse": ("NUM", "HUM")}
COLUMNS = ["words", "pos", "ner"]
IN_COLUMNS = "-DOCSTART- -X- O\n\nAnna NNP B-PER\nruns VBZ O\n\nStop VB O\n"


def read(folder: Path, source: Texts | None, text: str, name: str = "new.txt") -> list[list[str]]:
    """The words of each sentence of a file."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    table, column = read_texts(path, Written(source, LABELS))
    cells = table.cells([column])[:, 0].tolist()
    return [list(c) if isinstance(c, tuple) else c.split() for c in cells]


def columns(folder: Path) -> Columns:
    return Columns(path=folder / "train.txt", columns=COLUMNS, spans=["ner"])


@pytest.mark.parametrize(
    "text",
    [
        IN_COLUMNS,
        IN_COLUMNS.replace("B-PER", "PERSON"),  # labels of others: sentences are seen all the same
        "Anna\nruns\n\nStop\n",
        "Anna NNP _\nruns VBZ _\n\nStop VB _\n",
    ],
)
def test_words_in_columns_or_alone_are_sentences(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, columns(tmp_path), text) == [["Anna", "runs"], ["Stop"]]


def test_one_sentence_in_columns_is_told_by_its_labels(tmp_path: Path) -> None:
    assert read(tmp_path, columns(tmp_path), "Anna NNP B-PER\nruns VBZ O\n") == [["Anna", "runs"]]
    texts = "Anna runs home\nStop it now\n"  # as many words on each line as there are columns
    assert read(tmp_path, columns(tmp_path), texts) == [
        ["Anna", "runs", "home"],
        ["Stop", "it", "now"],
    ]


def test_other_columns_than_in_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"words in 2 columns, where training had 3 \(words, pos"):
        read(tmp_path, columns(tmp_path), "Anna B-PER\nruns O\n\nStop O\n")


def test_files_that_end_as_those_of_training_are_texts(tmp_path: Path) -> None:
    source = Columns(path={"train": tmp_path / "a.conll.gz"}, columns=COLUMNS)
    assert Written(source).by(tmp_path / "new.CONLL") and not Written(source).by(tmp_path / "a.csv")
    assert not Written().by(tmp_path / "new.conll")
    trees = UniversalDependencies(path=tmp_path / "train.conll")
    tree = "1\tAnna\t_\t_\t_\t_\t0\troot\t_\t_\n"
    assert read(tmp_path, trees, tree, "new.conll") == [["Anna"]]


def test_labels_before_texts_are_no_words(tmp_path: Path) -> None:
    lines = Lines(path=tmp_path / "train.txt", label=True, levels=["coarse", "fine"])
    both = "NUM:date When was it\nHUM:ind Who was it\n"
    assert read(tmp_path, lines, both) == [["When", "was", "it"], ["Who", "was", "it"]]
    plain = "When was it\nNUM:date is a label\n"
    assert read(tmp_path, lines, plain)[0] == ["When", "was", "it"]


def test_letters_are_stored_as_in_training_unless_they_are_utf_8(tmp_path: Path) -> None:
    lines = Lines(path=tmp_path / "train.txt", encoding="latin-1")
    (tmp_path / "old.txt").write_bytes("grün\n".encode("latin-1"))
    table, column = read_texts(tmp_path / "old.txt", Written(lines))
    assert table.cells([column])[0, 0] == "grün"
    assert read(tmp_path, lines, "grün\n") == [["grün"]]
