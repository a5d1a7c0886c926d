"""`polytask init` on files with a word and its labels on each line (CoNLL)."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polytask.cli import app
from polytask.config.load import load_config
from polytask.errors import DataError
from polytask.survey.profile import profile_data
from polytask.survey.word_columns import draft_words, word_files
from polytask.survey.word_layout import looked_at

SENTENCES = """\
The DT I-NP O
cat NN I-NP O
saw VBD I-VP O
Paris NNP I-NP B-LOC
. . O O

She PRP I-NP O
left VBD I-VP O
Rome NNP I-NP B-LOC

"""
START = "-DOCSTART- -X- -X- O\n\n"


def columns(*which: int, text: str = SENTENCES, mark: str = " ") -> str:
    """Some columns of the sentences, counted from 0."""
    lines = (line.split() for line in text.split("\n"))
    return "\n".join(mark.join(line[k] for k in which) if line else "" for line in lines)


def corpus(folder: Path, *names: str, text: str = SENTENCES) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(START + text * 6, encoding="utf-8")
    return folder


def draft(data: Path, targets: str = "", names: str = "") -> str:
    return draft_words(
        word_files(data),
        targets.split(",") if targets else [],
        names.split(",") if names else [],
        data if data.is_dir() else data.parent,
    )


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "dev.txt", "test.txt"),
        ("train.txt", "valid.txt", "test.txt"),
        ("eng.train", "eng.testa", "eng.testb"),
        ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"),
    ],
)
def test_parts_are_told_from_names(names: tuple[str, ...], tmp_path: Path) -> None:
    corpus(tmp_path, *names)
    (tmp_path / "README").write_text("Sentences.\n\nWord by word, with two labels each.\n")
    found = word_files(tmp_path)
    assert {p: f.name for p, f in found.items()} == dict(
        zip(("train", "validation", "test"), names, strict=True)
    )
    assert word_files(tmp_path / "README") == {}
    text = draft(tmp_path)
    assert "split: {fixed: true}  # files are parts\n" in text and f"train: {names[0]}" in text


def test_a_file_brings_those_of_its_name(tmp_path: Path) -> None:
    names = ("eng.train", "eng.testa", "deu.train", "deu.testa")
    corpus(tmp_path, *names)
    found = word_files(tmp_path / "deu.testa")
    assert [f.name for f in found.values()] == ["deu.train", "deu.testa"]
    with pytest.raises(DataError, match=r"several files of labelled words: deu.testa, deu.train"):
        word_files(tmp_path)
    assert "validation: 0.15}" not in draft(tmp_path / "deu.testa")
    assert "{fixed: true, test: 0.15}  # files are parts; test drawn" in draft(
        tmp_path / "eng.train"
    )


def test_columns_are_called_by_what_they_hold(tmp_path: Path) -> None:
    text = draft(corpus(tmp_path, "mine.txt") / "mine.txt")
    assert "columns: [words, pos, chunks, entities]" in text
    assert "spans: [chunks, entities]" in text and "drawn at random" in text
    assert "# column 2: labels that recur; 6 labels; the rarest is DT 12.50%\n  pos:" in text
    assert "# column 3: marks of 2 kinds of spans; 4 labels" in text
    assert "pos: {kind: tagging, target: {data: pos}, dropout: 0.3}" in text
    assert "chunks: {kind: tagging, target: {data: chunks}, decoder: crf, dropout: 0.5}" in text


def test_targets_choose_columns_or_name_them(tmp_path: Path) -> None:
    file = corpus(tmp_path, "mine.txt") / "mine.txt"
    assert "columns: [words, _, _, entities]" in draft(file, "entities")
    named = draft(file, "tag,_,ner")
    assert "columns: [words, tag, _, ner]" in named and "spans: [ner]" in named
    assert "  ner: {kind: tagging" in named and "chunk" not in named
    by_position = draft(file, "ner", "words,_,phrase,ner")
    assert "columns: [words, _, _, ner]" in by_position
    for targets, names, said in (
        ("ner", "", r"no column 'ner'.*pos \(column 2\), chunks \(column 3\)"),
        ("a,b,c,d", "", "each of the 3 a name"),
        ("a,a,b", "", "names a column twice"),
        ("", "words,pos", "has 4 columns. Name every one"),
        ("", "w,a,b,c", "one of them 'words'"),
        ("pos", "words,a,b,c", "no column 'pos'"),
    ):
        with pytest.raises(DataError, match=said):
            draft(file, targets, names)


def test_what_else_stands_in_lines_is_seen(tmp_path: Path) -> None:
    numbered = [
        f"{k}\t{word}\t_\t{'B-TAG' if word[0] == '#' else 'O'}"
        for words in ("it is #fine", "#so what ?")
        for k, word in enumerate(words.split(), start=1)
    ]
    block = "# id = 1\n{}\n\n# id = 2 and more\n{}\n\n".format(
        "\n".join(numbered[:3]), "\n".join(numbered[3:])
    )
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress((block * 5).encode()))
    text = draft(tmp_path / "a.tsv.gz")
    assert "columns: [_, words, _, spans]" in text and 'comments: "# "' in text
    assert "# column 1 is left out: it numbers the words" in text
    assert "# column 3 is left out: it says '_' everywhere" in text
    assert "separator" not in text and "10 sentences" in text
    french = "café au lait\tN\nbon\tA\n\noui\tI\nça\tN\n\n" * 2
    (tmp_path / "b.txt").write_bytes(french.encode("latin-1"))
    text = draft(tmp_path / "b.txt")
    assert 'separator: "\\t"' in text and "encoding: cp1252" in text


@pytest.mark.parametrize(
    "text",
    [
        "a b c\n\nd e f\n\ng h i\n\n",  # a text on each line
        "Word by word.\nIt goes on\n\nand ends here.\nDoes it not so\n",
        "1 2.5\n2 2.5\n\n1 3.5\n2 3.5\n\n",  # numbers in groups
        "name,label\na,x\nb,y\n\nc,x\n",
        "one A\ntwo B\nthree A\nfour B\n",  # no sentence ends
        "b\0 A\nc B\n\nd A\ne B\n",
    ],
)
def test_other_text_is_left_to_others(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert looked_at(tmp_path / "a.txt") is None and word_files(tmp_path) == {}


def test_tables_stay_tables(tmp_path: Path) -> None:
    corpus(tmp_path, "train.txt")
    (tmp_path / "t.tsv").write_text("text\tlabel\na b\tx\n\nc d\ty\n\ne f\tx\n")
    assert word_files(tmp_path / "t.tsv") == {} and word_files(tmp_path) == {}


def test_a_part_without_the_columns_is_left_out(tmp_path: Path) -> None:
    corpus(tmp_path, "train.txt")
    (tmp_path / "test.txt").write_text(columns(0, 1) * 6)
    text = draft(tmp_path)
    assert "# test.txt is left out: its columns are not those of train.txt." in text
    assert "test: test.txt" not in text and "validation: 0.15, test: 0.15" in text


def test_a_test_part_alone_cannot_train(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training part beside"):
        draft(corpus(tmp_path, "eng.testa"))


def test_a_profile_counts_words_and_labels(tmp_path: Path) -> None:
    facts = profile_data(corpus(tmp_path, "train.txt", "test.txt"))
    assert facts["rows"] == 24 and facts["things"] == "sentences"
    assert facts["columns"]["pos"]["kind"] == "6 labels"
    assert facts["columns"]["words"]["kind"] == "8 words"


def test_the_draft_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path / "corpus", "train.txt", "test.txt")
    monkeypatch.chdir(tmp_path / "corpus")
    run = CliRunner()
    made = run.invoke(app, ["init", ".", "--targets", "pos,chunk,_"])
    assert made.exit_code == 0, made.output
    assert "corpus.yaml is written" in made.output
    assert list(load_config(Path("corpus.yaml")).tasks) == ["pos", "chunk"]
    checked = run.invoke(app, ["check", "corpus.yaml"])
    assert checked.exit_code == 0 and "labels of chunk" in checked.output, checked.output
    sets = ["training.epochs=1", "training.threads=1", "trunk.backbone.width=8"]
    trained = run.invoke(app, ["train", "corpus.yaml", *(a for s in sets for a in ("--set", s))])
    assert trained.exit_code == 0, trained.output
    judged = run.invoke(app, ["evaluate"])
    assert judged.exit_code == 0 and "span" in judged.output, judged.output
    for name, text in {
        "labelled.txt": SENTENCES,
        "alone.txt": columns(0),
        "lines.txt": "The cat saw Paris .\nShe left Rome\n",
    }.items():
        Path(name).write_text(text)
        said = run.invoke(app, ["predict", "--input", name, "--output", f"{name}.jsonl"])
        assert said.exit_code == 0, said.output
        first, second = map(json.loads, Path(f"{name}.jsonl").read_text().splitlines())
        assert first["words"] == "The cat saw Paris ." and second["words"] == "She left Rome"
        assert len(first["pos"].split()) == 5 and len(second["chunk"].split()) == 3
