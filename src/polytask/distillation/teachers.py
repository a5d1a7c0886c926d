"""Frozen teachers, and what they say of a batch.

Shapes: B examples, T tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from polytask.distillation.agreement import (
    SOFT_LOSSES,
    as_label,
    feature_distance,
    filled,
    in_terms_of,
)
from polytask.errors import ConfigError, nearest
from polytask.model import Boundary, MultiTaskModel
from polytask.tasks import Task
from polytask.types import Batch, ByName, Features


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A frozen run to learn from.

    Attributes:
        run: The teacher's run.
        tasks: Per task that it teaches the weight of its loss; empty: every task that it has, with
            weight 1.
        weight: The factor of all of its losses.
        temperature: Divides logits before they are compared.
        match: What is matched: `logits`, or pooled `features` of the trunk through a learned linear
            adaptor per task.
        fill_missing: Whether its prediction stands in where a label is absent.
        anneal: Whether learning goes from the teacher alone, linearly, to the labels alone.
    """

    run: Path
    tasks: dict[str, float] = field(default_factory=dict)
    weight: float = 1.0
    temperature: float = 2.0
    match: Literal["logits", "features"] = "logits"
    fill_missing: bool = False
    anneal: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"`temperature` should be above 0. Found {self.temperature}.")
        if not min([self.weight, *self.tasks.values()]) >= 0:
            raise ConfigError(f"Weights should be at least 0. Found {self.weight}, {self.tasks}.")


class Teacher(nn.Module):
    """A frozen model, and for which tasks of a student it speaks.

    Args:
        model: The teacher's model; from here on it never learns.
        tasks: Its tasks, fitted.
        student: The student's model.
        students: The student's tasks, fitted.
        lesson: What it teaches and how.

    Raises:
        ConfigError: If a task is not the teacher's, or reads another input there.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        tasks: Sequence[Task],
        student: MultiTaskModel,
        students: Sequence[Task],
        lesson: Lesson,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.lesson = lesson
        known, ours = ({task.name: task for task in some} for some in (tasks, students))
        names = list(lesson.tasks) or [name for name in ours if name in known]
        for name in names or ["(none)"]:
            for some, who in ((known, "The teacher"), (ours, "This training")):
                if name not in some:
                    raise ConfigError(f"{who} has no task '{name}'. {nearest(name, some)}")
            if ours[name].input != known[name].input:
                raise ConfigError(
                    f"Task '{name}' reads the input '{ours[name].input}', and "
                    f"'{known[name].input}' in its teacher. Inputs are matched by name."
                )
        self.tasks = {name: ours[name] for name in names}
        self.weights = {name: lesson.weight * lesson.tasks.get(name, 1.0) for name in names}
        self.translate = {name: in_terms_of(ours[name], known[name]) for name in names}
        widths = {n: (student.trunk.out_features[n], model.trunk.out_features[n]) for n in names}
        matched = names if lesson.match == "features" else []
        self.adaptors = ByName({name: nn.Linear(*widths[name]) for name in matched})

    def train(self, mode: bool = True) -> Self:
        """The teacher stays as in evaluation."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Per task that it teaches here its output in the student's terms, and pooled features."""
        here = [name for name, task in self.tasks.items() if task.input in batch.inputs]
        inputs = {self.tasks[n].input: batch.inputs[self.tasks[n].input] for n in here}
        boundary = Boundary()
        outputs = self.model(inputs, here, boundary) if here else {}
        said = {}
        for name in here:
            seen = None
            if self.lesson.match == "features":
                values, mask = boundary.features[name], boundary.masks[name]
                seen = Features(values, mask).pooled().float()
            said[name] = (self.translate[name](outputs[name].float()), seen)
        return said

    def loss(
        self, name: str, said: tuple[Tensor, Tensor | None], output: Tensor, features: Features
    ) -> Tensor:
        """The weighted loss of every example of a task, `[B]`."""
        logits, seen = said
        if seen is None:
            compare = SOFT_LOSSES[type(self.tasks[name])]
            loss = compare(output.float(), logits, self.lesson.temperature)
        else:
            pooled = features.pooled().to(seen.dtype)
            loss = feature_distance(self.adaptors[name](pooled), seen)
        return loss * self.weights[name]


@dataclass(frozen=True)
class Lessons:
    """What all teachers say of one batch.

    Attributes:
        batch: The batch, with labels filled in.
        filled: Per task how many examples got a label.
        said: Per task, each teacher with what it says.
        progress: Share of the training that is done, in [0, 1].
    """

    batch: Batch
    filled: Mapping[str, Tensor]
    said: Mapping[str, Sequence[tuple[Teacher, tuple[Tensor, Tensor | None]]]]
    progress: float

    def rows(self, name: str) -> int:
        """The number of examples of which a task's teachers speak."""
        return len(self.said[name][0][1][0]) if name in self.said else 0

    def label_factor(self, name: str) -> float:
        """The factor of the loss on labels: below 1 while an annealing teacher leads."""
        leads = any(teacher.lesson.anneal for teacher, _ in self.said.get(name, ()))
        return self.progress if leads else 1.0

    def loss(self, name: str, output: Tensor, boundary: Boundary) -> Tensor:
        """The sum over a task's examples, labelled or not, of its teachers' losses.

        Annealing gives `p labels + (1 - p) teacher` at the share p of the training (Clark et al.
        2019).
        """
        features = Features(boundary.features[name], boundary.masks[name])
        total = output.new_zeros((), dtype=torch.float32)
        for teacher, said in self.said[name]:
            factor = 1.0 - self.progress if teacher.lesson.anneal else 1.0
            total = total + factor * teacher.loss(name, said, output, features).sum()
        return total


class Teaching(nn.Module):
    """All teachers of a training; their adaptors are what learns of it.

    Args:
        teachers: The teachers; of several that fill in a task's labels the first does.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)

    def adaptors(self) -> list[nn.Module]:
        """The modules that learn."""
        return [t.adaptors for t in self.teachers if isinstance(t, Teacher)]

    def forward(self, batch: Batch, progress: float) -> Lessons:
        """What the teachers say of a batch."""
        said: dict[str, list[tuple[Teacher, tuple[Tensor, Tensor | None]]]] = {}
        targets, present = dict(batch.targets), dict(batch.present)
        counts: dict[str, Tensor] = {}
        for teacher in self.teachers:
            assert isinstance(teacher, Teacher)
            for name, words in teacher(batch).items():
                said.setdefault(name, []).append((teacher, words))
                if teacher.lesson.fill_missing and name not in counts:
                    label = as_label(teacher.tasks[name], words[0])
                    targets[name], counts[name] = filled(targets[name], present[name], label)
                    present[name] = torch.ones_like(present[name])
        return Lessons(replace(batch, targets=targets, present=present), counts, said, progress)
