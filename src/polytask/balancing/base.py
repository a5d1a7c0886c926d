"""The three kinds of balancers, told apart by what they need to see.

T tasks in all, A active tasks (those with a label in this step), P shared parameters (entries).
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from polytask.errors import TrainingError

Scale = Literal["unit", "paper"]
Where = Literal["parameters", "features"]
Convention = Literal["sum", "mean", "free"]
PATIENCE = 100
UPDATE = "After each optimizer's step call `update` with the same batch's new losses."
PARAMETERS = "Give its `.parameters()` to the optimizer, in a group without weight decay."


class SolverError(TrainingError):
    """A balancer's equation has no finite solution, or its solver did not reach it."""


@runtime_checkable
class EndsEpoch(Protocol):
    """A balancer that learns from the mean losses of finished epochs (DWA)."""

    def end_epoch(self, mean_losses: Tensor, active: Tensor | None = None) -> None:
        """Take `[T]` mean losses of the epoch; `active` marks the tasks that had any label."""


@runtime_checkable
class RecomputesLosses(Protocol):
    """A balancer that sees the same batch's losses again, after the optimizer's step (FAMO)."""

    def update(self, losses: Tensor, active: Tensor | None = None) -> None:
        """Take the `[T]` losses of the same batch under the new parameters."""


@runtime_checkable
class UsesIndependentBatches(Protocol):
    """A balancer that needs the losses of a second, independent batch (MoDo, SDMGrad)."""

    batches: int


@runtime_checkable
class LooksAhead(Protocol):
    """A balancer that learns, before a step, what it would do to other examples (Auto-Lambda)."""

    def look_ahead(
        self,
        parameters: Iterable[Tensor],
        train: Callable[[], Tensor],
        validate: Callable[[], Tensor],
        *,
        lr: float | Mapping[Tensor, float],
        momentum: Mapping[Tensor, Tensor] | None = None,
        weight_decay: float | Mapping[Tensor, float] = 0.0,
        active: Tensor | None = None,
        reduce: Callable[[Tensor], Tensor] = ...,
    ) -> Tensor:
        """Learn from the losses `[T]` of the step's batch, and of another one after it."""


@runtime_checkable
class TakesTurns(Protocol):
    """A balancer of gradients that needs those of some tasks only in each step (M-ConFIG)."""

    def turn(self) -> list[int]:
        """The tasks whose gradients it is shown in this step: places among the active ones."""


@runtime_checkable
class DropsFeatures(Protocol):
    """A balancer of gradients that may leave out parts of them at the features (GradDrop)."""

    at: Where

    def kept(self, pushes: Tensor, losses: Tensor) -> Tensor:
        """What is kept `[A, D]` of each task's gradient at each feature.

        Asked if `at='features'`, in the place of the update from gradients at the parameters.
        `pushes` `[A, D]` is `sign(z) dL/dz`, summed over all examples, up to a factor.
        """


