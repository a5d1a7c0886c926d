"""The page of a look inside of a run, and its numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from polytask.data.dataset import Prepared
from polytask.inspection.conflict import conflicts, sharers
from polytask.inspection.looking import looking
from polytask.inspection.sharing import sharing
from polytask.inspection.similarity import HEAD, similarities, streams
from polytask.model import MultiTaskModel
from polytask.own_best import own_epochs
from polytask.report.heats import Heat, heats
from polytask.report.page import Page, Section
from polytask.run import Run
from polytask.types import Batch
from polytask.workflow import best_model, evaluation_batch, reopen_data

BATCHES = 8  # of each source, for gradients
ROWS = 256  # examples whose features are compared
SMALL = 64  # examples of a batch whose gradients are compared

Tables = Mapping[str, Sequence[Sequence[float | None]]]


def inspect_run(
    run: Run, progress: Callable[[int, int, str], None] | None = None
) -> tuple[Page, dict[str, Any]]:
    """The page of a look inside, and its numbers as plain values.

    Looks at validation rows (training rows where there is no validation part), never at the test
    part. Computes in float32 on the processor.

    Args:
        run: The run; it has weights.
        progress: Told about decoding.

    Raises:
        PolytaskError: If the run has no weights, or its data is no longer there.
    """
    model, _, _ = best_model(run)
    prepared = reopen_data(run, progress)
    part = "validation" if prepared.parts.get("validation") else "train"
    tasks = [task.name for task in prepared.tasks]
    most = evaluation_batch(prepared.tasks)
    wide = examples(prepared, part, min(ROWS, most), 1)
    narrow = examples(prepared, part, min(SMALL, most), BATCHES)
    shared, numbers = sharing(model)
    numbers["sharers"] = sharers(model, narrow, prepared.tasks)
    alike = similar(model, wide, tasks)
    against = conflicts(model, narrow, prepared.tasks)
    looks, looked = looking(model, prepared, wide)
    sections = [shared, *_likeness(alike, tasks), *_conflict(against, tasks), *looks]
    page = Page(
        title=f"Inside of run {run.path.name}",
        lead=verdict(numbers, alike, against, tasks),
        sections=sections,
        footer=f"Made by polytask inspect {run.path} from rows of its {part} part. The numbers are "
        f"in inspection.json.{_whose(run)}",
    )
    found = {
        "part": part,
        "tasks": tasks,
        "sharing": numbers,
        "similarity": alike,
        "conflict": against,
        "attribution": looked,
    }
    return page, found


def _whose(run: Run) -> str:
    """Which weights a look inside is of, where that could be asked."""
    if not own_epochs(run):
        return ""
    return (
        " It is of the weights that are the best for all tasks together; each task answers with "
        "those of its own best epoch (training.keep)."
    )


def examples(prepared: Prepared, part: str, size: int, count: int) -> list[Batch]:
    """At most `count` batches of each source, their rows evenly spaced over the part; smaller
    batches (of 8 at least) where there are few rows."""
    found = []
    for source, rows in prepared.parts[part].items():
        size = min(size, max(8, len(rows) // count))
        picked = rows[:: max(1, len(rows) // (size * count))][: size * count]
        found += [prepared.datasets[source].gather(some) for some in picked.split(size)]
    return found


def similar(model: MultiTaskModel, batches: Sequence[Batch], tasks: Sequence[str]) -> Tables:
    """CKA of each two tasks by stage, where the same rows were seen by both; of the first batch
    in which that is so."""
    merged: dict[str, list[list[float | None]]] = {}
    for batch in batches:
        rows: dict[str, Tensor] = {
            task: batch.rows[model.inputs[task]]
            for task in tasks
            if model.inputs[task] in batch.inputs
        }
        for name, table in similarities(streams(model, batch, tasks), rows, tasks).items():
            known = merged.setdefault(name, [[None] * len(tasks) for _ in tasks])
            for i, row in enumerate(table):
                for j, value in enumerate(row):
                    known[i][j] = value if known[i][j] is None else known[i][j]
    return dict(sorted(merged.items(), key=lambda pair: (pair[0] == HEAD, pair[0])))


def verdict(
    numbers: Mapping[str, Any], alike: Tables, against: Mapping[str, Any], tasks: Sequence[str]
) -> str:
    """What stands out, in a few sentences."""
    several = sum(part["shared"] for part in numbers["parameters"].values())
    total = several + sum(part["private"] for part in numbers["parameters"].values())
    share = several / max(total, 1)
    apart = [task for task in tasks if several and task not in numbers["sharers"]]
    count = f"{len(tasks) - len(apart)} of {len(tasks)}" if apart else f"{len(tasks)}"
    found = [
        f"{count} tasks share {share:.0%} of {total:,} parameters ({numbers['topology']})"
        + (f"; {', '.join(apart)}: none of them." if apart else ".")
    ]
    if len(tasks) < 2:
        return "One task: nothing is shared with anybody, so there is nobody to compare it with."
    pairs = [
        (value, tasks[i], tasks[j])
        for i, row in enumerate(alike.get(HEAD, ()))
        for j, value in enumerate(row)
        if i < j and value is not None
    ]
    if pairs and min(pairs)[0] > 0.999:
        found.append("All compared heads read the same features, or nearly so (CKA 1.00).")
    elif pairs:
        most, least = max(pairs), min(pairs)
        found.append(
            f"The features that heads read are most alike for {most[1]} and {most[2]} (CKA "
            f"{most[0]:.2f})"
            + (f", least for {least[1]} and {least[2]} ({least[0]:.2f})." if most != least else ".")
        )
    rates = [
        (of["negative"][i][j], layer, tasks[i], tasks[j], of["batches"][i][j])
        for layer, of in against.items()
        for i in range(len(tasks))
        for j in range(i + 1, len(tasks))
        if of["negative"][i][j] is not None
    ]
    if rates:
        worst = max(rates)
        found.append(
            f"Gradients disagree most often in {worst[1]}, between {worst[2]} and {worst[3]}: in "
            f"{worst[0]:.0%} of {worst[4]} batches."
            if worst[0] > 0
            else "No two tasks' gradients disagreed in any layer and batch that was looked at."
        )
    elif not against:
        found.append("No parameter is moved by two tasks, so gradients cannot conflict.")
    if numbers["unused_experts"]:
        found.append(f"Unused experts: {', '.join(numbers['unused_experts'])}.")
    return " ".join(found)


def _likeness(alike: Tables, tasks: Sequence[str]) -> list[Section]:
    panels = {
        name: Heat(table, tasks, tasks)
        for name, table in alike.items()
        if any(value is not None for row in table for value in row)
    }
    if not panels or len(tasks) < 2:
        return []
    figure = heats(
        panels,
        name="similarity",
        alt="Similarity of the tasks' features by stage",
        caption="CKA of the features of two tasks for the same validation examples; 1 is the same "
        "up to rotation and scale, 0 is unrelated. A dash: not comparable (other rows).",
        low=0.0,
        high=1.0,
    )
    text = (
        "Linear CKA, with the unbiased estimator, of features averaged over pixels or frames. "
        "Where tasks read one stream it is 1 by construction. Of experts, before they are mixed, a "
        "task's features are all that it reads, each expert's times the weight of the task's gate."
    )
    return [Section(heading="How alike the tasks' features are", text=text, figures=[figure])]


def _conflict(against: Mapping[str, Any], tasks: Sequence[str]) -> list[Section]:
    if not against or len(tasks) < 2:
        return []
    pairs = [(i, j) for i in range(len(tasks)) for j in range(i + 1, len(tasks))]
    if len(pairs) > 24:  # the pairs that disagree most
        pairs = sorted(pairs, key=lambda pair: _mean_cosine(against, *pair))[:24]
    rows = [f"{tasks[i]}, {tasks[j]}" for i, j in pairs]
    layers = list(against)

    def table(what: str) -> list[list[float | None]]:
        return [[against[layer][what][i][j] for layer in layers] for i, j in pairs]

    figures = [
        heats(
            {"mean cosine": Heat(table("cosine"), rows, layers)},
            name="conflict-cosine",
            alt="Mean cosine of each two tasks' gradients by layer",
            caption="Red: the tasks want the same of this layer; blue: the opposite. A dash: no "
            "batch had labels of both, or a layer is not moved by both.",
            signed=True,
            low=-1.0,
            high=1.0,
        ),
        heats(
            {"below zero": Heat(table("negative"), rows, layers)},
            name="conflict-rate",
            alt="How often each two tasks' gradients disagree, by layer",
            caption="In how many of the batches the cosine was below zero.",
            low=0.0,
            high=1.0,
            form="{:.0%}",
        ),
    ]
    text = (
        f"Gradients of the tasks' losses on at most {BATCHES} batches of {SMALL} examples of each "
        "source, of shared parameters, by where these are. The network is as in evaluation; with "
        "few batches, rates are rough."
    )
    if len(rows) == 24:
        text += " Of many pairs, the 24 that disagree most are shown; all are in inspection.json."
    return [Section(heading="Where gradients conflict", text=text, figures=figures)]


def _mean_cosine(against: Mapping[str, Any], i: int, j: int) -> float:
    known = [of["cosine"][i][j] for of in against.values() if of["cosine"][i][j] is not None]
    return sum(known) / len(known) if known else 1.0
