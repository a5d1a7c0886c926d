"""Earlier runs that teach a training, and what has to be the same in them."""

from typing import Any

from polytask.config.build import blaming, build_lessons
from polytask.config.schema import Config
from polytask.data.dataset import Prepared
from polytask.data.inputs import Input, MediaInput
from polytask.data.splits import held_out_and_seen
from polytask.distillation import Teacher, Teaching
from polytask.errors import ConfigError, RunError
from polytask.model import MultiTaskModel
from polytask.run import Run
from polytask.workflow.judging import best_model
from polytask.workflow.watching import Watcher

# The file of a run that says who taught it.
TEACHERS = "teachers.json"


def make_teaching(
    config: Config, model: MultiTaskModel, prepared: Prepared
) -> tuple[Teaching | None, list[dict[str, Any]]]:
    """The teachers of a configuration, and for the record their runs with the weights' hashes.

    Raises:
        ConfigError: If a teacher does not fit the training's tasks or inputs.
    """
    teachers: list[Teacher] = []
    record: list[dict[str, Any]] = []
    for number, lesson in enumerate(build_lessons(config)):
        run = Run.open(lesson.run)
        teacher, inputs, tasks = best_model(run)
        with blaming("teachers", number):
            teachers.append(Teacher(teacher, tasks, model, prepared.tasks, lesson))
            for name in {task.input for task in teachers[-1].tasks.values()}:
                require_same_input(name, prepared.inputs[name], inputs[name])
        record.append(
            {
                "run": str(run.path.absolute()),
                "weights": run.fingerprint(),
                "tasks": teachers[-1].weights,
            }
        )
    return (Teaching(teachers) if teachers else None), record


def warn_of_leaks(prepared: Prepared, earlier: Run, watcher: Watcher) -> None:
    """Say so where a run that this one builds on has learned from rows that are held out here."""
    fingerprints = {name: d.table.fingerprint for name, d in prepared.datasets.items()}
    for name, count in held_out_and_seen(prepared.parts, fingerprints, *earlier.parts()).items():
        watcher.warn(
            f"{count:,} validation or test rows of '{name}' were training rows of "
            f"'{earlier.path}', so scores on them will flatter. Give both the same seed and split."
        )


def require_same_input(name: str, ours: Input, theirs: Input) -> None:
    """Raise unless an input's raw values mean the same to a student and its teacher."""

    def facts(some: Input) -> Any:
        return some.settings if isinstance(some, MediaInput) else some.state

    if type(ours) is not type(theirs) or facts(ours) != facts(theirs):
        raise ConfigError(
            f"The input '{name}' has other values in the teacher's run: {facts(theirs)} there, "
            f"{facts(ours)} here. Give it the same settings, or start this training with --from "
            "the teacher's run."
        )


def require_same_teachers(run: Run, found: list[dict[str, Any]]) -> None:
    """Raise if a stopped run had teachers with other weights."""
    known = run.read_json(TEACHERS)
    for before, now in zip(known, found, strict=True):
        if before["weights"] != now["weights"]:
            raise RunError(
                f"The weights of the teacher '{now['run']}' have changed since this training "
                "began. Bring them back, or train anew."
            )
