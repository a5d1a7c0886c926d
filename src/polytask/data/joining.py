"""Columns that lie in another table, joined to the rows of a first one by a key.

Letters: N rows of the first table.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.addresses import file_of
from polytask.data.delimited import Decimal
from polytask.data.disguises import listed, require_encoding, require_file
from polytask.data.linked import cells_of
from polytask.data.media import EncodedMedia
from polytask.data.parquet import nested
from polytask.data.places import by_part, content_key, file_key
from polytask.data.sources import BlankCell, Joined
from polytask.data.table_rows import MISSING, Format, Reading, Rows
from polytask.data.words import is_list
from polytask.errors import ConfigError, DataError, nearest
from polytask.tasks.labels import label_text

Key = str | tuple[str, ...]


@dataclass(frozen=True)
class Partners:
    """The rows of a joined table, and whose partners they are.

    Attributes:
        rows: The joined table.
        taken: The columns that are taken, by their new names.
        row: `[N]` the joined row of each row, -1 for none.
        unread: Why taken columns are not read as plain values, by new name.
        facts: How many there are.
    """

    rows: Rows
    taken: Mapping[str, str]
    row: NDArray[np.int64]
    unread: Mapping[str, str]
    facts: Joined

    def columns(self) -> dict[str, Any]:
        """The plain columns, `[N]` each, blank where a row has no partner."""
        frame, whole = self.rows.frame, bool((self.row >= 0).all())
        found = {}
        for name, there in self.taken.items():
            if there not in frame.columns:
                continue
            series = frame[there]
            if not whole and isinstance(series.dtype, np.dtype) and series.dtype.kind in "iub":
                series = series.convert_dtypes()  # with a blank, NumPy makes fractions of these
            found[name] = series.reindex(self.row).reset_index(drop=True)
        return found

    def folders(self) -> list[Path]:
        """`[N]` the folder of the file that each row's partner is in; of the first for none."""
        folders = self.rows.folders
        first = self.rows.paths[0].parent
        return [folders[row] if row >= 0 else first for row in self.row.tolist()]


