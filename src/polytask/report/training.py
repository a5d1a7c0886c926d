"""The page about one run: what it reached, how it got there, and what it rests on."""

from collections.abc import Callable, Sequence
from typing import Any

from polytask.model import MultiTaskModel
from polytask.report.amounts import amounts, remarks
from polytask.report.charts import Line, bars, intervals, lines, reliability, scatters
from polytask.report.figures import Drawing
from polytask.report.heats import Heat, heats
from polytask.report.judged import (
    bins,
    calibration_error,
    confidences,
    confusion,
    most_confused,
)
from polytask.report.page import Cell, Page, Section, Table, number
from polytask.report.seen import Seen, see
from polytask.report.told import verdict
from polytask.run import Run
from polytask.tasks import Regression, Task
from polytask.workflow import make_stream

# Classes of a confusion matrix that is drawn; of larger ones the worst mistakes are listed.
DRAWN = 30


def report_run(run: Run, progress: Callable[[int, int, str], None] | None = None) -> Page:
    """The page about a run.

    Predicts the test part if `polytask evaluate` has scored it, else the validation part: a report
    never opens the test part by itself.

    Args:
        run: The run; it has weights.
        progress: Told about decoding.

    Raises:
        PolytaskError: If the run has no weights, or its data is no longer there.
    """
    seen = see(run, progress)
    history = run.history()
    sections = [
        _scores(seen),
        *([_learning(history, seen)] if history else []),
        *_mistakes(seen),
        *_calibration(seen),
        _data(run, seen),
        _cost(run, history, seen.models),
        _settings(run),
    ]
    return Page(
        title=f"Run {run.path.name}",
        lead=verdict(run, history, seen),
        sections=sections,
        footer=f"Made by polytask report {run.path} from what lies in that folder and its data.",
    )


def _scores(seen: Seen) -> Section:
    rows: list[list[Cell]] = []
    by_score: dict[str, list[tuple[str, float, float | None, float | None]]] = {}
    marks: dict[str, list[float | None]] = {}
    shown = {task.name for task in seen.drawn}
    for task in _best_first(seen):
        of, score = seen.tasks.get(task.name), seen.metric(task)[0]
        if task.name not in seen.scores:
            rows.append([task.name, score, None, None, None, None, None])
            continue
        value, low, high = seen.scores[task.name]
        common = None
        own = score == task.score  # what the commonest class has is an accuracy
        if own and of is not None and "majority" in set(task.metrics().keys()):
            metric = task.metrics()["majority"]
            metric.update(of.decoded, of.target)
            common = float(metric.compute())
        count = None if of is None else len(of.target)
        rows.append([task.name, score, value, low, high, common, count])
        if task.name in shown:
            by_score.setdefault(score, []).append((task.name, value, low, high))
            marks.setdefault(score, []).append(common)
    figures = [
        intervals(
            some,
            name=f"scores-{score}",
            alt=f"{score} of {', '.join(row[0] for row in some)} with 95 % intervals",
            caption=f"The {score} on the {seen.part} part; the bar is a 95 % interval"
            + (
                ", the upright line what the commonest class alone would give."
                if any(mark is not None for mark in marks[score])
                else "."
            ),
            x=score,
            marks=marks[score],
        )
        for score, some in by_score.items()
    ]
    text = (
        f"Each task's score on the {seen.part} part, over the examples that have its label. "
        "The interval is over examples: drawn again with replacement 200 times. It knows nothing "
        "of another seed's training."
    )
    judged_by = ((seen.metric(task)[0], task.score) for task in seen.prepared.tasks)
    chosen = sorted({metric for metric, own in judged_by if metric != own})
    if chosen:
        text += (
            f" Tasks that have {' and '.join(chosen)} are judged by it, as the epochs were "
            "(training.monitor)."
        )
    if len(shown) < len(seen.prepared.tasks):
        text += (
            f"\n\nFigures on this page show {len(shown)} tasks, those with the best and with the "
            f"last scores; tables have all {len(seen.prepared.tasks)}, this one from the best "
            "score to the last."
        )
    columns = ["task", "score", "value", "from", "to", "commonest class", "labels"]
    return Section(
        heading="Scores", text=text, figures=figures, tables=[Table(columns=columns, rows=rows)]
    )


