"""Tables of a folder whose rows belong to those of another, by a column of ids.

Letters: N rows of the first table.
"""

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polytask.data.addresses import addressed, file_of
from polytask.data.arff import ArffFile
from polytask.data.delimited import BROKEN, Layout, header, open_text
from polytask.data.joining import Join, Key, keys_of
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.table_rows import known_format
from polytask.data.tables import TableFile
from polytask.errors import DataError
from polytask.survey.lines import quoted
from polytask.survey.table_files import columns_in, key_of_name, tables_in, unnamed_in
from polytask.survey.table_reading import other_encoding, read_table

_MOST = 60  # tables that are looked at
_LARGEST = 2**28  # bytes of one of them
_FEWEST = 8  # different ids: what fewer rows of a table have in common with others is a label
_DIFFERENT = 0.95  # of the partners of rows
_ENOUGH = 0.5  # of the rows that have a partner


@dataclass(frozen=True)
class Other:
    """A table that can be joined.

    Attributes:
        files: Its files.
        by: The columns by which it is joined, and what they are called in it.
        partner: `[N]` the row of it that belongs to each row; None for none.
        source: How it is read.
        table: Its rows.
        settings: The settings of a source that say how it is read, as lines.
    """

    files: Sequence[Path]
    by: Mapping[str, str]
    partner: Sequence[int | None]
    source: TableFile
    table: Table
    settings: Sequence[str]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.files[0].name

    @property
    def found(self) -> int:
        """How many rows have a partner."""
        return sum(row is not None for row in self.partner)

    @property
    def said(self) -> str:
        """How many rows have a partner."""
        return f"{self.found:,} of {len(self.partner):,} rows have a partner"

    @property
    def one_to_one(self) -> bool:
        """Whether hardly any of its rows is the partner of several."""
        return len(set(self.partner) - {None}) > _DIFFERENT * self.found

    def adds(self) -> list[str]:
        """Its columns, but for the key."""
        return [c for c in self.table.columns if c not in self.by.values()]

    def cells(self, column: str) -> list[Any]:
        """`[N]` the cells of one of its columns, None where a row has no partner."""
        own = self.table.cells([column])[:, 0].tolist()
        return [None if row is None else own[row] for row in self.partner]

    def join(self, take: Sequence[str]) -> Join:
        """The join of some of its columns.

        Args:
            take: Which.
        """
        made = Join(path=list(self.files), by=dict(self.by), take=list(take))
        made.reading = self.source.reading
        return made


class Beside:
    """The tables of a folder that can be joined to one of them.

    Args:
        files: The files of the first table.
        table: Its rows.
        folder: Where others are looked for.
        deep: Whether in folders of that folder, too.
    """

    def __init__(self, files: PathOrParts, table: Table, folder: Path, *, deep: bool) -> None:
        self._own = [file for _, file in by_part(files)]
        self._table, self._folder, self._deep = table, folder, deep
        self._known: dict[str, set[Key | None]] = {}

    @cached_property
    def found(self) -> list[Other]:
        """Those that can be joined, that with most partners first."""
        others = [other for files in self._seen if (other := self._other(files)) is not None]
        return sorted(others, key=lambda other: -other.found)

    @property
    def unseen(self) -> int:
        """How many tables are not looked at, because they are many or large."""
        return len(self._sets) - len(self._seen)

    @property
    def _seen(self) -> list[list[Path]]:
        some = [of for of in self._sets if sum(file_of(f).stat().st_size for f in of) <= _LARGEST]
        return some[:_MOST]

    @cached_property
    def _sets(self) -> list[list[Path]]:
        """The files of each other table of the folder."""
        files = tables_below(self._folder, deep=self._deep)
        own = {key_of_name(file) for file in self._own}
        sets: dict[Path, list[Path]] = {}
        for file in files:
            if key_of_name(file) not in own and not self._elsewhere(file):
                sets.setdefault(file.with_name(key_of_name(file)), []).append(file)
        return list(sets.values())

    def _elsewhere(self, file: Path) -> bool:
        """Whether a table lies with others in a file in which the first one is not."""
        holding = {file_of(own).absolute() for own in self._own}
        return file_of(file) != file and file_of(file).absolute() not in holding

    def _other(self, files: Sequence[Path]) -> Other | None:
        """A table, if it can be joined."""
        names, own = columns_in(files[0]), set(self._table.columns)
        pointing = _pointing(own, names, files[0])
        headed = bool(names & own or pointing)
        named = [] if headed else self._named(files[0])
        if names <= own or not (headed or named):
            return None
        try:
            source, table, settings = read_table(_several(files), named)
            if isinstance(source, ArffFile):
                return None
            shared = [c for c in map(str, table.frame.columns) if self._is_key(c)]
            ways = [{c: c} for c in shared] + ([{c: c for c in shared}] if len(shared) > 1 else [])
            for by in [{c: "id"} for c in pointing if self._is_key(c)] or ways:
                partner = self._partners(table, by)
                if partner is not None:
                    return Other(files, by, partner, source, table, settings)
        except DataError:  # whoever names it is told what is wrong with it
            return None
        return None

    def _is_key(self, column: str) -> bool:
        """Whether a column of the first table may name rows: it has several whole or worded
        cells."""
        if column not in self._table.frame.columns or re.match(r"Unnamed\b|\s*$", column):
            return False
        series = self._table.frame[column]
        if series.dtype.kind == "f" and bool((series.dropna() % 1 != 0).any()):
            return False
        if series.dtype != object and series.nunique() < _FEWEST:
            return False
        return len(self._cells(column)) >= _FEWEST

    def _cells(self, column: str) -> set[Key | None]:
        """The different cells of a column; none if they are lists."""
        if column not in self._known:
            try:
                keys = keys_of(self._table.frame, [column], self._table.describe)
            except DataError:
                keys = []
            self._known[column] = set(keys) - {None}
        return self._known[column]

    def _partners(self, table: Table, by: Mapping[str, str]) -> list[int | None] | None:
        """The partner of each row; None if the columns are no key of the other table, or few rows
        have one."""
        theirs = keys_of(table.frame, list(by.values()), table.describe)
        at = {key: row for row, key in enumerate(theirs) if key is not None}
        if len(at) < max(_FEWEST, len(theirs)):
            return None
        mine = keys_of(self._table.frame, list(by), self._table.describe)
        found = [None if key is None else at.get(key) for key in mine]
        few = sum(row is not None for row in found) <= _ENOUGH * len(mine)
        return None if few else found

    def _named(self, file: Path) -> list[str]:
        """Names for a file of two columns whose first line is a row and begins with an id."""
        if known_format(file) in ("parquet", "jsonl"):
            return []
        encoding = other_encoding(file) or "utf-8"
        two = Layout("csv", encoding=encoding, columns=("key", "value"))
        try:
            mark = header(file, two)[1]
            with open_text(file, encoding) as text:
                records = two.records(text, mark)
                rows = [row for _, row in zip(range(_FEWEST), records, strict=False)]
        except (DataError, *BROKEN, UnicodeError, csv.Error):
            return []
        firsts = {row[0].strip() for row in rows if len(row) == 2}
        for name in map(str, self._table.frame.columns):
            if self._is_key(name) and len(firsts & self._cells(name)) > _ENOUGH * len(rows):
                return [name, self._called(file)]
        return []

    def _called(self, file: Path) -> str:
        """What the second column is called: as the file, but for words that others have."""
        common = {w.lower() for n in (self._own[0], self._folder.absolute()) for w in _words(n)}
        words = _words(file)
        name = "_".join([w for w in words if w.lower() not in common] or words)
        return name if name not in self._table.columns else f"{name}_2"


