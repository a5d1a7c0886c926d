"""A configuration written for somebody's data, with the reasons in comments."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polytask.data.class_folders import ClassFolders
from polytask.data.media import ParquetMedia
from polytask.data.parquet import nested
from polytask.data.places import PathOrParts, by_part
from polytask.data.sources import Table
from polytask.data.splits import PARTS
from polytask.data.tables import TableFile, format_of
from polytask.errors import DataError
from polytask.survey.guesses import GROUPS, Column, Target, guess_column, guess_group, guess_target
from polytask.survey.lines import (
    cleaning,
    column_line,
    formula_input,
    left_out,
    media_input,
    network_lines,
    one_line,
    quoted,
    task_lines,
    text_input,
)
from polytask.survey.table_files import table_files
from polytask.survey.targets import chosen


@dataclass
class _Drafted:
    """What is known about a table.

    Attributes:
        files: Where it is.
        output: The folder of the configuration.
        table: Its rows.
        goals: What is predicted.
        columns: What the others are.
        group: The column whose values should not be in two parts, if one is.
        reading: Settings of the source that say how it is read, and why.
        notes: What else should be said.
    """

    files: PathOrParts
    output: Path
    table: Table
    goals: Sequence[Target]
    columns: Sequence[Column]
    group: str | None = None
    reading: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)


def draft(
    data: Path, targets: Sequence[str], output: Path, names: Sequence[str] | None = None
) -> str:
    """The text of a configuration.

    Args:
        data: A table, a folder with the files of one, or a folder of class folders.
        targets: The columns to predict, as `chosen` reads them; for class folders the label if
            empty.
        output: Where the text will be written; paths in it start there.
        names: The names of all columns, where the first line of the table is a row.

    Raises:
        DataError: If the data cannot be read, or a target is none.
    """
    files = table_files(data, targets)
    if not files:
        return _of_folders(data, Path(_near(data, output.parent)), targets)
    table, reading = _loaded(files, names)
    cells = {name: table.cells([name])[:, 0].tolist() for name in table.frame.columns}
    goals, notes = chosen(targets, table, cells)
    others = {n: c for n, c in cells.items() if n not in {*notes, *(g.name for g in goals)}}
    columns = [
        Column(n, "sound" if m.kind == "sound" else "image", "its cells are encoded")
        for n, m in table.media.items()
    ]
    folder = by_part(files)[0][1].parent
    columns += [guess_column(n, c, folder) for n, c in others.items()]
    group = guess_group(others)
    said = [f"# {one_line(n)} is left out: {why}" for n, why in notes.items()]
    return _of_table(_Drafted(files, output.parent, table, goals, columns, group, reading, said))


def _loaded(files: PathOrParts, names: Sequence[str] | None) -> tuple[Table, list[str]]:
    """A table, and the settings of its source that say how it is read.

    Where tabs divide, quotes are letters if the table cannot be read otherwise.
    """
    first = by_part(files)[0][1]
    columns = list(names) if names else None
    reading = [f"    columns: [{', '.join(map(quoted, names))}]"] if names else []
    media = encoded_media(first)
    try:
        return TableFile(path=files, media=media, columns=columns).load(), reading
    except DataError:
        if format_of(first) != "tsv":
            raise
        try:
            table = TableFile(path=files, columns=columns, quotes=False).load()
        except DataError:
            table = None
        if table is None:
            raise
    return table, [*reading, "    quotes: false  # quotes that nothing closes are letters"]


def _near(path: Path, folder: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())


def _of_folders(data: Path, path: Path, targets: Sequence[str]) -> str:
    table = ClassFolders(path=data).load()
    if list(targets) not in ([], ["label"]):
        raise DataError(
            f"{data} has no table, only {'sounds' if 'audio' in table.media else 'pictures'} in "
            f"folders, whose names are the 'label'. Found {', '.join(targets)} under --targets. If "
            "names of files say them, write a table with a line for each file: its path, and a "
            "column for each label."
        )
    (column,) = table.media
    goal = guess_target("label", table.cells(["label"])[:, 0].tolist())
    fixed = table.fixed_split is not None
    split = "{fixed: true}" if fixed else _stratified(goal)
    why = "folders at the top are parts" if fixed else "drawn at random"
    sounds = column == "audio"
    rate = _sound_rate(table) if sounds else 0
    head = [
        f"# Drafted from {data.name}: {len(table):,} {'sounds' if sounds else 'pictures'} in class "
        "folders. Look it over, then: polytask check",
        "sources:",
        f"  data: {{kind: folders, path: {quoted(str(path))}, split: {split}}}  # {why}",
        "inputs:",
    ]
    if sounds:
        head += [
            f"  sound:  # {rate} samples a second in the first file",
            f"    {{kind: sound, column: audio, sample_rate: {rate}, seconds: 2.0, pool: mean,",
            "     body: {kind: recurrent, width: 64}}",
        ]
    else:
        size = _picture_size(table)
        head += [
            f"  picture:  # scaled to {size}x{size}; the first pictures are about that large",
            f"    {{kind: image, column: image, size: {size}, pool: mean,",
            "     body: {kind: residual, widths: [32, 64, 128]}}",
        ]
    return "\n".join([*head, "tasks:", *task_lines([goal]), *network_lines(len(table))])


def _of_table(found: _Drafted) -> str:
    table, goals, columns = found.table, found.goals, found.columns
    media = {c.name: c.kind for c in columns if c.kind in ("image", "sound")}
    declared = "".join(f", {quoted(n)}: {k}" for n, k in media.items())[2:]
    name = by_part(found.files)[0][1].name
    lines = [
        f"# Drafted from {name}: {len(table):,} rows. Look it over, then: polytask check",
        *_duplicates(table),
        *found.notes,
        "sources:",
        "  data:",
        "    kind: table",
        *_path_lines(found.files, found.output),
        *found.reading,
        *([f"    media: {{{declared}}}"] if media else []),
        *_split_lines(found),
        "inputs:",
    ]
    plain = [c for c in columns if c.kind in ("number", "category", "date", "text", "characters")]
    plain = [c for c in plain if c.name != found.group]
    formula = next((c.name for c in plain if c.kind == "characters"), None)
    if media:  # a task reads one input
        lines += left_out(plain, "a file")
        lines += [f"  # So is {one_line(n)}, another file." for n in list(media)[1:]]
        lines += media_input(*next(iter(media.items())))
    elif formula is not None:
        lines += left_out([c for c in plain if c.name != formula], "formulas")
    lines += [
        f"  # {one_line(c.name)} is left out: {c.why}." for c in columns if c.kind == "left out"
    ]
    if found.group:
        lines.append(f"  # {one_line(found.group)} is left out: it says whose row this is.")
    if not media and not plain:
        raise DataError(f"{name} has no column to predict from: all are targets or left out.")
    if formula is not None and not media:
        lines += formula_input(formula)
    elif not media and [c.kind for c in plain] == ["text"]:
        lines += [f"  # {plain[0].why}", *text_input(plain[0].name)]
    elif not media:
        lines += ["  row:", "    kind: table", "    columns:", *map(column_line, plain)]
        lines += cleaning(plain)
    return "\n".join([*lines, "tasks:", *task_lines(goals), *network_lines(len(table))])


def _path_lines(files: PathOrParts, folder: Path) -> list[str]:
    """The files, relative to a folder."""

    def shown(some: Path | list[Path]) -> str:
        if isinstance(some, list):
            return f"[{', '.join(quoted(_near(f, folder)) for f in some)}]"
        return quoted(_near(some, folder))

    if isinstance(files, Mapping):
        return ["    path:", *(f"      {part}: {shown(some)}" for part, some in files.items())]
    return [f"    path: {shown(files)}"]


def _split_lines(found: _Drafted) -> list[str]:
    """How rows are divided, with a warning where one person's rows are in several parts."""
    goal = next((g for g in found.goals if g.even), None)
    by = found.group
    column = next((c for c in found.columns if c.kind == "split"), None)
    if column is not None or isinstance(found.files, Mapping):
        there = found.files if isinstance(found.files, Mapping) else ()
        lacking = [] if column else [part for part in PARTS if part not in there]
        why = column.why if column else "files are parts"
        why += f"; {' and '.join(lacking)} drawn" if lacking else ""
        drawn = "".join(f", {part}: 0.15" for part in lacking)
        how = f"column: {quoted(column.name)}" if column else f"fixed: true{drawn}"
        return [f"    split: {{{how}}}  # {one_line(why)}"]
    settings = "test: 0.15, validation: 0.15"
    if by is not None:
        count = len(set(map(str, found.table.cells([by])[:, 0])))
        who = one_line(by)
        why = (
            f"there are only {count} different {who}: rows of each are in all parts, which flatters"
        )
        if count >= GROUPS:
            settings += f", group: {quoted(by)}"
            why = f"all rows of one {who} are in one part, so that scores tell of new ones"
        return [f"    # {why}", f"    split: {{{settings}}}"]
    return [f"    split: {_stratified(goal)}"]


