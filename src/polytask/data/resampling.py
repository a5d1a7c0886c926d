"""Training rows drawn more or less often, so that one task's classes are less uneven.

Nothing but the stream of training batches sees it: what is fitted on training rows (scales,
vocabularies, class weights) counts each row once, and rows that are held out stay as they are.

Letters: N training rows of a source, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.dataset import Prepared
from polytask.data.stores import Rows, VectorStore, as_rows
from polytask.errors import ConfigError, DataError, nearest, require
from polytask.tasks import Binary, Multiclass, Ordinal
from polytask.tasks.base import Task


class Resampling(ABC):
    """Which training rows are drawn, by the classes of a task; rows without its label all are.

    Args:
        task: The task whose classes count: multiclass, binary or ordinal.
    """

    def __init__(self, *, task: str) -> None:
        self.task = task

    @abstractmethod
    def picked(self, classes: Rows, vectors: NDArray[np.float32] | None, seed: int) -> Rows:
        """Which labelled rows are drawn, with repeats.

        Args:
            classes: `[N]` the class of each.
            vectors: `[N, D]`, if the task reads a table.
            seed: Decides the draw.
        """

    def __call__(self, prepared: Prepared, seed: int) -> "tuple[dict[str, Tensor], list[str]]":
        """The rows to draw from by source, and what was done to them, a sentence for each source.

        Raises:
            ConfigError: If there is no such task.
            DataError: If its targets are no classes.
        """
        task = _named(self.task, prepared.tasks)
        train, said = dict(prepared.parts["train"]), []
        for source, rows in train.items():
            dataset = prepared.datasets[source]
            if task.name not in dataset.present:
                continue
            present = dataset.present[task.name][rows]
            labelled, others = as_rows(rows[present]), as_rows(rows[~present])
            if not len(labelled):
                continue
            classes = dataset.targets[task.name][labelled].numpy().astype(np.int64)
            store = dataset.stores[task.input]
            vectors = store.vectors[labelled] if isinstance(store, VectorStore) else None
            if len(set(classes.tolist())) < 2:
                raise DataError(
                    f"batches.resample: the training rows of {source} have one class of "
                    f"'{task.name}' only."
                )
            picked = self.picked(classes, vectors, seed)
            said.append(_said(source, task, classes, classes[picked]))
            drawn = np.sort(np.concatenate([labelled[picked], others]), kind="stable")
            train[source] = torch.from_numpy(drawn)
        return train, said


class _ToShare(Resampling):
    """Until no class has less than a share of the rows of another.

    Args:
        task: The task whose classes count: multiclass, binary or ordinal.
        share: That share.
    """

    def __init__(self, *, task: str, share: float = 1.0) -> None:
        super().__init__(task=task)
        if not 0 < share <= 1:
            raise ConfigError(f"`share` should be above 0 and at most 1. Found {share}.")
        self.share = share


class Over(_ToShare):
    """Rows of rare classes are drawn more than once, chosen at random.

    Args:
        task: The task whose classes count: multiclass, binary or ordinal.
        share: How many rows each class gets at least, as a share of the largest one's.
    """

    def picked(self, classes: Rows, vectors: NDArray[np.float32] | None, seed: int) -> Rows:
        counts = _counts(classes)
        least = round(self.share * max(counts.values()))
        wanted = {kind: max(count, least) for kind, count in counts.items()}
        return _sampled("RandomOverSampler", "over_sampling", classes, wanted, seed)


class Under(_ToShare):
    """Rows of frequent classes are left out, chosen at random.

    Args:
        task: The task whose classes count: multiclass, binary or ordinal.
        share: How many rows the smallest class has at least, as a share of any other's.
    """

    def picked(self, classes: Rows, vectors: NDArray[np.float32] | None, seed: int) -> Rows:
        counts = _counts(classes)
        most = round(min(counts.values()) / self.share)
        wanted = {kind: min(count, most) for kind, count in counts.items()}
        return _sampled("RandomUnderSampler", "under_sampling", classes, wanted, seed)


class Tomek(Resampling):
    """Rows of tables that are each other's nearest and of two classes: the frequent one goes.

    Such pairs (Tomek 1976) are noise or lie at the border. All classes but the rarest lose rows.

    Args:
        task: The task whose classes count: multiclass, binary or ordinal.
    """

    def picked(self, classes: Rows, vectors: NDArray[np.float32] | None, seed: int) -> Rows:
        if vectors is None:
            raise DataError(
                f"batches.resample: 'tomek' looks for nearest rows of a table, and task "
                f"'{self.task}' does not read one. Use 'over' or 'under'."
            )
        made = require("imblearn.under_sampling", "tables").TomekLinks()
        made.fit_resample(vectors, classes)
        return np.asarray(made.sample_indices_, np.int64)


def _named(name: str, tasks: Sequence[Task]) -> Multiclass | Binary | Ordinal:
    """The task of a name, whose targets are one class a row."""
    found = next((task for task in tasks if task.name == name), None)
    if found is None:
        raise ConfigError(
            f"batches.resample.task: there is no task '{name}'. "
            + nearest(name, [task.name for task in tasks])
        )
    if not isinstance(found, (Multiclass, Binary, Ordinal)):
        raise DataError(
            f"batches.resample.task: '{name}' has no classes of which each row has one. Expected a "
            f"task of kind multiclass, binary or ordinal, found {type(found).__name__}."
        )
    return found


def _counts(classes: Rows) -> dict[int, int]:
    kinds, counts = np.unique(classes, return_counts=True)
    return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def _sampled(name: str, module: str, classes: Rows, wanted: Mapping[int, int], seed: int) -> Rows:
    """Which rows imbalanced-learn draws for a number of rows of each class."""
    makes: Any = getattr(require(f"imblearn.{module}", "tables"), name)
    made = makes(sampling_strategy=dict(wanted), random_state=seed)
    made.fit_resample(np.zeros((len(classes), 1)), classes)
    return np.asarray(made.sample_indices_, np.int64)


def _said(source: str, task: Multiclass | Binary | Ordinal, before: Rows, after: Rows) -> str:
    """What became of each class."""
    was, now = _counts(before), _counts(after)
    each = ", ".join(
        f"{task.classes[kind]} {count:,} -> {now.get(kind, 0):,}"
        for kind, count in list(was.items())[:10]
    )
    more = ", ..." if len(was) > 10 else ""
    return f"training rows of {source} by {task.name}, resampled: {each}{more}"
