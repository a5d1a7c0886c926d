"""The few kinds of charts that pages need: lines, bars, intervals, scatter.

Each gives a `Drawing` and is called without any set-up. Nothing is told by colour alone: lines are
labelled where they end.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask.report.figures import INK, Drawing, colour, dash, drawn, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Number = float | int | None

# Inches of a chart that a phone shows whole, with letters that can be read.
NARROW = 4.9


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: Written at its end.
        y: Its heights; None where there is none.
        dashed: Whether it is the lesser of two lines of one colour.
        place: Which colour; None for its place among the lines.
        x: Where the heights are; None for 1, 2, 3, ...
    """

    label: str
    y: Sequence[Number]
    dashed: bool = False
    place: int | None = None
    x: Sequence[float] | None = None


def lines(
    panels: Mapping[str, Sequence[Line]],
    *,
    name: str,
    alt: str,
    caption: str,
    x: str,
    y: str,
    columns: int = 2,
    share_y: bool = False,
) -> Drawing:
    """Panels of lines, by their titles.

    Args:
        panels: The lines of each panel.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: The name of the horizontal axis.
        y: The name of the vertical axis.
        columns: Panels in a row, at most.
        share_y: Whether all panels have one scale.
    """
    from matplotlib.ticker import MaxNLocator

    with styled():
        width = 3.1 if columns > 2 else 4.2
        figure, axes = grid(len(panels), columns, height=2.4, width=width, sharey=share_y)
        for axis, (title, several) in zip(axes, panels.items(), strict=True):
            axis.set_title(title)
            axis.grid(axis="y")
            ends = []
            for number, line in enumerate(several):
                place = number if line.place is None else line.place
                at = list(range(1, len(line.y) + 1)) if line.x is None else list(line.x)
                heights = [math.nan if v is None else float(v) for v in line.y]
                style: Any = (0, (4, 2)) if line.dashed else dash(place)
                marker = "o" if len(at) <= 20 else None
                axis.plot(at, heights, color=colour(place), linestyle=style, marker=marker)
                known = [(p, h) for p, h in zip(at, heights, strict=True) if math.isfinite(h)]
                if known:
                    ends.append((*known[-1], line.label, colour(place)))
            _label_ends(axis, ends)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.ticklabel_format(axis="y", useOffset=False)  # 1.0001 and not 0.0001 + 1
            axis.set_xlabel(x)
        for axis in axes[::columns]:
            axis.set_ylabel(y)
        return drawn(figure, name=name, alt=alt, caption=caption)


def label_rows(axis: "Axes", labels: Sequence[tuple[str, str]]) -> None:
    """Write what each row of a chart is, and its number, above what is drawn in it.

    Beside it there is no room on a phone. Row k of n is at the height n - 1 - k.

    Args:
        axis: The chart; its upright axis is taken away.
        labels: For each row from top to bottom, the text on the left and the one on the right.
    """
    across = axis.get_yaxis_transform()
    for place, (left, right) in enumerate(labels):
        at = len(labels) - 1 - place + 0.24
        axis.text(0, at, left, transform=across, fontweight="bold")
        axis.text(1, at, right, transform=across, ha="right")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_ylim(-0.45, len(labels) - 0.3)