class Join:
    """A further table: its columns are added to the rows of the source, by a key.

    A row without partner there has blanks in these columns. Keys are compared as texts: `7` and
    `7.0` are the same, `7` and `007` are not.

    Args:
        path: The file, or several with the same columns.
        by: The column that says which rows belong together, or several columns; `{here: there}` if
            it has another name in the joined table.
        take: The columns to add; all but the key if left out. `{new: there}` gives them other
            names.
        format, missing, encoding, decimal, columns, lists, quotes: As of the source itself.
    """

    def __init__(
        self,
        *,
        path: Path | list[Path],
        by: str | list[str] | dict[str, str],
        take: list[str] | dict[str, str] | None = None,
        format: Format | None = None,
        missing: list[str] | None = None,
        encoding: str = "utf-8",
        decimal: Decimal = ".",
        columns: list[str] | None = None,
        lists: list[str] | None = None,
        quotes: bool = True,
    ) -> None:
        self.paths = [Path(p).expanduser() for _, p in by_part(path)]
        self.by = _named([by] if isinstance(by, str) else by)
        self.take = None if take is None else _named(take)
        if not self.by:
            raise ConfigError("`by` should name the column that says which rows belong together.")
        if self.take == {}:
            raise ConfigError("`take` should name columns, or be left out.")
        self.reading = Reading(
            format=format,
            missing=tuple(MISSING if missing is None else missing),
            encoding=require_encoding(encoding),
            decimal=decimal,
            columns=tuple(columns or ()),
            lists=tuple(lists or ()),
            quotes=quotes,
        )

    @property
    def name(self) -> str:
        """What the table is called in messages: by its first file."""
        return self.paths[0].name

    def names(self) -> list[str]:
        """The columns that it adds: those of `take`, or by the first lines of its first file."""
        if self.take is not None:
            return list(self.take)
        require_file(file_of(self.paths[0]))
        return list(self._taken(self.reading.names(self.paths[0])))

    def only(self, columns: Iterable[str], by: Mapping[str, str]) -> "Join":
        """A join that adds fewer columns.

        Args:
            columns: Their names, as this one adds them.
            by: The key of another first table.
        """
        there = self.take or {}
        made = Join(path=self.paths, by=dict(by), take={c: there.get(c, c) for c in columns})
        made.reading = self.reading
        return made

    def partners(
        self, first: Rows, frame: Any, media: Collection[str], *, new: bool = False
    ) -> Partners:
        """Reads the table, and finds the partner of each row.

        Args:
            first: The rows that get a partner.
            frame: Their columns, those of earlier joins among them.
            media: Columns that hold pictures, sounds or maps.
            new: Whether they are rows to predict, which earlier rows have nothing to do with.

        Raises:
            DataError: If a column of the key is lacking, a column is in both tables, two rows of
                the joined table have one key and differ, or no row has a partner.
        """
        rows = self.reading.read(self.paths)
        unread = self._unread()
        names = [*map(str, rows.frame.columns), *unread]
        self._require_keys(first, frame, rows)
        taken = self._taken(names)
        twice = next((name for name in taken if name in frame.columns), None)
        if twice is not None:
            raise DataError(
                f"Column '{twice}' is in {first.name} and in {self.name}, which `join` adds to it. "
                "Name those to add under the `take` of the join, without it or with another name: "
                f"take: {{{twice}_2: {taken[twice]}}}."
            )
        self.reading.finish(rows, [there for name, there in taken.items() if name in media])
        mine = keys_of(frame, list(self.by), first.locate)
        theirs = keys_of(rows.frame, list(self.by.values()), rows.locate)
        at, repeated = _index(theirs, rows, list(taken.values()))
        row = np.array([-1 if key is None else at.get(key, -1) for key in mine], dtype=np.int64)
        facts = Joined(
            name=self.name,
            by=tuple(self.by),
            rows=len(row),
            found=int((row >= 0).sum()),
            unused=sum(key is None for key in theirs) + len(at) - len(np.unique(row[row >= 0])),
            repeated=repeated,
            unlike=_unlike([key for key, of in zip(mine, row, strict=True) if of < 0], at),
        )
        if len(row) and not facts.found:
            raise self._without_partners(first, mine, theirs, facts, new=new)
        return Partners(
            rows, taken, row, {n: unread[c] for n, c in taken.items() if c in unread}, facts
        )

    def key(self, rows: Rows) -> str:
        """What the columns depend on."""
        files = map(file_key, self.paths)
        how = [list(self.by.items()), None if self.take is None else list(self.take.items())]
        return content_key([*files, *how, list(self.reading.missing), *self.reading.key(rows.left)])

    def _taken(self, names: Sequence[str]) -> dict[str, str]:
        """The columns that are taken, by their new names.

        Raises:
            DataError: If one is not there.
        """
        if self.take is None:
            rest = {name: name for name in names if name not in self.by.values()}
            if not rest:
                raise DataError(f"{self.name} has no column but those by which it is joined.")
            return rest
        lacking = next((there for there in self.take.values() if there not in names), None)
        if lacking is not None:
            raise DataError(
                f"`take` names a column '{lacking}', which {self.name} does not have. "
                f"{nearest(lacking, names)}"
            )
        return dict(self.take)

    def _unread(self) -> dict[str, str]:
        """Why columns are not read as plain values."""
        kinds = [self.reading.kind(path) for path in self.paths]
        return nested(self.paths[0], ()) if kinds[0] == "parquet" else {}

    def _require_keys(self, first: Rows, frame: Any, rows: Rows) -> None:
        for here, there in self.by.items():
            for name, of, of_name in ((here, frame, first.name), (there, rows.frame, self.name)):
                if name not in of.columns:
                    text = self.reading.kind(self.paths[0]) in ("csv", "tsv")
                    bare = text and of is rows.frame and not self.reading.columns
                    raise DataError(
                        f"{self.name} is joined by '{name}', which is no column of {of_name}. "
                        f"{nearest(name, list(of.columns))} If it has two names: by: "
                        f"{{NAME IN {first.name}: NAME IN {self.name}}}."
                        + (" If its first line is a row: `columns` of the join." if bare else "")
                    )

    def _without_partners(
        self, first: Rows, mine: Sequence[Any], theirs: Sequence[Any], facts: Joined, *, new: bool
    ) -> DataError:
        """The error where no row has a partner."""
        some, others = (
            next((_shown(key) for key in keys if key is not None), "(blank)")
            for keys in (mine, theirs)
        )
        hint = "Do both columns hold the same ids?"
        if facts.unlike:
            hint = "Zeros in front count: write the keys in both files alike."
        elif new:
            hint = (
                f"Add rows for them there, or columns {', '.join(self.names())} to {first.name} "
                "itself (blank where nothing is known)."
            )
        return DataError(
            f"No row of {first.name} has a partner in {self.name}, which is joined by "
            f"{', '.join(self.by)}. Keys are such as {some}, and there such as {others}. {hint}"
        )


