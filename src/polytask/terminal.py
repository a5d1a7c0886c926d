"""What a person sees while training: a bar, a line per epoch, tables."""

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from polytask.run import Run
from polytask.training.history import EpochRecord
from polytask.types import Scores

if TYPE_CHECKING:
    from polytask.training.step import StepRecord

# Shown in the tables; every other metric is in scores.json.
HIDDEN = ("count",)


class Terminal:
    """Shows a training on the terminal. Where that is no terminal, only lines appear."""

    def __init__(self) -> None:
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=4,
        )
        self.names: list[str] = []
        self.epochs = 0
        self._bars: dict[str, TaskID] = {}
        self._rate = Rate()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def _bar(self, what: str, total: int, done: int) -> None:
        if what not in self._bars:
            self._bars[what] = self.progress.add_task(what, total=total, figures="")
        self.progress.update(self._bars[what], completed=done, total=total)

    def on_decoding(self, done: int, total: int, what: str) -> None:
        """While pictures and sounds are decoded into the cache."""
        self._bar(what, total, done)

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Say what is about to happen."""
        self.names = list(facts["tasks"])
        self.epochs = int(facts["epochs"])
        print_summary(facts["summary"], self.console)
        self.console.print(
            f"{facts['parameters']:,} parameters, {facts['precision']} on {facts['device']} with "
            f"{facts['threads']} threads; {facts['epoch']}; run: {run.path}",
            soft_wrap=True,
            highlight=False,
        )
        if facts["done"]:
            self.console.print(f"Going on after step {facts['done']:,} of {facts['steps']:,}.")
        self._bar("training", int(facts["steps"]), int(facts["done"]))

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """Move the bar."""
        self._rate.add(record.examples)
        if "training" not in self._bars or not self.console.is_terminal:
            return
        losses = " ".join(
            f"{name} {loss:.3f}"
            for name, loss, n in zip(
                self.names, record.losses.tolist(), record.counts.tolist(), strict=True
            )
            if n
        )
        figures = f"lr {lr:.2g}  {self._rate.value:,.0f}/s  {losses}"
        self.progress.update(self._bars["training"], completed=step, figures=figures)

    def on_epoch(self, record: EpochRecord) -> None:
        """A line."""
        shown = []
        for name, loss in record.losses.items():
            score = _headline(record.scores.get(name, {}))
            shown.append(f"{name} loss {_number(loss)}{score}")
        mark = " *" if record.best and record.scores else ""
        self.console.print(
            f"epoch {record.epoch}/{self.epochs}  {record.seconds:.0f} s  "
            f"{self._rate.value:,.0f} examples/s  " + "  ".join(shown) + mark,
            soft_wrap=True,
            highlight=False,
        )

    def warn(self, message: str) -> None:
        """A line that stands out."""
        self.console.print(f"[bold yellow]warning:[/] {message}", soft_wrap=True)

    def on_end(self, run: Run, finished: bool) -> None:
        """How it ended, and what to do next."""
        self.progress.stop()
        history = run.history()
        best = next((r for r in reversed(history) if r["best"]), None)
        if best and best["scores"]:
            print_scores(best["scores"], f"validation, epoch {best['epoch']}", self.console)
        if finished:
            self.console.print(
                f"Finished. Score the test part with: polytask evaluate {run.path}", soft_wrap=True
            )
        else:
            self.console.print(
                f"Stopped; nothing is lost. Go on with: polytask train --resume {run.path}",
                soft_wrap=True,
            )


class Rate:
    """Examples per second, over about the last ten seconds."""

    def __init__(self) -> None:
        self.value = 0.0
        self._last = time.monotonic()

    def add(self, examples: int) -> None:
        """Count the examples of a step."""
        now = time.monotonic()
        seconds = max(now - self._last, 1e-9)
        self._last = now
        keep = math.exp(-seconds / 10) if self.value else 0.0
        self.value = keep * self.value + (1 - keep) * examples / seconds


def print_scores(scores: Scores, title: str, console: Console | None = None) -> None:
    """A table of scores, a row per task."""
    metrics = list(dict.fromkeys(m for by in scores.values() for m in by if m not in HIDDEN))
    table = Table(title=title, title_justify="left")
    table.add_column("task")
    for metric in [*metrics, "labels"]:
        table.add_column(metric, justify="right")
    for name, by in scores.items():
        cells = [_number(by.get(metric)) if metric in by else "" for metric in metrics]
        table.add_row(name, *cells, f"{by.get('count') or 0:,.0f}")
    (console or Console()).print(table)


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Rows per part and labels per task, and what was left out."""
    console = console or Console()
    parts = list(summary["rows"])
    table = Table(title="data", title_justify="left")
    for column in ("", *parts):
        table.add_column(column, justify="right" if column else "left")
    sources = dict.fromkeys(s for by in summary["rows"].values() for s in by)
    for source in sources:
        counts = [f"{summary['rows'][part].get(source, 0):,}" for part in parts]
        table.add_row(f"rows of {source}", *counts)
    for task, labels in summary["labels"].items():
        table.add_row(f"labels of {task}", *(f"{labels.get(part, 0):,}" for part in parts))
    console.print(table)
    for source, count in summary.get("skipped", {}).items():
        console.print(f"[yellow]left out {count} rows of {source} that cannot be decoded[/]")
    for task, count in summary.get("unknown", {}).items():
        console.print(f"[yellow]left out {count} labels of {task} that training rows lack[/]")


def _headline(scores: Mapping[str, float | None]) -> str:
    """The metric that people look for first."""
    for metric in ("accuracy", "r2"):
        if metric in scores:
            return f" {metric} {_number(scores[metric])}"
    return ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
