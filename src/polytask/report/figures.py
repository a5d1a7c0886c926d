"""Figures that fit any page: drawn once, shown as SVG in the page's colours and kept as PNG.

A figure is drawn inside of `styled()` with `INK` for text and axes and `LIGHT` for data. In a page
these colours are replaced by the page's own, so one drawing reads on light and on dark ground.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from polytask.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Text, axes and grid. A colour that nothing else has, so that it can be found again in the SVG.
INK = "#1c1e21"
# Okabe and Ito's hues, which colour-blind eyes tell apart, as dark as text needs on white (a
# contrast of 4.5) and as light as it needs on nearly black.
LIGHT = ("#0072b2", "#c34e00", "#00795a", "#a8497f", "#8a6100", "#5b5fc7")
DARK = ("#56b4e9", "#ff9456", "#2fc79a", "#e59bc4", "#e6b432", "#a5a8ff")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))

STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and follows the page's font
    "svg.hashsalt": "polytask",  # the same figure gives the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a label with dollar signs is no formula
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, ready for a page.

    Attributes:
        name: The name of its file, without an ending.
        alt: What it shows, for those who cannot see it.
        caption: How to read it, in a sentence or two.
        svg: As an `<svg>` element.
        png: As a PNG file, on white.
    """

    name: str
    alt: str
    caption: str
    svg: str
    png: bytes

    def inline(self, prefix: str) -> str:
        """The SVG with names of its own, so that several can stand in one page.

        Args:
            prefix: What its ids begin with.
        """
        renamed = re.sub(r'\bid="', f'id="{prefix}', self.svg)
        renamed = re.sub(r'href="#', f'href="#{prefix}', renamed)
        return renamed.replace("url(#", f"url(#{prefix}")


@contextmanager
def styled() -> Iterator[None]:
    """Inside, matplotlib draws in the style of pages.

    Raises:
        MissingDependency: If matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "report")
    with matplotlib.rc_context(STYLE):
        yield


def drawn(figure: "Figure", *, name: str, alt: str, caption: str = "") -> Drawing:
    """A finished figure as SVG and PNG. Call it inside of `styled()`.

    Args:
        figure: Drawn without pyplot, so that nothing stays open.
        name: The name of its file, without an ending.
        alt: What it shows, for those who cannot see it.
        caption: How to read it.
    """
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=130, facecolor="white")
    figure.set_layout_engine("none")  # Things stay where they are: to find it takes half the time.
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return Drawing(safe(name), alt, caption, _for_page(svg.getvalue(), alt), png.getvalue())


def colour(place: int) -> str:
    """The colour of the task (or whatever is told apart) in this place."""
    return LIGHT[place % len(LIGHT)]


def dash(place: int) -> str | tuple[int, tuple[float, ...]]:
    """The dashes of a line in this place: those whose colours repeat differ in them."""
    return DASHES[place // len(LIGHT) % len(DASHES)]


def safe(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "figure"


def _for_page(svg: str, alt: str) -> str:
    """The `<svg>` element alone, in the page's colours, with its description and, for the style
    sheet, the width at which it was drawn."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body.replace(INK, "currentColor")
    for place, hue in enumerate(LIGHT):
        body = body.replace(hue, f"var(--c{place})")
    points = re.search(r'<svg [^>]*?\bwidth="([\d.]+)pt"', body, re.DOTALL)
    width = "" if points is None else f'style="--w:{float(points[1]) * 4 / 3:.0f}px" '
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" {width}', 1).strip()
