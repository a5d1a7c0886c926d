"""A table of divided cells as a data frame, and what its rows have to be."""

import csv
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from polytask.data.delimited import (
    BLANKS,
    BROKEN,
    Layout,
    counts_rows,
    header,
    lines,
    open_text,
    require_distinct,
    unreadable,
)
from polytask.data.leading_zeros import keep_zeros
from polytask.data.swallowing import first_swallower
from polytask.errors import DataError, require


def read_delimited(path: Path, layout: Layout) -> tuple[Any, int]:
    """A table of text as a data frame, and how many rows of it were left out.

    Whole numbers are numbers, unless a zero begins any of a column's: `007` is a text. Rows of
    several columns in which every cell is blank, as spreadsheets leave them at the end, are
    left out. How many they are is said.

    Raises:
        DataError: If it cannot be read, or a row has more or fewer cells than there are columns.
    """
    pandas = require("pandas", "train")
    names, separator = header(path, layout)
    require_distinct(path, names)

    def read(file: IO[str], as_text: Sequence[str] = ()) -> Any:
        return pandas.read_csv(
            file,
            sep=r"\s+" if separator == BLANKS else separator,
            index_col=False,  # else longer rows silently shift all columns
            header=None if layout.columns else 0,
            names=names if layout.columns or separator == BLANKS else None,
            skiprows=int(separator == BLANKS and counts_rows(path, layout)),
            usecols=list(as_text) or None,
            dtype=dict.fromkeys(as_text, "string") or None,
            quoting=csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE,
            dtype_backend="numpy_nullable",
            keep_default_na=False,
            na_values=["", *layout.missing],
            decimal=layout.decimal,
            skipinitialspace=True,
            low_memory=False,
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # more cells than names
            with open_text(path, layout.encoding) as file:
                frame = read(file)
            keep_zeros(frame, lambda: open_text(path, layout.encoding), read)
    except (pandas.errors.ParserWarning, ValueError, *BROKEN) as error:
        _require_even(path, names, separator, layout)
        _require_quotes(path, separator, layout)
        raise unreadable(path, layout.kind, error, layout.encoding) from error
    if len(frame) and len(names) > 1 and frame.iloc[:, -1].isna().any():
        # Cells that are not there look like blanks.
        _require_even(path, names, separator, layout)
    count = len(frame)
    if len(names) > 1:
        frame = _without_blank_rows(path, frame, separator, layout)
        _require_one_header(path, frame, layout)
    if layout.quotes:
        _require_whole_rows(path, frame, separator, layout)
    return frame.rename(columns=lambda name: str(name).strip()), count - len(frame)


def _without_blank_rows(path: Path, frame: Any, separator: str, layout: Layout) -> Any:
    """A table without rows in which every cell is blank; a warning counts them."""
    rows = np.arange(len(frame))
    for column in frame.columns:
        if not len(rows):
            return frame
        cells = frame[column].iloc[rows]
        blank = cells.isna().to_numpy()
        texts = [isinstance(cell, str) and layout.is_blank([cell]) for cell in cells.tolist()]
        rows = rows[blank | np.array(texts, dtype=bool)]
    if not len(rows):
        return frame
    with open_text(path, layout.encoding) as file:
        reader = layout.records(file, separator)
        at = next(
            reader.line_num for record in reader if len(record) > 1 and layout.is_blank(record)
        )
    some = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    warnings.warn(
        f"left out {some} of {path.name} in which every cell is blank, such as that of line {at}.",
        stacklevel=2,
    )
    return frame.drop(index=frame.index[rows]).reset_index(drop=True)


def _require_one_header(path: Path, frame: Any, layout: Layout) -> None:
    """Make sure that no row is the header again, as where files are put one behind the other.

    Raises:
        DataError: For the first that is.
    """
    rows = np.arange(len(frame))
    for name in frame.columns:
        if layout.columns or not len(rows) or frame[name].dtype.kind in "iufb":
            return
        cells = frame[name].iloc[rows].tolist()
        rows = rows[np.array([isinstance(c, str) and c.strip() == name.strip() for c in cells])]
    if len(rows):
        line = next(islice(lines(path, layout), int(rows[0]), None))
        raise DataError(
            f"{path.name} row {line} names the columns once more: were files put one behind the "
            "other? Remove the line."
        )


def _require_whole_rows(path: Path, frame: Any, separator: str, layout: Layout) -> None:
    """Make sure that no cell holds rows: a lone quote swallows them up to the next one.

    Raises:
        DataError: For the first that does.
    """
    found = first_swallower(frame, separator)
    if found is not None:
        name, row = found
        line = next(islice(lines(path, layout), row, None))
        raise DataError(
            f"{path.name} row {line}: a quote in column '{name}' takes in whole rows. Close it or "
            "remove it; if quotes are letters in this file like others, set `quotes: false`."
        )


def _require_even(path: Path, names: list[str], separator: str, layout: Layout) -> None:
    """Make sure that every row has as many cells as the header.

    Raises:
        DataError: For the first row that has not.
    """
    mark = _named(separator)
    try:
        with open_text(path, layout.encoding) as file:
            for line, record in layout.rows(layout.records(file, separator)):
                count = len(record)
                if count < len(names) and any(cell.strip() for cell in record):
                    opened = any("\n" in cell for cell in record)
                    raise DataError(
                        f"{path.name} row {line} has {count} cells, where the header names "
                        f"{len(names)} columns. "
                        + (
                            "Is a quote open in it?"
                            if opened
                            else f"Complete the row; a blank cell needs its {mark}."
                        )
                    )
                if any(cell.strip() for cell in record[len(names) :]):
                    raise DataError(
                        f"{path.name} row {line} has {count} cells, more than its header names "
                        f"({len(names)}: {', '.join(names)[:80]}). Name every column in the first "
                        f"line, or put quotes around cells that hold a {mark}."
                    )
    except (*BROKEN, UnicodeError, csv.Error):
        return  # who called has an error that says what is wrong


def _require_quotes(path: Path, separator: str, layout: Layout) -> None:
    """Make sure that quotes begin and end cells.

    Raises:
        DataError: For the first that does not.
    """
    line = 1
    try:
        with open_text(path, layout.encoding) as file:
            for begins, _ in layout.rows(layout.records(file, separator, strict=True)):
                line = begins
    except csv.Error as error:
        raise DataError(
            f"{path.name}: after row {line} a quote is not closed, or stands inside of a cell "
            f"({error}). Close it, or double it inside of a quoted cell."
        ) from error
    except (*BROKEN, UnicodeError):
        return  # who called has an error that says what is wrong


def _named(separator: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "mark"}[separator]
