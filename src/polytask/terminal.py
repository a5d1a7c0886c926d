"""What a person sees while training: a bar, a line per epoch, tables."""

import math
import textwrap
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from polytask.run import Run
from polytask.training.history import EpochRecord
from polytask.types import Scores

if TYPE_CHECKING:
    from polytask.training.step import StepRecord

# Shown in the tables; every other metric is in scores.json.
HIDDEN = ("count",)

# A space at which no line is broken.
GLUE = "\N{NO-BREAK SPACE}"


class Terminal:
    """Shows a training on the terminal. Where that is no terminal, only lines appear."""

    def __init__(self) -> None:
        self.console = Console(emoji=False, highlight=False)
        self.progress = Bars(self.console)
        self.names: list[str] = []
        self.processes = 1
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
        self._bar(f"decoding {what}", total, done)
        if done == total:
            self.progress.remove_task(self._bars.pop(f"decoding {what}"))

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Say what is about to happen."""
        self.names = list(facts["tasks"])
        self.processes = int(facts["processes"])
        self.epochs = int(facts["epochs"])
        print_summary(facts["summary"], self.console)
        self.console.print(
            f"{facts['parameters']:,} parameters; {facts['precision']} on {facts['device']}, "
            f"processes: {facts['processes']}, threads: {facts['threads']}\n{facts['epoch']}"
        )
        if facts.get("start"):
            print_start(facts["start"], self.console)
        self.console.print(f"run: {escape(str(run.path))}", soft_wrap=True)
        if facts["done"]:
            self.console.print(f"Going on after step {facts['done']:,} of {facts['steps']:,}.")
        self._bar("training", int(facts["steps"]), int(facts["done"]))
        self._rate.go_on()

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """Move the bar."""
        self._rate.add(record.examples * self.processes)
        if "training" not in self._bars or not self.console.is_terminal:
            return
        losses = "  ".join(
            f"{name}{GLUE}{loss:.3f}"
            for name, loss, n in zip(
                self.names, record.losses.tolist(), record.counts.tolist(), strict=True
            )
            if n
        )
        figures = f"lr {lr:.2g}  {self._rate.value:,.0f} examples/s"
        self.progress.losses = f"losses: {losses}"
        self.progress.update(self._bars["training"], completed=step, figures=figures)

    def on_epoch(self, record: EpochRecord) -> None:
        """A line."""
        line = (
            f"epoch {record.epoch}/{self.epochs}  {record.seconds:.0f}{GLUE}s  "
            f"{self._rate.value:,.0f}{GLUE}examples/s  losses: "
            + "  ".join(f"{name}{GLUE}{_number(loss)}" for name, loss in record.losses.items())
        )
        if record.penalty is not None:
            line += f"  penalty{GLUE}{_number(record.penalty)}"
        if record.filled:
            shown_fills = (f"{name}{GLUE}{n:,}" for name, n in record.filled.items())
            line += "  labels by teachers: " + "  ".join(shown_fills)
        if record.scores:
            shown = ((name, _headline(scores)) for name, scores in record.scores.items())
            line += "  validation: " + "  ".join(f"{n}{GLUE}{score}" for n, score in shown if score)
        if record.best and record.scores:
            line += f"  best{GLUE}so{GLUE}far"
        if self.console.is_terminal:
            line = textwrap.fill(line, self.console.width - 1, subsequent_indent="    ")
        self.console.print(line.replace(GLUE, " "), soft_wrap=True)
        self._rate.go_on()

    def warn(self, message: str) -> None:
        """A line that stands out."""
        self.console.print(f"[bold yellow]warning:[/] {escape(message)}", soft_wrap=True)

    def on_end(self, run: Run, finished: bool) -> None:
        """How it ended, and what to do next."""
        self.progress.stop()
        path = escape(str(run.path))
        history = run.history()
        best = next((r for r in reversed(history) if r["best"]), None)
        if best and best["scores"]:
            print_scores(best["scores"], f"validation, epoch {best['epoch']}", self.console)
        if finished:
            self.console.print(
                f"Finished. Score the test part with: polytask evaluate {path}", soft_wrap=True
            )
        else:
            self.console.print(
                f"Stopped; nothing is lost. Go on with: polytask train --resume {path}",
                soft_wrap=True,
            )


class Bars(Progress):
    """Progress bars, and below them the losses, which may take several lines.

    Attributes:
        losses: The line below.
    """

    def __init__(self, console: Console) -> None:
        self.losses = ""
        super().__init__(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(
                compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True)
            ),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn."""
        yield from super().get_renderables()
        if self.losses and not self.finished:
            lines = textwrap.fill(self.losses, self.console.width - 1)
            yield Text(lines.replace(GLUE, " "))


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

    def go_on(self) -> None:
        """Leave out the time since the last step, in which something else was done."""
        self._last = time.monotonic()


