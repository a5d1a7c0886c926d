"""The two-task toy problem of CAGrad, Nash-MTL and FAMO, with every balancer.

Two numbers x are trained for two tasks. Below x2 = 0 the losses are parabolas whose optima lie at
x1 = 7 (task 0) and x1 = -7 (task 1), and what is between them is Pareto-optimal; above lie deep,
narrow valleys, one per task, in which a sum of losses gets stuck. Task 0's loss may be made ten
times smaller than task 1's, as Nash-MTL and FAMO do.

    python benchmarks/toy.py [--jobs 4]     # draws toy.png, toy-more.png; prints the page's table
"""

import argparse
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.balancing import (
    BALANCERS,
    AutoLambda,
    EndsEpoch,
    RecomputesLosses,
    SolverError,
    UsesIndependentBatches,
    backward,
)

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))  # Nash-MTL, FAMO
CAGRAD_STARTS = ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0))
FRONT = -8.36  # x2 of the Pareto-optimal points; their x1 goes from -7 to 7
FIRST = (  # In toy.png; all others are in toy-more.png.
    *("equal", "uw", "dwa", "gls", "si", "uw-so", "imtl-l", "famo", "stch", "tchebycheff"),
    *("cosmos", "pbi", "dtp", "mgda", "pcgrad", "cagrad", "imtl-g", "nash-mtl", "aligned-mtl"),
    "upgrad",
)
SAME = {"constant": "equal", "krum": "equal", "trimmed-mean": "equal"}  # alike with two tasks
EPOCH = 100  # steps, for balancers that learn from epochs
STILL = 200  # steps
OWN = 0.025  # the learning rate of a balancer's own parameters


def losses(x: Tensor, scale: float = 0.1) -> Tensor:
    """Both losses `[..., 2]` at the points `[..., 2]`, task 0's times `scale`.

    As published, but for 21 that is added before scaling: it makes them positive, for balancers
    that take logarithms, and leaves gradients alone.
    """
    x1, x2 = x[..., :1], x[..., 1:]
    side = x.new_tensor([1.0, -1.0])
    valley = (0.5 * (7 + side * x1) - x2.tanh()).abs().clamp_min(5e-6).log() + 6
    bowl = ((x1 - 7 * side) ** 2 + 0.1 * (x2 + 8) ** 2) / 10 - 20
    turn = (x2 / 2).tanh()
    return x.new_tensor([scale, 1.0]) * (valley * turn.clamp_min(0) - bowl * turn.clamp_max(0) + 21)


