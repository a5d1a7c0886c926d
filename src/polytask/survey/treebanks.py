"""A configuration and a profile of a treebank (CoNLL-U)."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.data.conll import UniversalDependencies, read_text
from polytask.errors import DataError, nearest, require
from polytask.survey.lines import quoted
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

COLUMNS = ("upos", "xpos", "deprel", "lemma")


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
    return in_order({_part(f)[0]: f for f in files})


def draft_treebank(files: dict[str, Path], targets: Sequence[str], folder: Path) -> str:
    """The text of a configuration.

    Args:
        files: What `treebank_files` found.
        targets: Columns or keys of FEATS to predict; parts of speech if empty.
        folder: Where the text will be written; paths in it start there.

    Raises:
        DataError: If there are no training sentences, or a target is none.
    """
    first = training_file(files)
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
    tasks = [
        line
        for name in wanted
        for line in task_lines(name, told(first, name, table.cells([name])[:, 0].tolist()))
    ]
    settings = [f"    features: [{', '.join(map(quoted, features))}]"] if features else []
    source = source_lines("conllu", files, settings, folder)
    return written(f"{first.name}: {len(table):,} sentences", source, tasks)


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
    return profile(data, table, ["words", *COLUMNS, *features])


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
    return part_of(re.sub(r"\.conllu(\.gz)?$", "", file.name, flags=re.I))