def _best_first(seen: Seen) -> list[Task]:
    """The tasks in their order where all are drawn, else the best one first."""
    tasks = list(seen.prepared.tasks)
    if len(seen.drawn) == len(tasks):
        return tasks
    place = {name: rank for rank, name in enumerate(seen.ranked)}
    return sorted(tasks, key=lambda task: place.get(task.name, len(place)))


def _learning(history: list[dict[str, Any]], seen: Seen) -> Section:
    tasks = seen.drawn
    names = [task.name for task in tasks]

    def scored(task: str, metric: str) -> list[float | None]:
        return [(line["scores"].get(task) or {}).get(metric) for line in history]

    losses, curves = {}, {}
    for place, task in enumerate(tasks):
        own = [line["losses"].get(task.name) for line in history]
        losses[task.name] = [Line("train", own, dashed=True, place=place)]
        if any(value is not None for value in scored(task.name, "loss")):
            losses[task.name].append(Line("validation", scored(task.name, "loss"), place=place))
        metric = seen.metric(task)[0]
        if any(value is not None for value in scored(task.name, metric)):
            curves[task.name] = [Line(metric, scored(task.name, metric), place=place)]
    figures = [
        lines(
            losses,
            name="losses",
            alt=f"Losses of {', '.join(names)} by epoch",
            caption="Mean loss over labelled examples: of training (dashed, with augmentation and "
            "dropout, while weights moved) and of validation after each epoch. Validation that "
            "rises while training falls is learning by heart.",
            x="epoch",
            y="loss",
            columns=3,
        )
    ]
    if curves:
        figures.append(
            lines(
                curves,
                name="validation-scores",
                alt=f"Validation scores of {', '.join(curves)} by epoch",
                caption="Each task's score on the validation part after each epoch.",
                x="epoch",
                y="score",
                columns=3,
            )
        )
    given = [v for line in history for v in (line.get("weights") or {}).values() if v is not None]
    text = "The balancer gave no weights that the history could keep."
    if given and max(given) - min(given) < 1e-3:
        text = f"The balancer's weight was {given[0]:.3f} for every task in every epoch."
    elif given:
        text = ""
        weights = [
            Line(name, [(line.get("weights") or {}).get(name) for line in history])
            for name in names
        ]
        figures.append(
            lines(
                {"task weights": weights},
                name="weights",
                alt="The balancer's weights by epoch",
                caption="The balancer's weights, mean of each epoch; 1 is equal weighting.",
                x="epoch",
                y="weight",
            )
        )
    return Section(heading="Learning", text=text, figures=[*figures, *_drawn(history)])


def _drawn(history: list[dict[str, Any]]) -> list[Drawing]:
    """What a mixing did whose shares change from epoch to epoch."""
    counts = [line.get("drawn") or {} for line in history]
    sources = list(dict.fromkeys(source for by in counts for source in by))
    if not sources:
        return []
    own = [Line(source, [by.get(source) for by in counts]) for source in sources]
    return [
        lines(
            {"examples of sources": own},
            name="drawn",
            alt=f"Examples of {', '.join(sources)} by epoch",
            caption="How many examples of each source an epoch had.",
            x="epoch",
            y="examples",
        )
    ]


def _mistakes(seen: Seen) -> list[Section]:
    matrices = {}
    for name, of in seen.tasks.items():
        found = confusion(of)
        if found is not None:
            matrices[name] = found
    shown = {task.name for task in seen.drawn}
    points = {
        name: (of.target.flatten()[:2000].tolist(), of.decoded.flatten()[:2000].tolist())
        for name, of in seen.tasks.items()
        if name in shown and isinstance(of.task, Regression)
        if of.target.numel() == of.decoded.numel()
        if bool(of.target.flatten()[:2000].isfinite().all())
    }
    figures: list[Drawing] = []
    for name, (counts, names) in matrices.items():
        if name not in shown or len(names) > DRAWN:
            continue
        shares = [[n / max(sum(row), 1) for n in row] for row in counts]
        figures.append(
            heats(
                {name: Heat(shares, names, names)},
                name=f"confusion-{name}",
                alt=f"Confusion matrix of {name}",
                caption="A row is a true class and adds up to 1; a column is what was answered.",
                low=0.0,
                high=1.0,
                x="answer",
                y="truth",
            )
        )
    if points:
        figures.append(
            scatters(
                points,
                name="predicted",
                alt=f"Predictions against labels of {', '.join(points)}",
                caption="Each point is an example (at most 2,000); on the line a prediction is "
                "right.",
                x="label",
                y="prediction",
            )
        )
    worst = most_confused(matrices)
    tables = []
    if worst:
        columns = ["task", "truth", "answer", "examples", "share of the truth"]
        tables = [Table(columns=columns, rows=worst, caption="The most frequent mistakes.")]
    if not figures and not tables:
        return []
    return [Section(heading="Mistakes", figures=figures, tables=tables)]


