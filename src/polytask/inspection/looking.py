"""What each task looks at, drawn: pictures, sequences, columns of a table.

Shapes: B examples, L frames or tokens, D features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.data.dataset import Prepared
from polytask.inspection.attribution import Attribution, attribute
from polytask.model import MultiTaskModel
from polytask.report.charts import bars
from polytask.report.figures import INK, Drawing, drawn, styled
from polytask.report.page import Section
from polytask.tasks import Task
from polytask.types import Batch, Features

SHOWN = 4  # examples in a picture
ASKED = 64  # examples over which columns are averaged
TOP = 12  # columns of a table that are shown


def looking(
    model: MultiTaskModel, prepared: Prepared, batches: Sequence[Batch]
) -> tuple[list[Section], dict[str, Any]]:
    """The section about what tasks look at, and its numbers."""
    figures: list[Drawing] = []
    numbers: dict[str, Any] = {}
    for name in prepared.inputs:
        # What is written word by word has no one answer to attribute.
        tasks = [t for t in prepared.tasks if t.input == name and not t.reads_target]
        batch = next((batch for batch in batches if name in batch.inputs), None)
        if batch is None or not tasks:
            continue
        raw = batch.inputs[name]
        table = raw.values.ndim == 2 and raw.mask is None
        raw = _first(raw, ASKED if table else SHOWN)
        found = {task.name: attribute(model, task.name, raw) for task in tasks}
        for task, of in found.items():
            numbers[task] = {"input": name, "gap": float(of.gap.median())}
        if table:
            names = getattr(prepared.inputs[name], "names", None)
            means = {task: column_means(of, names) for task, of in found.items()}
            for task, by_column in means.items():
                numbers[task]["columns"] = by_column
            figures.append(_columns(name, means))
        else:
            figures.append(_examples(name, found, _said(model, tasks, batch, raw)))
    if not figures:
        return [], numbers
    worst = max((of["gap"] for of in numbers.values()), default=0.0)
    text = (
        "Integrated gradients of each task's answer: how much each place speaks for it (red) or "
        "against it (blue), compared with the mean of the examples, or with nothing where an "
        "encoder's front was looked at (sounds, tokens). It says what the network used, not what "
        f"is true of the world. Sums miss the whole by {worst:.1%} at most (median of a task)."
    )
    return [Section(heading="What each task looks at", text=text, figures=figures)], numbers


def column_means(of: Attribution, names: Sequence[str] | None) -> dict[str, float]:
    """Each column's mean absolute attribution, as a share of all columns', greatest first."""
    sizes = of.values.abs().mean(0)
    shares = (sizes / sizes.sum().clamp(min=1e-12)).tolist()
    called = list(names) if names and len(names) == len(shares) else None
    labels = called or [f"column {n + 1}" for n in range(len(shares))]
    return dict(sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1]))


def _first(raw: Features, count: int) -> Features:
    return Features(raw.values[:count], None if raw.mask is None else raw.mask[:count])


@torch.no_grad()
def _said(
    model: MultiTaskModel, tasks: Sequence[Task], batch: Batch, raw: Features
) -> dict[str, list[str]]:
    """Per task and example, what was answered and what is true."""
    found = {}
    for task in tasks:
        count = len(raw.values)
        output = model({task.input: raw}, [task.name])[task.name].float()
        target, present = batch.targets[task.name][:count], batch.present[task.name][:count]
        answers = [_word(task, row) for row in task.describe(task.decode(output))]
        truths = _truths(task, target)
        found[task.name] = [
            f"{answer}" + ("" if truth is None else f" ({truth})" if known else " (no label)")
            for answer, truth, known in zip(answers, truths, present.tolist(), strict=True)
        ]
    return found


def _word(task: Task, described: Mapping[str, Any]) -> str:
    value = described.get(task.name, next(iter(described.values()), ""))
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 18 else f"{text[:17]}…"


def _truths(task: Task, target: Tensor) -> list[str | None]:
    """Labels as words, where a label is one class or one number."""
    classes = getattr(task, "classes", ())
    flat = target.reshape(len(target), -1)
    if flat.shape[1] != 1:
        return [None] * len(target)
    if classes:
        return [str(classes[int(v)]) if 0 <= v < len(classes) else "?" for v in flat[:, 0].tolist()]
    return [f"{v:.3g}" for v in flat[:, 0].tolist()]


def _columns(name: str, means: Mapping[str, Mapping[str, float]]) -> Drawing:
    return bars(
        {task: dict(list(by.items())[:TOP]) for task, by in means.items()},
        name=f"looks-{name}",
        alt=f"Columns of {name} by how much each task uses them",
        caption=f"{name}: each column's share of the absolute attributions, mean of at most "
        f"{ASKED} examples; the {TOP} greatest.",
        x="share",
        form="{:.0%}",
    )


def _examples(
    name: str, found: Mapping[str, Attribution], said: Mapping[str, Sequence[str]]
) -> Drawing:
    """A row per example: what was seen, and where each task looked."""
    from matplotlib.figure import Figure

    first = next(iter(found.values()))
    count, tasks = len(first.values), list(found)
    with styled():
        size = (1.9 * (1 + len(tasks)), 1.95 * count)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(count, 1 + len(tasks), squeeze=False)
        for row in range(count):
            _show_seen(axes[row, 0], first, row)
            for column, task in enumerate(tasks):
                _show_looked(axes[row, column + 1], found[task], row)
                title = f"{task}\n{said[task][row]}" if row == 0 else said[task][row]
                axes[row, column + 1].set_title(title, fontsize=9)
        axes[0, 0].set_title(f"{name}\nas it is", fontsize=9)
        return drawn(
            figure,
            name=f"looks-{name}",
            alt=f"Where {', '.join(tasks)} look in {count} examples of {name}",
            caption=f"{name}: first the example, then what speaks for each task's answer (red) "
            "and against it (blue). Above: the answer, and the label in brackets. Colours have "
            "each picture's own scale.",
        )


def as_picture(values: Tensor) -> Any:
    """An example `[C, H, W]`, `[L, D]` or `[L]` as something with height and width."""
    array = values.detach().float().numpy()
    if array.ndim == 3:
        return array.sum(0)
    return array.T[::-1] if array.ndim == 2 else array[None]


def _show_seen(axis: Any, of: Attribution, row: int) -> None:
    """The example itself."""
    _blank(axis)
    seen = _cut(of, of.seen, row)
    if seen.ndim == 3 and seen.shape[0] in (1, 3):
        picture = (seen.movedim(0, -1).float() / 255.0).clamp(0, 1).numpy()
        axis.imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)), interpolation="nearest")
    else:
        axis.imshow(as_picture(seen), cmap="cividis", aspect="auto", interpolation="nearest")


def _show_looked(axis: Any, of: Attribution, row: int) -> None:
    """Where a task looked, red for and blue against."""
    _blank(axis)
    picture = as_picture(_cut(of, of.values, row))
    limit = float(np.quantile(np.abs(picture), 0.995)) or 1e-9
    aspect = "equal" if of.values.ndim == 4 else "auto"
    axis.imshow(
        picture, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect, interpolation="nearest"
    )


def _cut(of: Attribution, values: Tensor, row: int) -> Tensor:
    """An example without its padding."""
    return values[row] if of.mask is None else values[row][of.mask[row]]


def _blank(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color(INK)
        side.set_visible(True)
        side.set_alpha(0.3)
