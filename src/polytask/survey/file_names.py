"""Labels in names of files: parts that a mark divides, as in `7_jackson_32.wav`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from polytask.errors import DataError

_MOST = 0.95  # of names that have the same number of parts
_SHOWN = 5
_MARKS = ("-", "_", " ", ".")
_PLACES = ("path", "image", "audio")  # columns that a folder has of its own


def parts_of(names: Sequence[Path]) -> tuple[str, int] | None:
    """What divides names into the same number of parts, and how many; None if nothing does.

    A few of many may have others.

    Args:
        names: The files.
    """
    found = []
    for mark in _MARKS:
        counts = Counter(len(p) for name in names if all(p := name.stem.split(mark)))
        count, fitting = next(iter(counts.most_common(1)), (0, 0))
        if count > 1 and fitting >= _MOST * len(names):
            found.append((mark, count))
    return max(found, key=lambda pair: pair[1], default=None)


def telling(names: Sequence[Path], mark: str, folders: Sequence[str]) -> bool:
    """Whether some part of names says more than folders do: it recurs, and differs inside one.

    Args:
        names: The files.
        mark: What divides their names.
        folders: The folder of each.
    """
    count = Counter(len(name.stem.split(mark)) for name in names).most_common(1)[0][0]
    split = [
        (of, p)
        for of, n in zip(folders, names, strict=True)
        if len(p := n.stem.split(mark)) == count
    ]
    inside = [of for of, _ in split]
    for values in zip(*(parts for _, parts in split), strict=True):
        different, pairs = set(values), set(zip(inside, values, strict=True))
        if 1 < len(different) <= len(values) / 2 and len(pairs) > len(set(inside)):
            return True
    return False


def pattern_of(
    names: Sequence[Path], columns: Sequence[str], folder: str | None
) -> tuple[str, list[str]]:
    """A regular expression that makes columns of the parts of names, and the columns.

    Args:
        names: The files, relative to their folder.
        columns: A name for every part; `_` leaves one out.
        folder: The name for a column of the folder that a file is in, if there should be one.

    Raises:
        DataError: If names have other parts, or a column cannot be called so.
    """
    named = [c for c in columns if c != "_"]
    for name in named:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in _PLACES:
            raise DataError(
                f"--columns: a part of a file's name cannot be called '{name}'. Use letters, "
                f"digits and _, and none of {', '.join(_PLACES)}."
            )
    twice = next((name for name, count in Counter(named).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"--columns names '{twice}' twice. A part to leave out is called _.")
    mark = _mark(names, len(columns))
    part = f"[^{mark}/]+"
    groups = [part if c == "_" else f"(?P<{c}>{part})" for c in columns]
    depths = {len(name.parts) - 1 for name in names}
    before = "" if depths == {0} else "[^/]+/" if depths == {1} else "(?:.*/)?"
    if folder is not None and 0 not in depths:
        before = f"{'' if depths == {1} else '(?:.*/)?'}(?P<{folder}>[^/]+)/"
        named = [folder, *named]
    between = r"\." if mark == "." else mark
    return before + between.join(groups), named


def _mark(names: Sequence[Path], count: int) -> str:
    """What divides names into so many parts.

    Raises:
        DataError: If nothing divides all of them so.
    """
    fitting = {
        mark: sum(len(parts := n.stem.split(mark)) == count and all(parts) for n in names)
        for mark in _MARKS
    }
    mark = max(_MARKS, key=lambda m: fitting[m])
    if fitting[mark] == len(names):
        return mark
    if not fitting[mark]:
        found = parts_of(names)
        shown = f"{found[1]} parts, divided by '{found[0]}'" if found else "no parts in common"
        raise DataError(
            f"--columns names {count} parts of files' names. Names such as {names[0].name} have "
            f"{shown}. Name every part; a part to leave out is called _."
        )
    wrong = [n for n in names if len(n.stem.split(mark)) != count or not all(n.stem.split(mark))]
    some = ", ".join(map(str, wrong[:_SHOWN])) + (", ..." if len(wrong) > _SHOWN else "")
    them = "it" if len(wrong) == 1 else "them"
    raise DataError(
        f"{some} should have {count} parts, divided by '{mark}', as {fitting[mark]:,} of "
        f"{len(names):,} names of files have. Rename or remove {them}."
    )
