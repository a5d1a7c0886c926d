"""The page of a comparison: the verdict first, then what it rests on."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from polytask.config.catalogue import BALANCERS, TRUNKS
from polytask.config.document import write
from polytask.evaluation.intervals import verdicts
from polytask.report.amounts import amounts, remarks
from polytask.report.charts import Line, lines
from polytask.report.figures import Drawing
from polytask.report.page import Cell, Page, Section, Table
from polytask.report.study_figures import costs, forest
from polytask.report.words import (
    ALONE,
    balancing_sentence,
    chosen_sentence,
    duration,
    headline,
    helped,
    others_sentence,
    plural,
    reasons,
    telling,
)
from polytask.run import Run
from polytask.study.folder import CHOICE, Study
from polytask.study.judge import Judge, Row, Verdicts

PAGE = "report.html"
# Rows of a forest that are drawn, and tasks that have a column or a panel of their own.
DRAWN, WIDEST = 24, 12

METHOD = """Every difference is of runs with the same seed, on the same rows. Its interval (95 %)
holds two sources of variation: seeds (the spread of the paired differences over seeds, a t
distribution with one degree of freedom less than there are seeds) and test examples (the spread
over examples of what each adds to the difference; for scores that are no means over examples, over
groups of them). What is said of the tasks of a candidate is corrected for saying it of several
(Holm), so an interval may leave 0 out and the verdict still be "cannot tell".

Gain is 2 (shared - alone) / (shared + alone), turned round for errors; of scores of which more is
better those below 0 count as 0, and the denominator is at least 0.2. The mean over tasks is the
mean gain (delta-m). Its interval takes errors of all tasks to go together, which makes it wide
rather than narrow.

