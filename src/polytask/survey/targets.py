"""Which columns are to be predicted, as people write them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from polytask.data.sources import Table
from polytask.data.words import is_list
from polytask.errors import DataError, nearest
from polytask.survey.guesses import Target, is_number
from polytask.survey.target_guesses import guess_target
from polytask.tasks.labels import label_text

ENOUGH = 20  # labels below which a column that only a pattern names is no target


def chosen(
    targets: Sequence[str],
    table: Table,
    cells: Mapping[str, Sequence[Any]],
    *,
    spoken: bool = False,
) -> tuple[list[Target], dict[str, str]]:
    """The targets, and why columns that a pattern names are none.

    Args:
        targets: Names; a `*` in one stands for any letters, `first..last` for two columns and
            those between them, and a `-` before one takes columns out that others named.
        table: The rows.
        cells: Its cells by column.
        spoken: Whether many texts may be what is said in sounds, if they are named in full.

    Raises:
        DataError: If nothing is named, a name stands for no column, or one that is named in full
            cannot be a target.
    """
    if not targets:
        raise DataError(
            f"Name the columns to predict under --targets, of: {', '.join(table.columns[:30])}. "
            "A * stands for any letters, as in 'assay_*', and .. for the columns between two, as "
            "in 'assay_1..assay_9'; a column with - before it is left out, as in '*,-id'."
        )
    names: dict[str, bool] = {}  # and whether a pattern names it
    for text in targets:
        for name in _matching(text, table):
            if text.startswith("-") and text not in table.columns:
                names.pop(name, None)
            else:
                names[name] = names.get(name, True) and name != text
    goals, without = [], {}
    for name, patterned in names.items():
        if name in table.media:
            if patterned:
                continue
            raise DataError(f"Column '{name}' holds {table.media[name].kind}s: it is no target.")
        try:
            goal = guess_target(name, cells[name], spoken=spoken and not patterned)
        except DataError as error:
            if not patterned:
                raise
            without[name] = str(error).removeprefix(f"Column '{name}' can be no target: ")
            continue
        known = len(table) - goal.missing
        if patterned and known < ENOUGH:
            without[name] = f"it has {known} labels."
        else:
            goals.append(goal)
    goals = _alike(goals, cells)
    if not goals:
        why = next(iter(without.values()), "All columns are taken out.")
        raise DataError(f"No column under --targets can be predicted. {why}")
    return goals, without


def _alike(goals: Sequence[Target], cells: Mapping[str, Sequence[Any]]) -> list[Target]:
    """Targets, of which one of numbers is measured if another of its name is: G1 as G2."""
    stems = {_stem(goal): goal.name for goal in goals if goal.kind == "regression"}
    return [
        Target(goal.name, "regression", f"numbers, as {stems[_stem(goal)]} has", {}, goal.missing)
        if goal.kind == "multiclass"
        and _stem(goal) in stems
        and all(is_number(cell) for cell in cells[goal.name] if cell is not None)
        else goal
        for goal in goals
    ]


def _stem(goal: Target) -> str:
    """The name of a target without numbers."""
    return re.sub(r"\d+", "", goal.name)


def _matching(text: str, table: Table) -> list[str]:
    """The columns that a name stands for.

    Raises:
        DataError: If there is none.
    """
    if text in table.columns:
        return [text]
    name = text.removeprefix("-")
    first, dots, last = name.partition("..")
    if dots and first in table.columns and last in table.columns:
        begin, end = sorted(map(table.columns.index, (first, last)))
        return list(table.columns[begin : end + 1])
    pattern = ".*".join(map(re.escape, name.split("*")))
    found = [c for c in table.columns if re.fullmatch(pattern, c)]
    if not found:
        named = [first, last] if first and last else [name]
        lacking = next(n for n in named if n not in table.columns)
        raise DataError(
            f"{table.name} has no column '{lacking}' to predict. {nearest(lacking, table.columns)}"
            f"{table.doubt()}"
        )
    return found


def written_about(goal: Target) -> Target:
    """A target of texts that are written about pictures, as none are heard.

    Args:
        goal: One of texts that are too many for classes.
    """
    count = goal.why.partition(",")[0]
    return replace(goal, kind="generation", why=f"{count}, to be written about the pictures")


def words_of_labels(
    goals: Sequence[Target],
    cells: Mapping[str, Sequence[Any]],
    describe: Callable[[int], str] = str,
) -> tuple[str | None, list[Target]]:
    """The column whose words labels are of, and the targets, of which some are such labels.

    It holds lists of texts, and some target lists as many labels in every row.

    Args:
        goals: The targets.
        cells: The cells of all columns.
        describe: Names a row.

    Raises:
        DataError: If a few rows have another number of labels than of words.
    """
    names = {goal.name for goal in goals}
    for column in (name for name in cells if name not in names):
        known = [cell for cell in cells[column] if cell is not None]
        if not known or not all(is_list(c) and all(isinstance(w, str) for w in c) for c in known):
            continue
        for goal in goals:
            _require_as_many(goal, column, cells, describe)
        found = [_of_words(goal, cells[goal.name], cells[column]) for goal in goals]
        if any(goal.kind == "tagging" and not goal.timed for goal in found):
            return column, found
    return None, list(goals)


def _require_as_many(
    goal: Target, column: str, cells: Mapping[str, Sequence[Any]], describe: Callable[[int], str]
) -> None:
    """Make sure that labels are of words in all rows, if they are in nearly all.

    Raises:
        DataError: For the first row in which they are not.
    """
    both = [
        (row, len(labels), len(words))
        for row, (labels, words) in enumerate(zip(cells[goal.name], cells[column], strict=True))
        if is_list(labels) and is_list(words)
    ]
    wrong = [found for found in both if found[1] != found[2]]
    # Lists of labels that are not of words have other lengths, and mostly shorter ones.
    if wrong and len(wrong) <= 0.1 * len(both) and max(count for _, _, count in both) > 1:
        row, labels, words = wrong[0]
        raise DataError(
            f"{describe(row)}: column '{goal.name}' has a label for each word of '{column}' in "
            f"nearly all rows. Found {labels} labels for {words} words. Correct the row."
        )


def _of_words(goal: Target, labels: Sequence[Any], words: Sequence[Any]) -> Target:
    """A target as labels of words, if each word has one."""
    both = [(a, b) for a, b in zip(labels, words, strict=True) if a is not None and b is not None]
    if not both or not all(is_list(a) and len(a) == len(b) for a, b in both):
        return goal
    if all(len(b) < 2 for _, b in both):
        return goal
    counts = Counter(label_text(label) for a, _ in both for label in a if label is not None)
    rare = min(counts, key=lambda label: counts[label])
    why = f"{len(counts)} labels, one for each word; the rarest is {rare} "
    why += f"{counts[rare] / counts.total():.2%}"
    return Target(goal.name, "tagging", why, {"dropout": 0.3}, goal.missing)
