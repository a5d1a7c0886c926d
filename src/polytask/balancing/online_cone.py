"""Non-conflicting weights at a price that the number of tasks does not raise.

The dual problems are those of `projection.py`: `min v' G v` over `v >= p`. One step of projected
descent needs `G v = J d` for `d = J' v`, which is how fast each loss falls along the update d.

T tasks, A active tasks.
"""

import math

import torch
from torch import Tensor

from polytask.balancing.base import Scale
from polytask.balancing.online import Online


class _Projected(Online):
    """Descends within `v >= p`, in steps no longer than the curvature met of late allows.

    Args:
        num_tasks: T.
        lr: The step of the weights, relative to the curvature; in (0, 2).
        memory: How slowly the largest curvature is forgotten.
        scale: As everywhere.
        weight_heads: As everywhere.
    """

    convention = "mean"

    def __init__(
        self, num_tasks: int, *, lr: float, memory: float, scale: Scale, weight_heads: bool
    ) -> None:
        super().__init__(num_tasks, lr=lr, memory=memory, scale=scale, weight_heads=weight_heads)
        self.curvature: Tensor
        self.register_buffer("curvature", torch.zeros((), dtype=torch.float64))

    def descended(
        self, weights: Tensor, lowest: Tensor, fallen: Tensor, before: Tensor, moved: Tensor
    ) -> Tensor:
        """The weights `[A]` after a step.

        Args:
            weights: `[A]`, before it.
            lowest: `[A]`, p.
            fallen: `[A]`, by how much losses fell along the update with these weights.
            before: `[A]`, by how much along that with the weights before the last step; NaN where
                that is not known.
            moved: `[A]`, how that last step changed the weights.
        """
        known = ~before.isnan()
        bend, turn = (fallen - before)[known].norm(), moved[known].norm()
        met = bend / turn if bool(turn > 0) else fallen.abs().max()
        self.curvature = torch.maximum(self.memory * self.curvature, met)
        return torch.maximum(weights - self.lr * fallen / self.curvature, lowest)


class OnlineDualProj(_Projected):
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
        self.register_buffer("factors", torch.ones(num_tasks, dtype=torch.float64))
        self.register_buffer("moved", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("fallen", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def weights(self) -> Tensor:
        """Weights `[A]`, no smaller than `1 / A`."""
        return self.factors[self.tasks] / len(self.tasks)

    def move(self, tasks: Tensor, change: Tensor) -> None:
        """A projected descent step."""
        fallen = change * self.largest / self.lr
        factors, moved = self.factors[tasks], self.moved[tasks]
        after = self.descended(factors, torch.ones_like(factors), fallen, self.fallen[tasks], moved)
        self.factors[tasks], self.moved[tasks], self.fallen[tasks] = after, after - factors, fallen


class OnlineUPGrad(_Projected):
    """UPGrad without task gradients: each step follows one task's projected gradient, in turn.

    UPGrad's update is the mean of T projections onto the dual cone, `argmin v' G v` over `v >= e_i`
    for task i. A step along the i-th shows `J d`, the gradient of the i-th problem, which so makes
    one step of projected descent, as in `online-dualproj`. A step is unbiased but noisy: it is one
    of T parts, and averages to UPGrad's over A steps. Ours.

    Needs: the losses of the same batch after the step (`RecomputesLosses`). State: three numbers
    per pair of tasks.
    Cost: one backward and one forward, for any number of tasks. But each problem is touched once
    in A steps: on fixed problems in strong conflict (the mean gradient off by more than its length)
    the error of the mean update was nothing after 60 steps with 3 tasks, 7 % after 1,000 with 10,
    and still 42 % after 3,800 with 40. For ten tasks at most; beyond, `online-dualproj`.

    Args:
        num_tasks: T.
        lr: The step of the weights, relative to the curvature; in (0, 2).
        memory: How slowly the largest curvature is forgotten.
        scale: `unit` (a task's own gradient counts T times in its turn) or `paper` (once).
        weight_heads: Whether heads are weighted too.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        lr: float = 1.0,
        memory: float = 0.99,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, lr=lr, memory=memory, scale=scale, weight_heads=weight_heads)
        self.factors: Tensor
        self.moved: Tensor  # How row i changed in its last turn, and by how much losses fell then.
        self.fallen: Tensor
        square = (num_tasks, num_tasks)
        self.register_buffer("factors", torch.eye(num_tasks, dtype=torch.float64))
        self.register_buffer("moved", torch.zeros(square, dtype=torch.float64))
        self.register_buffer("fallen", torch.full(square, math.nan, dtype=torch.float64))

    def turn(self, tasks: Tensor) -> int:
        """Which of `tasks` it is whose projected gradient is followed in this step."""
        return int(tasks[self.steps % len(tasks)])

    def weights(self) -> Tensor:
        """Weights `[A]` of one projection."""
        return self.factors[self.turn(self.tasks), self.tasks]

    def move(self, tasks: Tensor, change: Tensor) -> None:
        """A projected descent step of the problem whose turn it is."""
        turn, fallen = self.turn(tasks), change * self.largest / self.lr
        factors, moved = self.factors[turn, tasks], self.moved[turn, tasks]
        lowest = (tasks == turn).to(factors)
        after = self.descended(factors, lowest, fallen, self.fallen[turn, tasks], moved)
        self.factors[turn, tasks], self.moved[turn, tasks] = after, after - factors
        self.fallen[turn, tasks] = fallen
        self.steps += 1
