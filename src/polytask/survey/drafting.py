"""A configuration written for somebody's data, with the reasons in comments."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polytask.data.class_folders import ClassFolders
from polytask.data.media import ParquetMedia
from polytask.data.parquet import nested
from polytask.data.sources import Table
from polytask.data.tables import TableFile, format_of
from polytask.errors import DataError, nearest
from polytask.survey.guesses import Column, Target, guess_column, guess_target

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan"}


def draft(data: Path, targets: Sequence[str], output: Path) -> str:
    """The text of a configuration.

    Args:
        data: A table, or a folder of class folders.
        targets: The columns to predict; for class folders the label if empty.
        output: Where the text will be written; paths in it start there.

    Raises:
        DataError: If the data cannot be read, or a target is none.
    """
    path = Path(os.path.relpath(data.absolute(), output.absolute().parent))
    if data.is_dir():
        return _of_folders(data, path, targets)
    table = TableFile(path=data, media=encoded_media(data)).load()
    if not targets:
        raise DataError(
            f"Name the columns to predict under --targets, of: {', '.join(table.columns[:30])}."
        )
    for name in targets:
        if name not in table.columns:
            raise DataError(
                f"{data.name} has no column '{name}' to predict. {nearest(name, table.columns)}"
            )
    for name in targets:
        if name in table.media:
            raise DataError(f"Column '{name}' holds {table.media[name].kind}s: it is no target.")
    cells = {name: table.cells([name])[:, 0].tolist() for name in table.frame.columns}
    goals = [guess_target(name, cells[name]) for name in targets]
    others = [n for n in table.frame.columns if n not in targets]
    columns = [
        Column(n, "sound" if m.kind == "sound" else "image", "its cells are encoded")
        for n, m in table.media.items()
    ]
    columns += [guess_column(n, cells[n], data.parent) for n in others]
    return _of_table(table, path, columns, goals)


def _of_folders(data: Path, path: Path, targets: Sequence[str]) -> str:
    table = ClassFolders(path=data).load()
    if list(targets) not in ([], ["label"]):
        raise DataError(f"In class folders 'label' is what there is to predict. Found {targets}.")
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
    return "\n".join([*head, "tasks:", *_task_lines([goal]), *_rest(len(table))])


def _of_table(table: Table, path: Path, columns: Sequence[Column], goals: Sequence[Target]) -> str:
    split = next((c for c in columns if c.kind == "split"), None)
    media = {c.name: c.kind for c in columns if c.kind in ("image", "sound")}
    by = next((g for g in goals if g.even), None)
    how = f"{{column: {quoted(split.name)}}}" if split else _stratified(by)
    declared = "".join(f", {quoted(n)}: {k}" for n, k in media.items())[2:]
    lines = [
        f"# Drafted from {path.name}: {len(table):,} rows. Look it over, then: polytask check",
        *_duplicates(table),
        "sources:",
        "  data:",
        "    kind: table",
        f"    path: {quoted(str(path))}",
        *([f"    media: {{{declared}}}"] if media else []),
        f"    split: {how}" + (f"  # {split.why}" if split else ""),
        "inputs:",
    ]
    plain = [c for c in columns if c.kind in ("number", "category", "date", "text")]
    if media:  # a task reads one input
        lines += [f"  # {_one_line(c.name)} ({c.kind}) is left out beside a file." for c in plain]
        lines += [f"  # So is {_one_line(n)}, another file." for n in list(media)[1:]]
        lines += _media_input(*next(iter(media.items())))
    lines += [
        f"  # {_one_line(c.name)} is left out: {c.why}." for c in columns if c.kind == "left out"
    ]
    if not media and not plain:
        raise DataError(f"{path.name} has no column to predict from: all are targets or left out.")
    if not media and [c.kind for c in plain] == ["text"]:
        lines += [f"  # {plain[0].why}", *_text_input(plain[0].name)]
    elif not media:
        lines += ["  row:", "    kind: table", "    columns:", *map(_column_line, plain)]
        lines += _kinds(plain)
    return "\n".join([*lines, "tasks:", *_task_lines(goals), *_rest(len(table))])


def encoded_media(data: Path) -> dict[str, Literal["image", "sound", "map"]]:
    """Columns of a Parquet file whose cells are encoded pictures or sounds, by their first one."""
    if format_of(data) != "parquet" or not data.is_file():
        return {}
    found: dict[str, Literal["image", "sound", "map"]] = {}
    for name in nested(data, ()):
        for kind in ("image", "sound"):
            media = ParquetMedia(kind, [data], name)
            try:
                media.picture(0) if kind == "image" else media.wave(0)
            except (DataError, OSError):
                continue
            found[name] = kind
            break
    return found


def _media_input(column: str, kind: str) -> list[str]:
    body = (
        "size: 64, body: {kind: residual, widths: [16, 32, 64]}"
        if kind == "image"
        else "seconds: 2.0, body: {kind: recurrent, width: 64}"
    )
    name = "picture" if kind == "image" else "sound"
    return [f"  {name}: {{kind: {kind}, column: {quoted(column)}, pool: mean, {body}}}"]


def _text_input(column: str) -> list[str]:
    body = "body: {kind: recurrent, width: 64}"
    return [f"  words: {{kind: text, column: {quoted(column)}, pool: mean, {body}}}"]


def _column_line(column: Column) -> str:
    blank = f"; {column.missing:,} blank" if column.missing else ""
    why = _one_line(f"{column.kind}: {column.why}{blank}")
    return f"      - {quoted(column.name)}  # {why}"


def _kinds(plain: Sequence[Column]) -> list[str]:
    lines = []
    for key, kind in (("dates", "date"), ("texts", "text")):
        names = [quoted(c.name) for c in plain if c.kind == kind]
        lines += [f"    {key}: [{', '.join(names)}]"] if names else []
    blanks = [c for c in plain if c.kind == "number" and c.missing]
    if any(c.kind == "number" for c in plain):
        why = f"  # {len(blanks)} columns of numbers have blanks" if blanks else ""
        lines.append(f"    clean: {{missing: {{strategy: median}}, scale: standard}}{why}")
    return lines


def _task_lines(goals: Sequence[Target]) -> list[str]:
    """A task per target, with the reason for its kind above it."""
    lines: list[str] = []
    taken: set[str] = set()
    for goal in goals:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", goal.name).strip("-")
        name = name if re.match("[A-Za-z]", name) else f"t{name}"
        while name in taken:
            name += "-2"
        taken.add(name)
        settings = "".join(f", {k}: {_value(v)}" for k, v in goal.settings.items())
        missing = f"; {goal.missing:,} labels missing" if goal.missing else ""
        target = f"target: {{data: {quoted(goal.name)}}}"
        lines += [
            f"  # {_one_line(goal.why)}{missing}",
            f"  {quoted(name)}: {{kind: {goal.kind}, {target}{settings}}}",
        ]
    return lines


def _rest(rows: int) -> list[str]:
    """Network and training, by the number of rows."""
    width, size = (64, 32) if rows < 2000 else (256, 128)
    return [
        f"trunk: {{kind: hard, backbone: {{kind: perceptron, widths: [{width}, {width}]}}}}",
        f"batches: {{size: {size}}}",
        "optimizer: {kind: adamw, lr: 0.002, weight_decay: 0.05}",
        "schedule: {kind: cosine, warmup: 0.1}",
        f"training: {{epochs: {int(np.clip(200_000 // max(rows, 1), 5, 40))}}}",
        "",
    ]


def _stratified(goal: Target | None) -> str:
    by = f", stratify: {quoted(goal.name)}" if goal is not None and goal.even else ""
    return f"{{test: 0.15, validation: 0.15{by}}}"


def _duplicates(table: Table) -> list[str]:
    """A warning about rows that are there more than once."""
    twice = int(table.frame.astype(str).duplicated().sum())
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


def quoted(text: str) -> str:
    """A text as YAML, in quotes where it could be read as something else."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    """A text for a comment: one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) < 90 else line[:87] + "..."


def _value(value: Any) -> str:
    return f"[{', '.join(map(quoted, value))}]" if isinstance(value, list) else quoted(str(value))
