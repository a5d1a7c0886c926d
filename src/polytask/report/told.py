"""The verdict on a run: what it reached, how training went, and what to mind."""

from typing import Any

from polytask.config.build import build_settings
from polytask.report.judged import Judged, bins, calibration_error, confidences
from polytask.report.seen import Seen
from polytask.report.words import listed
from polytask.run import Run
from polytask.tasks import Task
from polytask.training.history import kept, told_epochs

# A confidence that strays further than this from being right is worth a sentence.
HONEST = 0.05


def verdict(run: Run, history: list[dict[str, Any]], seen: Seen) -> str:
    """What the run reached, in a few sentences that claim no more than was measured."""
    told = {}
    for task in seen.prepared.tasks:
        if task.name in seen.scores:
            value, low, high = seen.scores[task.name]
            ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
            told[task.name] = f"{task.name} {seen.metric(task)[0]} {value:.3f}{ends}"
    texts, shown = list(told.values()), ""
    if len(told) > 6:
        texts = [told[name] for name in (*seen.ranked[:2], *seen.ranked[-2:])]
        shown = f"{len(told)} tasks were scored; the best two and the last two: "
    first = (
        f"On the {seen.part} part: {shown}{', '.join(texts)}."
        if told
        else (f"No task has a score on the {seen.part} part.")
    )
    second = {
        "test": "The test part was not used to choose anything.",
        "validation": "The weights were chosen on this part, so the scores flatter a little; the "
        "test part has not been looked at (polytask evaluate does).",
        "train": "There is no validation part: these rows were learned from, so the scores say "
        "nothing about new ones.",
    }[seen.part]
    return f"{first}\n\n{second}\n\n{' '.join(_course(run, history, seen))}"


def _course(run: Run, history: list[dict[str, Any]], seen: Seen) -> list[str]:
    """How training went, and what to mind."""
    found = []
    if history:
        planned = build_settings(run.config).epochs
        weights = kept(history)
        best, own = (0, {}) if weights is None else (weights[0]["epoch"], weights[1])
        done = history[-1]["epoch"]
        told = told_epochs(best, own)
        text = f"Trained for {done} of {planned} epochs; the weights are of {told}."
        if min(own.values(), default=best) == planned:
            text += " The last epoch was the best: a longer training may reach more."
        found.append(text)
    found += _confidence(seen)
    weak = [
        task.name
        for task in seen.prepared.tasks
        if seen.metric(task)[0] == task.score and _no_better(task, seen.tasks.get(task.name))
    ]
    if weak:
        found.append(f"No better than always giving the commonest answer: {listed(weak)}.")
    return found


def _confidence(seen: Seen) -> list[str]:
    """Of which tasks confidence says too much or too little."""
    high: list[str] = []
    low: list[str] = []
    for task in seen.tasks.values():
        pair = confidences(task)
        if pair is not None and calibration_error(bins(*pair)) > HONEST:
            sure, right = pair
            too_sure = float(sure.mean()) > float(right.float().mean())
            (high if too_sure else low).append(task.task.name)
    found = []
    if high:
        found.append(f"More confident than right, on average: {listed(high)}.")
    if low:
        found.append(f"More often right than their confidence says: {listed(low)}.")
    return found


def _no_better(task: Task, of: Judged | None) -> bool:
    """Whether a task has an accuracy that the commonest class alone would reach."""
    if of is None:
        return False
    metrics = task.metrics()
    if not {"accuracy", "majority"} <= set(metrics.keys()):
        return False
    metrics.update(of.decoded, of.target)
    values = metrics.compute()
    return float(values["accuracy"]) <= float(values["majority"])
