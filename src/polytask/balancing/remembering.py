"""Updates from gradients that are remembered, one vector per task.

T tasks, A active tasks, P shared parameters (entries).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from polytask.balancing.base import GradientBalancer, Scale
from polytask.balancing.passes import gramian
from polytask.balancing.solvers import onto_simplex


class Remembering(GradientBalancer):
    """A gradient balancer that remembers a vector `[P]` per task, sized at its first step.

    Attributes:
        lazy: The buffers that are of no columns before the first step.

    Args:
        num_tasks: T.
        scale: As everywhere.
    """

    lazy: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, num_tasks: int, *, scale: Scale) -> None:
        super().__init__(num_tasks, scale=scale)
        self.memory: Tensor  # [T, P], of no columns before the first step
        self.counts: Tensor  # [T], how often each task has been seen
        self.register_buffer("memory", torch.zeros(num_tasks, 0))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.int64))

    def size(self, jacobian: Tensor) -> None:
        """Make room for as many columns as the gradients have, or raise if they have changed."""
        if self.memory.shape[1] == 0:
            self.memory = jacobian.new_zeros(self.num_tasks, jacobian.shape[1])
        if self.memory.shape[1] != jacobian.shape[1]:
            raise ValueError(
                f"{type(self).__name__} remembers {self.memory.shape[1]} shared parameters, and "
                f"there are {jacobian.shape[1]} now. Make a new balancer when `shared` changes."
            )

    def recall(self, jacobian: Tensor) -> Tensor:
        """The memory `[A, P]` of the active tasks, in the type of the gradients."""
        self.size(jacobian)
        return self.memory[self.tasks]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.lazy:
            saved, mine = state_dict.get(prefix + name), getattr(self, name)
            if saved is not None and mine.numel() == 0:
                setattr(self, name, torch.zeros_like(saved, device=mine.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class DBMTL(Remembering):
    """Dual-balancing (DB-MTL): log losses, and gradients all as long as the longest.

    `g_t` of `log L_t`, smoothed: `m_t <- b m_t + (1 - b) g_t`; the update is
    `sum_t (max |m| / |m_t|) m_t`. Lin et al., *Dual-Balancing for Multi-Task Learning* (2023).
    Indifferent to the scale of losses and of gradients; does not resolve conflict.

    Needs: the gradients; losses > 0. State: `[T, P]`. Cost: one trunk backward per task, and twice
    the gradients in memory. Authors' grid: b in {0.1, ..., 0.9} or `0.6 / k^0.5` and the like at
    step k; a constant 0.9, the default of a known copy, is the worst in their own figure. Means are
    corrected for their start at zero, without which the first step is `1 - b` of what is meant.

    Args:
        num_tasks: T.
        beta: b, the inertia; 0 for none.
        decay: At a task's k-th step b is `beta / k^decay`.
        scale: `unit` (weights of the present gradients have mean 1) or `paper`.
    """

    def __init__(
        self, num_tasks: int, *, beta: float = 0.6, decay: float = 0.5, scale: Scale = "unit"
    ) -> None:
        super().__init__(num_tasks, scale=scale)
        if not 0 <= beta < 1 or decay < 0:
            raise ValueError(f"`beta` should be in [0, 1), `decay` >= 0. Found {beta}, {decay}.")
        self.beta, self.decay = beta, decay
        self.left: Tensor  # [T], the share of a mean that is still its start at zero
        self.register_buffer("left", torch.ones(num_tasks, dtype=torch.float64))

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The sum `[P]` of the gradients `[A, P]` of log losses, brought to one length."""
        self.check(losses)
        counts = self.counts[self.tasks] + 1
        inertia = self.beta / counts.double() ** self.decay
        left = self.left[self.tasks] * inertia
        b, safe = inertia.to(jacobian)[:, None], losses.clamp_min(1e-12).to(jacobian)
        memory = b * self.recall(jacobian) + (1 - b) * (jacobian / safe[:, None])
        self.memory[self.tasks], self.counts[self.tasks], self.left[self.tasks] = (
            memory,
            counts,
            left,
        )
        means = memory / (1 - left).clamp_min(1e-12).to(jacobian)[:, None]
        norms = means.norm(dim=1)
        factors = torch.where(norms > 0, norms.max() / norms, torch.zeros_like(norms))
        update = factors @ means
        if self.scale == "unit":
            update = update * (len(safe) / (factors / safe).sum().clamp_min(1e-30))
        return update


