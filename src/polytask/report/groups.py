"""Groups of tasks for people: a table on the terminal, a heat map, a page.

All of it is made from the plain values that `polytask.study.grouping.group` returns.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.report.figures import INK, Drawing, drawn, styled
from polytask.report.page import Page, Section, Table, number
from polytask.report.words import in_percent, plural

if TYPE_CHECKING:
    from rich.console import Console

Found = Mapping[str, Any]

# More tasks than this have no numbers in their squares, and more than MANY no names.
FEW, MANY = 12, 45
# Letters of groups that are told in a sentence.
LONGEST = 300
# Tasks that have a row each on the terminal.
LISTED = 24


def print_groups(found: Found, console: "Console") -> None:
    """Groups, predicted gains, doubts, and what was verified."""
    from rich import table as rich_table
    from rich.markup import escape

    shown = rich_table.Table("model", "trains", "predicts")
    for place, group in enumerate(found["groups"], 1):
        shown.add_row(str(place), *(escape(", ".join(group[k])) for k in ("trains", "serves")))
    console.print(shown)
    gains = gain_table(found)
    tasks = rich_table.Table(*gains.columns, title=f"unit: {found['unit']}", title_justify="left")
    for row in gains.rows:
        tasks.add_row(*(escape(gains.shown(cell)) for cell in row))
    if len(gains.rows) <= LISTED:  # more of them are on the page
        console.print(tasks)
    console.print(verdict(found), soft_wrap=True, markup=False)
    for warning in found["warnings"]:
        console.print(f"[bold yellow]note:[/] {escape(warning)}", soft_wrap=True)
    if "verified" in found:
        console.print(proof(found), soft_wrap=True, markup=False)


def verdict(found: Found) -> str:
    """What to do, and in a second paragraph why."""
    gains, cost = found["mean_gain"], found["cost"]
    how = "the best there is under this prediction" if found["exact"] else "the best that was found"
    said = (
        f"Predicted on average: {signed(gains['groups'])} ({how}), all together "
        f"{signed(gains['together'])}, each alone 0. That is {found['unit']}."
    )
    if "tried" in found:
        said = best_of(found["tried"])
        said += (
            f" For that {plural(joint(found), 'model')} of several tasks were trained, beside the "
            "tasks alone."
        )
    return (
        f"{advice(found)}\n\n{said} Measured by {found['measure']}: "
        f"{plural(cost['trainings'], 'training')} of {plural(cost['epochs'], 'epoch')}, "
        f"{cost['examples']:,.0f} training examples."
    )


def best_of(tried: Sequence[Mapping[str, Any]]) -> str:
    """What validation rows say of the groupings that were trained."""
    chosen = next(one for one in tried if one["chosen"])
    start = (
        f"Of {plural(len(tried), 'grouping')} that were trained (the most likely ones, all "
        "together, each alone) it is the best on validation rows: "
    )
    if any(len(members) > 1 for members in chosen["groups"]):
        return f"{start}a mean gain of {share(chosen['validation_gain'])} over each alone."
    others = [_validated(one) for one in tried if one is not chosen]
    if not others or max(others) == -math.inf:
        return f"{start}no other could be measured."
    return f"{start}the mean gain of the next best over it is {share(max(others))}."


def advice(found: Found) -> str:
    """What to train."""
    groups, count = found["groups"], len(found["tasks"])
    if all(len(group["trains"]) == 1 for group in groups):
        return f"Train each of the {count} tasks alone."
    if len(groups) == 1:
        return f"Train one model of all {count} tasks."
    names = "; ".join(" + ".join(group["trains"]) for group in groups)
    if len(names) > LONGEST:
        sizes = sorted(len(group["trains"]) for group in groups)
        reach = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        return f"Train {len(groups)} models, of {reach} tasks each: see the table of groups."
    return f"Train {len(groups)} models: {names}."


def joint(found: Found) -> int:
    """Different sets of several tasks among the groupings that were trained."""
    sets = {frozenset(members) for one in found["tried"] for members in one["groups"]}
    return sum(len(members) > 1 for members in sets)


def share(value: float | None) -> str:
    """A gain in percent."""
    return "unknown size" if value is None else in_percent(value)


def proof(found: Found) -> str:
    """What the verification says, in a sentence or two."""
    said = found["verified"]
    gains = said["mean_gain"]
    order = sorted(gains, key=lambda how: -math.inf if gains[how] is None else -gains[how])
    listed = ", ".join(
        f"{how} {share(gains[how])} ({said['examples'][how]:,} examples)" for how in order
    )
    return (
        f"Verified on validation rows, mean gain over each alone: {listed}. One training each: "
        "another seed may turn small differences around; polytask compare says how sure they are."
    )


def _validated(tried: Mapping[str, Any]) -> float:
    gain = tried["validation_gain"]
    return -math.inf if gain is None else float(gain)


def tried_table(found: Found) -> Table:
    """The groupings that were trained, the best first."""
    rows = [
        [
            "; ".join(" + ".join(members) for members in one["groups"]),
            one["predicted"],
            None if one["validation_gain"] is None else 100 * one["validation_gain"],
            "chosen" if one["chosen"] else "",
        ]
        for one in sorted(found["tried"], key=_validated, reverse=True)
    ]
    return Table(
        columns=["groups", "predicted", "gain on validation rows, %", ""],
        rows=rows,
        caption="Groupings that were trained; the gain is the mean over tasks, over each alone. "
        "The best of several looks better on these rows than it is.",
    )


def gain_table(found: Found) -> Table:
    """A row per task: predicted gain with its interval, and scores where they were verified."""
    columns = ["task", "predicted", "5 %", "95 %"]
    scores = found.get("verified", {}).get("scores")
    if scores is not None:
        columns += ["metric", "grouped", "together", "alone"]
    rows = []
    for task, said in found["predicted"].items():
        row = [task, said["gain"], said["low"], said["high"]]
        if scores is not None:
            row += [scores[task][k] for k in ("metric", "groups", "together", "apart")]
        rows.append(row)
    scored = "" if scores is None else " Scores are of validation rows, one training each."
    caption = f"Predicted of a task in its group: {found['unit']}.{scored}"
    return Table(columns=columns, rows=rows, caption=caption)


def signed(value: float | None) -> str:
    """A number with its sign."""
    return "unknown" if value is None else f"{value:+.3g}".replace("-", "−")


def heat_map(
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    order: Sequence[int],
    *,
    name: str,
    title: str,
    caption: str,
) -> Drawing:
    """A matrix of tasks as colours; what is not known stays empty.

    Args:
        names: The tasks.
        values: `[T][T]`, from row to column.
        order: The tasks' places, so that those of one group stand together.
        name: The figure's file.
        title: What it shows.
        caption: How to read it.
    """
    import numpy as np

    table = np.array([[math.nan if v is None else v for v in row] for row in values])
    table = table[np.ix_(order, order)]
    off = table[~np.eye(len(order), dtype=bool)]
    limit = max(float(np.nanmax(np.abs(off))) if np.isfinite(off).any() else 0.0, 1e-12)
    labels = [names[place] for place in order]
    with styled():
        from matplotlib.figure import Figure

        side = min(max(3.6, 0.42 * len(labels) + 1.6), 9.0)
        figure = Figure(figsize=(side + 1.2, side), layout="constrained")
        axes = figure.subplots()
        np.fill_diagonal(table, math.nan)
        seen = axes.imshow(table, cmap="PuOr", vmin=-limit, vmax=limit)
        figure.colorbar(seen, ax=axes, shrink=0.8)
        if len(labels) <= MANY:
            axes.set_xticks(range(len(labels)), labels, rotation=90)
            axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("for this task")
        axes.set_ylabel("what this task does")
        axes.set_title(title)
        if len(labels) <= FEW:
            for (row, column), value in np.ndenumerate(table):
                if math.isfinite(value):
                    ink = "white" if abs(value) > 0.6 * limit else INK
                    text = number(float(value), 2)
                    axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        return drawn(
            figure, name=name, alt=f"{title}: a matrix of {len(labels)} tasks.", caption=caption
        )


def write_page(found: Found, path: Path) -> Path:
    """The page, and its heat maps as PNG beside it.

    Raises:
        MissingDependency: If matplotlib or jinja2 is not installed.
        RunError: If it cannot be written.
    """
    names = found["tasks"]
    members = [task for group in found["groups"] for task in group["serves"]]
    order = [names.index(task) for task in members]
    maps = [
        heat_map(
            names,
            found["pairs"],
            order,
            name="affinity",
            title="Affinities",
            caption=f"What the task of a row does for the task of a column: {found['unit']}.",
        ),
        heat_map(
            names,
            found["overlap"],
            order,
            name="overlap",
            title="Labels in common",
            caption="Share of the column's labelled examples that the row's task labels, too.",
        ),
        heat_map(
            names,
            found["correlation"],
            order,
            name="correlation",
            title="Labels that go together",
            caption="Correlation of labels where both are there; without a sign for classes.",
        ),
    ]
    layers = [
        heat_map(
            names,
            values,
            order,
            name=f"cosine-{part}",
            title=f"Cosines in {part}",
            caption="Mean cosine of the gradients of two tasks at these parameters.",
        )
        for part, values in found["layers"].items()
    ]
    sections = [
        Section(
            heading="The groups",
            tables=[
                Table(
                    columns=["model", "trains", "predicts"],
                    rows=[
                        [str(n), ", ".join(g["trains"]), ", ".join(g["serves"])]
                        for n, g in enumerate(found["groups"], 1)
                    ],
                ),
                gain_table(found),
                *([tried_table(found)] if "tried" in found else []),
            ],
        ),
        Section(
            heading="What speaks against it", text="\n\n".join(found["warnings"]) or "Nothing."
        ),
        Section(heading="How tasks get on", figures=maps),
    ]
    if layers:
        sections.append(Section(heading="Where gradients agree", figures=layers))
    lead = verdict(found) + (f"\n\n{proof(found)}" if "verified" in found else "")
    return Page(title="Which tasks belong together", lead=lead, sections=sections).write(path)
