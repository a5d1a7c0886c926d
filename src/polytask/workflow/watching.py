"""Who watches a whole training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from polytask.run import Run
from polytask.training.history import EpochRecord

if TYPE_CHECKING:
    from polytask.training.step import StepRecord


class Watcher(Protocol):
    """Somebody who watches a whole training, from the data to the last epoch."""

    def on_decoding(self, done: int, total: int, what: str) -> None:
        """While pictures and sounds are decoded into the cache."""
        ...

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """When the first step is about to begin."""
        ...

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """After each step."""
        ...

    def on_epoch(self, record: EpochRecord) -> None:
        """After each epoch."""
        ...

    def on_end(self, run: Run, finished: bool) -> None:
        """When training has ended, or was stopped."""
        ...

    def warn(self, message: str) -> None:
        """When something went wrong that does not end the training."""
        ...


class Silent:
    """Watches without a word: the watcher of every process but the first."""

    def on_decoding(self, done: int, total: int, what: str) -> None:
        """Nothing."""

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Nothing."""

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """Nothing."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Nothing."""

    def on_end(self, run: Run, finished: bool) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""
