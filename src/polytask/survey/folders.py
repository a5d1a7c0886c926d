"""What is known about a folder of pictures or sounds."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

from polytask.data.class_folders import ClassFolders
from polytask.data.disguises import listed
from polytask.data.files import list_media, list_texts
from polytask.data.part_lists import called
from polytask.data.sources import Table
from polytask.data.splits import part_named
from polytask.errors import DataError
from polytask.survey.drafted import Drafted
from polytask.survey.file_names import length_of, parts_of, pattern_of, runs_of, telling
from polytask.survey.guesses import Column, guess_column
from polytask.survey.lines import quoted
from polytask.survey.listed import lists_in
from polytask.survey.persons import folders_of_persons, guess_group
from polytask.survey.pixel_maps import MAPS, PICTURES
from polytask.survey.samples import picture_input, sound_input
from polytask.survey.table_files import tables_in
from polytask.survey.table_reading import other_encoding
from polytask.survey.target_guesses import guess_target
from polytask.survey.targets import chosen
from polytask.survey.texts_beside import texts_beside

_SHOWN = 5  # files of which something is said
_DEEP = 6  # folders, each in the next
_ENOUGH = 20  # files, of which names that are all as long are codes

_NUMBERED = re.compile(r"(images?|pictures?|audios?|clips|batch|part|chunk|data|files)[-_ ]?\d+")
_UNLABELLED = re.compile(r"unsup(ervised)?$|un_?label")

_TABLE = "write a table with a line for each file: its path, and a column for each label"


def draft_folders(data: Path, path: str, targets: Sequence[str], names: Sequence[str]) -> Drafted:
    """What is known, for the text of a configuration.

    Args:
        data: The folder.
        path: How the configuration names it.
        targets: What to predict: nothing or `label` for class folders, columns of `names`.
        names: What the parts of the files' names say, if they say the labels.

    Raises:
        DataError: If there are no class folders, or something else is to be predicted.
    """
    files = _below_parts(data)
    found = list_media(data)
    if found["image"] and found["sound"]:
        some = [found[kind][0].relative_to(data).as_posix() for kind in ("image", "sound")]
        raise DataError(
            f"{data} holds pictures and sounds, such as {some[0]} and {some[1]}: name the folder "
            "of either, or write a table with a line for each example, and columns of paths."
        )
    if names:
        return _by_names(data, path, targets, names, files)
    hint = _hint(data, files) if files else ""
    told_tables = _beside(data) if tables_in(data) else ""
    told = _beside(data) or hint
    if told and any(len(file.parts) == 1 for file in files):
        raise DataError(f"{data} holds files in no folders that bear their labels' names. {told}")
    without, encoding, reading = _unlabelled(data), None, list[str]()
    if without:
        reading.append(f"    without: [{', '.join(map(quoted, without))}]  # it names no label")
    if not files:
        encoding = next((e for e in map(other_encoding, list_texts(data)) if e is not None), None)
        reading += [f"    encoding: {encoding}  # it is no utf-8"] if encoding else []
    source = ClassFolders(path=data, without=without, encoding=encoding or "utf-8")
    table = source.load()
    _require_classes(data, table, hint)
    if list(targets) not in ([], ["label"]):
        raise DataError(
            f"{data} has no table, only {_things(table)} in folders, whose names are the 'label'. "
            f"Found {', '.join(targets)} under --targets. "
            + _said(data, files)
            + (hint or f"If names of files say them, {_TABLE}.")
        )
    _require_kinds(data, table)
    table, listed_parts = _with_lists(source, table)
    labels = table.cells(["label"])[:, 0].tolist()
    return Drafted(
        name=data.name,
        what=f"{len(table):,} {_things(table)} in class folders",
        table=table,
        goals=[guess_target("label", labels)],
        columns=_media_columns(table),
        source=["    kind: folders", f"    path: {quoted(path)}", *reading, *listed_parts],
        media_input=_media_input(table),
        parts=_parts(table),
        notes=_comment(_persons(set(labels), hint)) + _comment(hint) + _comment(told_tables),
    )


def _with_lists(source: ClassFolders, table: Table) -> tuple[Table, list[str]]:
    """The files in the parts that lists of their publisher say, and the setting that says so."""
    if table.fixed_split is not None or not table.media:
        return table, []
    lists = lists_in(source.path, called(table.frame["path"]))
    if lists is None:
        return table, []
    source.lists = lists
    return source.load(), [f"    lists: {quoted(lists)}  # which files are in which part"]


def _beside(data: Path) -> str:
    """What to do with tables of a folder, as a sentence; empty if it has none."""
    found = tables_in(data) or sorted(data.glob("*.txt"))
    tables = [f.relative_to(data).as_posix() for f in found]
    if not tables:
        return ""
    return (
        f"Beside it: {listed(tables)}. To draft from a table, name its columns to predict: "
        "--targets a,b."
    )


def _transcripts(data: Path) -> str:
    """What to do with texts among pictures or sounds, as a sentence; empty if there are none."""
    text = next(iter(list_texts(data)), None)
    if text is None:
        return ""
    return (
        f"Texts such as {text.relative_to(data).as_posix()} are not read: if they say what is "
        "heard or seen, write a table with a line for each file: its path, and its text. "
    )


def _said(data: Path, files: Sequence[Path]) -> str:
    """That texts are what can be predicted, as a sentence; empty if there are none beside files."""
    if not files or texts_beside(data, files) is None:
        return ""
    return "Files beside them hold what is in each: to predict that, name the 'text'. "


def _unlabelled(data: Path) -> list[str]:
    """Folders that hold what has no label, by their names: `unsup`, `_background_noise_`."""
    files = [*(f for of in list_media(data).values() for f in of), *list_texts(data)]
    folders = {part for file in files for part in file.relative_to(data).parts[:-1]}
    return sorted(n for n in folders if _UNLABELLED.match(n.lower()) or n.startswith("_"))


def _require_classes(data: Path, table: Table, hint: str) -> None:
    """Make sure that folders can be labels: there are several, and not one of them holds masks.

    Raises:
        DataError: If they cannot.
    """
    labels = sorted(set(table.cells(["label"])[:, 0]))
    beside = _beside(data)
    if len(labels) == 1 and beside:
        raise DataError(
            f"{data} has its {_things(table)} in one folder, '{labels[0]}', which tells nothing. "
            + beside
        )
    if len(labels) == 1:
        raise DataError(
            f"{data} has its {_things(table)} in one folder, '{labels[0]}', which tells nothing. "
            + (_transcripts(data) if table.media else "")
            + (hint or f"If names of files say labels, or another file does, {_TABLE}.")
        )
    words = {label: set(re.split(r"[\W_\d]+", label.lower())) for label in labels}
    maps = [label for label in labels if words[label] & MAPS]
    if maps and any(words[label] & PICTURES for label in labels) and len(labels) < 6:
        raise DataError(
            f"The folders of {data} ({', '.join(labels)}) seem to be pictures and what is known of "
            f"each of their pixels ({', '.join(maps)}), not labels. They are drafted if both have "
            "the same names, and maps hold a number for each pixel or one of few colours, as PNG "
            "has them. Else write a source of `kind: maps`, which says where both are, such as "
            "`pictures: rgb/{name}_rgb`; or write a table with a line for each picture and columns "
            "of paths, such as image,mask; then declare them under the "
            "source's `media: {image: image, mask: map}`, with a task of `kind: segmentation`, "
            "`dense_regression`, `edges` or `normals`."
        )


def _require_kinds(data: Path, table: Table) -> None:
    """Make sure that folders are not pieces of a whole by their names.

    Raises:
        DataError: If they are.
    """
    labels, beside = sorted(set(table.cells(["label"])[:, 0])), _beside(data)
    paths = [Path(path) for path in table.frame["path"]]
    if not table.media and all(part_named(path.stem) is not None for path in paths):
        raise DataError(
            f"Each folder of {data} ({', '.join(labels[:_SHOWN])}) has texts that are named for "
            f"parts, such as {paths[0]}: it is data of its own. Name one: {data / labels[0]}."
        )
    if beside and all(map(_NUMBERED.fullmatch, labels)):
        raise DataError(
            f"{data} has its {_things(table)} in folders that are numbered "
            f"({', '.join(labels[:_SHOWN])}), which tell nothing. {beside}"
        )
    parts = {label: _part_in(label) for label in labels}
    if None not in parts.values() and len(set(parts.values())) > 1:
        raise DataError(
            f"The folders of {data} ({', '.join(labels[:_SHOWN])}) are named for parts of a split, "
            "not for classes. "
            + (beside or f"Name one that holds folders of classes, or {_TABLE}.")
        )


def _part_in(name: str) -> str | None:
    """The part that a word of a folder's name says, as in `Final_Test`; None if none does."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return next((p for p in map(part_named, re.split(r"[\W_]+", plain)) if p), None)


