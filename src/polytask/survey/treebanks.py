"""A configuration and a profile of a treebank (CoNLL-U)."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.data.conll import UniversalDependencies, read_text
from polytask.data.splits import part_named
from polytask.errors import DataError, nearest, require
from polytask.survey.lines import quoted

COLUMNS = ("upos", "xpos", "deprel", "lemma")
MANY = 300  # different labels above which a column is no target


def treebank_files(data: Path, names: Sequence[str] | None = None) -> dict[str, Path]:
    """The files of a treebank by part; a single file that names no part has the part ''.

    A file that names its part (`de_gsd-ud-train.conllu`) brings those beside it of the same name.

    Args:
        data: A file, or a folder.
        names: Names for columns, which treebanks have already.

    Returns:
        Nothing if it is no treebank, or a folder without one.

    Raises:
        DataError: If a folder has several treebanks, or names are given for one.
    """
    if data.is_dir():
        files = sorted(f for f in data.iterdir() if _is_treebank(f))
    elif _is_treebank(data):
        _, base = _part(data)
        near = (f for f in data.absolute().parent.iterdir() if _is_treebank(f))
        files = [data, *(f for f in near if _part(f)[1] == base and f.name != data.name)]
    else:
        return {}
    bases = {_part(f)[1] for f in files}
    if len(bases) > 1:
        raise DataError(
            f"{data} has several treebanks: {', '.join(sorted(bases))}. Name a file of one of them."
        )
    if files and names:
        raise DataError(
            f"--columns: the columns of a treebank, as {files[0].name} is one, have their names."
        )
    parts = {_part(f)[0]: f for f in files}
    return {p: parts[p] for p in ("", "train", "validation", "test") if p in parts}


def draft_treebank(files: dict[str, Path], targets: Sequence[str], folder: Path) -> str:
    """The text of a configuration.

    Args:
        files: What `treebank_files` found.
        targets: Columns or keys of FEATS to predict; parts of speech if empty.
        folder: Where the text will be written; paths in it start there.

    Raises:
        DataError: If there are no training sentences, or a target is none.
    """
    if "" not in files and "train" not in files:
        raise DataError(
            f"There is no training part beside {next(iter(files.values()))}: expected a file whose "
            "name says 'train'."
        )
    first = files.get("", files.get("train", Path()))
    known = _features(first)
    wanted = list(dict.fromkeys(targets)) or ["upos"]
    for name in wanted:
        if name not in (*COLUMNS, *known):
            raise DataError(
                f"{first.name} has no column or feature '{name}' to predict. "
                f"{nearest(name, [*COLUMNS, *known])}"
            )
    features = [name for name in wanted if name in known]
    table = UniversalDependencies(path=first, features=features).load()
    tasks: list[str] = []
    for name in wanted:
        cells = table.cells([name])[:, 0].tolist()
        target = f"target: {{data: {quoted(name)}}}"
        task = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
        tasks += [
            f"  # {_why(first, name, cells)}",
            f"  {task}: {{kind: tagging, {target}, dropout: 0.3}}",
        ]
    return "\n".join(
        [
            f"# Drafted from {first.name}: {len(table):,} sentences. Look it over, then: "
            "polytask check",
            *_source_lines(files, features, folder),
            *_input_lines(),
            "tasks:",
            *tasks,
            "trunk: {kind: hard, backbone: {kind: recurrent, cell: lstm, width: 128}}",
            "# A label that training sentences lack cannot be told, and is left out.",
            "unknown_labels: skip",
            "batches: {size: 32}",
            "optimizer: {kind: adamw, lr: 0.003, weight_decay: 0.01}",
            "schedule: {kind: one_cycle}",
            "training: {epochs: 8, clip: 5.0}",
            "",
        ]
    )


def profile_treebank(data: Path, files: dict[str, Path]) -> dict[str, Any]:
    """What `profile_data` gives, of sentences: their words, and how many labels each column has.

    Args:
        data: What it is called.
        files: What `treebank_files` found.
    """
    parts: dict[str, Path | list[Path]] = dict(files)
    path = files.get("", parts)
    features = list(dict.fromkeys(name for file in files.values() for name in _features(file)))
    table = UniversalDependencies(path=path, features=features).load()
    columns: dict[str, dict[str, Any]] = {}
    for name in ("words", *COLUMNS, *features):
        cells = table.cells([name])[:, 0].tolist()
        counts, words = _counted(cells)
        blank = words - sum(counts.values())
        what = "word" if name in ("words", "lemma") else "label"
        (often, most), *_ = counts.most_common(1) or [("-", 0)]
        columns[name] = {
            "kind": f"{len(counts):,} {what}{'' if len(counts) == 1 else 's'}",
            "why": f"one for a word; the most frequent is {often} ({most / max(1, words):.1%})",
            "missing": blank,
            "share": blank / max(1, words),
        }
    repeated = int(table.frame["words"].duplicated().sum())
    return {
        "data": str(data),
        "things": "sentences",
        "rows": len(table),
        "columns": columns,
        "repeated_rows": repeated,
    }


def _source_lines(files: dict[str, Path], features: Sequence[str], folder: Path) -> list[str]:
    def near(file: Path) -> str:
        return quoted(os.path.relpath(file.absolute(), folder.absolute()))

    lines = ["sources:", "  data:", "    kind: conllu"]
    if "" in files:
        lines.append(f"    path: {near(files[''])}")
        split = "{test: 0.15, validation: 0.15}  # drawn at random, for there is one file"
    else:
        lines += ["    path:", *(f"      {part}: {near(file)}" for part, file in files.items())]
        lacking = [p for p in ("validation", "test") if p not in files]
        drawn = "".join(f", {part}: 0.15" for part in lacking)
        split = f"{{fixed: true{drawn}}}"
        split += "  # files are parts" + (f"; {' and '.join(lacking)} drawn" if lacking else "")
    if features:
        lines.append(f"    features: [{', '.join(map(quoted, features))}]")
    return [*lines, f"    split: {split}"]


def _input_lines() -> list[str]:
    return [
        "inputs:",
        "  words:  # each by itself, and how it is spelled",
        "    {kind: text, column: words, lowercase: true, min_count: 2, characters: 20,",
        "     encoder: {width: 100, dropout: 0.3, word_dropout: 0.02}}",
    ]


def _why(file: Path, name: str, cells: Sequence[Any]) -> str:
    """What the labels of a column are.

    Raises:
        DataError: If they are too many, or none.
    """
    counts, words = _counted(cells)
    if len(counts) < 2 or len(counts) > MANY:
        raise DataError(
            f"{file.name}: column '{name}' has {len(counts):,} different labels; expected 2 to "
            f"{MANY}. Name another column under --targets."
        )
    rare, seen = min(counts.items(), key=lambda pair: pair[1])
    blank = words - sum(counts.values())
    without = f"; {blank:,} of {words:,} words have none" if blank else ""
    return f"{len(counts)} labels; the rarest is {rare} {seen / words:.2%}{without}"


def _counted(cells: Sequence[Any]) -> tuple[Counter[str], int]:
    """How often each label is there, and how many words there are."""
    counts = Counter(label for cell in cells for label in cell or () if label is not None)
    return counts, sum(len(cell or ()) for cell in cells)


def _features(file: Path) -> list[str]:
    """Keys of FEATS that words have, the most frequent first."""
    library = require("conllu", "text")
    counts: Counter[str] = Counter()
    for line in read_text(file).split("\n"):
        cells = line.split("\t")
        if len(cells) == 10 and cells[5] != "_":
            parsed = library.parser.parse_dict_value(cells[5]) or {}
            counts.update(parsed.keys())
    return [name for name, _ in counts.most_common()]


def _is_treebank(file: Path) -> bool:
    return file.is_file() and re.search(r"\.conllu(\.gz)?$", file.name.lower()) is not None


def _part(file: Path) -> tuple[str, str]:
    """The part that a file's name says, or '', and its name without it."""
    stem = re.sub(r"\.conllu(\.gz)?$", "", file.name, flags=re.I)
    pieces = re.split(r"([-_.])", stem)
    for place, piece in enumerate(pieces):
        part = part_named(piece)
        if part is not None:
            return part, "".join([*pieces[:place], "*", *pieces[place + 1 :]])
    return "", stem
