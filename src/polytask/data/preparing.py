"""From sources, inputs and tasks to datasets that are ready to gather batches.

Letters: N rows of a source, K target columns of a task.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.data.cache import Decodes, Progress, decoded
from polytask.data.checking import check_columns, check_names, kept_from
from polytask.data.dataset import SHOWN, Dataset, Parts, Policy, Prepared
from polytask.data.frames import check_times, frame_labels, has_times, require_ends
from polytask.data.hierarchies import with_kinds
from polytask.data.inputs import Input, MediaInput, SoundInput
from polytask.data.labels import (
    columns_of,
    composed_cells,
    cut_token_labels,
    encode_cells,
    fit_task,
    require_token_labels,
)
from polytask.data.maps import target_media
from polytask.data.ragged import TextStore
from polytask.data.sources import Row, Source
from polytask.data.splits import PARTS, Split
from polytask.data.stores import SoundStore, VectorStore, as_rows
from polytask.data.table_cleaning.selection import Target
from polytask.data.tabular import TableInput
from polytask.data.text import TextInput
from polytask.errors import ConfigError, DataError, nearest
from polytask.tasks.base import Task
from polytask.tasks.dense import DenseTask


def prepare(
    sources: Mapping[str, Source],
    inputs: Mapping[str, Input],
    tasks: Sequence[Task],
    *,
    splits: Split | Mapping[str, Split] | None = None,
    seed: int = 0,
    on_bad: Policy = "error",
    unknown_labels: Policy = "error",
    progress: Progress | None = None,
    parts: Mapping[str, Mapping[str, Tensor]] | None = None,
    fitted: bool = False,
    fingerprints: Mapping[str, str] | None = None,
    known_inputs: Collection[str] = (),
    adjust: Callable[[Task, Task], Task] | None = None,
) -> Prepared:
    """Loads, decodes, splits, fits and encodes.

    Args:
        sources: The sources by name.
        inputs: The inputs by name; they keep what they learn as their `state`.
        tasks: The tasks.
        splits: One split for all sources, or one by source name (the default split for others).
        seed: Decides the splits that have no seed of their own.
        on_bad: What to do with pictures and sounds that cannot be decoded, and with files whose
            names do not fit a pattern.
        unknown_labels: What to do with labels that training rows do not have.
        progress: Called while decoding with items done, items in all and what they are.
        parts: The rows of a saved run, used instead of splitting.
        fitted: Take tasks and inputs as fitted, such as those of a saved run.
        fingerprints: What the sources of a saved run looked like; others are refused.
        known_inputs: Inputs that are fitted already, though not everything is.
        adjust: Called with each task as declared and as fitted; gives the task to go on with.

    Raises:
        ConfigError: If names do not fit together.
        DataError: If anything in the data is not as declared.
    """
    check_names(sources, inputs, tasks)
    check_times(inputs, tasks)
    datasets: dict[str, Dataset] = {}
    for number, (name, source) in enumerate(sources.items()):
        table = source.load()
        if len(table) == 0:
            raise DataError(f"{name} has no rows: {table.name} has none below the columns' names.")
        table.name = name
        if fingerprints is not None and table.fingerprint != fingerprints.get(name):
            raise DataError(
                f"The source '{name}' has changed since the run was trained, or this version of "
                "Polytask reads it otherwise than that of the run, so its rows can no longer be "
                "told apart into training and test. Restore it, or train anew."
            )
        datasets[name] = Dataset(name, number, table)
        for input_name, some in inputs.items():
            if isinstance(some, TableInput) and name in some.columns:
                some.find_columns(table, kept_from(name, input_name, tasks, splits))
        check_columns(table, inputs, tasks)
    _decode(datasets, inputs, tasks, keep_bad=on_bad == "skip", progress=progress)
    chosen = _given_parts(datasets, parts) if parts is not None else _split(datasets, splits, seed)
    chosen = _without_skipped(datasets, chosen)
    if not fitted:
        new = {name: some for name, some in inputs.items() if name not in known_inputs}
        _fit_inputs(datasets, new, chosen)
        chosen = _without_dropped(datasets, new, chosen)
        declared, tasks = tasks, [_fit(task, datasets, chosen) for task in tasks]
        if adjust is not None:
            tasks = [adjust(*both) for both in zip(declared, tasks, strict=True)]
    tables = {name: some for name, some in inputs.items() if isinstance(some, TableInput)}
    for name, table_input in tables.items():
        _vectors(name, table_input, datasets, chosen)
    for name, some in inputs.items():
        if isinstance(some, TextInput):
            for source_name in some.columns:
                dataset = datasets[source_name]
                dataset.stores[name] = some.stored(dataset.table)
    for task in tasks:
        _encode(task, datasets, inputs, chosen, unknown=unknown_labels)
    if not fitted:
        tasks = with_kinds(tasks, datasets, chosen)
    for name, table_input in tables.items():
        if not fitted and name not in known_inputs:
            _select(name, table_input, datasets, chosen)
    return Prepared(datasets, chosen, tuple(tasks), dict(inputs))


def _decode(
    datasets: Mapping[str, Dataset],
    inputs: Mapping[str, Input],
    tasks: Sequence[Task],
    *,
    keep_bad: bool,
    progress: Progress | None,
) -> None:
    """Fills the stores of pictures, sounds and targets that are such; collects every bad row
    before saying anything."""
    bad: list[Row] = []
    for dataset in datasets.values():
        reasons: dict[int, str] = {}
        for how, column, keep in _media_of(dataset, inputs, tasks):
            result = decoded(
                dataset.table, how, column=column, keep_bad=keep_bad, progress=progress
            )
            keep(result.store)
            dataset.noted.setdefault(column, {}).update(result.noted)
            for row, reason in result.bad.items():
                reasons[row] = f"{reasons[row]}; {reason}" if row in reasons else reason
        dataset.skipped = sorted(reasons.items())
        bad += [Row(dataset.name, -1, *both) for both in dataset.table.unfit[:SHOWN]]
        bad += [
            Row(dataset.name, row, dataset.table.describe(row), reason)
            for row, reason in dataset.skipped[:SHOWN]
        ]
    if bad and not keep_bad:
        total = sum(len(d.skipped) + len(d.table.unfit) for d in datasets.values())
        shown = "\n".join(f"  {row}" for row in bad[:SHOWN])
        more = f"\n  ... and {total - SHOWN} more" if total > SHOWN else ""
        raise DataError(
            f"{total} row{'s' if total > 1 else ''} cannot be read:\n{shown}{more}\n"
            "Mend or remove them, or set 'on_bad: skip' to leave them out."
        )


def _media_of(
    dataset: Dataset, inputs: Mapping[str, Input], tasks: Sequence[Task]
) -> Iterator[tuple[Decodes, str, Callable[[Any], None]]]:
    """How each column of media of a source is decoded, and where its store is kept."""
    for name, some in inputs.items():
        if isinstance(some, MediaInput) and dataset.name in some.columns:
            yield some, some.column(dataset.name), partial(dataset.stores.__setitem__, name)
    for task in tasks:
        if task.media is not None and dataset.name in task.target:
            (column,) = columns_of(task, dataset.name)
            read = inputs[task.input]
            shown = None
            if isinstance(read, MediaInput) and dataset.name in read.columns:
                shown = dataset.table.media.get(read.column(dataset.name))
            how = target_media(task, read, column, shown)
            yield how, column, partial(dataset.maps.__setitem__, task.name)


def _split(
    datasets: Mapping[str, Dataset], splits: Split | Mapping[str, Split] | None, seed: int
) -> Parts:
    parts: Parts = {part: {} for part in PARTS}
    if isinstance(splits, Mapping):
        for name in splits:
            if name not in datasets:
                raise ConfigError(
                    f"`splits` names source '{name}', which is not declared. "
                    f"{nearest(name, datasets)}"
                )
    for name, dataset in datasets.items():
        split = splits.get(name, Split()) if isinstance(splits, Mapping) else (splits or Split())
        for part, rows in split.assign(dataset.table, seed).items():
            if len(rows):
                parts[part][name] = torch.from_numpy(rows)
    return parts


def _given_parts(
    datasets: Mapping[str, Dataset], parts: Mapping[str, Mapping[str, Tensor]]
) -> Parts:
    given: Parts = {part: {} for part in PARTS}
    for part, per_source in parts.items():
        for name, rows in per_source.items():
            if name not in datasets:
                raise DataError(f"The saved rows are of source '{name}'. {nearest(name, datasets)}")
            if len(rows) and int(rows.max()) >= datasets[name].rows:
                raise DataError(
                    f"The saved rows of {name} go up to {int(rows.max())}, but it has "
                    f"{datasets[name].rows} rows: it is not the data that the run was trained on."
                )
            given.setdefault(part, {})[name] = torch.as_tensor(rows, dtype=torch.int64)
    return given


def _without_skipped(datasets: Mapping[str, Dataset], parts: Parts) -> Parts:
    result: Parts = {}
    for part, per_source in parts.items():
        result[part] = {}
        for name, rows in per_source.items():
            bad = torch.tensor([row for row, _ in datasets[name].skipped], dtype=torch.int64)
            kept = rows[~torch.isin(rows, bad)] if len(bad) else rows
            if len(rows) and not len(kept):
                raise DataError(
                    f"The {part} part of {name} is empty: all of its {len(rows)} rows cannot be "
                    f"decoded. The first: {datasets[name].skipped[0][1]}"
                )
            result[part][name] = kept
    return result


def _fit_inputs(datasets: Mapping[str, Dataset], inputs: Mapping[str, Input], parts: Parts) -> None:
    for name, some in inputs.items():
        some.fit(
            [
                (datasets[s].table, datasets[s].stores.get(name), as_rows(parts["train"][s]))
                for s in some.columns
                if s in parts["train"]
            ]
        )


def _without_dropped(
    datasets: Mapping[str, Dataset], inputs: Mapping[str, Input], parts: Parts
) -> Parts:
    """The parts without training rows that a table input left out."""
    train = dict(parts["train"])
    for name, some in inputs.items():
        for source, rows in some.dropped.items() if isinstance(some, TableInput) else ():
            if not len(rows):
                continue
            datasets[source].dropped[name] = len(rows)
            train[source] = train[source][~torch.isin(train[source], torch.from_numpy(rows))]
            if not len(train[source]):
                raise DataError(
                    f"No training row of {source} is left: input '{name}' drops all of them. "
                    "Drop less (inputs.NAME.clean)."
                )
    return {**parts, "train": train}


def _vectors(name: str, some: TableInput, datasets: Mapping[str, Dataset], parts: Parts) -> None:
    """Fills the stores of a table input, and notes what its cleaning did."""
    for source in some.columns:
        dataset = datasets[source]
        dataset.stores[name] = some.vectors(dataset.table)
        rows = {part: as_rows(by[source]) for part, by in parts.items() if source in by}
        counted = some.counts(dataset.table, rows)
        if counted:
            dataset.cleaned[name] = counted


def _select(name: str, some: TableInput, datasets: Mapping[str, Dataset], parts: Parts) -> None:
    """Lets a table input choose entries by training rows and the targets that they have."""
    if some.clean is None or some.clean.select is None:
        return
    values: list[NDArray[np.float32]] = []
    targets: list[Target] = []
    sources = [datasets[s] for s in some.columns if s in parts["train"]]
    tasks = dict.fromkeys(t for d in sources for t, read in d.reads.items() if read == name)
    for dataset in sources:
        store = dataset.stores[name]
        assert isinstance(store, VectorStore)
        values.append(store.vectors[as_rows(parts["train"][dataset.name])])
    for task in tasks if some.clean.select.supervised else ():
        found = []
        for dataset in sources:
            rows = parts["train"][dataset.name]
            target = dataset.targets[task][rows].double().reshape(len(rows), -1)
            found.append(target.masked_fill(~dataset.present[task][rows, None], float("nan")))
        whole = all(d.targets[task].dtype == torch.int64 for d in sources)
        for column in torch.cat(found).numpy().T:
            known = column[~np.isnan(column)]
            targets.append((column, whole or bool(np.isin(known, (0, 1)).all())))
    some.choose(np.concatenate(values), targets)
    for source in some.columns:
        datasets[source].stores[name] = some.vectors(datasets[source].table)


def _fit(task: Task, datasets: Mapping[str, Dataset], parts: Parts) -> Task:
    """Fits a task on the training rows of all sources that have its labels."""
    cells: list[NDArray[Any]] = []
    for source in task.target:
        rows = as_rows(parts["train"].get(source, ()))
        if task.media is not None:
            cells.append(datasets[source].maps[task.name].cells(rows))
            continue
        cells.append(datasets[source].table.cells(columns_of(task, source), rows))
    labels, _ = composed_cells(task, np.concatenate(cells))
    return fit_task(task, labels, _describer(task, datasets, parts))


def _describer(task: Task, datasets: Mapping[str, Dataset], parts: Parts) -> Callable[[int], str]:
    """Names the table row of an offset into the training rows of all the task's sources."""

    def describe(offset: int) -> str:
        for source in task.target:
            rows = parts["train"].get(source, torch.zeros(0, dtype=torch.int64))
            if offset < len(rows):
                return datasets[source].table.describe(int(rows[offset]))
            offset -= len(rows)
        raise AssertionError(offset)

    return describe


