"""Where tasks look in pictures and sounds, drawn beside what they answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from polytask.inspection.answers import Answers
from polytask.inspection.attribution import Attribution
from polytask.report.figures import INK, Drawing, drawn, styled
from polytask.tasks.base import Picture

ACROSS = 4  # panels beside the example in one figure
LOOKS = "what speaks for it"


def places_drawn(
    name: str, found: Mapping[str, Attribution], answers: Mapping[str, Answers]
) -> list[Drawing]:
    """Figures with a row per example: what was seen, and per task where it looked; before it what
    it answers and what is true, where these are pictures."""
    groups: list[list[str]] = [[]]
    for task in found:
        size = sum(len(_panels(answers[known])) for known in (*groups[-1], task))
        if groups[-1] and size > ACROSS:
            groups.append([])
        groups[-1].append(task)
    return [
        _examples(
            name + (f"-{number}" if number > 1 else ""),
            name,
            {task: found[task] for task in group},
            answers,
        )
        for number, group in enumerate(groups, 1)
    ]


def _examples(
    file: str, name: str, found: Mapping[str, Attribution], answers: Mapping[str, Answers]
) -> Drawing:
    """The figure of some tasks."""
    from matplotlib.figure import Figure

    first = next(iter(found.values()))
    count = len(first.values)
    panels = [(task, what) for task in found for what in _panels(answers[task])]
    height, width = first.seen.shape[-2:] if first.seen.ndim == 4 else (1, 1)
    with styled():
        size = (1.9 * (1 + len(panels)), (0.35 + 1.6 * min(height / width, 1.5)) * count)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(count, 1 + len(panels), squeeze=False)
        for row in range(count):
            _show_seen(axes[row, 0], first, row)
            for axis, (task, what) in zip(axes[row, 1:], panels, strict=True):
                _blank(axis)
                if what == LOOKS:
                    _show_looked(axis, found[task], row)
                else:
                    _show_picture(axis, answers[task], row, what)
                said = answers[task].titles[row] or what
                axis.set_title(f"{task}\n{said}" if row == 0 else said, fontsize=9)
        axes[0, 0].set_title(f"{name}\nas it is", fontsize=9)
        if first.seen.ndim == 3:  # the front's bands by frames
            axes[-1, 0].set_xlabel("time", fontsize=8)
            axes[-1, 0].set_ylabel("bands, low to high", fontsize=8)
        caption = (
            f"{name}: first the example, then what speaks for each task's answer (red) and against "
            "it (blue). Above: the answer, and the label in brackets"
        )
        if any(answers[task].pictures is not None for task in found):
            caption += "; where these are pictures, they stand before it"
        return drawn(
            figure,
            name=f"looks-{file}",
            alt=f"What {', '.join(found)} looked at in {count} examples of {name}",
            caption=f"{caption}. Colours have each picture's own scale.",
        )


def as_picture(values: Tensor) -> Any:
    """An example `[C, H, W]`, `[L, D]` or `[L]` as something with height and width."""
    array = values.detach().float().numpy()
    if array.ndim == 3:
        return array.sum(0)
    return array.T[::-1] if array.ndim == 2 else array[None]


def _panels(answers: Answers) -> list[str]:
    if answers.pictures is None:
        return [LOOKS]
    return ["answer", "label", LOOKS]


def _show_picture(axis: Any, answers: Answers, row: int, what: str) -> None:
    """An answer or a label that is a picture."""
    some = answers.pictures if what == "answer" else answers.truths
    picture = None if some is None else some[row]
    if picture is None:
        axis.text(0.5, 0.5, "no label", ha="center", transform=axis.transAxes, fontsize=8)
        return
    axis.imshow(in_colours(picture), cmap="gray", interpolation="nearest")


def in_colours(picture: Picture) -> Any:
    """What a picture shows: numbers in the colours of its palette."""
    return picture.pixels if picture.palette is None else picture.palette[picture.pixels]


def _show_seen(axis: Any, of: Attribution, row: int) -> None:
    """The example itself."""
    _blank(axis)
    seen = of.example(row, of.seen)
    if seen.ndim == 3 and seen.shape[0] in (1, 3):
        picture = (seen.movedim(0, -1).float() / 255.0).clamp(0, 1).numpy()
        axis.imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)), interpolation="nearest")
    else:
        axis.imshow(as_picture(seen), cmap="cividis", aspect="auto", interpolation="nearest")


def _show_looked(axis: Any, of: Attribution, row: int) -> None:
    """Where a task looked, red for and blue against."""
    picture = as_picture(of.example(row))
    limit = float(np.quantile(np.abs(picture), 0.995)) or 1e-9
    aspect = "equal" if of.values.ndim == 4 else "auto"
    axis.imshow(
        picture, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect, interpolation="nearest"
    )


def _blank(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color(INK)
        side.set_visible(True)
        side.set_alpha(0.3)