Epochs, searched weights and the candidate that is spoken of were chosen on validation rows; the
test part was opened when all trainings were over. All candidates were scored on it, so the best of
them on test rows is flattered; the chosen one is not. Where seeds were added after a look, verdicts
are on all seeds, and each further look has half the level of the one before (2.5 % after 5 %),
because who looks again gives chance another chance."""


def write_study_page(study: Study, path: Path | None = None) -> Path:
    """Write a study's page.

    Args:
        study: Over, or under way: what is not known yet is left out.
        path: The HTML file; None for `report.html` in the study's folder.
    """
    return study_page(study).write(path or study.path / PAGE)


def study_page(study: Study) -> Page:
    """The page of a study."""
    found = Judge(study).verdicts()
    lead = [headline(found), chosen_sentence(found)]
    sections = [
        *_tasks(found),
        *_candidates(study, found),
        *_learning(study, found),
        _ran(study, found),
        Section(
            heading="Data",
            text="\n\n".join(remarks(study.facts["data"])),
            tables=[amounts(study.facts["data"])],
        ),
        Section(heading="How this was judged", text=METHOD),
        Section(heading="Configuration", code=write(study.config.resolved())),
    ]
    return Page(
        title=f"Does sharing help? {study.config.name}",
        lead="\n\n".join(line for line in lead if line),
        points=[line for line in (*reasons(found), others_sentence(found)) if line],
        sections=sections,
        footer=f"polytask {study.facts['polytask']}, study of {study.facts['created']}; "
        f"{' '.join(study.facts['command'])}",
    )


def _tasks(found: Verdicts) -> Iterator[Section]:
    """Each task in the chosen way to share against alone."""
    chosen = None if found.left else found.chosen
    results = [] if chosen is None else [r for r in chosen.tasks.values() if r.difference]
    if chosen is None or not results:
        return
    results = telling(results)
    clear = results[:DRAWN]
    some = "" if len(clear) == len(results) else f" Drawn: {DRAWN} of {len(results)} tasks."
    drawing = forest(
        [(r.task, r.difference, r.verdict) for r in clear if r.difference],
        name="tasks",
        alt="Difference of each task's test score between the shared model and the task alone, "
        "with 95 % intervals.",
        caption=f"{chosen.candidate.name} against every task alone: the difference and its 95 % "
        "interval. A bar that crosses the line leaves open whether sharing helps that task"
        f"{_several(len(results))}. An arrow at the edge: the interval goes on.{some}",
        x="test score, shared minus alone",
    )
    rows: list[list[Cell]] = []
    for r in results:
        d = r.difference
        assert d is not None
        chance = round(d.probability, 4)
        rows.append([r.task, r.verdict, r.metric, r.base, r.score, d.mean, d.low, d.high, chance])
    order = "; those of which most can be said come first" if len(rows) > 1 else ""
    columns = ["task", "verdict", "score", "alone", "shared", "difference", "from", "to"]
    yield Section(
        heading="Whom sharing helps",
        figures=[drawing],
        tables=[
            Table(
                columns=[*columns, "chance that it helps"],
                rows=rows,
                caption=f"Test scores, means over seeds{order}. A difference above 0 is for "
                "sharing, also where less of a score is better.",
            )
        ],
    )


def _several(count: int) -> str:
    """What a reader of bars should know where verdicts are corrected for being several."""
    if count < 2:
        return ""
    return (
        f"; one that keeps clear of it may be chance, too, because of {count} tasks one strays: "
        "words are corrected for that, bars are not"
    )


def _candidates(study: Study, found: Verdicts) -> Iterator[Section]:
    """All that was tried: gains, scores, costs, and what the names mean."""
    shared = [row for row in found.rows if row.candidate.role != "alone"]
    shared.sort(key=lambda r: -(r.gain.mean if r.gain else -math.inf))
    alone = [row for row in found.rows if row.candidate.role == "alone"]
    names = {
        row.candidate.name: f"{row.candidate.name} ({number})"
        + (" ← spoken of" if row is found.chosen else "")
        for number, row in enumerate(shared, 1)
    }
    yield Section(
        heading="All ways that were tried",
        text=balancing_sentence(found),
        figures=list(_figures(shared, found.looks)),
        tables=[
            _gains(shared, names),
            *_scores(study, shared, alone, names),
            _costs(shared, alone, names),
            _meanings(study),
        ],
    )


def _gains(shared: Sequence[Row], names: Mapping[str, str]) -> Table:
    rows: list[list[Cell]] = []
    for row in shared:
        gain: list[Cell] = [None] * 3
        if row.gain is not None:
            gain = [100 * v for v in (row.gain.mean, row.gain.low, row.gain.high)]
        validated = None if row.validation is None else 100 * row.validation
        rows.append([names[row.candidate.name], *gain, validated, helped(row)])
    return Table(
        columns=["way to share", "mean gain, %", "from", "to", "on validation rows, %", "verdicts"],
        rows=rows,
        caption="Mean gain over every task alone in percent, means over seeds. A verdict is "
        "corrected for the tasks of its way to share, not for the number of ways.",
        digits=3,
    )


def _scores(
    study: Study, shared: Sequence[Row], alone: Sequence[Row], names: Mapping[str, str]
) -> Iterator[Table]:
    """Test scores of each task, where they fit; those of the tasks alone are one row."""
    tasks, metrics = list(study.config.tasks), study.facts["scores"]
    if len(tasks) > WIDEST:
        return
    rows: list[list[Cell]] = [
        [
            names[row.candidate.name],
            *(row.tasks[n].score if n in row.tasks else None for n in tasks),
            row.rank,
        ]
        for row in shared
    ]
    single = {row.candidate.tasks[0]: row for row in alone}
    rows.append([ALONE, *(single[n].tasks[n].score for n in tasks), single[tasks[0]].rank])
    yield Table(
        columns=["way to train", *(f"{n} {metrics[n]}" for n in tasks), "mean rank"],
        rows=rows,
        caption="Test scores, means over seeds. The rank is the mean over tasks, among ways to "
        "share all tasks and the set of single models.",
    )


def _costs(shared: Sequence[Row], alone: Sequence[Row], names: Mapping[str, str]) -> Table:
    rows: list[list[Cell]] = [
        [names[row.candidate.name], row.parameters, 1000 * row.step_seconds, len(row.seeds)]
        for row in shared
    ]
    rows.append(
        [
            f"{ALONE} ({plural(len(alone), 'network')})",
            sum(row.parameters for row in alone),
            1000 * sum(row.step_seconds for row in alone),
            min(len(row.seeds) for row in alone),
        ]
    )
    return Table(
        columns=["way to train", "parameters", "ms per step", "seeds that finished"],
        rows=rows,
        caption="What each costs: parameters, and milliseconds per step of training, validation "
        "included. Tasks alone are counted together: all their networks, and a step of each.",
    )


def _meanings(study: Study) -> Table:
    """What the names of ways to share and of balancers mean, from their own descriptions."""
    own = study.config
    kinds: dict[str, type] = {
        spec.chosen: TRUNKS[spec.chosen] for spec in (study.compare.sharing or (own.trunk,))
    }
    kinds["equal"] = BALANCERS["equal"]
    for spec in study.compare.balancing or (own.balancer,):
        kinds[spec.chosen] = BALANCERS[spec.chosen]
    rows: list[list[Cell]] = [[name, described(kind)] for name, kind in kinds.items()]
    rows.append(["tuned weights", "Fixed weights of the tasks, the best that were drawn."])
    if study.compare.frozen:
        rows.append(["frozen ...", "The last weights of a balancer, fixed from the start."])
    return Table(columns=["name", "what it is"], rows=rows, caption="What the names mean.")


def described(kind: type) -> str:
    """What a class is: the beginning of its description."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _figures(shared: Sequence[Row], looks: int) -> Iterator[Drawing]:
    measured = [(number, row) for number, row in enumerate(shared, 1) if row.gain is not None]
    if not measured:
        return
    gains = [row.gain for _, row in measured if row.gain is not None]
    said = verdicts(gains, looks=looks)
    some = f" Drawn: the best {DRAWN} of {len(gains)}." if len(gains) > DRAWN else ""
    yield forest(
        [
            (f"{row.candidate.name} ({number})", d, word)
            for (number, row), d, word in list(zip(measured, gains, said, strict=True))[:DRAWN]
        ],
        name="candidates",
        alt="Mean gain of each way to share over every task alone, with 95 % intervals.",
        caption="Mean gain over the tasks, against every task alone, with its 95 % interval. Words "
        "are corrected for the number of ways: of many, one strays from 0 by luck, so a bar may "
        f"keep clear of the line and nothing be told. Numbers are those of the tables.{some}",
        x="mean gain on test rows",
        relative=True,
    )
    if len(measured) < 2:
        return
    yield costs(
        [(n, 1000 * row.step_seconds, d.mean) for (n, row), d in zip(measured, gains, strict=True)],
        name="cost",
        alt="Milliseconds per training step against the mean gain of each way to share.",
        caption="Up and to the left is better; the line joins the ways (round, green) that no "
        "other one beats in both. Numbers are those of the tables.",
        x="milliseconds per step",
        y="mean gain",
    )