class Balancer(nn.Module, ABC):
    """How the losses of several tasks become one update.

    A subclass computes in the scale of its paper. `scaled` brings weights to the one convention
    of this library, in which tasks that are all alike have weight 1 each.

    The tasks that a call is about are `self.tasks`, the numbers of the active ones; per-task state
    is indexed by it, so the state of an absent task is neither read nor written. `backward` sets
    it; who calls a balancer directly with all tasks need not.

    Attributes:
        num_tasks: T.
        scale: `unit`, or `paper` for the paper's own scale.
        weight_heads: Whether heads receive weighted gradients too.
        failures: How often a solver failed.
        zero_updates: How often the combined gradient was exactly zero.
        convention: What the paper's weights are when all tasks are alike: 1 (`sum`), 1/A (`mean`),
            or something that depends on losses or gradients (`free`; rescaled to the sum A).
        neutral: A constant that `scale='unit'` multiplies weights by, besides the convention.
        amplification: The factor that a gradient scaler puts on gradients in this step.
    """

    convention: ClassVar[Convention] = "sum"
    neutral: float = 1.0

    def __init__(
        self,
        num_tasks: int,
        *,
        scale: Scale = "unit",
        weight_heads: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(num_tasks, int) or num_tasks < 1:
            raise ValueError(
                f"`num_tasks` should be a whole number, at least 1: how many tasks there are. "
                f"Found {num_tasks!r}."
            )
        if scale not in ("unit", "paper"):
            raise ValueError(f"`scale` should be 'unit' or 'paper'. Found {scale!r}.")
        self.num_tasks = num_tasks
        self.scale = scale
        self.weight_heads = weight_heads
        self.seed = seed
        self.draws = 0
        self.steps = 0
        self.failures = 0
        self.zero_updates = 0
        self.amplification = 1.0
        self.idle = 0  # Steps in a row after which nobody moved the weights that it learns.
        self.known: list[list[float]] = []  # Its own parameters, when they were last seen.
        self.tasks: Tensor
        self.register_buffer("tasks", torch.arange(num_tasks), persistent=False)

    @contextmanager
    def about(self, tasks: list[int]) -> Iterator[None]:
        """Within this context the active tasks are `tasks`."""
        if len(tasks) == self.num_tasks:
            yield
            return
        everything = self.tasks
        self.tasks = torch.tensor(tasks, device=everything.device)
        try:
            yield
        finally:
            self.tasks = everything

    def scaled(self, weights: Tensor) -> Tensor:
        """Weights `[A]` of the paper in the scale that was asked for."""
        if self.scale == "paper":
            return weights
        if self.convention == "sum":
            return weights * self.neutral
        if self.convention == "mean":
            return weights * (len(weights) * self.neutral)
        total = weights.sum()
        return torch.where(total > 0, weights * (len(weights) / total), weights)

    def learn(self, objective: Tensor) -> None:
        """Give the balancer's own parameters their gradient of a scalar, for the optimizer."""
        self.expect_an_optimizer()
        (objective * self.amplification).backward(inputs=list(self.parameters()))

    def generator(self) -> torch.Generator:
        """Fresh randomness: the same for the same seed and number of draws, on every rank."""
        self.draws += 1
        return torch.Generator().manual_seed(_mixed(self.seed, self.draws))

    def check(self, losses: Tensor) -> None:
        """Raise if `losses` has not one entry per active task."""
        if losses.shape != self.tasks.shape:
            raise ValueError(
                f"`losses` should have one entry per active task ({len(self.tasks)} of "
                f"num_tasks={self.num_tasks}). Found shape {tuple(losses.shape)}. "
                "Did a task have no label? Pass `active=` to `backward`."
            )

    def everyone(self, losses: Tensor) -> Tensor:
        """The `[T]` losses of all tasks, detached.

        Raises:
            ValueError: If they are something else.
        """
        if isinstance(losses, Tensor) and losses.shape == (self.num_tasks,):
            return losses.detach()
        found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else repr(losses)
        raise ValueError(
            f"{type(self).__name__} should be told a tensor with one loss per task "
            f"(num_tasks={self.num_tasks}), whatever the entries of absent ones. Found {found}."
        )

    def expect(self, moved: bool, remedy: str) -> None:
        """Warn once where nobody has moved the weights for many steps in a row."""
        if moved and self.idle == 0:
            return
        self.idle = 0 if moved else self.idle + 1
        if self.idle == PATIENCE:
            warnings.warn(
                f"Nothing has moved the weights of {type(self).__name__} in {PATIENCE} steps. "
                f"{remedy}",
                stacklevel=2,
            )

    def expect_an_optimizer(self) -> None:
        """Warn once where the balancer's own parameters have not moved for many steps."""
        values = [p.tolist() for p in self.parameters()]
        self.expect(values != self.known, PARAMETERS)
        self.known = values

    def get_extra_state(self) -> Tensor:
        """The counters, for `state_dict`."""
        return torch.tensor([self.draws, self.steps, self.failures, self.zero_updates])

    def set_extra_state(self, state: Tensor) -> None:
        """The counters, from `state_dict`."""
        self.draws, self.steps, self.failures, self.zero_updates = state.tolist()

    def extra_repr(self) -> str:
        """The settings that every balancer has."""
        return f"num_tasks={self.num_tasks}, scale={self.scale!r}"


def _mixed(seed: int, count: int) -> int:
    """A 32-bit seed (all that a CPU generator uses) that depends on every bit of both."""
    value = (seed * 0x9E3779B97F4A7C15 + count * 0xD1B54A32D192ED03) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ (value >> shift)) * factor) % 2**64
    return (value ^ (value >> 31)) % 2**32


class LossBalancer(Balancer):
    """Sees the losses only, and costs what equal weighting costs."""

    @abstractmethod
    def forward(self, losses: Tensor) -> Tensor:
        """One scalar from `[A]` losses. A task's weight is its derivative by that task's loss."""


