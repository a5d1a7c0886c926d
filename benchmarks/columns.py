"""T columns of one shape: a loop over them against one batched computation.

Columns of GRUs that meet are one computation in the library (`run_columns`), where they are small;
here they are at every size, so that the limit can be seen. Residual columns and perceptrons have
the loop only; for them one computation is `torch.func.vmap` over weights that are stacked for each
pass (convolutions become grouped ones, linear layers batched products). Both ways give the same
features and gradients, which is checked first.

A case is forward and backward of all columns on one input, with `--each` a backward pass per
column, as balancers of gradients make one per task. With `--steps` it is a training step of a
topology: columns, a linear head per task, the balancer and Adam. The two ways take turns in one
process, with the loop before and after, and a case's ratio is the batched way's time over the mean
of its neighbours. It is processor time of one thread, so that other work on the machine matters
less.

    python benchmarks/columns.py
    python benchmarks/columns.py recurrent --widths 12 64 256 --rows 16 64 --tasks 2 5
    python benchmarks/columns.py --steps

T columns, B examples, L frames, D features.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from polytask.backbones import (
    Backbone,
    PerceptronBackbone,
    RecurrentBackbone,
    ResidualBackbone,
)
from polytask.backbones import (
    columns as library,
)
from polytask.balancing import BALANCERS, backward
from polytask.config.catalogue import TRUNKS
from polytask.types import Features

Pass = Callable[[], list[Tensor]]
Case = tuple[list[str], Pass, Pass]
ANY_SIZE = 10**9
FRAMES = 24


def make_column(kind: str, width: int) -> Backbone:
    """A column."""
    if kind == "residual":
        return ResidualBackbone(3, widths=(width, 2 * width), stem="conv3", stem_width=width)
    if kind == "recurrent":
        return RecurrentBackbone(FRAMES, width=width, layers=1)
    return PerceptronBackbone(40, widths=(width, width))


def make_input(kind: str, rows: int, length: int) -> Features:
    """What enters each of them."""
    shapes = {"residual": (3, 32, 32), "recurrent": (length, FRAMES), "perceptron": (40,)}
    return Features(torch.randn(rows, *shapes[kind]))


def differentiated(
    columns: Sequence[Backbone], run: Callable[[], list[Tensor]], each: bool
) -> Pass:
    """Forward and backward, at once or by a pass per column; gives features and gradients."""
    parameters = [p for column in columns for p in column.parameters()]

    def both() -> list[Tensor]:
        for parameter in parameters:
            parameter.grad = None
        found = run()
        if not each:
            torch.stack(found).square().sum().backward()
        else:
            for place, values in enumerate(found, 1):
                values.square().sum().backward(retain_graph=place < len(found))
        return found + [p.grad for p in parameters if p.grad is not None]

    return both


def looped(columns: Sequence[Backbone], given: Features) -> list[Tensor]:
    """What all columns give, one after the other."""
    return [column(given).values for column in columns]


def mapped(columns: Sequence[Backbone], given: Features) -> list[Tensor]:
    """What all columns give, by vmap over their stacked weights."""
    states = [{**dict(c.named_parameters()), **dict(c.named_buffers())} for c in columns]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}

    def one(state: dict[str, Tensor]) -> Tensor:
        features: Features = functional_call(columns[0], state, (given,))
        return features.values

    return list(vmap(one)(stacked))


@contextmanager
def limited(most: int) -> Iterator[None]:
    """Let the library run GRUs of up to so many entries, of any width, as one computation."""
    limits = library.MOST_ENTRIES, library.MOST_WIDTH
    library.MOST_ENTRIES = library.MOST_WIDTH = most
    try:
        yield
    finally:
        library.MOST_ENTRIES, library.MOST_WIDTH = limits


def together(columns: Sequence[Backbone], given: Features) -> list[Tensor]:
    """What all columns give, by the library at any size."""
    with limited(ANY_SIZE):
        return [f.values for f in library.run_columns(columns, given)]


def passes(asked: argparse.Namespace) -> Iterator[Case]:
    """Forward and backward passes of columns."""
    for kind, width, rows, count in itertools.product(
        asked.kinds, asked.widths, asked.rows, asked.tasks
    ):
        columns = [make_column(kind, width).eval() for _ in range(count)]  # same statistics
        given = make_input(kind, rows, asked.length)
        way = together if kind == "recurrent" else mapped
        loop = differentiated(columns, partial(looped, columns, given), asked.each)
        batched = differentiated(columns, partial(way, columns, given), asked.each)
        yield [kind, str(width), str(rows), str(count)], loop, batched


def steps(asked: argparse.Namespace) -> Iterator[Case]:
    """Training steps of topologies over recurrent columns, with and without the loop."""
    for trunk, balancer, width, count in itertools.product(
        asked.trunks, asked.balancers, asked.widths, asked.tasks
    ):
        rows, ways = asked.rows[0], []
        for most in (0, ANY_SIZE):
            torch.manual_seed(0)
            ways.append(step(trunk, balancer, width, count, rows, asked.length, most))
        yield [f"{trunk}, {balancer}", str(width), str(rows), str(count)], ways[0], ways[1]


def step(
    trunk: str, balancer: str, width: int, count: int, rows: int, length: int, most: int
) -> Pass:
    """A training step that gives the losses before it."""
    tasks = [f"t{n}" for n in range(count)]
    made = TRUNKS[trunk](partial(make_column, "recurrent", width), tasks)
    heads = nn.ModuleList(nn.Linear(made.out_features[task], 1) for task in tasks)
    balance = BALANCERS[balancer](count)
    given, wanted = make_input("recurrent", rows, length), torch.randn(count, rows, 1)
    optimizer = torch.optim.Adam([*made.parameters(), *heads.parameters()], 1e-3)

    def run() -> list[Tensor]:
        optimizer.zero_grad()
        with limited(most):
            found = made(given, tasks)
        outputs = [head(found[task].pooled()) for head, task in zip(heads, tasks, strict=True)]
        losses = (torch.stack(outputs) - wanted).square().mean((1, 2))
        backward(losses, balance, made.shared_parameters())
        optimizer.step()
        return [losses.detach()]

    return run


def seconds(run: Pass) -> float:
    """Processor time of one pass."""
    began = time.process_time()
    run()
    return time.process_time() - began


def measured(loop: Pass, batched: Pass, repeats: int) -> tuple[float, list[float]]:
    """Milliseconds of the loop, and the batched way's ratios to it."""
    for ours, theirs in zip(batched(), loop(), strict=True):
        size = float(theirs.detach().abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * max(size, 1.0))
    loops, ratios = [seconds(loop)], []
    for _ in range(repeats):
        time_batched = seconds(batched)
        loops.append(seconds(loop))
        ratios.append(time_batched / statistics.mean(loops[-2:]))
    return 1000 * statistics.median(loops), ratios


def main() -> None:
    """Print a line per case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", default=["residual", "recurrent", "perceptron"])
    parser.add_argument("--widths", nargs="+", type=int, default=[12])
    parser.add_argument("--rows", nargs="+", type=int, default=[64])
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 5, 20])
    parser.add_argument("--length", type=int, default=20, help="frames of recurrent columns")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--each", action="store_true", help="a backward pass per column")
    parser.add_argument("--steps", action="store_true", help="training steps instead of passes")
    parser.add_argument("--trunks", nargs="+", default=["cross-stitch", "mmoe"])
    parser.add_argument("--balancers", nargs="+", default=["equal", "cagrad"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| columns | width | rows | T | loop, ms | batched / loop (least to greatest) |")
    print("|---|---|---|---|---|---|")
    for names, loop, batched in steps(asked) if asked.steps else passes(asked):
        time_of_loop, ratios = measured(loop, batched, asked.repeats)
        print(
            f"| {' | '.join(names)} | {time_of_loop:.1f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
