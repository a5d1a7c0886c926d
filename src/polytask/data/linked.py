"""Files that the cells of a table name, wherever they are.

Letters: N rows.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.data.media import FileMedia
from polytask.data.sources import MediaKind
from polytask.errors import ConfigError, DataError, nearest
from polytask.tasks.labels import label_text

_COLUMN = re.compile(r"\{([^{}]*?)(?::0(\d+))?\}")  # and how many digits a number has

_LOOKED = 20  # cells that are tried as paths

Places = Mapping[str, str | list[str]]


def require_places(places: Places) -> dict[str, list[str]]:
    """Places by column, as lists.

    Raises:
        ConfigError: If one of them names no column.
    """
    listed = {c: [of] if isinstance(of, str) else list(of) for c, of in places.items()}
    for column, of in listed.items():
        wrong = next((place for place in of or [""] if not _COLUMN.search(place)), None)
        if wrong is not None:
            raise ConfigError(
                f"`places.{column}` should say where files are, with columns in braces, as "
                f"'clips/{{{column}}}' does. Found '{wrong}'."
            )
    return listed


def columns_of(places: Sequence[str]) -> set[str]:
    """The columns that places have in braces."""
    return {match[1] for place in places for match in _COLUMN.finditer(place)}


def renamed(places: Sequence[str], column: str, name: str) -> list[str]:
    """Places that have a column under another name."""

    def other(match: re.Match[str]) -> str:
        if match[1] != column:
            return match[0]
        return f"{{{name}:0{match[2]}}}" if match[2] else f"{{{name}}}"

    return [_COLUMN.sub(other, place) for place in places]


def linked(
    kind: MediaKind,
    column: str,
    frame: Any,
    folders: Sequence[Path],
    places: Sequence[str] = (),
    *,
    new: bool = False,
) -> FileMedia:
    """The files of a column.

    Args:
        kind: What they are.
        column: Its name.
        frame: The table.
        folders: `[N]` where paths start.
        places: Where they are, of which the first counts that has the file; without any, cells are
            paths.
        new: Whether the places are those of another table: if cells are paths of files, that goes
            first.

    Raises:
        DataError: If a cell can be no path, or a place has a column that is not there.
    """
    cells = cells_of(frame[column])
    if new and places and _lead_to_files(cells, folders):
        places = ()
    for name in columns_of(places):
        if name not in frame.columns:
            raise DataError(
                f"`places.{column}` names a column '{name}', which the table does not have. "
                + (
                    "Add it, or let cells lead to files from the table's folder on."
                    if new
                    else nearest(name, list(frame.columns))
                )
            )
    if not places:
        return FileMedia(
            kind,
            [
                None if cell is None else folder / label_text(cell)
                for folder, cell in zip(folders, cells, strict=True)
            ],
        )
    others = {name: cells_of(frame[name]) for name in columns_of(places) | {column}}
    return FileMedia(
        kind,
        [
            _first(folder, places, {name: of[row] for name, of in others.items()})
            for row, folder in enumerate(folders)
        ],
    )


def _lead_to_files(cells: Sequence[Any], folders: Sequence[Path]) -> bool:
    """Whether any of the first cells is the path of a file."""
    known = [
        (folder, cell) for folder, cell in zip(folders, cells, strict=True) if cell is not None
    ]
    return any(is_file(folder / label_text(cell)) for folder, cell in known[:_LOOKED])


def cells_of(series: Any) -> list[Any]:
    """The cells of a column, None where blank."""
    found: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return found


def _first(folder: Path, places: Sequence[str], cells: Mapping[str, Any]) -> Path | None:
    """The file that a row names, in the first place that has it; None if a cell is blank."""
    if any(cell is None for cell in cells.values()):
        return None
    paths = [folder / filled(place, cells) for place in places]
    if len(paths) == 1:
        return paths[0]
    return next((path for path in paths if is_file(path)), paths[0])


def filled(place: str, cells: Mapping[str, Any]) -> str:
    """A place with a row's cells in it."""
    return _COLUMN.sub(lambda match: label_text(cells[match[1]]).zfill(int(match[2] or 0)), place)


def is_file(path: Path) -> bool:
    """Whether a path leads to a file; one that no file can have does not.

    Args:
        path: The path.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL: opening it says so
        return False
