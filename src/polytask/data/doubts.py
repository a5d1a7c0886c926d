"""What is no mistake for certain, but a person should know before training on it.

Letters: N rows, D entries of a vector.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.columns import as_floats
from polytask.data.dates import told_order
from polytask.data.decoding import FEW_SHADES
from polytask.data.disguises import listed
from polytask.data.frames import has_times
from polytask.data.labels import columns_of
from polytask.data.media import FileMedia
from polytask.data.sources import Table
from polytask.data.stand_ins import (
    far_off,
    marks_of_nothing,
    stand_in,
    with_another_separator,
    zeros_apart,
)
from polytask.data.stores import VectorStore, as_rows
from polytask.data.tabular import TableInput
from polytask.tasks.labels import composed
from polytask.tasks.surfaces import DenseRegression

if TYPE_CHECKING:
    from polytask.data.dataset import Prepared

_CELLS = 400_000  # of a table that are looked at
_MAPS = 64


def doubts(prepared: "Prepared", labels: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence for each.

    Args:
        prepared: The data.
        labels: By task and part, how many labels there are.
    """
    found = [
        *_other_keys(prepared),
        *_other_parts(prepared),
        *_shared_files(prepared),
        *_noted(prepared),
        *_without_labels(prepared, labels),
        *_words_for_blank(prepared),
        *_near_labels(prepared),
        *_composed_labels(prepared),
        *_lacking(prepared),
        *_constant_targets(prepared),
        *_far_targets(prepared),
        *_strange_labels(prepared),
        *_overlapping_times(prepared),
        *_unmeasured_pixels(prepared),
    ]
    for name, some in prepared.inputs.items():
        if isinstance(some, TableInput):
            found += [*_constant_entries(name, some, prepared), *_orders_of_dates(name, some)]
            found += _composed_categories(name, some, prepared)
            found += _strange_entries(name, some, prepared)
    return found


def _other_keys(prepared: "Prepared") -> Iterator[str]:
    """Rows that lack a partner in a joined table only because of zeros in front of a key."""
    for name, dataset in prepared.datasets.items():
        for of in dataset.table.joined:
            if of.unlike:
                yield (
                    f"rows of {name} that would have a partner in {of.name} without zeros in front "
                    f"of {', '.join(of.by)}: {of.unlike:,}. Keys are texts: write them alike in "
                    "both files"
                )


def _other_parts(prepared: "Prepared") -> Iterator[str]:
    """Rows to learn from that the publisher keeps for other parts."""
    for name, dataset in prepared.datasets.items():
        fixed = dataset.table.fixed_split
        rows = as_rows(prepared.parts["train"].get(name, ()))
        if fixed is None or not len(rows):
            continue
        held = int((fixed.to_numpy()[rows] == "test").sum())
        if held:
            yield (
                f"test rows of {name}'s own split, which is not used, that are training rows: "
                f"{held:,}. To keep to it: split: {{fixed: true}}"
            )


def _shared_files(prepared: "Prepared") -> Iterator[str]:
    """Pictures and sounds that rows of two parts have in common."""
    for name, dataset in prepared.datasets.items():
        for column, media in dataset.table.media.items():
            if not isinstance(media, FileMedia) or media.windows is not None:
                continue
            seen: dict[Any, str] = {}
            twice: dict[Any, str] = {}
            for part, by_source in prepared.parts.items():
                for row in as_rows(by_source.get(name, ())).tolist():
                    path = media.paths[row]
                    if path is not None and seen.setdefault(path, part) != part:
                        twice[path] = f"{seen[path]} and {part}"
            if twice:
                path, where = next(iter(twice.items()))
                yield (
                    f"files of column {column} of {name} that are in two parts: {len(twice):,}, "
                    f"such as {path.name} in {where}. To keep rows together: "
                    f"split: {{group: {column}}}"
                )


def _noted(prepared: "Prepared") -> Iterator[str]:
    """What decoding pictures and sounds had to decide."""
    for name, dataset in prepared.datasets.items():
        for column, notes in dataset.noted.items():
            for note, count in Counter(notes.values()).items():
                if note == FEW_SHADES and 2 * count < len(dataset.table.media[column]):
                    continue  # a few dark pictures among others
                first = min(item for item, of in notes.items() if of == note)
                where = dataset.table.media[column].where(first)
                yield (
                    f"column {column} of {name}: {note}: {count:,}"
                    + (f", such as {where}" if where else "")
                )