def encoded_media(data: Path) -> dict[str, Literal["image", "sound", "map"]]:
    """Columns of a Parquet file whose cells are encoded pictures or sounds, by the first ones."""
    if format_of(data) != "parquet" or not data.is_file():
        return {}
    found: dict[str, Literal["image", "sound", "map"]] = {}
    for name in nested(data, ()):
        pictures, sounds = ParquetMedia("image", [data], name), ParquetMedia("sound", [data], name)
        for item in range(min(len(pictures), 20)):  # the first may be blank or broken
            if _decodes(pictures.picture, item):
                found[name] = "image"
            elif _decodes(sounds.wave, item):
                found[name] = "sound"
            if name in found:
                break
    return found


def _decodes(decode: Callable[[int], Any], item: int) -> bool:
    try:
        decode(item)
    except (DataError, OSError):
        return False
    return True


def _stratified(goal: Target | None) -> str:
    by = f", stratify: {quoted(goal.name)}" if goal is not None and goal.even else ""
    return f"{{test: 0.15, validation: 0.15{by}}}"


def _duplicates(table: Table) -> list[str]:
    """A warning about rows that are there more than once."""
    twice = 0 if table.media else int(table.frame.astype(str).duplicated().sum())
    if not twice:
        return []
    return [f"# {twice:,} rows are there more than once, and may be in training and test both."]


def _picture_size(table: Table) -> int:
    """A usual size near that of the first pictures that can be read."""
    sizes = []
    for item in range(min(len(table), 8)):
        try:
            sizes.append(max(table.media["image"].picture(item).shape[:2]))
        except (DataError, OSError):
            continue
    middle = float(np.median(sizes)) if sizes else 64.0
    return min((32, 64, 96, 128), key=lambda size: abs(size - middle))


def _sound_rate(table: Table) -> int:
    """The sample rate of the first sound that can be read, at most 16,000."""
    for item in range(min(len(table), 8)):
        try:
            return min(16000, table.media["audio"].wave(item)[1])
        except (DataError, OSError):
            continue
    return 16000
