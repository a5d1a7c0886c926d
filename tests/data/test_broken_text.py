"""Ways to break text: columns of words, treebanks, lines, and lists in cells."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.data.broken import Breaks, cases, let_in, put, refused

Case = tuple[Breaks, tuple[str, ...]]
SPLIT = "split: {test: 0.2, validation: 0.2}"
WORDS = "{kind: text, column: COLUMN, min_count: 1, encoder: {kind: embedding, width: 4}}"
REST = "trunk: {kind: hard, backbone: {kind: recurrent, width: 4}}\nbatches: {size: 4}\n"


def config(source: str, tasks: str, column: str = "words") -> str:
    return (
        f"sources: {{own: {{{source}, {SPLIT}}}}}\n"
        f"inputs: {{words: {WORDS.replace('COLUMN', column)}}}\ntasks: {tasks}\n{REST}"
    )


COLUMNS = config(
    "kind: columns, path: t.txt, columns: [words, pos, ner], spans: [ner]",
    "{pos: {kind: tagging, target: pos}, ner: {kind: tagging, target: ner}}",
)
TREES = config("kind: conllu, path: t.conllu", "{upos: {kind: tagging, target: upos}}")
LINES = config(
    "kind: lines, path: t.txt, label: true",
    "{label: {kind: multiclass, target: label}}",
    column="text",
)
TAGS = config("kind: table, path: t.jsonl", "{tags: {kind: tagging, target: tags}}")
MOODS = config(
    "kind: table, path: t.jsonl", "{mood: {kind: multilabel, target: mood}}", column="text"
)


def file(
    given: str, content: str | bytes, *told: str, old: str = "", new: str = "", name: str = "t.txt"
) -> Case:
    """A case of one file; `old` and `new` change the configuration."""

    def breaks(folder: Path) -> str:
        put(folder, name, content)
        return given.replace(old, new) if old else given

    return breaks, told


def sentences(old: str = "", new: str = "") -> str:
    """Sentences in columns; some words in the fourth one are others."""
    pair = ("the DT O\ndog NN B-PER\nran VB O", "a DT O\ncat NN B-LOC")
    made = [pair[k % 2] for k in range(12)]
    made[3] = made[3].replace(old, new) if old else made[3]
    return "\n\n".join(made) + "\n"


def trees(old: str = "", new: str = "") -> str:
    """Sentences of a treebank; something in the first one is another."""
    tree = (
        "# text = the dog\n1\tthe\tthe\tDET\tDT\t_\t2\tdet\t_\t_\n"
        "2\tdog\tdog\tNOUN\tNN\tNumber=Sing\t0\troot\t_\t_\n"
    )
    first = tree.replace(old, new, 1) if old else tree
    return "\n".join([first, *[tree] * 11]) + "\n"


LINE = "".join(f"{['pos', 'neg'][k % 2]} a text {k}\n" for k in range(20))
ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as _archive:
    _archive.writestr("a.txt", "x")


LOCKED = bytearray(ZIP.getvalue())
for _at in (LOCKED.index(b"PK\x03\x04") + 6, LOCKED.index(b"PK\x01\x02") + 8):
    LOCKED[_at] |= 1
STRANGE = bytearray(ZIP.getvalue())  # packed in a way that is not known
for _at in (STRANGE.index(b"PK\x03\x04") + 8, STRANGE.index(b"PK\x01\x02") + 10):
    STRANGE[_at] = 99


def columns(content: str | bytes, *told: str, old: str = "", new: str = "") -> Case:
    return file(COLUMNS, content, *told, old=old, new=new)


def conllu(content: str | bytes, *told: str, old: str = "", new: str = "") -> Case:
    return file(TREES, content, *told, old=old, new=new, name="t.conllu")


def lines(content: str | bytes, *told: str, old: str = "", new: str = "") -> Case:
    return file(LINES, content, *told, old=old, new=new)


TEN = "ten columns of CoNLL-U"
FILES: dict[str, Case] = {
    "no sentences": columns("\n\n", "t.txt has no sentences"),
    "a column too few": columns(sentences("cat NN B-LOC", "cat NN"), "t.txt line 13 should have 3",
        "words, pos, ner", "Found 2: cat NN"),
    "a column too many": columns(sentences("cat NN B-LOC", "cat NN B-LOC x"), "line 13", "Found 4"),
    "no kind of span": columns(sentences("B-LOC", "LOC"), "sentence of line 12", "Found 'LOC'"),
    "marks of another kind": columns(sentences("B-LOC", "X-LOC"), "line 12", "O, B-KIND or I-KIND"),
    "no blank lines": columns(sentences().replace("\n\n", "\n"), "own is empty: it has 1 rows"),
    "latin-1": columns(sentences("cat", "cät").encode("latin-1"), "t.txt line 13", "0xe4",
        "Set `encoding`"),
    "utf-16": columns(sentences().encode("utf-16"), "Set `encoding: utf-16`"),
    "one label": columns(sentences().replace("NN", "DT").replace("VB", "DT"), "Task 'pos' needs"),
    "nothing there": columns(sentences(), "There is no file .*u.txt. Did you mean 't.txt'",
        old="t.txt", new="u.txt"),
    "no part": columns(sentences(), "c.yaml:1: sources.own", "Found 'trian'",
        old="path: t.txt", new="path: {trian: t.txt}"),
    "one file for two parts": columns(sentences(), "`path` names t.txt twice",
        old="path: t.txt", new="path: {train: t.txt, test: t.txt}"),
    "no words": columns(sentences(), "c.yaml:1: sources.own: .*one of them 'words'",
        old="[words, pos", new="[token, pos"),
    "no such spans": columns(sentences(), "`spans` names column 'nr'. Did you mean 'ner'",
        old="spans: [ner]", new="spans: [nr]"),
    "not packed": file(COLUMNS, sentences(), "t.txt.gz cannot be read", old="t.txt", new="t.txt.gz",
        name="t.txt.gz"),
    "zip with a password": file(COLUMNS, bytes(LOCKED), "t.zip/a.txt cannot be read: .*password",
        old="t.txt", new="t.zip/a.txt", name="t.zip"),
    "zip of another kind": file(COLUMNS, bytes(STRANGE), "a.txt cannot be read: .*not supported",
        old="t.txt", new="t.zip/a.txt", name="t.zip"),
    "not in the zip": file(COLUMNS, ZIP.getvalue(), "t.zip holds no b.txt", old="t.txt",
        new="t.zip/b.txt", name="t.zip"),
    "no trees": conllu("# only a comment\n", "t.conllu has no sentences"),
    "blanks for tabs": conllu(trees().replace("\t", " "), "t.conllu line 2", TEN),
    "nine columns": conllu(trees("\t_\t_\n", "\t_\n"), "t.conllu line 2", TEN, "Found 9"),
    "eleven columns": conllu(trees("\t_\t_\n", "\t_\t_\t_\n"), "t.conllu line 2", "Found 11"),
    "no number of a word": conllu(trees("1\tthe", "x\tthe"), "sentence of line 1", "'x'"),
    "a word twice": conllu(trees("2\tdog", "1\tdog"), "t.conllu line 3 is word 1", "after word 1"),
    "words out of order": conllu(trees("1\tthe", "3\tthe"), "t.conllu line 3 is word 2",
        "comes after word 3", "blank line"),
    "no number of a head": conllu(trees("\t2\tdet", "\tx\tdet"), "sentence of line 1", "'x'"),
    "features without values": conllu(trees("Number=Sing", "Sing"), "line 3", "Found 'Sing'"),
    "no such feature": conllu(trees(), "`features` names 'Nmber', which nothing in t.conllu has",
        old="t.conllu", new="t.conllu, features: [Nmber]"),
    "no such comment": conllu(trees(), "`metadata` names 'genre', which nothing",
        old="t.conllu", new="t.conllu, metadata: [genre]"),
    "no parts of speech": conllu(trees().replace("DET", "_").replace("NOUN", "_").replace(
        "DET", "_"), "Task 'upos' has no label of a token", "own.upos"),
    "label without text": lines(LINE.replace("pos a text 2\n", "pos\n"), "t.txt line 3", "a text"),
    "text without label": lines("text\n" * 20, "t.txt line 1 should be a label"),
    "a mark that nobody sees": lines(LINE.replace("pos a text 2", "\ufeffpos a text 2"), "line 3",
        r"mean 'pos'\? It looks like '\\ufeffpos'"),
    "another letter": lines(LINE.replace("text 2", "täxt 2").encode("latin-1"), "t.txt line 3"),
    "no such encoding": lines(LINE, "c.yaml:1: sources.own: `encoding` is 'utf-99'",
        old="label: true", new="label: true, encoding: utf-99"),
    "capitals": lines(LINE.replace("pos a text 2", "Pos a text 2"), "t.txt line 3", "mean 'pos'"),
}  # fmt: skip


def tags(change: Callable[[dict[str, Any]], Any], *told: str) -> Case:
    """A case with another fourth row of words and their labels."""
    rows: list[dict[str, Any]] = [{"words": ["a", "b"], "tags": ["X", "Y"]} for _ in range(20)]
    change(rows[3])
    return file(TAGS, "\n".join(map(json.dumps, rows)), *told, name="t.jsonl")


def moods(change: Callable[[dict[str, Any]], Any], *told: str) -> Case:
    """A case with another fourth row of several labels."""
    rows: list[dict[str, Any]] = [
        {"text": f"a text {k}", "mood": ["joy", "fear"][: 1 + k % 2]} for k in range(20)
    ]
    change(rows[3])
    return file(MOODS, "\n".join(map(json.dumps, rows)), *told, name="t.jsonl")


def said(change: Callable[[dict[str, Any]], Any], kind: str, *told: str) -> Case:
    """A case with another fourth row of a text to learn, or of a name of its writer."""
    rows: list[dict[str, Any]] = [
        {"words": ["a", "b", "c"], "said": "ab"[k % 2]} for k in range(20)
    ]
    change(rows[3])
    given = TAGS.replace("tags: {kind: tagging, target: tags}", f"t: {{{kind}, target: said}}")
    return file(given, "\n".join(map(json.dumps, rows)), *told, name="t.jsonl")


ROW_4 = "t.jsonl row 4"
LISTS: dict[str, Case] = {
    "labels for fewer words": tags(lambda r: r.update(tags=["X"]), ROW_4, "Found 1 labels for 2"),
    "labels for no words": tags(lambda r: r.update(words=[]), ROW_4, "Found 2 labels for 0"),
    "labels in one word": tags(lambda r: r.update(tags="XY"), ROW_4, "'XY'"),
    "a number of labels": tags(lambda r: r.update(tags=2), ROW_4, "needs a list of labels"),
    "labels in lists": tags(lambda r: r.update(tags=[["X"], ["Y"]]), ROW_4, "one label per token"),
    "words in lists": tags(lambda r: r.update(words=[["a"], ["b"]]), ROW_4, "'words'", "in a list"),
    "words as keys": tags(lambda r: r.update(words={"a": 1, "b": 2}), ROW_4, "list of words"),
    "nothing among labels": moods(lambda r: r.update(mood=["joy", None]), ROW_4, "'mood'", "None"),
    "labels as keys": moods(lambda r: r.update(mood={"joy": 1}), ROW_4, "needs a list of label"),
    "lists among labels": moods(lambda r: r.update(mood=[["joy"]]), ROW_4, "in a list"),
    "a text as keys": said(lambda r: r.update(said={"a": 1}), "kind: ctc", ROW_4, "needs a text"),
    "a text in lists": said(lambda r: r.update(said=[["a"]]), "kind: ctc", ROW_4, "needs a text"),
    "a name as keys": said(lambda r: r.update(said={"a": 1}), "kind: similarity", ROW_4,
        "one label for an example"),
    "capitals": moods(lambda r: r.update(mood=["Joy"]), ROW_4, "'Joy'", "Did you mean 'joy'"),
    "unknown labels": moods(lambda r: r.update(mood=["rage"]), ROW_4, "'rage'", "skip"),
}  # fmt: skip
FINE: dict[str, Case] = {
    "tabs": columns(sentences().replace(" ", "\t"), "labels of pos"),
    "returns": columns(sentences().replace("\n", "\r\n"), "labels of pos"),
    "byte order mark": columns("\ufeff" + sentences(), "vocabulary of 7"),
    "white lines": columns(sentences().replace("\n\n", "\n  \n"), r"rows of own +│ +8"),
    "beginnings of documents": columns("-DOCSTART-\n\n" + sentences(), r"rows of own +│ +8"),
    "comment without words": conllu("# text = x\n\n" + trees(), r"rows of own +│ +8"),
    "stated encoding": columns(sentences("cat", "cät").encode("latin-1"), "labels of pos",
        old="path: t.txt", new="encoding: latin-1, path: t.txt"),
    "texts again": lines("pos a\nneg a\n" * 10, "in the training part too, word for word"),
    "blank text": file(LINES.replace("kind: lines, path: t.txt, label: true",
        "kind: table, path: t.csv"), "text,label\n" + "".join(
        f"{'' if k == 3 else k},{['pos', 'neg'][k % 2]}\n" for k in range(20)),
        "words: blank texts: 1", name="t.csv"),
    "a name for a list": moods(lambda r: r.update(mood="joy"), "labels of mood"),
    "no names": moods(lambda r: r.update(mood=[]), "labels of mood"),
    "a name twice": moods(lambda r: r.update(mood=["joy", "joy"]), "labels of mood"),
}  # fmt: skip


@cases(FILES)
def test_files_that_are_no_texts(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(LISTS)
def test_lists_that_do_not_fit(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(FINE)
def test_what_looks_odd_and_is_fine(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    let_in(tmp_path, breaks, told)
