"""Figures of a comparison: whom sharing helps, what candidates gain, and what that costs."""

import math
from collections.abc import Mapping, Sequence

from polytask.evaluation.intervals import Difference, Verdict
from polytask.evaluation.ranking import pareto
from polytask.report.figures import INK, Drawing, colour, dash, drawn, styled
from polytask.report.words import signed

# The colour and the mark of each verdict: nothing is told by colour alone.
LOOKS: Mapping[Verdict, tuple[int, str]] = {
    "helps": (2, "^"),
    "hurts": (1, "v"),
    "cannot tell": (0, "o"),
}


def forest(
    rows: Sequence[tuple[str, Difference, Verdict]], *, name: str, alt: str, caption: str, x: str
) -> Drawing:
    """Differences with their intervals around a line at 0, and the verdict beside each.

    Args:
        rows: Label, difference and verdict, from top to bottom.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: What is measured.
    """
    from matplotlib.figure import Figure

    reach = _reach([d for _, d, _ in rows])
    with styled():
        figure = Figure(figsize=(7.2, 1.1 + 0.4 * len(rows)), layout="constrained")
        axis = figure.subplots()
        axis.grid(axis="x")
        axis.axvline(0, color=INK, linewidth=1.2)
        for place, (_, d, verdict) in enumerate(rows):
            at, (hue, mark) = len(rows) - 1 - place, LOOKS[verdict]
            ends = [max(d.low, -reach), min(d.high, reach)]
            axis.plot(ends, [at, at], color=colour(hue), linewidth=3, alpha=0.5)
            axis.plot([d.mean], [at], mark, color=colour(hue), markersize=8)
            axis.annotate(
                f"{verdict}  {signed(d.mean)}",
                (1.01, at),
                xycoords=("axes fraction", "data"),
                va="center",
                annotation_clip=False,
            )
        axis.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xlim(-reach, reach)
        axis.set_xlabel(f"← worse      {x}      better →")
        return drawn(figure, name=name, alt=alt, caption=caption)


def _reach(differences: Sequence[Difference]) -> float:
    """How far the axis goes to both sides; an interval of two seeds may be cut."""
    ends = [abs(e) for d in differences for e in (d.low, d.high) if math.isfinite(e)]
    middle = max((abs(d.mean) for d in differences), default=0.0)
    return 1.08 * min(max(ends, default=middle), 6 * middle + 1e-12) or 1.0


def curves(
    panels: Mapping[str, Mapping[str, Sequence[float | None]]],
    *,
    name: str,
    alt: str,
    caption: str,
) -> Drawing:
    """Scores by epoch, a panel per task; lines are named where they end.

    Args:
        panels: By title, the heights of each line by its name.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    with styled():
        figure = Figure(figsize=(7.2, 2.4 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (title, drawn_lines) in zip(axes, panels.items(), strict=False):
            axis.grid()
            for place, (label, heights) in enumerate(drawn_lines.items()):
                ys = [math.nan if y is None else y for y in heights]
                axis.plot(range(1, len(ys) + 1), ys, color=colour(place), linestyle=dash(6 * place))
                axis.annotate(
                    label,
                    (len(ys), ys[-1]),
                    (4, -4 + 8 * (1 - place)),
                    textcoords="offset points",
                    color=colour(place),
                    annotation_clip=False,
                )
            axis.set_title(title)
            axis.set_xlabel("epoch")
            axis.margins(x=0.18)
        for axis in axes[len(panels) :]:
            axis.remove()
        return drawn(figure, name=name, alt=alt, caption=caption)


def costs(
    points: Sequence[tuple[int, float, float]], *, name: str, alt: str, caption: str, x: str, y: str
) -> Drawing:
    """Cost against quality; those that no other one beats are joined.

    Args:
        points: A number that stands for the candidate, its cost and its quality.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: The cost.
        y: The quality.
    """
    from matplotlib.figure import Figure

    best = pareto([p[1] for p in points], [p[2] for p in points])
    front = sorted((p for p, kept in zip(points, best, strict=True) if kept), key=lambda p: p[1])
    with styled():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.grid()
        axis.axhline(0, color=INK, linewidth=1.2)
        across, up = [p[1] for p in front], [p[2] for p in front]
        axis.step(across, up, where="post", color=colour(2), linewidth=1.2, alpha=0.7)
        for (number, cost, quality), kept in zip(points, best, strict=True):
            hue = colour(2) if kept else colour(0)
            axis.plot([cost], [quality], "o", color=hue, markersize=7 if kept else 5)
            axis.annotate(
                f"{number}",
                (cost, quality),
                (5, 4),
                textcoords="offset points",
                fontweight="bold" if kept else "normal",
            )
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.margins(0.1)
        return drawn(figure, name=name, alt=alt, caption=caption)
