"""What a topology says of sharing, as charts: gates, mixtures, changes, scales, attention."""

from typing import Any

from torch import Tensor

from polytask.model import MultiTaskModel
from polytask.report.figures import Drawing
from polytask.report.heats import Heat, heats
from polytask.report.page import Cell, Section, Table
from polytask.sharing import Trunk

# What each table of `Trunk.shares` is, for a reader.
CAPTIONS = {
    "gates": "Mean weight that a task (row) gives to each expert (column), over training.",
    "load": "Share of examples for which an expert (column) had a task's (row) greatest weight.",
    "common": "Mean weight that the common stream gives to each expert.",
    "stitches": "How much of each column (across) a task (down) takes after each stage.",
    "alphas": "How much of each column (across) a task (down) takes after each stage.",
    "betas": "A task's (row) weight of each stage (column) of its column.",
    "fusions": "The part of a task's (row) fusion that is on each column (across), by stage.",
    "attention": "A task's (row) mean weight of the features of each stage (column).",
    "scale": "How far a task's scales (row) are from 1 at each stage (column).",
    "shift": "How far a task's shifts (row) are from 0 at each stage (column).",
    "changes": "Norm of a task's (row) change of each stage's weights, relative to these weights.",
    "adapters": "Norm of a task's (row) adapter at each stage (column): its layers multiplied.",
}


def sharing(model: MultiTaskModel) -> tuple[Section, dict[str, Any]]:
    """The section about who shares what, and its numbers."""
    trunk, tasks = model.trunk, list(model.trunk.tasks)
    tables = trunk.shares()
    figures = [_drawn(trunk, name, table, tasks) for name, table in tables.items()]
    unused = list(getattr(trunk, "unused_experts", lambda: ())())
    rows, numbers = parameters(model)
    text = f"The topology is {type(trunk).__name__}."
    if not tables:
        text += " It keeps no numbers about sharing: what is shared follows from its shape."
    if unused:
        text += f" Experts that nothing uses (mean weight below 0.01): {', '.join(unused)}."
    elif any(name.startswith("gates") for name in tables):
        text += " Every expert is used by some task (mean weight of at least 0.01)."
    section = Section(
        heading="Who shares what",
        text=text,
        figures=figures,
        tables=[
            Table(
                columns=["part", "moved by several tasks", "moved by one task or none"],
                rows=rows,
                caption="Parameters by where they are.",
            )
        ],
    )
    return section, {
        "topology": type(trunk).__name__,
        "tables": {name: table.tolist() for name, table in tables.items()},
        "unused_experts": unused,
        "parameters": numbers,
    }


def parameters(model: MultiTaskModel) -> tuple[list[list[Cell]], dict[str, dict[str, int]]]:
    """Parameters of each part: moved by several tasks, and by one or none."""
    shared = {id(p) for p in model.shared_parameters()}
    parts: dict[str, Any] = {f"encoder {name}": model.encoders[name] for name in model.encoders}
    parts["trunk"] = model.trunk
    parts |= {f"head {name}": model.heads[name] for name in model.heads}
    rows: list[list[Cell]] = []
    numbers = {}
    for name, part in parts.items():
        several = sum(p.numel() for p in part.parameters() if id(p) in shared)
        own = sum(p.numel() for p in part.parameters()) - several
        rows.append([name, several, own])
        numbers[name] = {"shared": several, "private": own}
    return rows, numbers


def _drawn(trunk: Trunk, name: str, table: Tensor, tasks: list[str]) -> Drawing:
    """One table of `Trunk.shares`, named in the tasks' and experts' own words."""
    kind, _, level = name.partition(".")
    caption = CAPTIONS.get(kind, "As the topology says of itself; see its page.")
    title = f"{kind}, level {int(level) + 1}" if level else kind
    panels: dict[str, Heat] = {}
    if table.ndim == 3:
        for stage, part in enumerate(table):
            columns = tasks if part.shape[1] == len(tasks) else _numbers("", part.shape[1])
            panels[f"after stage {stage + 1}"] = Heat(part.tolist(), tasks, columns)
    else:
        flat = table if table.ndim == 2 else table.reshape(len(table), -1)
        rows = tasks if len(flat) == len(tasks) else ["common stream"][: len(flat)]
        rows = rows if len(rows) == len(flat) else _numbers("", len(flat))
        experts = kind in ("gates", "load", "common")
        columns = _numbers("expert " if experts else "stage ", flat.shape[1])
        names = list(getattr(trunk, "expert_names", ()))
        if experts and len(names) == flat.shape[1]:
            columns = names
        panels[title] = Heat(flat.tolist(), rows, columns)
    return heats(
        panels,
        name=f"sharing-{name}",
        alt=f"{title}: {caption}",
        caption=caption,
        low=0.0 if bool((table >= 0).all()) else None,
        high=1.0 if kind in ("gates", "load", "common", "attention", "fusions") else None,
        signed=bool((table < 0).any()),
    )


def _numbers(word: str, count: int) -> list[str]:
    return [f"{word}{number + 1}" for number in range(count)]
