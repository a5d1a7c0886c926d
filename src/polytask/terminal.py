"""What a person sees while training: a bar, a line per epoch, tables."""

import math
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
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

from polytask.data_terminal import MANY, print_summary
from polytask.run import Run
from polytask.training.history import EpochRecord, kept, told_epochs
from polytask.types import Scores, loss_of

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
        self.judged: Mapping[str, str] = {}  # by task, the metric that is shown of it
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
        self.judged = facts["judged"]
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
        triples = zip(self.names, record.losses.tolist(), record.counts.tolist(), strict=True)
        losses = _each({name: loss for name, loss, n in triples if n}, digits=3)
        figures = f"lr {lr:.2g}  {self._rate.value:,.0f} examples/s"
        self.progress.losses = f"losses: {losses}"
        self.progress.update(self._bars["training"], completed=step, figures=figures)

    def on_epoch(self, record: EpochRecord) -> None:
        """A line."""
        line = (
            f"epoch {record.epoch}/{self.epochs}  {record.seconds:.0f}{GLUE}s  "
            f"{self._rate.value:,.0f}{GLUE}examples/s  losses: " + _each(record.losses)
        )
        if record.penalty is not None:
            line += f"  penalty{GLUE}{_number(record.penalty)}"
        if record.filled:
            shown_fills = (f"{name}{GLUE}{n:,}" for name, n in record.filled.items())
            line += "  labels by teachers: " + "  ".join(shown_fills)
        if record.drawn:
            shown_draws = (f"{name}{GLUE}{n:,}" for name, n in record.drawn.items())
            line += "  drawn: " + "  ".join(shown_draws)
        if record.scores:
            line += "  validation: " + _headlines(record.scores, self.judged)
        if (record.best or record.best_of) and record.scores:
            line += f"  best{GLUE}so{GLUE}far"
            if record.best_of is not None:
                together = ["all together"] if record.best else []
                line += f"{GLUE}of: " + ", ".join([*together, *record.best_of])
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
        found = kept(history)
        if found is not None and found[0]["scores"]:
            best, own = found
            print_scores(
                best["scores"], f"validation, {told_epochs(best['epoch'], own)}", self.console
            )
        if finished:
            self.console.print(f"Finished. {escape(next_command(run))}", soft_wrap=True)
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


def next_command(run: Run) -> str:
    """What to do with a run that is done: a command that works with the parts that it has."""
    parts, _ = run.parts()
    held = [part for part in ("test", "validation") if any(map(len, parts.get(part, {}).values()))]
    if "test" in held:
        return f"Score the test part with: polytask evaluate {run.path}"
    if held:
        return (
            "There is no test part. Score the validation part, by which the best epoch was chosen, "
            f"with: polytask evaluate {run.path} --part validation"
        )
    return (
        "All rows were trained on, so no part can be scored. Predict with: polytask predict "
        f"{run.path} --input FILE"
    )


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
        values = ", ".join(f"{key}={_short(value)}" for key, value in trial["params"].items())
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


