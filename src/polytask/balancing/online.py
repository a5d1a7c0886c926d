"""Min-norm and conflict-averse weights at a price that the number of tasks does not raise.

A product of the Gramian with the weights is all that gradient methods for such problems need, and
`G w = J (J' w) = J d` is how fast each loss falls along the update d itself. So one backward with
the present weights, and one more forward after the step, give one descent step of the weights.

T tasks, A active tasks.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from polytask.balancing.base import UPDATE, LossBalancer, Scale


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
        self.expect(bool(self.before.isnan().all()), UPDATE)
        self.before.fill_(math.nan)
        self.before[self.tasks] = losses.detach().to(self.before)
        return (self.weights().to(losses) * losses).sum()

    def update(self, losses: Tensor, active: Tensor | None = None) -> None:
        """Move the weights, given the `[T]` losses of the same batch after the optimizer's step."""
        tasks = (~self.before.isnan()).nonzero()[:, 0]
        fallen = self.before[tasks] - self.everyone(losses).to(self.before)[tasks]
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


class OnlineCAGrad(Online):
    """CAGrad without task gradients: drawn to what falls slowly, within a distance of the mean.

    CAGrad's update is `d = g_0 + r g_w` with `r = c |g_0| / |g_w|`, and `J d`, how much each loss
    falls in the step that is really made, is the gradient of its dual in w: one mirror descent
    step of w each time, as in `online-mgda`. The two norms come from probes: each `probe` steps
    one is made with equal weights. Its falls are `J g_0`, so `|g_0|^2` is their mean and
    `g_0' g_w` their mean under w; what a usual step adds to that under w is `r |g_w|^2`. Ours.

    Needs: the losses of the same batch after the step (`RecomputesLosses`). State: two numbers per
    task, one for all.
    Cost: one backward and one forward, for any number of tasks. On fixed problems in conflict,
    where equal weights are off by half of the exact update, the error was 0.1 % with 2 tasks after
    90 steps, 8 % with 40 and 14 % with 100, and 3 % with either after 340; with gradients that
    drift by 5 % per step it was 1 to 13 % with up to 10 tasks. It supposes that a step
    follows its gradient: with momentum a probe sees steps of before, too, and the radius is
    less true.

    Args:
        num_tasks: T.
        c: The radius of the search, in (0, 1).
        lr: The step of the weights, relative to the largest fall or rise of late.
        probe: Each so many steps one has equal weights.
        memory: How slowly the largest change is forgotten.
        scale: `unit` (1 for tasks that are alike) or `paper` (the mean, divided by `1 + c^2`).
        weight_heads: Whether heads are weighted too.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        c: float = 0.4,
        lr: float = 0.3,
        probe: int = 10,
        memory: float = 0.99,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, lr=lr, memory=memory, scale=scale, weight_heads=weight_heads)
        if not 0 < c < 1:
            raise ValueError(f"`c` should be in (0, 1). Found {c}.")
        if probe < 2:
            raise ValueError(f"`probe` should be at least 2. Found {probe}.")
        self.c, self.probe = c, probe
        self.neutral = (1 + c**2) / (1 + c)
        self.logits: Tensor
        self.slopes: Tensor  # Falls of the last step with equal weights; NaN: not known.
        self.pull: Tensor  # r
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("slopes", torch.full((num_tasks,), math.nan, dtype=torch.float64))
        self.register_buffer("pull", torch.tensor(c, dtype=torch.float64))

    def weights(self) -> Tensor:
        """Weights `[A]` of the conflict-averse update, or of all `(1 + c) / (A + A c^2)`."""
        even = torch.full_like(self.logits[self.tasks], 1 / len(self.tasks))
        if self.steps % self.probe == 0:
            return even * (1 + self.c) / (1 + self.c**2)
        return (even + self.pull * self.logits[self.tasks].softmax(0)) / (1 + self.c**2)

    def move(self, tasks: Tensor, change: Tensor) -> None:
        """Note what a probe says, or make a mirror descent step."""
        fallen = change * self.largest / self.lr * (1 + self.c**2)
        if self.steps % self.probe == 0:
            self.slopes[tasks] = fallen / (1 + self.c)
        else:
            shares = self.logits[tasks].softmax(0)
            self._measure(self.slopes[tasks], shares, fallen)
            self.logits[tasks] -= change - change.mean()
        self.steps += 1

    def _measure(self, slopes: Tensor, shares: Tensor, fallen: Tensor) -> None:
        """Bring r towards `c |g_0| / |g_w|`; nothing where the last probe does not tell."""
        mean, across = slopes.mean(), shares @ slopes
        if not bool(mean > 0):  # Also where a task is new.
            return
        weighted = (shares @ fallen - across) / self.pull
        weighted = torch.maximum(weighted, across**2 / mean)  # Cauchy and Schwarz.
        if bool(weighted > 0):
            wanted = self.c * (mean / weighted).sqrt()
            turn = (0.3 * (wanted / self.pull).log()).clamp(-0.3, 0.3)
            self.pull = (self.pull * turn.exp()).clamp_max(10 * self.c)
