"""A configuration and a profile of a treebank (CoNLL-U)."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.data.conll import UniversalDependencies, read_text
from polytask.errors import DataError, nearest, require
from polytask.survey.lines import quoted
from polytask.survey.lines import task_lines as label_lines
from polytask.survey.persons import GROUPS
from polytask.survey.tagged import (
    MANY,
    in_order,
    part_of,
    profile,
    source_lines,
    task_lines,
    told,
    training_file,
    written,
)
from polytask.survey.target_guesses import guess_target

COLUMNS = ("upos", "xpos", "deprel", "lemma")
_COMMENT = re.compile(r"#\s*([^=]+?)\s*=\s*(.+)")
_OWN = ("text", "sent_id")  # comments of which each sentence has another
_DOCUMENT = "newdoc id"  # a comment that names the document that begins


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
        targets: Columns, keys of FEATS, or keys of comments above sentences (or documents) to
            predict; parts of speech if empty.
        folder: Where the text will be written; paths in it start there.

    Raises:
        DataError: If there are no training sentences, or a target is none.
    """
    first = training_file(files)
    known, comments = _features(first), _comments(first)
    wanted = list(dict.fromkeys(targets)) or ["upos"]
    for name in wanted:
        if name not in (*COLUMNS, *known, *comments):
            raise DataError(
                f"{first.name} has no column, feature or comment '{name}' to predict. "
                f"{nearest(name, [*COLUMNS, *known, *comments])}"
            )
    features = [name for name in wanted if name in known and name not in COLUMNS]
    above = [name for name in wanted if name not in (*COLUMNS, *known)]
    whole = "" in files and _DOCUMENT in comments  # else files are parts
    read = [*above, _DOCUMENT] if above and whole and _DOCUMENT not in above else above
    table = UniversalDependencies(path=first, features=features, metadata=read).load()
    tasks: list[str] = []
    for name in wanted:
        cells = table.cells([name])[:, 0].tolist()
        if name in above:
            tasks += label_lines([guess_target(name, cells)])
        else:
            tasks += task_lines(name, told(first, name, cells))
    settings = [f"    features: [{', '.join(map(quoted, features))}]"] if features else []
    settings += [f"    metadata: [{', '.join(map(quoted, read))}]"] if read else []
    group = None
    if _DOCUMENT in read and len(set(table.cells([_DOCUMENT])[:, 0])) >= GROUPS:
        group = _DOCUMENT
    source = source_lines("conllu", files, settings, folder, group=group)
    comments.pop(_DOCUMENT, None)
    others = [f"{key} ({count:,} different)" for key, count in comments.items()]
    if others and not above:
        source = [
            f"# Comments say more: {', '.join(others[:6])}; --targets takes them, too.",
            *source,
        ]
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


def _comments(file: Path) -> dict[str, int]:
    """Keys of comments that are labels, or name documents, and how many different values each has.

    A label recurs. What each sentence has of its own, such as its text, is none.
    """
    values: dict[str, list[str]] = {}
    for line in read_text(file).split("\n"):
        match = _COMMENT.match(line)
        if match is not None and match[1].strip() not in _OWN:
            values.setdefault(match[1].strip(), []).append(match[2].strip())
    counts = {key: len(set(of)) for key, of in values.items()}
    return {
        key: count
        for key, count in counts.items()
        if key == _DOCUMENT or (1 < count <= MANY and 2 * count <= len(values[key]))
    }


def _is_treebank(file: Path) -> bool:
    return file.is_file() and re.search(r"\.conllu(\.gz)?$", file.name.lower()) is not None


def _part(file: Path) -> tuple[str, str]:
    """The part that a file's name says, or '', and its name without it."""
    return part_of(re.sub(r"\.conllu(\.gz)?$", "", file.name, flags=re.I))