@dataclass(frozen=True)
class First:
    """A table that others may be joined to.

    Attributes:
        files: Its files, by part where they are parts.
        source: How it is read.
        table: Its rows.
        settings: The settings of the source that say how it is read, as lines.
        beside: Others.
    """

    files: PathOrParts
    source: TableFile | ArffFile
    table: Table
    settings: Sequence[str]
    beside: Beside

    @classmethod
    def read(cls, files: PathOrParts, names: Sequence[str] | None, data: Path) -> "First":
        """Reads one.

        Args:
            files: Its files.
            names: The names of all columns, where the first line is a row.
            data: A folder that others are looked for in, at any depth; or a table, to look beside
                it.

        Raises:
            DataError: If it cannot be read.
        """
        source, table, settings = read_table(files, names)
        folder, deep = (data, True) if data.is_dir() else (data.absolute().parent, False)
        return cls(files, source, table, settings, Beside(files, table, folder, deep=deep))

    @property
    def others(self) -> Sequence[Other]:
        """Those that can be joined."""
        return self.beside.found if isinstance(self.source, TableFile) else ()


def tables_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """The tables of a folder, and few of the files that may be some though their names do not say
    it: transcripts and other texts may be many.

    Args:
        folder: The folder.
        deep: Whether in folders of it, too.
    """
    unnamed = sorted(unnamed_in(folder, deep=deep), key=lambda file: len(file.parts))
    return [*tables_in(folder, deep=deep), *unnamed[:_MOST]]


def _pointing(own: Collection[str], names: Collection[str], file: Path) -> list[str]:
    """Columns that have the `id` of a table that lies in one file with the first: `image_id` of
    `captions.json#images`.

    Args:
        own: The columns of the first table.
        names: Those of the other.
        file: Where that is.
    """
    inside = addressed(file)[1]
    if not inside or "id" not in names:
        return []
    many = inside[-1]
    return [c for c in own if c in (f"{many}_id", f"{many[:-1]}_id", f"{many[:-3]}y_id")]


def _several(files: Sequence[Path]) -> Path | list[Path]:
    return files[0] if len(files) == 1 else list(files)


def _words(path: Path) -> list[str]:
    """The words of a name."""
    return [word for word in re.split(r"[\W_]+", path.name.split(".")[0]) if word]


def join_lines(other: Other, take: Sequence[str], why: str, paths: Sequence[str]) -> list[str]:
    """The lines of a configuration.

    Args:
        other: The table.
        take: The columns that are taken.
        why: Why it is joined; a comment if not empty.
        paths: Its files, as the configuration names them.
    """
    lines = [
        f"path: {_one_or_list(paths)}" + (f"  # {why}" if why else ""),
        f"by: {_shown_keys(other.by)}  # {other.said}",
    ]
    if list(take) != other.adds():
        lines.append(f"take: [{', '.join(map(quoted, take))}]")
    lines += [line.strip() for line in other.settings]
    return [f"      {'  ' if n else '- '}{line}" for n, line in enumerate(lines)]


def _shown_keys(by: Mapping[str, str]) -> str:
    if all(here == there for here, there in by.items()):
        return _one_or_list(list(by))
    return f"{{{', '.join(f'{quoted(here)}: {quoted(there)}' for here, there in by.items())}}}"


def _one_or_list(names: Sequence[str]) -> str:
    shown = list(map(quoted, names))
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
