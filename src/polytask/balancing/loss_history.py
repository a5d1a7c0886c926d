"""Weights from how fast each loss has been falling.

T tasks, A active tasks.
"""

import math

import torch
from torch import Tensor

from polytask.balancing.base import Scale, WeighingBalancer


def dwa_weights(last: Tensor, before: Tensor, temperature: float) -> Tensor:
    """`n softmax((L(t-1) / L(t-2)) / temperature)`, with ratio 1 where either is unknown (NaN)."""
    ratio = last / before
    ratio = torch.where(ratio.isfinite(), ratio, torch.ones_like(ratio))
    return len(ratio) * (ratio / temperature).softmax(0)


class DynamicWeightAverage(WeighingBalancer):
    """Dynamic weight average (DWA): a task whose loss falls slower gets more weight.

    `w_t = T softmax_t((L_t(e-1) / L_t(e-2)) / temperature)` with mean losses of epochs e; 1 in the
    first two epochs. Liu, Johns, Davison, *End-to-End Multi-Task Learning with Attention* (CVPR
    2019). Mild: with temperature 2 weights rarely leave [0.8, 1.2].

    Needs: mean losses per epoch (`EndsEpoch`). State: two epochs of losses. Cost: one backward.
    A task without labels in an epoch keeps its history; a task with less than two epochs of history
    counts as neither fast nor slow (ratio 1). In a plain loop call `end_epoch` yourself.

    Args:
        num_tasks: T.
        temperature: The authors' 2.0. Larger is more equal.
        scale: `unit` and `paper` agree here.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        temperature: float = 2.0,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if temperature <= 0:
            raise ValueError(f"`temperature` should be > 0. Found {temperature}.")
        self.temperature = temperature
        self.history: Tensor  # [2, T]: last epoch, the one before
        self.register_buffer("history", torch.full((2, num_tasks), math.nan, dtype=torch.float64))

    def weigh(self, losses: Tensor) -> Tensor:
        """The weights `[A]` of this epoch."""
        last, before = self.history[:, self.tasks]
        return dwa_weights(last, before, self.temperature).to(losses)

    def end_epoch(self, mean_losses: Tensor, active: Tensor | None = None) -> None:
        """Take the `[T]` mean losses of an epoch; `active` marks the tasks that had labels."""
        values = self.everyone(mean_losses).to(self.history)
        known = values.isfinite()
        known = known if active is None else known & active.to(known.device)
        self.history[1] = torch.where(known, self.history[0], self.history[1])
        self.history[0] = torch.where(known, values, self.history[0])


class DynamicTaskPriority(WeighingBalancer):
    """Dynamic task prioritization (DTP): the harder a task still is, the more it weighs.

    `w_t = -(1 - k_t)^gamma log k_t` with `k_t` in (0, 1] a running mean of how well the task does,
    not differentiated. Guo et al., *Dynamic Task Prioritization for Multitask Learning* (ECCV
    2018): a focal loss over tasks. The opposite of methods that favour easy tasks; doubtful with
    noisy labels.

    Needs: losses of cross-entropy's kind. State: k per task. Cost: one backward. The paper measures
    k by each task's metric; here it is `exp(-L_t)`, for a cross-entropy the geometric mean
    probability of the right class, so no metric has to be computed while training. The paper gives
    no default values.

    Args:
        num_tasks: T.
        gamma: How sharply easy tasks are discounted.
        discount: The share of the newest step in the running mean.
        scale: `unit` rescales the weights to mean 1.
        weight_heads: Whether heads are weighted too, as in the paper.
    """

    convention = "free"

    def __init__(
        self,
        num_tasks: int,
        *,
        gamma: float = 1.0,
        discount: float = 0.1,
        scale: Scale = "unit",
        weight_heads: bool = False,
    ) -> None:
        super().__init__(num_tasks, scale=scale, weight_heads=weight_heads)
        if not 0 < discount <= 1:
            raise ValueError(f"`discount` should be in (0, 1]. Found {discount}.")
        self.gamma, self.discount = gamma, discount
        self.skill: Tensor
        self.register_buffer("skill", torch.full((num_tasks,), math.nan, dtype=torch.float64))

    def weigh(self, losses: Tensor) -> Tensor:
        """Weights `[A]` that fall as tasks get better."""
        now = (-losses).exp().to(self.skill).clamp(1e-12, 1.0)
        before = self.skill[self.tasks]
        mixed = torch.where(before.isnan(), now, before + self.discount * (now - before))
        self.skill[self.tasks] = mixed
        weights = -((1 - mixed) ** self.gamma) * mixed.log()
        return weights.to(losses)
