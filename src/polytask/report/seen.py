"""What a run predicts for one of its parts, and how well."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from polytask.config.build import build_settings
from polytask.data.dataset import Prepared
from polytask.evaluation.units import score_of
from polytask.model import MultiTaskModel
from polytask.own_best import EachAtItsBest
from polytask.report.judged import Judged, interval, judged
from polytask.run import Run
from polytask.tasks import Task
from polytask.training.history import compared_by, kept
from polytask.workflow import Part, answering_model, as_in_training, evaluation_batch, reopen_data

Score = tuple[float, float | None, float | None]

# Tasks that figures show; of more, the best and the last half as many each.
MOST = 24


@dataclass(frozen=True)
class Seen:
    """What is known of a run's predictions.

    Attributes:
        part: The part that was predicted.
        prepared: The data.
        models: The networks that answer: one, or one for each epoch that is the best of some task.
        tasks: Predictions per task.
        scores: Per task its score, with the ends of its interval.
        metrics: Per task the metric that this score is, where it is not the task's own: the one
            by which the run chose its epoch.
    """

    part: Part
    prepared: Prepared
    models: Sequence[MultiTaskModel]
    tasks: Mapping[str, Judged]
    scores: Mapping[str, Score]
    metrics: Mapping[str, tuple[str, bool]] = field(default_factory=dict)

    def metric(self, task: Task) -> tuple[str, bool]:
        """The metric that a task is judged by, and whether more of it is better."""
        return self.metrics.get(task.name, (task.score, task.higher_is_better))

    @cached_property
    def ranked(self) -> list[str]:
        """The tasks that have a score, the best one first, each by its own score."""
        better = {t.name: 1 if self.metric(t)[1] else -1 for t in self.prepared.tasks}
        return sorted(self.scores, key=lambda name: -better[name] * self.scores[name][0])

    @cached_property
    def drawn(self) -> list[Task]:
        """The tasks that figures show, in their order: all, or the best and the last of many."""
        tasks = self.prepared.tasks
        if len(tasks) <= MOST:
            return list(tasks)
        half = MOST // 2
        shown = {*self.ranked[:half], *self.ranked[-half:]}
        return [task for task in tasks if task.name in shown]


def see(run: Run, progress: Callable[[int, int, str], None] | None) -> Seen:
    """Predict a part with a run's best weights, computing as `polytask evaluate` does."""
    model, _, _ = answering_model(run)
    prepared = reopen_data(run, progress)
    known = run.read_json("scores.json") if (run.path / "scores.json").exists() else {}
    part: Part = "validation" if prepared.parts.get("validation") else "train"
    if "test" in known:
        part = "test"
    network, device = as_in_training(run, model)
    found = judged(network.eval(), prepared, part, evaluation_batch(prepared.tasks), device)
    best = kept(run.history())
    noted = known.get(part) or (best[0]["scores"] if best and part == "validation" else {})
    monitor = build_settings(run.config).monitor
    metrics = {task.name: compared_by(monitor, task) for task in prepared.tasks}
    scores: dict[str, Score] = {}
    for task in prepared.tasks:
        metric = metrics[task.name][0]
        value = (noted.get(task.name) or {}).get(metric)
        ends: tuple[float | None, float | None] = (None, None)
        if task.name in found:
            value = score_of(task, found[task.name].decoded, found[task.name].target, metric)
            ends = interval(found[task.name], metric=metric) or ends
        if value is not None:
            scores[task.name] = (value, *ends)
    models = model.models if isinstance(model, EachAtItsBest) else [model]
    return Seen(part, prepared, models, found, scores, metrics)