def _encode(
    task: Task,
    datasets: Mapping[str, Dataset],
    inputs: Mapping[str, Input],
    parts: Parts,
    *,
    unknown: Policy,
) -> None:
    """Fills targets and presence, with placeholders for sources that have no labels.

    Labels of rows that are in no part are not looked at.
    """
    encoded: list[Tensor] = []
    for source in task.target:
        dataset = datasets[source]
        if task.media is not None:
            store = dataset.maps[task.name]
            encoded.append(torch.from_numpy(store.maps))
            dataset.present[task.name] = torch.from_numpy(store.present)
            continue
        cells = dataset.table.cells(columns_of(task, source))
        used, trained = np.zeros(len(cells), dtype=bool), np.zeros(len(cells), dtype=bool)
        trained[as_rows(parts["train"].get(source, ()))] = True
        for per_source in parts.values():
            used[as_rows(per_source.get(source, ()))] = True
        cells[~used] = None
        cells, changed = composed_cells(task, cells)
        if changed:
            dataset.composed[task.name] = changed
        read, some = dataset.stores[task.input], inputs[task.input]
        if has_times(task):
            assert isinstance(some, SoundInput) and isinstance(read, SoundStore)
            require_ends(task, cells, some, read, dataset.table.describe)
        target, present, missed = encode_cells(
            task, cells, unknown=unknown, trained=trained, describe=dataset.table.describe
        )
        require_token_labels(task, target, present, read.lengths(), dataset.table.describe)
        if isinstance(read, TextStore):
            target = cut_token_labels(task, target, read.kept())
        if has_times(task):
            assert isinstance(some, SoundInput) and isinstance(read, SoundStore)
            target, present = frame_labels(task, target, present, some, read)
        dataset.present[task.name] = present
        encoded.append(target)
        if missed:
            dataset.unknown[task.name] = missed
    encoded = task.alike(encoded)
    for source, target in zip(task.target, encoded, strict=True):
        datasets[source].targets[task.name] = target
    empty = np.empty((0, max(1, len(columns_of(task)))), dtype=object)
    example = encoded[0] if encoded else task.encode(empty)[0]
    for source in inputs[task.input].columns:
        dataset = datasets[source]
        dataset.reads[task.name] = task.input
        if has_times(task):
            some = inputs[task.input]
            assert isinstance(some, SoundInput)
            dataset.timed[task.name] = (task.frame * some.sample_rate, task.rest)
        if isinstance(task, DenseTask):
            dataset.blanks[task.name] = (task.blank, task.vectors)
        if task.name not in dataset.targets:
            shape = (dataset.rows, *example.shape[1:])
            dataset.targets[task.name] = torch.zeros((1, *shape[1:]), dtype=example.dtype).expand(
                shape
            )
            dataset.present[task.name] = torch.zeros(dataset.rows, dtype=torch.bool)