class PickedMedia(EncodedMedia):
    """Items of another column, in another order; -1 is an item that is not there."""

    def __init__(self, of: EncodedMedia, items: NDArray[np.int64]) -> None:
        self.kind = of.kind
        self._of, self._items = of, items

    def __len__(self) -> int:
        return len(self._items)

    def where(self, item: int) -> str:
        """The file of an item."""
        at = int(self._items[item])
        return self._of.where(at) if at >= 0 else ""

    def content(self, item: int) -> bytes:
        """The bytes of an item."""
        at = int(self._items[item])
        if at < 0:
            raise BlankCell
        return self._of.content(at)


def _named(names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Columns by their names in the first table."""
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


def keys_of(frame: Any, columns: Sequence[str], locate: Callable[[int], str]) -> list[Key | None]:
    """The key of each row; None where a cell of it is blank.

    Args:
        frame: The rows.
        columns: The columns that are the key.
        locate: Says where a row comes from.

    Raises:
        DataError: If a cell holds several values.
    """
    texts: list[list[str | None]] = []
    for column in columns:
        series = frame[column]
        blank = series.isna().tolist()
        cells = series.astype(object).tolist()
        wrong = next(
            (row for row, cell in enumerate(cells) if isinstance(cell, dict) or is_list(cell)), None
        )
        if wrong is not None:
            raise DataError(
                f"{locate(wrong)}, column '{column}': the key of a join should be one value. Found "
                f"{str(cells[wrong])[:60]}."
            )
        texts.append([None if b else label_text(c) for b, c in zip(blank, cells, strict=True)])
    if len(texts) == 1:
        return list(texts[0])
    return [None if None in key else key for key in zip(*texts, strict=True)]


def _index(
    keys: Sequence[Key | None], rows: Rows, taken: Sequence[str]
) -> tuple[dict[Key, int], int]:
    """The first row of each key, and how many rows repeat one.

    Raises:
        DataError: If two rows have one key and differ in a column that is taken.
    """
    at: dict[Key, int] = {}
    again = []
    for row, key in enumerate(keys):
        if key is not None and at.setdefault(key, row) != row:
            again.append((key, row))
    for column in taken if again else ():
        encoded = column not in rows.frame.columns  # and not looked at before it is decoded
        values = list(range(len(keys))) if encoded else cells_of(rows.frame[column])
        for key, row in again:
            if not _same(values[at[key]], values[row]):
                raise DataError(
                    f"{rows.locate(at[key])} and {rows.locate(row)} have the same key "
                    f"{_shown(key)}, by which they are joined, and differ in column '{column}': "
                    + ("encoded files" if encoded else f"{_cut(values[at[key]])} and ")
                    + ("" if encoded else _cut(values[row]))
                    + ". Leave one row for each key, or name further columns under `by`."
                )
    return at, len(again)


def _cut(cell: Any) -> str:
    """A cell as a message shows it."""
    return "(blank)" if cell is None else repr(str(cell)[:40])


def _same(one: Any, other: Any) -> bool:
    """Whether two cells hold the same; lists are compared by what they hold."""
    plain = [c.tolist() if isinstance(c, np.ndarray) else c for c in (one, other)]
    return bool(plain[0] == plain[1])


def _unlike(without: Iterable[Key | None], at: Iterable[Key]) -> int:
    """How many keys without partner would have one but for zeros in front."""
    short = {_short(key) for key in at}
    return sum(key is not None and _short(key) in short for key in without)


def _short(key: Key) -> Key:
    """A key without zeros in front."""
    if isinstance(key, tuple):
        return tuple(str(_short(part)) for part in key)
    return (key.lstrip("0") or "0") if key.isdecimal() else key


def _shown(key: Key) -> str:
    """A key as a message shows it."""
    return listed([repr(part) for part in key]) if isinstance(key, tuple) else repr(key)
