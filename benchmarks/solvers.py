"""How long each solver takes for a Gramian of T tasks, and how far from the optimum it ends.

Easy Gramians are of random gradients with a common part; hard ones of two camps that pull against
each other, with rows scaled by 0.1 to 10. The error is measured against something that shares
nothing with the solvers: the greatest lower bound by the problem's dual, where it has one (a
relative gap), or the residual of the equation that the weights should solve.

Other kinds (`--kinds`) are ill-conditioned or singular. Nash-MTL need not have a solution for
them, and where the optimum is zero (`zero-sum`) a relative gap means nothing.

    python benchmarks/solvers.py --tasks 10 40 100 --threads 1

T tasks.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from polytask.balancing import SolverError
from polytask.balancing.solvers import conflict_averse, fair, in_dual_cone, min_norm

Solver = Callable[[Tensor], Tensor]
Check = Callable[[Tensor, Tensor], float]
C = 0.4


def gramian(count: int, kind: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    wide = 4 * count + 40
    common, rows = normal(wide), normal(count, wide)
    half = count // 2
    if kind == "easy":
        rows = rows + 0.3 * common
    elif kind == "hard":
        camps = torch.ones(count, 1, dtype=torch.float64)
        camps[::2] = -1
        rows = camps * common + 0.3 * rows
        rows = rows * 10 ** (2 * torch.rand(count, 1, generator=generator).double() - 1)
    elif kind == "low-rank":
        rows = rows[:, : 9 * count // 10]
    elif kind == "half-rank":
        rows = rows[:, : 6 * count // 10]
    elif kind == "noisy":  # A third of the rank, and a tenth of noise on it.
        rows = normal(count, count // 3) @ rows[: count // 3] / (count / 3) ** 0.5 + 0.1 * rows
    elif kind == "zero-sum":
        rows = rows - rows.mean(0)
    elif kind == "twins":
        rows[:half] = 2 * rows[-half:]
    elif kind == "near-twins":
        rows[:half] = 2 * rows[-half:] + 1e-3 * rows[:half]
    elif kind == "fading":
        rows = rows * 10 ** (-3 * torch.arange(wide).double() / count)
    return rows @ rows.T


KINDS = [
    "easy", "hard", "low-rank", "half-rank", "noisy", "zero-sum", "twins", "near-twins", "fading",
]  # fmt: skip


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
    parser.add_argument("--kinds", nargs="*", default=KINDS[:2], choices=KINDS)
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument(
        "--cpu", action="store_true", help="CPU time: for a busy machine, with one thread"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    print(f"{'T':>4} {'':11}{'solver':20}{'median ms':>10}{'least ms':>10}{'error':>10}")
    for count in options.tasks:
        for kind in options.kinds:
            for name in options.solvers:
                solve, check = SOLVERS[name]
                taken, errors, failed = [], [0.0], 0
                for seed in range(options.seeds):
                    matrix = gramian(count, kind, seed)
                    try:
                        errors.append(check(matrix, solve(matrix)))
                    except SolverError:
                        failed += 1
                        continue
                    for _ in range(options.repeats):
                        start = clock()
                        solve(matrix)
                        taken.append(1e3 * (clock() - start))
                line = f"{count:4} {kind:11}{name:20}"
                if taken:
                    line += f"{statistics.median(taken):10.2f}{min(taken):10.2f}{max(errors):10.0e}"
                print(line + (f"  no solution of {failed}" if failed else ""))


if __name__ == "__main__":
    main()
