"""Names that point at other parts of the file: written out where abbreviated, and checked.

Both work on the plain values of the file, before they are known to be right, so that one reading
finds the mistakes of every sort.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from polytask.config.derive import as_text
from polytask.config.mistakes import Mistake, Steps
from polytask.errors import nearest

Plain = dict[str, Any]


def expand(raw: Plain, places: dict[Steps, str]) -> Iterator[Mistake]:
    """Write out what is abbreviated, in place: `column`, bare columns, the only input.

    Args:
        raw: The plain values of a file.
        places: Where they stand; what is written out stands where its short form does.

    Yields:
        What cannot be written out.
    """
    sources = list(section(raw, "sources"))
    for name, given in section(raw, "inputs").items():
        if isinstance(given, dict):
            yield from _expand_input(name, given, sources)
            short = places.get(("inputs", name, "column"))
            if short is not None:
                places.setdefault(("inputs", name, "columns"), short)
    inputs = section(raw, "inputs")
    for name, given in section(raw, "tasks").items():
        if not isinstance(given, dict):
            continue
        if "input" not in given and len(inputs) == 1:
            given["input"] = next(iter(inputs))
        elif "input" in given:
            given["input"] = as_text(given["input"])
        if "target" in given:
            yield from _expand_target(name, given, raw, sources)
    _expand_compare(raw)


def _expand_compare(raw: Plain) -> None:
    """Ways to share that name no backbone have the trunk's."""
    backbone = section(raw, "trunk").get("backbone")
    sharing = section(raw, "compare").get("sharing")
    if backbone is None or not isinstance(sharing, list):
        return
    for way in sharing:
        if isinstance(way, dict):
            way.setdefault("backbone", copy.deepcopy(backbone))


def section(raw: Mapping[str, Any], key: str) -> Plain:
    """A mapping of the file, empty where it is missing or something else."""
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _expand_input(name: str, given: Plain, sources: list[str]) -> Iterator[Mistake]:
    path = ("inputs", name)
    if "column" in given and "columns" in given:
        yield Mistake((*path, "column"), "'column' is short for 'columns': leave one of them out.")
        del given["column"]
    short = "column" in given
    columns = given.pop("column") if short else given.get("columns")
    if columns is None or not sources:
        return
    if not isinstance(columns, dict):
        if len(sources) > 1:
            written = ", ".join(f"{s}: {_column(columns)}" for s in sources)
            yield Mistake(
                (*path, "column" if short else "columns"),
                "there is more than one source, so say which column to read from which: "
                f"columns: {{{written}}}, or some of them.",
            )
            columns = dict.fromkeys(sources, columns)  # So that no other mistake follows from this.
        else:
            columns = {sources[0]: columns}
    if given.get("kind") == "table" and columns is not None:
        columns = {s: c if isinstance(c, list) else [c] for s, c in columns.items()}
    given["columns"] = columns


def _column(given: Any) -> str:
    """A column, or a list of them, as one would write it."""
    return f"[{', '.join(map(str, given))}]" if isinstance(given, list) else str(given)


def _expand_target(name: str, given: Plain, raw: Plain, sources: list[str]) -> Iterator[Mistake]:
    target = given["target"]
    if isinstance(target, dict) or target is None or not sources:
        return
    read = section(raw, "inputs").get(str(given.get("input")))
    read_columns = section(read, "columns") if isinstance(read, dict) else {}
    homes = [s for s in read_columns if s in sources] or sources
    pairs: list[tuple[str, Any]] = []
    for item in target if isinstance(target, list) else [target]:
        source, dot, column = str(as_text(item)).partition(".")
        if dot and source in sources:
            pairs.append((source, column))
        elif len(homes) == 1 and not (dot and len(sources) > 1):
            pairs.append((homes[0], as_text(item)))
        else:
            yield Mistake(
                ("tasks", name, "target"),
                f"'{item}' should be 'source.column', since there is more than one source. "
                + nearest(source, sources),
            )
            given["target"] = None
            return
    named = {source for source, _ in pairs}
    if len(named) > 1:
        yield Mistake(
            ("tasks", name, "target"),
            "a list holds the columns of one source. For several sources: target: {"
            + ", ".join(f"{s}: COLUMN" for s in sorted(named))
            + "}.",
        )
    if isinstance(target, list):
        given["target"] = {pairs[0][0]: [c for _, c in pairs]} if pairs else {}
    else:
        given["target"] = dict(pairs)
