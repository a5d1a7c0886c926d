"""Where the files are that a table names, if its cells are not their paths."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from polytask.data.linked import is_file
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.data.words import is_list
from polytask.survey.pixel_maps import MAPS
from polytask.survey.samples import spread
from polytask.tasks.labels import label_text

_LOOKED = 200  # rows whose files are looked for
_MOST = 1_000_000  # files of a folder
_MOST_BESIDE = 300_000  # files beside a folder that has none
_DEEP = 8  # folders in one another
_DEPTH = 3  # the same, beside a folder that has none
_SEVERAL = 16  # places of one column
_ABOVE = 3  # folders above the table's from which paths may begin
_COLUMNS = 40  # of whose cells folders' names may be made


@dataclass(frozen=True)
class Whereabouts:
    """Where the files of a column are.

    Attributes:
        kind: What they are.
        places: Paths from the table's folder on, with columns in braces.
        lacking: How many of the rows looked at have no file.
        looked: How many were looked at.
    """

    kind: Literal["image", "sound"]
    places: Sequence[str]
    lacking: int
    looked: int


class Around:
    """The pictures and sounds around a table, by their names with and without endings.

    Args:
        folder: The table's folder, from which paths are said.
        data: A folder that files are in, at any depth; None for the table's own and, if that has
            none, for those beside it.
    """

    def __init__(self, folder: Path, data: Path | None) -> None:
        self._folder, self._data = folder.absolute(), data

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        return self._listed(islice(_below(self._data or self._folder, _DEEP), _MOST))

    @cached_property
    def _named_beside(self) -> dict[str, list[str]]:
        if self._data is not None:
            return {}
        return self._listed(islice(_below(self._folder.parent, _DEPTH), _MOST_BESIDE))

    def _listed(self, files: Iterator[Path]) -> dict[str, list[str]]:
        """The files' paths from the table's folder on."""
        known = (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)
        folders: dict[Path, str] = {}
        found: dict[str, list[str]] = {}
        for file in files:
            if file.suffix.lower() not in known or file.parent.name.lower() in MAPS:
                continue  # maps bear the names of their pictures
            if file.parent not in folders:
                folder = Path(os.path.relpath(file.parent.absolute(), self._folder)).as_posix()
                folders[file.parent] = "" if folder == "." else f"{folder}/"
            for name in {file.name, file.stem, _number(file.stem)}:
                found.setdefault(name, []).append(folders[file.parent] + file.name)
        return found

    def _from_above(self, column: str, text: str) -> dict[str, str]:
        """The place of a file whose path is said from a folder above the table's on."""
        above = self._folder
        for up in range(1, _ABOVE + 1):
            above = above.parent
            if "/" in text and _has_ending(text) and is_file(above / text):
                return {"../" * up + f"{{{column}}}": Path(text).suffix.lower()}
        return {}

    def find(
        self, column: str, cells: Sequence[Any], others: Mapping[str, Sequence[Any]]
    ) -> Whereabouts | None:
        """Where the files of a column are; None if it names none.

        Args:
            column: The column.
            cells: Its cells, None where blank.
            others: Cells of all columns, which may be parts of the paths.
        """
        texts = [None if c is None or is_list(c) else label_text(c) for c in cells]
        first: dict[str, int] = {}
        for row, text in enumerate(texts):
            if text:
                first.setdefault(text, row)
        # Labels recur, and may be names of files besides; names with endings are nothing else.
        few = 2 * len(first) < len(texts) and not all(map(_has_ending, first))
        if few or set(column) & set("{}"):
            return None
        known = list(first.values())
        rows = [known[at] for at in spread(len(known), _LOOKED)]
        files = self._named
        if not files and 2 * sum(str(texts[row]).isdigit() for row in rows) < len(rows):
            files = self._named_beside  # where names may be numbers for other reasons
        found: Sequence[Mapping[str, str]]
        found = [_places(column, str(texts[row]), files) for row in rows]
        if not any(found):  # paths may begin with the folder's own name
            found = [self._from_above(column, str(texts[row])) for row in rows]
        if 2 * sum(map(bool, found)) < len(rows) or not rows:
            return None
        places = _one(found)
        if places is None:
            places, found = _with_columns(found, rows, others)
        if places is None:
            return None
        lacking = sum(set(places).isdisjoint(of) for of in found)
        suffix = next(of[place] for of in found for place in places if place in of)
        kind: Literal["image", "sound"] = "sound" if suffix in SOUND_SUFFIXES else "image"
        return Whereabouts(kind, places, lacking, len(rows))


