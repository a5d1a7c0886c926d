"""What a balancer is told of single tasks: by name in a file, by number in the library."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polytask.config.catalogue import PER_TASK, TASK_NAMES
from polytask.config.derive import FieldOf, settings
from polytask.config.mistakes import Mistake, Steps
from polytask.config.spec import Spec
from polytask.errors import nearest


def naming_tasks(kind: str, made: type) -> dict[str, FieldOf]:
    """The fields of a balancer that name tasks, for its settings in a file."""
    keys = TASK_NAMES.get(kind, {})
    return {key: (named, settings(made)[key][1]) for key, (named, _) in keys.items()}


def unknown_tasks(given: Mapping[str, Any], path: Steps, tasks: Sequence[str]) -> Iterator[Mistake]:
    """Names in a balancer's settings that no task has.

    Args:
        given: The settings, as plain values that may be wrong otherwise.
        path: Where they stand.
        tasks: The names of the tasks.
    """
    for key in TASK_NAMES.get(str(given.get("kind")), ()):
        value = given.get(key)
        listed = isinstance(value, list)
        for number, name in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(name, str) and name not in tasks:
                at = (*path, key, number) if listed else (*path, key)
                yield Mistake(at, f"there is no task '{name}'. {nearest(name, tasks)}")


def numbered(spec: Spec, tasks: Sequence[str]) -> Spec:
    """A balancer's settings with numbers for the names of tasks."""

    def number(said: Any) -> Any:
        if isinstance(said, tuple):
            return tuple(number(task) for task in said)
        return tasks.index(said) if isinstance(said, str) else said

    keys = TASK_NAMES.get(spec.chosen, ())
    return spec.model_copy(update={key: number(getattr(spec, key)) for key in keys})


def for_tasks(
    given: Mapping[str, Any], tasks: Sequence[str], kept: Sequence[str]
) -> dict[str, Any]:
    """A balancer's settings for some of the tasks: what is said of the others goes with them.

    Args:
        given: The settings, right ones.
        tasks: The names of all tasks.
        kept: Those that stay, in the order of `tasks`.
    """
    found = dict(given)
    for key, (_, without) in TASK_NAMES.get(str(given["kind"]), {}).items():
        value = given.get(key)
        several = isinstance(value, list)
        said = [] if value is None else value if several else [value]
        names = [task if isinstance(task, str) else tasks[task] for task in said]
        staying = [name for name in names if name in kept]
        found[key] = (staying if several else staying[0]) if staying else without
    for key in PER_TASK:
        if found.get(key) is not None:
            each = [number for name, number in zip(tasks, found[key], strict=True) if name in kept]
            found[key] = each if any(each) else None
    return found
