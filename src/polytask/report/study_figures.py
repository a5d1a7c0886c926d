"""Figures of a comparison: whom sharing helps, what candidates gain, and what that costs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from polytask.evaluation.intervals import Difference, Verdict
from polytask.evaluation.ranking import pareto
from polytask.report.charts import NARROW, label_rows
from polytask.report.figures import INK, Drawing, colour, drawn, styled
from polytask.report.words import in_percent, signed

# Costs that are more times apart than this are drawn on a scale of ratios.
WIDE = 8

# The colour and the mark of each verdict: nothing is told by colour alone.
LOOKS: Mapping[Verdict, tuple[int, str]] = {
    "helps": (2, "^"),
    "hurts": (1, "v"),
    "cannot tell": (0, "o"),
}


def forest(
    rows: Sequence[tuple[str, Difference, Verdict]],
    *,
    name: str,
    alt: str,
    caption: str,
    x: str,
    relative: bool = False,
) -> Drawing:
    """Differences with their intervals around a line at 0, and the verdict above each.

    Args:
        rows: Label, difference and verdict, from top to bottom.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: What is measured.
        relative: Whether it is shown in percent.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    reach = _reach([d for _, d, _ in rows])
    with styled():
        figure = Figure(figsize=(NARROW, 1.0 + 0.5 * len(rows)), layout="constrained")
        axis = figure.subplots()
        axis.grid(axis="x")
        axis.axvline(0, color=INK, linewidth=1.2)
        for place, (_, d, verdict) in enumerate(rows):
            at, (hue, mark) = len(rows) - 1 - place, LOOKS[verdict]
            ends = [max(d.low, -reach), min(d.high, reach)]
            axis.plot(ends, [at, at], color=colour(hue), linewidth=3, alpha=0.5)
            for end, cut, arrow in zip(ends, (d.low, d.high), ("<", ">"), strict=True):
                if end != cut:  # it goes on beyond the chart
                    axis.plot([end], [at], arrow, color=colour(hue), clip_on=False)
            axis.plot([d.mean], [at], mark, color=colour(hue), markersize=8)
        written = in_percent if relative else signed
        label_rows(axis, [(label, f"{verdict}, {written(d.mean)}") for label, d, verdict in rows])
        if relative:
            axis.xaxis.set_major_formatter(PercentFormatter(1.0))
        axis.set_xlim(-reach, reach)
        axis.xaxis.set_major_locator(MaxNLocator(6))  # more of them touch each other
        axis.set_xlabel(x)
        axis.set_title("← sharing hurts", color=colour(LOOKS["hurts"][0]))
        axis.set_title("sharing helps →", loc="right", color=colour(LOOKS["helps"][0]))
        return drawn(figure, name=name, alt=alt, caption=caption)


def _reach(differences: Sequence[Difference]) -> float:
    """How far the axis goes to both sides: all intervals, but for those far wider than others."""
    ends = [max(abs(d.low), abs(d.high)) for d in differences if math.isfinite(d.high)]
    middle = max((abs(d.mean) for d in differences), default=0.0)
    usual = float(np.median(ends)) if ends else 0.0
    return 1.08 * min(max(ends, default=middle), max(6 * middle, 2 * usual)) or 1.0


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
    from matplotlib.ticker import PercentFormatter, ScalarFormatter

    best = pareto([p[1] for p in points], [p[2] for p in points])
    kept = {p[0] for p, stays in zip(points, best, strict=True) if stays}
    front = sorted((p for p in points if p[0] in kept), key=lambda p: p[1])
    with styled():
        figure = Figure(figsize=(NARROW, 3.4), layout="constrained")
        axis = figure.subplots()
        axis.grid()
        axis.axhline(0, color=INK, linewidth=1.2)
        across, up = [p[1] for p in front], [p[2] for p in front]
        axis.step(across, up, where="post", color=colour(2), linewidth=1.2, alpha=0.7)
        for number, cost, quality in points:
            good = number in kept
            hue = colour(2) if good else colour(0)
            axis.plot([cost], [quality], "o" if good else "s", color=hue, markersize=6)
        axis.margins(0.12)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        every = [p[1] for p in points]
        wide = max(every) > WIDE * min(every) > 0
        if wide:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(ScalarFormatter())
        places = [(n, math.log(c) if wide else c, quality) for n, c, quality in points]
        ends = axis.get_xlim()
        ends = (math.log(ends[0]), math.log(ends[1])) if wide else ends
        at = {number: (cost, quality) for number, cost, quality in points}
        for together in _neighbours(places, ends, axis.get_ylim()):
            axis.annotate(
                ", ".join(str(p[0]) for p in together),
                at[max(together, key=lambda p: p[1])[0]],
                (6, 5),
                textcoords="offset points",
                fontweight="bold" if any(p[0] in kept for p in together) else "normal",
            )
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        return drawn(figure, name=name, alt=alt, caption=caption)


def _neighbours(
    points: Sequence[tuple[int, float, float]],
    across: tuple[float, float],
    up: tuple[float, float],
) -> list[list[tuple[int, float, float]]]:
    """Points in groups whose numbers would be written over each other.

    Args:
        points: As for `costs`.
        across: Ends of the horizontal axis.
        up: Ends of the vertical axis.
    """
    width, height = across[1] - across[0], up[1] - up[0]
    groups: list[list[tuple[int, float, float]]] = []
    for point in points:
        near = [
            group
            for group in groups
            if any(
                abs(point[1] - p[1]) < 0.07 * width and abs(point[2] - p[2]) < 0.07 * height
                for p in group
            )
        ]
        groups = [group for group in groups if not any(group is some for some in near)]
        groups.append(sorted([point, *(p for group in near for p in group)]))
    return groups
