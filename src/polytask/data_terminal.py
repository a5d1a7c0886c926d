"""What a person sees of the data: counts, what was left out, and what may be wrong."""

from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Tasks up to which each has a row or a figure of its own.
MANY = 40


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Rows per part and labels per task, and what was left out."""
    console = console or Console(emoji=False, highlight=False)
    parts = list(summary["rows"])
    table = Table(title="data", title_justify="left")
    for column in ("", *parts):
        table.add_column(column, justify="right" if column else "left")
    sources = dict.fromkeys(s for by in summary["rows"].values() for s in by)
    for source in sources:
        counts = [f"{summary['rows'][part].get(source, 0):,}" for part in parts]
        table.add_row(f"rows of {source}", *counts)
    labels = summary["labels"]
    for task, by in labels.items() if len(labels) <= MANY else ():
        table.add_row(f"labels of {task}", *(f"{by.get(part, 0):,}" for part in parts))
    if len(labels) > MANY:
        _add_spread(table, parts, labels)
    console.print(table)
    for source, joins in summary.get("joined", {}).items():
        for of in joins:
            console.print(escape(f"{source}: {of['said']}"), soft_wrap=True)
    for name, facts in summary.get("texts", {}).items():
        print_text_facts(name, facts, console)
    for source, count in summary.get("skipped", {}).items():
        rows = "1 row" if count == 1 else f"{count:,} rows"
        console.print(f"[yellow]left out {rows} of {source} that cannot be read:[/]")
        for line in summary.get("skipped_rows", {}).get(source, ()):
            console.print(f"  {escape(line)}", soft_wrap=True)
    for line in cleaning_lines(summary):
        console.print(escape(line))
    for task, count in summary.get("unknown", {}).items():
        labels = "1 label" if count == 1 else f"{count:,} labels"
        names = summary.get("unknown_labels", {}).get(task, {})
        each = ", ".join(f"{name} {n:,}" for name, n in names.items())
        line = f"left out {labels} of {task} that training rows lack: {each}"
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    for line in summary.get("doubts", ()):
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)


def _add_spread(
    table: Table, parts: Sequence[str], labels: Mapping[str, Mapping[str, int]]
) -> None:
    """Rows that say how many labels many tasks have."""
    counts = [[by.get(part, 0) for by in labels.values()] for part in parts]
    for name, of in (("least", min), ("median", median), ("most", max)):
        shown = (f"{of(column):,.0f}" for column in counts)
        table.add_row(f"labels of {len(labels)} tasks: {name}", *shown)
    table.add_row("labels of all of them", *(f"{sum(column):,}" for column in counts))


def print_leaks(
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    told: Collection[str] = (),
    console: Console | None = None,
) -> None:
    """Rows that are held out and exactly like a training row, a line per part.

    Args:
        found: By source, input and part.
        told: Inputs of which that was said before, as it is of texts.
        console: Where the lines go.
    """
    console = console or Console(emoji=False, highlight=False)
    for source, inputs in found.items():
        for name, parts in inputs.items():
            for part, facts in parts.items() if name not in told else ():
                line = (
                    f"{name}: rows of the {part} part of {source} that are exactly like a training "
                    f"row: {facts['rows']:,} ({facts['share']:.1%}), such as {facts['examples'][0]}"
                )
                console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)


def cleaning_lines(summary: Mapping[str, Any]) -> list[str]:
    """What the cleaning of tables did, a line per input and source."""
    lines = []
    for name, sources in summary.get("dropped", {}).items():
        lines += [f"{name}: left {n:,} training rows of {s} out" for s, n in sources.items()]
    for name, sources in summary.get("cleaned", {}).items():
        for source, parts in sources.items():
            total: dict[str, int] = {}
            for done in parts.values():
                for column, count in done["imputed"].items():
                    total[column] = total.get(column, 0) + count
            shown = sorted(total.items(), key=lambda pair: -pair[1])
            if shown:
                each = ", ".join(f"{column} {count:,}" for column, count in shown[:8])
                more = f", ... ({len(shown)} columns)" if len(shown) > 8 else ""
                lines.append(f"{name}: blanks of {source} filled: {each}{more}")
            marked = {part: done["outliers"]["rows"] for part, done in parts.items()}
            if any(marked.values()):
                each = ", ".join(f"{part} {count:,}" for part, count in marked.items())
                lines.append(f"{name}: outliers in {source}: {each}")
    return lines


def print_text_facts(name: str, facts: Mapping[str, Any], console: Console) -> None:
    """The vocabulary of a text input, and what may be wrong with a setting or a split."""
    line = f"{name}: vocabulary of {facts['vocabulary']:,}"
    if facts["unknown"] is not None:
        line += f", which lacks {facts['unknown']:.1%} of the validation part"
    console.print(line)
    if facts["truncated"]:
        console.print(f"[yellow]{name}: {facts['truncated']:,} texts are cut at max_length[/]")
    if facts.get("blank"):
        console.print(f"[yellow]{name}: blank texts: {facts['blank']:,}[/]")
    for part, count in facts["repeated"].items():
        if count:
            console.print(
                f"[yellow]{name}: {count:,} texts of the {part} part are in the training part too, "
                "word for word[/]",
                soft_wrap=True,
            )