def intervals(
    rows: Sequence[tuple[str, float, float | None, float | None]],
    *,
    name: str,
    alt: str,
    caption: str,
    x: str,
    marks: Sequence[Number] = (),
) -> Drawing:
    """A point with its interval in each row, the row's label and number above.

    Args:
        rows: Label, value, and the interval's ends.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: What is measured.
        marks: For each row what to compare with, drawn as a short upright line; None for nothing.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(NARROW, 0.7 + 0.5 * len(rows)), layout="constrained")
        axis = figure.subplots()
        axis.grid(axis="x")
        for place, (_, value, low, high) in enumerate(rows):
            at = len(rows) - 1 - place
            if low is not None and high is not None:
                axis.plot([low, high], [at, at], color=colour(0), linewidth=3, alpha=0.45)
            axis.plot([value], [at], "o", color=colour(0), markersize=7)
            mark = marks[place] if place < len(marks) else None
            if mark is not None:
                axis.plot([float(mark)], [at], "|", color=INK, markersize=10, markeredgewidth=2)
        label_rows(axis, [(row[0], _with_ends(*row[1:])) for row in rows])
        axis.margins(x=0.05)
        axis.set_xlabel(x)
        return drawn(figure, name=name, alt=alt, caption=caption)


def _with_ends(value: float, low: float | None, high: float | None) -> str:
    """A number, with its interval where there is one."""
    ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{value:.3f}{ends}"


def bars(
    panels: Mapping[str, Mapping[str, float]],
    *,
    name: str,
    alt: str,
    caption: str,
    x: str,
    columns: int = 2,
    form: str = "{:,.3g}",
) -> Drawing:
    """Panels of horizontal bars, by their titles; each bar has its number at its end.

    Args:
        panels: Each panel's bars, by label.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: What the bars' lengths are.
        columns: Panels in a row, at most.
        form: How a number is written.
    """
    from matplotlib.ticker import MaxNLocator

    with styled():
        most = max(len(panel) for panel in panels.values())
        width = 3.1 if columns > 2 else 4.2
        figure, axes = grid(len(panels), columns, height=0.9 + 0.24 * most, width=width)
        for axis, (title, panel) in zip(axes, panels.items(), strict=True):
            at = list(range(len(panel)))[::-1]
            values = list(panel.values())
            shades = [colour(0) if value >= 0 else colour(1) for value in values]
            axis.barh(at, values, color=shades, height=0.7)
            for place, value in zip(at, values, strict=True):
                axis.annotate(
                    form.format(value),
                    (value, place),
                    (3 if value >= 0 else -3, 0),
                    textcoords="offset points",
                    va="center",
                    ha="left" if value >= 0 else "right",
                    fontsize=8.5,
                )
            axis.set_yticks(at, list(panel))
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.set_title(title)
            axis.set_xlabel(x)
            axis.margins(x=0.18)
            if min(values, default=0.0) < 0:
                axis.axvline(0, color=INK, linewidth=0.8)
        return drawn(figure, name=name, alt=alt, caption=caption)


def scatters(
    panels: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    name: str,
    alt: str,
    caption: str,
    x: str,
    y: str,
) -> Drawing:
    """Panels of points beside the line on which both coordinates are equal.

    Args:
        panels: Each panel's horizontal and vertical coordinates.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        x: The horizontal coordinate.
        y: The vertical coordinate.
    """
    with styled():
        figure, axes = grid(len(panels), 3, height=2.7, width=2.8)
        for axis, (title, (across, up)) in zip(axes, panels.items(), strict=True):
            axis.plot(across, up, ".", color=colour(0), alpha=0.45, markersize=4, rasterized=True)
            ends = [min(*across, *up), max(*across, *up)]
            axis.plot(ends, ends, color=INK, linewidth=0.8)
            axis.set_title(title)
            axis.set_xlabel(x)
            axis.set_ylabel(y)
        return drawn(figure, name=name, alt=alt, caption=caption)


def reliability(
    panels: Mapping[str, Sequence[tuple[float, float, int]]],
    *,
    name: str,
    alt: str,
    caption: str,
) -> Drawing:
    """Per panel how often predictions of a confidence are right, and how many they are.

    Args:
        panels: Each panel's bins: mean confidence, share that is right, number of predictions.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
    """
    with styled():
        figure, axes = grid(len(panels), 3, height=2.7, width=2.6)
        for axis, (title, bins) in zip(axes, panels.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            total = max(sum(count for _, _, count in bins), 1)
            sizes = [12 + 260 * count / total for _, _, count in bins]
            axis.plot([b[0] for b in bins], [b[1] for b in bins], color=colour(0), linewidth=1)
            axis.scatter([b[0] for b in bins], [b[1] for b in bins], sizes, color=colour(0))
            axis.set_xlim(-0.03, 1.05)
            axis.set_ylim(-0.03, 1.05)
            axis.grid()
            axis.set_title(title)
            axis.set_xlabel("confidence")
            axis.set_ylabel("share that is right")
        return drawn(figure, name=name, alt=alt, caption=caption)


def grid(
    count: int, columns: int, *, height: float, width: float = 4.2, **settings: Any
) -> tuple[Any, list["Axes"]]:
    """A figure of `count` panels in rows."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, 3.2), height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **settings).flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _label_ends(axis: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Each line's label beside its end, moved apart where labels would overlap."""
    if not ends:
        return
    low, high = axis.get_ylim()
    gap = 0.085 * (high - low)
    placed: list[float] = []
    for x, y, label, hue in sorted(ends, key=lambda end: end[1]):
        at = max(y, placed[-1] + gap) if placed else y
        placed.append(at)
        axis.annotate(
            label, (x, at), (6, 0), textcoords="offset points", va="center", color=hue, fontsize=9
        )
