"""Where the epochs of a training go: into the run's history, and to the loggers it names."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from polytask.run import Run
from polytask.training.history import EpochRecord
from polytask.training.loggers import LoggerSpec, numbers_of

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

    from polytask.training.sides import Reporter

# The file of a run that says how its logs are found again.
LOGS = "loggers.json"


class HistoryKeeper:
    """Writes each epoch into the run and its logs before passing it on.

    Args:
        run: Where the history is.
        reporter: Told everything.
        specs: What makes the run's loggers.
    """

    def __init__(self, run: Run, reporter: "Reporter", specs: Sequence[LoggerSpec] = ()) -> None:
        self.run, self.specs = run, specs
        self.on_step = reporter.on_step
        self.warn = reporter.warn
        self._on_epoch = reporter.on_epoch
        self._loggers: list[Logger] = []

    def follow(self, fit: Callable[[], bool], step: int) -> bool:
        """Train with the run's loggers open.

        Args:
            fit: Trains; returns whether the end was reached.
            step: Steps done. The history already ends there.

        Returns:
            What `fit` returned.
        """
        status = "failed"
        try:
            self._open(step)
            finished = fit()
            status = "success" if finished else "stopped"
            return finished
        finally:
            for spec, logger in zip(self.specs, self._loggers, strict=False):
                spec.closed(logger, status)

    def _open(self, step: int) -> None:
        """Open each logger; a resumed training goes on in the logs that it began."""
        if not self.specs:
            return
        known = self.run.read_json(LOGS) if (self.run.path / LOGS).exists() else []
        known = known or [""] * len(self.specs)
        names = []
        for spec, before in zip(self.specs, known, strict=True):
            logger, name = spec.opened(self.run.path, before, step)
            self._loggers.append(logger)
            names.append(name)
            if not before:
                logger.log_hyperparams(self.run.config.resolved())
        self.run.write_json(LOGS, names)

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the line, log it, then pass it on."""
        try:
            self.run.append_history(record)
        except OSError as error:
            self.warn(f"Could not write the history ({error}). Free some space.")
        for logger in self._loggers:
            try:
                logger.log_metrics(numbers_of(record), step=record.step)
                logger.save()
            except OSError as error:  # a full disk, or a server that does not answer
                self.warn(f"Could not log epoch {record.epoch} ({error}); the history has it.")
        self._on_epoch(record)
