"""How long each solver takes for a Gramian of T tasks, and how far from the optimum it ends.

Easy Gramians are of random gradients with a common part; hard ones of two camps that pull against
each other, with rows scaled by 0.1 to 10. The error is measured against something that shares
nothing with the solvers: the greatest lower bound by the problem's dual, where it has one (a
relative gap), or the residual of the equation that the weights should solve.

    python benchmarks/solvers.py --tasks 10 40 100 --threads 1

T tasks.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from polytask.balancing.solvers import conflict_averse, fair, in_dual_cone, min_norm

Solver = Callable[[Tensor], Tensor]
Check = Callable[[Tensor, Tensor], float]
C = 0.4


def gramian(count: int, hard: bool, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    common, rows = normal(4 * count + 40), normal(count, 4 * count + 40)
    if not hard:
        rows = rows + 0.3 * common
    else:
        camps = torch.ones(count, 1, dtype=torch.float64)
        camps[::2] = -1
        rows = camps * common + 0.3 * rows
        rows = rows * 10 ** (2 * torch.rand(count, 1, generator=generator).double() - 1)
    return rows @ rows.T


def gap_of_min_norm(gramian: Tensor, w: Tensor) -> float:
    """`|d|^2` less the least `g_t . d`, which is its lower bound by the dual."""
    square = float(w @ gramian @ w)
    return (square - float((gramian @ w).min())) / square


def gap_of_conflict_averse(gramian: Tensor, w: Tensor) -> float:
    """What the worst task gains by the update, less what the weights say that it could at best."""
    count = len(gramian)
    mean = torch.full((count,), 1 / count, dtype=torch.float64)
    size = float((mean @ gramian @ mean).sqrt())
    y = (w - mean) / (w - mean).sum()
    best = float(y @ gramian @ mean) + C * size * float((y @ gramian @ y).sqrt())
    step = float(((w - mean) @ gramian @ (w - mean)).sqrt())
    assert step <= C * size * (1 + 1e-9)
    return (best - float((gramian @ w).min())) / best


def gap_of_projections(gramian: Tensor, v: Tensor) -> float:
    """Each row v: `|v' J|^2` less its lower bound `2 u' G v - |v' J|^2` under `G v >= 0`."""
    target = torch.eye(len(v), dtype=torch.float64)
    norms = gramian.diagonal().sqrt()
    size = (v * norms).sum(1, keepdim=True)
    products = v @ gramian
    violated = torch.maximum(
        ((target - v) * norms / size).amax(), (-products / norms / size).amax()
    )
    gap = ((v - target) * products).sum(1) / (v * products).sum(1)
    return max(float(violated), float(gap.abs().max()))


def residual_of_fair(gramian: Tensor, w: Tensor) -> float:
    return float((w * (gramian @ w) - 1).abs().max())


SOLVERS: dict[str, tuple[Solver, Check]] = {
    "MGDA": (min_norm, gap_of_min_norm),
    "CAGrad": (lambda g: conflict_averse(g, C), gap_of_conflict_averse),
    "UPGrad": (
        lambda g: in_dual_cone(g, torch.eye(len(g), dtype=g.dtype)),
        gap_of_projections,
    ),
    "DualProj": (
        lambda g: in_dual_cone(g, torch.ones(1, len(g), dtype=g.dtype)),
        lambda g, v: float(((v - 1) * (v @ g)).sum().abs() / (v * (v @ g)).sum()),
    ),
    "Nash-MTL, FairGrad": (lambda g: fair(g, 1.0), residual_of_fair),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="*", type=int, default=[2, 5, 10, 20, 40, 100])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--cpu", action="store_true", help="CPU time: for a busy machine, with one thread"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    print(f"{'T':>4} {'':5}{'solver':20}{'median ms':>10}{'least ms':>10}{'error':>10}")
    for count in options.tasks:
        for hard in (False, True):
            for name, (solve, check) in SOLVERS.items():
                taken, errors = [], []
                for seed in range(options.seeds):
                    matrix = gramian(count, hard, seed)
                    errors.append(check(matrix, solve(matrix)))
                    for _ in range(options.repeats):
                        start = clock()
                        solve(matrix)
                        taken.append(1e3 * (clock() - start))
                print(
                    f"{count:4} {'hard' if hard else 'easy'} {name:20}"
                    f"{statistics.median(taken):10.2f}{min(taken):10.2f}{max(errors):10.0e}"
                )


if __name__ == "__main__":
    main()
