"""What data is like before anything is trained on it, in numbers.

Letters: N rows, T tasks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polytask.data.columns import as_floats
from polytask.data.dataset import Dataset, Prepared
from polytask.data.places import by_part
from polytask.data.sources import Table
from polytask.data.stores import as_rows
from polytask.data.table_cleaning import RobustZ
from polytask.data.tabular import TableInput
from polytask.errors import DataError
from polytask.survey.guesses import Column, guess_column
from polytask.survey.table_files import table_files
from polytask.survey.table_reading import read_table
from polytask.survey.treebanks import profile_treebank, treebank_files
from polytask.survey.word_columns import profile_words, word_files

Facts = dict[str, Any]
_SHOWN = 20


def profile_data(path: Path, names: Sequence[str] | None = None) -> Facts:
    """Data of which nothing is known: its columns, blanks, outliers, repeated rows.

    Where cells are encoded pictures or sounds, rows are not compared.

    Args:
        path: A table, a treebank or a file with words in lines, or a folder of one.
        names: The names of all columns, where the first line of a table is a row, or each line is
            a word.

    Raises:
        DataError: If it cannot be read, or there is none.
    """
    treebank = treebank_files(path, names)
    if treebank:
        return profile_treebank(path, treebank)
    words = word_files(path)
    if words:
        return profile_words(path, words, names or ())
    files = table_files(path, targets=["*"], names=names)
    if not files:
        raise DataError(
            f"{path} has no table and no treebank. Name one, or the configuration that `polytask "
            "init` writes for its pictures, sounds or texts."
        )
    _, table, _ = read_table(files, names)
    cells = {name: table.cells([name])[:, 0].tolist() for name in table.frame.columns}
    guesses = [
        Column(n, "sound" if m.kind == "sound" else "image", "its cells are encoded")
        for n, m in table.media.items()
    ]
    folder = by_part(files)[0][1].parent
    guesses += [guess_column(n, c, folder) for n, c in cells.items()]
    columns = {
        g.name: {"kind": g.kind, "why": g.why, "missing": g.missing, "share": _share(g, table)}
        for g in guesses
    }
    for guess in guesses:
        if guess.kind == "number":
            columns[guess.name]["outliers"] = outliers(table, guess.name)
    facts = {"data": str(path), "rows": len(table), "columns": columns, "doubt": table.doubt()}
    facts["doubts"] = [g.doubt for g in guesses if g.doubt]
    if not table.media:
        facts["repeated_rows"] = int(table.frame.astype(str).duplicated().sum())
    return facts


def profile_prepared(prepared: Prepared) -> Facts:
    """The data of a configuration.

    Returns:
        `summary` (rows, labels, classes, what was cleaned), `overlap` (per input the tasks, and
        how many rows have labels of both), `columns` (per table input and column the kind,
        `missing` per part and `outliers`), and `leaks` (per source and input how many validation
        and test rows are exactly like a training row).
    """
    columns = {
        name: _columns(some, prepared)
        for name, some in prepared.inputs.items()
        if isinstance(some, TableInput)
    }
    return {
        "summary": prepared.summary(),
        "overlap": {name: overlap(prepared, name) for name in prepared.inputs},
        "columns": columns,
        "leaks": leaks(prepared),
    }


def overlap(prepared: Prepared, name: str) -> Facts:
    """How many training rows of an input have labels of two tasks, `[T, T]`.

    On the diagonal: of one task.
    """
    tasks = [task.name for task in prepared.tasks if task.input == name]
    counts = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
    for source, rows in prepared.parts["train"].items():
        dataset = prepared.datasets[source]
        if name not in dataset.stores or not tasks:
            continue
        present = torch.stack([dataset.present[task][rows] for task in tasks]).double()
        counts += present @ present.T
    return {"tasks": tasks, "rows": counts.long().tolist()}


def outliers(table: Table, name: str) -> int:
    """Cells more than five robust deviations from the median of their column."""
    values = as_floats(name, table.cells([name])[:, 0], table.describe)[:, None]
    if np.isnan(values).all():
        return 0
    detector = RobustZ()
    return int(detector.strange(values, detector.fit(values)).sum())


def leaks(prepared: Prepared) -> dict[str, dict[str, Facts]]:
    """Rows that are held out and exactly like a training row, by source and input."""
    found: dict[str, dict[str, Facts]] = {}
    for source, dataset in prepared.datasets.items():
        for name in dataset.stores:
            keys = {
                part: _keys(dataset, name, as_rows(by[source]))
                for part, by in prepared.parts.items()
                if source in by
            }
            trained = as_rows(prepared.parts["train"].get(source, ()))
            seen = dict(zip(keys.get("train", []), trained, strict=True))
            for part in ("validation", "test"):
                rows = as_rows(prepared.parts.get(part, {}).get(source, ()))
                pairs = zip(rows, keys.get(part, []), strict=True)
                same = [(int(row), int(seen[key])) for row, key in pairs if key in seen]
                if same:
                    where = [
                        f"{dataset.table.describe(held)} is {dataset.table.describe(train)}"
                        for held, train in same[:_SHOWN]
                    ]
                    found.setdefault(source, {}).setdefault(name, {})[part] = {
                        "rows": len(same),
                        "share": len(same) / len(rows),
                        "examples": where,
                    }
    return found


def _keys(dataset: Dataset, name: str, rows: Any) -> list[bytes]:
    """A key of each row's values as the network gets them."""
    keys: list[bytes] = []
    for first in range(0, len(rows), 512):
        features = dataset.gather(rows[first : first + 512]).inputs[name]
        lengths = None if features.mask is None else features.mask.sum(1).tolist()
        for k, value in enumerate(features.values.numpy()):
            kept = value if lengths is None else value[: lengths[k]]
            if kept.ndim == 2:  # how many letters a word has room for depends on its batch
                kept = kept[:, : int(kept.any(0).nonzero()[0].max(initial=0)) + 1]
            content = np.ascontiguousarray(kept).tobytes()
            keys.append(hashlib.blake2b(content, digest_size=16).digest())
    return keys


def _columns(some: TableInput, prepared: Prepared) -> Mapping[str, Facts]:
    """The columns of a table input: what they are taken for, blanks per part, outliers."""
    found: dict[str, Facts] = {}
    for source, names in some.columns.items():
        dataset = prepared.datasets[source]
        for name, spec in zip(names, some.state["columns"], strict=True):
            blank = np.array([c is None for c in dataset.table.cells([name])[:, 0]])
            missing = {
                part: int(blank[as_rows(by[source])].sum())
                for part, by in prepared.parts.items()
                if source in by
            }
            key = name if len(some.columns) == 1 else f"{source}.{name}"
            found[key] = {"kind": spec["kind"], "missing": missing}
            if spec["kind"] == "number":
                found[key]["outliers"] = outliers(dataset.table, name)
    return found


def _share(guess: Column, table: Table) -> float:
    return guess.missing / max(1, len(table))
