"""From text to words."""

import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from polytask.errors import DataError

Splitting = Literal["words", "spaces"]

_CLITIC = r"['’](?:s|re|ve|ll|d|m)\b"
_TITLES = "mr|mrs|ms|dr|st|prof|jr|sr|inc|co|corp|ltd|vs|etc|no"
_WORD = re.compile(
    rf"""
    https?://\S+ | www\.\S+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+   # addresses stay whole
    | n['’]t\b | {_CLITIC}                                    # what follows do, it
    | (?:[^\W\d_]\.){{2,}}                                    # U.S.
    | \b(?:{_TITLES})\.                                       # Mr.
    | \d+(?:[.,:/]\d+)*(?!\w)                                 # 1,000.50
    | \w+?(?=n['’]t\b)                                        # do of don't
    | \w+(?:(?:-|['’](?!(?:s|re|ve|ll|d|m)\b))\w+)*           # well-made, o'clock
    | ([^\w\s])\1*                                            # a mark, or a run of one
    """,
    re.IGNORECASE | re.VERBOSE,
)


def split_words(text: str) -> list[str]:
    """Words and marks, about as English treebanks have them (`do n't`, `it 's`, `U.S.`).

    Text that is split already, with spaces between, stays as it is but for rare marks, so that
    one setting reads corpora and what people type.
    """
    return [match[0] for match in _WORD.finditer(text)]


SPLITTERS: dict[Splitting, Callable[[str], list[str]]] = {"words": split_words, "spaces": str.split}


def is_list(cell: Any) -> bool:
    """Whether a cell holds words one by one."""
    return isinstance(cell, (list, tuple, np.ndarray))


def require_words(cell: Any, where: Callable[[], str]) -> None:
    """Make sure that a cell is a text, a number or a list of words.

    Args:
        cell: The cell; None where it is blank.
        where: Its place, for the message.

    Raises:
        DataError: If it is something else.
    """
    inside = list(cell) if is_list(cell) else [cell]
    wrong = next((w for w in inside if isinstance(w, dict) or is_list(w)), None)
    if wrong is not None:
        raise DataError(
            f"{where()} should hold a text or a list of words. Found {str(wrong)[:60]}"
            + (" in a list." if is_list(cell) else ".")
        )


def words_of(cell: Any, splitting: Splitting) -> list[str]:
    """The words of a cell: a list as it is, text split, none where it is blank."""
    if cell is None:
        return []
    if is_list(cell):
        return ["" if word is None else str(word) for word in cell]
    return SPLITTERS[splitting](str(cell))
