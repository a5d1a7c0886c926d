"""Tables of the user's own: CSV, TSV, Parquet, JSON lines.

Letters: N rows.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from polytask.data import delimited
from polytask.data.addresses import file_of
from polytask.data.delimited import Decimal
from polytask.data.disguises import listed, require_encoding
from polytask.data.joining import Join, Partners, PickedMedia
from polytask.data.linked import cells_of, columns_of, linked, require_places
from polytask.data.media import FileMedia, ParquetMedia
from polytask.data.parquet import nested, open_parquet
from polytask.data.places import PathOrParts, by_part, content_key, file_key, files_key
from polytask.data.sources import Media, Source, Table
from polytask.data.table_rows import MISSING, Format, Reading, Rows, column_names, known_format
from polytask.errors import DataError, nearest, require


class TableFile(Source):
    """Rows of a file, or of several files with the same columns.

    Parquet files that the library `datasets` wrote name their classes: numbers of these columns
    are read as the names.

    Args:
        path: The file or files: `.csv`, `.tsv`, `.parquet`, `.jsonl` or `.json` (an object on each
            line, a list of objects, or an object of objects, whose names are the column `key`), all
            but Parquet also `.gz`. `a.json#images` is the list under a key of an object.
            The cells of a CSV are divided by what divides its header: commas, else semicolons,
            tabs or bars; or blanks, if most cells are numbers. Or files by part (`train`,
            `validation`, `test`), which the source's split then takes with `fixed: true`.
        format: What they are, if the name does not say it.
        media: Columns that hold pictures, sounds or maps (pictures of numbers, for tasks about
            pixels): paths (relative to the table's folder), or in Parquet the encoded bytes.
        places: Where the files of a column of `media` are if its cells are not their paths, from
            the table's folder on and with columns in braces: `{path: "clips/{path}"}`,
            `{id: "images/{id}.jpg"}`, `{name: "../audio/fold{fold}/{name}"}`, and `{id:06}` for
            numbers with zeros before them, as `000042`. Of several places, the first that has
            the file.
        missing: Texts that mean that a cell is blank. Blank and white cells always do. If not
            said: NA, N/A, n/a, NaN, nan, NULL, null, None and #N/A; `[]` for none of them.
        encoding: How letters are stored where the file is text, such as latin-1.
        decimal: What begins the fraction of a number in CSV and TSV.
        columns: The names of all columns of a CSV or TSV whose first line is a row, or of JSON
            whose rows are lists.
        lists: Columns whose cells are lists written as text, as Python and JSON do: `['a', 'b']`.
        quotes: Whether a cell of a CSV or TSV may stand in quotes; if not, they are letters like
            others, as in texts that nothing but tabs divides.
        join: Further tables, whose columns are added to the rows by a key, one after the other.

    Attributes:
        lacking: Of columns that training joined and that a table to predict lacks, where they came
            from.
    """

    def __init__(
        self,
        *,
        path: PathOrParts,
        format: Format | None = None,
        media: dict[str, Literal["image", "sound", "map"]] | None = None,
        places: dict[str, str | list[str]] | None = None,
        missing: list[str] | None = None,
        encoding: str = "utf-8",
        decimal: Decimal = ".",
        columns: list[str] | None = None,
        lists: list[str] | None = None,
        quotes: bool = True,
        join: list[Join] | None = None,
    ) -> None:
        files = by_part(path)
        self.paths = [Path(p).expanduser() for _, p in files]
        self.parts = [part for part, _ in files] if isinstance(path, dict) else None
        self.format = format
        self.media = dict(media or {})
        self.places, self._new = require_places(places or {}), False
        self.missing = list(MISSING if missing is None else missing)
        self._usual = missing is None
        self.encoding, self.decimal = require_encoding(encoding), decimal
        self.columns, self.quotes = list(columns or ()), quotes
        self.lists, self.join = list(lists or ()), list(join or ())
        self.lacking: dict[str, str] = {}

    def another(
        self,
        path: Path,
        inputs: Iterable[str],
        called: Mapping[str, str] | None = None,
        *,
        also: str | None = None,
    ) -> "TableFile":
        """Another table, read as these are; in UTF-8 where it is that, whatever these are in.

        Columns of inputs that it lacks are joined as those of these were, if it has the key; else
        its `lacking` says of each where it came from.

        Args:
            path: Where it is.
            inputs: Columns of inputs: a table whose first line names any of them has a header,
                though these have none.
            called: What columns of these are called in it, where it is something else.
            also: Another name of a column by which a header is known.
        """
        kind = known_format(path) or self.format
        encoding = self.encoding
        if kind != "parquet" and file_of(path).is_file() and delimited.is_utf8(file_of(path)):
            encoding = "utf-8"
        read = {*inputs, *(called or {}).values(), *([also] if also else [])}
        names = self.columns if kind == "jsonl" else ()  # objects of JSON have their own
        layout = replace(self.reading.layout(), columns=tuple(names), encoding=encoding)
        headed = not (read | self.keys).isdisjoint(column_names(path, kind, layout=layout))
        made = TableFile(
            path=path,
            format=kind,
            places=dict(self.places),
            missing=self.missing,
            encoding=encoding,
            decimal=self.decimal,
            columns=None if headed and not names else self.columns,
            lists=self.lists,
            quotes=self.quotes,
        )
        made._new = True
        made.join = list(self._joined_to(made, set(inputs), called or {}))
        return made

    @property
    def keys(self) -> set[str]:
        """The columns by which others are joined."""
        return {here for join in self.join for here in join.by}

    def _joined_to(
        self, made: "TableFile", inputs: set[str], called: Mapping[str, str]
    ) -> Iterator[Join]:
        """The joins of columns of inputs that another table lacks."""
        own = set(made.names())
        wanted = {c for c in inputs if c not in called}
        wanted |= {c for name in inputs & set(self.places) for c in columns_of(self.places[name])}
        needed: list[tuple[Join, list[str]]] = []
        for join in reversed(self.join):  # one may have the key of another
            known = join.take is not None or file_of(join.paths[0]).is_file()
            names = [c for c in join.names() if c in wanted - own] if known else []
            if not known:
                why = f"In training it may have come from {join.paths[0]}, which is not there: "
                made.lacking |= dict.fromkeys(wanted - own, f"{why}restore it, or add the column.")
            if names:
                needed.append((join, names))
                wanted |= {here for here in join.by if here not in called}
        for join, names in reversed(needed):
            by = {called.get(here, here): there for here, there in join.by.items()}
            if own >= set(by):
                own |= set(names)
                yield join.only(names, by)
            else:
                keys = ", ".join(join.by)
                why = f"In training it came from {join.name} by {keys}: add {keys} (if it has "
                why += f"another name: --column {next(iter(join.by))}=NAME), or the column itself."
                made.lacking |= dict.fromkeys(names, why)

    def alike(self, path: Path) -> bool:
        """Whether a file is a table by its name, or has the ending that this one has."""
        ending = self.paths[0].suffix.lower()
        own = self.format is not None and ending != "" and path.suffix.lower() == ending
        return own or known_format(path) is not None

    @property
    def reading(self) -> Reading:
        """How files are read."""
        return Reading(
            format=self.format,
            missing=tuple(self.missing),
            encoding=self.encoding,
            decimal=self.decimal,
            columns=tuple(self.columns),
            lists=tuple(self.lists),
            quotes=self.quotes,
        )

    def names(self) -> list[str]:
        """The columns of the first file, from its first lines alone, and those joined to it."""
        joined = [name for join in self.join for name in join.names()]
        return self.reading.names(self.paths[0]) + joined

    def load(self) -> Table:
        """Reads all plain columns."""
        pandas = require("pandas", "train")
        rows = self.reading.read(self.paths)
        self.reading.finish(rows, self.media, new=self._new)
        frame, joined = rows.frame, list[Partners]()
        for join in self.join:
            joined.append(join.partners(rows, frame, self.media, new=self._new))
            if self._new:
                _tell_blanks(rows, joined[-1])
            added = joined[-1].columns()
            frame = pandas.concat([frame, pandas.DataFrame(added, index=frame.index)], axis=1)
        astray = next((c for c in self.places if c not in self.media and not self._new), None)
        if astray is not None:
            raise DataError(f"`places` names column '{astray}'. Declare it under `media`, too.")
        media = {
            column: self._media(column, kind, frame, rows, joined)
            for column, kind in self.media.items()
        }
        frame = frame.drop(columns=[c for c in self.media if c in frame.columns])
        split = None
        if self.parts is not None:
            sizes = zip(self.parts, rows.sizes, strict=True)
            split = pandas.Series([part for part, n in sizes for _ in range(n)], dtype=object)
        parquet = self.reading.kind(self.paths[0]) == "parquet"
        unread = nested(self.paths[0], media) if parquet else {}
        for of in joined:
            unread |= {name: why for name, why in of.unread.items() if name not in media}
        return Table(
            rows.name,
            frame,
            media,
            self._key(media, rows, joined),
            rows.locate,
            split,
            unread,
            joined=[of.facts for of in joined],
            words=partial(_usual_words, rows, joined) if self._usual else None,
        )

    def _key(self, media: Mapping[str, Media], rows: Rows, joined: list[Partners]) -> str:
        """What the rows depend on."""
        linked = [p for m in media.values() if isinstance(m, FileMedia) for p in m.paths if p]
        reading = self.reading.key(rows.left, self.parts)
        if joined:
            pairs = zip(self.join, joined, strict=True)
            reading.append(["joined", *(join.key(of.rows) for join, of in pairs)])
        files = map(file_key, self.paths)
        return content_key(["table", *files, files_key(linked), self.missing, *reading])

    def _media(
        self,
        column: str,
        kind: Literal["image", "sound", "map"],
        frame: Any,
        rows: Rows,
        joined: list[Partners],
    ) -> Media:
        home = next((of for of in joined if column in of.taken), None)
        name = (rows if home is None else home.rows).name
        if column in frame.columns:
            wrong = next((c for c in cells_of(frame[column]) if not _names_a_file(c)), None)
            if wrong is not None:
                raise DataError(
                    f"Column '{column}' of {name} should hold paths of files"
                    + (" or their bytes" if known_format(Path(name)) == "parquet" else "")
                    + f". Found {str(wrong)[:60]!r}."
                )
            folders = rows.folders if home is None else home.folders()
            places = self.places.get(column, ())
            return linked(kind, column, frame, folders, places, new=self._new)
        if home is not None and column in home.unread:
            whole = ParquetMedia(kind, home.rows.paths, home.taken[column])
            return PickedMedia(whole, home.row)
        names = list(frame.columns)
        if all(self.reading.kind(p) == "parquet" for p in self.paths):
            stored = open_parquet(self.paths[0]).schema_arrow.names
            if column in stored:
                return ParquetMedia(kind, self.paths, column)
            names += stored
        raise DataError(
            f"`media` names column '{column}', which {name} does not have. {nearest(column, names)}"
        )


def _usual_words(rows: Rows, joined: Sequence[Partners], column: str) -> dict[str, int]:
    """How often each word that usually means blank stands in a column's cells."""
    home = next((of for of in joined if column in of.taken), None)
    found = rows.words(column) if home is None else home.rows.words(home.taken[column])
    return {word: count for word, count in found.items() if word in MISSING}


def _tell_blanks(rows: Rows, joined: Partners) -> None:
    """Warns of rows to predict for which nothing is joined."""
    lacking = len(joined.row) - joined.facts.found
    if lacking:
        warnings.warn(
            f"{lacking:,} of {len(joined.row):,} rows of {rows.name} have no partner in "
            f"{joined.facts.name}: {listed(list(joined.taken))} are blank in them",
            stacklevel=2,
        )


def _names_a_file(cell: Any) -> bool:
    """Whether a cell can be a path, or is blank."""
    return cell is None or isinstance(cell, int) or (isinstance(cell, str) and "\0" not in cell)
