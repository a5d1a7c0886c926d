"""When things happen: steps, epochs, validation, checkpoints. How a step happens is in `step`."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from polytask.balancing import (
    Balancer,
    EndsEpoch,
    LooksAhead,
    UsesIndependentBatches,
)
from polytask.distillation import Teaching
from polytask.errors import ConfigError, RunError, TrainingError
from polytask.model import MultiTaskModel
from polytask.tasks.base import Task
from polytask.training.acting import acting, measurement
from polytask.training.averaging import WeightAverage, borrowed_weights
from polytask.training.checkpoint import load_state, save_state
from polytask.training.devices import resolve_precision
from polytask.training.freezing import Freezing
from polytask.training.history import check_monitor
from polytask.training.keeping import Keep, Keeper, KeepOwn
from polytask.training.optim import OptimizerSpec, Schedule
from polytask.training.processes import all_reduced
from polytask.training.progress import Progress
from polytask.training.settings import Settings
from polytask.training.sharding import (
    is_spread,
    load_moments,
    load_weights,
    part,
    require_shardable,
    shards,
    spread_names,
    whole,
)
from polytask.training.sides import Follows, Reporter, Stream
from polytask.training.step import Measurement, train_step
from polytask.training.stopping import stopped_by_signals
from polytask.types import Batch, Scores

Probe = Callable[["Trainer", Batch], None]

# What needs a second batch in each step, to compare gradients or to look ahead at.
TWO_BATCHES = (UsesIndependentBatches, LooksAhead)


class Trainer:
    """Trains a model to the end, or until it is stopped.

    Args:
        fabric: Launched; where and how precisely to compute.
        model: The model.
        balancer: Makes one update of the task losses.
        tasks: The tasks in the balancer's order.
        optimizer: The optimiser's description.
        schedule: The learning rate's course.
        settings: How long and how.
        stream: Where batches come from.
        validate: Scores a model on the validation part; None where there is none.
        keep: Called with the state dict that is best so far, for it to be saved.
        keep_own: Where tasks keep the weights of their own best epochs, saves those; see `Keeper`.
        directory: Where checkpoints go.
        reporter: Told about every step and epoch.
        teaching: Teachers, if there are any.
        seed: Fixes all randomness inside the network.
        probe: Called with this trainer and the batch before each step; it must change nothing.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: MultiTaskModel,
        balancer: Balancer,
        tasks: Sequence[Task],
        *,
        optimizer: OptimizerSpec,
        schedule: Schedule,
        settings: Settings,
        stream: Stream,
        validate: Callable[[nn.Module], Scores] | None,
        keep: Keep,
        directory: Path,
        reporter: Reporter,
        seed: int,
        keep_own: KeepOwn | None = None,
        teaching: Teaching | None = None,
        probe: Probe | None = None,
    ) -> None:
        self.probe = probe
        self.fabric, self.tasks, self.settings = fabric, tuple(tasks), settings
        self.schedule, self.stream, self.validate = schedule, stream, validate
        self.directory, self.reporter, self.seed = directory, reporter, seed
        self.keeper = Keeper(
            fabric,
            self.tasks,
            settings.monitor,
            keep=keep,
            keep_own=keep_own,
            warn=reporter.warn,
        )
        self.bare = model
        self.balancer = balancer.to(fabric.device)
        if settings.sharding is not None:
            require_shardable(model, balancer, resolve_precision(settings))
            if probe is not None:
                raise ConfigError(
                    "training.sharding: gradients of tasks can't be looked at where each process "
                    "has a part of the trunk. Leave it out for this."
                )
        apart = set() if settings.sharding is None else spread_names(model)
        self.model = fabric.setup_module(model)
        self.sharded = shards(fabric)
        self.freezing = Freezing(model, settings.freeze, settings.unfreeze)
        self.teaching = None if teaching is None else teaching.to(fabric.device)
        self.adaptors = [] if teaching is None else teaching.adaptors()
        adapting = [p for adaptor in self.adaptors for p in adaptor.parameters()]
        groups = optimizer.groups(model, [*balancer.parameters(), *adapting], apart)
        self.optimizer: Any = fabric.setup_optimizers(optimizer.make(groups))
        self._divide()
        self.average = None if settings.ema is None else WeightAverage(model, settings.ema)
        self.progress = Progress.start(len(tasks))
        self.steps = settings.epochs * stream.steps_per_epoch
        self._stop = threading.Event()
        self._saved_at = time.monotonic()
        self._told_idle = False
        if validate is not None:
            check_monitor(settings.monitor, self.tasks)
        self.follows = stream if isinstance(stream, Follows) else None
        if self.follows and self.follows.follows and isinstance(balancer, TWO_BATCHES):
            raise ConfigError(
                f"{type(balancer).__name__} compares each batch with one from after the end of "
                "training, and this mixing decides only by then what is in that. Choose another "
                "batches.mixing, or another balancer."
            )

    @property
    def checkpoint(self) -> Path:
        """The file that a resumed training starts from."""
        return self.directory / "checkpoint.pt"

    def _divide(self) -> None:
        """Tell the parameters that learn now into shared and private ones."""
        shared = {id(p) for p in self.bare.shared_parameters()}
        trained = [p for p in self.bare.parameters() if p.requires_grad]
        kept = [p for p in trained if not is_spread(p)]
        self.shared = [p for p in kept if id(p) in shared]
        self.private = [p for p in kept if id(p) not in shared]
        self.private += [p for adaptor in self.adaptors for p in adaptor.parameters()]
        shares = any(id(p) in shared for p in trained)
        self.acting = acting(self.balancer, shares)
        self.measurement = Measurement()
        if shares or len(trained) == len(list(self.bare.parameters())):
            asked = measurement(self.settings, self.balancer, self.bare)
            self.measurement = asked if self.acting is self.balancer else Measurement()

    def fit(self) -> bool:
        """Train.

        Returns:
            Whether the end was reached; False if a person stopped it. A checkpoint is saved in
            both cases.

        Raises:
            TrainingError: If a loss is not finite; names step, task and the last good checkpoint.
        """
        started = time.monotonic() - self.progress.seconds
        self.model.train()  # evaluation leaves the mode as it was
        with stopped_by_signals(self._stop):
            while self.progress.step < self.steps and not self._asked_to_stop():
                self._step()
                self.progress.seconds = time.monotonic() - started
                if self.progress.step % self.stream.steps_per_epoch == 0:
                    finished = self._end_epoch()
                    self._save()
                    if finished:
                        break
                elif self._due():
                    self._save()
        stopped = self.progress.step < self.steps and self._asked_to_stop()
        if stopped and self.progress.step % self.stream.steps_per_epoch:
            self._save(required=True)
        return not stopped

    def _asked_to_stop(self) -> bool:
        """Whether any process was asked to stop; all processes must leave at the same step."""
        return self._anywhere(self._stop.is_set())

    def _due(self) -> bool:
        """Whether it is time for a checkpoint; where it is made together, for all at once."""
        due = time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes
        return self._anywhere(due) if self.sharded else due

    def _anywhere(self, here: bool) -> bool:
        """Whether something is so in any process."""
        if self.fabric.world_size == 1:
            return here
        flag = torch.tensor(float(here), device=self.fabric.device)
        return bool(all_reduced(self.fabric, flag, "sum"))

    def _step(self) -> None:
        step = self.progress.step
        if self.freezing.apply(step // self.stream.steps_per_epoch):
            self._divide()
        factor = self.schedule.factor(step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        batch = self.stream.batch(step).to(self.fabric.device)
        if self.probe is not None:
            self.probe(self, batch)
        # Dropout and the like depend on the step alone, so resuming needs no generator's state.
        torch.manual_seed(step_seed(self.seed, step, self.fabric.global_rank))
        try:
            record = train_step(
                self.fabric,
                self.model,
                batch,
                self.tasks,
                balancer=self.acting,
                optimizer=self.optimizer,
                shared=self.shared,
                private=self.private,
                clip=self.settings.clip,
                second=self._second(step),
                measurement=self.measurement,
                teaching=self.teaching,
                progress=step / max(1, self.steps - 1),
            )
        except TrainingError as error:
            raise TrainingError(f"Step {step + 1}: {error} {self._last_good()}") from error
        if self.average is not None:
            self.average.update(self.bare)
        self.progress.add(record)
        self.reporter.on_step(self.progress.step, record, self.optimizer.param_groups[0]["lr"])

    def _second(self, step: int) -> Batch | None:
        """A batch independent of the step's, if the balancer needs two: from after the end."""
        if not isinstance(self.acting, TWO_BATCHES):
            return None
        return self.stream.batch(self.steps + step).to(self.fabric.device)

    def _last_good(self) -> str:
        advice = "Lower optimizer.lr, set training.clip, or look at the data of this task."
        if not self.checkpoint.exists():
            return f"No checkpoint had been saved yet. {advice}"
        at = load_state(self.checkpoint)["progress"]["step"]
        return f"The last good checkpoint is of step {at}: '{self.checkpoint}'. {advice}"

    def _end_epoch(self) -> bool:
        """Validate, keep the best weights, tell the reporter; whether to stop early."""
        progress = self.progress
        epoch = progress.step // self.stream.steps_per_epoch
        if isinstance(self.balancer, EndsEpoch):
            means = torch.tensor([0.0 if v is None else v for v in progress.mean_losses()])
            self.balancer.end_epoch(means, torch.tensor([n > 0 for n in progress.counts]))
        self._require_finite_weights()
        self._tell_idle()
        state = self.average.average if self.average else self.bare.state_dict()
        scores = self._validate(state) if self.validate is not None else {}
        kept = self.keeper.end_epoch(progress, epoch, state, scores)
        drawn = None
        if self.follows is not None:
            self.follows.end_epoch(scores)
            drawn = self.follows.drawn_in(epoch - 1)
        self.reporter.on_epoch(
            progress.end_epoch(
                (task.name for task in self.tasks),
                steps=self.stream.steps_per_epoch,
                scores=scores,
                value=None if kept.value is None or math.isnan(kept.value) else kept.value,
                best=kept.best,
                drawn=drawn,
                best_of=kept.best_of,
            )
        )
        patience = self.settings.patience
        if patience is None or kept.value is None:
            return False
        return epoch - max(progress.best_epoch, *progress.own_epoch.values(), 0) >= patience

    def _tell_idle(self) -> None:
        """Say once how many steps had nothing to learn from."""
        if self.progress.idle and not self._told_idle:
            self._told_idle = True
            self.reporter.warn(
                f"{self.progress.idle:,} of {self.stream.steps_per_epoch:,} steps of this epoch "
                "had a batch without any label, and moved nothing. Make batches larger "
                "(batches.size), or leave out rows that have no label."
            )

    def _validate(self, state: Mapping[str, Tensor]) -> Scores:
        """Scores of `state`; the model's own weights are as before afterwards."""
        assert self.validate is not None
        with borrowed_weights(self.bare, state if self.average else None):
            # Where each process has a part, all go through the same batches.
            takes_part = self.sharded or self.fabric.is_global_zero
            scores = self.validate(self.model) if takes_part else {}
        broadcast: Scores = self.fabric.broadcast(scores)
        return broadcast

    def _save(self, required: bool = False) -> None:
        """Save a checkpoint. A full disk loses none of the training: the previous one stays."""
        self._saved_at = time.monotonic()
        self._require_finite_weights()
        state = self.state_dict()
        if not self.fabric.is_global_zero:
            return
        try:
            save_state(self.checkpoint, state)
        except OSError as error:
            there = "The earlier one is whole." if self.checkpoint.exists() else "There is none."
            message = f"Could not save '{self.checkpoint}' ({error}). {there} Free some space."
            if required:
                raise RunError(message) from error
            self.reporter.warn(message + " Training goes on.")

    def _require_finite_weights(self) -> None:
        """Stop rather than save weights that a gradient has broken."""
        named = dict(self.bare.named_parameters())
        finite = torch.stack([part(p.detach()).isfinite().all() for p in named.values()])
        if self.sharded:  # A process sees its parts only, and all have to stop.
            finite = all_reduced(self.fabric, (~finite).float(), "sum") == 0.0
        for name, fine in zip(named, finite.tolist(), strict=True):
            if not fine:
                raise TrainingError(
                    f"Step {self.progress.step}: '{name}' is no longer finite. {self._last_good()}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs, whole in the first process.

        All processes take part.
        """
        state = {
            "model": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "precision": self.fabric.strategy.precision.state_dict(),
            "adaptors": [adaptor.state_dict() for adaptor in self.adaptors],
            "stream": {} if self.follows is None else self.follows.state_dict(),
            "progress": asdict(self.progress),
            "steps": self.steps,
        }
        found: dict[str, Any] = whole(state, self.fabric.is_global_zero)
        return found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        load_weights(self.bare, state["model"])
        load_moments(self.optimizer, state["optimizer"])
        self.balancer.load_state_dict(state["balancer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for adaptor, saved in zip(self.adaptors, state["adaptors"], strict=True):
            adaptor.load_state_dict(saved)
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.follows is not None:
            self.follows.load_state_dict(state.get("stream", {}))  # older checkpoints have none
        self.progress = Progress(**state["progress"])
        self._saved_at = time.monotonic()


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed of its own for each step and process."""
    mixed = (seed * 1_000_003 + step) * 65_537 + rank
    return mixed % 2**63
