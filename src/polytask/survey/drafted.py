"""A configuration as text, of what was found out about a table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from polytask.data.dates import goes_on
from polytask.data.disguises import listed
from polytask.data.sources import Table
from polytask.data.splits import PARTS, part_named
from polytask.errors import DataError
from polytask.survey.guesses import Column, Target
from polytask.survey.lines import (
    cleaning,
    column_line,
    formula_input,
    left_out,
    network_lines,
    one_line,
    quoted,
    sentence_input,
    sentence_network,
    task_lines,
    text_input,
)
from polytask.survey.persons import GROUPS, guess_group
from polytask.tasks.labels import label_text

_PLAIN = ("number", "category", "date", "text", "characters")


@dataclass
class Drafted:
    """What is known about rows.

    Attributes:
        name: What they are called.
        what: How many of what they are.
        table: The rows.
        goals: What is predicted.
        columns: What the others are.
        source: The settings of the source, all but its split.
        media_input: The input that reads files, if any column has them.
        words: The column of lists of words whose labels are predicted, if there is one.
        group: The column whose values should not be in two parts, if one is.
        folds: Whether that column numbers folds.
        parts: Parts that the files are divided into.
        notes: What else should be said.
    """

    name: str
    what: str
    table: Table
    goals: Sequence[Target]
    columns: Sequence[Column]
    source: Sequence[str]
    media_input: Sequence[str] = ()
    words: str | None = None
    group: str | None = None
    folds: bool = False
    parts: Collection[str] = ()
    notes: list[str] = field(default_factory=list)


def written(found: Drafted) -> str:
    """The text.

    Raises:
        DataError: If nothing is left to predict from.
    """
    inputs = _input_lines(found)
    quick = any(line == "    kind: table" for line in inputs)
    network = network_lines(len(found.table), found.goals, quick=quick)
    lines = [
        f"# Drafted from {found.name}: {found.what}. Look it over, then: polytask check",
        *_duplicates(found.table),
        *found.notes,
        "sources:",
        "  data:",
        *found.source,
        *_split_lines(found),
        "inputs:",
        *inputs,
        "tasks:",
        *task_lines(found.goals),
        *(sentence_network() if found.words else network),
    ]
    return "\n".join(lines)


def readable(found: Drafted) -> bool:
    """Whether any column is left to predict from.

    Args:
        found: What is known.
    """
    kinds = (*_PLAIN, "image", "sound")
    return found.words is not None or any(
        c.kind in kinds and c.name != found.group for c in found.columns
    )


def _stratified(goals: Sequence[Target]) -> str:
    """A split at random, even in the classes of the first target that allows it."""
    goal = next((g for g in goals if g.even), None)
    by = f", stratify: {quoted(goal.name)}" if goal is not None else ""
    return f"{{test: 0.15, validation: 0.15{by}}}"


def _input_lines(found: Drafted) -> list[str]:
    """The input, with what is left out, for a task reads one."""
    if found.words is not None:
        rest = [c for c in found.columns if c.name != found.words]
        lines = left_out([c for c in rest if c.kind != "left out"], "words")
        lines += _without(rest)
        return [*lines, *sentence_input(found.words)]
    media = [c for c in found.columns if c.kind in ("image", "sound")]
    plain = [c for c in found.columns if c.kind in _PLAIN and c.name != found.group]
    formula = next((c.name for c in plain if c.kind == "characters"), None)
    lines = []
    if media:
        lines += left_out(plain, "a file")
        lines += [f"  # So is {one_line(c.name)}, another file." for c in media[1:]]
    elif formula is not None:
        lines += left_out([c for c in plain if c.name != formula], "formulas")
    lines += _without([c for c in found.columns if c.name != found.group])
    if found.group and found.group not in [c.name for c in media]:
        why = "which fold this row is in" if found.folds else "whose row this is"
        lines.append(f"  # {one_line(found.group)} is left out: it says {why}.")
    if media:
        return [*lines, *found.media_input]
    if not plain:
        whys = [f"{c.name} ({c.why})" for c in found.columns if c.kind == "left out"]
        raise DataError(
            f"{found.name} has no column to predict from: all are targets"
            + (f", or left out: {listed(whys, 4)}." if whys else ".")
        )
    if formula is not None:
        return [*lines, *formula_input(formula)]
    if [c.kind for c in plain] == ["text"]:
        return [*lines, f"  # {plain[0].why}", *text_input(plain[0].name)]
    row = ["  row:", "    kind: table", "    columns:", *map(column_line, plain)]
    return [*lines, *row, *cleaning(plain)]


def _without(columns: Sequence[Column]) -> list[str]:
    """A comment for each column that nothing can read."""
    return [
        f"  # {one_line(c.name)} is left out: {c.why}." for c in columns if c.kind == "left out"
    ]


def _split_lines(found: Drafted) -> list[str]:
    """How rows are divided, with a warning where one person's rows are in several parts."""
    column = next((c for c in found.columns if c.kind == "split"), None)
    if column is not None and not (apart := _apart(found, column)):
        return _column_lines(found, column)
    if column is not None:
        return [
            f"    # {one_line(column.name)} names parts and is not used: most labels of",
            f"    # {one_line(apart)} in other parts are in no training row, and are not learned",
            *_split_lines(replace(found, columns=[c for c in found.columns if c is not column])),
        ]
    if found.parts:
        return _fixed_lines(found)
    if found.group is None:
        return [*_predicted(found), *_in_time(found), f"    split: {_stratified(found.goals)}"]
    count, who = _count(found, found.group), one_line(found.group)
    if count < GROUPS and not found.folds:
        return [
            f"    # there are only {count} different {who}: rows of each are in all parts, which "
            "flatters",
            f"    split: {_stratified(found.goals)}",
        ]
    why = "as who made the folds keeps what is alike together" if found.folds else ""
    return [
        f"    # all rows of one {who} are in one part, {why or 'so that scores tell of new ones'}",
        f"    split: {{test: 0.15, validation: 0.15, group: {quoted(found.group)}}}",
    ]


