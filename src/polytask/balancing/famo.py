"""Fast adaptive multitask optimization.

T tasks, A active tasks.
"""

import math

import torch
from torch import Tensor

from polytask.balancing.base import UPDATE, Scale, WeighingBalancer
from polytask.balancing.moments import Moments


def famo_loss(losses: Tensor, shares: Tensor, floors: Tensor) -> Tensor:
    """`sum_t z_t log D_t / c` with `D = L - floor` and `c = sum_t z_t / D_t`, not differentiated.

    Its derivatives by the losses are positive and sum to 1.
    """
    distance = distances(losses, floors)
    return (shares * distance.log()).sum() / (shares / distance).sum().detach()


def distances(losses: Tensor, floors: Tensor) -> Tensor:
    """How far losses `[A]` are above the best they could reach.

    Raises:
        ValueError: If one is not.
    """
    found = losses - floors + 1e-8
    if bool((found <= 0).any()):
        raise ValueError(
            f"FAMO needs losses above `min_losses`. Found {losses.tolist()} for {floors.tolist()}."
        )
    return found


class FAMO(WeighingBalancer):
    """Fast adaptive multitask optimization (FAMO): all losses fall at one rate, without gradients.

    With `z = softmax(w)` the update descends `sum_t z_t log(L_t - min_t)`; afterwards w moves by
    Adam against `(dz / dw)' delta`, where delta is how much each log loss has just fallen: what
    fell least gains weight. Liu et al., *FAMO: Fast Adaptive Multitask Optimization* (NeurIPS
    2023). An approximation to balanced gradients at the price of one more forward.

    Needs: the losses of the same batch after the step (`RecomputesLosses`). State: logits and
    Adam's moments per task. Cost: one backward and one forward. Authors' defaults: lr 0.025, weight
    decay 1e-3 (0.01 for Cityscapes). Their code also clips the shared gradients to norm 1: set the
    trainer's clipping for that. Adam's step counts and moments are per task, so an absent task's
    stand still; they are saved, which theirs and known copies don't do.

    Args:
        num_tasks: T.
        lr: Adam's learning rate for w.
        weight_decay: Adam's (L2) weight decay of w, which pulls the weights together.
        min_losses: The best loss that each task could reach; None for zero.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
        weight_heads: Whether heads are weighted too, as in the authors' code.
    """

    convention = "mean"

    def __init__(
        self,
        num_tasks: int,
        *,
        lr: float = 0.025,
        weight_decay: float = 1e-3,
        min_losses: tuple[float, ...] | None = None,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        floors = (0.0,) * num_tasks if min_losses is None else tuple(min_losses)
        if len(floors) != num_tasks:
            raise ValueError(f"`min_losses` should be {num_tasks} numbers. Found {floors}.")
        self.lr, self.weight_decay = lr, weight_decay
        self.floors: Tensor
        self.register_buffer("floors", torch.tensor(floors, dtype=torch.float64), persistent=False)
        self.logits: Tensor
        self.before: Tensor  # log distances at the last step; NaN for tasks that had no part in it
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        self.adam = Moments(num_tasks)
        self.register_buffer("before", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def forward(self, losses: Tensor) -> Tensor:
        """The weighted log losses `[A]`, scaled so that their weights sum to 1."""
        self.check(losses)
        floors = self.floors[self.tasks]
        total = famo_loss(losses, self.logits[self.tasks].softmax(0).to(losses), floors.to(losses))
        self._remember(losses.detach(), floors)
        return total

    def weigh(self, losses: Tensor) -> Tensor:
        """The shares over the distances, scaled to sum to 1, `[A]`."""
        floors = self.of_active(self.floors)
        shares = self.of_active(self.logits).softmax(0).to(losses)
        quotients = shares / distances(losses, floors.to(losses))
        self._remember(losses, floors)
        return quotients / quotients.sum()

    def _remember(self, losses: Tensor, floors: Tensor) -> None:
        """Keep the log distances of this step, and see that the last step's were used."""
        self.expect(bool(self.before.isnan().all()), UPDATE)
        self.before.fill_(math.nan)
        self.before[self.tasks] = (losses.to(floors) - floors + 1e-8).log()

    def update(self, losses: Tensor, active: Tensor | None = None) -> None:
        """Move the weights, given the `[T]` losses of the same batch after the optimizer's step.

        Tasks that had no part in the step are left alone, whatever `losses` holds for them. The
        weights stay where a loss is not finite.
        """
        tasks = (~self.before.isnan()).nonzero()[:, 0]
        values = self.everyone(losses).to(self.before)[tasks]
        after = (values - self.floors[tasks] + 1e-8).clamp_min(1e-8).log()
        fallen = self.before[tasks] - after
        if bool(fallen.isfinite().all()):
            shares = self.logits[tasks].softmax(0)
            gradient = shares * (fallen - shares @ fallen) + self.weight_decay * self.logits[tasks]
            self.logits[tasks] -= self.lr * self.adam.step(tasks, gradient)
        self.before.fill_(math.nan)
