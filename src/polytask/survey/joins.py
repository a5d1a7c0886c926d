"""Which tables are joined for a draft, and why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.data.addresses import file_of
from polytask.data.delimited import open_bytes
from polytask.data.disguises import listed
from polytask.data.parquet import open_parquet
from polytask.data.places import by_part
from polytask.data.sources import Table
from polytask.data.table_rows import known_format
from polytask.data.words import is_list
from polytask.errors import DataError
from polytask.survey.codes import parts_by_value
from polytask.survey.guesses import media_kind
from polytask.survey.joinable import First, Other, join_lines, tables_below
from polytask.survey.lines import near, one_line, quoted
from polytask.survey.persons import guess_group
from polytask.survey.table_files import columns_in, in_parts, key_of_name, plain_names
from polytask.survey.whereabouts import Around

_SHOWN = 4  # columns of which a comment says the names


@dataclass(frozen=True)
class Pick:
    """A table that is joined.

    Attributes:
        other: The table.
        take: The columns that are taken.
        why: Why.
    """

    other: Other
    take: Sequence[str]
    why: str


def first_of(data: Path, targets: Sequence[str]) -> First | None:
    """The table that others are joined to, if no table of a folder has all targets but several
    together have.

    Of those to which the others can be joined it is that with most of the targets, or else most
    rows.

    Args:
        data: The folder.
        targets: What is to be predicted.

    Raises:
        DataError: If tables have all targets but no column of ids in common.
    """
    plain = plain_names(targets)
    if not plain or not data.is_dir():
        return None
    sets: dict[str, list[Path]] = {}
    for file in tables_below(data):
        sets.setdefault(key_of_name(file), []).append(file)
    columns = {key: columns_in(of[0]) for key, of in sets.items()}
    have = {key: len(plain & names) for key, names in columns.items()}
    if max(have.values(), default=0) in (0, len(plain)):
        return None
    some = [key for key, count in have.items() if count]
    for key in sorted(some, key=lambda key: (-have[key], -_rows(sets[key]))):
        try:
            first = First.read(in_parts(sets[key], None), None, data)
        except DataError:  # another may do, and if none does the table is read again
            continue
        named = {name for other in first.others for name in other.adds()}
        if plain <= {*first.table.columns, *named}:
            return first
    if plain <= {name for names in columns.values() for name in names}:
        where = [
            f"{name} in {next(sets[key][0].name for key in some if name in columns[key])}"
            for name in sorted(plain)
        ]
        raise DataError(
            f"The targets are in several tables ({listed(where)}), which cannot be joined: that "
            "takes a column of ids that both have under one name, each id once in the joined "
            "table, and a partner there for most rows. Name it alike in both, or write `join` "
            "yourself: `by: {here: there}`."
        )
    return None


def _rows(files: Sequence[Path]) -> int:
    """How many rows files have, about."""
    count = 0
    for file in files:
        if known_format(file) == "parquet":
            count += open_parquet(file).metadata.num_rows
            continue
        with open_bytes(file_of(file)) as opened:
            count += sum(1 for _ in opened)
    return count


def picked(
    first: First, targets: Sequence[str], whole: Mapping[str, str] | None = None
) -> list[Pick]:
    """The tables that are joined: for targets that the first lacks, for parts and persons that
    nothing in it tells. What else they have may be known too late to predict from.

    Args:
        first: The first table.
        targets: What is to be predicted.
        whole: Why tables are joined with all of their columns, by name.
    """
    if not first.others:
        return []
    lacking = plain_names(targets) - set(first.table.columns)
    own, picks, whole = set(first.table.columns), list[Pick](), whole or {}

    def pick(other: Other, columns: Collection[str], why: str) -> None:
        take = [c for c in other.adds() if c in columns and c not in own]
        own.update(take)
        picks.append(Pick(other, take, why))

    for other in first.others:
        targeted = [c for c in other.adds() if c in lacking - own]
        if other.name in whole and not own.issuperset(other.adds()):
            pick(other, other.adds(), whole[other.name])
        elif targeted:
            pick(other, targeted, f"it has {one_line(listed(targeted, _SHOWN))}")
    wanted = plain_names(targets)
    cells = _cells(first.table, wanted) | {
        c: p.other.cells(c) for p in picks for c in p.take if c not in wanted
    }
    rest = [o for o in first.others if all(o is not p.other for p in picks)]
    if first.table.fixed_split is not None or any(map(_parts, cells, cells.values())):
        return picks
    for other in rest:
        part = next((c for c in _new(other, own) if _parts(c, other.cells(c))), None)
        if part is not None:
            pick(other, [part], "it says which part a row is in")
            return picks
    for other in rest if guess_group(cells) is None else ():
        group = guess_group({c: other.cells(c) for c in _new(other, own) if c not in wanted})
        if group is not None:
            pick(other, [group], "it says whose row this is")
            break
    return picks


def _new(other: Other, own: Collection[str]) -> list[str]:
    """The plain columns of a table that are not there yet."""
    return [c for c in map(str, other.table.frame.columns) if c not in (*other.by.values(), *own)]


def _cells(table: Table, targets: Collection[str]) -> dict[str, list[Any]]:
    """The cells of all plain columns but targets."""
    names = [c for c in map(str, table.frame.columns) if c not in targets]
    return {c: table.cells([c])[:, 0].tolist() for c in names}


def _parts(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column names the part of every row; a blank is none."""
    return parts_by_value(name, cells) is not None