def _without_labels(prepared: "Prepared", labels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Tasks that cannot be judged."""
    for part, by_source in prepared.parts.items():
        if part == "train" or not by_source:
            continue
        without = [task for task, by_part in labels.items() if not by_part.get(part)]
        if without:
            yield f"no label in the {part} part: {listed(without)}"


def _words_for_blank(prepared: "Prepared") -> Iterator[str]:
    """Words in cells of labels that are taken as blank, though nobody said that they are."""
    for task in prepared.tasks:
        for source, dataset in prepared.datasets.items():
            for column in columns_of(task, source):
                told = dataset.table.taken_as_blank(column)
                if told:
                    yield f"{task.name}: {told}"


def _near_labels(prepared: "Prepared") -> Iterator[str]:
    """Labels that differ in capitals, blanks, marks that nobody sees or Unicode's way of writing a
    letter only."""
    for task in prepared.tasks:
        groups: dict[str, list[str]] = {}
        for name in map(str, getattr(task, "classes", ())):
            seen = "".join(c for c in name if unicodedata.category(c) != "Cf")  # such as U+200B
            plain = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
            groups.setdefault(plain, []).append(name)
        near = [names for names in groups.values() if len(names) > 1]
        # Where single letters are recognised, capitals are classes of their own.
        near = [names for names in near if max(map(len, names)) > 1]
        if near:
            pairs = [" and ".join(map(_unlike, names)) for names in near]
            yield f"{task.name}: labels that are nearly the same are different: {listed(pairs)}"


def _composed_labels(prepared: "Prepared") -> Iterator[str]:
    """Labels whose letters Unicode can write in two ways, and which were in the longer one."""
    for task in prepared.tasks:
        count = sum(d.composed.get(task.name, 0) for d in prepared.datasets.values())
        if count:
            yield (
                f"{task.name}: labels with a letter and its sign apart (Unicode's NFD), read as "
                f"those that have them in one (NFC): {count:,}"
            )


def _composed_categories(name: str, some: TableInput, prepared: "Prepared") -> Iterator[str]:
    """Categories that are read in the shorter form of Unicode, though cells have the longer one."""
    for k, spec in enumerate(some.state.get("columns", ())):
        if spec.get("form") != "NFC":
            continue
        count = 0
        for source, columns in some.columns.items():
            cells = prepared.datasets[source].table.cells([columns[k]])[:, 0].tolist()
            texts = [c for c in cells if isinstance(c, str) and not c.isascii()]
            count += sum(text != composed(text) for text in texts)
        if count:
            yield (
                f"{name}: categories of column '{spec['name']}' with a letter and its sign apart "
                f"(Unicode's NFD), read as those that have them in one (NFC): {count:,}"
            )


def _unlike(name: str) -> str:
    """A label in quotes, its letters spelled out where two marks look like one letter."""
    return repr(name) if name == unicodedata.normalize("NFC", name) else ascii(name)


def _lacking(prepared: "Prepared") -> Iterator[str]:
    """Classes that no training row has."""
    for task in prepared.tasks:
        names: Sequence[str] = getattr(task, "classes", ())
        counts: Sequence[int] = getattr(task, "counts", ())
        if len(names) != len(counts):
            continue
        none = [str(name) for name, count in zip(names, counts, strict=True) if not count]
        if none:
            yield f"{task.name}: no training row has {listed(none)}"


def _constant_targets(prepared: "Prepared") -> Iterator[str]:
    """Numbers to predict that are all the same, or some of which seem to stand for none."""
    for task in prepared.tasks:
        known = []
        for source, rows in prepared.parts["train"].items():
            dataset = prepared.datasets[source]
            target = dataset.targets.get(task.name)
            if target is not None and target.ndim == 2 and target.dtype == torch.float32:
                known.append(target[rows[dataset.present[task.name][rows]]])
        if not known or hasattr(task, "classes"):
            continue
        values = torch.cat(known).numpy()
        for column in values.T:
            there = column[~np.isnan(column)]
            if len(there) > 1 and there.min() == there.max():
                yield f"{task.name}: all {len(there):,} training labels are {there[0]:g}"
            elif (found := stand_in(there)) is not None:
                yield f"{task.name}: of its training labels {found}. {_blank(found.value)}"


def _far_targets(prepared: "Prepared") -> Iterator[str]:
    """Numbers to predict that are out of all proportion, in any part: one spoils a whole score."""
    for task in prepared.tasks:
        for source, dataset in prepared.datasets.items():
            target = dataset.targets.get(task.name)
            if target is None or target.ndim != 2 or target.dtype != torch.float32:
                continue
            if hasattr(task, "classes"):
                continue
            there = [as_rows(by.get(source, ())) for by in prepared.parts.values()]
            rows = np.sort(np.concatenate([*there, np.zeros(0, np.int64)]))
            rows = rows[dataset.present[task.name].numpy()[rows]]
            for column, values in zip(
                columns_of(task, source), target.numpy()[rows].T, strict=True
            ):
                known = rows[~np.isnan(values)]
                told = _far(dataset.table, column, known, values[~np.isnan(values)])
                if told:
                    yield f"{task.name}: {told}"


def _far(
    table: Table, column: str, rows: NDArray[np.int64], values: NDArray[np.floating]
) -> str | None:
    """What to say of values of a column, `[N]`, that are out of all proportion; None if none is."""
    found = far_off(values)
    if not len(found):
        return None
    others = np.delete(values, found)
    return (
        f"column {column} has {values[found[0]]:g} in {table.describe(int(rows[found[0]]))}"
        + (f", and {len(found) - 1:,} more such" if len(found) > 1 else "")
        + f", out of all proportion to the others ({others.min():g} to {others.max():g}). If it is "
        "a mistake, correct the cell or leave it blank"
    )


def _blank(value: float) -> str:
    return (
        "If that means that it is not known, leave such cells blank (in text: list "
        f"'{value:g}' under the source's `missing`)"
    )


def _strange_labels(prepared: "Prepared") -> Iterator[str]:
    """Labels that seem to stand for none, or to be several in one."""
    for task in prepared.tasks:
        names = tuple(map(str, getattr(task, "classes", ())))
        for mark in marks_of_nothing(names) if len(names) > 2 else ():
            yield (
                f"{task.name}: '{mark}' is a label like others. If it means that there is none, "
                "leave it blank (in lists: null)"
            )
        listing = with_another_separator(names, getattr(task, "separator", "|"))
        if listing is not None and hasattr(task, "separator"):
            name, other = listing
            yield f"{task.name}: '{name}' is one label. If it lists several: separator: '{other}'"


def _overlapping_times(prepared: "Prepared") -> Iterator[str]:
    """Labels with times of which two are in one frame."""
    for task in prepared.tasks:
        if not has_times(task):
            continue
        for source, dataset in prepared.datasets.items():
            columns = columns_of(task, source)
            if not columns:
                continue
            cells = dataset.table.cells(list(columns))
            found = [row for row in range(len(cells)) if task.overlaps(cells[row, 0])]
            if found:
                yield (
                    f"{task.name}: rows of {source} in which labels overlap: {len(found):,}, such "
                    f"as {dataset.table.describe(found[0])}. A frame in both has the label that "
                    "begins later"
                )


def _unmeasured_pixels(prepared: "Prepared") -> Iterator[str]:
    """Maps of numbers whose zeros are far from all others."""
    for task in prepared.tasks:
        if not isinstance(task, DenseRegression) or task.unknown is not None:
            continue
        for source, rows in prepared.parts["train"].items():
            maps = prepared.datasets[source].maps.get(task.name)
            if maps is None:
                continue
            some = as_rows(rows)
            pixels = np.asarray(maps.maps[some[:: max(1, len(some) // _MAPS)]]).ravel()
            found = zeros_apart(pixels[~np.isnan(pixels)])
            if found is not None:
                yield (
                    f"{task.name}: of the pixels of {source} that were looked at {found}. If that "
                    f"means that nothing was measured: tasks.{task.name}.unknown: 0"
                )


def _strange_entries(name: str, some: TableInput, prepared: "Prepared") -> Iterator[str]:
    """Numbers of a table input that seem to stand for none, as the table has them."""
    numbers = {facts["name"] for facts in some.state["columns"] if facts["kind"] == "number"}
    for source, columns in some.columns.items():
        table = prepared.datasets[source].table
        rows = as_rows(prepared.parts["train"].get(source, ()))
        rows = rows[:: max(1, len(rows) * len(columns) // _CELLS)]
        for column in columns:
            if column in numbers and len(rows):
                cells = table.cells([column], rows)[:, 0]
                values = as_floats(column, cells, table.describe)
                known = ~np.isnan(values)
                found = stand_in(values[known])
                if found is not None:
                    yield f"{name}: of the training rows of {column} {found}. {_blank(found.value)}"
                elif (told := _far(table, column, rows[known], values[known])) is not None:
                    yield f"{name}: {told}"


def _constant_entries(name: str, some: TableInput, prepared: "Prepared") -> Iterator[str]:
    """Entries of a table input that are the same in all training rows."""
    low, high = np.full(some.width, np.inf), np.full(some.width, -np.inf)
    for source in some.columns:
        store = prepared.datasets[source].stores[name]
        rows = as_rows(prepared.parts["train"].get(source, ()))
        if isinstance(store, VectorStore) and len(rows):
            low = np.minimum(low, store.vectors[rows].min(0))
            high = np.maximum(high, store.vectors[rows].max(0))
    same = [entry for entry, gone in zip(some.names, low == high, strict=True) if gone]
    if same:
        yield (
            f"{name}: {len(same):,} of {some.width:,} entries never change in training rows: "
            f"{listed(same)}"
        )


def _orders_of_dates(name: str, some: TableInput) -> Iterator[str]:
    """Columns of dates in which nothing says which number is the day."""
    for facts in some.state["columns"]:
        date = facts.get("undecided")
        if date is not None:
            yield f"{name}: {told_order(facts['name'], date, day_first=facts['day_first'])}"
