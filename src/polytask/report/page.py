"""One self-contained HTML page: a verdict, then sections of text, tables and figures.

It needs no network and no script, follows the reader's choice of light and dark, and is made to
be read on a phone and on paper. Whatever a person named (tasks, labels, columns) is escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polytask.errors import RunError, require
from polytask.report.figures import DARK, LIGHT, Drawing

Cell = str | int | float | None

MISSING = "–"
# Of a table with more rows than LONG a screen shows the first FIRST, until all are asked for.
LONG, FIRST = 20, 12


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; numbers are aligned to the right, and None is shown as a dash.

    A long one is folded on a screen, so its first rows should be those to know of. It unfolds
    without a script; on paper it is whole.

    Attributes:
        columns: The headings.
        rows: A cell per heading in each.
        caption: What it shows, in a sentence.
        digits: Significant digits of numbers with a fraction.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    digits: int = 4

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Row {number} should have a cell per column ({len(self.columns)}). "
                    f"Found {len(row)}."
                )

    def shown(self, cell: Cell) -> str:
        """A cell as text."""
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return MISSING
        if isinstance(cell, float):
            return number(cell, self.digits)
        return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)

    @property
    def folded(self) -> bool:
        """Whether a screen shows only its first rows at first."""
        return len(self.rows) > LONG

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only."""
        return [
            all(row[i] is None or isinstance(row[i], (int, float)) for row in self.rows)
            for i in range(len(self.columns))
        ]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under its own heading.

    Attributes:
        heading: What it is about.
        text: Paragraphs, with an empty line between them.
        figures: Shown after the text.
        tables: Shown after the figures.
        code: Shown last, as it is: a configuration, a command.
    """

    heading: str
    text: str = ""
    figures: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    code: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """The text's paragraphs."""
        return paragraphs(self.text)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: Its heading, and the browser's.
        lead: The verdict: what was found, in two or three sentences. Paragraphs may follow each
            other with an empty line between them; the first one stands out.
        sections: What it rests on.
        points: What the verdict says one by one, as a list below it.
        footer: Where the page comes from.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    points: Sequence[str] = ()
    footer: str = ""

    @property
    def said(self) -> str:
        """The verdict and its points, for a terminal."""
        return "\n".join([self.lead, *(f"- {point}" for point in self.points)])

    def render(self) -> str:
        """The page as HTML.

        Raises:
            MissingDependency: If jinja2 is not installed.
        """
        require("jinja2", "report")
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("polytask.report", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        figures = [figure for section in self.sections for figure in section.figures]
        places = {id(figure): place for place, figure in enumerate(figures)}
        return environment.get_template("page.html").render(
            page=self,
            lead=paragraphs(self.lead),
            first=FIRST,
            light=LIGHT,
            dark=DARK,
            svg=lambda figure: figure.inline(f"f{places[id(figure)]}-"),
        )

    def write(self, path: Path) -> Path:
        """Write the page, and its figures as PNG files into the folder of the same name beside it.

        Args:
            path: The HTML file; figures of `report.html` are written to `report/NAME.png`.

        Returns:
            The path.

        Raises:
            RunError: If a file cannot be written.
            ValueError: If two figures have one name.
        """
        figures = [figure for section in self.sections for figure in section.figures]
        names = [figure.name for figure in figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Figures need names of their own. Found twice: {', '.join(twice)}.")
        text = self.render()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            folder = path.with_suffix("")
            if figures:
                folder.mkdir(exist_ok=True)
            for figure in figures:
                (folder / f"{figure.name}.png").write_bytes(figure.png)
        except OSError as error:
            raise RunError(f"'{path}' cannot be written ({error}). Free some space.") from error
        return path


def paragraphs(text: str) -> list[str]:
    """A text's paragraphs: what stands between empty lines."""
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, without an exponent where it can be read."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    whole = len(str(int(abs(value))))
    decimals = max(0, digits - whole) if abs(value) >= 1 else digits
    return f"{value:,.{decimals}f}"
