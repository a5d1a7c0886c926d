"""What the columns of a table probably are, with the reasons.

Letters: N rows.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polytask.data.dates import day_first, told_order, undecided
from polytask.data.linked import is_file
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.data.words import is_list
from polytask.errors import DataError, require
from polytask.survey.codes import are_codes, numbers_folds, parts_by_value
from polytask.survey.notations import with_thousands
from polytask.survey.orders import ranges_in_order, says_amount, says_grade
from polytask.survey.scales import words_in_order
from polytask.tasks.intervals import read_intervals
from polytask.tasks.labels import composed, label_counts, label_text, truth_names

Kind = Literal[
    "number", "category", "date", "text", "characters", "image", "sound", "split", "left out"
]

FEW = 20  # different numbers up to which a whole-number target may be classes
MANY = 100  # different words above which a target is no class
FRAME = 0.02  # seconds from one label to the next, where labels have times
RARE = 5  # examples of a class below which some part may have none
_FORMULA = re.compile(r"(?<![a-z])(smiles|selfies|inchi|sequence|dna|rna)(?![a-z])", re.IGNORECASE)
_NUMBERING = re.compile(r"(?:nr|no|num|number|unnamed(?:: ?0)?|#)?[_\W]*")
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
    if every and missing == 0 and _numbers_rows(name, known):
        return is_("left out", f"it numbers the rows, from {label_text(known[0])} on")
    if every and re.search(r"(^|[_\W])(id|index|key|uuid|row)s?($|[_\W])", name.lower()):
        return is_("left out", "every row has another one: it names the row")
    if all(_number(c) for c in known):
        if are_codes(name, known):
            if len(different) > max(FEW, 0.5 * len(known)):
                return is_("left out", f"{len(different)} different codes in {len(known)} rows")
            why = f"{len(different)} different numbers, which are codes by the column's name"
            return replace(is_("category", why), codes=True)
        return is_(
            "number", f"numbers from {min(map(float, known)):g} to {max(map(float, known)):g}"
        )
    number = with_thousands(known)
    if number is not None:
        return is_("left out", f"to read numbers such as {number}, remove marks between thousands")
    if _dates(known):
        return replace(is_("date", f"dates, such as {known[0]}"), doubt=_order_doubt(name, known))
    words = float(np.mean([len(str(c).split()) for c in known]))
    if words >= FEW and all(map(_number, " ".join(map(str, known[:FEW])).split())):
        why = (
            f"its cells list {words:.0f} numbers: make columns of them, or files if they are pixels"
        )
        return is_("left out", why)
    if words >= 3 and len(different) > 0.2 * len(known):
        return is_("text", f"{words:.0f} words a cell, {len(different)} different texts")
    if every:
        return is_("left out", "every row has another one: it names the row")
    if len(different) > max(FEW, 0.5 * len(known)):
        why = f"{len(different)} different values in {len(known)} rows tell rows apart"
        return is_("left out", why)
    return is_("category", f"{len(different)} different values")


def guess_target(name: str, cells: Sequence[Any], *, spoken: bool = False) -> Target:
    """What a column of labels is.

    Args:
        name: The column.
        cells: Its cells, None where blank.
        spoken: Whether texts that are too many for classes may be what is said in sounds.

    Raises:
        DataError: If it cannot be a target.
    """
    known = [c for c in cells if c is not None]
    missing = len(cells) - len(known)
    timed = _of_times(name, known, missing)
    if timed is not None:
        return timed
    if any(is_list(c) for c in known):
        return _of_lists(name, known, missing)
    counts = label_counts(known)
    if len(counts) < 2:
        raise DataError(
            f"Column '{name}' can be no target: "
            + (f"every label is '{next(iter(counts))}'." if counts else "it has no label.")
        )
    rarest = min(counts.values())
    share = f"{min(counts, key=lambda k: counts[k])} ({rarest / len(known):.1%})"
    even = rarest >= 10 and missing == 0

    def is_(kind: str, why: str, **settings: Any) -> Target:
        if kind == "regression":
            return Target(name, kind, why, settings, missing)
        return Target(name, kind, why, settings, missing, even, _rare(counts))

    if len(counts) == 2:
        rare = rarest < 0.2 * len(known)
        why = f"two labels, {' and '.join(sorted(counts))}; the rarer is {share}"
        if truth_names(list(counts)) is None:
            signs = set(counts) == {"-1", "1"}
            classes = ["-1", "1"] if signs else [n for n, _ in counts.most_common()]
            return is_("binary", why, classes=classes, **_tuned(rare))
        return is_("binary", why, **_tuned(rare))
    uneven = rarest < 0.2 * len(known) / len(counts)
    weights = {"class_weights": "effective"} if uneven else {}
    if all(_number(c) for c in known):
        kind, why = _of_numbers(name, [float(c) for c in known], len(counts))
        if kind != "multiclass":
            return is_(kind, why)
        why += f", the rarest {share}; write kind: ordinal if they have an order"
        return is_(kind, why, **weights)
    number = with_thousands(known)
    if number is not None:
        raise DataError(
            f"Column '{name}' can be no target: numbers such as '{number}' have marks between "
            "thousands. Remove the marks."
        )
    ordered = ranges_in_order(list(counts))
    if ordered is not None:
        why = f"{len(counts)} ranges or amounts, which have an order; the rarest is {share}"
        return is_("ordinal", why, classes=ordered)
    ordered = words_in_order(list(counts), graded=says_grade(name) is not None)
    if ordered is not None:
        why = f"{len(counts)} labels, and their words have an order; the rarest is {share}"
        return is_("ordinal", why, classes=ordered)
    separator = _separator([str(c) for c in known])
    if separator is not None:
        labels = Counter(
            part
            for c in known
            for part in {p.strip() for p in composed(str(c)).split(separator)}
            if part
        )
        why = f"cells list {len(labels)} labels"
        settings = {"separator": separator, "threshold": "tuned"}
        return Target(name, "multilabel", why, settings, missing, even, _rare(labels))
    if {Path(text).suffix.lower() for text in counts} <= {*PICTURE_SUFFIXES, *SOUND_SUFFIXES}:
        raise DataError(
            f"Column '{name}' can be no target by itself: its cells are files, such as "
            f"{next(iter(counts))}. Draft the others, then declare it under the source's `media` "
            "and add a task of `kind: segmentation`, `dense_regression`, `edges`, `normals` or "
            "`synthesis`."
        )
    if len(counts) > max(FEW, min(MANY, len(known) // 5)):
        if spoken:
            why = f"{len(counts)} different texts, to be read off the sounds letter by letter"
            letters = Counter(letter for text in map(label_text, known) for letter in set(text))
            return Target(name, "ctc", why, {}, missing, rare=_rare(letters))
        raise DataError(
            f"Column '{name}' has {len(counts)} different texts in {len(known)} rows, which are "
            "too many for classes. Name another column under --targets."
        )
    return is_("multiclass", f"{len(counts)} labels; the rarest is {share}", **weights)


def _of_numbers(name: str, known: Sequence[float], different: int) -> tuple[str, str]:
    """What more than two numbers are, and why.

    Few whole numbers may be codes as well as grades, which only words can say.
    """
    least, greatest = min(known), max(known)
    if different > FEW and are_codes(name, known):
        return "multiclass", f"{different} different numbers, which are codes by the column's name"
    if different > FEW or not all(c.is_integer() for c in known):
        return "regression", f"{different} different numbers"
    grade, amount = says_grade(name), says_amount(name)
    if grade is not None:
        return "ordinal", f"{different} whole numbers, and '{grade}' says that they have an order"
    if amount is not None:
        return "regression", f"{different} whole numbers, and '{amount}' says that they measure"
    if least == -greatest:
        return "ordinal", f"{different} whole numbers on both sides of zero, which have an order"
    return "multiclass", f"{different} whole numbers"


def _rare(counts: Mapping[str, int]) -> dict[str, int]:
    """The classes with few examples, the fewest first."""
    return {n: k for n, k in sorted(counts.items(), key=lambda pair: pair[1]) if k < RARE}


def _of_times(name: str, known: Sequence[Any], missing: int) -> Target | None:
    """Labels of frames, if every cell says when something is there: start, end and label."""
    try:
        cells = [read_intervals(cell) for cell in known]
    except ValueError:
        return None
    names = {interval.label for cell in cells for interval in cell}
    if not names or any(map(_number, names)):  # three numbers may be anything
        return None
    inside = sum(i.end - i.start for cell in cells for i in cell)
    whole = sum(max(i.end for i in cell) for cell in cells if cell)
    settings: dict[str, Any] = {"frame": FRAME}
    why = f"{len(names)} labels, each from a second to another"
    if inside < 0.95 * whole and "nothing" not in names:
        why += f"; between them, {1 - inside / whole:.0%} of the time, is nothing"
        settings["outside"] = "nothing"
    return Target(name, "tagging", why, settings, missing)


def _of_lists(name: str, known: Sequence[Any], missing: int) -> Target:
    """What a column of lists of labels is."""
    labels = Counter(
        composed(label)
        for cell in known
        for label in set(map(label_text, cell if is_list(cell) else [cell]))
    )
    if len(labels) < 2:
        raise DataError(
            f"Column '{name}' can be no target: its lists hold {', '.join(labels) or 'nothing'}."
        )
    why = f"lists of {len(labels)} labels; 'tagging' if there is one for each word"
    return Target(name, "multilabel", why, {"threshold": "tuned"}, missing, rare=_rare(labels))


def _tuned(rare: bool) -> dict[str, str]:
    return {"threshold": "tuned"} if rare else {}


def _number(cell: Any) -> bool:
    if isinstance(cell, (bool, np.bool_)):
        return False
    try:
        return bool(np.isfinite(float(cell)))
    except (TypeError, ValueError):
        return False


def _numbers_rows(name: str, known: Sequence[Any]) -> bool:
    """Whether cells are whole numbers of which each is one more than that before it.

    They begin with 0 or 1 and do not say when something was, unless their column's name is one for
    numbers of rows.
    """
    if not all(_number(c) and float(c).is_integer() for c in known):
        return False
    counts_up = bool((np.diff([float(c) for c in known]) == 1).all())
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
    read = pandas.to_datetime(pandas.Series(known, dtype=object), errors="coerce", format="mixed")
    return bool(read.notna().all())


def _order_doubt(name: str, known: Sequence[Any]) -> str:
    """That nothing says which number of dates is the day; empty where something does."""
    date = undecided(known)
    if date is None:
        return ""
    first = day_first(name, np.array(known, dtype=object), str)
    return told_order(name, date, day_first=first)


def _separator(texts: Sequence[str]) -> str | None:
    """What stands between the labels that cells list, if single labels recur in many lists."""
    for separator in ("|", ";", ","):
        lists = [[p.strip() for p in t.split(separator) if p.strip()] for t in texts]
        several = sum(len(parts) > 1 for parts in lists)
        labels = {p for parts in lists for p in parts}
        if several > 0.05 * len(texts) and len(labels) < 0.8 * len(set(texts)) + 2:
            return separator
    return None
