"""Sentences of labelled words: columns, treebanks, lines."""

import gzip
import zipfile
from pathlib import Path

import pytest

from polytask.data.conll import Columns, UniversalDependencies, iob2
from polytask.data.sentences import Chunks, EnglishWeb, Lines, Questions, Sentences
from polytask.errors import ConfigError, DataError

COLUMNS = "-DOCSTART- X O\n\nThe D I-NP\ncat N I-NP\nsat V B-VP\n\n\nIt P I-NP\n"
TREEBANK = """\
# sent_id = one
# text = It's new.
1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_
1\tIt\tit\tPRON\tPRP\tNumber=Sing\t3\tnsubj\t_\t_
2\t's\tbe\tAUX\tVBZ\t_\t3\tcop\t_\t_
2.1\tghost\t_\t_\t_\t_\t_\t_\t_\t_
3\tnew\tnew\tADJ\t_\t_\t0\troot\t_\t_

1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

"""


def test_columns_are_sentences_with_a_label_per_word(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(COLUMNS)
    table = Columns(path=path, columns=["words", "pos", "chunks"], spans=["chunks"]).load()
    assert table.frame["words"].tolist() == [("The", "cat", "sat"), ("It",)]
    assert table.frame["chunks"].tolist() == [("B-NP", "I-NP", "B-VP"), ("B-NP",)]
    assert [table.describe(k) for k in range(2)] == ["a.txt line 3", "a.txt line 8"]
    assert table.fixed_split is None


def test_files_by_part_are_a_split(tmp_path: Path) -> None:
    for name, text in (("a.txt", "x A\n"), ("b.txt", "y B\n\nz A\n")):
        (tmp_path / name).write_text(text)
    files = {"train": tmp_path / "a.txt", "test": tmp_path / "b.txt"}
    table = Columns(path=files, columns=["words", "tag"]).load()
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["train", "test", "test"]
    with pytest.raises(ConfigError, match=r"train, validation, test. Found 'dev'"):
        Columns(path={"dev": tmp_path / "a.txt"}, columns=["words", "tag"]).load()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x O\ny\n", r"a.txt line 2 should have 2 columns \(words, tag\). Found 1: y"),
        ("x O\n\ny X-NP\n", "sentence of line 3: marks of spans should be O, B-KIND or I-KIND"),
        ("\n", "has no sentences"),
    ],
)
def test_broken_columns_say_where(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    source = Columns(path=tmp_path / "a.txt", columns=["words", "tag"], spans=["tag"])
    with pytest.raises(DataError, match=told):
        source.load()


def test_a_document_begins_with_or_without_a_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("-DOCSTART- -X-\nthe DT\n\n-DOCSTART- -X-\n\na DT\n")
    table = Columns(path=path, columns=["words", "pos"]).load()
    assert table.cells(["words"])[:, 0].tolist() == [("the",), ("a",)]
    assert [table.describe(row) for row in range(2)] == ["t.txt line 2", "t.txt line 6"]


def test_iob1_becomes_iob2_and_iob2_stays() -> None:
    first = ["I-A", "I-A", "B-A", "O", "I-B", "I-A", "I-A"]
    second = ["B-A", "I-A", "B-A", "O", "B-B", "B-A", "I-A"]
    assert iob2(first) == second == iob2(second)


def test_marks_of_ends_and_of_single_words_become_iob2() -> None:
    second = ["B-A", "I-A", "I-A", "O", "B-B", "B-A", "I-A", "B-A"]
    assert iob2(["B-A", "I-A", "E-A", "O", "S-B", "B-A", "E-A", "S-A"]) == second  # IOBES
    assert iob2(["B-A", "I-A", "L-A", "O", "U-B", "B-A", "L-A", "U-A"]) == second  # BILOU
    assert iob2(["B-A", "M-A", "E-A", "O", "S-B", "B-A", "E-A", "S-A"]) == second  # BMES
    assert iob2(["E-A", "I-A"]) == ["B-A", "B-A"]  # what is over does not go on


def test_treebanks_without_contained_and_unsaid_words(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu.gz"
    path.write_bytes(gzip.compress(TREEBANK.encode()))
    source = UniversalDependencies(path=path, features=["Number"], metadata=["sent_id"])
    frame = source.load().frame
    assert frame["words"].tolist() == [("It", "'s", "new"), ("Yes",)]
    assert frame["xpos"].tolist() == [("PRP", "VBZ", None), ("UH",)]
    assert frame["Number"].tolist() == [("Sing", None, None), (None,)]
    assert frame["text"].tolist() == ["It's new.", None]
    assert frame["sent_id"].tolist() == ["one", None]
    path.write_bytes(gzip.compress(b"1 It it\n\n"))
    with pytest.raises(DataError, match="line 1 should have the ten columns of CoNLL-U"):
        source.load()


def test_lines_with_labels_in_levels(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_bytes("NUM:date When ?\n\nHUM:ind Who caf\xe9 ?\n".encode("latin-1"))
    source = Lines(path=path, label=True, levels=["coarse", "fine"], encoding="latin-1")
    frame = source.load().frame
    assert frame["coarse"].tolist() == ["NUM", "HUM"]
    assert frame["fine"].tolist() == ["NUM:date", "HUM:ind"]
    assert frame["text"].tolist() == ["When ?", "Who café ?"]
    assert source.load().describe(1) == "q.txt line 3"
    with pytest.raises(DataError, match=r"q.txt line 3 should be text in utf-8.*0xe9.*latin-1"):
        Lines(path=path).load()
    path.write_text("NUM\n")
    with pytest.raises(DataError, match=r"line 1 should be a label, ' ' and a text. Found 'NUM'"):
        source.load()


def test_known_sets_are_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    (tmp_path / "nltk").mkdir()
    (tmp_path / "sentence_classification").mkdir()
    for corpus, text in (("conll2000", "The D B-NP\n"), ("qc", "NUM:date When ?\n")):
        with zipfile.ZipFile(tmp_path / "nltk" / f"{corpus}.zip", "w") as archive:
            for part in ("train", "test"):
                archive.writestr(f"{corpus}/{part}.txt", text)
    for part in ("train", "dev", "test"):
        file = tmp_path / "sentence_classification" / f"stsa.binary.{part}.gz"
        file.write_bytes(gzip.compress(b"1 good\n0 bad\n"))
        file = tmp_path / "sentence_classification" / "custrev.all.gz"
        file.write_bytes(gzip.compress(b"1 works\n0 \n0 broke\n"))  # a label alone, as theirs has
        (tmp_path / "ud_uner_en_ewt").mkdir(exist_ok=True)
        web = "# genre = weblog\n1\tBush\tPROPN\tNNP\t0\troot\tI-PER\n"
        file = tmp_path / "ud_uner_en_ewt" / f"en_ewt.pos_ner.{part}.tsv.gz"
        file.write_bytes(gzip.compress(web.encode()))
    assert Chunks().load().frame["chunks"].tolist() == [("B-NP",)] * 2
    assert Questions().load().columns == ("text", "coarse", "fine")
    films = Sentences(set="sst2").load()
    assert films.frame["label"].tolist() == ["positive", "negative"] * 3
    assert films.fixed_split is not None and films.fixed_split.nunique() == 3
    assert Sentences(set="cr").load().frame["text"].tolist() == ["works", "broke"]
    row = EnglishWeb().load().frame.iloc[0]
    assert row["entities"] == ("B-PER",) and row["genre"] == "weblog"
    with pytest.raises(DataError, match="no file or folder"):
        Questions(path=tmp_path / "none").load()


def test_a_nul_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Anna NNP\n\nSt\0op VB\n")
    with pytest.raises(DataError, match=r"a.txt line 3 holds a NUL character"):
        Columns(path=tmp_path / "a.txt", columns=["words", "pos"]).load()


def test_sentences_that_no_blank_line_divides_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word A\n" * 100)
    with pytest.warns(UserWarning, match=r"a.txt has one sentence of 100 words: blank lines"):
        Columns(path=path, columns=["words", "label"]).load()
