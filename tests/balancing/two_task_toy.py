"""The two-task problem of Liu et al. (CAGrad, 2021), on which published methods are drawn."""

import torch
from torch import Tensor

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0))


def toy_losses(theta: Tensor) -> list[Tensor]:
    """Both losses at `theta` `[2]`. The Pareto set is the segment from (-7, -8) to (7, -8)."""
    x, y = theta
    up, down = (0.5 * y).tanh().clamp_min(0), (-0.5 * y).tanh().clamp_min(0)
    valley_1 = (0.5 * (-x - 7) - (-y).tanh()).abs().clamp_min(5e-6).log() + 6
    valley_2 = (0.5 * (-x + 3) - (-y).tanh() + 2).abs().clamp_min(5e-6).log() + 6
    bowl_1 = ((-x + 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    bowl_2 = ((-x - 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    return [valley_1 * up + bowl_1 * down, valley_2 * up + bowl_2 * down]


def distance_to_pareto_set(theta: Tensor) -> float:
    x, y = theta.tolist()
    return float(torch.tensor([max(abs(x) - 7, 0.0), y + 8]).norm())
