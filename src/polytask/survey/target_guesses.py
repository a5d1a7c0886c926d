"""What columns of labels probably are, with the reasons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.data.words import is_list
from polytask.errors import DataError
from polytask.survey.codes import are_codes
from polytask.survey.guesses import FEW, FRAME, MANY, RARE, Target, is_number
from polytask.survey.notations import with_thousands, with_units
from polytask.survey.orders import ranges_in_order, says_amount, says_grade
from polytask.survey.scales import words_in_order
from polytask.tasks.intervals import read_intervals
from polytask.tasks.labels import composed, label_counts, label_text, truth_names


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
    several = next((c for c in known if isinstance(c, dict)), None)
    if several is not None:
        raise DataError(
            f"Column '{name}' can be no target: its cells are objects of several values, such as "
            f"{str(several)[:60]}. Write the value that is to be predicted under a key of its own, "
            "beside the others of its row."
        )
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
    if all(is_number(c) for c in known):
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
    measured = with_units(known) if len(counts) > FEW else None
    if measured is not None:
        raise DataError(
            f"Column '{name}' can be no target: numbers such as '{measured}' have something beside "
            "them. Write plain numbers, and the unit in the column's name."
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
        if set(known) == {-1.0, 0.0, 1.0}:
            return "ordinal", "-1, 0 and 1 have an order; list -1 under `missing` if it is unknown"
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
    if not names or any(map(is_number, names)):  # three numbers may be anything
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


def _separator(texts: Sequence[str]) -> str | None:
    """What stands between the labels that cells list, if single labels recur in many lists."""
    for separator in ("|", ";", ","):
        lists = [[p.strip() for p in t.split(separator) if p.strip()] for t in texts]
        several = sum(len(parts) > 1 for parts in lists)
        labels = {p for parts in lists for p in parts}
        if several > 0.05 * len(texts) and len(labels) < 0.8 * len(set(texts)) + 2:
            return separator
    return None
