"""Updates to which the tasks contribute in turn, at the price of one gradient per step.

T tasks, A active tasks, P shared parameters (entries).
"""

from typing import ClassVar

import torch
from torch import Tensor

from polytask.balancing.alignment import config_weights
from polytask.balancing.base import Scale
from polytask.balancing.passes import gramian
from polytask.balancing.remembering import Remembering


class MomentumConFIG(Remembering):
    """ConFIG on momenta (M-ConFIG): the gradient of one task per step, in rotation.

    The momentum of the task whose turn it is moves, `m_t <- b1 m_t + (1 - b1) g_t`, and no other.
    The update is ConFIG's direction `d` of the momenta `m_t / (1 - b1^k_t)`, each corrected for its
    start at zero, with k_t the number of its turns. With `beta2` it is Adam's in the paper's form:
    `d / (sqrt(v / (1 - b2^k)) + 1e-8)` at step k, where `v <- b2 v + (1 - b2) e^2` and e is the
    gradient that, as if d had been its momentum, turned the last d into this one. Liu, Chu,
    Thuerey, *ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks* (ICLR
    2025). Faster than ConFIG for the same time where gradients change slowly; with tens of tasks a
    momentum is old when it is used, and the paper takes several turns per step.

    Needs: the gradients, of `per_step` tasks. State: `[T, P]`, and `[2, P]` with `beta2`. Cost: one
    trunk backward per turn, two readings of the momenta, and these in memory. Authors' defaults: b1
    0.9, b2 0.999, plain SGD after it. Here b2 is left out unless asked for: an optimizer of one's
    own scales entries, Adam best with its first beta at 0, since updates are momenta already. The
    turn is that of the active task that has waited longest, which is the paper's order where all
    are present. The authors' code does not move before every task has had a turn; here those
    without one are left out. Heads and other parameters that are not shared learn from all tasks
    in every step.

    Args:
        num_tasks: T.
        beta1: b1, the inertia of the momenta.
        beta2: b2, the inertia of the squares that entries are scaled by; None for no scaling.
        per_step: How many tasks have their turn in a step.
        scale: `unit` and `paper` agree.
    """

    lazy: ClassVar[tuple[str, ...]] = ("memory", "before", "squares")

    def __init__(
        self,
        num_tasks: int,
        *,
        beta1: float = 0.9,
        beta2: float | None = None,
        per_step: int = 1,
        scale: Scale = "unit",
    ) -> None:
        super().__init__(num_tasks, scale=scale)
        if not 0 <= beta1 < 1 or not (beta2 is None or 0 <= beta2 < 1) or per_step < 1:
            raise ValueError(
                "`beta1` and `beta2` should be in [0, 1), `per_step` at least 1. "
                f"Found {beta1}, {beta2} and {per_step}."
            )
        self.beta1, self.beta2, self.per_step = beta1, beta2, per_step
        self.last: Tensor  # [T], the step in which each task had its last turn; 0 for none.
        self.before: Tensor  # [P], the last update, before it was scaled.
        self.squares: Tensor  # [P]
        self.register_buffer("last", torch.zeros(num_tasks, dtype=torch.int64))
        self.cached: Tensor  # [T, T], products of the momenta: only those that moved are made anew.
        self.register_buffer("cached", torch.zeros(num_tasks, num_tasks, dtype=torch.float64))
        self.register_buffer("before", torch.zeros(0))
        self.register_buffer("squares", torch.zeros(0))

    def turn(self) -> list[int]:
        """The active tasks that have waited longest, as places among the active ones."""
        order = self.last[self.tasks].argsort(stable=True)
        return sorted(order[: self.per_step].tolist())

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The conflict-free direction `[P]` of the momenta, from the gradients `[K, P]` in turn."""
        self.check(losses)
        turn = self.tasks[self.turn()]
        if len(jacobian) != len(turn):
            raise ValueError(
                f"`jacobian` should have one row per task in turn ({turn.tolist()}). Found "
                f"{len(jacobian)} rows. `backward` makes those that `turn()` names."
            )
        self.size(jacobian)
        for task, row in zip(turn.tolist(), jacobian, strict=True):
            self.memory[task].lerp_(row, 1 - self.beta1)
        self.counts[turn] += 1
        self.steps += 1
        self.last[turn] = self.steps
        fresh = gramian(self.memory[turn], self.memory).to(self.cached)  # [K, T]
        self.cached[turn], self.cached[:, turn] = fresh, fresh.T
        known = self.tasks[self.counts[self.tasks] > 0]
        products = self.cached[known][:, known].cpu()
        factors = 1 / (1 - self.beta1 ** self.counts[known].cpu().double())
        weights = self.memory.new_zeros(self.num_tasks)
        directions = config_weights(factors * products * factors[:, None])
        weights[known] = (factors * directions).to(weights)
        update = weights @ self.memory
        return update if self.beta2 is None else self.scaled_entries(update, self.beta2)

    def scaled_entries(self, update: Tensor, beta2: float) -> Tensor:
        """The update `[P]` divided by the root of the mean square of the gradients behind it."""
        if self.squares.numel() == 0:
            self.before, self.squares = torch.zeros_like(update), torch.zeros_like(update)
        momentum = update * (1 - self.beta1**self.steps)
        behind = (momentum - self.beta1 * self.before) / (1 - self.beta1)
        self.before = momentum
        self.squares.mul_(beta2).addcmul_(behind, behind, value=1 - beta2)
        return update / ((self.squares / (1 - beta2**self.steps)).sqrt() + 1e-8)