def lines_of(picks: Sequence[Pick], folder: Path) -> list[str]:
    """The lines of a configuration.

    Args:
        picks: What is joined.
        folder: Where the configuration lies.
    """
    lines = ["    join:"] if picks else []
    for pick in picks:
        paths = [near(file, folder) for file in pick.other.files]
        lines += join_lines(pick.other, pick.take, one_line(pick.why), paths)
    return lines


def notes_of(first: First, picks: Sequence[Pick], folder: Path) -> list[str]:
    """Comments that say what else could be joined.

    Args:
        first: The first table.
        picks: What is joined.
        folder: Where the configuration lies.
    """
    taken = {name: pick for pick in picks for name in [pick.other.name]}
    own = {*first.table.columns, *(c for pick in picks for c in pick.take)}
    notes = []
    if first.others and first.beside.unseen:
        notes.append(f"# {first.beside.unseen:,} more tables of the folder were not looked at.")
    for other in first.others:
        new = [c for c in other.adds() if c not in own]
        if not new:
            continue
        shown = one_line(listed(list(map(quoted, new)), _SHOWN))
        if other.name in taken:
            notes.append(f"# Of {one_line(other.name)} more may be taken: {shown}.")
            continue
        notes.append(f"# {one_line(other.name)} could be joined, {other.said}: it has {shown}.")
        paths = [near(file, folder) for file in other.files]
        settings = [
            line.strip("- ").partition("  # ")[0] for line in join_lines(other, new, "", paths)
        ]
        notes.append(f"#   join: [{{{', '.join(settings)}}}]")
    return notes


def with_files(first: First, picks: Sequence[Pick], data: Path | None) -> dict[str, str]:
    """Why tables are joined with all of their columns, by name: those that name files.

    Args:
        first: The first table.
        picks: What is joined without that.
        data: A folder that files are in, at any depth; None for those of the tables.
    """
    found = {}
    for other in first.others:
        new = _new(other, {*first.table.columns, *(c for pick in picks for c in pick.take)})
        name = next(iter(other.source.media), None) or _of_files(other, new, data)
        if name is not None:
            found[other.name] = f"it names files: {one_line(name)}"
    return found


def _of_files(other: Other, columns: Sequence[str], data: Path | None) -> str | None:
    """A column of a table that names files; None if none does."""
    folder = other.files[0].parent
    around, cells = Around(folder, data), _cells(other.table, ())
    for name in columns:
        known = [cell for cell in cells[name] if cell is not None]
        if known and not any(map(is_list, known)) and media_kind(known, folder) is not None:
            return name
        if around.find(name, cells[name], cells) is not None:
            return name
    return None


def told(first: First) -> set[Path]:
    """The files that comments or joins are about."""
    own = {file for _, file in by_part(first.files)}
    return own | {file for other in first.others for file in other.files}
