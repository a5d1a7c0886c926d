"""Numbers that are names: of folds, of parts, of films, of places."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from polytask.data.splits import part_named
from polytask.tasks.labels import label_text

_MOST_FOLDS = 20
# Numbers that are names, as their column says: `movieId`, `zip_code`.
_NAMED = (
    "patient subject person user customer client hospital ward unit stay admission encounter visit "
    "order product item store shop device sensor account session transaction record sample study "
    "image file reviewer worker member employee student school teacher course house household "
    "building station location region country city"
)
_CODE = re.compile(
    rf"((.*[^a-z])?|.*({'|'.join(_NAMED.split())}))(id|identity|code|zip)(\W.*)?", re.IGNORECASE
)
_PARTS = re.compile(r"(.*[\W_])?(split|part|partition|fold|subset|set)s?")
_NUMBERED_PARTS = {"0": "train", "1": "validation", "2": "test"}


def numbers_folds(name: str, known: Sequence[Any]) -> bool:
    """Whether a column numbers folds of rows, as publishers divide them for cross-validation.

    Args:
        name: The column.
        known: Its cells that are not blank.
    """
    if not re.fullmatch(r"(.*[_\W])?(k|cv|x)?[_\W]*folds?[_\W]*(id|no|nr|\d+)?", name.lower()):
        return False
    folds = {label_text(c) for c in known}
    return 3 <= len(folds) <= _MOST_FOLDS and all(
        re.fullmatch(r"[a-z_ -]*\d+", f.lower()) for f in folds
    )


def parts_by_value(name: str, known: Sequence[Any]) -> dict[str, str] | None:
    """The part of each value of a column that names parts; None if it names none.

    Numbers are parts by their usual order, if all three are there and most rows are to train on.

    Args:
        name: The column.
        known: Its cells that are not blank.
    """
    if not _PARTS.fullmatch(name.lower()):
        return None
    counts = Counter(map(label_text, known))
    named = {value: part_named(value) or "" for value in counts}
    if counts and all(named.values()):
        return named
    if set(counts) == set(_NUMBERED_PARTS) and counts["0"] > 0.5 * len(known):
        return dict(_NUMBERED_PARTS)
    return None


def are_codes(name: str, known: Sequence[Any]) -> bool:
    """Whether numbers are names: all are whole, several, and their column says so.

    Args:
        name: The column.
        known: Its cells that are not blank, all of them numbers.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    whole = all(float(c).is_integer() for c in known)
    return whole and len(set(known)) > 2 and _CODE.fullmatch(parted) is not None