def _calibration(seen: Seen) -> list[Section]:
    panels: dict[str, list[tuple[float, float, int]]] = {}
    shown = {task.name for task in seen.drawn}
    rows: list[list[Cell]] = []
    for name, of in seen.tasks.items():
        pair = confidences(of)
        if pair is None:
            continue
        sure, right = pair
        groups = bins(sure, right)
        error = calibration_error(groups)
        if name in shown:
            panels[name] = groups
        rows.append([name, float(sure.mean()), float(right.float().mean()), error, len(sure)])
    if not rows:
        return []
    figures = []
    if panels:
        figures.append(
            reliability(
                panels,
                name="calibration",
                alt=f"Reliability of the confidence of {', '.join(panels)}",
                caption="On the dashed line confidence is honest; below it, too high. The larger a "
                "point, the more decisions.",
            )
        )
    columns = ["task", "mean confidence", "share right", "calibration error", "decisions"]
    text = (
        "The calibration error is how far confidence is from the share that is right, on average "
        "(ECE, 15 bins of equal width)."
    )
    return [
        Section(
            heading="Confidence",
            text=text,
            figures=figures,
            tables=[Table(columns=columns, rows=rows)],
        )
    ]


def _data(run: Run, seen: Seen) -> Section:
    summary = seen.prepared.summary()
    said = remarks(summary)
    if len(seen.prepared.parts["train"]) > 1:
        epoch, *notes = make_stream(run.config, seen.prepared, 0, 1).describe_epoch().split("\n")
        said.append(f"Sources share steps ({run.config.batches.mixing.chosen}): {epoch}.")
        said += notes
    shown = {task.name for task in seen.drawn}
    balance = {}
    for task, by in summary["classes"].items():
        counts = by.get("train", {})
        if task in shown and counts and len(counts) <= 40:
            total = max(sum(counts.values()), 1)
            balance[task] = {label: n / total for label, n in counts.items()}
    figures = []
    if balance:
        figures.append(
            bars(
                balance,
                name="classes",
                alt=f"Shares of the classes of {', '.join(balance)} in training rows",
                caption="The share of each class among the training rows that have the label.",
                x="share",
                columns=3,
                form="{:.0%}",
            )
        )
    return Section(
        heading="Data",
        text="\n\n".join(said),
        figures=figures,
        tables=[amounts(summary)],
    )


def _cost(run: Run, history: list[dict[str, Any]], models: Sequence[MultiTaskModel]) -> Section:
    shared = sum(p.numel() for p in models[0].shared_parameters())
    total = sum(p.numel() for p in models[0].parameters())
    rows: list[list[Cell]] = [
        ["parameters", f"{total:,}"],
        ["of them moved by several tasks", f"{shared:,}"],
    ]
    if len(models) > 1:
        rows.append(["sets of them, of different epochs, that answer", f"{len(models):,}"])
    if history:
        seconds, steps = history[-1]["seconds"], history[-1]["step"]
        rows += [
            ["steps", f"{steps:,}"],
            ["examples per step", f"{run.config.batches.size:,}"],
            ["seconds", number(seconds)],
            ["milliseconds per step", number(1000 * seconds / max(steps, 1))],
        ]
    text = (
        "Seconds include validation and saving between epochs, on the machine that is named below."
    )
    return Section(
        heading="Cost", text=text, tables=[Table(columns=["what", "how much"], rows=rows)]
    )


def _settings(run: Run) -> Section:
    facts = run.read_json("environment.json")
    rows: list[list[Cell]] = [
        [key, " ".join(map(str, value)) if isinstance(value, list) else str(value)]
        for key, value in facts.items()
    ]
    return Section(
        heading="Settings and versions",
        tables=[Table(columns=["what", "value"], rows=rows)],
        code=(run.path / "config.yaml").read_text(encoding="utf-8"),
    )
