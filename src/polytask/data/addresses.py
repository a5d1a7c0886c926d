"""Tables inside of a file of JSON that holds several: `captions.json#annotations`."""

from pathlib import Path

MARK = "#"


def addressed(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The file, and the keys that lead to a table in it; none for a whole file.

    Args:
        path: Of a file, or of a table in one: `a.json#images`, `a.json#data.items`.
    """
    name, mark, inside = path.name.partition(MARK)
    packed = name.lower().removesuffix(".gz")
    if not mark or not packed.endswith(".json") or path.exists():  # names of files have any letter
        return path, ()
    return path.with_name(name), tuple(inside.split("."))


def file_of(path: Path) -> Path:
    """The file of a path that may lead to a table inside of one."""
    return addressed(path)[0]
