"""What `Conflict` tells: a summary in plain values, and a picture.

T tasks, G groups of shared parameters, N noted steps.
"""

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polytask.errors import require

FEW = 6  # pairs that are drawn one by one


def norms_of(gramian: Tensor) -> Tensor:
    """Gradient norms `[..., T]` of a Gramian; NaN where a gradient is absent."""
    return gramian.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()


def cosines_of(gramian: Tensor) -> Tensor:
    """Cosines `[..., T, T]` of a Gramian; NaN where a gradient is absent or zero."""
    norms = norms_of(gramian)
    norms = torch.where(norms > 0, norms, math.nan)
    return (gramian / norms[..., :, None] / norms[..., None, :]).clamp(-1, 1)


def grouped(gramians: Tensor, groups: list[str]) -> dict[str, Tensor]:
    """Gramians `[N, T, T]` by group; several are preceded by their sum, `all`."""
    found = dict(zip(groups, gramians.unbind(1), strict=True))
    return {"all": gramians.sum(1), **found} if len(groups) > 1 else found


def known(values: Tensor) -> Tensor:
    """Those of the values that are numbers."""
    return values[values.isfinite()]


def plain(value: Tensor) -> float | None:
    """A number, or None for NaN."""
    return None if math.isnan(float(value)) else float(value)


def summarized(history: dict[str, Tensor], groups: list[str], names: list[str]) -> dict[str, Any]:
    """The parts of a summary that come from the kept steps."""
    gramians = grouped(history["gramians"], groups)
    whole, weights = next(iter(gramians.values())), history["weights"]
    # How much the weighted update lowers each loss, to the first order: [N, T].
    gains = torch.einsum("ntu,nu->nt", whole.nan_to_num(), weights.nan_to_num())
    tasks = {}
    for t, name in enumerate(names):
        there = weights[:, t].isfinite() & (whole[:, t, t] > 0)
        tasks[name] = {
            "weight": plain(weights[:, t].nanmedian()) if len(weights) else None,
            "set_back": plain((gains[there, t] < 0).double().mean()),
        }
    return {"tasks": tasks, "groups": {g: _of_group(m, names) for g, m in gramians.items()}}


def _of_group(gramian: Tensor, names: list[str]) -> dict[str, Any]:
    norms, angles = norms_of(gramian), cosines_of(gramian)
    filled = torch.where(norms > 0, norms, math.nan)
    largest = filled.nan_to_num(nan=-math.inf).amax(1) if len(filled) else filled[:, 0]
    smallest = filled.nan_to_num(nan=math.inf).amin(1) if len(filled) else filled[:, 0]
    ratios = known(largest / smallest)[known(largest / smallest) > 0]
    pairs = []
    for a, b in combinations(range(len(names)), 2):
        values = known(angles[:, a, b])
        some = len(values) > 0
        pairs.append(
            {
                "tasks": [names[a], names[b]],
                "noted": len(values),
                "conflict_rate": plain((values < 0).double().mean()),
                "cosine": plain(values.mean()),
                "lowest": float(values.min()) if some else None,
            }
        )
    return {
        "norms": {n: plain(known(norms[:, t]).median()) for t, n in enumerate(names)},
        "norm_ratio": plain(ratios.median()),
        "pairs": pairs,
    }


def draw(history: dict[str, Tensor], groups: list[str], names: list[str], path: Path) -> None:
    """Cosines and norms over the steps, a column per group, and the weights under the first."""
    require("matplotlib", "report")
    from matplotlib.figure import Figure

    gramians = grouped(history["gramians"], groups)
    steps, weights = history["steps"].numpy(), history["weights"]
    rows = 3 if bool(weights.isfinite().any()) else 2
    figure = Figure(figsize=(max(4.4 * len(gramians), 6.4), 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, len(gramians), squeeze=False, sharex=True, sharey="row")
    for column, (group, gramian) in enumerate(gramians.items()):
        top, middle = axes[0, column], axes[1, column]
        _draw_cosines(top, steps, cosines_of(gramian), names)
        norms = norms_of(gramian)
        for t, name in enumerate(names):
            values = torch.where(norms[:, t] > 0, norms[:, t], math.nan)
            middle.plot(steps, values.numpy(), label=name, **_line(len(steps)))
        middle.set_yscale("log")
        top.set_title(group)
    axes[0, 0].set_ylabel("cosine of gradients")
    axes[1, 0].set_ylabel("gradient norm")
    if rows == 3:
        for t, name in enumerate(names):
            axes[2, 0].plot(steps, weights[:, t].numpy(), label=name, **_line(len(steps)))
        axes[2, 0].set_ylabel("weight")
        for unused in axes[2, 1:]:
            unused.set_visible(False)
    for column in range(len(gramians)):
        lowest = axes[2 if rows == 3 and column == 0 else 1, column]
        lowest.set_xlabel("step")
        lowest.tick_params(labelbottom=True)
    for axis in (axes[0, 0], axes[1, 0]):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="x-small", ncols=2, loc="best", framealpha=0.7)
    figure.savefig(path, dpi=110)


def _line(count: int) -> dict[str, Any]:
    """Points as well as lines where points are few, so that what stands alone can be seen."""
    return {"linewidth": 1.0, "marker": ".", "markersize": 3.0 if count > 60 else 5.0}


def _draw_cosines(axis: Any, steps: Any, angles: Tensor, names: list[str]) -> None:
    """Each pair of tasks if they are few; else the spread over pairs and the worst of them."""
    pairs = list(combinations(range(len(names)), 2))
    axis.axhspan(-1, 0, color="tab:red", alpha=0.06, linewidth=0)
    axis.set_ylim(-1.02, 1.02)
    if not pairs:
        return
    values = torch.stack([angles[:, a, b] for a, b in pairs], 1)  # [N, pairs]
    rates = [known(v) for v in values.unbind(1)]
    shares = [float((v < 0).double().mean()) if len(v) else 0.0 for v in rates]
    if len(pairs) <= FEW:
        for (a, b), value, share in zip(pairs, values.unbind(1), shares, strict=True):
            label = f"{names[a]}, {names[b]}: {share:.0%} in conflict"
            axis.plot(steps, value.numpy(), label=label, **_line(len(steps)))
        return
    low, middle, high = values.nanquantile(torch.tensor([0.1, 0.5, 0.9]).double(), dim=1)
    axis.fill_between(steps, low.numpy(), high.numpy(), alpha=0.25, label="80% of pairs")
    axis.plot(steps, middle.numpy(), label="median of pairs", **_line(len(steps)))
    worst = max(range(len(pairs)), key=shares.__getitem__)
    label = f"{names[pairs[worst][0]]}, {names[pairs[worst][1]]}: {shares[worst]:.0%} in conflict"
    axis.plot(steps, values[:, worst].numpy(), label=label, **_line(len(steps)))
