"""Lists of the files of each part, as publishers put them beside these: `testing_list.txt`."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from polytask.data.splits import part_named
from polytask.errors import ConfigError, DataError

MARK = "{part}"


def require_one_part(lists: str) -> str:
    """Where lists are, which has to say where in it their part is named.

    Raises:
        ConfigError: If it does not.
    """
    if lists.count(MARK) != 1:
        raise ConfigError(
            f"`lists` should have one '{MARK}', as '{MARK}.txt' and 'meta/{MARK}_list.txt' have. "
            f"Found '{lists}'."
        )
    return lists


def files_of_lists(folder: Path, lists: str) -> dict[Path, str]:
    """The lists that there are, and the part of each.

    Args:
        folder: Where they are said from.
        lists: A path with `{part}` in the place of a part's name.
    """
    before, _, after = (folder / lists).as_posix().partition(MARK)
    inside = Path(before + "x").parent
    found = {}
    for file in sorted(inside.glob("*")) if inside.is_dir() else ():
        text = file.as_posix()
        if text.startswith(before) and text.endswith(after) and file.is_file():
            part = part_named(text[len(before) : len(text) - len(after)])
            if part is not None:
                found[file] = part
    return found


def named_in(file: Path, known: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What the lines of a list name, a whole line or its first word; and lines that name nothing.

    Args:
        file: The list.
        known: What each thing may be called, and its name.
    """
    lines = [line.strip() for line in file.read_text("utf-8-sig", "replace").splitlines()]
    names = {line: known.get(line) or known.get(line.split()[0]) for line in lines if line}
    found = [name for name in names.values() if name is not None]
    return found, [line for line, name in names.items() if name is None]


def parts_listed(folder: Path, lists: str, known: Mapping[str, str]) -> dict[str, str]:
    """The part of each name; where none is listed to train on, all others are.

    Args:
        folder: Where lists are said from.
        lists: A path with `{part}` in the place of a part's name.
        known: What each thing may be called, and its name.

    Raises:
        DataError: If there are no lists, or a name is in two.
    """
    files, found = files_of_lists(folder, lists), dict[str, str]()
    unknown: list[str] = []
    for file, part in files.items():
        names, others = named_in(file, known)
        unknown += others
        for name in names:
            if found.setdefault(name, part) != part:
                raise DataError(
                    f"{file}: '{name}' is in the {part} part, and in that of {found[name]} by "
                    "another list. Remove it from one of them."
                )
    if not found:
        before, _, after = (folder / lists).as_posix().partition(MARK)
        raise DataError(
            f"`lists` finds no file that lists any of them ({before}...{after}, where ... is "
            "train, val, test or a synonym)."
        )
    if unknown:
        warnings.warn(
            f"{len(unknown):,} of the lines of `lists` name no file that is read, such as "
            f"'{unknown[0][:80]}'.",
            stacklevel=3,
        )
    if "train" not in files.values():
        found = {name: found.get(name, "train") for name in known.values()}
    return found


def called(names: Iterable[str]) -> dict[str, str]:
    """What files may be called in a list: by their path or name, each with or without the ending.

    Args:
        names: Their paths from the folder on.
    """
    found: dict[str, str] = {}
    twice = set()
    for name in names:
        path = Path(name)
        for text in {name, path.with_suffix("").as_posix(), path.name, path.stem}:
            if found.setdefault(text, name) != name:
                twice.add(text)
    return {text: name for text, name in found.items() if text not in twice}
