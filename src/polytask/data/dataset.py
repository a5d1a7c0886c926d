"""Datasets that are ready to gather batches, and what can be said of them.

Letters: N rows of a source.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.data.collate import SOURCE_SHIFT
from polytask.data.doubts import doubts
from polytask.data.inputs import Input
from polytask.data.maps import MapStore
from polytask.data.sources import Table
from polytask.data.splits import Rows
from polytask.data.stores import Store, as_rows
from polytask.data.text import text_facts
from polytask.tasks.base import Task
from polytask.types import Batch

Policy = Literal["error", "skip"]
Parts = dict[str, dict[str, Tensor]]

# Rows and labels of a kind that are listed one by one.
SHOWN = 20


@dataclass
class Dataset:
    """One source, prepared.

    Attributes:
        name: The source.
        number: Its place among the sources, the upper bits of `Batch.rows`.
        table: Its rows as loaded.
        stores: The decoded rows of each input that it feeds.
        maps: The decoded targets of each task that has targets of pixels or sounds here.
        targets: `[N, ...]` per task that reads one of these inputs; placeholders where absent.
        present: `[N]` bool per task.
        reads: Per task the input that it reads.
        blanks: Per task about pixels what a pixel without a label has, and whether the first value
            of a pixel points to the right.
        noted: Per column of media what people should know of items.
        timed: Per task whose labels say when something is heard how many samples a frame has, and
            what a frame has of which nothing is said.
        skipped: Rows that are in no part, and why.
        unknown: Per task, the labels that count as absent because training never saw them, and how
            often each is there.
        composed: Per task, how many labels were read in Unicode's shorter form.
        cleaned: Per table input what its cleaning did, by part.
        dropped: Per table input, how many training rows its cleaning left out.
    """

    name: str
    number: int
    table: Table
    stores: dict[str, Store] = field(default_factory=dict)
    maps: dict[str, MapStore] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    blanks: dict[str, tuple[float, bool]] = field(default_factory=dict)
    noted: dict[str, dict[int, str]] = field(default_factory=dict)
    timed: dict[str, tuple[float, int]] = field(default_factory=dict)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    composed: dict[str, int] = field(default_factory=dict)
    cleaned: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """N."""
        return len(self.table)

    def without(self) -> list[str]:
        """What is left out, a line each: where it is, and why."""
        rows = [f"{self.table.describe(row)}: {why}" for row, why in self.skipped]
        return [f"{where}: {why}" for where, why in self.table.unfit] + rows

    def gather(self, indices: Tensor | Rows) -> Batch:
        """The batch of some rows, in their order."""
        rows = as_rows(indices)
        picked = torch.from_numpy(rows)
        names = picked + self.number * SOURCE_SHIFT
        return Batch(
            {name: store.gather(rows) for name, store in self.stores.items()},
            {task: values[picked] for task, values in self.targets.items()},
            {task: values[picked] for task, values in self.present.items()},
            {name: names for name in self.stores},
        )


@dataclass(frozen=True)
class Prepared:
    """Everything that training and evaluation read.

    Attributes:
        datasets: Per source.
        parts: Per part (`train`, `validation`, `test`) and source the row numbers, int64. A source
            without rows in a part is absent from it.
        tasks: The tasks, fitted.
        inputs: The inputs, fitted.
    """

    datasets: dict[str, Dataset]
    parts: Parts
    tasks: tuple[Task, ...]
    inputs: dict[str, Input]

    def describe(self, row: int) -> str:
        """Where an entry of `Batch.rows` comes from."""
        number, index = divmod(int(row), SOURCE_SHIFT)
        dataset = next(d for d in self.datasets.values() if d.number == number)
        return dataset.table.describe(index)

    def labels(self) -> dict[str, dict[str, int]]:
        """How many labels there are, by task and part."""
        return {
            task.name: {
                part: sum(
                    int(self.datasets[source].present[task.name][rows].sum())
                    for source, rows in by_source.items()
                    if task.name in self.datasets[source].present
                )
                for part, by_source in self.parts.items()
            }
            for task in self.tasks
        }

    def summary(self) -> dict[str, Any]:
        """Counts, as JSON.

        Returns:
            `rows[part][source]`, `labels[task][part]` (how many are present), `classes[task][part]`
            (how many of each class, for tasks whose targets are classes), `skipped[source]` and
            `skipped_rows[source]` (the first ones, with their reasons), `unknown[task]` and
            `unknown_labels[task]` (how often each is there), of table inputs that are cleaned
            `cleaned[input][source]` (per part `imputed` by column and `outliers`) and
            `dropped[input][source]`, of joined tables `joined[source]` (see `Joined`), of text
            inputs `texts[input]` (see `text_facts`), and `doubts` (see `doubts`).
        """
        return self._summary

    @cached_property
    def _summary(self) -> dict[str, Any]:
        rows = {p: {s: len(r) for s, r in per.items()} for p, per in self.parts.items()}
        labels = self.labels()
        classes: dict[str, dict[str, dict[str, int]]] = {}
        for task in self.tasks:
            names = getattr(task, "classes", ())
            for part, per_source in self.parts.items() if names else ():
                found = [self._labels(task.name, s, r) for s, r in per_source.items()]
                known = [f for f in found if f is not None]
                if known and all(f.dtype == torch.int64 and f.ndim == 1 for f in known):
                    counts = torch.bincount(torch.cat(known), minlength=len(names)).tolist()
                    counted = dict(zip(map(str, names), counts, strict=False))
                    classes.setdefault(task.name, {})[part] = counted
        unknown: dict[str, Counter[str]] = {}
        for dataset in self.datasets.values():
            for name, missed in dataset.unknown.items():
                unknown.setdefault(name, Counter()).update(missed)
        skipped = {s: d for s, d in self.datasets.items() if d.skipped or d.table.unfit}
        return {
            "rows": rows,
            "labels": labels,
            "classes": classes,
            "skipped": {s: len(d.skipped) + len(d.table.unfit) for s, d in skipped.items()},
            "skipped_rows": {s: d.without()[:SHOWN] for s, d in skipped.items()},
            "unknown": {t: found.total() for t, found in unknown.items()},
            "unknown_labels": {t: dict(found.most_common(SHOWN)) for t, found in unknown.items()},
            "cleaned": self._by_input(lambda dataset: dataset.cleaned),
            "dropped": self._by_input(lambda dataset: dataset.dropped),
            "joined": {
                s: [asdict(of) | {"said": str(of)} for of in d.table.joined]
                for s, d in self.datasets.items()
                if d.table.joined
            },
            "texts": text_facts(
                self.inputs, {s: d.stores for s, d in self.datasets.items()}, self.parts
            ),
            "doubts": doubts(self, labels),
        }

    def _by_input(self, of: Callable[[Dataset], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Something that each source has by input, by input and source."""
        found: dict[str, dict[str, Any]] = {}
        for source, dataset in self.datasets.items():
            for name, value in of(dataset).items():
                found.setdefault(name, {})[source] = value
        return found

    def _labels(self, task: str, source: str, rows: Tensor) -> Tensor | None:
        dataset = self.datasets[source]
        if task not in dataset.present:
            return None
        picked = rows[dataset.present[task][rows]]
        targets = dataset.targets[task]
        # Only single numbers are looked at; maps would be read from their files to be counted.
        return targets[picked] if targets.ndim == 1 else targets.new_zeros(len(picked), 0)
