"""What the columns of a table probably are, with the reasons.

Letters: N rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polytask.data.dates import (
    day_first,
    says_no_day,
    says_no_year,
    told_order,
    undecided,
    writes_a_day,
)
from polytask.data.linked import is_file
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.data.words import is_list
from polytask.errors import require
from polytask.survey.codes import are_codes, numbers_folds, parts_by_value
from polytask.survey.notations import with_thousands, with_units
from polytask.tasks.labels import label_counts, label_text

Kind = Literal[
    "number", "category", "date", "text", "characters", "image", "sound", "split", "left out"
]

FEW = 20  # different numbers up to which a whole-number target may be classes
MANY = 100  # different words above which a target is no class
_PARTS = 3  # files in which rows may be counted
FRAME = 0.02  # seconds from one label to the next, where labels have times
RARE = 5  # examples of a class below which some part may have none
_FORMULA = re.compile(r"(?<![a-z])(smiles|selfies|inchi|sequence|dna|rna)(?![a-z])", re.IGNORECASE)
_NUMBERING = re.compile(r"(?:nr|no|num|number|unnamed(?:: ?0)?|#)?[_\W]*")
_OF_ROWS = re.compile(r"(^|[\W_])(id|index|idx|rows?|lines?|no|nr|num|number|sr)($|[\W_])|^unnamed")
# What goes on by one from row to row, and tells something: when, or how much.
_GOES_ON = re.compile(
    r"(?<![a-z])(t|time|date|day|week|month|quarter|year|hour|minute|second|step|epoch|frame|period"
    r"|age|dose|distance|position|depth|temperature|x|y|z)s?(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Column:
    """A guess about a column that is read.

    Attributes:
        name: The column.
        kind: What it probably is.
        why: The reason.
        missing: How many cells are blank.
        doubt: What a person should look at; empty if nothing.
        codes: Whether it is a category whose names are numbers.
        parts: Of a column that names parts, the part of each value.
    """

    name: str
    kind: Kind
    why: str
    missing: int = 0
    doubt: str = ""
    codes: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A guess about a column that is predicted.

    Attributes:
        name: The column.
        kind: The kind of task.
        why: The reason.
        settings: Further settings of the task.
        missing: How many labels are missing.
        even: Whether its classes can be spread evenly over parts.
        rare: The classes with fewer than `RARE` examples, and how many they have.
        parent: The target of whose classes its own are kinds; empty if there is none.
    """

    name: str
    kind: str
    why: str
    settings: dict[str, Any] = field(default_factory=dict)
    missing: int = 0
    even: bool = False
    rare: Mapping[str, int] = field(default_factory=dict)
    parent: str = ""

    @property
    def heard(self) -> bool:
        """Whether it is told by the frames of a sound one by one."""
        return self.timed or self.kind == "ctc"

    @property
    def timed(self) -> bool:
        """Whether its labels are of the frames of a sound."""
        return "frame" in self.settings


