"""A stream in memory, a reporter that remembers, and a trainer over them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from polytask.balancing import Balancer, EqualWeighting
from polytask.distillation import Teaching
from polytask.evaluation import evaluate
from polytask.model import MultiTaskModel
from polytask.training.history import EpochRecord
from polytask.training.optim import SGD, Constant, OptimizerSpec, Schedule
from polytask.training.settings import Settings
from polytask.training.step import StepRecord
from polytask.training.trainer import Trainer
from polytask.types import Batch, Features, Scores
from tests.networks import TASKS, batch, network


class Memory:
    """Batches that depend on the step alone, noise like an augmentation's included."""

    def __init__(self, steps: int = 4, change: Callable[[int, Batch], Batch] | None = None) -> None:
        self.steps_per_epoch = steps
        self.change = change

    def batch(self, step: int) -> Batch:
        made = batch(step)
        noise = torch.Generator().manual_seed(step)
        for name, features in made.inputs.items():
            shape = features.values.shape
            noisy = features.values + 0.1 * torch.randn(shape, generator=noise)
            made.inputs[name] = Features(noisy)  # type: ignore[index]
        return made if self.change is None else self.change(step, made)


class Watcher:
    """Remembers what it was told; may call something after a step."""

    def __init__(self, after: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.after = after or {}
        self.steps: list[tuple[int, StepRecord, float]] = []
        self.epochs: list[EpochRecord] = []
        self.warnings: list[str] = []

    def on_step(self, step: int, record: StepRecord, lr: float) -> None:
        self.steps.append((step, record, lr))
        self.after.get(step, lambda: None)()

    def on_epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def fabric(precision: Any = "32-true") -> Fabric:
    made = Fabric(accelerator="cpu", devices=1, precision=precision)
    made.launch()
    return made


def scored(model: nn.Module) -> Scores:
    return evaluate(model, [batch(1000)], TASKS, torch.device("cpu"))


def trainer(
    directory: Path,
    *,
    model: MultiTaskModel | None = None,
    balancer: Balancer | None = None,
    optimizer: OptimizerSpec | None = None,
    schedule: Schedule | None = None,
    stream: Memory | None = None,
    watcher: Watcher | None = None,
    validate: Callable[[nn.Module], Scores] | None = scored,
    keep: Callable[[Mapping[str, Tensor]], None] = lambda state: None,
    teaching: Teaching | None = None,
    runner: Fabric | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer; what is not given is small and plain."""
    return Trainer(
        runner or fabric(),
        model or network(),
        balancer or EqualWeighting(len(TASKS)),
        TASKS,
        optimizer=optimizer or SGD(lr=0.05),
        schedule=schedule or Constant(),
        settings=Settings(**{"epochs": 3, "precision": "fp32", **settings}),
        stream=stream or Memory(),
        validate=validate,
        keep=keep,
        directory=directory,
        reporter=watcher or Watcher(),
        seed=7,
        teaching=teaching,
    )
