"""Columns of one shape: one after the other, or as one computation where that is faster.

Shapes: T columns, K cells (one per column and direction), B examples, L frames, D features, H the
width of a cell.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from polytask.backbones.recurrent import RecurrentBackbone, RecurrentLayer, joined, reversal
from polytask.types import Features

# Up to where one computation is faster on a processor, by benchmarks/columns.py: it takes 0.2 to
# 0.5 of the loop's time at 1,024 entries of one cell's state (B H), 0.7 to 0.9 at 4,096 and 0.8 to
# 1.1 at 8,192 and more; and at width 256, however few the rows, 1.0 to 1.3.
MOST_ENTRIES = 4096
MOST_WIDTH = 128

GRU_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def run_columns(columns: Sequence[nn.Module], features: Features) -> list[Features]:
    """What each of T backbones gives for the same features; GRUs run from stage to stage.

    Those draw their dropout stage by stage then, not column by column.
    """
    walked = [c for c in columns if type(c) is RecurrentBackbone and not watched([c])]
    if len(walked) < len(columns) or len({len(column.stages) for column in walked}) > 1:
        return [column(features) for column in columns]
    given = [features] * len(columns)
    for stages in zip(*(column.stages for column in walked), strict=True):
        given = run_stages(stages, given)
    return given


def run_stages(stages: Sequence[nn.Module], given: Sequence[Features]) -> list[Features]:
    """What each of T columns' stages at one depth gives for its own features.

    Where `faster_together` says so they are one computation over their weights, stacked for this
    pass: the same values and gradients but for rounding, with the dropout that the loop draws.
    A backward pass that enters one column then goes through all of them, at the cost of all, and
    the others' gradients are zeros instead of none. So this is for columns that meet further up,
    where every task moves every column; columns of one task alone run by themselves.
    """
    layers = [stage for stage in stages if type(stage) is RecurrentLayer]
    if len(layers) == len(stages) and faster_together(layers, given):
        return together(layers, given)
    return [stage(features) for stage, features in zip(stages, given, strict=True)]


def faster_together(layers: Sequence[RecurrentLayer], given: Sequence[Features]) -> bool:
    """Whether recurrent layers could be one computation, and a faster one: the whole rule.

    They are two or more, GRUs of one shape, small, and fed with features of one shape and one mask,
    on a processor. Nobody watches one of them by a hook, and nothing records the network for
    export, where the loop over frames would be unrolled.
    """
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    if recorded or len(layers) < 2 or any(watched(layer.modules()) for layer in layers):
        return False
    both = [(layer.forwards, layer.backwards) for layer in layers]
    cells = [cell for pair in both for cell in pair if cell is not None]
    if any(type(c) is not nn.GRU or c._all_weights != [list(GRU_WEIGHTS)] for c in cells):
        return False
    kinds = {
        (
            *(layer.stride, layer.backwards is None),
            *(f.values.shape, f.values.dtype, f.values.device.type, id(f.mask)),
            *((p.shape, p.dtype, p.device.type) for p in layer.parameters()),
        )
        for layer, f in zip(layers, given, strict=True)
    }
    values, width = given[0].values, cells[0].hidden_size
    small = width <= MOST_WIDTH and len(values) * width <= MOST_ENTRIES
    return len(kinds) == 1 and small and values.device.type == "cpu"


def watched(modules: Iterable[nn.Module]) -> bool:
    """Whether somebody has put a hook on one of the modules."""
    return any(getattr(module, hooks) for module in modules for hooks in HOOKS)


def together(layers: Sequence[RecurrentLayer], given: Sequence[Features]) -> list[Features]:
    """GRU layers of one shape as one, both directions side by side."""
    if layers[0].stride > 1:
        given = [Features(*joined(f.values, f.mask, layers[0].stride)) for f in given]
    mask = given[0].mask
    dropped = [layer.dropout(f.values) for layer, f in zip(layers, given, strict=True)]
    frames = values = torch.stack(dropped)  # [T, B, L, D]
    cells = [layer.forwards for layer in layers]
    backwards = [layer.backwards for layer in layers if layer.backwards is not None]
    if backwards:
        order = reversal(values[0], mask)
        frames = torch.cat([values, values.gather(2, order.expand_as(values))])  # [2 T, B, L, D]
        cells += backwards
    weights = [torch.stack([getattr(cell, name) for cell in cells]) for name in GRU_WEIGHTS]
    found = gru_states(frames, *weights)
    if backwards:
        there, back = found.split(len(layers))
        found = torch.cat([there, back.gather(2, order.expand_as(back))], 3)
    return [Features(part, mask) for part in found.unbind()]


def gru_states(frames: Tensor, inner: Tensor, outer: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    """The states of K cells on `[K, B, L, D]`: `[K, B, L, H]`, in PyTorch's form of the GRU.

    Args:
        frames: What each cell reads.
        inner: Weights of frames, `[K, 3 H, D]`: reset and update gates, new state.
        outer: Weights of states, `[K, 3 H, H]`.
        bias: `[K, 3 H]`, added to the frames' part.
        other: `[K, 3 H]`, added to the states' part.
    """
    width = outer.shape[2]
    in_time = frames.transpose(1, 2)
    read = torch.baddbmm(bias.unsqueeze(1), in_time.flatten(1, 2), inner.transpose(1, 2))
    gates, news = read.unflatten(1, in_time.shape[1:3]).split([2 * width, width], 3)
    state = frames.new_zeros(len(frames), frames.shape[1], width)
    outer, other, states = outer.transpose(1, 2), other.unsqueeze(1), []
    for gate, new in zip(gates.unbind(1), news.unbind(1), strict=True):
        from_gate, from_new = torch.baddbmm(other, state, outer).split([2 * width, width], 2)
        reset, update = torch.sigmoid(gate + from_gate).to(state.dtype).chunk(2, 2)
        new = torch.tanh(torch.addcmul(new.to(state.dtype), reset, from_new.to(state.dtype)))
        state = torch.lerp(new, state, update)
        states.append(state)
    return torch.stack(states, 2)
