"""Where a training is, and what its running epoch adds up to.

T tasks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from polytask.training.history import EpochRecord
from polytask.training.step import StepRecord
from polytask.types import Scores


@dataclass
class Progress:
    """What a resumed training needs besides weights: where it is, and what it has seen.

    Attributes:
        step: Steps done.
        best: The best monitored score so far.
        best_epoch: Its epoch, counted from 1.
        losses: Sums of `loss * count` of the running epoch, per task.
        counts: Labelled examples of the running epoch, per task.
        seconds: Time spent training, over all sittings.
        penalty: Sum of the trunk's penalties of the running epoch; None for a trunk without one.
        filled: Labels that teachers gave in the running epoch, per task; None without teachers.
        weights: Sums of the balancer's weights of the running epoch, per task; None without any.
        weighed: Of how many steps they are the sums, per task.
        idle: Steps of the running epoch whose batch had no label.
        own_best: With `keep: each`, the best score of each task so far; greater is better.
        own_epoch: Their epochs.
    """

    step: int
    best: float | None
    best_epoch: int
    losses: list[float]
    counts: list[int]
    seconds: float
    penalty: float | None = None
    filled: list[int] | None = None
    weights: list[float] | None = None
    weighed: list[int] | None = None
    idle: int = 0
    own_best: dict[str, float] = field(default_factory=dict)
    own_epoch: dict[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, tasks: int) -> "Progress":
        """Before the first step of T tasks."""
        return cls(0, None, 0, [0.0] * tasks, [0] * tasks, 0.0)

    def add(self, record: StepRecord) -> None:
        """Count a step."""
        self.step += 1
        self.idle += int(record.idle)
        counts = record.counts.tolist()
        for i, (loss, n) in enumerate(zip(record.losses.tolist(), counts, strict=True)):
            self.losses[i] += loss * n
            self.counts[i] += n
        if record.filled is not None:
            so_far = self.filled or [0] * len(counts)
            both = zip(so_far, record.filled.tolist(), strict=True)
            self.filled = [known + new for known, new in both]
        if record.weights is not None:
            self._weigh(record.weights.tolist(), counts)
        if record.penalty is not None:
            self.penalty = (self.penalty or 0.0) + float(record.penalty)

    def _weigh(self, weights: Sequence[float], counts: Sequence[int]) -> None:
        """Add a step's weights to the epoch's, of the tasks that had labels."""
        sums = self.weights or [0.0] * len(counts)
        steps = self.weighed or [0] * len(counts)
        for i, (weight, n) in enumerate(zip(weights, counts, strict=True)):
            if n and math.isfinite(weight):
                sums[i], steps[i] = sums[i] + weight, steps[i] + 1
        self.weights, self.weighed = sums, steps

    def mean_losses(self) -> list[float | None]:
        """Of the running epoch, per task; None for a task without a label."""
        pairs = zip(self.losses, self.counts, strict=True)
        return [total / n if n else None for total, n in pairs]

    def end_epoch(
        self,
        names: Iterable[str],
        *,
        steps: int,
        scores: Scores,
        value: float | None,
        best: bool,
        drawn: Mapping[str, int] | None = None,
        best_of: Sequence[str] | None = None,
    ) -> EpochRecord:
        """What is written of the epoch; the next one begins with nothing.

        Args:
            names: Of the tasks.
            steps: In an epoch.
            scores: On the validation part.
            value: The monitored score.
            best: Whether it is the best so far.
            drawn: Examples of each source, where shares change.
            best_of: The tasks whose own best epoch it is so far, if that matters.
        """
        names = list(names)
        filled = weights = None
        if self.filled is not None:
            filled = {t: n for t, n in zip(names, self.filled, strict=True) if n}
        if self.weights is not None and self.weighed is not None:
            sums = zip(names, self.weights, self.weighed, strict=True)
            weights = {name: (total / n if n else None) for name, total, n in sums}
        record = EpochRecord(
            self.step // steps,
            self.step,
            self.seconds,
            dict(zip(names, self.mean_losses(), strict=True)),
            scores,
            value,
            best,
            self.penalty and self.penalty / (steps - self.idle),  # idle steps have none
            filled,
            weights,
            drawn,
            best_of,
        )
        self.losses, self.counts = [0.0] * len(names), [0] * len(names)
        self.penalty = self.filled = self.weights = self.weighed = None
        self.idle = 0
        return record
