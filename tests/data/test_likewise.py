"""Text to predict is read as that of training was, where it is written so."""

from pathlib import Path

import pytest

from polytask.data.conll import Columns, UniversalDependencies
from polytask.data.likewise import Texts, Written, read_texts
from polytask.data.predicting import read_unlabelled
from polytask.data.sentences import Chunks, EnglishWeb, Lines
from polytask.data.sources import Source
from polytask.data.tables import TableFile
from polytask.data.text import TextInput
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
    assert read(tmp_path, columns(tmp_path), "Anna NNP _\nruns VBZ _\n") == [["Anna", "runs"]]
    for texts in (  # as many words on each line as there are columns
        "Anna runs home\nStop it now\n",
        "Anna runs .\nStop it .\n",
        "Anna runs O\nStop it Ophelia\n",
    ):
        expected = [line.split() for line in texts.splitlines()]
        assert read(tmp_path, columns(tmp_path), texts) == expected


def test_other_columns_than_in_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"words in 2 columns, where training had 3 \(words, pos"):
        read(tmp_path, columns(tmp_path), "Anna B-PER\nruns O\n\nStop O\n")


WEB = "# text = x\n1\tAnna\tPROPN\tNNP\t2\tnsubj\tB-PER\n2\truns\tVERB\tVBZ\t0\troot\tO\n"
WEB += "\n1\tStop\tVERB\tVB\t0\troot\tO\n"
TEXT_INPUT = TextInput(columns={"s": "words"})


@pytest.mark.parametrize(
    ("source", "text", "name"),
    [
        *((EnglishWeb(), WEB, f"new.{ending}") for ending in ("txt", "conll", "tsv")),
        (EnglishWeb(), "Anna\nruns\n\nStop\n", "new.tsv"),
        (Chunks(), "Anna NNP B-NP\nruns VBZ B-VP\n\nStop VB O\n", "new.txt"),
        (Chunks(), "Anna\nruns\n\nStop\n", "new.conll"),
    ],
)
def test_known_sources_of_words_in_lines_are_read_so_from_other_files(
    source: Source, text: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    found = read_unlabelled(
        tmp_path / name, {"x": TEXT_INPUT}, written=Written.as_in({"s": source}, {"s": LABELS})
    )
    (reading,) = found._readings
    assert reading.table.cells(["words"])[:, 0].tolist() == [("Anna", "runs"), ("Stop",)]


def test_a_table_that_names_a_column_is_no_words_in_lines(tmp_path: Path) -> None:
    (tmp_path / "new.tsv").write_text("id\ttext\n1\tAnna runs\n\n2\tStop\n")
    written = Written.as_in({"s": EnglishWeb()}, {"s": LABELS})
    (reading,) = read_unlabelled(tmp_path / "new.tsv", {"x": TEXT_INPUT}, written=written)._readings
    assert reading.table.cells(["text"])[:, 0].tolist() == ["Anna runs", "Stop"]


def test_columns_of_others_are_no_words_with_blanks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"words in 2 columns divided by blanks, where .* had 7"):
        read(tmp_path, EnglishWeb.like(tmp_path / "a.tsv"), "1 Anna\n2 runs\n\n1 Stop\n")


def test_what_is_in_columns_by_its_name_is_no_text(tmp_path: Path) -> None:
    text = "# one more comment\nAnna NNP PERSON\n\nStop VB PERSON\n"
    with pytest.raises(DataError, match=r"new.conll has words in columns by its name.* words, pos"):
        read(tmp_path, columns(tmp_path), text, "new.conll")
    assert len(read(tmp_path, columns(tmp_path), text)) == 3  # .txt: a text on each line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Anna\tNNP\tO\nruns\tVBZ\n\n", r"line 2 should have 3 columns .*Found 2: 'runs\\tVBZ'"),
        ("Anna NNP O\n\nStop it VB O\n\nEve NNP B-PER\n", r"line 3 .*Found 4: 'Stop it VB O'"),
        ("# one more comment\nAnna NNP O\n\nStop VB O\n", "line 1 .*Correct the line, or"),
    ],
)
@pytest.mark.parametrize("name", ["new.txt", "new.conll"])
def test_a_line_that_lacks_a_column_is_named(
    text: str, told: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"{name} {told}"):
        read(tmp_path, columns(tmp_path), text, name)


def test_texts_of_several_lengths_are_no_damaged_columns(tmp_path: Path) -> None:
    texts = "Anna runs home\nStop it\nIt rains here\n"
    assert len(read(tmp_path, columns(tmp_path), texts)) == 3


def test_several_sources_of_text_say_nothing_of_others() -> None:
    both = {"a": EnglishWeb(), "b": Chunks()}
    assert Written.as_in(both, {"a": {}, "b": {}}).source is None


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i feel happy lol\ni hate it\n", ["i feel happy lol", "i hate it"]),
        ("fine\n", ["fine"]),
        ("i feel happy;joy\ni hate it;anger\n", ["i feel happy", "i hate it"]),
        ("text;label\ni feel happy;\n", ["i feel happy"]),
    ],
)
def test_texts_in_lines_after_tables_without_a_header(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    like = TableFile(path=tmp_path / "train.txt", format="csv", columns=["text", "label"])
    (tmp_path / "new.txt").write_text(text)
    words = TextInput(columns={"s": "text"})
    (reading,) = read_unlabelled(tmp_path / "new.txt", {"x": words}, like=like)._readings
    (tmp_path / "odd.txt").write_text("1;i feel happy;joy\n")
    with pytest.raises(DataError, match="`columns` names 2 columns"):
        read_unlabelled(tmp_path / "odd.txt", {"x": words}, like=like)
    column = str(reading.columns["x"])
    assert [str(c) for c in reading.table.cells([column])[:, 0]] == expected
