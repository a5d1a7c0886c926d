"""Whole numbers that begin with a zero: names of something, of which 7 is not 007."""

import re
from collections.abc import Callable, Iterator
from typing import IO, Any

_WHOLE = r"[+-]?0\d+"
_BETWEEN = r"[^,;|\t \"'\r\n]"
# In a text of cells, and as one cell.
_SOMEWHERE = re.compile(f"(?<!{_BETWEEN}){_WHOLE}(?!{_BETWEEN})")
_CHUNK = 1 << 20
_LONGEST = 64  # letters of a number that may lie in two chunks


def keep_zeros(
    frame: Any, opened: Callable[[], IO[str]], again: Callable[[IO[str], list[str]], Any]
) -> None:
    """Make columns of whole numbers text, in place, if a zero begins any of them.

    Args:
        frame: A table that was read with numbers for such cells.
        opened: Opens its text.
        again: Reads some of its columns as text.
    """
    whole = [name for name in frame.columns if frame[name].dtype.kind in "iu"]
    if not whole:
        return
    with opened() as file:
        if not any(_SOMEWHERE.search(chunk) for chunk in _chunks(file)):
            return
    with opened() as file:
        texts = again(file, whole)
    for name in whole:
        cells = texts[name].str.strip()
        if bool(cells.str.fullmatch(_WHOLE).any()):
            frame[name] = cells


def _chunks(file: IO[str]) -> Iterator[str]:
    """A text in pieces, each with the end of the one before it."""
    before = ""
    while piece := file.read(_CHUNK):
        yield before + piece
        before = piece[-_LONGEST:]