class MoCo(Remembering):
    """Multi-objective gradient correction (MoCo): MGDA on running means of the gradients.

    `y_t <- y_t - b (y_t - g_t)`; `l <- P(l - c (Y Y' + rho I) l)` on the simplex; the update is `Y'
    l`. Fernando et al., *Mitigating Gradient Bias in Multi-objective Learning* (ICLR 2023). Weights
    from one noisy batch are biased; running means mend that.

    Needs: the gradients. State: `[T, P]` and T weights. Cost: one trunk backward per task, and
    twice the gradients in memory. b and c fall as `beta / k^decay` and `gamma / k^decay` with the
    step k, as in LibMTL's settings (beta 0.5, gamma 0.1, decay 0.5, rho 0), which also divides each
    gradient by its norm and multiplies it by its loss, and uses a softmax in place of the
    projection. Here gradients enter as they are, c is measured in units of `1 / mean |y|^2`, and
    the projection is the paper's. A task's mean starts at its first gradient.

    Args:
        num_tasks: T.
        beta: How fast the means follow.
        gamma: How fast the weights follow.
        decay: The power of the step by which both fall.
        rho: Pulls the weights together.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        beta: float = 0.5,
        gamma: float = 0.1,
        decay: float = 0.5,
        rho: float = 0.0,
        scale: Scale = "unit",
    ) -> None:
        super().__init__(num_tasks, scale=scale)
        self.beta, self.gamma, self.decay, self.rho = beta, gamma, decay, rho
        self.shares: Tensor  # [T]
        self.register_buffer("shares", torch.ones(num_tasks, dtype=torch.float64))

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The weighted mean `[P]` of the running means of the gradients `[A, P]`."""
        self.check(losses)
        counts = self.counts[self.tasks] + 1
        fall = counts.double() ** -self.decay
        follow = torch.where(counts == 1, 1.0, self.beta * fall).to(jacobian)[:, None]
        memory = self.recall(jacobian)
        memory = memory + follow * (jacobian - memory)
        self.memory[self.tasks], self.counts[self.tasks] = memory, counts
        products = gramian(memory).to(self.shares)
        size = products.diagonal().mean()
        products = products / torch.where(size > 0, size, torch.ones_like(size))
        before = self.shares[self.tasks]
        if not bool(before.any()):  # All had lost their weight to tasks that are absent now.
            before = torch.ones_like(before)
        shares = before / before.sum()
        slope = products @ shares + self.rho * shares
        shares = onto_simplex(shares - self.gamma * fall * slope)
        self.shares[self.tasks] = shares * before.sum()  # An absent task keeps its standing.
        weights = shares * len(shares) if self.scale == "unit" else shares
        return weights.to(memory) @ memory


class ExcessMTL(Remembering):
    """Excess risk weighting (ExcessMTL): tasks that can still improve weigh more, noisy ones less.

    `S_t += g_t^2`; `e_t = g_t' diag(S_t)^(-1/2) g_t`, divided by its first value;
    `w_t <- w_t exp(eta e_t)`, normalized. He et al., *Robust Multi-Task Learning with Excess Risks*
    (ICML 2024). Estimates how far each task is from its own optimum, so a task that is at its noise
    floor loses weight although its loss is large.

    Needs: the gradients. State: `[T, P]`, weights and first risks. Cost: one trunk backward per
    task, and twice the gradients in memory. As in LibMTL the first step of a task only measures;
    the authors' eta is 1 in their read-me, LibMTL's 0.01. Weights are kept as logarithms, so they
    saturate rather than overflow.

    Args:
        num_tasks: T.
        eta: How fast weights follow the risks.
        scale: `unit` (weights sum to the number of active tasks) or `paper` (to 1).
    """

    def __init__(self, num_tasks: int, *, eta: float = 0.01, scale: Scale = "unit") -> None:
        super().__init__(num_tasks, scale=scale)
        self.eta = eta
        self.logits: Tensor
        self.first: Tensor
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("first", torch.zeros(num_tasks, dtype=torch.float64))

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The weighted sum `[P]` of the gradients `[A, P]`."""
        self.check(losses)
        squares = jacobian**2
        memory = self.recall(jacobian) + squares
        risks = torch.where(memory > 0, squares / memory.sqrt(), torch.zeros_like(memory)).sum(1)
        risks, first = risks.to(self.first), self.first[self.tasks]
        new = self.counts[self.tasks] == 0
        first = torch.where(new, risks, first)
        relative = torch.where(first > 0, risks / first, torch.zeros_like(first))
        logits = self.logits[self.tasks] + torch.where(new, 0.0, self.eta * relative)
        self.memory[self.tasks], self.first[self.tasks], self.logits[self.tasks] = (
            memory,
            first,
            logits,
        )
        self.counts[self.tasks] += 1
        weights = logits.softmax(0)
        weights = weights * len(weights) if self.scale == "unit" else weights
        return weights.to(jacobian) @ jacobian
