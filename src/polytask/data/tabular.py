"""Plain columns of a table as one vector per row.

Letters: N rows, D entries of a vector.
"""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data import columns as kinds
from polytask.data.dates import DateOrder
from polytask.data.inputs import Input
from polytask.data.sources import Table
from polytask.data.stores import Rows, Store, VectorStore
from polytask.data.table_cleaning import Cleaned, TableCleaning
from polytask.data.table_cleaning.selection import Target
from polytask.errors import ConfigError, DataError


class TableInput(Input):
    """Plain columns as one vector.

    A column of numbers is standardised by its training rows; if any of them is blank, blanks
    become 0 and a second entry says so. Any other column becomes one entry per category; rare
    and unknown categories and blanks are all zeros.

    Args:
        columns: Per source, the columns. With several sources the same number of columns each, in
            matching order. A `*` stands for any text: `[fp.*]`, but for no column that a task of
            this input predicts, and none that names a row's part or group.
        without: Per source, further columns that a `*` does not stand for.
        categories: Columns that are categories though they hold numbers, such as codes.
        dates: Columns that are dates: their year, and sine and cosine of month, weekday, day of
            the year and, if they tell one, hour. In `5/3/2020` the month is first unless another
            training row of the column has a number above 12 there; in `5.3.2020` the day is. Of
            whole numbers 20200531 is a day and 2020 a year; others are refused.
        date_order: `day-first` or `month-first` by column, where no number says which it is.
        texts: Columns that are texts: their words as numbers.
        text: How texts become numbers: `hashing` of words into entries, or `tf-idf` of the most
            frequent words of training rows.
        text_width: Entries per column of texts.
        min_count: A category needs this many training rows.
        max_categories: At most this many categories a column, the most frequent ones.
        clean: What is done about blanks, outliers, scales and too many entries.

    Attributes:
        dropped: Training rows per source that the last fit left out.
    """

    media = None

    def __init__(
        self,
        *,
        columns: dict[str, list[str]],
        without: dict[str, list[str]] | None = None,
        categories: list[str] | None = None,
        dates: list[str] | None = None,
        date_order: dict[str, DateOrder] | None = None,
        texts: list[str] | None = None,
        text: kinds.TextEncoding = "hashing",
        text_width: int = 64,
        min_count: int = 2,
        max_categories: int = 50,
        clean: TableCleaning | None = None,
    ) -> None:
        if len({len(c) for c in columns.values()}) > 1:
            raise ConfigError(
                "`columns` should have the same number of columns for every source. Found "
                + ", ".join(f"{s}: {len(c)}" for s, c in columns.items())
            )
        for source, names in columns.items():
            if not names:
                raise ConfigError(
                    f"`columns` should name at least one column of {source}. Found none. "
                    "Name those to read, or all but the targets: ['*']."
                )
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConfigError(f"`columns` names column '{twice}' of {source} twice.")
        if text_width < 1:
            raise ConfigError(f"`text_width` should be at least 1. Found {text_width}.")
        self.columns, self.without = columns, dict(without or {})
        self.said = {
            "category": list(categories or []),
            "date": list(dates or []),
            "text": list(texts or []),
        }
        self.date_order = dict(date_order or {})
        self._require_known()
        self.text: kinds.TextEncoding = text
        self.text_width = text_width
        self.min_count = min_count
        self.max_categories = max_categories
        self.clean = clean
        self.state = {}
        self.dropped: dict[str, Rows] = {}

    def _require_known(self) -> None:
        """Make sure that columns of a stated kind are read, and have one kind."""
        first = next(iter(self.columns.values()), list[str]())
        listed = [name for names in self.said.values() for name in names]
        for name in listed:
            if not any(fnmatchcase(name, pattern) for pattern in first):
                raise ConfigError(
                    f"`categories`, `dates` and `texts` name columns that `columns` has. Found "
                    f"'{name}'."
                )
            if listed.count(name) > 1:
                raise ConfigError(f"Column '{name}' should be of one kind. It is listed twice.")
        for name in self.date_order:
            if name not in self.said["date"]:
                raise ConfigError(
                    f"`date_order` is about columns that `dates` names. Found '{name}'."
                )

    def find_columns(self, table: Table, without: Collection[str] = ()) -> None:
        """Write out what a `*` stands for in a source.

        Args:
            table: The source's rows.
            without: Columns that no `*` stands for.

        Raises:
            DataError: If it stands for nothing.
        """
        found: dict[str, None] = {}
        gone = {*without, *self.without.get(table.name, ())}
        names = [name for name in table.columns if name not in gone]
        for pattern in self.columns[table.name]:
            some = [c for c in names if fnmatchcase(c, pattern)] if "*" in pattern else []
            if "*" in pattern and not some:
                raise DataError(f"No column of {table.name} is named like '{pattern}'.")
            found.update(dict.fromkeys(some or [pattern]))
        self.columns = {**self.columns, table.name: list(found)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what an earlier `fit` learned, columns that a `*` stood for included."""
        super().load_state(state)
        names = [spec["name"] for spec in state["columns"]]
        self.columns = {
            source: names if any("*" in c for c in some) else some
            for source, some in self.columns.items()
        }

    @property
    def width(self) -> int:
        """D of the vectors; known after `fit`."""
        return len(self.names)

    @property
    def features(self) -> dict[str, Any]:
        """`width`, `names` of the entries, and `layout`: which entries are of one category."""
        return {"width": self.width, "names": self.names, "layout": self.layout}

    @property
    def names(self) -> list[str]:
        """What each entry of the vector is."""
        names = [n for spec in self._plain() for n in kinds.names_of(spec)]
        if self.clean is None or not self.state:
            return names
        numbers = [spec["name"] for spec in self._numbers()]
        names = [*self.clean.names(numbers, self.state["clean"]), *names]
        chosen = self.state.get("select")
        return (
            names
            if self.clean.select is None or chosen is None
            else self.clean.select.names(names, chosen)
        )

    @property
    def layout(self) -> list[tuple[int, int]]:
        """Runs of entries of which one at most is 1, as first and number; other entries are left
        out. Empty where entries were selected."""
        if self.state.get("select") is not None:
            return []
        begin = self.width - sum(kinds.width_of(spec) for spec in self._plain())
        found = []
        for spec in self._plain():
            count = kinds.width_of(spec)
            if spec["kind"] == "category" and count:
                found.append((begin, count))
            begin += count
        return found

    def _numbers(self) -> list[dict[str, Any]]:
        """Columns of numbers."""
        return [s for s in self.state.get("columns", ()) if s["kind"] == "number"]

    def _plain(self) -> list[dict[str, Any]]:
        """Columns that no cleaning touches."""
        specs = self.state.get("columns", ())
        return [s for s in specs if self.clean is None or s["kind"] != "number"]

    def fit(self, parts: Sequence[tuple[Table, Store | None, Rows]]) -> dict[str, Any]:
        """Categories, means and standard deviations of the training rows."""
        named = {id(table): self.columns[table.name] for table, _, _ in parts}
        places = [(t, int(row)) for t, _, rows in parts for row in rows]
        specs, numbers = [], []
        for k, name in enumerate(next(iter(named.values()))):
            cells = np.concatenate([t.cells([named[id(t)][k]], rows)[:, 0] for t, _, rows in parts])
            specs.append(self._fit_column(name, cells, places))
            if specs[-1]["kind"] == "number" and self.clean is not None:
                numbers.append(kinds.as_floats(name, cells, str))
        self.state = {"columns": specs}
        if self.clean is not None:
            table = np.stack(numbers, 1) if numbers else np.zeros((len(places), 0))
            if not numbers:
                raise DataError(
                    "`clean` is about columns of numbers, and this input has none: leave it out."
                )
            self.state["clean"], stay = self.clean.fit(table, [s["name"] for s in self._numbers()])
            self.dropped = self._by_source(parts, ~stay)
        return self.state

    def _by_source(
        self, parts: Sequence[tuple[Table, Store | None, Rows]], gone: NDArray[np.bool_]
    ) -> dict[str, Rows]:
        """Row numbers per source of a mask over all training rows."""
        ends = np.cumsum([len(rows) for _, _, rows in parts])[:-1]
        pieces = np.split(gone, ends)
        return {t.name: rows[g] for (t, _, rows), g in zip(parts, pieces, strict=True)}

    def _fit_column(self, name: str, cells: NDArray[Any], places: kinds.Places) -> dict[str, Any]:
        known = [c for c in cells.tolist() if c is not None]
        if not known:
            raise DataError(f"Column '{name}' has no value in any training row: leave it out.")
        kinds.require_plain(name, cells, lambda k: places[k][0].describe(places[k][1]))
        said = next((kind for kind, names in self.said.items() if name in names), None)
        if said == "date":
            return kinds.fit_date(name, cells, places, self.date_order.get(name))
        if said == "text":
            return kinds.fit_text(name, cells, encoding=self.text, width=self.text_width)
        if said is None:
            cells = kinds.as_numbers(name, cells, places)
            if all(kinds.is_number(c) for c in cells.tolist() if c is not None):
                return kinds.fit_number(name, cells, places)
            kinds.require_categories(name, cells)
        return kinds.fit_category(name, cells, least=self.min_count, most=self.max_categories)

    def vectors(self, table: Table, *, columns: list[str] | None = None) -> VectorStore:
        """All rows of a table as vectors.

        Args:
            table: The rows.
            columns: Their columns, where the table is not one of the declared sources.

        Raises:
            DataError: If there is text where training had numbers.
        """
        if not self.state:
            raise DataError("A table input has to be fitted before it makes vectors.")
        named = self.columns[table.name] if columns is None else columns
        blocks: list[NDArray[Any]] = []
        if self.clean is not None:
            blocks.append(self.cleaned(table, named).values)
        for name, spec in zip(named, self.state["columns"], strict=True):
            if self.clean is None or spec["kind"] != "number":
                blocks.append(kinds.block(spec, table.cells([name])[:, 0], table))
        values = np.concatenate(blocks, axis=1)
        if self.clean is not None and self.clean.select is not None and "select" in self.state:
            values = self.clean.select.apply(values.astype(np.float64), self.state["select"])
        return VectorStore(np.ascontiguousarray(values, dtype=np.float32))

    def cleaned(self, table: Table, named: list[str]) -> Cleaned:
        """The columns of numbers, cleaned."""
        assert self.clean is not None
        pairs = zip(named, self.state["columns"], strict=True)
        numbers = [name for name, spec in pairs if spec["kind"] == "number"]
        values = [
            kinds.as_floats(name, table.cells([name])[:, 0], table.describe) for name in numbers
        ]
        return self.clean.apply(np.stack(values, 1), self.state["clean"])

    def choose(self, values: NDArray[np.float32], targets: Sequence[Target]) -> None:
        """Learn which entries stay, of training rows' whole vectors `[N, D]` and their targets."""
        assert self.clean is not None and self.clean.select is not None
        facts = self.clean.select.fit(values.astype(np.float64), targets)
        self.state = {**self.state, "select": facts}

    def counts(
        self, table: Table, parts: Mapping[str, Rows]
    ) -> dict[str, dict[str, dict[str, int]]]:
        """What cleaning did to a source: per part `imputed` (per column) and `outliers`."""
        if self.clean is None:
            return {}
        done = self.cleaned(table, list(self.columns[table.name]))
        found: dict[str, dict[str, dict[str, int]]] = {}
        for part, rows in parts.items():
            each = done.imputed[rows].sum(0).tolist()
            names = [spec["name"] for spec in self._numbers()]
            found[part] = {
                "imputed": {n: int(c) for n, c in zip(names, each, strict=True) if c},
                "outliers": {"rows": int(done.outliers[rows].sum())},
            }
        return found
