"""The two-task toy problem of CAGrad, Nash-MTL and FAMO, with every deterministic balancer.

Two numbers x are trained for two tasks. Below x2 = 0 the losses are parabolas whose optima lie at
x1 = 7 (task 0) and x1 = -7 (task 1), and what is between them is Pareto-optimal; above lie deep,
narrow valleys, one per task, in which a sum of losses gets stuck. Task 0's loss may be made ten
times smaller than task 1's, as Nash-MTL and FAMO do.

    python benchmarks/toy.py            # the figure and the page in docs/balancing
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.balancing import BALANCERS, EndsEpoch, GramianBalancer, RecomputesLosses, backward

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))  # Nash-MTL, FAMO
CAGRAD_STARTS = ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0))
FRONT = -8.36  # x2 of the Pareto-optimal points; their x1 goes from -7 to 7
RANDOM = ("rlw", "graddrop")
SAME = {"constant": "equal", "krum": "equal", "trimmed-mean": "equal"}  # alike with two tasks
EPOCH = 100  # steps, for balancers that learn from epochs


def losses(x: Tensor, scale: float = 0.1) -> Tensor:
    """Both losses `[..., 2]` at the points `[..., 2]`, task 0's times `scale`.

    As published, but for 21 that is added before scaling: it makes them positive, for balancers
    that take logarithms, and leaves gradients alone.
    """
    x1, x2 = x[..., 0], x[..., 1]
    bend = torch.tanh(x2)
    logs = [(0.5 * (x1 + 7) - bend).abs(), (0.5 * (3 - x1) - bend + 2).abs()]
    above, below = torch.tanh(x2 / 2).clamp_min(0), torch.tanh(-x2 / 2).clamp_min(0)
    found = []
    for inside, best, size in zip(logs, (7.0, -7.0), (scale, 1.0), strict=True):
        valley = inside.clamp_min(5e-6).log() + 6
        bowl = ((x1 - best) ** 2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
        found.append(size * (valley * above + bowl * below + 21))
    return torch.stack(found, -1)


def train(
    name: str,
    start: Iterable[float],
    *,
    scale: float = 0.1,
    steps: int = 5000,
    lr: float = 0.01,
    every: int = 10,
    **settings: Any,
) -> Tensor:
    """The points `[steps / every + 1, 2]` through which a balancer and Adam go.

    Args:
        name: A name of the catalogue.
        start: The first point.
        scale: The size of task 0's loss.
        steps: How many steps are made.
        lr: Adam's learning rate for the point; the balancer's own parameters have 0.025.
        every: Each so many steps the point is noted.
        **settings: The balancer's settings.
    """
    x = nn.Parameter(torch.tensor(list(start), dtype=torch.float64))
    balancer = BALANCERS[name](2, **settings).double()
    groups = [{"params": [x], "lr": lr}, {"params": list(balancer.parameters()), "lr": 0.025}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    path, epoch = [x.detach().clone()], torch.zeros(2, dtype=torch.float64)
    for step in range(steps):
        now = losses(x, scale)
        epoch += now.detach() / EPOCH
        optimizer.zero_grad()
        backward(now, balancer, [x])
        optimizer.step()
        if isinstance(balancer, RecomputesLosses):
            balancer.update(losses(x.detach(), scale))
        if (step + 1) % EPOCH == 0:
            if isinstance(balancer, EndsEpoch):
                balancer.end_epoch(epoch)
            epoch = torch.zeros_like(epoch)
        if (step + 1) % every == 0:
            path.append(x.detach().clone())
    return torch.stack(path)


def on_front(point: Tensor, slack: float = 0.25) -> bool:
    """Whether a point is Pareto-optimal, up to `slack`."""
    return abs(float(point[1]) - FRONT) < slack and abs(float(point[0])) < 7 + slack
