"""Lines of a configuration, with their reasons in comments."""

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polytask.survey.guesses import Column, Target

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_MANY = 12
_SOME = 6
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan"}


def text_input(column: str) -> list[str]:
    """An input that reads words."""
    body = "body: {kind: recurrent, width: 64}"
    return [f"  words: {{kind: text, column: {quoted(column)}, pool: mean, {body}}}"]


def sentence_input(column: str) -> list[str]:
    """An input that reads words of which each has labels, and how they are spelled."""
    how = "lowercase: true, min_count: 2, characters: 20,"
    return [
        "  words:  # each by itself, and how it is spelled",
        f"    {{kind: text, column: {quoted(column)}, {how}",
        "     encoder: {width: 100, dropout: 0.3, word_dropout: 0.02}}",
    ]


def sentence_network() -> list[str]:
    """Network and training for labels of words."""
    return [
        "trunk: {kind: hard, backbone: {kind: recurrent, cell: lstm, width: 128}}",
        "# A label that training sentences lack cannot be told, and is left out.",
        "unknown_labels: skip",
        "batches: {size: 32}",
        "optimizer: {kind: adamw, lr: 0.003, weight_decay: 0.01}",
        "schedule: {kind: one_cycle}",
        "training: {epochs: 8, clip: 5.0}",
        "",
    ]


def formula_input(column: str) -> list[str]:
    """An input that reads letters, as formulas have them."""
    body = "body: {kind: recurrent, width: 64}"
    how = "level: characters, split: spaces, max_length: 200, pool: mean"
    return [f"  letters: {{kind: text, column: {quoted(column)}, {how}, {body}}}"]


def left_out(columns: Sequence[Column], beside: str) -> list[str]:
    """A comment for each column that is not read because another is, or one for many."""
    if len(columns) > _MANY:
        first = ", ".join(c.name for c in columns[:3])
        return [f"  # {len(columns):,} columns are left out beside {beside}: {first}, ..."]
    return [f"  # {one_line(c.name)} ({c.kind}) is left out beside {beside}." for c in columns]


def column_line(column: Column) -> str:
    """A column of a table input."""
    blank = f"; {column.missing:,} blank" if column.missing else ""
    why = one_line(f"{column.kind}: {column.why}{blank}")
    return f"      - {quoted(column.name)}  # {why}"


def cleaning(plain: Sequence[Column]) -> list[str]:
    """What a table input is told about its columns."""
    lines = []
    codes = [quoted(c.name) for c in plain if c.codes]
    lines += [f"    categories: [{', '.join(codes)}]"] if codes else []
    for key, kind in (("dates", "date"), ("texts", "text")):
        names = [quoted(c.name) for c in plain if c.kind == kind]
        lines += [f"    {key}: [{', '.join(names)}]"] if names else []
    lines += [f"    # {' '.join(c.doubt.split())}" for c in plain if c.doubt]
    blanks = [c for c in plain if c.kind == "number" and c.missing]
    if any(c.kind == "number" for c in plain):
        some = "1 column" if len(blanks) == 1 else f"{len(blanks)} columns"
        has = "has" if len(blanks) == 1 else "have"
        why = f"  # {some} of numbers {has} blanks" if blanks else ""
        lines.append(f"    clean: {{missing: {{strategy: median}}, scale: standard}}{why}")
    return lines


def task_lines(goals: Sequence[Target]) -> list[str]:
    """A task per target, with the reason for its kind above it."""
    names: dict[str, str] = {}  # By column; none is given twice.
    for goal in goals:
        plain = unicodedata.normalize("NFKD", goal.name).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-")
        name = name if re.match("[A-Za-z]", name) else f"t{name}"
        while name in names.values():
            name += "-2"
        names[goal.name] = name
    lines: list[str] = []
    for goal in goals:
        parent = {"parent": names[goal.parent]} if goal.parent else {}
        settings = "".join(f", {k}: {_value(v)}" for k, v in {**goal.settings, **parent}.items())
        missing = f"; {goal.missing:,} labels missing" if goal.missing else ""
        kinds = f"; each is of one {one_line(goal.parent)}" if goal.parent else ""
        target = f"target: {{data: {quoted(goal.name)}}}"
        lines += [
            f"  # {one_line(goal.why)}{kinds}{missing}",
            *_rare_lines(goal),
            f"  {quoted(names[goal.name])}: {{kind: {goal.kind}, {target}{settings}}}",
        ]
    return lines