def _has_ending(text: str) -> bool:
    """Whether a cell ends as names of pictures and sounds do."""
    return Path(text).suffix.lower() in (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)


def _places(column: str, text: str, files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The places of a cell's file, each with the file's ending."""
    found = {}
    for path in files.get(Path(text).name, ()):
        head, here, tail = path.rpartition(text)
        if here and (not head or head.endswith(("/", "0"))):
            suffix, width = Path(path).suffix.lower(), f":0{len(Path(path).stem)}"
            if not head.endswith("0"):
                found[f"{head}{{{column}}}{tail}"] = suffix
            if head.endswith("0") or text.isdigit():  # others may have zeros before them
                found[f"{head.rstrip('0')}{{{column}{width}}}{tail}"] = suffix
    return found


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Files of a folder and of those in it, at most so deep; hidden ones are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a folder that may not be opened holds nothing for this table
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_file, is_folder = entry.is_file(), entry.is_dir()
        except OSError:  # a link that leads to itself
            continue
        if is_file:
            yield Path(entry.path)
        elif is_folder and depth:
            yield from _below(Path(entry.path), depth - 1)


def _number(stem: str) -> str:
    """The number that a name is, as a table has it that was read as numbers."""
    return stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else stem


def _one(found: Sequence[Mapping[str, str]]) -> list[str] | None:
    """A single place that nearly all files are in."""
    counts = Counter(place for of in found for place in of)
    best = min(counts, key=lambda place: (-counts[place], len(place), place))
    return [best] if counts[best] >= 0.95 * sum(map(bool, found)) else None


def _with_columns(
    found: Sequence[Mapping[str, str]], rows: Sequence[int], others: Mapping[str, Sequence[Any]]
) -> tuple[list[str] | None, Sequence[Mapping[str, str]]]:
    """A place whose folders have cells of other columns in their names, else several places.

    With the places of each row, such ones among them.
    """
    names = [name for name in others if not set(name) & set("{}")][:_COLUMNS]
    states = [dict(of) for of in found]
    for _ in range(2):  # as many columns
        for row, of in zip(rows, states, strict=True):
            cells = {n: label_text(others[n][row]) for n in names if others[n][row] is not None}
            of |= {new: end for place, end in of.items() for new in _replaced(place, cells)}
        places = _one(states)
        if places is not None:
            return places, states
    return _several(found), found


def _replaced(place: str, cells: Mapping[str, str]) -> Iterator[str]:
    folder, slash, file = place.rpartition("/")
    parts = folder.split("/")
    for at, part in enumerate(parts):
        for name, text in cells.items():
            if text and text in part and "{" not in part:
                new = [*parts[:at], part.replace(text, f"{{{name}}}", 1), *parts[at + 1 :]]
                yield "/".join(new) + slash + file


def _several(found: Sequence[Mapping[str, str]]) -> list[str] | None:
    """Several places that nearly all files are in, those with most first."""
    places: list[str] = []
    left = [of for of in found if of]
    allowed = 0.05 * len(left)
    while len(left) > allowed and len(places) < _SEVERAL:
        counts = Counter(place for of in left for place in of)
        places.append(min(counts, key=lambda place: (-counts[place], len(place), place)))
        left = [of for of in left if places[-1] not in of]
    return sorted(places) if len(left) <= allowed else None
