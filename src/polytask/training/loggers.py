"""Programs that show trainings: TensorBoard, MLflow, Weights & Biases, each by Lightning's logger.

They are given what the history has. Each goes on in the same log when a training is resumed.
"""

import os
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.errors import require
from polytask.training.history import EpochRecord

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger


class LoggerSpec(ABC):
    """What makes a logger; made itself, it has found the packages that it needs."""

    @abstractmethod
    def opened(self, folder: Path, known: str, step: int) -> tuple["Logger", str]:
        """A logger, and what it has to be told when the training is resumed.

        Args:
            folder: The run's folder; its name is the training's.
            known: What the logger returned when the training began; empty for a fresh one.
            step: Steps done. What was logged of later ones is logged again.
        """

    def closed(self, logger: "Logger", status: str) -> None:
        """Write what is left.

        Args:
            logger: One that was opened.
            status: `success`, `stopped` or `failed`.
        """
        logger.finalize(status)


@dataclass(frozen=True, kw_only=True)
class TensorBoard(LoggerSpec):
    """Event files under `tensorboard/` in the run's folder: `tensorboard --logdir runs`."""

    def __post_init__(self) -> None:
        require("tensorboard", "loggers")

    def opened(self, folder: Path, known: str, step: int) -> tuple["Logger", str]:
        """Another event file, before which TensorBoard forgets what is after `step`."""
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        forgets: dict[str, Any] = {"purge_step": step + 1} if known else {}
        logger = TensorBoardLogger(
            folder, name="tensorboard", version="", default_hp_metric=False, **forgets
        )
        return logger, "tensorboard"


@dataclass(frozen=True, kw_only=True)
class MLflow(LoggerSpec):
    """A run of MLflow (package `mlflow` or `mlflow-skinny`).

    Attributes:
        tracking_uri: Where MLflow keeps runs, such as `http://host:5000` or
            `sqlite:////data/mlflow.db`; null for `$MLFLOW_TRACKING_URI`, else `mlflow.db` in the
            folder in which the command runs.
        experiment: The experiment of which it is a run; made if there is none.
    """

    tracking_uri: str | None = None
    experiment: str = "polytask"

    def __post_init__(self) -> None:
        require("mlflow", "mlflow")
        require("pytorch_lightning", "mlflow")

    def opened(self, folder: Path, known: str, step: int) -> tuple["Logger", str]:
        """The run of MLflow that was begun with the training, or a new one."""
        from pytorch_lightning.loggers import MLFlowLogger

        place = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        logger = MLFlowLogger(
            self.experiment, folder.name, tracking_uri=place, run_id=known or None
        )
        return logger, str(logger.run_id)

    def closed(self, logger: "Logger", status: str) -> None:
        """End the run of MLflow, in its own words."""
        words = {"success": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        logger.finalize(words[status])


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(LoggerSpec):
    """A run of Weights & Biases, under `wandb/` in the run's folder.

    Attributes:
        project: The project of which it is a run.
        offline: Whether nothing is sent; `wandb sync RUN/wandb/offline-run-*` does it later. A
            resumed training leaves a second folder there, of the same run.
    """

    project: str = "polytask"
    offline: bool = True

    def __post_init__(self) -> None:
        require("wandb", "wandb")
        require("pytorch_lightning", "wandb")

    def opened(self, folder: Path, known: str, step: int) -> tuple["Logger", str]:
        """The run that was begun with the training, or a new one."""
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        name = known or uuid.uuid4().hex[:12]
        logger = WandbLogger(
            folder.name,
            folder,
            id=name,
            project=self.project,
            offline=self.offline,
            resume="allow",
            settings=wandb.Settings(silent=True),  # the terminal has the epochs already
        )
        return logger, name

    def closed(self, logger: "Logger", status: str) -> None:
        """End it, so that another training of this process has a run of its own."""
        logger.finalize(status)
        logger.experiment.finish(exit_code=int(status == "failed"))  # type: ignore[attr-defined]


LOGGERS: dict[str, type[LoggerSpec]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def numbers_of(record: EpochRecord) -> dict[str, float]:
    """What an epoch's line of the history says, as numbers with names; without what is None."""
    named: dict[str, float | None] = {
        "epoch": record.epoch,
        "seconds": record.seconds,
        "monitored": record.monitored,
        "penalty": record.penalty,
        **{f"train/{task}/loss": loss for task, loss in record.losses.items()},
        **{f"weight/{task}": weight for task, weight in (record.weights or {}).items()},
        **{f"filled/{task}": count for task, count in (record.filled or {}).items()},
        **{f"drawn/{source}": count for source, count in (record.drawn or {}).items()},
    }
    for task, scores in record.scores.items():
        named |= {f"validation/{task}/{metric}": value for metric, value in scores.items()}
    return {name: float(value) for name, value in named.items() if value is not None}