def _rare_lines(goal: Target) -> list[str]:
    """A warning about classes that may be in no part but one."""
    if not goal.rare:
        return []
    some = ", ".join(f"{count} of '{name}'" for name, count in list(goal.rare.items())[:_SOME])
    more = f", ... ({len(goal.rare)} classes)" if len(goal.rare) > _SOME else ""
    return [f"  # Too few examples to learn from and to judge by: {one_line(some)}{more}"]


def network_lines(rows: int, goals: Sequence[Target], *, quick: bool = False) -> list[str]:
    """Network and training, by the number of rows and what is predicted.

    Args:
        rows: How many there are.
        goals: What is predicted.
        quick: Whether an input takes next to no time, as columns of a table do: few rows then are
            seen more often.
    """
    rare = any(goal.settings.get("threshold") == "tuned" for goal in goals)
    by, why = "", ""
    if rare and all(goal.kind in ("binary", "multilabel") for goal in goals):
        by, why = ", monitor: mean.auroc", "  # of rare labels accuracy says little"
    width, size = (64, 32) if rows < 2000 else (256, 128)
    epochs = int(np.clip(200_000 // max(rows, 1), 5, 200 if quick else 40))
    trunk = f"trunk: {{kind: hard, backbone: {{kind: perceptron, widths: [{width}, {width}]}}}}"
    if any(goal.kind == "ctc" for goal in goals):  # it begins with blanks, and leaves them late
        return [
            trunk,
            *_unknown_letters(goals),
            f"batches: {{size: {size // 4}}}",
            "optimizer: {kind: adamw, lr: 0.004, weight_decay: 0.01}",
            "schedule: {kind: one_cycle, warmup: 0.2}",
            f"training: {{epochs: {epochs}, clip: 5.0}}",
            "",
        ]
    if any(goal.kind == "generation" for goal in goals):  # what is written looks at places
        return [
            "trunk: {kind: hard, backbone: {kind: residual, widths: [32, 64, 128]}}",
            *_unknown_letters(goals),
            "batches: {size: 32}",
            "optimizer: {kind: adamw, lr: 0.004, weight_decay: 0.01}",
            "schedule: {kind: one_cycle, warmup: 0.2}",
            f"training: {{epochs: {epochs}, clip: 5.0}}",
            "",
        ]
    return [
        trunk,
        *_unknown_classes(goals),
        f"batches: {{size: {size}}}",
        "optimizer: {kind: adamw, lr: 0.002, weight_decay: 0.05}",
        "schedule: {kind: cosine, warmup: 0.1}",
        f"training: {{epochs: {epochs}{by}}}{why}",
        "",
    ]


def _unknown_classes(goals: Sequence[Target]) -> list[str]:
    """What becomes of classes that are so rare that perhaps no training row has them."""
    if not any(goal.rare and "classes" not in goal.settings for goal in goals):
        return []
    return [
        "# Rows may be divided so that no training row has a rare label: it is left out then, and",
        "# told. To learn it, add examples.",
        "unknown_labels: skip",
    ]


def _unknown_letters(goals: Sequence[Target]) -> list[str]:
    """What becomes of letters that some part may have alone."""
    if not any(goal.rare for goal in goals if goal.kind in ("ctc", "generation")):
        return []
    return [
        "# A text with a letter that training texts lack cannot be told, and is left out.",
        "unknown_labels: skip",
    ]


def quoted(text: str) -> str:
    """A text as YAML, in quotes where it could be read as something else."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def near(path: Path, folder: Path) -> str:
    """A path as it is written in a file of a folder."""
    return os.path.relpath(path.absolute(), folder.absolute())


def one_line(text: str) -> str:
    """A text for a comment: one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) < 90 else line[:87] + "..."


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    return str(value) if isinstance(value, float) else quoted(str(value))
