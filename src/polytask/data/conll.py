"""Sentences of words with a label each: files of columns (CoNLL), and Universal Dependencies.

A row is a sentence; a cell is a tuple of words or labels, None where a word has none.
"""

import gzip
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polytask.data.delimited import BROKEN
from polytask.data.disguises import not_text, require_encoding, require_file, skipping_mark
from polytask.data.places import PathOrParts, by_part, content_key, file_key
from polytask.data.sources import Source, Table
from polytask.errors import ConfigError, DataError, nearest, require

Cell = tuple[str | None, ...]
# A sentence: the line that it begins on (from 1), and its cells by column.
Sentence = tuple[int, dict[str, Cell]]

# Marks of words of spans: those with which one begins, goes on, and is over.
_BEGINS, _GOES_ON, _ENDS = ("B", "S", "U"), ("I", "M", "E", "L"), ("E", "L", "S", "U")
_MANY = 100  # words that hardly any sentence has
_BLANKS = ". If words have blanks inside of them, say what divides columns under `separator`."


class Columns(Source):
    """Words in lines, their labels in columns, a blank line after each sentence (CoNLL).

    Lines that begin with `-DOCSTART-` begin documents and are no words. A row's place is the
    line of its first word.

    Args:
        path: The file, or files by part (`train`, `validation`, `test`), which the source's
            `split: {fixed: true}` then keeps apart; also `.gz`, and in a zip as `a.zip/b.txt`.
        columns: A name for every column, in order, one of them `words`; `_` leaves a column out.
        separator: What stands between columns; white space if None.
        spans: Columns whose labels mark spans (IOB1, IOB2, IOBES or BILOU), which become IOB2.
        comments: What lines of comments begin with; None if there are none.
        missing: A label that says that there is none.
        encoding: How letters are stored, such as latin-1.
    """

    def __init__(
        self,
        *,
        path: PathOrParts,
        columns: list[str],
        separator: str | None = None,
        spans: list[str] | None = None,
        comments: str | None = None,
        missing: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        by_part(path)
        named = [c for c in columns if c != "_"]
        if "words" not in columns or len(set(named)) < len(named):
            raise ConfigError(
                "`columns` should name every column of the file once, one of them 'words'. Found "
                f"{', '.join(columns)}."
            )
        wrong = next((c for c in spans or () if c not in columns), None)
        if wrong is not None:
            raise ConfigError(f"`spans` names column '{wrong}'. {nearest(wrong, named)}")
        self.path, self.columns, self.separator = path, list(columns), separator
        self.spans, self.comments, self.missing = list(spans or ()), comments, missing
        self.encoding = require_encoding(encoding)

    def load(self) -> Table:
        """Reads all sentences."""
        return sentences_table(self.path, self._read, [*map(str, self.columns), *self.spans])

    def _read(self, path: Path) -> Iterator[Sentence]:
        for first, lines in blocks(path, self.comments, self.encoding):
            lines = [(k, line) for k, line in lines if not line.lstrip().startswith("-DOCSTART-")]
            if not lines:
                continue
            first += lines[0][0]
            records = [self._record(path, first + k - lines[0][0], line) for k, line in lines]
            cells: dict[str, Cell] = {}
            for name, column in zip(self.columns, zip(*records, strict=True), strict=True):
                if name == "_":
                    continue
                labels: Sequence[str] = column
                if name in self.spans:
                    labels = iob2(column, where=f"{path.name}, sentence of line {first}")
                cells[name] = tuple(None if c == self.missing else c for c in labels)
            yield first, cells

    def _record(self, path: Path, line: int, text: str) -> list[str]:
        found = text.split(self.separator)
        if len(found) != len(self.columns):
            raise DataError(
                f"{path.name} line {line} should have {len(self.columns)} columns "
                f"({', '.join(self.columns)}). Found {len(found)}: {text[:80]}"
                + ("" if self.separator or len(found) < len(self.columns) else _BLANKS)
            )
        return found


class UniversalDependencies(Source):
    """Sentences of a treebank (CoNLL-U).

    Columns: `words`, `text` (the sentence as it was written, where the file says so), `lemma`,
    `upos`, `xpos`, `deprel`, a column of each key under `features`, and those of `extra`. Words
    that others contain (`1-2`) and words that are not there (`1.1`) are left out.

    Args:
        path: The file, or files by part (`train`, `validation`, `test`), which the source's
            `split: {fixed: true}` then keeps apart; also `.gz`.
        features: Keys of FEATS, such as `Number`; a word without one has no label.
        metadata: Keys of the comments above a sentence, such as `genre`: a label of the sentence.
            A key that only first sentences of documents have (`# newdoc`) is one of all sentences
            of the document, as is `newdoc id`, by which a split may group.
        encoding: How letters are stored, such as latin-1.
    """

    def __init__(
        self,
        *,
        path: PathOrParts,
        features: list[str] | None = None,
        metadata: list[str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        by_part(path)
        self.path, self.encoding = path, require_encoding(encoding)
        self.features, self.metadata = list(features or ()), list(metadata or ())

    def load(self) -> Table:
        """Reads all sentences.

        Raises:
            DataError: If it is no CoNLL-U, or no word has a feature or no sentence a key.
        """
        table = sentences_table(self.path, self._read, ["conllu", *self.features, *self.metadata])
        for name in (*self.features, *self.metadata):
            key = "features" if name in self.features else "metadata"
            cells = table.frame[name]
            if not any(any(c or ()) if key == "features" else c is not None for c in cells):
                raise DataError(f"`{key}` names '{name}', which nothing in {table.name} has.")
        return table

    def _read(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """The sentences of a file, those of a document with what its first one says of it."""
        found = list(self._sentences(path))
        begins = [new for _, _, new in found]
        for key in self.metadata:
            said = [cells[key] is not None for _, cells, _ in found]
            if not any(said) or any(
                here and not new for here, new in zip(said, begins, strict=True)
            ):
                continue
            value = None
            for _, cells, new in found:
                value = cells[key] if new else value
                cells[key] = value
        return iter([(first, cells) for first, cells, _ in found])

    def _sentences(self, path: Path) -> Iterator[tuple[int, dict[str, Any], bool]]:
        """Each sentence's first line, its cells, and whether a document begins with it."""
        library = require("conllu", "text")
        for first, lines in blocks(path, None, self.encoding):
            before = 0
            for distance, text in lines:
                where = f"{path.name} line {first + distance}"
                _require_ten(where, text)
                before = _require_order(where, text, before)
            if all(text.startswith("#") for _, text in lines):
                continue
            block = "\n".join(text for _, text in lines)
            try:
                tokens = library.parse(block + "\n\n")[0]
            except (library.exceptions.ParseException, IndexError, ValueError) as error:
                raise DataError(
                    f"{path.name}, sentence of line {first}: expected CoNLL-U, ten columns divided "
                    f"by tabs. {error}"
                ) from error
            words = [token for token in tokens if isinstance(token["id"], int)]
            cells: dict[str, Any] = {"words": tuple(str(word["form"]) for word in words)}
            cells["text"] = tokens.metadata.get("text")
            for name in ("lemma", "upos", "xpos", "deprel"):
                found = [word.get(name) or None for word in words]
                # The library keeps the mark of what is not known where it could be a lemma.
                cells[name] = tuple(c if c != "_" or name == "lemma" else None for c in found)
            for name in self.features:
                cells[name] = tuple((word["feats"] or {}).get(name) for word in words)
            new = any(key.split()[:1] == ["newdoc"] for key in tokens.metadata)
            yield first, cells | {k: tokens.metadata.get(k) for k in self.metadata}, new


def _require_ten(where: str, text: str) -> None:
    """Make sure that a line of CoNLL-U is a comment, or has ten columns and readable features.

    Raises:
        DataError: If it is not.
    """
    if text.startswith("#"):
        return
    columns = text.split("\t")
    if len(columns) != 10:
        raise DataError(
            f"{where} should have the ten columns of CoNLL-U, divided by tabs. Found "
            f"{len(columns)}: {text[:80]}"
        )
    wrong = next((f for f in columns[5].split("|") if f != "_" and "=" not in f), None)
    if wrong is not None:
        raise DataError(
            f"{where}: features should be NAME=VALUE, with | between them, or _. Found '{wrong}'."
        )


def _require_order(where: str, text: str, before: int) -> int:
    """Make sure that a word of CoNLL-U comes behind those of lower numbers.

    Returns:
        The word's number; `before` for what is no word (a comment, `1-2`, `1.1`).

    Raises:
        DataError: If a number comes again, or too late.
    """
    word = text.partition("\t")[0]
    if not word.isdecimal():
        return before
    if int(word) <= before:
        raise DataError(
            f"{where} is word {word} of its sentence, and comes after word {before}. Correct the "
            "numbers, or put a blank line between the sentences if these are two."
        )
    return int(word)


def sentences_table(path: PathOrParts, read: Any, key: Sequence[str]) -> Table:
    """A table of the sentences of one file or several.

    Args:
        path: The file, files, or files by part.
        read: Gives the sentences of a file.
        key: What else the rows depend on.

    Raises:
        DataError: If there are none.
    """
    pandas = require("pandas", "train")
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    parts: list[str] = []
    files = by_part(path)
    for part, file in files:
        before = len(rows)
        for line, cells in read(file):
            rows.append(cells)
            places.append(f"{file.name} line {line}")
        if len(rows) == before:
            raise DataError(f"{file} has no sentences.")
        (words, *more) = [row.get("words") or () for row in rows[before:]]
        if not more and len(words) >= _MANY:
            warnings.warn(
                f"{file.name} has one sentence of {len(words):,} words: blank lines should divide "
                "sentences, and there are none",
                stacklevel=2,
            )
        parts += [part] * (len(rows) - before)
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pandas.DataFrame(
        {n: pandas.Series([row.get(n) for row in rows], dtype=object) for n in names}
    )
    found = content_key(["sentences", *key, *(k for _, f in files for k in (_, stored_key(f)))])
    split = pandas.Series(parts, dtype=object) if isinstance(path, dict) else None
    return Table(files[0][1].name, frame, {}, found, lambda row: places[row], split)


def blocks(
    path: Path, comments: str | None, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """The sentences of a file: the first line of each, and its lines by distance from that one."""
    first, lines = 0, []
    for number, line in enumerate([*read_text(path, encoding).split("\n"), ""], start=1):
        if line.strip():
            if comments is None or not line.startswith(comments):
                first = first or number
                lines.append((number - first, line.rstrip("\r")))
        elif lines:
            yield first, lines
            first, lines = 0, []


def iob2(tags: Sequence[str], where: str = "") -> list[str]:
    """Tags of spans with a `B-` at the beginning of each (Tjong Kim Sang and Veenstra 1999).

    IOB1 begins a span with `I-` unless it follows one of the same kind. IOBES and BILOU mark ends
    (`E-`, `L-`) and spans of one word (`S-`, `U-`) as well, BMES words between (`M-`). IOB2 stays
    as it is.

    Raises:
        DataError: If a tag is neither O nor a mark with a kind.
    """
    found: list[str] = []
    before = "O"
    for tag in tags:
        mark, _, kind = tag.partition("-")
        if tag != "O" and (mark not in (*_GOES_ON, *_BEGINS) or not kind):
            raise DataError(
                f"{where}: marks of spans should be O, B-KIND or I-KIND (or S-, E-, U-, L- or "
                f"M-KIND). Found '{tag}'. If they are of another kind, leave the column out of "
                "`spans`: it then labels words."
            )
        earlier, _, same = before.partition("-")
        continues = mark in _GOES_ON and same == kind and earlier not in _ENDS
        found.append(tag if tag == "O" else f"I-{kind}" if continues else f"B-{kind}")
        before = tag
    return found


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file, unpacked from `.gz`, or taken out of a zip (`a.zip/inner/b.txt`).

    A byte order mark is skipped.

    Raises:
        DataError: If it is not there or cannot be read.
    """
    archive = next((p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file()), None)
    require_file(archive or path)
    try:
        if archive is not None:
            with zipfile.ZipFile(archive) as opened:
                raw = opened.read(path.relative_to(archive).as_posix())
        elif path.suffix.lower() == ".gz":
            raw = gzip.decompress(path.read_bytes())
        else:
            raw = path.read_bytes()
    except KeyError:
        inside = path.relative_to(archive or path)
        raise DataError(f"{archive} holds no {inside}.") from None
    except (*BROKEN, zipfile.BadZipFile, RuntimeError) as error:  # also if it has a password
        raise DataError(f"{path.absolute()} cannot be read: {error}") from error
    try:
        text = raw.decode(skipping_mark(encoding))
    except UnicodeDecodeError as error:
        raise not_text(path.name, raw, error, encoding) from error
    at = text.find("\0")
    if at >= 0:
        raise DataError(
            f"{path.name} line {text.count(chr(10), 0, at) + 1} holds a NUL character, which "
            "belongs to no text. Remove it; if there are many, the file is perhaps in utf-16: set "
            "`encoding`."
        )
    return text


def stored_key(path: Path) -> str:
    """A key of the content of a file, or of the zip that holds it."""
    archive = next((p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file()), None)
    return content_key([path.name, file_key(archive or path)])
