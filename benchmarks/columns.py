"""T columns of one shape: a loop over them against one batched computation.

Topologies with a network per task run their columns one after the other. Columns of one shape could
be one computation over stacked weights: by `torch.func.vmap` (convolutions become grouped ones,
linear layers batched products), and, because vmap knows no recurrent cell, GRUs by batched products
step by step. Both ways give the same features and gradients, which is checked first. A case is
forward and backward of all columns on one input; the two ways take turns in one process, with the
loop before and after, and a case's ratio is the batched way's time over the mean of its neighbours.
With `--each` there is a backward pass per column, as balancers of gradients make one per task.
It is processor time of one thread, so that other work on the machine matters less.

    python benchmarks/columns.py
    python benchmarks/columns.py residual --tasks 2 5 20 --repeats 9 --wide
    python benchmarks/columns.py recurrent perceptron --each

T columns, B examples, L frames, D features, H the width of a cell.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from polytask.backbones import (
    Backbone,
    PerceptronBackbone,
    RecurrentBackbone,
    ResidualBackbone,
)
from polytask.types import Features

Pass = Callable[[], list[Tensor]]


def columns_of(kind: str, count: int, wide: bool) -> tuple[list[Backbone], Tensor]:
    """T columns and an input for all of them."""
    if kind == "residual":
        widths = (32, 64, 128) if wide else (8, 16)
        return [
            ResidualBackbone(3, widths=widths, stem="conv3", stem_width=widths[0])
            for _ in range(count)
        ], torch.randn(32, 3, 32, 32)
    if kind == "recurrent":
        width = 64 if wide else 12
        return [RecurrentBackbone(24, width=width, layers=1) for _ in range(count)], torch.randn(
            64, 20, 24
        )
    widths = (256, 256) if wide else (32, 32)
    return [PerceptronBackbone(40, widths=widths) for _ in range(count)], torch.randn(128, 40)


def backward(found: Sequence[Tensor], each: bool) -> None:
    """Gradients of a scalar of all columns' features, at once or by a backward pass per column."""
    if not each:
        torch.stack(tuple(found)).square().sum().backward()
        return
    for place, values in enumerate(found, 1):
        values.square().sum().backward(retain_graph=place < len(found))


def looped(columns: list[Backbone], given: Tensor, each: bool) -> Pass:
    """The columns one after the other: their features and, added, the gradients."""

    def run() -> list[Tensor]:
        for column in columns:
            column.zero_grad()
        found = [column(Features(given)).values for column in columns]
        backward(found, each)
        return found

    return run


def mapped(columns: list[Backbone], given: Tensor, each: bool) -> Pass:
    """All columns as one computation over stacked weights, by vmap."""
    weights, buffers = stack_module_state(columns)  # type: ignore[arg-type]
    # Batch normalisation counts its batches in place, which vmap allows for stacked counters only.
    weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    first = columns[0]

    def one(state: dict[str, Tensor], values: Tensor) -> Tensor:
        features: Features = functional_call(first, state, (Features(values),))
        return features.values

    several = vmap(one, in_dims=(0, None))

    def run() -> list[Tensor]:
        for value in weights.values():
            value.grad = None
        found = list(several({**weights, **buffers}, given))
        backward(found, each)
        return found

    return run


def stepped(columns: list[Backbone], given: Tensor, each: bool) -> Pass:
    """All GRU columns of one layer, both directions, by batched products frame by frame."""
    cells = [
        getattr(column.stages[0], way) for way in ("forwards", "backwards") for column in columns
    ]
    stacked = {
        name: torch.stack([cell.get_parameter(name).detach() for cell in cells]).requires_grad_()
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    }

    def run() -> list[Tensor]:
        for value in stacked.values():
            value.grad = None
        count = len(columns)
        frames = torch.stack([given, given.flip(1)])  # [2, B, L, D]
        frames = frames.repeat_interleave(count, 0).flatten(1, 2)  # [2 T, B L, D]
        inputs = torch.baddbmm(
            stacked["bias_ih_l0"].unsqueeze(1), frames, stacked["weight_ih_l0"].transpose(1, 2)
        ).unflatten(1, given.shape[:2])
        state = given.new_zeros(2 * count, given.shape[0], stacked["weight_hh_l0"].shape[2])
        states = []
        hidden = stacked["weight_hh_l0"].transpose(1, 2)
        bias = stacked["bias_hh_l0"].unsqueeze(1)
        for frame in inputs.unbind(2):
            reset, update, new = frame.chunk(3, 2)
            from_state = torch.baddbmm(bias, state, hidden).chunk(3, 2)
            update = torch.sigmoid(update + from_state[1])
            new = torch.tanh(new + torch.sigmoid(reset + from_state[0]) * from_state[2])
            state = new + update * (state - new)
            states.append(state)
        there, back = torch.stack(states, 2).split(count)
        found = list(torch.cat([there, back.flip(2)], 3))
        backward(found, each)
        return found

    return run


def seconds(run: Pass) -> float:
    """Processor time of one pass."""
    began = time.process_time()
    run()
    return time.process_time() - began


def measured(
    kind: str, count: int, wide: bool, each: bool, repeats: int
) -> tuple[float, list[float]]:
    """Milliseconds of the loop, and the batched way's ratios to it."""
    torch.manual_seed(0)
    columns, given = columns_of(kind, count, wide)
    for column in columns:
        column.eval()  # the same running statistics both ways; batches are normalised alike
    loop = looped(columns, given, each)
    batched = (stepped if kind == "recurrent" else mapped)(columns, given, each)
    for ours, theirs in zip(batched(), loop(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    loops, ratios = [seconds(loop)], []
    for _ in range(repeats):
        time_batched = seconds(batched)
        loops.append(seconds(loop))
        ratios.append(time_batched / statistics.mean(loops[-2:]))
    return 1000 * statistics.median(loops), ratios


def main() -> None:
    """Print a line per kind, width and T."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ["residual", "recurrent", "perceptron"]
    parser.add_argument("kinds", nargs="*", default=kinds)
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 5, 20])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--wide", action="store_true", help="columns of usual width, not tiny ones")
    parser.add_argument("--each", action="store_true", help="a backward pass per column")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| columns | T | loop, ms | batched / loop (least to greatest) |\n|---|---|---|---|")
    for kind in asked.kinds:
        for count in asked.tasks:
            loop, ratios = measured(kind, count, asked.wide, asked.each, asked.repeats)
            print(
                f"| {kind} | {count} | {loop:.1f} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
