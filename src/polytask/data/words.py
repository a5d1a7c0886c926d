"""From text to words."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from polytask.errors import DataError
from polytask.tasks.labels import composed

Splitting = Literal["words", "spaces"]

_CLITIC = r"['’](?:s|re|ve|ll|d|m)\b"
_LETTER = "ə"  # stands in no pattern
_JOINERS = "\u200c\u200d"  # inside words of Persian and of Indian languages
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
    one setting reads corpora and what people type. Signs that combine with the letter before them
    belong to its word: vowels of Devanagari, tones of Thai, points of Hebrew and Arabic.
    """
    return [text[slice(*match.span())] for match in _WORD.finditer(_with_letters(text))]


def _with_letters(text: str) -> str:
    """The text with a letter in place of each sign that belongs to the letter before it.

    To regular expressions such signs are no letters.
    """
    if text.isascii():
        return text
    found: list[str] = []
    for sign in text:
        combines = sign in _JOINERS or unicodedata.category(sign)[0] == "M"
        found.append(_LETTER if combines and found and found[-1].isalnum() else sign)
    return "".join(found)


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
    """The words of a cell: a list as it is, text split, none where it is blank.

    Letters that Unicode can write in two ways (`ö` as one sign, or as `o` and a sign above it) are
    written in the shorter one (NFC), so that a word is the same whatever program saved it.
    """
    if cell is None:
        return []
    if is_list(cell):
        return ["" if word is None else composed(str(word)) for word in cell]
    return SPLITTERS[splitting](composed(str(cell)))
