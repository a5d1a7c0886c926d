"""What a trainer asks of those beside it: where batches come from, and who watches."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from polytask.training.history import EpochRecord
from polytask.training.step import StepRecord
from polytask.types import Batch, Scores


class Stream(Protocol):
    """Batches as a pure function of the step."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""
        ...

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from the start of training."""
        ...


@runtime_checkable
class Follows(Protocol):
    """A stream whose batches may depend on what was measured after earlier epochs."""

    @property
    def follows(self) -> bool:
        """Whether they do."""
        ...

    def end_epoch(self, scores: Scores) -> None:
        """Take validation scores; every process has the same."""
        ...

    def drawn_in(self, epoch: int) -> Mapping[str, int] | None:
        """Examples of each source in an epoch, counted from 0; None where that never changes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on beside seed and step, as plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class Reporter(Protocol):
    """Somebody who watches the training."""

    def on_step(self, step: int, record: StepRecord, lr: float) -> None:
        """After each step."""
        ...

    def on_epoch(self, record: EpochRecord) -> None:
        """After each epoch."""
        ...

    def warn(self, message: str) -> None:
        """When something went wrong that does not end the training."""
        ...
