"""Parts of the file that should fit each other, found without touching data."""

from collections.abc import Iterator, Mapping
from typing import Any

from polytask.config.catalogue import BODIES, NEEDS, SHAPES, TASKS
from polytask.config.derive import as_text
from polytask.config.mistakes import Mistake, Steps
from polytask.config.references import Plain, section
from polytask.config.task_keys import unknown_tasks
from polytask.errors import nearest


def mismatches(raw: Plain) -> Iterator[Mistake]:
    """Names that point nowhere, and parts that nothing uses.

    Args:
        raw: The plain values of a file, written out by `references.expand`.
    """
    for key, what in (("sources", "source"), ("inputs", "input"), ("tasks", "task")):
        if raw.get(key) == {}:
            yield Mistake((key,), f"at least one {what} is needed.")
    yield from _sources(raw)
    yield from _inputs(raw)
    yield from _tasks(raw)
    yield from _parents(raw)
    yield from _unused(raw)
    yield from _mixing(raw)
    yield from _monitor(raw)
    yield from _balancers(raw)
    yield from _trunk(raw)
    yield from _needs(raw)
    yield from _wide(raw)


def _sources(raw: Plain) -> Iterator[Mistake]:
    """Sources that are made of another one."""
    sources = section(raw, "sources")
    for name, given in sources.items():
        other = given.get("source") if isinstance(given, dict) else None
        valid = [n for n in sources if n != name]
        if isinstance(other, str) and other not in valid:
            yield Mistake(
                ("sources", name, "source"),
                f"there is no other source '{other}'. {nearest(other, valid)}",
            )


def _inputs(raw: Plain) -> Iterator[Mistake]:
    sources = section(raw, "sources")
    for name, given in section(raw, "inputs").items():
        columns = section(given, "columns") if isinstance(given, dict) else {}
        for source in columns:
            path = ("inputs", name, "columns", source)
            if source not in sources:
                yield Mistake(path, f"there is no source '{source}'. {nearest(source, sources)}")


def _tasks(raw: Plain) -> Iterator[Mistake]:
    sources, inputs = section(raw, "sources"), section(raw, "inputs")
    for name, given in section(raw, "tasks").items():
        if not isinstance(given, dict):
            continue
        path = ("tasks", name)
        wanted = given.get("input")
        if "input" not in given and inputs:
            yield Mistake((*path, "input"), f"is needed: which of {', '.join(inputs)} it reads.")
        elif isinstance(wanted, str) and wanted not in inputs:
            yield Mistake(
                (*path, "input"), f"there is no input '{wanted}'. {nearest(wanted, inputs)}"
            )
        target = section(given, "target")
        if given.get("target") == {}:
            yield Mistake((*path, "target"), "a column is needed, such as 'source.column'.")
        read = inputs.get(wanted) if isinstance(wanted, str) else None
        columns = section(read, "columns") if isinstance(read, dict) else None
        for source in target:
            at = (*path, "target", source)
            if source not in sources:
                yield Mistake(at, f"there is no source '{source}'. {nearest(source, sources)}")
            elif columns is not None and source not in columns:
                yield Mistake(
                    at,
                    f"its input '{wanted}' does not read source '{source}'. "
                    + nearest(source, columns),
                )
        blended = isinstance(read, dict) and read.get("blend") is not None
        kind = TASKS.get(str(given.get("kind")))
        if blended and kind is not None and not kind.blends:
            yield Mistake(
                path,
                f"a {given['kind']} task cannot learn from examples that are two in one, and "
                f"inputs.{wanted} has `blend`. Leave it out, or give the task an input of its own.",
            )
        if len({len(c) if isinstance(c, list) else 1 for c in target.values()}) > 1:
            yield Mistake((*path, "target"), "every source needs the same number of columns.")


def _parents(raw: Plain) -> Iterator[Mistake]:
    """Tasks whose classes are kinds of another's."""
    tasks = {n: t for n, t in section(raw, "tasks").items() if isinstance(t, dict)}
    for name, given in tasks.items():
        wanted, path = given.get("parent"), ("tasks", name, "parent")
        if not isinstance(wanted, str):
            continue
        valid = [
            n
            for n, t in tasks.items()
            if n != name and t.get("kind") == "multiclass" and t.get("input") == given.get("input")
        ]
        if wanted not in valid:
            why = f"there is no other multiclass task '{wanted}' of the same input."
            yield Mistake(path, f"{why} {nearest(wanted, valid)}")
        elif tasks[wanted].get("criterion", "softmax") != "softmax":
            yield Mistake(path, f"task '{wanted}' needs 'criterion: softmax' for that.")
        elif name in _ancestors(wanted, tasks):
            yield Mistake(path, f"'{wanted}' is itself below '{name}': leave one of them out.")


def _ancestors(name: str, tasks: Plain) -> list[str]:
    """A task and those above it, as far as there is no circle."""
    found: list[str] = []
    above: Any = name
    while isinstance(above, str) and above in tasks and above not in found:
        found.append(above)
        above = tasks[above].get("parent")
    return found


def _unused(raw: Plain) -> Iterator[Mistake]:
    """Sources and inputs that nothing reads; nothing is said while a name points nowhere."""
    sources, inputs, tasks = (section(raw, key) for key in ("sources", "inputs", "tasks"))
    read, bases = _read(raw), _bases(raw)
    for source in sources:
        if read and read <= set(sources) and source not in read | bases:
            yield Mistake(
                ("sources", source), "no input reads this source. Remove it, or name it in one."
            )
    wanted = {str(task.get("input")) for task in tasks.values() if isinstance(task, dict)}
    for name in inputs:
        if wanted and wanted <= set(inputs) and name not in wanted:
            yield Mistake(("inputs", name), "no task reads this input. Remove it, or add a task.")


