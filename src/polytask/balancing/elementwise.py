"""Updates made of the entries of the gradients themselves.

T tasks, A active tasks, P shared parameters (entries), D shared features of one example.
"""

import torch
from torch import Tensor

from polytask.balancing.base import GradientBalancer, Scale, Where

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


def graddrop_kept(pushes: Tensor, draws: Tensor, leak: float) -> Tensor:
    """What stays `[A, D]` of each task's gradient at each feature.

    Args:
        pushes: `[A, D]`, `sign(z) dL/dz` summed over examples.
        draws: `[D]`, uniform in [0, 1).
        leak: The share of the dropped entries that stays.
    """
    total = pushes.abs().sum(0)
    purity = pushes.clamp_min(0).sum(0) / torch.where(total > 0, total, torch.ones_like(total))
    same = torch.where(purity > draws, pushes > 0, pushes < 0)
    return torch.where(total > 0, leak + (1 - leak) * same.to(pushes), 1.0)


class GradDrop(GradientBalancer):
    """Gradient sign dropout (GradDrop): each entry follows one sign, drawn by its purity.

    In every entry, with `p = (1 + sum g / sum |g|) / 2` and u uniform, only positive parts stay if
    `p > u`, else only negative ones. Chen et al., *Just Pick a Sign* (NeurIPS 2020). Noise that
    prefers minima which tasks share. A sign-blind mask has been found to work as well (Kurin et
    al., NeurIPS 2022).

    With `at='features'`, the paper's place, an entry is a feature of one example and g is `sign(z)
    dL/dz`, summed over the batch (over all processes): whether a task wants the feature larger or
    smaller. What is decided there holds for all examples of the batch: a task's gradient at the
    feature stays or goes. Else entries are those of the shared parameters' gradients.

    Needs: the gradients, at the parameters or features. State: a counter of draws. Cost: one trunk
    backward per task, and the gradients in memory; or one at the features. Authors' default: leak
    0. Known copies decide on parameters only (TorchJD), without the sign of z or the sum over the
    batch, or turn the leak round. Maps and sequences have one entry per position, so examples of
    all tasks and processes need one shape; a feature that no task moves is left alone.

    Args:
        num_tasks: T.
        at: `parameters` or `features`.
        leak: The share of the dropped entries that stays, in [0, 1]; 1 is equal weighting.
        seed: The same seed gives the same draws, on every process.
        scale: `unit` and `paper` agree: the update is a sum.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        at: Where = "parameters",
        leak: float = 0.0,
        seed: int = 0,
        scale: Scale = "unit",
    ) -> None:
        super().__init__(num_tasks, scale=scale, seed=seed)
        if not 0 <= leak <= 1:
            raise ValueError(f"`leak` should be in [0, 1]. Found {leak}.")
        if at not in ("parameters", "features"):
            raise ValueError(f"`at` should be 'parameters' or 'features'. Found {at!r}.")
        self.at: Where = at
        self.leak = leak

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        """The sum `[P]` of what survives of the gradients `[A, P]`."""
        self.check(losses)
        draws = torch.rand(jacobian.shape[1], generator=self.generator())
        return graddrop_update(jacobian, draws.to(jacobian), self.leak)

    def kept(self, pushes: Tensor, losses: Tensor) -> Tensor:
        """What stays `[A, D]` of each task's gradient at the features, by its `pushes` there."""
        self.check(losses)
        draws = torch.rand(pushes.shape[1], generator=self.generator())
        return graddrop_kept(pushes, draws.to(pushes), self.leak)