def print_start(parts: Iterable[Sequence[str]], console: Console | None = None) -> None:
    """What was taken of the run that a training starts from."""
    console = console or Console(emoji=False, highlight=False)
    table = Table("part", "weights", title="started from a run", title_justify="left")
    for part, became in parts:
        table.add_row(escape(part), became)
    console.print(table)


def print_trials(found: Mapping[str, Any], console: Console | None = None) -> None:
    """The best trials of a search, how to use them, and which failed."""
    console = console or Console(emoji=False, highlight=False)
    objectives = found["objectives"] or ["score"]
    table = Table("trial", *objectives, "values", "file", title="best", title_justify="left")
    for trial in found["best"]:
        values = ", ".join(f"{key}={value}" for key, value in trial["params"].items())
        numbers = [f"{value:.4f}" for value in trial["values"]]
        table.add_row(str(trial["number"]), *numbers, escape(values), escape(trial["file"]))
    console.print(table)
    states = [trial["state"] for trial in found["trials"]]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    console.print(f"trials: {counts}", soft_wrap=True)
    for trial in found["trials"]:
        if trial["reason"]:
            line = f"trial {trial['number']} failed: {trial['reason']}"
            console.print(escape(line), soft_wrap=True)
    first = escape(found["best"][0]["file"])
    console.print(
        f"Scores are of validation rows. Train with: polytask train {first}", soft_wrap=True
    )


def print_scores(scores: Scores, title: str, console: Console | None = None) -> None:
    """Tables of scores, a row per task; tasks that are measured alike share a table."""
    console = console or Console(emoji=False, highlight=False)
    console.print(escape(title), style="italic", soft_wrap=True)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, by in scores.items():
        kinds.setdefault(tuple(m for m in by if m not in HIDDEN), []).append(name)
    for metrics, names in kinds.items():
        columns = {m: [_number(scores[name][m]) for name in names] for m in metrics}
        columns["labels"] = [f"{scores[name].get('count') or 0:,.0f}" for name in names]
        for shown in fitting(names, columns, console.width):
            table = Table("task")
            for metric in shown:
                table.add_column(metric, justify="right", no_wrap=True)
            for row, name in enumerate(names):
                table.add_row(escape(name), *(columns[metric][row] for metric in shown))
            console.print(table)


def fitting(
    names: Sequence[str], columns: Mapping[str, Sequence[str]], width: int
) -> list[list[str]]:
    """The columns in as many tables, one below the other, as keep numbers whole in a width.

    Args:
        names: The first column, which every table has and may be broken into lines.
        columns: The cells of each.
        width: Of the terminal.
    """
    border = 3
    first = border + 1 + min(max(map(len, ["task", *names])), width // 3)
    tables: list[list[str]] = []
    left = 0
    for title, cells in columns.items():
        wide = border + max(map(len, [title, *cells]))
        if not tables or wide > left:
            tables.append([])
            left = width - first
        tables[-1].append(title)
        left -= wide
    return tables


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
    for task, labels in summary["labels"].items():
        table.add_row(f"labels of {task}", *(f"{labels.get(part, 0):,}" for part in parts))
    console.print(table)
    for name, facts in summary.get("texts", {}).items():
        print_text_facts(name, facts, console)
    for source, count in summary.get("skipped", {}).items():
        rows = "1 row" if count == 1 else f"{count:,} rows"
        console.print(f"[yellow]left out {rows} of {source} that cannot be decoded:[/]")
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


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console | None = None,
) -> None:
    """A table of texts."""
    console = console or Console(emoji=False, highlight=False)
    table = Table(*map(escape, columns), title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


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


def _headline(scores: Mapping[str, float | None]) -> str:
    """The metric that people look for first."""
    for metric in ("span_f1", "accuracy", "r2"):
        if metric in scores:
            return f"{metric}{GLUE}{_number(scores[metric])}"
    return ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
