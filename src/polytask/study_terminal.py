"""What a person sees of a study: the plan, the bar, the table with its verdict."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polytask.data_terminal import print_summary
from polytask.report.words import (
    ALONE,
    balancing_sentence,
    chosen_sentence,
    duration,
    headline,
    number,
    others_sentence,
    percent,
    plural,
    reasons,
)
from polytask.study.crew import Standing, standing
from polytask.study.folder import Study
from polytask.study.judge import Row, Verdicts
from polytask.terminal import Bars, fitting

# More tasks than this have no column of their own.
WIDEST = 12

ROLES = {
    "alone": "every task alone",
    "shared": "ways to share x balancers",
    "trial": "fixed weights, searched with the first seed",
    "tuned": "the best of these, other seeds",
    "frozen": "weights at which adaptive balancers arrive, as constants",
}


class StudyTerminal:
    """Shows a study on the terminal. Where that is no terminal, only lines appear."""

    def __init__(self) -> None:
        self.console = Console(emoji=False, highlight=False)
        self.bars = Bars(self.console)
        self._bar = self.bars.add_task("trainings", total=None, figures="")
        self._known: set[str] = set()
        self._last = ""

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def look(self, now: Standing) -> None:
        """How far the study is."""
        for name, reason in now.failed.items():
            if name not in self._known:
                self.console.print(
                    f"[bold yellow]failed:[/] {escape(name)}: {escape(reason)}", soft_wrap=True
                )
        self._known |= set(now.failed)
        done = now.finished + len(now.failed)
        if done < now.planned:
            line = f"{done} of {now.planned} trainings"
            self.bars.update(self._bar, completed=done, total=now.planned)
        else:
            line = f"test part: {now.tested} of {now.to_test} runs"
            self.bars.update(
                self._bar, description="test part", completed=now.tested, total=now.to_test
            )
        if not self.console.is_terminal and line != self._last:
            self.console.print(line)
        self._last = line


def print_plan(study: Study, workers: int, console: Console | None = None) -> None:
    """What is going to be trained, and how long it should take."""
    console = console or Console(emoji=False, highlight=False)
    seconds = study.expected_seconds()
    plan, seeds = study.plan, len(study.compare.seeds)
    ways = len({(t.sharing, t.tasks) for t in plan.trials()})
    counts = {
        "alone": seeds * len(plan.alone()),
        "shared": seeds * len(plan.shared()),
        "trial": len(plan.trials()),
        "tuned": ways * (seeds - 1),
        "frozen": seeds * len(plan.adaptive()) if study.compare.frozen else 0,
    }
    table = Table("what", title="planned", title_justify="left")
    table.add_column("trainings", justify="right")
    table.add_column("about", justify="right")
    for role, what in ROLES.items():
        if counts[role]:
            table.add_row(what, f"{counts[role]}", duration(seconds[role]))
    total = sum(seconds.values())
    table.add_row("all", f"{sum(counts.values())}", duration(total), style="bold")
    console.print(table)
    print_summary(study.facts["data"], console)
    now = standing(study)
    if now.finished + len(now.failed):
        done = now.finished + len(now.failed)
        console.print(f"{plural(done, 'training')} of {now.planned} done already; going on.")
    crew = "1 process" if workers == 1 else f"{workers} processes"
    seeds_named = ", ".join(map(str, study.compare.seeds))
    console.print(
        f"{plural(len(plan.shared()), 'candidate')}, seeds {seeds_named}, same "
        f"{study.compare.budget}; {crew}: about {duration(total / workers)}, validation not "
        f"counted.\n{study.facts['epoch']}\nstudy: {escape(str(study.path))}",
        soft_wrap=True,
    )


def print_verdicts(study: Study, found: Verdicts, console: Console | None = None) -> None:
    """The table of candidates, and what it says."""
    console = console or Console(emoji=False, highlight=False)
    print_candidates(study, found, console)
    console.print(f"[bold]{escape(headline(found))}[/]", soft_wrap=True)
    said = [chosen_sentence(found), *reasons(found), others_sentence(found)]
    said.append(balancing_sentence(found))
    for line in said:
        if line:
            console.print(escape(line), soft_wrap=True)
    failed = {f"{r.candidate.name}, seed {s}": o for r in found.rows for s, o in r.outcomes.items()}
    for name, outcome in failed.items():
        if outcome.status == "failed":
            console.print(
                f"[yellow]failed:[/] {escape(name)}: {escape(outcome.reason)}", soft_wrap=True
            )


def print_stop(study: Study, now: Standing, console: Console | None = None) -> None:
    """Why a study is not over, and how to go on."""
    console = console or Console(emoji=False, highlight=False)
    for line in dict.fromkeys(now.broke):
        console.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)
    console.print(
        "Stopped; nothing is lost. Go on with: polytask compare --resume "
        f"{escape(str(study.path))}",
        soft_wrap=True,
    )


def print_next(study: Study, found: Verdicts, console: Console | None = None) -> None:
    """What one may do with a study that is over."""
    console = console or Console(emoji=False, highlight=False)
    path = escape(str(study.path))
    console.print(f"A page with figures: polytask report {path}", soft_wrap=True)
    chosen = found.chosen
    if chosen is None:
        return
    if chosen.seeds:
        run = study.runs / study.plan.folder(chosen.candidate, chosen.seeds[0])
        console.print(
            f"The model, one of {len(chosen.seeds)}: polytask predict {escape(str(run))}",
            soft_wrap=True,
        )
    if count := seeds_to_add(chosen):
        console.print(
            f"More seeds: polytask compare --resume {path} --more-seeds {count}", soft_wrap=True
        )


def seeds_to_add(row: Row) -> int:
    """How many more seeds would tell all that seeds may tell of a candidate; 0 for none."""
    found = 0
    for result in row.tasks.values():
        if result.verdict != "cannot tell" or result.difference is None:
            continue
        count = result.difference.spread.seed_count
        if result.wanted is None and count < 3:  # nobody knows yet: at least as many as are usual
            found = max(found, 3 - count)
        elif isinstance(result.wanted, int):
            found = max(found, result.wanted - count)
    return found


def print_candidates(study: Study, found: Verdicts, console: Console) -> None:
    """Tables of the candidates, as many below each other as keep numbers whole.

    Tasks alone are one row: all their networks and a step of each. Scores of few tasks have columns
    of their own; those of more than `WIDEST` are on the page.
    """
    names, metrics = list(study.config.tasks), study.facts["scores"]
    alone = {r.candidate.tasks[0]: r for r in found.rows if r.candidate.role == "alone"}
    shared = ordered([row for row in found.rows if row.candidate.role != "alone"])
    labels = [ALONE, *(row.candidate.name for row in shared)]
    parameters = [sum(row.parameters for row in alone.values()), *(r.parameters for r in shared)]
    seconds = [sum(row.step_seconds for row in alone.values()), *(r.step_seconds for r in shared)]
    columns = {
        "mean gain": ["", *("" if row.gain is None else percent(row.gain) for row in shared)],
        "parameters": [f"{count:,}" for count in parameters],
        "ms/step": [f"{1000 * s:.1f}".replace("nan", "–") for s in seconds],
    }
    if len(names) <= WIDEST:
        columns |= {
            f"{n}\n{metrics[n]}": [_score(row, n) for row in (alone[n], *shared)] for n in names
        }
    console.print("test part, means over seeds", style="italic")
    for shown in fitting(labels, columns, console.width):
        table = Table("candidate")
        for heading in shown:
            table.add_column(escape(heading), justify="right", no_wrap=True)
        for place, row in enumerate([None, *shared]):
            cells = [columns[heading][place] for heading in shown]
            if any(cells):
                style = "bold" if row is not None and row is found.chosen else None
                table.add_row(escape(labels[place]), *cells, style=style)
        console.print(table)


def ordered(rows: Sequence[Row]) -> list[Row]:
    """The best gain first."""
    return sorted(rows, key=lambda r: -(r.gain.mean if r.gain else float("-inf")))


def _score(row: Row, task: str) -> str:
    return number(row.tasks[task].score) if task in row.tasks else ""
