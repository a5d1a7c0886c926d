"""What every source gives: a table of rows whose pictures and sounds decode lazily.

Letters: N rows, H x W pixels; a row of a table is one example.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.errors import DataError, nearest
from polytask.tasks.labels import spells_a_number

if TYPE_CHECKING:
    import pandas

# A map is a picture of numbers, such as class numbers or depths; it is no input but a target.
MediaKind = Literal["image", "sound", "map"]


_MARKS = ("::", "^", "~", "$", "\x01", "#", ":")  # that divide cells of some files, and aren't read


class BlankCell(DataError):
    """A row has no picture, sound or map."""

    def __init__(self) -> None:
        super().__init__("the cell is blank")


@dataclass(frozen=True)
class Windows:
    """Rows that are parts of recordings, for tables with many rows per recording.

    Attributes:
        item: `[N]` int64, the recording of each row.
        start: `[N]` seconds from the start of the recording; negative reaches into the silence
            that is put before it.
        seconds: The length of every window.
        pad: Seconds of silence kept before each recording, by which the first window reaches
            back; what a window reaches past the end is
            silence too.
        step: Seconds between one window and the next.
    """

    item: NDArray[np.int64]
    start: NDArray[np.float64]
    seconds: float
    pad: float
    step: float


class Media(ABC):
    """A column of pictures or sounds, decoded one item at a time.

    An item belongs to one row, unless `windows` says which part of which item a row is.
    """

    kind: MediaKind
    windows: Windows | None = None
    whole: bool = False  # decode sounds to their end, though inputs may cut them

    @cached_property
    def noted(self) -> dict[int, str]:
        """What people should know of items that were decoded so far, though they are no errors."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """The number of items."""

    def repeats(self) -> NDArray[np.int64] | None:
        """For each item the first one that is of the same file; None where all are of others."""
        return None

    @abstractmethod
    def where(self, item: int) -> str:
        """The file of an item, for messages; empty where the row says it all."""

    def picture(self, item: int, *, white: int | None = None) -> NDArray[np.uint8]:
        """One picture, `[H, W, 3]`.

        Args:
            item: Which.
            white: The number that is white in pictures of 16 bits, 65535 if None.

        Raises:
            DataError: If this is not a column of pictures, or the picture is broken.
        """
        raise DataError(f"This column holds {self.kind}s: it has no pictures.")

    def size(self, item: int) -> tuple[int, int] | None:
        """Height and width of one picture before it is scaled; None where that is not known."""
        return None

    def turned(self, item: int) -> bool:
        """Whether a note of a camera turns one picture or map."""
        return False

    def wave(self, item: int) -> tuple[NDArray[Any], int]:
        """One mono wave, `[samples]` of int16 or of float32 in -1..1, and its sample rate.

        Raises:
            DataError: If this is not a column of sounds, or the sound is broken.
        """
        raise DataError(f"This column holds {self.kind}s: it has no sounds.")

    def array(self, item: int) -> NDArray[Any]:
        """The numbers of one map as they are stored, `[H, W]` or with an axis of values.

        Raises:
            BlankCell: If the row has none.
            DataError: If this is not a column of maps, or the map is broken.
        """
        raise DataError(f"This column holds {self.kind}s: it has no maps.")


@dataclass(frozen=True)
class Joined:
    """What a join found.

    Attributes:
        name: The joined table's first file.
        by: The key, as it is called in the first table.
        rows: How many rows the first table has.
        found: How many rows have a partner.
        unused: Rows of the joined table that are no row's partner.
        repeated: Rows of the joined table that are there again, alike in all that is taken.
        unlike: Rows without partner that would have one but for zeros in front of the key.
    """

    name: str
    by: tuple[str, ...]
    rows: int
    found: int
    unused: int
    repeated: int
    unlike: int

    def __str__(self) -> str:
        said = (
            f"{self.name}, joined by {', '.join(self.by)}: {self.found:,} of {self.rows:,} rows "
            "have a partner"
        )
        said += f"; rows there that are no row's partner: {self.unused:,}" if self.unused else ""
        return said + (f"; that repeat another: {self.repeated:,}" if self.repeated else "")


@dataclass
class Table:
    """The rows of one source.

    Attributes:
        name: What the source is called in messages.
        frame: Labels, numbers, text and groups, one row per example. Missing is NaN, None or NA.
        media: The columns that hold pictures or sounds.
        fingerprint: A key of the content.
        locate: Says where a row comes from.
        fixed_split: `train`, `validation` or `test` per row, where the source has a split.
        unread: Why columns of its file are not among these, by column.
        unfit: What should have been a row and cannot be one: where it is, and why. It is an error
            unless `on_bad` leaves it out.
        joined: What was found in further tables whose columns are among these.
        words: Says of a column how often each word stands in cells that are taken as blank because
            such a word usually means that; None where nobody would be surprised.
    """

    name: str
    frame: "pandas.DataFrame"
    media: Mapping[str, Media]
    fingerprint: str
    locate: Callable[[int], str]
    fixed_split: "pandas.Series[Any] | None" = None
    unread: Mapping[str, str] = field(default_factory=dict)
    unfit: Sequence[tuple[str, str]] = ()
    joined: Sequence[Joined] = ()
    words: Callable[[str], Mapping[str, int]] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def describe(self, row: int) -> str:
        """Where a row (counted from 0) comes from, as a person looks it up."""
        return self.locate(int(row))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, pictures and sounds included."""
        return tuple(dict.fromkeys([*map(str, self.frame.columns), *self.media]))

    def check_column(self, column: str, wanted: str, *, kind: MediaKind | None = None) -> None:
        """Makes sure that a column is there.

        Args:
            column: The column.
            wanted: Who asks, such as `input 'picture'`.
            kind: The kind of media it should hold; None for a column of plain values.

        Raises:
            DataError: If there is no such column, or it holds something else.
        """
        if column in self.unread:
            raise DataError(
                f"{wanted} reads column '{column}' of {self.name}, which {self.unread[column]}."
            )
        if column not in self.columns:
            raise DataError(
                f"{wanted} reads column '{column}' of {self.name}, which has no such column. "
                f"{nearest(column, self.columns)}{self.doubt()}"
            )
        found = self.media[column].kind if column in self.media else None
        if found != kind:
            names = {
                "image": "pictures",
                "sound": "sounds",
                "map": "maps",
                None: "plain values",
            }
            hint = " Declare it under the source's `media`." if kind and not found else ""
            raise DataError(
                f"{wanted} needs a column of {names[kind]}; column '{column}' of {self.name} "
                f"holds {names[found]}.{hint}"
            )

    def doubt(self) -> str:
        """What may be wrong with the names of the columns, as a sentence; empty if nothing."""
        names = [name for name in self.columns if not name.startswith("Unnamed: ")]
        if any(name.replace(".", "", 1).isdigit() for text in names for name in text.split()):
            return (
                " Some names hold numbers: does the first line of the file name the columns? If it "
                "is a row, name them under `columns` (`polytask init --columns a,b`)."
            )
        if len(names) == 1 and any(mark in names[0] for mark in ",;\t|"):
            return " That is the only name: is the file divided by another mark? See `format`."
        strange = [m for m in _MARKS if len(names) == 1 and names[0].count(m) > 1]
        if strange:
            return (
                f" That is the only name: if {strange[0]!r} divides cells, write commas, "
                "semicolons, tabs or bars in its place."
            )
        return ""

    def taken_as_blank(self, column: str) -> str:
        """Which words of a column are taken as blank because they usually mean that; empty if none
        are, or all other cells are numbers, beside which a word is nothing else.

        Args:
            column: A column of plain values.
        """
        if self.words is None or column not in self.frame or not self.frame[column].isna().any():
            return ""
        cells = self.frame[column].dropna()
        if cells.dtype == object:  # lists among them, which `unique` cannot tell apart
            cells = cells.map(str)
        if all(spells_a_number(str(cell)) for cell in cells.unique()):
            return ""
        found = [f"{count:,} '{word}'" for word, count in sorted(self.words(column).items())]
        if not found:
            return ""
        return (
            f"cells of column {column} that are taken as blank: {', '.join(found)}. If such a word "
            "is a label like others, list what means blank without it: `missing`, at the source"
        )

    def cells(self, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Raw cells as an object array `[rows, len(columns)]`; a missing cell is None."""
        count = len(self.frame) if rows is None else len(rows)
        result = np.empty((count, len(columns)), dtype=object)
        for k, column in enumerate(columns):
            # Columns before rows: taking rows of all columns, for each column, is quadratic.
            series = self.frame[column] if rows is None else self.frame[column].iloc[rows]
            values = series.astype(object).to_numpy(copy=True)
            values[series.isna().to_numpy()] = None
            result[:, k] = values
        return result


class Source(ABC):
    """A place that rows come from. Options are keyword-only constructor arguments."""

    @abstractmethod
    def load(self) -> Table:
        """Reads labels and finds the pictures and sounds; decodes none of them.

        Raises:
            DataError: If something is missing or cannot be read.
        """


@dataclass
class Row:
    """A row that cannot be used, and why."""

    source: str
    row: int
    where: str
    reason: str = field(default="")

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"
