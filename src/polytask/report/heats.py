"""Tables of colours with their numbers written in: nothing is told by colour alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask.report.charts import Number, grid
from polytask.report.figures import Drawing, drawn, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Cells that hold their numbers; with more there is no room.
WRITTEN = 14


@dataclass(frozen=True)
class Heat:
    """A table of colours.

    Attributes:
        values: `[R][C]`; None or NaN where there is nothing to show.
        rows: Names of the rows.
        columns: Names of the columns.
    """

    values: Sequence[Sequence[Number]]
    rows: Sequence[str]
    columns: Sequence[str]


def heats(
    panels: Mapping[str, Heat],
    *,
    name: str,
    alt: str,
    caption: str,
    low: float | None = None,
    high: float | None = None,
    signed: bool = False,
    across: int = 3,
    x: str = "",
    y: str = "",
    form: str = "{:.2f}",
) -> Drawing:
    """Panels of tables of colours, by their titles, on one scale.

    Args:
        panels: The tables.
        name: The file's name.
        alt: What it shows.
        caption: How to read it.
        low: Where the colours begin; None for the least value.
        high: Where they end; None for the greatest.
        signed: Blue for less than zero and red for more, pale in between.
        across: Panels in a row, at most.
        x: What the columns are.
        y: What the rows are.
        form: How a number is written.
    """
    import numpy as np
    from matplotlib import colormaps

    tables = {
        title: np.array([[math.nan if v is None else float(v) for v in row] for row in heat.values])
        for title, heat in panels.items()
    }
    known = np.concatenate([table[np.isfinite(table)] for table in tables.values()] or [[]])
    bottom = float(known.min()) if low is None and len(known) else (low or 0.0)
    top = float(known.max()) if high is None and len(known) else (1.0 if high is None else high)
    if signed:
        top = max(abs(bottom), abs(top), 1e-9)
        bottom = -top
    top = top if top > bottom else bottom + 1e-9
    shades = colormaps["RdBu_r" if signed else "cividis"]
    with styled():
        tall = max(len(heat.rows) for heat in panels.values())
        wide = max(len(heat.columns) for heat in panels.values())
        across = max(1, min(across, len(panels), 16 // max(wide, 2)))
        small = max(tall, wide) > WRITTEN
        size = 0.2 if small else 0.36
        longest = max((len(row) for heat in panels.values() for row in heat.rows), default=0)
        width = max(size * 1.35 * wide + 0.075 * min(longest, 24) + 0.5, 2.2)
        figure, axes = grid(len(panels), across, height=size * tall + 1.0, width=width)
        for axis, (title, heat) in zip(axes, panels.items(), strict=True):
            table = tables[title]
            axis.imshow(
                table, cmap=shades, vmin=bottom, vmax=top, aspect="auto", interpolation="nearest"
            )
            axis.set_title(title)
            tilted = any(len(c) > 4 for c in heat.columns) and len(heat.columns) > 2
            axis.set_xticks(
                range(len(heat.columns)),
                heat.columns,
                rotation=40 if tilted else 0,
                ha="right" if tilted else "center",
                rotation_mode="anchor",
                fontsize=7 if small else 9,
            )
            axis.set_yticks(range(len(heat.rows)), heat.rows, fontsize=7 if small else 9)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_xlabel(x)
            axis.set_ylabel(y)
            if not small:
                _write_cells(axis, table, shades, bottom, top, form)
        return drawn(figure, name=name, alt=alt, caption=caption)


def _write_cells(
    axis: "Axes", table: Any, shades: Any, bottom: float, top: float, form: str
) -> None:
    """The number in each cell, black or white by what is under it."""
    for row in range(table.shape[0]):
        for column in range(table.shape[1]):
            value = table[row, column]
            if not math.isfinite(value):
                axis.text(column, row, "–", ha="center", va="center", fontsize=8)
                continue
            red, green, blue, _ = shades((value - bottom) / (top - bottom))
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            axis.text(
                column,
                row,
                form.format(value),
                ha="center",
                va="center",
                fontsize=8,
                color="#000000" if bright else "#ffffff",
            )