def _read(raw: Plain) -> set[str]:
    """The sources that an input reads."""
    inputs = section(raw, "inputs").values()
    return {s for i in inputs if isinstance(i, dict) for s in section(i, "columns")}


def _bases(raw: Plain) -> set[str]:
    """The sources that others are made of."""
    sources = section(raw, "sources").values()
    return {
        str(given["source"]) for given in sources if isinstance(given, dict) and "source" in given
    }


def _mixing(raw: Plain) -> Iterator[Mistake]:
    sources, mixing = section(raw, "sources"), section(section(raw, "batches"), "mixing")
    counts = section(mixing, "counts")
    path = ("batches", "mixing", "counts")
    unread = _bases(raw) - _read(raw)
    for name in counts:
        if name not in sources:
            yield Mistake((*path, name), f"there is no source '{name}'. {nearest(name, sources)}")
        elif name in unread:
            yield Mistake((*path, name), "no input reads this source, so none of it is drawn.")
    missing = [name for name in sources if name not in counts and name not in unread]
    if counts and missing:
        yield Mistake(path, f"says nothing of {', '.join(missing)}: how many examples per step?")


def _monitor(raw: Plain) -> Iterator[Mistake]:
    tasks = section(raw, "tasks")
    monitor = as_text(section(raw, "training").get("monitor", "mean"))
    if not isinstance(monitor, str) or monitor == "mean":
        return
    task, dot, _ = monitor.partition(".")
    if task == "mean" and "mean" in tasks:
        yield Mistake(
            ("training", "monitor"),
            f"'{monitor}' may be of the task 'mean' or the mean of all tasks. Name the task "
            "otherwise (its `target` can stay).",
        )
    if (task not in tasks and task != "mean") or not dot:
        valid = ["mean", "mean.METRIC", *(f"{name}.METRIC" for name in tasks)]
        hint = nearest(task, tasks) if dot else f"Valid: {', '.join(valid)}."
        yield Mistake(
            ("training", "monitor"), f"expected 'mean' or 'task.metric', found '{monitor}'. {hint}"
        )


def _balancers(raw: Plain) -> Iterator[Mistake]:
    """Tasks that balancers name, those to compare too."""
    tasks = list(section(raw, "tasks"))
    compared = section(raw, "compare").get("balancing")
    places: list[tuple[Steps, Any]] = [(("balancer",), raw.get("balancer"))]
    if isinstance(compared, list):
        places += [(("compare", "balancing", n), given) for n, given in enumerate(compared)]
    for path, given in places:
        if isinstance(given, dict):
            yield from unknown_tasks(given, path, tasks)


def _trunk(raw: Plain) -> Iterator[Mistake]:
    """A trunk's backbone takes maps, sequences or vectors; each input gives one of these."""
    kind = section(section(raw, "trunk"), "backbone").get("kind", "perceptron")
    for name, given in section(raw, "inputs").items():
        shape = shape_of(given) if isinstance(given, dict) else None
        if shape is None or kind in BODIES[shape] or not any(kind in b for b in BODIES.values()):
            continue
        hint = "Add 'pool: mean', or choose" if kind == "perceptron" else "Choose"
        yield Mistake(
            ("inputs", name),
            f"gives a {shape}, which the trunk's backbone ({kind}) cannot take. {hint} another "
            f"trunk.backbone ({' or '.join(BODIES[shape])}).",
        )


def _needs(raw: Plain) -> Iterator[Mistake]:
    """Tasks that label tokens or pixels, and get one vector."""
    inputs = section(raw, "inputs")
    for name, task in section(raw, "tasks").items():
        wanted = NEEDS.get(str(task.get("kind"))) if isinstance(task, dict) else None
        read = inputs.get(str(task.get("input"))) if wanted else None
        shape = shape_of(read) if isinstance(read, dict) else None
        if wanted is None or shape is None or not isinstance(read, dict):
            continue
        tokens = section(section(raw, "trunk"), "backbone").get("kind") == "transformer"
        if tokens and shape == "vector":
            shape = "sequence"
        if shape != wanted:
            pooled = " Leave out its 'pool'." if read.get("pool") is not None else ""
            yield Mistake(
                ("tasks", name, "input"),
                f"a {task['kind']} task needs a {wanted}, and its input '{task['input']}' gives a "
                f"{shape}.{pooled}",
            )


def _wide(raw: Plain) -> Iterator[Mistake]:
    """Tasks that count n-grams of what is no text."""
    inputs = section(raw, "inputs")
    for name, task in section(raw, "tasks").items():
        if not isinstance(task, dict) or task.get("wide") is None:
            continue
        read = inputs.get(str(task.get("input")))
        if isinstance(read, dict) and read.get("kind") not in ("text", None):
            yield Mistake(
                ("tasks", name, "wide"),
                f"is of n-grams of a text, and its input '{task['input']}' is of kind "
                f"'{read['kind']}'. Leave it out.",
            )


def shape_of(given: Mapping[str, Any]) -> str | None:
    """What an input's own network gives: a map, a sequence or a vector. None if unknown."""
    if given.get("pool") is not None:
        return "vector"
    shape = SHAPES.get(str(given.get("kind")))
    # A Transformer makes tokens of a vector's numbers.
    tokens = shape == "vector" and section(given, "body").get("kind") == "transformer"
    return "sequence" if tokens else shape
