"""A configuration written for somebody's data, with the reasons in comments."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from polytask.data.arff import ArffFile
from polytask.data.files import list_media
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.tables import TableFile
from polytask.errors import DataError
from polytask.survey.drafted import Drafted, readable, words_for_blank, written
from polytask.survey.folders import draft_folders
from polytask.survey.guesses import Column, Target, guess_column
from polytask.survey.joinable import First
from polytask.survey.joins import Pick, first_of, lines_of, notes_of, picked, told, with_files
from polytask.survey.lines import near, one_line, quoted
from polytask.survey.persons import REPEATED, guess_folds, guess_group
from polytask.survey.pixel_maps import draft_maps
from polytask.survey.sameness import gives_away, one_of, same_as, sums, with_parents
from polytask.survey.samples import picture_input, sound_input
from polytask.survey.table_files import not_taken, other_parts, table_files, without_labels
from polytask.survey.targets import chosen, words_of_labels, written_about
from polytask.survey.transcribed import draft_transcribed, transcribed
from polytask.survey.whereabouts import Around
from polytask.tasks.labels import label_text

_PLAIN = ("number", "category", "date", "text")  # kinds of columns
_SHOWN = 4  # columns of which a comment says the names


def draft(
    data: Path, targets: Sequence[str], output: Path, names: Sequence[str] | None = None
) -> str:
    """The text of a configuration.

    Args:
        data: A table, a folder with the files of one, or a folder of pictures or sounds.
        targets: The columns to predict, as `chosen` reads them; for class folders the label if
            empty.
        output: Where the text will be written; paths in it start there.
        names: The names of all columns, where the first line of the table is a row; for pictures
            or sounds of what the parts of their files' names say.

    Raises:
        DataError: If the data cannot be read, or a target is none.
    """
    beside = transcribed(data, targets, names or ())
    if beside is not None and beside.cells == 2:
        return written(draft_transcribed(data, output.parent, targets, names or (), beside))
    first = None
    if beside is not None and not names:  # a table, mostly without a header
        files: PathOrParts = beside.files[0] if len(beside.files) == 1 else list(beside.files)
        header = beside.header()
        names = beside.names if header is None else None
        targets = targets or [(header or beside.names)[1]]
    elif names or (first := first_of(data, targets)) is None:
        files = table_files(data, targets, names)
    if first is None:
        if not files:
            maps = None if names else draft_maps(data, near(data, output.parent), targets)
            if maps is not None:
                return maps
            return written(draft_folders(data, near(data, output.parent), targets, names or ()))
        first = First.read(files, names, data)
    picks, found = _drafted(first, targets, output.parent, data if data.is_dir() else None)
    found.notes += notes_of(first, picks, output.parent) + words_for_blank(found)
    found.notes += [
        f"# {one_line(f.name)} is left out: {one_line(why)}."
        for f, why in not_taken(data, first.files, told(first))
    ]
    if data.is_dir() and not any(c.kind in ("image", "sound") for c in found.columns):
        found.notes += _unnamed_files(data)
    later = without_labels(first.files, {goal.name for goal in found.goals})
    others = [one_line(f.name) for f in other_parts(data) if later is None or f != later[0]]
    if others:
        found.notes.append(
            f"# {', '.join(others)} beside it: to take parts as files have them, name the folder."
        )
    return written(found)


def _unnamed_files(data: Path) -> list[str]:
    """A comment on pictures and sounds of a folder that no column names."""
    return [
        f"# No column names any of the {len(files):,} {kind}s of the folder, such as "
        f"{one_line(files[0].relative_to(data).as_posix())}: name their folder, or write their "
        "paths into the table."
        for kind, files in (
            ("picture", list_media(data)["image"]),
            ("sound", list_media(data)["sound"]),
        )
        if files
    ]


def _drafted(
    first: First, targets: Sequence[str], output: Path, data: Path | None
) -> tuple[list[Pick], Drafted]:
    """What is joined to a table and what is known then: more, if what is needed has no files or
    nothing to predict from."""
    picks = picked(first, targets)
    try:
        found = _of_table(first, picks, targets, output, data)
    except DataError:
        if not first.others:
            raise
        found = None  # files may be named elsewhere; with everything joined the error is the same
    if found and (not first.others or any(c.kind in ("image", "sound") for c in found.columns)):
        return picks, found
    whole = with_files(first, picks, data)
    if not whole:
        if found and readable(found):
            return picks, found
        whole = dict.fromkeys((other.name for other in first.others), "to predict from")
    picks = picked(first, targets, whole)
    return picks, _of_table(first, picks, targets, output, data)


def _of_table(
    first: First,
    picks: Sequence[Pick],
    targets: Sequence[str],
    output: Path,
    data: Path | None,
) -> Drafted:
    """What is known about a table, whose files may be anywhere in a folder, and what is joined."""
    source, table = _joined(first, picks)
    homes = {c: pick.other.files[0].parent for pick in picks for c in pick.take}
    keys = {c: of.name for of in first.others for c in of.by if len(of.by) == 1 and of.one_to_one}
    keys |= {c: pick.other.name for pick in picks for c in pick.other.by}
    cells = {name: table.cells([name])[:, 0].tolist() for name in table.frame.columns}
    goals, notes = chosen(targets, table, cells, spoken=True)
    words, goals = words_of_labels(goals, cells, table.describe)
    others = {n: c for n, c in cells.items() if n not in {*notes, *(g.name for g in goals)}}
    path = by_part(first.files)[0][1]
    columns = [
        Column(n, "sound" if m.kind == "sound" else "image", "its cells are encoded")
        for n, m in table.media.items()
    ]
    group = guess_group(others)
    if group is not None and _numbers_parts(table, others[group]):
        why = "every row of a part has another one: it names the row"
        columns.append(Column(group, "left out", why))
        del others[group]
        group = guess_group(others)
    folds = guess_folds(others) if group is None else None
    columns += [_guessed(n, c, homes.get(n, path.parent), goals, cells) for n, c in others.items()]
    if isinstance(source, TableFile) and not any(c.kind in ("image", "sound") for c in columns):
        around = {folder: Around(folder, data) for folder in {path.parent, *homes.values()}}
        told = {n: c for n, c in cells.items() if n in others}  # new rows have no labels in paths
        columns = [
            _elsewhere(c, source, around[homes.get(c.name, path.parent)], told) for c in columns
        ]
    columns = [_named_once(c, columns, cells) for c in columns]
    columns = [_without_key(c, keys) for c in columns]
    columns = [*_known_later(columns, first, goals)]
    sides = sums(columns, goals, cells)
    columns = [_without_sum(c, sides) for c in columns]
    media = {c.name: c.kind for c in columns if c.kind in ("image", "sound")}
    if isinstance(source, TableFile):
        source.media |= {n: "sound" if k == "sound" else "image" for n, k in media.items()}
        source.places = {n: places for n, places in source.places.items() if n in media}
    if "image" in media.values() and "sound" not in media.values():
        goals = [written_about(g) if g.kind == "ctc" else g for g in goals]
    goals = with_parents(goals, cells)
    if group is None and folds is None:
        group = next((n for n in media if _recurs(cells.get(n, ()))), None)
    declared = "".join(f", {quoted(n)}: {k}" for n, k in media.items())[2:]
    return Drafted(
        name=path.name,
        what=f"{len(table):,} rows",
        table=table,
        goals=goals,
        columns=columns,
        source=[
            "    kind: arff" if isinstance(source, ArffFile) else "    kind: table",
            *_path_lines(first.files, output),
            *first.settings,
            *lines_of(picks, output),
            *([f"    media: {{{declared}}}"] if media else []),
            *_place_lines(source, columns),
        ],
        media_input=_media_input(source, table, media, goals) if words is None else (),
        words=words,
        group=group or folds,
        folds=folds is not None,
        parts=list(first.files) if isinstance(first.files, Mapping) else (),
        notes=[f"# {one_line(n)} is left out: {why}" for n, why in notes.items()]
        + _sum_lines(sides, goals, media)
        + _one_lines(one_of(goals, cells)),
    )


def _joined(first: First, picks: Sequence[Pick]) -> tuple[TableFile | ArffFile, Table]:
    """The source and the rows of a table with what is joined to it."""
    source = copy(first.source)
    if isinstance(source, ArffFile):
        return source, first.table
    source.places = {}
    source.media = dict(source.media)
    source.join = [pick.other.join(pick.take) for pick in picks]
    for pick in picks:
        source.media |= {c: k for c, k in pick.other.source.media.items() if c in pick.take}
    return source, source.load() if picks else first.table


def _without_key(column: Column, keys: Mapping[str, str]) -> Column:
    """A column, left out if a table is joined by it: ids tell rows apart."""
    if column.name not in keys or column.kind in ("image", "sound", "left out"):
        return column
    return Column(column.name, "left out", f"rows of {one_line(keys[column.name])} are found by it")


def _known_later(
    columns: Sequence[Column], first: First, goals: Sequence[Target]
) -> Iterator[Column]:
    """Columns, left out if rows that are only to be predicted lack them, as they lack labels."""
    found = without_labels(first.files, {goal.name for goal in goals})
    own = set(first.table.columns)
    for column in columns:
        if found and column.name in own - found[1] and column.kind != "left out":
            why = f"{one_line(found[0].name)}, which is without labels, lacks it"
            column = Column(column.name, "left out", why)
        yield column


def _named_once(
    column: Column, columns: Sequence[Column], cells: Mapping[str, Sequence[Any]]
) -> Column:
    """A column, left out if an earlier one names the same files, with or without their endings."""
    if column.kind not in ("image", "sound") or column.name not in cells:
        return column
    mine = [_plain_name(cell) for cell in cells[column.name]]
    for earlier in columns[: columns.index(column)]:
        named = earlier.kind == column.kind and earlier.name in cells
        if named and [_plain_name(cell) for cell in cells[earlier.name]] == mine:
            why = f"it names the files that {one_line(earlier.name)} names"
            return Column(column.name, "left out", why)
    return column


def _plain_name(cell: Any) -> str:
    """The path of a file without ending and zeros in front: `left/1.png` is not `right/1.png`."""
    path = Path("" if cell is None else label_text(cell))
    return (path.with_suffix("") if path.name else path).as_posix().lstrip("0")


def _recurs(cells: Sequence[Any]) -> bool:
    """Whether several rows have one file, but for a few."""
    known = [cell for cell in cells if cell is not None]
    return 0 < len(known) == len(cells) and len(set(map(str, known))) <= REPEATED * len(known)


def _guessed(
    name: str,
    column: Sequence[Any],
    folder: Path,
    goals: Sequence[Target],
    cells: Mapping[str, Sequence[Any]],
) -> Column:
    """What a column is; one that has a target's labels under other names is left out."""
    found = guess_column(name, column, folder)
    same = same_as(column, goals, cells) if found.kind in ("number", "category") else None
    if same is not None:
        return Column(name, "left out", f"it is {same} in other words", found.missing)
    told = gives_away(column, goals, cells) if found.kind in _PLAIN else None
    return found if told is None else Column(name, "left out", one_line(told), found.missing)