def _by_names(
    data: Path, path: str, targets: Sequence[str], names: Sequence[str], files: Sequence[Path]
) -> Drafted:
    """What is known about files whose names say the labels."""
    who = folders_of_persons({file.parts[-2] for file in files if len(file.parts) > 1})
    folder = "folder" if who in (None, "id") else who
    pattern, columns = pattern_of(files, names, None if folder in names else folder)
    source = ClassFolders(path=data, pattern=pattern)
    table, listed_parts = _with_lists(source, source.load())
    cells = {c: table.cells([c])[:, 0].tolist() for c in table.frame.columns}
    goals, notes = chosen(targets, table, cells)
    others = {c: cells[c] for c in columns if c not in {*notes, *(g.name for g in goals)}}
    group = guess_group(others)
    if group is None and who == "id" and folder in others:
        group = folder
    return Drafted(
        name=data.name,
        what=f"{len(table):,} {_things(table)}, whose names say the labels",
        table=table,
        goals=goals,
        columns=_media_columns(table) + [guess_column(c, of, data) for c, of in others.items()],
        source=[
            "    kind: folders",
            f"    path: {quoted(path)}",
            f"    pattern: {quoted(pattern)}  # each (?P<...>) is a column",
            *listed_parts,
        ],
        media_input=_media_input(table),
        group=group,
        parts=_parts(table),
        notes=_comment("".join(f"{c} is left out: {why}\n" for c, why in notes.items()))
        + unfit_lines(data, table),
    )