def _short(value: Any) -> str:
    """A value that was tried; the file has all its digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_scores(scores: Scores, title: str, console: Console | None = None) -> None:
    """Tables of scores, a row per task; tasks that are measured alike share a table.

    Of more than `MANY` tasks a table says what their scores are like.
    """
    console = console or Console(emoji=False, highlight=False)
    console.print(escape(title), style="italic", soft_wrap=True)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, by in scores.items():
        shown_ones = tuple(m for m in by if m not in HIDDEN and not m.startswith(loss_of("")))
        kinds.setdefault(shown_ones, []).append(name)
    for metrics, names in kinds.items():
        columns = {m: [_number(scores[name][m]) for name in names] for m in metrics}
        columns["labels"] = [f"{scores[name].get('count') or 0:,.0f}" for name in names]
        if len(names) > MANY:
            names, columns = _of_many(metrics, [scores[name] for name in names])
        for shown in fitting(names, columns, console.width):
            table = Table("task")
            for metric in shown:
                table.add_column(metric, justify="right", no_wrap=True)
            for row, name in enumerate(names):
                table.add_row(escape(name), *(columns[metric][row] for metric in shown))
            console.print(table)


def _of_many(
    metrics: Sequence[str], scores: Sequence[Mapping[str, float | None]]
) -> tuple[list[str], dict[str, list[str]]]:
    """Rows, and their columns, that say what the scores of many tasks are like."""
    kinds: dict[str, Callable[[list[float]], float]] = {
        "least": min,
        "median": median,
        "mean": fmean,
        "most": max,
    }
    columns: dict[str, list[str]] = {}
    for metric in (*metrics, "count"):
        known = [value for by in scores if (value := by.get(metric)) is not None]
        shown = [of(known) if known else None for of in kinds.values()]
        if metric == "count":
            columns["labels"] = ["-" if value is None else f"{value:,.0f}" for value in shown]
        else:
            columns[metric] = [_number(value) for value in shown]
        columns["labels" if metric == "count" else metric].append(f"{len(known):,}")
    return [f"{name} of {len(scores)} tasks" for name in kinds] + ["tasks that have it"], columns


def fitting(
    names: Sequence[str], columns: Mapping[str, Sequence[str]], width: int
) -> list[list[str]]:
    """The columns in as many tables, one below the other, as keep numbers whole in a width.

    Args:
        names: The first column, which every table has and may be broken into lines.
        columns: The cells of each, by its heading, which may have several lines.
        width: Of the terminal.
    """
    border = 3
    first = border + 1 + min(max(map(len, ["task", *names])), width // 3)
    tables: list[list[str]] = []
    left = 0
    for title, cells in columns.items():
        wide = border + max(map(len, [*title.split("\n"), *cells]))
        if not tables or wide > left:
            tables.append([])
            left = width - first
        tables[-1].append(title)
        left -= wide
    return tables


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console | None = None,
) -> None:
    """A table of texts; of more than `MANY` rows the first ones."""
    console = console or Console(emoji=False, highlight=False)
    table = Table(*map(escape, columns), title=escape(title), title_justify="left")
    for row in rows[:MANY]:
        table.add_row(*map(escape, row))
    if len(rows) > MANY:
        table.add_row(f"... ({len(rows):,} in all)", *[""] * (len(columns) - 1))
    console.print(table)


def _each(losses: Mapping[str, float | None], digits: int = 4) -> str:
    """The losses of all tasks in a line; what they are like, if there are many."""
    if len(losses) > MANY:
        return _spread([loss for loss in losses.values() if loss is not None], digits)
    return "  ".join(f"{name}{GLUE}{_number(loss, digits)}" for name, loss in losses.items())


def _headlines(scores: Scores, judged: Mapping[str, str]) -> str:
    """The metric that decides of all tasks; what it is like, if there are many."""
    shown = {n: (judged[n], by[judged[n]]) for n, by in scores.items() if judged[n] in by}
    if len(scores) <= MANY:
        return "  ".join(f"{n}{GLUE}{m}{GLUE}{_number(value)}" for n, (m, value) in shown.items())
    by_metric: dict[str, list[float]] = {}
    for metric, value in shown.values():
        by_metric.setdefault(metric, []).extend([] if value is None else [value])
    return "  ".join(f"{metric}{GLUE}{_spread(values)}" for metric, values in by_metric.items())


def _spread(values: Sequence[float], digits: int = 4) -> str:
    """What many numbers are like."""
    if not values:
        return "-"
    low, middle, high = (_number(of(values), digits) for of in (min, median, max))
    return f"{low} to {high}, median {middle} ({len(values)} tasks)"


def _number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "-"
    usual = value == 0 or 1e-4 <= abs(value) < 1e7  # others have a unit of their own
    return f"{value:.{digits}{'f' if usual else 'g'}}"
