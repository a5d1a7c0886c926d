"""A profile for people: tables on the terminal, heat maps, a page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polytask.report.figures import LIGHT, Drawing, drawn, styled
from polytask.report.page import Page, Section, Table
from polytask.run import written

Facts = Mapping[str, Any]

_NAMED = 80  # rows and columns of a heat map up to which names fit beside them


def tables(facts: Facts) -> list[tuple[str, Table]]:
    """What a profile says, as tables with headings."""
    found = []
    summary = facts.get("summary", {})
    if summary:
        parts = list(summary["rows"])
        rows = [[t, *(by.get(p, 0) for p in parts)] for t, by in summary["labels"].items()]
        found.append(("Labels", Table(columns=["task", *parts], rows=rows)))
        balance = [
            [task, len(counts), *_extremes(counts)]
            for task, by in summary["classes"].items()
            if (counts := by.get("train"))
        ]
        heads = ["task", "classes", "most frequent", "share", "rarest", "its share"]
        if balance:
            found.append(("Balance of classes in training", Table(columns=heads, rows=balance)))
    joined = [
        [s, of["name"], ", ".join(of["by"]), of["rows"], of["found"], of["unused"], of["repeated"]]
        for s, joins in summary.get("joined", {}).items()
        for of in joins
    ]
    if joined:
        heads = ["source", "joined", "by", "rows", "with partner", "without row", "repeated"]
        found.append(("Joined tables", Table(columns=heads, rows=joined)))
    columns = facts.get("columns", {})
    by_input = columns if summary else {"": columns}
    for name, of in by_input.items():
        shown = [[c, f["kind"], _blanks(f), f.get("outliers")] for c, f in of.items()]
        shown = [row for row in shown if not summary or row[2] or row[3]]
        if shown:
            heading = f"Columns of {name} with blanks or outliers" if name else "Columns"
            found.append(
                (heading, Table(columns=["column", "kind", "blank", "outliers"], rows=shown))
            )
    leaks = [
        [source, name, part, of["rows"], of["share"], of["examples"][0]]
        for source, inputs in facts.get("leaks", {}).items()
        for name, by in inputs.items()
        for part, of in by.items()
    ]
    if leaks:
        heads = ["source", "input", "part", "rows", "share", "the first"]
        heading = "Held-out rows that are exactly like a training row"
        found.append((heading, Table(columns=heads, rows=leaks)))
    doubts = [*summary.get("doubts", ()), *facts.get("doubts", ())]
    if doubts:
        found.append(("To look at", Table(columns=["what"], rows=[[said] for said in doubts])))
    return found


def verdict(facts: Facts) -> str:
    """What a person should know first."""
    said = []
    leaks = facts.get("leaks", {})
    rows = sum(of["rows"] for i in leaks.values() for by in i.values() for of in by.values())
    if "summary" in facts:
        said.append(
            f"{rows:,} held-out rows are exactly like a training row: scores on them flatter. "
            "Split by group, or remove them."
            if rows
            else "No held-out row is exactly like a training row."
        )
        for name, of in facts["overlap"].items():
            counts = np.array(of["rows"])
            apart = [(i, j) for i in range(len(counts)) for j in range(i) if counts[i, j] == 0]
            if apart:
                said.append(
                    f"{len(apart)} pairs of tasks of {name} share no labelled row, so nothing says "
                    "how their labels go together."
                )
    elif facts.get("repeated_rows"):
        things = facts.get("things", "rows")
        said.append(f"{facts['repeated_rows']:,} of {facts['rows']:,} {things} repeat another.")
    else:
        compared = ", none of them twice" if "repeated_rows" in facts else ""
        said.append(f"{facts['rows']:,} {facts.get('things', 'rows')}{compared}.")
    return f"{' '.join(said)}{facts.get('doubt', '')}"


def maps(facts: Facts) -> list[Drawing]:
    """Heat maps: which tasks share labelled rows, and where cells are blank."""
    drawings = []
    for name, of in facts.get("overlap", {}).items():
        counts = np.array(of["rows"], float)
        if len(counts) < 2:
            continue
        share = counts / np.maximum(np.diag(counts)[:, None], 1)
        caption = (
            "Of the training rows with a label of the row's task, the share with one of the "
            "column's."
        )
        title = f"Overlap of labels, {name}"
        drawings.append(_heat(share, of["tasks"], of["tasks"], f"overlap-{name}", title, caption))
    for name, of in facts.get("columns", {}).items() if "summary" in facts else ():
        blank = [c for c, f in of.items() if any(f["missing"].values())][:60]
        rows = facts["summary"]["rows"]
        sizes = {part: max(1, sum(by.values())) for part, by in rows.items()}
        if blank:
            values = [[of[c]["missing"].get(p, 0) / n for p, n in sizes.items()] for c in blank]
            title, caption = f"Blank cells, {name}", "Share of blank cells by part."
            drawings.append(
                _heat(np.array(values), blank, list(sizes), f"blank-{name}", title, caption)
            )
    return drawings


def _heat(
    values: Any, rows: list[str], columns: list[str], name: str, title: str, caption: str
) -> Drawing:
    with styled():
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure

        size = (1.8 + 0.3 * len(columns), 1.2 + 0.22 * len(rows))
        figure = Figure(figsize=(max(3.0, min(size[0], 14)), max(2.0, min(size[1], 14))))
        axes = figure.subplots()
        colours = LinearSegmentedColormap.from_list("share", ["#ffffff", LIGHT[0]])
        axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
        small = 8 if len(rows) < 40 else 4
        if len(columns) <= _NAMED:
            axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=small)
        if len(rows) <= _NAMED:
            axes.set_yticks(range(len(rows)), rows, fontsize=small)
        if values.size <= 400:
            for i, j in np.ndindex(values.shape):
                axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=6)
        axes.set_title(title)
        figure.tight_layout()
        return drawn(figure, name=name, alt=title, caption=caption)


def write(facts: Facts, folder: Path, title: str) -> Path:
    """The numbers as `profile.json`, and a page with its figures beside it.

    Returns:
        The page.

    Raises:
        RunError: If they cannot be written.
    """
    import json

    drawings = maps(facts)
    shown = [Section(heading=heading, tables=[table]) for heading, table in tables(facts)]
    if drawings:
        shown.append(Section(heading="Pictures", figures=drawings))
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "profile.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    page = Page(title=title, lead=verdict(facts), sections=shown, footer="polytask profile")
    return page.write(folder / "profile.html")


def _blanks(facts: Facts) -> int:
    missing = facts["missing"]
    return int(missing if isinstance(missing, int) else sum(missing.values()))


def _extremes(counts: Mapping[str, int]) -> list[Any]:
    ordered = sorted(counts, key=lambda name: -counts[name])
    total = max(1, sum(counts.values()))
    first, last = ordered[0], ordered[-1]
    return [first, counts[first] / total, last, counts[last] / total]
