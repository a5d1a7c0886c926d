"""Pages: complete in one file, safe against names, figures in their colours, seen by a browser."""

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polytask.report import Drawing, Page, Section, Table, drawn, styled
from polytask.report.figures import DARK, INK, LIGHT, colour
from polytask.report.page import FIRST, LONG, number
from tests.report.browser import needs_browser, opened, printed

EVIL = "<b>\"x\" & 'y'</b> $a$ <script>alert(1)</script>"
VOID = {"meta", "link", "br", "img", "input", "path", "use", "image", "rect", "circle"}


def figure(name: str = "lines", label: str = EVIL) -> Drawing:
    from matplotlib.figure import Figure

    with styled():
        picture = Figure(figsize=(5, 3), layout="constrained")
        axes = picture.subplots()
        axes.plot([1, 2, 3], [3, 1, 2], color=colour(0))
        axes.text(1, 2, label, color=colour(1))
        axes.imshow([[0.0, 1.0], [0.5, 0.2]], extent=(1, 2, 1, 2))
        axes.set_title(label)
        return drawn(picture, name=name, alt=f"A line of {label}", caption=f"How {label} went.")


def long(rows: int) -> Table:
    return Table(columns=["row"], rows=[[f"row-{n}"] for n in range(1, rows + 1)])


def page() -> Page:
    return Page(
        title=f"Run {EVIL}",
        lead=f"It reached 0.9 for {EVIL}.\n\nMore is not known.",
        sections=[
            Section(
                heading=EVIL,
                text="One.\n\nTwo.",
                figures=[figure("a"), figure("b/../c")],
                tables=[Table(columns=["task", "score"], rows=[[EVIL, 0.98765], ["t", None]])],
                code=f"tasks: {EVIL}",
            ),
            Section(heading="Second"),
            Section(heading="Third", tables=[Table(columns=["many"] * 40, rows=[[12345] * 40])]),
            Section(heading="Fourth", tables=[long(400), long(21)]),
        ],
        footer=EVIL,
    )


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_it_parses_and_names_are_text() -> None:
    found = Reader(page().render())
    assert not found.open
    assert "script" not in found.tags and "b" not in found.tags
    # Title, heading, lead, section, table cell, code, footer; in the SVG in a title and a label.
    assert sum(EVIL in text for text in found.texts) >= 9


def test_it_asks_for_nothing_from_elsewhere() -> None:
    text = page().render()
    for name, value in Reader(text).attributes:
        if name in ("src", "href", "xlink:href"):
            assert value and value.startswith(("#", "data:")), value
    assert "@import" not in text and "url(http" not in text and "default-src 'none'" in text


def test_ids_are_unique_and_what_is_referred_to_is_there() -> None:
    attributes = Reader(page().render()).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    wanted = {v[1:] for n, v in attributes if n.endswith("href") and v and v.startswith("#")}
    assert wanted <= set(ids)


def test_figures_take_the_colours_of_the_page() -> None:
    drawing = figure()
    ElementTree.fromstring(drawing.svg)
    assert "currentColor" in drawing.svg and INK not in drawing.svg
    assert "var(--c0)" in drawing.svg and not any(hue in drawing.svg for hue in LIGHT)
    assert "rdf" not in drawing.svg.lower()
    text = page().render()
    assert all(f"--c{i}: {hue}" in text for i, hue in enumerate(DARK))


def contrast(one: str, other: str) -> float:
    """The ratio that WCAG 2 asks to be at least 4.5 for text."""

    def luminance(hue: str) -> float:
        parts = [int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("hues", "ground"), [(LIGHT, "#ffffff"), (DARK, "#14171b")])
def test_colours_can_be_read_as_text(hues: tuple[str, ...], ground: str) -> None:
    assert f"--ground: {ground}" in page().render()
    assert all(contrast(hue, ground) >= 4.5 for hue in hues)


def test_it_is_written_with_its_figures(tmp_path: Path) -> None:
    path = page().write(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == page().render()
    files = sorted((tmp_path / "deep" / "report").iterdir())
    assert [f.name for f in files] == ["a.png", "b-..-c.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in files)


def test_figures_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = Page(title="t", lead="l", sections=[Section(heading="h", figures=[figure(), figure()])])
    with pytest.raises(ValueError, match=r"Found twice: lines\."):
        twice.write(tmp_path / "page.html")


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Row 1 should have a cell per column \(2\)\. Found 1"):
        Table(columns=["a", "b"], rows=[[1, 2], [3]])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.98765, "0.9877"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (0.0, "0.0000"),
        (1.5e-6, "1.500e-06"),
        (-0.5, "-0.5000"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_table_is_folded_where_it_is_long() -> None:
    def boxes(rows: int) -> int:
        section = Section(heading="h", tables=[long(rows)])
        return Reader(Page(title="t", lead="l", sections=[section]).render()).tags.count("input")

    assert [boxes(rows) for rows in (LONG, LONG + 1)] == [0, 1]


@needs_browser
def test_a_long_table_does_not_stand_in_the_way_and_is_whole_on_paper(tmp_path: Path) -> None:
    text = Page(title="t", lead="l", sections=[Section(heading="h", tables=[long(400)])]).render()
    folded = opened(text, tmp_path, width=500)["tables"][0][1]
    ticked = text.replace('type="checkbox"', 'type="checkbox" checked')
    whole = opened(ticked, tmp_path, width=500)["tables"][0][1]
    assert folded / (FIRST + 1) == pytest.approx(whole / 401, rel=0.1)
    # At most 100 rows go on a sheet.
    assert printed(text, tmp_path) == printed(ticked, tmp_path) >= 4


@needs_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it(tmp_path: Path, width: int) -> None:
    """Nothing but boxes is wider than the screen, and every figure has its size."""
    seen = opened(page().render(), tmp_path, width=width)
    assert seen["wrong"] == [] and seen["wide"] <= seen["screen"]
    assert len(seen["figures"]) == 2 and min(f["width"] for f in seen["figures"]) > 200
    assert EVIL in seen["figures"][0]["label"] and EVIL in seen["verdict"]


@needs_browser
def test_it_follows_the_readers_choice_of_dark(tmp_path: Path) -> None:
    light, dark = (opened(page().render(), tmp_path, width=500, dark=d) for d in (False, True))
    assert light["ground"] == "rgb(255, 255, 255)" and dark["ground"] == "rgb(20, 23, 27)"
    assert light["ink"] != dark["ink"]


@needs_browser
def test_labels_that_cannot_be_read_are_found(tmp_path: Path) -> None:
    """What other tests ask the browser for is what would be wrong."""
    from matplotlib.figure import Figure

    with styled():
        picture = Figure(figsize=(3, 2))
        picture.text(0.1, 0.5, "over")
        picture.text(0.12, 0.5, "under")
        picture.text(0.7, 0.2, "a label that does not fit")
        bad = drawn(picture, name="bad", alt="", caption="")
    text = Page(title="t", lead="l", sections=[Section(heading="h", figures=[bad])]).render()
    found = opened(text, tmp_path, width=500)["figures"][0]
    assert found["overlaps"] == [["over", "under"]]
    assert found["cut"] == ["a label that does not fit"]
