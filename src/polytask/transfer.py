"""Starting from weights that were trained before: what fits is taken, and what happened is said.

Shapes: C outputs of a head.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from polytask.errors import ConfigError, DataError, RunError, nearest
from polytask.model import MultiTaskModel
from polytask.tasks.base import Task
from polytask.tasks.labels import composed
from polytask.tasks.texts import TextTask

_SHOWN = 8


@dataclass
class Start:
    """Which parameters and buffers came from where, by name.

    Attributes:
        taken: Taken as they were.
        grown: Heads of which the known labels' rows were taken; the rows of new labels are fresh.
        fresh: Begin anew.
        left: Of the earlier model, with no place in this one.
    """

    taken: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def parts(self) -> Iterator[tuple[str, str]]:
        """Each part of the network (`heads.color`) and what became of it, for people."""
        words = {"taken": "taken", "grown": "taken, grown", "fresh": "fresh", "left": "left behind"}
        found: dict[str, list[str]] = {}
        for key, names in asdict(self).items():
            for name in names:
                said = found.setdefault(".".join(name.split(".")[:2]), [])
                if words[key] not in said:
                    said.append(words[key])
        return ((part, " and ".join(said)) for part, said in sorted(found.items()))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def start_from(
    model: MultiTaskModel,
    weights: Mapping[str, Tensor],
    tasks: Iterable[Task],
    earlier: Iterable[Task],
    *,
    fresh: Sequence[str] = (),
) -> Start:
    """Give a model the weights of an earlier one where name and shape agree.

    A task of the earlier model that has the same name and kind keeps its head; labels that were
    added to it get fresh rows. A task of the same name and another kind is replaced.

    Args:
        model: The model, which is changed.
        weights: The earlier model's parameters and buffers.
        tasks: The model's tasks, fitted; known labels in the earlier order.
        earlier: The earlier model's tasks.
        fresh: Beginnings of names that are not taken though they would fit.

    Raises:
        ConfigError: If a beginning in `fresh` is that of no name.
        RunError: If a part has another shape than before, or knows tasks by their place and these
            are in another order, or nothing at all fits.
    """
    tasks, earlier = list(tasks), list(earlier)
    _require_parts(model, tasks, fresh)
    known = {task.name: task for task in earlier}
    kept = {t.name: t for t in tasks if t.name in known and type(t) is type(known[t.name])}
    heads = {model.heads.stored_as[task.name]: task.name for task in tasks}
    replaced = [
        f"heads.{stored}"
        for stored, name in heads.items()
        if name not in kept or begins(f"heads.{name}", fresh)
    ]
    state, start = model.state_dict(), Start()
    unfit: list[str] = []
    for name, ours in state.items():
        theirs = weights.get(name)
        part = name.split(".")
        task = kept.get(heads.get(part[1], "")) if part[0] == "heads" else None
        if theirs is None or begins(name, (*fresh, *replaced)):
            start.fresh.append(name)
        elif ours.shape == theirs.shape:
            ours.copy_(theirs)
            start.taken.append(name)
        elif task is not None and _grew(ours, theirs, task.outputs, known[task.name].outputs):
            with torch.no_grad():
                ours[: len(theirs)].copy_(theirs)
            start.grown.append(name)
        else:
            unfit.append(f"{name}: {list(theirs.shape)} there, {list(ours.shape)} here")
    if unfit:
        more = f"; and {len(unfit) - _SHOWN} more" if len(unfit) > _SHOWN else ""
        raise RunError(
            "These parts have other shapes than in the run to start from: "
            f"{'; '.join(unfit[:_SHOWN])}{more}. Give them the run's widths, or let them begin "
            f"anew with --fresh, such as --fresh {'.'.join(unfit[0].split('.')[:2])}."
        )
    require_order(model, start.taken, tasks, earlier)
    if not start.taken and not start.grown:
        raise RunError(
            "No part of the run to start from fits this network. The run's parts: "
            f"{', '.join(_beginnings(weights))}. This network's: {', '.join(_beginnings(state))}."
        )
    start.left = [name for name in weights if name not in start.taken + start.grown]
    return start


def require_order(
    model: MultiTaskModel, taken: Iterable[str], tasks: Sequence[Task], earlier: Sequence[Task]
) -> None:
    """Raise where a part that knows tasks by their place would be taken for another task.

    Raises:
        RunError: If tasks are in another order than before.
    """
    ours, theirs = ([task.name for task in some] for some in (tasks, earlier))
    parts = [f"trunk.{name}" for name in model.trunk.by_order]
    found = sorted({part for part in parts for name in taken if begins(name, [part])})
    if found and any(name in theirs and theirs.index(name) != ours.index(name) for name in ours):
        raise RunError(
            f"{', '.join(found)} know tasks by their order, which was {', '.join(theirs)} in the "
            f"run to start from and is {', '.join(ours)} here. Keep the run's order and put new "
            f"tasks behind it, or let these parts begin anew with --fresh {' '.join(found)}."
        )


def continued(declared: Task, fitted: Task, earlier: Task) -> Task:
    """A fitted task whose outputs stand where an earlier run had them; new labels come after.

    Args:
        declared: The task as the configuration has it.
        fitted: The same, fitted to the present training rows.
        earlier: The task of the earlier run.

    Raises:
        DataError: If labels are listed in another order, or the outputs can't be the same.
    """
    listed = getattr(declared, "classes", ())
    before = getattr(earlier, "classes", ())
    if listed and listed[: len(before)] != before:
        raise DataError(
            f"tasks.{declared.name}.classes should begin with the labels of the run to start "
            f"from, in their order: {', '.join(before)}. Found {', '.join(listed)}. Leave the list "
            f"out, or let the task begin anew with --fresh heads.{declared.name}."
        )
    if before and not isinstance(fitted, TextTask):
        # Labels of a run from before may be in Unicode's longer form.
        names = {composed(name): name for name in before} | {name: name for name in before}
        ours = tuple(names.get(name, name) for name in getattr(fitted, "classes", ()))
        fitted = replace(fitted, classes=ours)  # type: ignore[call-arg]
    return fitted.continuing(earlier)


def _require_parts(model: MultiTaskModel, tasks: Iterable[Task], fresh: Sequence[str]) -> None:
    """Make sure that each beginning is that of a parameter, or names a task's head."""
    names = [*model.state_dict(), *(f"heads.{task.name}" for task in tasks)]
    for beginning in fresh:
        if not any(begins(name, [beginning]) for name in names):
            parts = {".".join(name.split(".")[:n]) for name in names for n in (1, 2)}
            raise ConfigError(
                f"--fresh {beginning}: no part of the network is called so. "
                f"{nearest(beginning, parts)}"
            )


def begins(name: str, beginnings: Iterable[str]) -> bool:
    """Whether a parameter's name begins with one of some dotted beginnings."""
    return any(name == start or name.startswith(start + ".") for start in beginnings)


def _grew(ours: Tensor, theirs: Tensor, now: int, before: int) -> bool:
    """Whether a head's tensor has just more outputs than before."""
    return (
        ours.ndim > 0
        and (len(ours), len(theirs)) == (now, before)
        and now > before
        and ours.shape[1:] == theirs.shape[1:]
    )


def _beginnings(names: Iterable[str]) -> list[str]:
    return sorted({".".join(name.split(".")[:2]) for name in names})
