"""Where in the network the tasks' gradients pull in different directions.

Shapes: N batches, G layers, T tasks, P parameters.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.balancing.conflict_report import cosines_of
from polytask.model import MultiTaskModel, guidance, labelled
from polytask.tasks import Task
from polytask.types import Batch


def shared_layers(model: MultiTaskModel) -> dict[str, list[Tensor]]:
    """The parameters that several tasks move, by where they are: encoders, stages (those of all
    columns or experts together), and what lies between stages."""
    places: dict[int, str] = {}
    for name in model.encoders:
        places |= {id(p): f"encoder {name}" for p in model.encoders[name].parameters()}
    for backbone in model.trunk.backbones():
        for depth, stage in enumerate(backbone.stages):
            places |= {id(p): f"stage {depth + 1}" for p in stage.parameters()}
    found: dict[str, list[Tensor]] = {}
    for parameter in model.shared_parameters():
        found.setdefault(places.get(id(parameter), "between stages"), []).append(parameter)
    order = [*dict.fromkeys(places.values()), "between stages"]
    return {name: found[name] for name in order if name in found}


def gramians(model: MultiTaskModel, batches: Iterable[Batch], tasks: Sequence[Task]) -> Tensor:
    """Inner products of the tasks' gradients by batch and layer, `[N, G, T, T]`.

    Each task's loss is the mean over its labelled examples of the batch. A task without any has
    zeros there.

    Args:
        model: In evaluation mode: without dropout, normalised as in evaluation.
        batches: The examples.
        tasks: The tasks.
    """
    layers = shared_layers(model)
    flat = [parameter for parameters in layers.values() for parameter in parameters]
    sizes = [sum(p.numel() for p in parameters) for parameters in layers.values()]
    found = []
    for batch in batches:
        rows = []
        here = labelled(tasks, batch)
        names = [task.name for task in here]
        outputs = model(batch.inputs, names, rows=batch.present, **guidance(here, batch))
        for task in tasks:
            row = torch.zeros(sum(sizes), dtype=torch.float64)
            if task in here:
                present = batch.present[task.name]
                output, target = outputs[task.name][present].float(), batch.targets[task.name]
                loss = task.loss(output, target[present]).mean()
                gradients = torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True)
                row = torch.cat(
                    [
                        (torch.zeros_like(p) if g is None else g).flatten().double()
                        for p, g in zip(flat, gradients, strict=True)
                    ]
                )
            rows.append(row)
        parts = torch.stack(rows).split(sizes, dim=1)
        found.append(torch.stack([part @ part.T for part in parts]))
    return torch.stack(found) if found else torch.zeros(0, len(sizes), len(tasks), len(tasks))


def sharers(model: MultiTaskModel, batches: Iterable[Batch], tasks: Sequence[Task]) -> list[str]:
    """The tasks that move a parameter which another task moves too, by name.

    Args:
        model: The network.
        batches: Examples; a task whose input none of them has is taken to share.
        tasks: The tasks.
    """
    shared = list(model.shared_parameters())
    seen = {name: batch for batch in batches for name in batch.inputs}
    found = []
    for task in tasks if shared else ():
        moves = task.input not in seen
        if not moves:
            batch = seen[task.input]
            output = model(batch.inputs, [task.name], **guidance([task], batch))[task.name]
            if output.requires_grad:
                gradients = torch.autograd.grad(output.float().sum(), shared, allow_unused=True)
                moves = any(gradient is not None for gradient in gradients)
        if moves:
            found.append(task.name)
    return found


def conflicts(
    model: MultiTaskModel, batches: Iterable[Batch], tasks: Sequence[Task]
) -> dict[str, dict[str, Any]]:
    """Per layer: `cosine`, the mean cosine of each two tasks' gradients, `negative`, the share of
    batches in which it is below zero, and `batches`, how many had both. `[T][T]` each."""
    if not shared_layers(model):
        return {}
    angles = cosines_of(gramians(model, batches, tasks))
    found = {}
    for place, layer in enumerate(shared_layers(model)):
        of = angles[:, place]
        known = of.isfinite()
        counts = known.sum(0)
        mean = torch.where(known, of, 0.0).sum(0) / counts.clamp(min=1)
        negative = ((of < 0) & known).sum(0) / counts.clamp(min=1)
        found[layer] = {
            "cosine": _plain(torch.where(counts > 0, mean, math.nan)),
            "negative": _plain(torch.where(counts > 0, negative.double(), math.nan)),
            "batches": counts.tolist(),
        }
    return found


def _plain(table: Tensor) -> list[list[float | None]]:
    """A table of numbers, None for NaN."""
    return [[None if math.isnan(v) else v for v in row] for row in table.tolist()]