def unfit_lines(data: Path, table: Table) -> list[str]:
    """The policy that leaves out files whose names do not fit, and which these are.

    Args:
        data: The folder.
        table: Its files.
    """
    if not table.unfit:
        return []
    some = ", ".join(Path(where).relative_to(data).as_posix() for where, _ in table.unfit[:_SHOWN])
    count = len(table.unfit)
    names = "1 name does not fit" if count == 1 else f"{count:,} names do not fit"
    more = ", ..." if count > _SHOWN else ""
    return [
        *_comment(f"{names} the pattern below, and what is called so is left out: {some}{more}"),
        f"on_bad: skip  # leaves {_things(table)} that cannot be decoded out, too",
    ]


def _below_parts(data: Path) -> list[Path]:
    """The files of a folder, without a folder at the top that names a part."""
    found = list_media(data)
    files = [file.relative_to(data) for file in (found["sound"] or found["image"])]
    if all(len(file.parts) > 1 and part_named(file.parts[0]) for file in files):
        return [Path(*file.parts[1:]) for file in files]
    return files


def _hint(data: Path, files: Sequence[Path]) -> str:
    """What to do with names of files or of folders in folders that say something; else empty."""
    depths = {len(file.parts) for file in files}
    if len(depths) == 1 and 2 < max(depths) <= _DEEP:
        names = ",".join(ascii_lowercase[: max(depths)])
        return (
            f"Files are in folders in folders, as {files[0].as_posix()} is. To make columns of all "
            "of them, and keep files of one folder in one part, say what each is (_ for one to "
            f"leave out), and which to predict: polytask init {shlex.quote(str(data))} --columns "
            f"{names} --targets a"
        )
    marked, runs, length = parts_of(files), runs_of(files), length_of(files)
    folders = [file.parts[0] if len(file.parts) > 1 else "" for file in files]
    if marked is not None and marked[1] <= len(ascii_lowercase):
        if not telling(files, marked[0], folders):
            return ""
        how, names = f"{marked[1]} parts", ",".join(ascii_lowercase[: marked[1]])
    elif runs is not None and runs <= len(ascii_lowercase) and telling(files, None, folders):
        how = f"{runs} runs of letters or digits"
        names = ",".join(ascii_lowercase[:runs])
    elif length is not None and len(files) >= _ENOUGH:
        how, names = f"{length} letters", f"a:2,b:{length - 2}" if length > 2 else "a:1,b:1"
    else:
        return ""
    what = "say what each is"
    if ":" in names:
        what = "say how many letters each part has, and what it is"
    elif runs is not None and names.count(",") + 1 != runs:
        what += f", or each of the {runs} runs of letters and digits"
    elif length is not None:
        what += ", or how many letters each has, as a:2,b:3"
    return (
        f"Names of files have {how}, as {files[0].name} has. To make columns of them, {what} (_ "
        "for one to leave out), and which to predict: polytask init "
        f"{shlex.quote(str(data))} --columns {names} --targets a"
    )


def _persons(names: set[str], hint: str) -> str:
    """A warning that folders seem to be no classes but persons; empty if they do not."""
    who = folders_of_persons(names)
    if who is None:
        return ""
    whose = "ids, perhaps of persons" if who == "id" else f"{who}s"
    return (
        f"The folders seem to be {whose}: this draft learns to tell them apart. To predict "
        "something else, of ones not met before, labels have to come from elsewhere, and the split "
        "needs `group`, so that files of one are in one part: "
        + ("see --columns below." if hint else f"{_TABLE}, and one that says whose it is.")
    )


def _comment(text: str) -> list[str]:
    """A text as comments, line by line; a command stays whole."""
    lines = []
    for line in text.replace(": polytask init", ":\n  polytask init").splitlines():
        width = 10_000 if line.startswith("  ") else 96
        lines += textwrap.wrap(line, width, break_long_words=False, drop_whitespace=True)
    return [f"# {line}" for line in lines]


def _things(table: Table) -> str:
    if not table.media:
        return "texts"
    return "sounds" if "audio" in table.media else "pictures"


def _parts(table: Table) -> set[str]:
    return set() if table.fixed_split is None else set(table.fixed_split)


def _media_columns(table: Table) -> list[Column]:
    kinds = {c: m.kind for c, m in table.media.items()}
    if not kinds:
        return [Column("text", "text", "a file for each")]
    return [Column(c, "sound" if k == "sound" else "image", "a file") for c, k in kinds.items()]


def _media_input(table: Table) -> list[str]:
    if not table.media:
        return []
    ((column, media),) = table.media.items()
    return (sound_input if media.kind == "sound" else picture_input)(media, column)