class WeighingBalancer(LossBalancer):
    """A loss balancer that knows its weights without a graph of its formula.

    `backward` asks for the weights and leaves `forward` out: a differentiation of the smallest
    graph takes as long as a walk over that of a model. A subclass whose formula is more than
    `sum_t w_t L_t` writes it down in `forward` too, for who calls that; `weigh` and `own_gradients`
    are then its derivatives.
    """

    @abstractmethod
    def weigh(self, losses: Tensor) -> Tensor:
        """The weights `[A]`, from detached losses `[A]`."""

    def own_gradients(
        self, losses: Tensor, weights: Tensor
    ) -> Sequence[tuple[nn.Parameter, Tensor]]:
        """The balancer's own parameters, each with the formula's derivative by it.

        Args:
            losses: `[A]`, detached.
            weights: `[A]`, what `weigh` gave for them.
        """
        return ()

    def weighs(self) -> bool:
        """Whether `weigh` is about this class's `forward`, and not about that of a class above."""
        return _weighs(type(self))

    def forward(self, losses: Tensor) -> Tensor:
        """The weighted sum of the losses `[A]`."""
        self.check(losses)
        return (self.weigh(losses.detach()).to(losses) * losses).sum()

    def of_active(self, per_task: Tensor) -> Tensor:
        """The entries `[A]` of the active tasks, from those `[T]` of all."""
        return per_task if len(self.tasks) == self.num_tasks else per_task[self.tasks]

    def of_all(self, entries: Tensor) -> Tensor:
        """Entries `[A]` of the active tasks among zeros of the others, `[T]`."""
        if len(self.tasks) == self.num_tasks:
            return entries
        tasks = self.tasks.to(entries.device)
        return entries.new_zeros(self.num_tasks).index_copy(0, tasks, entries)


@cache
def _weighs(kind: type) -> bool:
    def home(name: str) -> type:
        return next(c for c in kind.__mro__ if name in vars(c))

    return home("forward") is WeighingBalancer or issubclass(home("weigh"), home("forward"))


class GramianBalancer(Balancer):
    """Sees the inner products of the task gradients; costs one trunk backward per task.

    Attributes:
        at: Where gradients are taken: at the shared `parameters`, or at the shared `features`,
            which costs one trunk backward for any number of tasks (the upper bound of MGDA-UB).
        every: The weights are refreshed each `every` steps; steps between cost one backward.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        scale: Scale = "unit",
        weight_heads: bool = False,
        at: Where = "parameters",
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads, seed=seed)
        if at not in ("parameters", "features"):
            raise ValueError(f"`at` should be 'parameters' or 'features'. Found {at!r}.")
        if every < 1:
            raise ValueError(f"`every` should be at least 1. Found {every}.")
        self.at = at
        self.every = every
        self.changes = 0  # Steps in a row whose tasks were not those of the step before.
        self.cached: Tensor
        self.register_buffer("cached", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    @abstractmethod
    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights `[A]` from the Gramian `[A, A]` of the task gradients and the losses `[A]`.

        The Gramian comes in float64 on the CPU, where the solvers work; so do the weights.
        """

    def remembered(self) -> Tensor | None:
        """The weights `[A]` of an earlier step, if they are for these tasks and still fresh."""
        if self.every == 1:
            if self.steps != 1:  # A module's attributes are slow to set.
                self.steps = 1
            return None
        known = ~self.cached.isnan()
        same = int(known.sum()) == len(self.tasks) and bool(known[self.tasks].all())
        fresh = same and self.steps % self.every != 0
        self.changes = 0 if same or not bool(known.any()) else self.changes + 1
        if self.changes == PATIENCE:
            warnings.warn(
                f"every={self.every} of {type(self).__name__} saves nothing: weights are for the "
                f"tasks that they were made for, and in {PATIENCE} steps in a row these were other "
                "tasks than in the step before. Draw batches in which the same tasks have labels, "
                "or leave `every` at 1.",
                stacklevel=2,
            )
        self.steps = self.steps + 1 if fresh else 1
        return self.cached[self.tasks] if fresh else None

    def remember(self, weights: Tensor) -> None:
        """Keep the weights `[A]` for the steps to come."""
        if self.every > 1:
            self.cached.fill_(math.nan)
            self.cached[self.tasks] = weights.to(self.cached)


class GradientBalancer(Balancer):
    """Sees the task gradients themselves; costs a trunk backward per task and `[A, P]` memory."""

    @abstractmethod
    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The update `[P]` from the task gradients `[A, P]` and the losses `[A]`.

        A balancer that `TakesTurns` is shown the rows of its `turn` only.
        """
