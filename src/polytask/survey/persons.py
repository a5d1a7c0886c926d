"""Whose rows are whose: columns and folders that are named for persons or what else is recorded."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from polytask.data.words import is_list
from polytask.survey.codes import numbers_folds
from polytask.tasks.labels import label_text

GROUPS = 8  # different ones from which a split by groups has enough to draw from
REPEATED = 0.95  # different ones among rows: a few that are there again are in two parts as well
# Whoever or whatever several rows may come from.
_WHO = (
    "patient subject participant person speaker spk actor singer respondent donor author client "
    "customer user student identity recording dialogue conversation session video lesion specimen "
    "animal household reviewer"
)
_SHORT = {"spk": "speaker", "spkr": "speaker", "sub": "subject", "subj": "subject"}
_NUMBERED = r"([_\W]*(id|no|nr|nbr|num|number|code|key|index|name|\d+))?[_\W]*"
_ID = re.compile(r"[a-z]{0,3}\d{2,}")
_WORDNET = re.compile(r"n\d{8}")  # how ImageNet calls its classes


def guess_group(cells: Mapping[str, Sequence[Any]]) -> str | None:
    """The column that says whose rows are whose, of which some have several; None if none does.

    Of several, the first that has enough of them to draw from.

    Args:
        cells: The cells of all columns that are not predicted, None where blank.
    """
    few = None
    patterns = {who: rf"(.*[_\W])?(unique)?{who}s?{_NUMBERED}" for who in _WHO.split()}
    for who, pattern in {**patterns, "pid": "(unique)?_?pid", "id": "id"}.items():
        for name, found in cells.items():
            plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
            if not re.fullmatch(pattern, plain) or any(c is None or is_list(c) for c in found):
                continue
            if _counts(plain, who, found):
                continue
            different = len({label_text(c) for c in found})
            if GROUPS <= different <= REPEATED * len(found):
                return name
            if few is None and 3 <= different <= REPEATED * len(found):
                few = name
    return few


def _counts(name: str, who: str, cells: Sequence[Any]) -> bool:
    """Whether a column says how many there are: `customers` and `number of donors`, of numbers."""
    many = re.search(rf"{who}s$|^(number|count|n|no|num)[_\W]", name) is not None
    return many and all(isinstance(c, (int, float)) for c in cells)


def guess_folds(cells: Mapping[str, Sequence[Any]]) -> str | None:
    """The column that numbers folds, of which each has rows of all kinds; None if none does.

    Args:
        cells: The cells of all columns that are not predicted, None where blank.
    """
    for name, found in cells.items():
        if not any(c is None for c in found) and numbers_folds(name, found):
            return name
    return None


def folders_of_persons(names: Collection[str]) -> str | None:
    """Whose folders these are, as `actor` for Actor_01, Actor_02; None if nothing says it.

    `id` says that they are numbers or codes, such as p225, which persons often have.

    Args:
        names: The names of the folders.
    """
    plain = [name.lower() for name in names]
    stems = {re.sub(r"[\W_]*\d+$", "", name) for name in plain}
    if len(plain) < 3 or not all(name[-1:].isdigit() for name in plain):
        return None
    stem = stems.pop().removesuffix("s") if len(stems) == 1 else ""
    who = _SHORT.get(stem, stem)
    if who in _WHO.split():
        return who
    coded = all(map(_ID.fullmatch, plain)) and not all(map(_WORDNET.fullmatch, plain))
    return "id" if coded else None
