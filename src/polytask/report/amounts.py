"""How much data there is, and what was left out of it; of a summary of prepared data."""

from collections.abc import Mapping
from typing import Any

from polytask.report.page import Cell, Table


def amounts(summary: Mapping[str, Any]) -> Table:
    """Rows of each source and labels of each task, by part."""
    parts = list(summary["rows"])
    sources = dict.fromkeys(s for by in summary["rows"].values() for s in by)
    rows: list[list[Cell]] = [
        [f"rows of {source}", *(summary["rows"][part].get(source, 0) for part in parts)]
        for source in sources
    ]
    rows += [
        [f"labels of {task}", *(labels.get(part, 0) for part in parts)]
        for task, labels in summary["labels"].items()
    ]
    return Table(columns=["", *parts], rows=rows)


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What was left out, and what looks as if it were not meant."""
    found = [
        f"{n:,} rows of {s} cannot be read and are in no part."
        for s, n in summary.get("skipped", {}).items()
    ]
    found += [
        f"{n:,} labels of {t} count as absent: training rows do not have them."
        for t, n in summary.get("unknown", {}).items()
    ]
    return [*found, *summary.get("doubts", ())]
