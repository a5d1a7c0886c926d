"""Lists of the files of each part, as publishers put them beside the files."""

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from polytask.data.part_lists import MARK, files_of_lists, named_in
from polytask.data.splits import part_named

_DEEP = ("*", "*/*", "*/*/*")  # folders in which lists are looked for
_MOST = 1000  # files that may be lists
_LARGEST = 2**26  # bytes of one


def lists_in(data: Path, known: Mapping[str, str]) -> str | None:
    """Where lists of parts are, from a folder on; None if there are none.

    Of several, those of the most parts, then those that name the most.

    Args:
        data: The folder.
        known: What each file may be called, and its name.
    """
    files = [f for f in chain(*map(data.glob, _DEEP)) if f.suffix.lower() in (".txt", ".lst")]
    ways = {way for file in files[:_MOST] for way in _ways(file.relative_to(data))}
    best: tuple[int, int, str] | None = None
    for way in sorted(ways, reverse=True):
        lists = files_of_lists(data, way)
        if any(file.stat().st_size > _LARGEST for file in lists):
            continue
        named = {file: named_in(file, known) for file in lists}
        found = {lists[file]: set(names) for file, (names, _) in named.items() if names}
        count = len(set().union(*found.values()))
        apart = count == sum(map(len, found.values()))
        mostly = count > sum(len(others) for _, others in named.values())
        if set(found) - {"train"} and apart and mostly:
            best = max(best or (0, 0, ""), (len(found), count, way))
    return None if best is None else best[2]


def _ways(file: Path) -> list[str]:
    """A path with `{part}` in the place of the word of its name that is a part's, if one is:
    `train_val_list` is of two parts."""
    pieces = re.split(r"([-_.])", file.stem)
    named = [at for at, piece in enumerate(pieces) if part_named(piece) is not None]
    if len(named) != 1:
        return []
    name = "".join([*pieces[: named[0]], MARK, *pieces[named[0] + 1 :]])
    return [(file.parent / f"{name}{file.suffix}").as_posix()]
