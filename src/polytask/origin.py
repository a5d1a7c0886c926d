"""The run that a training starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polytask.data.inputs import Input
from polytask.data.tabular import TableInput
from polytask.errors import DataError, RunError
from polytask.model import MultiTaskModel
from polytask.run import Run, restored
from polytask.tasks.base import Task
from polytask.transfer import Start, begins, continued, start_from

RECORD = "start.json"


@dataclass(frozen=True)
class Origin:
    """A run whose weights, labels and scales a training goes on from.

    Attributes:
        run: The run.
        fresh: Beginnings of parameters' names that start anew though they would fit, such as
            `heads.color`; a task's head or an input's encoder named so is fitted anew as well.
        known: The hash that its weights should have; None takes any.
    """

    run: Run
    fresh: tuple[str, ...] = ()
    known: str | None = None

    @classmethod
    def of(cls, run: Run) -> "Origin | None":
        """What a run says that it started from; None if from nothing."""
        if not (run.path / RECORD).exists():
            return None
        said = run.read_json(RECORD, needs=("run", "weights", "fresh"))
        return cls(Run.open(Path(said["run"])), tuple(said["fresh"]), said["weights"])

    @cached_property
    def fitted(self) -> tuple[dict[str, Input], dict[str, Task]]:
        """Inputs and tasks of the run, by name."""
        inputs, tasks = restored(self.run)
        return inputs, {task.name: task for task in tasks}

    def keep_inputs(self, inputs: Mapping[str, Input]) -> list[str]:
        """Let inputs of the same name and kind stay as they were fitted.

        Returns:
            Their names.

        Raises:
            DataError: If a table's columns are others.
        """
        kept = []
        for name, some in inputs.items():
            before = self.fitted[0].get(name)
            if type(some) is not type(before) or begins(f"encoders.{name}", self.fresh):
                continue
            assert before is not None
            if isinstance(some, TableInput):
                here = next(iter(some.columns.values()))
                there = [column["name"] for column in before.state["columns"]]
                if here != there and not any("*" in name for name in here):
                    raise DataError(
                        f"inputs.{name} should have the columns of the run to start from: "
                        f"{', '.join(there)}. Found {', '.join(here)}. Or let it begin anew with "
                        f"--fresh encoders.{name}."
                    )
            some.load_state(before.state)
            kept.append(name)
        return kept

    def adjust(self, declared: Task, fitted: Task) -> Task:
        """A task with the run's labels and scales, if the run has it."""
        before = self.fitted[1].get(declared.name)
        if type(before) is not type(fitted) or begins(f"heads.{declared.name}", self.fresh):
            return fitted
        assert before is not None
        return continued(declared, fitted, before)

    def give_to(self, model: MultiTaskModel, tasks: tuple[Task, ...]) -> Start:
        """Copy what fits into a model.

        Raises:
            RunError: If a part has another shape, or the run has changed since it was recorded.
        """
        if self.known is not None and self.run.fingerprint() != self.known:
            raise RunError(
                f"The weights of '{self.run.path}' have changed since this training started from "
                "them. Bring them back, or train anew."
            )
        weights = self.run.weights()
        return start_from(model, weights, tasks, self.fitted[1].values(), fresh=self.fresh)

    def record(self, run: Run, start: Start) -> None:
        """Write into a run what it started from."""
        run.write_json(
            RECORD,
            {
                "run": str(self.run.path.absolute()),
                "weights": self.run.fingerprint(),
                "fresh": list(self.fresh),
                **{f"parts_{key}": names for key, names in start.as_dict().items()},
            },
        )
