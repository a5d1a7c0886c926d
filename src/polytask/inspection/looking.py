"""What each task looks at: columns of a table, words of a text, places of a picture or a sound.

Shapes: B examples, L frames or tokens, D features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.data.collate import SOURCE_SHIFT
from polytask.data.dataset import Prepared
from polytask.data.text import TextInput
from polytask.inspection.answers import Answers, answered
from polytask.inspection.attribution import Attribution, attribute
from polytask.inspection.places import places_drawn
from polytask.inspection.words import words_drawn
from polytask.model import MultiTaskModel
from polytask.report.charts import bars
from polytask.report.figures import Drawing
from polytask.report.page import Section
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
    for name, given in prepared.inputs.items():
        # What is written word by word, or lies in a space, has no one answer to attribute.
        asked = [t for t in prepared.tasks if t.single_answer and not t.reads_target]
        tasks = [t for t in asked if t.input == name]
        batch = next((batch for batch in batches if name in batch.inputs), None)
        if batch is None or not tasks:
            continue
        whole = batch.inputs[name]
        table = whole.values.ndim == 2 and whole.mask is None and not isinstance(given, TextInput)
        rows = spread(len(whole.values), ASKED if table else SHOWN)
        raw = picked(whole, rows)
        found = {task.name: attribute(model, task, raw) for task in tasks}
        for task, of in found.items():
            numbers[task] = {"input": name, "gap": float(of.gap.median())}
        if table:
            means = {
                task: column_means(of, getattr(given, "names", None)) for task, of in found.items()
            }
            for task, by_column in means.items():
                numbers[task]["columns"] = by_column
            figures.append(_columns(name, means))
            continue
        answers = answered(model, tasks, batch, raw, rows)
        if isinstance(given, TextInput):
            texts = [units(prepared, given, int(row)) for row in batch.rows[name][rows]]
            figures.append(words_drawn(name, texts, found, answers))
            for task, of in found.items():
                numbers[task]["words"] = spoken(texts, of, answers[task])
        else:
            figures += places_drawn(name, found, answers)
    if not figures:
        return [], numbers
    worst = max((of["gap"] for of in numbers.values()), default=0.0)
    text = (
        "Integrated gradients of each task's answer: how much each place speaks for it (red) or "
        "against it (blue), compared with the mean of the examples, or with nothing where an "
        "encoder's front was looked at (sounds, words). Where a task answers at many places, it is "
        "their sum. It says what the network used, not what is true of the world. Sums miss the "
        f"whole by {worst:.1%} at most (median of a task)."
    )
    return [Section(heading="What each task looks at", text=text, figures=figures)], numbers


def spread(count: int, most: int) -> Tensor:
    """At most so many of the rows 0 to `count`, evenly spaced: neighbours are often alike."""
    places = torch.linspace(0, max(count - 1, 0), min(count, most))
    return places.round().long()


def picked(raw: Features, rows: Tensor) -> Features:
    """Some rows of features, no longer than the longest of them."""
    values, mask = raw.values[rows], None if raw.mask is None else raw.mask[rows]
    if mask is not None:
        length = max(int(mask.sum(1).max()), 1)
        values, mask = values[:, :length], mask[:, :length]
    return Features(values, mask)


def units(prepared: Prepared, text: TextInput, row: int) -> list[str]:
    """What stands at the places of a text, by its entry in `Batch.rows`."""
    number, index = divmod(row, SOURCE_SHIFT)
    dataset = next(d for d in prepared.datasets.values() if d.number == number)
    return text.spelled(dataset.table.cells([text.columns[dataset.name]], np.array([index]))[0, 0])


def spoken(
    texts: Sequence[Sequence[str]], of: Attribution, answers: Answers
) -> list[dict[str, Any]]:
    """Per example the answer, and each unit with how much it speaks for it."""
    found = []
    for row, text in enumerate(texts):
        weights = of.example(row).sum(1).tolist()
        pairs = [[unit, weight] for unit, weight in zip(text, weights, strict=True)]
        found.append({"answer": answers.titles[row], "words": pairs})
    return found


def column_means(of: Attribution, names: Sequence[str] | None) -> dict[str, float]:
    """Each column's mean absolute attribution, as a share of all columns', greatest first."""
    sizes = of.values.abs().mean(0)
    shares = (sizes / sizes.sum().clamp(min=1e-12)).tolist()
    called = list(names) if names and len(names) == len(shares) else None
    labels = called or [f"column {n + 1}" for n in range(len(shares))]
    return dict(sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1]))


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
