"""Of which class of the task above each class is a kind, read off training rows.

Letters: N rows of a source, C classes of a task, C' of the task above it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polytask.data.dataset import Dataset, Parts
from polytask.errors import DataError
from polytask.tasks.base import Task
from polytask.tasks.classification import Multiclass
from polytask.tasks.hierarchy import parents


def with_kinds(tasks: Sequence[Task], datasets: Mapping[str, Dataset], parts: Parts) -> list[Task]:
    """Tasks that know of which classes theirs are kinds, where they have a `parent`.

    Args:
        tasks: Fitted, and encoded in the datasets.
        datasets: The sources.
        parts: Their rows.

    Raises:
        ConfigError: If there is no such parent.
        DataError: If a class is a kind of two, or no training row says of which.
    """
    above = parents(tasks)
    return [
        replace(task, above=_above(task, above[task.name], datasets, parts))
        if isinstance(task, Multiclass) and task.name in above
        else task
        for task in tasks
    ]


def _above(
    task: Multiclass, parent: Multiclass, datasets: Mapping[str, Dataset], parts: Parts
) -> tuple[str, ...]:
    """The class above each class, `[C]`."""
    met: dict[int, tuple[int, str]] = {}  # By class, the class above it, and a row that says so.
    for source, rows in parts["train"].items():
        dataset = datasets[source]
        if task.name not in dataset.targets or parent.name not in dataset.targets:
            continue
        both = rows[dataset.present[task.name][rows] & dataset.present[parent.name][rows]]
        pairs = torch.stack([dataset.targets[t.name][both] for t in (task, parent)], 1)
        for (kind, above), row in zip(*_first_of_each(pairs, both), strict=True):
            place = dataset.table.describe(row)
            earlier = met.setdefault(kind, (above, place))
            if earlier[0] != above:
                raise DataError(
                    f"Task '{task.name}' has 'parent: {parent.name}', so each of its classes is a "
                    f"kind of one class. Found '{task.classes[kind]}' of "
                    f"'{parent.classes[earlier[0]]}' ({earlier[1]}) and of "
                    f"'{parent.classes[above]}' ({place}). Correct the label, or leave out "
                    f"'tasks.{task.name}.parent'."
                )
    # Of a run that training starts from a class may be known that no row has now.
    found = {k: name for k, name in enumerate(task.above) if name in parent.classes}
    found |= {kind: parent.classes[above] for kind, (above, _) in met.items()}
    lost = [name for kind, name in enumerate(task.classes) if kind not in found]
    if lost:
        raise DataError(
            f"Task '{task.name}' has 'parent: {parent.name}', and no training row says of which "
            f"class of it these are kinds: {', '.join(lost[:8])}{' ...' if lost[8:] else ''}. Fill "
            f"in both labels of a row of each, or leave out 'tasks.{task.name}.parent'."
        )
    return tuple(found[kind] for kind in range(len(task.classes)))


def _first_of_each(pairs: Tensor, rows: Tensor) -> tuple[list[list[int]], list[int]]:
    """The different pairs of `[N, 2]`, and the first of the rows `[N]` with each."""
    different, which = pairs.unique(dim=0, return_inverse=True)
    first = torch.full((len(different),), len(pairs)).scatter_reduce(
        0, which, torch.arange(len(pairs)), "amin"
    )
    return different.tolist(), rows[first].tolist()