def _without_sum(column: Column, sides: Mapping[str, Sequence[str]]) -> Column:
    """A column, left out if targets add up to it."""
    if column.name not in sides:
        return column
    why = f"{' and '.join(sides[column.name][:_SHOWN])} add up to it"
    return Column(column.name, "left out", why)


def _sum_lines(
    sides: Mapping[str, Sequence[str]], goals: Sequence[Target], media: Mapping[str, str]
) -> list[str]:
    """Warnings of targets that columns of numbers add up to."""
    names = {goal.name for goal in goals}
    return [
        f"# {one_line(goal)} follows exactly from {one_line(', '.join(of[:_SHOWN]))}: leave out "
        "what is not known before."
        for goal, of in sides.items()
        if goal in names and not media
    ]


def _one_lines(names: Sequence[str]) -> list[str]:
    """That targets are classes of one label."""
    if not names:
        return []
    shown = one_line(", ".join(names))
    return [
        f"# In every row exactly one is 1 of {shown}.",
        "# As a column that names it, that is one label, and one task of kind multiclass.",
    ]


def _elsewhere(
    column: Column, source: TableFile, around: Around, cells: Mapping[str, Sequence[Any]]
) -> Column:
    """A column, or that it names files, which are then declared."""
    found = around.find(column.name, cells[column.name], cells) if column.name in cells else None
    if found is None:
        return column
    source.places[column.name] = list(found.places)
    lacking = f"{found.lacking} of {found.looked} looked at are not there: `on_bad: skip` at the "
    lacking += "top leaves rows without a file out"
    why = f"it names files, such as {found.places[0]}"
    return Column(column.name, found.kind, why, column.missing, lacking if found.lacking else "")


