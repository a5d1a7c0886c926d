"""Files of text to predict, read as those of training were where they are written so."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polytask.data.conll import Columns, UniversalDependencies, blocks, read_text
from polytask.data.delimited import header, is_utf8
from polytask.data.matching import TEXT
from polytask.data.places import by_part
from polytask.data.sentences import Chunks, EnglishWeb, Lines, Questions
from polytask.data.sources import Source, Table
from polytask.data.tables import TableFile
from polytask.errors import DataError

Texts = Columns | Lines | UniversalDependencies
_COLUMNS = (".conll", ".iob", ".iob2", ".bio")
_BLANK = ("_", "-", "*")  # no full stop, with which sentences end
Labels = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Written:
    """How the text of training was written.

    Attributes:
        source: Its source; None where there were several, or none.
        labels: The labels that tasks know, by column.
    """

    source: Texts | None = None
    labels: Labels = field(default_factory=dict)

    @classmethod
    def as_in(cls, sources: Mapping[str, Source], labels: Mapping[str, Labels]) -> "Written":
        """How the text of a run's sources was written; as nothing where several have some.

        Args:
            sources: The sources by name.
            labels: The labels that tasks know, by source and column.
        """
        found: dict[str, Texts] = {}
        for name, source in sources.items():
            if isinstance(source, Texts):
                found[name] = source
            if isinstance(source, Chunks | Questions):
                found[name] = source.like(Path("train.txt"))
            if isinstance(source, EnglishWeb):
                found[name] = source.like(Path("train.tsv"))
        if len(found) != 1:
            return cls()
        ((name, written),) = found.items()
        return cls(written, labels[name])

    def columns(self, path: Path) -> bool:
        """Whether a file that a table's name may have holds words in lines, as those of training.

        Raises:
            DataError: If words seem to be in columns, but not in those of training.
        """
        if not isinstance(self.source, Columns) or not self.by(path):
            return False
        encoding = "utf-8" if is_utf8(path) else self.source.encoding
        return _columns(path, self.source, self.labels, encoding) is not None

    def by(self, path: Path, *, words: bool = False) -> bool:
        """Whether a file's name ends as those of training do.

        Args:
            path: The file.
            words: Whether usual endings of words in columns do as well, where training had such.
        """
        if words and isinstance(self.source, Columns) and ending_of(path) in _COLUMNS:
            return True
        files = [] if self.source is None else by_part(self.source.path)
        return ending_of(path) in {ending_of(file) for _, file in files} - {""}


def ending_of(path: Path) -> str:
    """How a file's name ends, but for `.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_texts(path: Path, written: Written) -> tuple[Table, str]:
    """The sentences of a file without labels, and the column that their words are in.

    A file that is written as that of training was, with words in columns or a label before each
    text, is read so; its labels are not looked at. Any other has a text on each line.

    Args:
        path: A `.conllu`, or a file of text.
        written: How the text of training was.

    Raises:
        DataError: If it cannot be read, or words seem to be in other columns than in training.
    """
    source = written.source
    encoding = "utf-8" if source is None or is_utf8(path) else source.encoding
    treebank = isinstance(source, UniversalDependencies) and written.by(path)
    if treebank or ending_of(path) == ".conllu":
        return UniversalDependencies(path=path, encoding=encoding).load(), "words"
    if isinstance(source, Columns):
        found = _columns(path, source, written.labels, encoding)
        if found is not None:
            return found.load(), "words"
        if ending_of(path) in _COLUMNS:
            raise DataError(
                f"{path.name} has words in columns by its name, but its lines differ in how many, "
                f"or it is one sentence without labels that are known. In training, columns were "
                f"{', '.join(source.columns)}, and comments "
                + (f"began with '{source.comments}'" if source.comments else "were not marked")
                + ". Give it these columns, or let its name end in .txt if each line is a text."
            )
    if isinstance(source, Lines) and source.label:
        label = _labelled(path, source, written.labels, encoding)
        labelled = Lines(path=path, label=label, separator=source.separator, encoding=encoding)
        return labelled.load(), TEXT
    return Lines(path=path, encoding=encoding).load(), TEXT


