"""How long trainings will take, from a few steps of each kind."""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from polytask.config.build import build_model, build_settings
from polytask.config.schema import Config
from polytask.config.variants import varied
from polytask.data.dataset import Prepared
from polytask.data.stream import BatchStream
from polytask.training.devices import make_fabric
from polytask.training.history import EpochRecord
from polytask.training.step import StepRecord
from polytask.types import Batch
from polytask.workflow import make_stream, make_trainer, sample

STEPS = 5


def step_seconds(config: Config, prepared: Prepared, steps: int = STEPS) -> float:
    """The median seconds of a training step; the first one, which warms up, does not count."""
    config = varied(config, {"training.epochs": 1, "training.patience": None})
    settings = build_settings(config)
    fabric = make_fabric(settings)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(config.seed)
        torch.set_num_threads(int(settings.threads))
        model = build_model(config, prepared.inputs, prepared.tasks)
        model.fit_to(sample(prepared))
        clock = Clock()
        make_trainer(
            config,
            fabric,
            model,
            prepared,
            settings=settings,
            stream=Beginning(make_stream(config, prepared, 0, 1), steps),
            validate=None,
            keep=lambda _: None,
            directory=Path(scratch),
            reporter=clock,
        ).fit()
    return clock.median


class Beginning:
    """The first batches of a stream, as an epoch.

    Args:
        stream: The stream.
        steps: How many.
    """

    def __init__(self, stream: BatchStream, steps: int) -> None:
        self.stream, self.steps_per_epoch = stream, steps

    def batch(self, step: int) -> Batch:
        """The batch of a step; where a balancer wants more, from the start again."""
        return self.stream.batch(step % self.steps_per_epoch)


class Clock:
    """A reporter that notes when steps end."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    @property
    def median(self) -> float:
        """Seconds of a step."""
        gaps = [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]
        return statistics.median(gaps[1:] or gaps)

    def on_step(self, step: int, record: StepRecord, lr: float) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def on_epoch(self, record: EpochRecord) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""
