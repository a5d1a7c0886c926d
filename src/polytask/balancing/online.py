"""Min-norm and non-conflicting weights at a price that does not grow with the number of tasks.

A product of the Gramian with the weights is all that gradient methods for such problems need, and
`G w = J (J' w) = J d` is how fast each loss falls along the update d itself. So one backward with
the present weights, and one more forward after the step, give one descent step of the weights.

T tasks, A active tasks.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from polytask.balancing.base import LossBalancer, Scale


class Online(LossBalancer):
    """A balancer whose weights descend by how much each loss fell in the last step.

    Args:
        num_tasks: T.
        lr: The step of the weights, relative to the largest fall or rise of late.
        memory: How slowly that largest change is forgotten.
        scale: As everywhere.
        weight_heads: As everywhere.
    """

    def __init__(
        self, num_tasks: int, *, lr: float, memory: float, scale: Scale, weight_heads: bool
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if lr <= 0 or not 0 <= memory < 1:
            raise ValueError(f"`lr` should be > 0, `memory` in [0, 1). Found {lr} and {memory}.")
        self.lr, self.memory = lr, memory
        self.before: Tensor  # Losses of the last step; NaN for tasks that had no part in it.
        self.largest: Tensor
        self.register_buffer("before", torch.full((num_tasks,), math.nan, dtype=torch.float64))
        self.register_buffer("largest", torch.zeros((), dtype=torch.float64))

    @abstractmethod
    def weights(self) -> Tensor:
        """The present weights `[A]`."""

    @abstractmethod
    def move(self, tasks: Tensor, change: Tensor) -> None:
        """Descend: lower the weights of `tasks` by the relative fall of their losses, `change`."""

    def forward(self, losses: Tensor) -> Tensor:
        """The losses `[A]` under the present weights."""
        self.check(losses)
        self.before.fill_(math.nan)
        self.before[self.tasks] = losses.detach().to(self.before)
        return (self.weights().to(losses) * losses).sum()

    def update(self, losses: Tensor, active: Tensor | None = None) -> None:
        """Move the weights, given the `[T]` losses of the same batch after the optimizer's step."""
        tasks = (~self.before.isnan()).nonzero()[:, 0]
        fallen = self.before[tasks] - losses.detach().to(self.before)[tasks]
        if len(tasks) and bool(fallen.isfinite().all()):
            self.largest = torch.maximum(self.memory * self.largest, fallen.abs().max())
            if bool(self.largest > 0):
                self.move(tasks, self.lr * fallen / self.largest)
        self.before.fill_(math.nan)


class OnlineMGDA(Online):
    """MGDA without task gradients: what falls fast loses weight, until all fall alike.

    `w <- w exp(-lr J d / max |J d|)`, normalized, where d is the update and `J d` how much each
    loss falls in the step that is really made. With SGD this is mirror descent on `|w' J|^2 / 2`,
    whose minimum is MGDA's; with `pull` > 0 on `|(w + pull / A)' J|^2 / 2`, which is SDMGrad's,
    drawn to the mean gradient as CAGrad is. Ours; FAMO (Liu et al., NeurIPS 2023) is a relative of
    it that looks at log losses. For tens or hundreds of tasks, where one backward per task is too
    much.

    Needs: the losses of the same batch after the step (`RecomputesLosses`). State: T logits, T
    losses.
    Cost: one backward and one forward, for any number of tasks. The weights lag behind the exact
    ones: on a fixed problem they come within 1 % of the least norm in 50 steps with 3 tasks,
    and within 4 % in 200 steps with 100, also while gradients drift by 5 % per step.
    With a learning rate so high that losses rise along the update, they follow the rise.

    Args:
        num_tasks: T.
        lr: The step of the weights, relative to the largest fall or rise of late.
        pull: How strongly the update is drawn to the mean gradient; 0 is MGDA.
        memory: How slowly the largest change is forgotten.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        lr: float = 0.1,
        pull: float = 0.0,
        memory: float = 0.99,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, lr=lr, memory=memory, scale=scale, weight_heads=weight_heads)
        if pull < 0:
            raise ValueError(f"`pull` should be >= 0. Found {pull}.")
        self.pull = pull
        self.logits: Tensor
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))

    def weights(self) -> Tensor:
        """Weights `[A]` that sum to 1."""
        shares = self.logits[self.tasks].softmax(0)
        return (shares + self.pull / len(shares)) / (1 + self.pull)

    def move(self, tasks: Tensor, change: Tensor) -> None:
        """A mirror descent step."""
        self.logits[tasks] -= change - change.mean()


class OnlineDualProj(Online):
    """DualProj without task gradients: a task that was set back gains weight until it is not.

    `v <- max(1, v - (lr / L) J d)` per active task, where d is the update, `J d` how much each loss
    falls in the step that is really made, and L the largest curvature `|change of J d| / |change of
    v|` of late. With SGD this is projected descent on `v' G v / 2` over `v >= 1`, whose minimum is
    the projection of the sum of the gradients onto the dual cone (`dualproj`). Equal weighting as
    long as no step hurts a task. Ours. For tens or hundreds of tasks, where one backward per task
    is too much.

    Needs: the losses of the same batch after the step (`RecomputesLosses`). State: three numbers
    per task.
    Cost: one backward and one forward, for any number of tasks. The weights lag behind the exact
    ones: on a fixed problem with 100 tasks they come within 2 % of the least norm in 200 steps. A
    conflict that changes sign from batch to batch averages out.

    Args:
        num_tasks: T.
        lr: The step of the weights, relative to the curvature; in (0, 2).
        memory: How slowly the largest curvature is forgotten.
        scale: `unit` (1 for a task without conflict) or `paper` (1 / A).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        lr: float = 0.5,
        memory: float = 0.99,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, lr=lr, memory=memory, scale=scale, weight_heads=weight_heads)
        self.factors: Tensor
        self.moved: Tensor  # How the factors, and then the falls, changed in the last step.
        self.fallen: Tensor
        self.curvature: Tensor
        self.register_buffer("factors", torch.ones(num_tasks, dtype=torch.float64))
        self.register_buffer("moved", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("fallen", torch.full((num_tasks,), math.nan, dtype=torch.float64))
        self.register_buffer("curvature", torch.zeros((), dtype=torch.float64))

    def weights(self) -> Tensor:
        """Weights `[A]`, no smaller than `1 / A`."""
        return self.factors[self.tasks] / len(self.tasks)

    def move(self, tasks: Tensor, change: Tensor) -> None:
        """A projected descent step, no longer than the curvature met of late allows."""
        fallen = change * self.largest / self.lr
        known = ~self.fallen[tasks].isnan()
        bend = (fallen - self.fallen[tasks])[known].norm()
        turn = self.moved[tasks][known].norm()
        met = bend / turn if bool(turn > 0) else fallen.abs().max()
        self.curvature = torch.maximum(self.memory * self.curvature, met)
        before = self.factors[tasks]
        after = (before - self.lr * fallen / self.curvature).clamp_min(1.0)
        self.factors[tasks], self.moved[tasks], self.fallen[tasks] = after, after - before, fallen
