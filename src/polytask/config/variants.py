"""Configurations made from another: other settings, some of its tasks, other seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polytask.config.build import build_tasks
from polytask.config.document import Document
from polytask.config.load import validated
from polytask.config.schema import Config
from polytask.config.task_keys import for_tasks
from polytask.errors import ConfigError, nearest
from polytask.tasks import Task


def varied(config: Config, changes: Mapping[str, Any]) -> Config:
    """A configuration with other values in some places.

    Args:
        config: The configuration.
        changes: New values by key, such as `{"optimizer.lr": 0.01, "balancer": {"kind": "uw"}}`. A
            number among the keys counts the items of a list from 0. Whoever changes a `kind`
            gives the whole part, since other kinds have other settings.

    Raises:
        ConfigError: If a key is unknown, or a value is none that it takes.
    """
    raw = config.resolved()
    for key, value in changes.items():
        _put(raw, key, value)
    named = ", ".join(changes) or "nothing"
    return validated(Document(f"'{config.name}' with a change of {named}", raw), Path())


def with_tasks(config: Config, names: Sequence[str]) -> Config:
    """A configuration with some of its tasks, and only the inputs and sources that these need.

    A source stays if it has labels for one of the tasks, or another that stays is made of it. What
    is said of parts that are gone (a score to monitor, parts that do not learn, classes to even
    out, where a task leaves the trunk, how a balancer treats it) goes with them; what was below a
    task that is gone is below the next one above it.

    Args:
        config: The configuration.
        names: The tasks that stay; their order stays that of the configuration.

    Raises:
        ConfigError: If there is no such task.
    """
    for name in names:
        if name not in config.tasks:
            raise ConfigError(f"There is no task '{name}'. {nearest(name, config.tasks)}")
    raw = config.resolved()
    tasks = {name: task for name, task in raw["tasks"].items() if name in names}
    for task in tasks.values():
        while task.get("parent") and task["parent"] not in tasks:
            task["parent"] = raw["tasks"][task["parent"]].get("parent")
    sources = {source for task in tasks.values() for source in task["target"]}
    inputs = {name: raw["inputs"][name] for name in {t["input"]: 0 for t in tasks.values()}}
    for given in inputs.values():
        given["columns"] = {s: c for s, c in given["columns"].items() if s in sources}
    for name, task in raw["tasks"].items():
        if name not in tasks and task["input"] in inputs:
            _keep_from(inputs[task["input"]], task["target"])
    raw |= {"tasks": tasks, "inputs": inputs}
    bases = {raw["sources"][name].get("source") for name in sources}
    kept = sources | bases
    raw["sources"] = {name: given for name, given in raw["sources"].items() if name in kept}
    balancers = [raw["balancer"], *(raw.get("compare") or {}).get("balancing", ())]
    for given in balancers:
        given.update(for_tasks(given, list(config.tasks), list(tasks)))
    mixing, training = raw["batches"]["mixing"], raw["training"]
    if "counts" in mixing:
        mixing["counts"] = {s: n for s, n in mixing["counts"].items() if s in sources}
    resample = raw["batches"]["resample"]
    if resample is not None and resample["task"] not in tasks:
        raw["batches"]["resample"] = None
    who, _, metric = training["monitor"].rpartition(".")
    measured = who in tasks or (
        who == "mean"
        and any(_measures(task, metric) for task in build_tasks(config) if task.name in tasks)
    )
    if not measured:
        training["monitor"] = "mean"

    def stays(part: str) -> bool:
        room, _, name = part.partition(".")
        name = name.partition(".")[0]
        gone = {"heads": config.tasks.keys() - tasks, "encoders": config.inputs.keys() - inputs}
        return name not in gone.get(room, ())

    training["freeze"] = [part for part in training["freeze"] if stays(part)]
    training["unfreeze"] = {p: n for p, n in training["unfreeze"].items() if stays(p)}
    if raw["trunk"].get("leaves"):
        raw["trunk"]["leaves"] = {t: n for t, n in raw["trunk"]["leaves"].items() if t in tasks}
    return validated(Document(f"'{config.name}' with {', '.join(tasks)} only", raw), Path())


def _keep_from(given: dict[str, Any], target: Mapping[str, Any]) -> None:
    """Let the `*` of a table input go on leaving out what a task that is gone predicted from it.

    Else a task alone would be told the others' labels, and columns would differ between runs.
    """
    for source, columns in target.items():
        if any("*" in c for c in given["columns"].get(source, ()) if given["kind"] == "table"):
            named = columns if isinstance(columns, list) else [columns]
            without = given["without"] or {}
            others = [c for c in named if c not in without.get(source, ())]
            given["without"] = {**without, source: [*without.get(source, ()), *others]}


def _measures(task: Task, metric: str) -> bool:
    """Whether a task, fitted or not, has a metric."""
    if getattr(task, "classes", None) == ():  # which ones there are decides, not how many
        task = replace(task, classes=("one", "other"))  # type: ignore[call-arg]
    return metric in (*task.metrics(), "loss")


def with_seed(config: Config, seed: int) -> Config:
    """A configuration with another seed, and the rows of its parts as its own seed draws them.

    Weights, order and noise are those of the new seed; which rows train, validate and test is as
    before, so that scores of several seeds are of the same examples.
    """
    raw = config.resolved()
    for given in raw["sources"].values():
        if given["split"]["seed"] is None:
            given["split"]["seed"] = config.seed
    raw["seed"] = seed
    return validated(Document(f"'{config.name}' with seed {seed}", raw), Path())


def _put(raw: Any, key: str, value: Any) -> None:
    """Set the value of one dotted key."""
    *above, last = key.split(".")
    here = raw
    for step in above:
        known = here[int(step)] if isinstance(here, list) and step.isdigit() else here.get(step)
        if not isinstance(known, (dict, list)):
            raise ConfigError(f"{key}: there is no '{step}' with keys of its own.")
        here = known
    if isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value