def _place_lines(source: TableFile | ArffFile, columns: Sequence[Column]) -> list[str]:
    """Where files are that cells only name."""
    if isinstance(source, ArffFile) or not source.places:
        return []
    return [
        "    places:  # of the files, from the table's folder on",
        *(
            f"      {quoted(column)}: "
            + (quoted(of[0]) if len(of) == 1 else f"[{', '.join(map(quoted, of))}]")
            + next((f"  # {c.doubt}" for c in columns if c.name == column and c.doubt), "")
            for column, of in source.places.items()
        ),
    ]


def _numbers_parts(table: Table, cells: Sequence[Any]) -> bool:
    """Whether all rows of each part have different cells, as where each part is counted anew."""
    parts = table.fixed_split
    return parts is not None and len(set(zip(parts, map(str, cells), strict=True))) == len(cells)


def _media_input(
    source: TableFile | ArffFile,
    table: Table,
    media: Mapping[str, str],
    goals: Sequence[Target],
) -> list[str]:
    """An input of the first column of pictures or sounds, which cells may name by their paths.

    Raises:
        DataError: If labels have times and there is no sound.
    """
    heard = next((goal for goal in goals if goal.heard), None)
    if heard is not None:
        media = {name: kind for name, kind in media.items() if kind == "sound"}
        if not media:
            raise DataError(
                f"Column '{heard.name}' {_heard(heard)}, and no other column has sounds (or the "
                "paths of some)"
                + (". " if heard.timed else ", or pictures. ")
                + "Name another column under --targets."
            )
    column, kind = next(iter(media.items()), ("", ""))
    if not kind:
        return []
    if column not in table.media and isinstance(source, TableFile):
        table = source.load()
    if kind == "sound":
        return sound_input(table.media[column], column, heard=heard)
    written = any(goal.kind == "generation" for goal in goals)
    return picture_input(table.media[column], column, written=written)


def _heard(goal: Target) -> str:
    if goal.timed:
        return "says when something is heard"
    return f"has {goal.why.partition(',')[0]}, which are too many for classes"


def _path_lines(files: PathOrParts, folder: Path) -> list[str]:
    """The files, relative to a folder."""

    def shown(some: Path | list[Path]) -> str:
        if isinstance(some, list):
            return f"[{', '.join(quoted(near(f, folder)) for f in some)}]"
        return quoted(near(some, folder))

    if isinstance(files, Mapping):
        return ["    path:", *(f"      {part}: {shown(some)}" for part, some in files.items())]
    return [f"    path: {shown(files)}"]
