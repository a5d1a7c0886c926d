"""What drafts and profiles of sentences whose words have labels have in common."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.data.sources import Table
from polytask.data.splits import PARTS, part_named
from polytask.errors import DataError
from polytask.survey.lines import near, quoted, sentence_input, sentence_network

MANY = 300  # different labels above which a column is no target
# What CoNLL-2002 and 2003 call their parts, besides the usual names.
_PARTS = {"testa": "validation", "testb": "test"}
_NUMBERED = re.compile(r"(.*\d)([a-z]+)", re.IGNORECASE)


def written(what: str, source: Sequence[str], tasks: Sequence[str]) -> str:
    """The text of a configuration.

    Args:
        what: What it is drafted from.
        source: The lines of its sources.
        tasks: The lines of its tasks.
    """
    return "\n".join(
        [
            f"# Drafted from {what}. Look it over, then: polytask check",
            *source,
            "inputs:",
            *sentence_input("words"),
            "tasks:",
            *tasks,
            *sentence_network(),
        ]
    )


def task_lines(name: str, why: str, *, spans: bool = False) -> list[str]:
    """A task that labels words, with the reason above it.

    Args:
        name: The column.
        why: The reason.
        spans: Whether its labels mark spans, so that it matters which follows which.
    """
    task = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    settings = "decoder: crf, dropout: 0.5" if spans else "dropout: 0.3"
    target = f"target: {{data: {quoted(name)}}}"
    return [f"  # {why}", f"  {task}: {{kind: tagging, {target}, {settings}}}"]


def source_lines(
    kind: str,
    files: Mapping[str, Path],
    settings: Sequence[str],
    folder: Path,
    *,
    group: str | None = None,
) -> list[str]:
    """The lines of the sources: files by part, and how the rows are divided.

    Args:
        kind: The kind of source.
        files: The files by part; the part of a single file that names none is ''.
        settings: Lines of further settings.
        folder: Where the text will be written; paths in it start there.
        group: A column of which no value is in two parts, where parts are drawn.
    """
    lines = ["sources:", "  data:", f"    kind: {kind}"]
    if "" in files:
        lines.append(f"    path: {quoted(near(files[''], folder))}")
        by = "" if group is None else f", group: {quoted(group)}"
        split = f"{{test: 0.15, validation: 0.15{by}}}  # drawn at random, for there is one file"
    else:
        lines.append("    path:")
        lines += [f"      {part}: {quoted(near(file, folder))}" for part, file in files.items()]
        lacking = [p for p in ("validation", "test") if p not in files]
        drawn = "".join(f", {part}: 0.15" for part in lacking)
        split = f"{{fixed: true{drawn}}}"
        split += "  # files are parts" + (f"; {' and '.join(lacking)} drawn" if lacking else "")
    return [*lines, *settings, f"    split: {split}"]


def counted(cells: Sequence[Any]) -> tuple[Counter[str], int]:
    """How often each label is there, and how many words there are."""
    counts = Counter(label for cell in cells for label in cell or () if label is not None)
    return counts, sum(len(cell or ()) for cell in cells)


def told(file: Path, name: str, cells: Sequence[Any]) -> str:
    """What the labels of a column are.

    Raises:
        DataError: If they are too many, or none.
    """
    counts, words = counted(cells)
    if len(counts) < 2 or len(counts) > MANY:
        raise DataError(
            f"{file.name}: column '{name}' has {len(counts):,} different labels; expected 2 to "
            f"{MANY}. Name another column under --targets."
        )
    rare, seen = min(counts.items(), key=lambda pair: pair[1])
    blank = words - sum(counts.values())
    without = f"; {blank:,} of {words:,} words have none" if blank else ""
    return f"{len(counts)} labels; the rarest is {rare} {seen / words:.2%}{without}"


def profile(data: Path, table: Table, columns: Sequence[str]) -> dict[str, Any]:
    """What `profile_data` gives, of sentences: their words, and how many labels each column has.

    Args:
        data: What it is called.
        table: The sentences.
        columns: The columns that are shown, those with different words among them.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in columns:
        counts, words = counted(table.cells([name])[:, 0].tolist())
        blank = words - sum(counts.values())
        what = "word" if name in ("words", "lemma") else "label"
        (often, most), *_ = counts.most_common(1) or [("-", 0)]
        found[name] = {
            "kind": f"{len(counts):,} {what}{'' if len(counts) == 1 else 's'}",
            "why": f"one for a word; the most frequent is {often} ({most / max(1, words):.1%})",
            "missing": blank,
            "share": blank / max(1, words),
        }
    return {
        "data": str(data),
        "things": "sentences",
        "rows": len(table),
        "columns": found,
        "repeated_rows": int(table.frame["words"].duplicated().sum()),
    }


def training_file(files: Mapping[str, Path]) -> Path:
    """The file whose sentences are trained on.

    Raises:
        DataError: If there is none.
    """
    found = files.get("", files.get("train"))
    if found is None:
        raise DataError(
            f"There is no training part beside {next(iter(files.values()))}: expected a file whose "
            "name says 'train'."
        )
    return found


def part_of(name: str) -> tuple[str, str]:
    """The part that the name of a file says, or '', and the name without it."""
    pieces = re.split(r"([-_.])", name)
    for place, piece in enumerate(pieces):
        match = _NUMBERED.fullmatch(piece)
        begin, said = (match[1], match[2]) if match else ("", piece)
        part = part_named(said) or _PARTS.get(said.lower())
        if part is not None:
            return part, "".join([*pieces[:place], f"{begin}*", *pieces[place + 1 :]])
    return "", name


def in_order(parts: Mapping[str, Path]) -> dict[str, Path]:
    """Files by part: the one of no part, then those of training, validation and test."""
    return {p: parts[p] for p in ("", *PARTS) if p in parts}
