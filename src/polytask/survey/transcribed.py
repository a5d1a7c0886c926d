"""What is known about pictures or sounds whose texts are in files beside them."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.data.class_folders import ClassFolders
from polytask.data.files import list_media
from polytask.data.sources import Table
from polytask.data.splits import part_begun
from polytask.errors import DataError
from polytask.survey.drafted import Drafted
from polytask.survey.file_names import pattern_of
from polytask.survey.folders import unfit_lines
from polytask.survey.guesses import RARE, Column, Target, guess_column
from polytask.survey.lines import near, one_line, quoted
from polytask.survey.persons import folders_of_persons, guess_group
from polytask.survey.samples import picture_input, sound_input
from polytask.survey.table_reading import other_encoding
from polytask.survey.targets import chosen, written_about
from polytask.survey.texts_beside import TextsBeside, texts_beside

_TEXT, _WHO = "text", "speaker"


def transcribed(data: Path, targets: Sequence[str], names: Sequence[str]) -> TextsBeside | None:
    """Texts beside the files of a folder, if they are what is to be predicted.

    Nothing if targets are others, if `names` names the cells of a table, or if nothing is named
    for pictures whose folders may be labels.

    Args:
        data: The folder.
        targets: What is to be predicted; empty if nothing is named.
        names: Names of columns.
    """
    plain = {name.removeprefix("-") for name in targets}
    if not data.is_dir() or _TEXT in names or not plain <= {_TEXT, _WHO, *names}:
        return None
    if names and targets and _TEXT not in plain:
        return None
    kind, files = _media(data)
    if kind == "image" and not targets and len({file.parent for file in files}) > 1:
        return None
    return texts_beside(data, files) if files else None


def draft_transcribed(
    data: Path, output: Path, targets: Sequence[str], names: Sequence[str], found: TextsBeside
) -> Drafted:
    """What is known about them.

    Args:
        data: The folder.
        output: Where the text will be written; paths in it start there.
        targets: What to predict: the text, and the speaker where one is told and rows of each are
            in all parts, if empty.
        names: What the parts of the files' names say, or the folders that they are in.
        found: Where the texts are.

    Raises:
        DataError: If a target is none, or the speakers of a part are none of those of training.
    """
    kind, files = _media(data)
    data = _within(data, [*files, *found.files])
    below = _below_parts([file.relative_to(data) for file in files])
    encoding = next((e for e in map(other_encoding, found.files) if e is not None), None)
    pattern, columns = None, list[str]()
    if names:
        pattern, columns = pattern_of(below, names, None)
    elif kind == "sound":
        pattern, columns = _of_speakers(below)
    source = ClassFolders(
        path=data,
        media=kind,
        pattern=pattern,
        texts=found.pattern,
        separator=found.separator,
        encoding=encoding or "utf-8",
    )
    table = source.load()
    cells = {c: table.cells([c])[:, 0].tolist() for c in table.frame.columns}
    parts = set() if table.fixed_split is None else set(table.fixed_split)
    parts = set() if parts == {"train"} else parts  # all are drawn
    who = guess_group({c: cells[c] for c in columns})
    # Where several files have one text, parts that are drawn have it all.
    useful = not parts and not found.several
    goals, notes = _goals(targets, table, cells, who, useful=useful, kind=kind)
    _require_known(goals, who, table, cells)
    others = {c: cells[c] for c in columns if c not in {*notes, *(g.name for g in goals)}}
    group = guess_group(others)
    ((column, media),) = table.media.items()
    heard = next((goal for goal in goals if goal.heard), None)
    written = any(goal.kind == "generation" for goal in goals)
    return Drafted(
        name=data.name,
        what=f"{len(table):,} {'sounds' if kind == 'sound' else 'pictures'} and their texts",
        table=table,
        goals=goals,
        columns=[
            Column(column, kind, "a file"),
            *(guess_column(c, of, data) for c, of in others.items()),
        ],
        source=_source_lines(near(data, output), found, pattern, encoding),
        media_input=sound_input(media, column, heard=heard)
        if kind == "sound"
        else picture_input(media, column, written=written),
        group=group,
        parts=parts,
        notes=[
            *(f"# {one_line(c)} is left out: {why}" for c, why in notes.items()),
            *(f"# {one_line(o)} hold other texts of the same files." for o in found.others),
            *_naming(data, below, columns, who),
            *unfit_lines(data, table),
        ],
    )


def _media(data: Path) -> tuple[Any, list[Path]]:
    """The sounds of a folder, else its pictures."""
    media = list_media(data)
    return ("sound", media["sound"]) if media["sound"] else ("image", media["image"])


def _within(data: Path, files: Sequence[Path]) -> Path:
    """The innermost folder that holds all files and is none of a part, as archives have one."""
    common = Path(os.path.commonpath([file.parent for file in files]))
    for folder in common.relative_to(data).parts:
        if part_begun(folder) is not None:
            break
        data = data / folder
    return data


def _below_parts(names: Sequence[Path]) -> list[Path]:
    """Names without a folder of a part at the top, as the source has it."""
    parts = [part_begun(name.parts[0]) if len(name.parts) > 1 else None for name in names]
    if "train" in parts and None not in parts:
        return [Path(*name.parts[1:]) for name in names]
    return list(names)


def _of_speakers(names: Sequence[Path]) -> tuple[str | None, list[str]]:
    """A pattern whose column is the first folder that seems to be one of speakers."""
    depths = {len(name.parts) for name in names}
    if len(depths) > 1:
        return None, []
    levels = list(zip(*(name.parts[:-1] for name in names), strict=True))
    for at, folders in enumerate(levels):
        different = set(folders)
        numbered = len(different) > 2 and all(name[-1].isdigit() for name in different)
        if not numbered or len(different) == len(folders):
            continue
        who = folders_of_persons(different)
        who = _WHO if who in (None, "id") else who
        pieces = ["[^/]+"] * depths.pop()
        pieces[at] = f"(?P<{who}>[^/]+)"
        return "/".join(pieces), [who]
    return None, []


def _goals(
    targets: Sequence[str],
    table: Table,
    cells: Mapping[str, Sequence[Any]],
    who: str | None,
    *,
    useful: bool,
    kind: str,
) -> tuple[list[Target], dict[str, str]]:
    """What is predicted, and why columns that a pattern names are not.

    If nothing is named, that is also whose sounds they are (`who`), if `useful`.
    """
    wanted = list(targets) or [_TEXT]
    told = [name for name in wanted if name == who]
    if not targets and useful and who is not None and min(Counter(cells[who]).values()) >= RARE:
        told = [who]
    goals, notes = list[Target](), dict[str, str]()
    rest = [name for name in wanted if name not in told]
    if rest:
        goals, notes = chosen(rest, table, cells, spoken=True)
    goals = [written_about(g) if g.kind == "ctc" and kind == "image" else g for g in goals]
    return goals + [_speaker(name, cells[name]) for name in told], notes


def _speaker(name: str, cells: Sequence[str]) -> Target:
    """A target whose labels are persons, whatever their names are."""
    counts = Counter(cells)
    if len(counts) < 2:
        raise DataError(f"Column '{name}' can be no target: every label is '{cells[0]}'.")
    few = min(counts.values())
    why = f"{len(counts)} {name}s, told by folders; the rarest has {few} files"
    rare = {n: k for n, k in counts.items() if k < RARE}
    return Target(name, "multiclass", why, even=few >= 10, rare=rare)


def _require_known(
    goals: Sequence[Target], who: str | None, table: Table, cells: Mapping[str, Sequence[Any]]
) -> None:
    """Make sure that speakers can be told: some of those in other parts are in training.

    Raises:
        DataError: If parts that folders name have none in common.
    """
    if table.fixed_split is None or who not in {goal.name for goal in goals} or who is None:
        return
    parts: dict[str, set[str]] = {}
    for part, one in zip(table.fixed_split, cells[who], strict=True):
        parts.setdefault(part, set()).add(one)
    for part, some in parts.items():
        if part != "train" and some.isdisjoint(parts["train"]):
            raise DataError(
                f"Column '{who}' can be no target: no {who} of the {part} part of {table.name} is "
                "one of those to learn from, so that none can be told. Leave it out of --targets, "
                "or draft from the folder of the training part alone."
            )


def _source_lines(
    path: str, found: TextsBeside, pattern: str | None, encoding: str | None
) -> list[str]:
    """The settings of the source."""
    how = "  # each is that of the file whose name * stands for"
    if found.separator is not None:
        how = "  # their lines begin with names of files"
    lines = ["    kind: folders", f"    path: {quoted(path)}"]
    if pattern is not None:
        lines.append(f"    pattern: {quoted(pattern)}  # each (?P<...>) is a column")
    lines.append(f"    texts: {quoted(found.pattern)}{how}")
    if found.separator is not None:
        lines.append(f"    separator: {quoted(found.separator)}")
    if encoding is not None:
        lines.append(f"    encoding: {encoding}  # it is no utf-8: are its letters right?")
    return lines


def _naming(
    data: Path, below: Sequence[Path], columns: Sequence[str], who: str | None
) -> list[str]:
    """How to name what folders or files' names say, if nothing is known of it."""
    depths = {len(name.parts) for name in below}
    if columns or who or len(depths) > 1:
        return []
    levels = zip(*(name.parts[:-1] for name in below), strict=True)
    at = next((at for at, folders in enumerate(levels) if len(set(folders)) > 1), None)
    if at is None:
        return []
    names = ",".join(_WHO if k == at else "_" for k in range(depths.pop()))
    return [
        "# If folders say whose each is, name them and the file (_ leaves one out):",
        f"#   polytask init {shlex.quote(str(data))} --columns {names}",
    ]
