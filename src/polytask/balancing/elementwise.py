"""Updates made of the entries of the gradients themselves.

T tasks, A active tasks, P shared parameters (entries).
"""

import torch
from torch import Tensor

from polytask.balancing.base import GradientBalancer, Scale

BLOCK = 32768  # Columns that stay in the cache.


def graddrop_update(jacobian: Tensor, draws: Tensor, leak: float) -> Tensor:
    """`[P]` from `[A, P]`: in each entry only one sign survives; the other leaks through.

    Args:
        jacobian: `[A, P]`.
        draws: `[P]`, uniform in [0, 1).
        leak: The share of the dropped entries that stays.
    """
    update = torch.empty_like(jacobian[0])
    for block, u, out in zip(
        jacobian.split(BLOCK, dim=1), draws.split(BLOCK), update.split(BLOCK), strict=True
    ):
        up = block.clamp_min(0).sum(0)
        down = block.sum(0) - up
        total = up - down
        purity = up / torch.where(total > 0, total, torch.ones_like(total))  # (1 + sum / abs) / 2
        out.copy_(torch.where(purity > u, up + leak * down, down + leak * up))
    return update


class GradDrop(GradientBalancer):
    """Gradient sign dropout (GradDrop): each entry follows one sign, drawn by its purity.

    In every entry, with `p = (1 + sum g / sum |g|) / 2` and u uniform, only positive parts stay if
    `p > u`, else only negative ones. Chen et al., *Just Pick a Sign* (NeurIPS 2020). Noise that
    prefers minima which tasks share. A sign-blind mask has been found to work as well (Kurin et
    al., NeurIPS 2022).

    Needs: the gradients. State: a counter of draws. Cost: one trunk backward per task, and the
    gradients in memory. The paper drops at the shared features, by the sign of feature times
    gradient summed over the batch; here entries are those of the shared parameters' gradients.
    Authors' default: leak 0.

    Args:
        num_tasks: T.
        leak: The share of the dropped entries that stays, in [0, 1]; 1 is equal weighting.
        seed: The same seed gives the same draws, on every process.
        scale: `unit` and `paper` agree: the update is a sum.
    """

    def __init__(
        self, num_tasks: int, *, leak: float = 0.0, seed: int = 0, scale: Scale = "unit"
    ) -> None:
        super().__init__(num_tasks, scale=scale, seed=seed)
        if not 0 <= leak <= 1:
            raise ValueError(f"`leak` should be in [0, 1]. Found {leak}.")
        self.leak = leak

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The sum `[P]` of what survives of the gradients `[A, P]`."""
        self.check(losses)
        draws = torch.rand(jacobian.shape[1], generator=self.generator())
        return graddrop_update(jacobian, draws.to(jacobian), self.leak)
