"""Numbers that are names: of folds, of films, of places."""

import re
from collections.abc import Sequence
from typing import Any

from polytask.tasks.labels import label_text

_MOST_FOLDS = 20
# Numbers that are names, as their column says: `movieId`, `zip_code`.
_CODE = re.compile(r"(.*[^a-z])?(id|code|zip)(\W.*)?", re.IGNORECASE)


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


def are_codes(name: str, known: Sequence[Any]) -> bool:
    """Whether numbers are names: all are whole, several, and their column says so.

    Args:
        name: The column.
        known: Its cells that are not blank, all of them numbers.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    whole = all(float(c).is_integer() for c in known)
    return whole and len(set(known)) > 2 and _CODE.fullmatch(parted) is not None
