"""What is measured before a comparison begins: what tasks get, and how long trainings take."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from polytask.config.build import build_model, read_sources
from polytask.config.schema import Config
from polytask.config.variants import with_tasks
from polytask.data.dataset import Dataset, Prepared
from polytask.data.tabular import TableInput
from polytask.errors import ConfigError
from polytask.study.plan import Allowance, Plan
from polytask.study.runs import DEATHS
from polytask.study.timing import step_seconds
from polytask.training.history import compared_by
from polytask.workflow import make_stream, prepare_data

Value = TypeVar("Value")


def measured(config: Config, workers: int) -> dict[str, Any]:
    """What has to be known before a plan can be made.

    What a step and an epoch are in the training of all tasks decides how much models of fewer
    tasks get; a few steps of each candidate say how long it will take.
    """
    threads = config.training.model_dump()["threads"]
    if threads == "auto":  # the same for all, since their costs are compared
        threads = max(1, (os.cpu_count() or 1) // max(1, workers))
    draft = Plan(config, {}, {}, threads)
    base = draft.config
    everything = prepare_data(base, None)
    stream = make_stream(base, everything, 0, 1)
    epochs = int(config.training.model_dump()["epochs"])
    steps = epochs * stream.steps_per_epoch
    prepared: dict[tuple[str, ...], Prepared] = {tuple(config.tasks): everything}
    allowances = {}
    for tasks in [*draft.sets, *((task,) for task in config.tasks)]:
        sources = read_sources(with_tasks(base, tasks))
        share = sum(stream.per_step(source, steps) for source in sources)
        size = config.batches.size if draft.compare.budget == "steps" else max(1, round(share))
        allowances[tasks] = Allowance(size, stream.steps_per_epoch * size)
    plan = Plan(config, allowances, {}, threads)
    seconds: dict[str, float] = {}
    paces: dict[str, float] = {}
    for candidate in [*plan.alone(), *plan.shared()]:
        own = plan.job(candidate, config.seed).config
        if candidate.tasks not in prepared:
            prepared[candidate.tasks] = part_of(everything, own) or prepare_data(own, None)
        paces[candidate.name] = pace(own, prepared[candidate.tasks], paces.values())
        seconds[candidate.name] = paces[candidate.name] * steps
    changed: dict[str, int] = {}
    if plan.compare.budget == "time":
        reference = paces[plan.shared()[0].name]
        changed = {n: max(1, round(epochs * reference / pace)) for n, pace in paces.items()}
        seconds = {n: paces[n] * changed[n] * stream.steps_per_epoch for n in paces}
    monitor = str(config.training.model_dump()["monitor"])
    compared = {task.name: compared_by(monitor, task) for task in everything.tasks}
    return {
        "allowances": [{"tasks": list(t), **asdict(a)} for t, a in allowances.items()],
        "epochs": changed,
        "threads": threads,
        "seconds": seconds,
        "scores": {name: metric for name, (metric, _) in compared.items()},
        "higher_is_better": {name: higher for name, (_, higher) in compared.items()},
        "data": everything.summary(),
        "epoch": stream.describe_epoch(),
    }


def require_planned(config: Config, prepared: Prepared) -> None:
    """Make sure that the models of a comparison can be built.

    Args:
        config: The configuration.
        prepared: Its data.

    Raises:
        ConfigError: If not. Those of tasks whose data has to be made anew are not tried.
    """
    plan = Plan(config, {}, {}, 1)
    for candidate in (*plan.alone(), *plan.shared()):
        own = plan.job(candidate, plan.compare.seeds[0]).config
        if (some := part_of(prepared, own)) is not None:
            try:
                build_model(own, some.inputs, some.tasks)
            except ConfigError as error:
                raise ConfigError(f"compare, '{candidate.name}': {error}") from error


def pace(config: Config, prepared: Prepared, others: Iterable[float]) -> float:
    """Seconds of a step; where it fails, the longest so far: its training will say why."""
    try:
        return step_seconds(config, prepared)
    except DEATHS:
        return max(others, default=1.0)


def part_of(whole: Prepared, config: Config) -> Prepared | None:
    """What a configuration of some of the tasks reads of data that is prepared for all of them.

    Args:
        whole: The data of all tasks.
        config: As `with_tasks` makes them.

    Returns:
        None where it would not be what the configuration by itself gives: an input learns from
        sources that are gone, or chooses entries by the labels of all tasks; or rows are left out,
        perhaps for the sake of something that is gone.
    """
    sources = read_sources(config)
    if any(whole.datasets[name].skipped or whole.datasets[name].dropped for name in sources):
        return None
    inputs = {name: whole.inputs[name] for name in config.inputs}
    for some in inputs.values():
        clean = some.clean if isinstance(some, TableInput) else None
        chosen = clean is not None and clean.select is not None and clean.select.supervised
        if chosen or not set(some.columns) <= set(sources):
            return None

    def kept(dataset: Dataset) -> Dataset:
        return replace(
            dataset,
            stores=some_of(dataset.stores, inputs),
            maps=some_of(dataset.maps, config.tasks),
            targets=some_of(dataset.targets, config.tasks),
            present=some_of(dataset.present, config.tasks),
            reads=some_of(dataset.reads, config.tasks),
            blanks=some_of(dataset.blanks, config.tasks),
            timed=some_of(dataset.timed, config.tasks),
            unknown=some_of(dataset.unknown, config.tasks),
            composed=some_of(dataset.composed, config.tasks),
        )

    return Prepared(
        {name: kept(dataset) for name, dataset in some_of(whole.datasets, sources).items()},
        {part: some_of(rows, sources) for part, rows in whole.parts.items()},
        tuple(task for task in whole.tasks if task.name in config.tasks),
        inputs,
    )


def some_of(found: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
    """What a mapping has of some names."""
    return {name: found[name] for name in names if name in found}