def _learning(study: Study, found: Verdicts) -> Iterator[Section]:
    """Validation scores by epoch, the chosen way to share and every task alone."""
    if found.chosen is None:
        return
    alone = {row.candidate.tasks[0]: row for row in found.rows if row.candidate.role == "alone"}
    panels = {}
    for task in [r.task for r in telling(found.chosen.tasks.values())][:WIDEST]:
        both = {"shared": found.chosen, "alone": alone[task]}
        panels[f"{task}: {study.facts['scores'][task]}"] = [
            Line(label, ys, dashed=label == "alone")
            for label, row in both.items()
            if (ys := _curve(study, row, task))
        ]
    drawing = lines(
        panels,
        name="learning",
        alt="Validation scores by epoch, shared and alone.",
        caption=f"Validation scores, means over seeds: {found.chosen.candidate.name}, and every "
        "task alone (dashed).",
        x="epoch",
        y="score",
        columns=3,
    )
    yield Section(heading="Learning", figures=[drawing])


def _curve(study: Study, row: Row, task: str) -> list[float | None]:
    """The mean over seeds of a task's validation score, by epoch."""
    metric = study.facts["scores"][task]
    runs = [
        [line["scores"][task][metric] for line in Run.open(folder).history()]
        for seed in row.seeds
        if (folder := study.runs / study.plan.folder(row.candidate, seed)).exists()
    ]
    length = min((len(run) for run in runs), default=0)
    known = [[run[epoch] for run in runs if run[epoch] is not None] for epoch in range(length)]
    return [float(np.mean(values)) if values else None for values in known]


def _ran(study: Study, found: Verdicts) -> Section:
    """What was trained, what failed, what was warned of."""
    compare = study.compare
    seconds = sum(o.seconds for row in found.rows for o in row.outcomes.values())
    count = sum(o.status == "finished" for row in found.rows for o in row.outcomes.values())
    budget = {
        "examples": "models of fewer tasks saw as many examples of each of their tasks",
        "steps": "models of fewer tasks took as many steps, with whole batches of their tasks",
        "time": "all got the same time of training, in whole epochs (steps were timed beforehand)",
    }[compare.budget]
    trials = study.plan.trial_count
    text = (
        f"{plural(count, 'training')} of compared candidates finished, {duration(seconds)} in all "
        f"(validation included); seeds {', '.join(map(str, compare.seeds))}. Budget: {budget}. "
        f"For each way to share {plural(trials, 'set')} of fixed weights were tried with seed "
        f"{compare.seeds[0]} and compared with equal weights; where none was better, equal weights "
        "stand for tuned ones."
    )
    if (study.path / CHOICE).exists():
        text += f" The test part was opened {study.choose()['opened']}."
    for seeds in study.added:
        text += (
            f" Added after a look at it: {plural(len(seeds), 'seed')} "
            f"({', '.join(map(str, seeds))}). The choice, searched and frozen weights stayed."
        )
    rows: list[list[Cell]] = [
        [row.candidate.name, seed, outcome.status, said]
        for row in found.rows
        for seed, outcome in row.outcomes.items()
        for said in ([outcome.reason] if outcome.status == "failed" else outcome.warnings)
    ]
    columns = ["candidate", "seed", "how it went", "what was said"]
    tables = [Table(columns=columns, rows=rows, caption="Failures and warnings.")] if rows else []
    return Section(
        heading="What ran, and what failed",
        text=text if rows else f"{text} Nothing failed.",
        tables=tables,
    )