def guess_column(name: str, cells: Sequence[Any], folder: Path) -> Column:
    """What a column of inputs is.

    Args:
        name: The column.
        cells: Its cells, None where blank.
        folder: Where paths in it start.
    """
    known = [c for c in cells if c is not None]
    missing = len(cells) - len(known)

    def is_(kind: Kind, why: str) -> Column:
        return Column(name, kind, why, missing)

    if any(is_list(c) or isinstance(c, dict) for c in known):
        return is_("left out", "its cells hold several values")
    different = set(label_counts(known))
    if len(different) < 2:
        return is_("left out", "it is blank" if not known else "it says the same in every row")
    parts = parts_by_value(name, known)
    if parts is not None:
        why = f"it names parts: {', '.join(sorted(different))}"
        return replace(is_("split", why), parts=parts)
    if numbers_folds(name, known):
        return is_("left out", "it divides rows into folds")
    media = media_kind(known, folder)
    if media is not None:
        return is_(media, f"its cells are files, such as {known[0]}")
    if _FORMULA.search(name) and len(different) > FEW:
        return is_("characters", f"formulas or sequences, such as {known[0]}")
    every = len(different) == len(known) > FEW
    if len(different) > FEW and missing == 0 and _numbers_rows(name, known):
        return is_("left out", f"it numbers the rows, from {label_text(known[0])} on")
    if every and re.search(r"(^|[_\W])(id|index|\w*key|uuid|row)s?($|[_\W])", name.lower()):
        return is_("left out", "every row has another one: it names the row")
    if all(is_number(c) for c in known):
        if are_codes(name, known):
            if len(different) > max(FEW, 0.5 * len(known)):
                return is_("left out", f"{len(different)} different codes in {len(known)} rows")
            why = f"{len(different)} different numbers, which are codes by the column's name"
            return replace(is_("category", why), codes=True)
        if len(different) > FEW and all(map(writes_a_day, known)):
            return is_("date", f"days written as numbers, such as {label_text(known[0])}")
        return is_(
            "number", f"numbers from {min(map(float, known)):g} to {max(map(float, known)):g}"
        )
    number = with_thousands(known)
    if number is not None:
        return is_("left out", f"to read numbers such as {number}, remove marks between thousands")
    measured = with_units(known) if len(different) > FEW else None
    if measured is not None:
        why = f"to read numbers such as {measured}, remove what stands beside them"
        return is_("left out", why)
    words = [c for c in known if not is_number(c)]
    if len(different) > FEW and len(words) <= 0.1 * len(known):
        doubt = f"{name} holds numbers in {len(known) - len(words)} of {len(known)} rows, and "
        doubt += f"'{str(words[0])[:40]}' is none: correct it, or list it under `missing`."
        return replace(is_("number", "nearly all cells are numbers"), doubt=doubt)
    if all(map(says_no_day, known)):
        if len(different) <= FEW:
            return is_("category", f"{len(different)} different times of a day")
        why = f"times without a day, such as {known[0]}: write them as numbers, 12:30 as 12.5"
        return is_("left out", why)
    if _dates(known):
        return replace(is_("date", f"dates, such as {known[0]}"), doubt=_order_doubt(name, known))
    length = float(np.mean([len(str(c).split()) for c in known]))
    if length >= FEW and all(map(is_number, " ".join(map(str, known[:FEW])).split())):
        why = f"its cells list {length:.0f} numbers: make columns of them, or files if they are "
        return is_("left out", f"{why}pixels")
    if length >= 3 and len(different) > 0.2 * len(known):
        return is_("text", f"{length:.0f} words a cell, {len(different)} different texts")
    if every:
        return is_("left out", "every row has another one: it names the row")
    if len(different) > max(FEW, 0.5 * len(known)):
        why = f"{len(different)} different values in {len(known)} rows tell rows apart"
        return is_("left out", why)
    found = is_("category", f"{len(different)} different values")
    return replace(found, codes=any(map(str.isdigit, "".join(different))))


def is_number(cell: Any) -> bool:
    if isinstance(cell, (bool, np.bool_)):
        return False
    try:
        return bool(np.isfinite(float(cell)))
    except (TypeError, ValueError):
        return False


def _numbers_rows(name: str, known: Sequence[Any]) -> bool:
    """Whether cells are whole numbers of which each is one more than that before it.

    They begin with 0 or 1 and do not say when something was, unless their column's name is one for
    numbers of rows. By such a name they may begin anew, as in each file of parts.
    """
    if not all(is_number(c) and float(c).is_integer() for c in known):
        return False
    numbers = np.array([float(c) for c in known])
    anew = np.flatnonzero(np.diff(numbers) != 1) + 1
    counts_up = len(anew) < _PARTS and bool((numbers[anew] == numbers[0]).all())
    counts_up &= not len(anew) or _OF_ROWS.search(name.lower()) is not None
    usual = float(known[0]) in (0.0, 1.0) and not _GOES_ON.search(name)
    return counts_up and (usual or _NUMBERING.fullmatch(name.lower()) is not None)


def media_kind(known: Sequence[Any], folder: Path) -> Literal["image", "sound"] | None:
    """Whether cells are paths of pictures or sounds of which the first few are there.

    Args:
        known: The cells that are not blank.
        folder: Where paths start.
    """
    texts = [str(c).strip() for c in known]
    suffixes = {Path(t).suffix.lower() for t in texts}
    kinds: tuple[tuple[Literal["image", "sound"], Sequence[str]], ...]
    kinds = (("image", PICTURE_SUFFIXES), ("sound", SOUND_SUFFIXES))
    kind = next((kind for kind, usual in kinds if suffixes <= set(usual)), None)
    # A text is no path, and may be too long to be looked for as one.
    there = kind is not None and any(is_file(folder / t) for t in texts[:20])
    return kind if there else None


def _dates(known: Sequence[Any]) -> bool:
    """Whether cells are dates."""
    some = known[:200]
    if any(hasattr(c, "year") for c in some):
        return True
    if not all(isinstance(c, str) and re.search(r"\d{1,4}[-/.: ]\d{1,2}", c) for c in some):
        return False
    pandas = require("pandas", "train")
    for cells in (some, list(dict.fromkeys(known))):  # addresses and names take long to be refused
        texts = pandas.Series(cells, dtype=object)
        dates = pandas.to_datetime(texts, errors="coerce", format="mixed")
        if not bool(dates.notna().all()) or bool(says_no_year(texts, dates).any()):
            return False
    return True


def _order_doubt(name: str, known: Sequence[Any]) -> str:
    """That nothing says which number of dates is the day; empty where something does."""
    date = undecided(known)
    if date is None:
        return ""
    first = day_first(name, np.array(known, dtype=object), str)
    return told_order(name, date, day_first=first)
