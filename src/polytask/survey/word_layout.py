"""How words and their labels stand in the lines of a file (CoNLL), and what its columns hold."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polytask.data.delimited import open_bytes
from polytask.survey.table_reading import other_encoding
from polytask.survey.tagged import MANY

Kind = Literal["words", "spans", "labels", "left out"]

_MOST = 0.95  # of lines that have as many columns as most
_SENTENCE = 200  # words of a mean sentence, above which blank lines end something else
_CODES = 20  # different numbers up to which they may be labels
_PEEK = 2**16  # bytes of a file's beginning
_MARK = re.compile(r"O|[BIEMSLU]-.+")
# What labels say that is known by a name: some of these are enough, whatever their case.
_SPANS = {
    "chunks": ({"np", "vp"}, 2),
    "entities": ({"per", "person", "loc", "location", "org", "organization", "gpe", "misc"}, 1),
}
_LABELS = {"pos": ({"nn", "dt", "noun", "det", "verb"}, 2)}


@dataclass(frozen=True)
class WordColumn:
    """A guess about a column.

    Attributes:
        number: Its place, from 1.
        kind: What it holds.
        name: What it is called; `_` if it is left out.
        why: The reason.
    """

    number: int
    kind: Kind
    name: str
    why: str


@dataclass(frozen=True)
class WordFile:
    """A file of words in lines.

    Attributes:
        path: The file.
        separator: What stands between columns; white space if None.
        comments: What lines of comments begin with; None if there are none.
        encoding: How letters are stored, if it is no UTF-8.
        columns: What the columns are.
    """

    path: Path
    separator: str | None
    comments: str | None
    encoding: str | None
    columns: tuple[WordColumn, ...]

    @property
    def labels(self) -> list[WordColumn]:
        """The columns that can be predicted."""
        return [c for c in self.columns if c.kind in ("spans", "labels")]


def looked_at(path: Path, *, whole: bool = True) -> WordFile | None:
    """What a file looks like; None if it is no file of words in lines.

    Nearly all lines have the same number of columns, blank lines stand between sentences, a column
    has words and another has labels that recur.

    Args:
        path: The file.
        whole: Whether all of it is looked at, or its beginning.
    """
    try:
        with open_bytes(path) as file:
            raw = file.read(-1 if whole else _PEEK)
    except (OSError, EOFError):
        return None  # whoever reads it says why
    encoding = other_encoding(path) if whole else None
    text = raw.decode(encoding or "utf-8-sig", errors="replace")
    if "\0" in text:
        return None
    if len(raw) == _PEEK and not whole:
        text = text.rpartition("\n")[0]
    blocks = _blocks(text)
    separator, count = _separator([line for block in blocks for line in block])
    if count < 2:
        return None
    comments = _comments(blocks, separator, count)
    sentences = [_records(block, separator, count, comments) for block in blocks]
    sentences = [records for records in sentences if records]
    words = sum(map(len, sentences))
    if len(sentences) < 2 or not len(sentences) < words <= _SENTENCE * len(sentences):
        return None
    columns = _columns(sentences, count)
    if {c.kind for c in columns}.isdisjoint(("spans", "labels")):
        return None
    return WordFile(path, separator, comments, encoding, columns)


def _blocks(text: str) -> list[list[str]]:
    """Lines between blank lines, without those that begin documents."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            blocks[-1].append(line.rstrip("\r"))
        elif blocks[-1]:
            blocks.append([])
    return [b for b in blocks if b and not b[0].lstrip().startswith("-DOCSTART-")]