def train(
    name: str,
    start: Iterable[float],
    *,
    scale: float = 0.1,
    steps: int = 2500,
    lr: float = 0.02,
    beta2: float = 0.98,
    every: int = 10,
    **settings: Any,
) -> Tensor:
    """The points `[N, 2]` through which a balancer and Adam go.

    The authors make 35,000 to 100,000 steps with learning rate 0.001 and beta2 0.999; here time
    runs twenty times as fast. It ends early at a point that hardly moves any more, or where a
    balancer finds that no direction helps both tasks.

    Args:
        name: A name of the catalogue.
        start: The first point.
        scale: The size of task 0's loss.
        steps: How many steps are made.
        lr: Adam's learning rate for the point; the balancer's own parameters have 0.025.
        beta2: Adam's second beta.
        every: Each so many steps the point is noted.
        **settings: The balancer's settings.
    """
    x = nn.Parameter(torch.tensor(list(start), dtype=torch.float64))
    balancer = BALANCERS[name](2, **settings).double()
    groups = [{"params": [x], "lr": lr}, {"params": list(balancer.parameters()), "lr": OWN}]
    optimizer = torch.optim.Adam([g for g in groups if g["params"]], betas=(0.9, beta2))
    path, epoch = [x.detach().clone()], torch.zeros(2, dtype=torch.float64)
    for step in range(steps):
        now = losses(x, scale)
        epoch += now.detach() / EPOCH
        if isinstance(balancer, AutoLambda):
            again = partial(losses, x, scale)
            balancer.look_ahead([x], again, again, lr=lr)
        second = losses(x, scale) if isinstance(balancer, UsesIndependentBatches) else None
        optimizer.zero_grad()
        try:
            backward(now, balancer, [x], independent=second)
        except SolverError:
            break
        optimizer.step()
        if isinstance(balancer, RecomputesLosses):
            balancer.update(losses(x.detach(), scale))
        if (step + 1) % EPOCH == 0:
            if isinstance(balancer, EndsEpoch):
                balancer.end_epoch(epoch)
            epoch = torch.zeros_like(epoch)
        if (step + 1) % every == 0:
            path.append(x.detach().clone())
            past = path[-1 - STILL // every] if len(path) > STILL // every else None
            if past is not None and float((path[-1] - past).norm()) < 0.01:
                break
    path.append(x.detach().clone())
    return torch.stack(path)


def on_front(point: Tensor, slack: float = 0.25) -> bool:
    """Whether a point is Pareto-optimal, up to `slack`."""
    return abs(float(point[1]) - FRONT) < slack and abs(float(point[0])) < 7 + slack


def methods() -> list[str]:
    """The names of the catalogue that are drawn, those of the first picture first."""
    return [*FIRST, *(name for name in BALANCERS if name not in FIRST and name not in SAME)]


def paths(name: str) -> list[Tensor]:
    """The ways of one balancer: from all starts, or from three for the second picture."""
    return [train(name, start) for start in (STARTS if name in FIRST else STARTS[:3])]


def ending(path: Tensor) -> str:
    """Where a way ends, in a word."""
    x1, x2 = path[-1].tolist()
    return f"{x1:.1f}" if on_front(path[-1]) else f"**({x1:.1f}, {x2:.1f})**"


def table(found: Mapping[str, list[Tensor]]) -> str:
    """Where each balancer ends: x1 on the front, or the point off it."""
    heads = [f"({a:g}, {b:g})" for a, b in STARTS]
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    for name, ways in found.items():
        cells = [*map(ending, ways), "", ""][: len(STARTS)]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: Mapping[str, list[Tensor]], path: Path, columns: int = 6) -> None:
    """A panel per balancer, over the contours of the sum of the losses.

    Where a way ends is told by shape and colour; the colours are apart for the colour-blind.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    rows = -(-len(found) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    line = torch.linspace(-11, 11, 120)
    x2, x1 = torch.meshgrid(line, line, indexing="ij")
    level = losses(torch.stack([x1, x2], -1)).sum(-1)
    for axis, (name, ways) in zip(axes, found.items(), strict=False):
        axis.contour(line, line, level, levels=12, colors="0.85", linewidths=0.5)
        axis.plot([-7, 7], [FRONT, FRONT], color="0.6", linewidth=5, solid_capstyle="round")
        for way in ways:
            axis.plot(way[:, 0], way[:, 1], color="#0072B2", linewidth=1.0)
            axis.plot(*way[0].tolist(), "o", color="black", markersize=3)
            mark, color = ("o", "#F0E442") if on_front(way[-1]) else ("X", "#D55E00")
            x, y = way[-1].clamp(-10.5, 10.5).tolist()
            axis.plot(x, y, mark, color=color, mec="black", mew=0.7, markersize=6.5, zorder=5)
        axis.set(title=name, xlim=(-11, 11), ylim=(-11, 11), xticks=[], yticks=[])
        axis.title.set_fontsize(11)
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=85)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(160)
    small.save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The two-task toy problem, for every balancer.")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    with ProcessPoolExecutor(parser.parse_args().jobs) as pool:
        drawn = dict(zip(methods(), pool.map(paths, methods()), strict=True))
    folder = Path(__file__).parents[1] / "docs" / "balancing"
    draw({name: drawn[name] for name in FIRST}, folder / "toy.png")
    draw({name: way for name, way in drawn.items() if name not in FIRST}, folder / "toy-more.png")
    print(table(drawn))