def undivided(path: Path, like: TableFile) -> bool:
    """Whether a .txt has a text on each line, where training had tables of that ending and without
    a header: its first line has not as many cells, and no mark that is seldom in texts.

    Args:
        path: The file.
        like: The table of training.
    """
    if ending_of(path) != ".txt" or not like.columns or like.format == "jsonl":
        return False
    encoding = "utf-8" if is_utf8(path) else like.encoding
    first = read_text(path, encoding).lstrip().partition("\n")[0]
    if not {"\t", ";", "|"}.isdisjoint(first):
        return False
    try:
        header(path, replace(like.reading.layout(), encoding=encoding))
    except DataError:
        return True
    return False


def _columns(path: Path, like: Columns, labels: Labels, encoding: str) -> Columns | None:
    """A source of words in columns as in training, or of words alone in lines; None for neither.

    Raises:
        DataError: If words seem to be in columns, but not in those of training.
    """
    found = [
        [line.split(like.separator) for _, line in lines if not line.startswith("-DOCSTART-")]
        for _, lines in blocks(path, like.comments, encoding)
    ]
    sentences = [rows for rows in found if rows]
    counts = {len(cells) for rows in sentences for cells in rows}
    divided = len(sentences) > 1 and any(len(rows) > 1 for rows in sentences)
    if len(counts) != 1:
        _require_no_columns(path, like, labels, encoding)
        return None
    (count,) = counts
    every = [cells for rows in sentences for cells in rows]
    if count == len(like.columns) > 1 and (divided or _labels_known(every, like, labels)):
        names = [name if name == "words" else "_" for name in like.columns]
        return _alike(path, like, names, encoding)
    by = ""
    if count == 1 and like.separator is not None:  # words have few blanks, and columns one in all
        blanks = {len(cells[0].split()) for rows in sentences for cells in rows}
        count = blanks.pop() if len(blanks) == 1 else 1
        by = " divided by blanks" if count > 1 else ""
    if divided and count == 1:
        return _alike(path, like, ["words"], encoding)
    if divided:
        raise DataError(
            f"{path.name} seems to have words in {count} columns{by}, where training had "
            f"{len(like.columns)} ({', '.join(like.columns)}). Give it the same columns, whatever "
            "those of labels hold, or words alone."
        )
    return None


def _require_no_columns(path: Path, like: Columns, labels: Labels, encoding: str) -> None:
    """Make sure that lines with different numbers of cells are texts, and no damaged columns.

    Raises:
        DataError: If half of them or more have the columns of training, and tabs divide all, or
            labels are known: for the first that has not.
    """
    lines = [
        (first + distance, line, line.split(like.separator))
        for first, some in blocks(path, like.comments, encoding)
        for distance, line in some
        if not line.startswith("-DOCSTART-")
    ]
    count = len(like.columns)
    whole = [cells for _, _, cells in lines if len(cells) == count]
    if count < 2 or 2 * len(whole) < len(lines) or not lines:
        return
    if all("\t" in line for _, line, _ in lines) or _labels_known(whole, like, labels):
        number, line, cells = next(found for found in lines if len(found[2]) != count)
        raise DataError(
            f"{path.name} line {number} should have {count} columns as those around it "
            f"({', '.join(like.columns)}). Found {len(cells)}: {line[:80]!r}. Correct the line, or "
            "give all lines words alone."
        )


def _labels_known(rows: Sequence[Sequence[str]], like: Columns, labels: Labels) -> bool:
    """Whether rows of cells have labels that tasks know, in all columns that have any."""
    known = [
        _known([cells[k] for cells in rows], labels[name])
        for k, name in enumerate(like.columns)
        if labels.get(name) is not None
    ]
    return bool(known) and all(known)


def _alike(path: Path, like: Columns, names: list[str], encoding: str) -> Columns:
    return Columns(
        path=path,
        columns=names,
        separator=like.separator,
        comments=like.comments,
        encoding=encoding,
    )


def _known(cells: list[str], labels: Collection[str]) -> bool:
    """Whether most cells of a column are labels that a task knows, or marks that stand for none."""
    return sum(cell in labels or cell in _BLANK for cell in cells) > len(cells) / 2


def _labelled(path: Path, like: Lines, labels: Labels, encoding: str) -> bool:
    """Whether every line begins with a label that a task knows."""
    texts = [line.strip() for line in read_text(path, encoding).split("\n") if line.strip()]
    parts = [text.partition(like.separator) for text in texts]
    for level, name in enumerate(["label", *like.levels]):
        known = labels.get(name)
        if known is None:
            continue
        depth = level or None
        found = [":".join(label.split(":")[:depth]) for label, _, _ in parts]
        if found and all(label in known for label in found):
            return True
    return False