def _separator(lines: Sequence[str]) -> tuple[str | None, int]:
    """What divides nearly all lines into as many columns, and how many; 0 if nothing does.

    Tabs, unless white space in general divides as many lines into as many columns.
    """
    plain = [line for line in lines if not line.startswith("#")]
    found: dict[str | None, tuple[int, int]] = {}
    for mark in ("\t", None):
        counts = Counter(len(line.split(mark)) for line in plain)
        count, fitting = next(iter(counts.most_common(1)), (0, 0))
        found[mark] = (count, fitting) if fitting >= _MOST * len(plain) else (0, 0)
    by_tabs, by_white = found["\t"], found[None]
    mark = "\t" if by_tabs[0] > 1 and by_tabs != by_white else None
    return mark, found[mark][0]


def _comments(blocks: Sequence[Sequence[str]], separator: str | None, count: int) -> str | None:
    """What comments begin with: lines with a # that have other columns, and stand above words.

    A word may begin with # too.
    """
    lines = [line for block in blocks for line in block if line.startswith("#")]
    odd = [line for line in lines if len(line.split(separator)) != count]
    if not odd:
        return None
    for prefix in ("# ", "#\t", "#"):
        inside = False
        for block in blocks:
            begun = False
            for line in block:
                begun |= not line.startswith(prefix)
                inside |= begun and line.startswith(prefix)
        fitting = prefix == "#" and len(odd) < len(lines)
        if not inside and not fitting and all(line.startswith(prefix) for line in odd):
            return prefix
    return None


def _records(
    block: Sequence[str], separator: str | None, count: int, comments: str | None
) -> list[list[str]]:
    """The words of a sentence that have all columns."""
    plain = (line for line in block if comments is None or not line.startswith(comments))
    return [r for r in (line.split(separator) for line in plain) if len(r) == count]


def _columns(sentences: Sequence[Sequence[Sequence[str]]], count: int) -> tuple[WordColumn, ...]:
    """What each column holds; those with the same name have their numbers in it."""
    guesses: list[tuple[Kind, str, str]] = []
    for place in range(count):
        cells = [[record[place] for record in records] for records in sentences]
        have_words = any(kind == "words" for kind, *_ in guesses)
        guesses.append(_guess(cells, have_words))
    twice = Counter(name for _, name, _ in guesses)
    return tuple(
        WordColumn(k, kind, f"{name}{k}" if name != "_" and twice[name] > 1 else name, why)
        for k, (kind, name, why) in enumerate(guesses, start=1)
    )


def _guess(cells: Sequence[Sequence[str]], have_words: bool) -> tuple[Kind, str, str]:
    """What a column holds, its name, and why."""
    counts = Counter(cell for sentence in cells for cell in sentence)
    words = sum(counts.values())
    if all(
        list(s) in (list(map(str, range(first, first + len(s)))) for first in (0, 1)) for s in cells
    ):
        return "left out", "_", "it numbers the words"
    if len(counts) == 1:
        return "left out", "_", f"it says '{next(iter(counts))}' everywhere"
    if not have_words:
        letters = sum(any(map(str.isalpha, word)) for word in counts)
        if 2 * letters >= len(counts):
            return "words", "words", "the first of them that has words"
        return "left out", "_", "it has no words, and stands before them"
    if all(_MARK.fullmatch(cell) for cell in counts):
        kinds = {cell.partition("-")[2].lower() for cell in counts if cell != "O"}
        return "spans", _named(kinds, _SPANS, "spans"), f"marks of {_kinds(len(kinds))} of spans"
    if len(counts) > _CODES and all(cell.isdigit() for cell in counts):
        return "left out", "_", "it has numbers"
    if len(counts) > MANY or 2 * len(counts) > words:
        return "left out", "_", f"it has {len(counts):,} different values, too many for labels"
    return "labels", _named({c.lower() for c in counts}, _LABELS, "tags"), "labels that recur"


def _named(found: set[str], known: dict[str, tuple[set[str], int]], other: str) -> str:
    """What labels are called of which some are known."""
    return next((n for n, (some, enough) in known.items() if len(found & some) >= enough), other)


def _kinds(count: int) -> str:
    return "1 kind" if count == 1 else f"{count} kinds"