def _column_lines(found: Drafted, column: Column) -> list[str]:
    """The split that a column names."""
    how = f"column: {quoted(column.name)}"
    if any(value != part and part_named(value) is None for value, part in column.parts.items()):
        pairs = {part: value for value, part in column.parts.items()}
        how += ", parts: {" + ", ".join(f"{p}: {quoted(v)}" for p, v in pairs.items()) + "}"
    lines = [f"    split: {{{how}}}  # {one_line(column.why)}"]
    if found.group is None or found.folds:
        return lines
    cells = found.table.cells([found.group, column.name])
    whole = len({tuple(map(str, pair)) for pair in cells.tolist()}) == _count(found, found.group)
    who = one_line(found.group)
    told = "are in one part" if whole else "are in several parts, which flatters"
    return [f"    # rows of one {who} {told}", *lines]


def words_for_blank(found: Drafted) -> list[str]:
    """A comment on words in cells of targets that are taken as blank.

    Args:
        found: What is known.
    """
    told = [found.table.taken_as_blank(goal.name) for goal in found.goals]
    return [f"# {' '.join(said.split())}." for said in told if said]


def _apart(found: Drafted, column: Column) -> str:
    """A target most of whose labels only rows of other parts than training have; else empty."""
    parts = [column.parts.get(label_text(cell)) for cell in found.table.cells([column.name])[:, 0]]
    for goal in found.goals:
        if goal.kind != "multiclass":
            continue
        seen: dict[str, set[str | None]] = {}
        for cell, part in zip(found.table.cells([goal.name])[:, 0], parts, strict=True):
            if cell is not None:
                seen.setdefault(label_text(cell), set()).add(part)
        held = [of for of in seen.values() if of != {"train"}]
        if 2 * sum("train" not in of for of in held) > len(held):
            return goal.name
    return ""


def _in_time(found: Drafted) -> list[str]:
    """A warning where rows go on in time, so that a split at random flatters."""
    for column in (c.name for c in found.columns if c.kind == "date" and not c.missing):
        cells = found.table.cells([column])[:, 0].tolist()
        if len(set(map(str, cells))) > GROUPS and goes_on(cells):
            return [
                f"    # rows go on in time ({one_line(column)}): parts drawn at random are of all "
                "times, which flatters;",
                "    # to know how later rows do, name parts in a column, and here: {column: ...}",
            ]
    return []


def _predicted(found: Drafted) -> list[str]:
    """A warning where it is predicted whose a row is, and something else as well."""
    cells = {g.name: found.table.cells([g.name])[:, 0].tolist() for g in found.goals}
    who = guess_group(cells) if len(cells) > 1 else None
    if who is None:
        return []
    return [
        f"    # {one_line(who)} is predicted, so that rows of each are in all parts: for the other "
        "targets",
        f"    # that flatters; to know how they do with new ones, leave {one_line(who)} out of "
        "--targets",
    ]


def _fixed_lines(found: Drafted) -> list[str]:
    """The split that files have, with what they lack drawn from the training rows."""
    lacking = [part for part in PARTS if part not in found.parts]
    how = "fixed: true" + "".join(f", {part}: 0.15" for part in lacking)
    why = "files are parts" + (f"; {' and '.join(lacking)} drawn" if lacking else "")
    if found.group is None:
        even = next((g.name for g in found.goals if g.even), None) if lacking else None
        how += f", stratify: {quoted(even)}" if even is not None else ""
        return [f"    split: {{{how}}}  # {why}"]
    who, parts = one_line(found.group), found.table.fixed_split
    assert parts is not None
    groups = map(str, found.table.cells([found.group])[:, 0])
    if len(set(zip(groups, parts, strict=True))) > _count(found, found.group):
        lines = [f"    # rows of one {who} are in several parts, which flatters"]
    elif lacking and _count(found, found.group) >= GROUPS:
        how += f", group: {quoted(found.group)}"
        lines = [f"    # all rows of one {who} are in one part"]
    else:
        lines = []
    return [*lines, f"    split: {{{how}}}  # {why}"]


def _count(found: Drafted, column: str) -> int:
    return len(set(map(str, found.table.cells([column])[:, 0])))


def _duplicates(table: Table) -> list[str]:
    """A warning about rows that are there more than once."""
    twice = 0 if table.media else int(table.frame.astype(str).duplicated().sum())
    if not twice:
        return []
    return [f"# {twice:,} rows are there more than once, and may be in training and test both."]
