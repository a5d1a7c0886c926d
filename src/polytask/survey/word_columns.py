"""A configuration and a profile of files with a word and its labels on each line (CoNLL)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polytask.data.conll import Columns
from polytask.data.media import PICTURE_SUFFIXES, SOUND_SUFFIXES
from polytask.data.table_rows import known_format
from polytask.errors import DataError, nearest
from polytask.survey.lines import one_line, quoted
from polytask.survey.table_files import is_table
from polytask.survey.tagged import (
    in_order,
    part_of,
    profile,
    source_lines,
    task_lines,
    told,
    training_file,
    written,
)
from polytask.survey.word_layout import WordColumn, WordFile, looked_at

_FILES = 50  # of a folder, above which it is no folder of a few parts
_OTHER = (".arff", ".zip", ".json", ".yaml", ".yml", ".xml", ".html", ".md", ".py", ".pdf")


def word_files(data: Path) -> dict[str, Path]:
    """Files of words in lines by part; a single file that names no part has the part ''.

    A file that names its part (`eng.train`) brings those beside it of the same name.

    Args:
        data: A file, or a folder.

    Returns:
        Nothing if it is none, or a folder without one or with a table.

    Raises:
        DataError: If a folder has several such files of one part.
    """
    if not data.is_dir():
        if not (data.is_file() and _is_one(data)):
            return {}
        part, base = _part(data)
        around = _candidates(data.absolute().parent) if part else []
        files = [data, *(f for f in around if _part(f)[1] == base and f.name != data.name)]
        files = [f for f in files if f is data or _is_one(f)]
    else:
        files = [f for f in _candidates(data) if _is_one(f)]
        if any(is_table(f) and f not in files for f in data.iterdir()):
            return {}
    parts: dict[str, Path] = {}
    for file in files:
        if parts.setdefault(_part(file)[0], file) != file or ("" in parts and len(files) > 1):
            raise DataError(
                f"{data} has several files of labelled words: "
                f"{', '.join(f.name for f in files[:8])}. Name one of them."
            )
    return in_order(parts)


def draft_words(
    files: Mapping[str, Path], targets: Sequence[str], names: Sequence[str], folder: Path
) -> str:
    """The text of a configuration.

    Args:
        files: What `word_files` found.
        targets: What to predict: columns by their names, or a name for each column of labels in
            order; all if empty.
        names: A name for every column in order, one of them `words`, `_` for one to leave out; as
            the columns look if empty.
        folder: Where the text will be written; paths in it start there.

    Raises:
        DataError: If there are no training sentences, or a target or a name is none.
    """
    found = _look(training_file(files))
    columns = _chosen(found, targets, names)
    kept, notes = _same_columns(files, found)
    spans = [c.name for c in columns if c.kind == "spans" and c.name != "_"]
    source = _source(found, columns, found.path)
    table = source.load()
    tasks = []
    for column in columns:
        if column.kind in ("words", "left out") or column.name == "_":
            continue
        cells = table.cells([column.name])[:, 0].tolist()
        why = f"column {column.number}: {column.why}; {told(found.path, column.name, cells)}"
        tasks += task_lines(column.name, one_line(why), spans=column.name in spans)
    settings = [
        f"    columns: [{', '.join(c.name if c.name == '_' else quoted(c.name) for c in columns)}]"
        "  # the file names none",
        *(
            f"    # column {c.number} is left out: {one_line(c.why)}"
            for c in found.columns
            if c.kind == "left out" and columns[c.number - 1].name == "_"
        ),
        *([f"    spans: [{', '.join(map(quoted, spans))}]  # they become IOB2"] if spans else []),
        *([f"    separator: {json.dumps(found.separator)}"] if found.separator else []),
        *([f"    comments: {json.dumps(found.comments)}"] if found.comments else []),
    ]
    if found.encoding is not None:
        settings.append(f"    encoding: {found.encoding}  # it is no utf-8: are its letters right?")
    lines = source_lines("columns", kept, settings, folder)
    text = written(f"{found.path.name}: {len(table):,} sentences", lines, tasks)
    first, _, rest = text.partition("\n")
    return "\n".join([first, *notes, rest])


def profile_words(data: Path, files: Mapping[str, Path], names: Sequence[str]) -> dict[str, Any]:
    """What `profile_data` gives, of sentences: their words, and how many labels each column has.

    Args:
        data: What it is called.
        files: What `word_files` found.
        names: As `draft_words` takes them.
    """
    found = _look(next(iter(files.values())))
    columns = _chosen(found, [], names)
    kept, _ = _same_columns(files, found)
    parts: dict[str, Path | list[Path]] = dict(kept)
    table = _source(found, columns, kept.get("", parts)).load()
    return profile(data, table, [c.name for c in columns if c.name != "_"])


def _look(path: Path) -> WordFile:
    """What a file looks like.

    Raises:
        DataError: If only its beginning is one of words in lines.
    """
    found = looked_at(path)
    if found is None:
        raise DataError(
            f"{path} begins with words in lines, and a part of it has other columns. Every line of "
            "a word should have as many columns, with a blank line between sentences."
        )
    return found


def _source(found: WordFile, columns: Sequence[WordColumn], path: Any) -> Columns:
    return Columns(
        path=path,
        columns=[c.name for c in columns],
        separator=found.separator,
        spans=[c.name for c in columns if c.kind == "spans" and c.name != "_"],
        comments=found.comments,
        encoding=found.encoding or "utf-8",
    )


def _chosen(found: WordFile, targets: Sequence[str], names: Sequence[str]) -> list[WordColumn]:
    """The columns by the names that are asked for; `_` where one is left out.

    Raises:
        DataError: If a name is none, or there are too many or too few.
    """
    columns = _renamed(found, names) if names else list(found.columns)
    labels = [c for c in columns if c.kind in ("spans", "labels") and c.name != "_"]
    known = [c.name for c in labels]
    wanted = list(targets) or known
    if not set(wanted) <= {*known, "_"}:
        if names or len(wanted) != len(labels) or "words" in wanted:
            has = ", ".join(f"{c.name} (column {c.number})" for c in labels)
            wrong = next(name for name in wanted if name not in known)
            raise DataError(
                f"{found.path.name} has no column '{wrong}' to predict. It has {has}. Name these, "
                f"or give each of the {len(labels)} a name under --targets, in order; _ leaves one "
                f"out. {nearest(wrong, known)}"
            )
        given = dict(zip((c.number for c in labels), wanted, strict=True))
        columns = [replace(c, name=given.get(c.number, c.name)) for c in columns]
    if len(set(wanted) - {"_"}) < len([w for w in wanted if w != "_"]):
        raise DataError(f"--targets names a column twice: {', '.join(wanted)}.")
    return [c if c.name in ("words", *wanted) else replace(c, name="_") for c in columns]


def _renamed(found: WordFile, names: Sequence[str]) -> list[WordColumn]:
    """The columns by the names that are given for all of them.

    Raises:
        DataError: If there are not as many as columns, or none is `words`.
    """
    if len(names) != len(found.columns) or names.count("words") != 1:
        raise DataError(
            f"--columns: {found.path.name} has {len(found.columns)} columns. Name every one, one "
            f"of them 'words'; _ leaves one out. Found {', '.join(names)}."
        )
    kinds = {c.number: c for c in found.columns}
    columns = []
    for number, name in enumerate(names, start=1):
        column = kinds[number]
        if name == "words":
            column = replace(column, kind="words")
        elif column.kind in ("words", "left out") and name != "_":
            column = replace(column, kind="labels", why="as --columns names it")
        columns.append(replace(column, name=name))
    return columns


def _same_columns(files: Mapping[str, Path], first: WordFile) -> tuple[dict[str, Path], list[str]]:
    """The files that have the columns of the first, and what is said of the others."""
    kept, notes = {}, []
    for part, path in files.items():
        found = first if path == first.path else looked_at(path)
        if found is not None and len(found.columns) == len(first.columns):
            kept[part] = path
        else:
            notes.append(
                f"# {one_line(path.name)} is left out: its columns are not those of "
                f"{one_line(first.path.name)}."
            )
    return kept, notes


def _candidates(folder: Path) -> list[Path]:
    """Files of a folder that may be such."""
    found = []
    for file in sorted(folder.iterdir()):
        ending = Path(file.name.lower().removesuffix(".gz")).suffix
        if file.name.startswith(".") or not file.is_file() or _is_other(file, ending):
            continue
        found.append(file)
        if len(found) > _FILES:
            return []
    return found


def _is_other(file: Path, ending: str) -> bool:
    """Whether a file's name says that it is something else."""
    media = ending in (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)
    return media or ending in (*_OTHER, ".conllu") or known_format(file) not in (None, "tsv")


def _is_one(file: Path) -> bool:
    """Whether a file has words in lines; one that is called a table has to mark spans."""
    ending = Path(file.name.lower().removesuffix(".gz")).suffix
    found = None if _is_other(file, ending) else looked_at(file, whole=False)
    if found is not None and known_format(file) is not None:
        return any(c.kind == "spans" for c in found.columns)
    return found is not None


def _part(file: Path) -> tuple[str, str]:
    """The part that a file's name says, or '', and its name without it."""
    return part_of(file.name.removesuffix(".gz"))
