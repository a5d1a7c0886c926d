"""Labels in names of files: parts that a mark divides, as in `7_jackson_32.wav`; runs of letters
and of digits, as in `a01.wav`; or so many letters each, as in `03a01Fa.wav`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from polytask.errors import DataError

_MOST = 0.95  # of names that have the same number of parts
_SHOWN = 5
_MARKS = ("-", "_", " ", ".")
_PLACES = ("path", "image", "audio")  # columns that a folder has of its own
_RUN = re.compile(r"[^\W\d_]+|\d+")


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


def runs_of(names: Sequence[Path]) -> int | None:
    """How many runs of letters and of digits names have; None if they change in other places.

    Args:
        names: The files.
    """
    shapes = {_shape(name) for name in names}
    count = len(_RUN.findall(next(iter(shapes), "")))
    return count if len(shapes) == 1 and count > 1 else None


def _shape(name: Path) -> str:
    """A name with one letter for each run of letters, and one digit for each of digits."""
    return _RUN.sub(lambda run: "0" if run[0].isdigit() else "a", name.stem)


def length_of(names: Sequence[Path]) -> int | None:
    """How long names are that have letters and digits; None if they differ, or are but numbers.

    Args:
        names: The files.
    """
    lengths = {len(name.stem) for name in names}
    coded = all(re.search(r"\d", n.stem) and re.search(r"[^\W\d_]", n.stem) for n in names)
    return lengths.pop() if len(lengths) == 1 and coded else None


def telling(names: Sequence[Path], mark: str | None, folders: Sequence[str]) -> bool:
    """Whether some part of names says more than folders do: it recurs, and differs inside one.

    Args:
        names: The files.
        mark: What divides their names; None for runs of letters and of digits.
        folders: The folder of each.
    """

    def parted(name: Path) -> list[str]:
        return _RUN.findall(name.stem) if mark is None else name.stem.split(mark)

    count = Counter(len(parted(name)) for name in names).most_common(1)[0][0]
    split = [(of, p) for of, n in zip(folders, names, strict=True) if len(p := parted(n)) == count]
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
        columns: A name for every part, or for every folder and the file; `_` leaves one out. Where
            any is followed by how many letters it has (`speaker:2`), parts are told by that, and
            others have one. A few names of many may not fit.
        folder: The name for a column of the folder that a file is in, if there should be one.

    Raises:
        DataError: If names have other parts, or a column cannot be called so.
    """
    widths = _widths(columns)
    columns = [column.partition(":")[0].strip() for column in columns]
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
    if not widths and _in_folders(names, len(columns)):
        return "/".join(_group(column, "[^/]+") for column in columns), named
    inside = _by_widths(names, columns, widths) if widths else _inside(names, columns)
    depths = {len(name.parts) - 1 for name in names}
    before = "" if depths == {0} else "[^/]+/" if depths == {1} else "(?:.*/)?"
    if folder is not None and 0 not in depths:
        before = f"{'' if depths == {1} else '(?:.*/)?'}(?P<{folder}>[^/]+)/"
        named = [folder, *named]
    return before + inside, named


def _in_folders(names: Sequence[Path], count: int) -> bool:
    """Whether each file is so deep in folders, itself counted, and its name has other parts."""
    deep = count > 1 and {len(name.parts) for name in names} == {count}
    return deep and _fitting(names, count) is None and runs_of(names) != count


def _group(column: str, part: str) -> str:
    return part if column == "_" else f"(?P<{column}>{part})"


def _widths(columns: Sequence[str]) -> list[int]:
    """How many letters each part has, where any says it; empty if none does.

    Raises:
        DataError: If one is no number.
    """
    if not any(":" in column for column in columns):
        return []
    found = []
    for column in columns:
        _, colon, width = column.partition(":")
        if colon and not (width.strip().isdecimal() and int(width) > 0):
            raise DataError(
                f"--columns: '{column}' should say how many letters the part has, as 'speaker:2'."
            )
        found.append(int(width) if colon else 1)
    return found


def _by_widths(names: Sequence[Path], columns: Sequence[str], widths: Sequence[int]) -> str:
    """A regular expression for parts of so many letters each.

    Raises:
        DataError: If names are longer or shorter than all of them.
    """
    wrong = [name for name in names if len(name.stem) != sum(widths)]
    if len(names) - len(wrong) < _MOST * len(names):
        raise DataError(
            f"{_some(wrong)} should have {sum(widths)} letters, as --columns has in all: "
            f"{', '.join(f'{c}:{w}' for c, w in zip(columns, widths, strict=True))}."
        )
    parts = ("[^/]" if w == 1 else f"[^/]{{{w}}}" for w in widths)
    return "".join(map(_group, columns, parts))


def _inside(names: Sequence[Path], columns: Sequence[str]) -> str:
    """A regular expression for parts that a mark divides, or else for runs."""
    if _fitting(names, len(columns)) is None and runs_of(names) == len(columns):
        waiting = iter(columns)
        return "".join(
            _group(next(waiting), r"[0-9]+" if run[0].isdigit() else r"[^\W\d_]+")
            if _RUN.fullmatch(run)
            else re.escape(run)
            for run in re.findall(r"[^\W\d_]+|\d+|[\W_]+", names[0].stem)
        )
    mark = _mark(names, len(columns))
    between = r"\." if mark == "." else mark
    return between.join(_group(c, f"[^{mark}/]+") for c in columns)


def _fitting(names: Sequence[Path], count: int) -> str | None:
    """A mark that divides all names into so many parts; None if there is none."""
    for mark in _MARKS:
        parts = (name.stem.split(mark) for name in names)
        if all(len(p) == count and all(p) for p in parts):
            return mark
    return None


def _mark(names: Sequence[Path], count: int) -> str:
    """What divides names into so many parts.

    Raises:
        DataError: If nothing divides nearly all of them so.
    """
    fitting = {
        mark: sum(len(parts := n.stem.split(mark)) == count and all(parts) for n in names)
        for mark in _MARKS
    }
    mark = max(_MARKS, key=lambda m: fitting[m])
    if fitting[mark] >= _MOST * len(names):
        return mark
    if not fitting[mark]:
        found = parts_of(names)
        shown = f"{found[1]} parts, divided by '{found[0]}'" if found else "no parts in common"
        raise DataError(
            f"--columns names {count} parts of files' names. Names such as {names[0].name} have "
            f"{shown}. Name every part; a part to leave out is called _. Where nothing divides "
            "parts, say how many letters each has: speaker:2,text:3,emotion:1."
        )
    wrong = [n for n in names if len(n.stem.split(mark)) != count or not all(n.stem.split(mark))]
    them = "it" if len(wrong) == 1 else "them"
    raise DataError(
        f"{_some(wrong)} should have {count} parts, divided by '{mark}', as {fitting[mark]:,} of "
        f"{len(names):,} names of files have. Rename or remove {them}."
    )


def _some(names: Sequence[Path]) -> str:
    return ", ".join(map(str, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
