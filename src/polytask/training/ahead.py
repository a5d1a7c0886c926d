"""A step that is only looked at, for a balancer that learns its weights from it."""

from collections.abc import Sequence
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.balancing import LooksAhead
from polytask.balancing.passes import identity
from polytask.distillation import Teaching
from polytask.model import Boundary
from polytask.tasks.base import Task
from polytask.training.losses import active_tasks, label_counts, lessons_of, task_losses
from polytask.training.processes import all_reduced
from polytask.types import Batch


def look_ahead(
    fabric: Fabric,
    model: nn.Module,
    batch: Batch,
    other: Batch,
    tasks: Sequence[Task],
    *,
    balancer: LooksAhead,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Parameter],
    teaching: Teaching | None,
    progress: float,
) -> None:
    """Let a balancer see what a step on one batch would do to the losses of another.

    Losses are differences of small steps, which half precision would round away, so they are
    computed in float32 whatever the training's precision is. Each pass drops out the same entries,
    and running statistics and random numbers are as before afterwards.

    Args:
        fabric: Where to compute.
        model: The model as it is, without what Fabric wraps around it.
        batch: The examples that the step is about to learn from.
        other: Independent examples.
        tasks: All tasks, in the balancer's order.
        balancer: Learns from it.
        optimizer: Says how large a step is, and SGD's velocity. Of other optimizers the step is a
            plain one by the gradient, as in the authors' code.
        parameters: All that the optimizer moves.
        teaching: Teachers, if there are any.
        progress: Share of the training that is done.
    """
    said = [lessons_of(fabric, teaching, some, tasks, progress) for some in (batch, other)]
    active = torch.ones(len(tasks), dtype=torch.bool, device=fabric.device)
    for some, lessons in zip((batch, other), said, strict=True):
        whole = some if lessons is None else lessons.lessons.batch
        active &= active_tasks(label_counts(fabric, whole, tasks), lessons)
    seed = torch.initial_seed()

    def losses(k: int) -> Tensor:
        torch.manual_seed(seed)
        found, _ = task_losses(fabric, model, (batch, other)[k], tasks, Boundary(), said[k])
        return torch.stack(found)

    groups = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    balancer.look_ahead(
        parameters,
        partial(losses, 0),
        partial(losses, 1),
        lr={p: group["lr"] for p, group in groups},
        momentum=velocities(optimizer),
        weight_decay={p: group.get("weight_decay", 0.0) for p, group in groups},
        active=active,
        reduce=partial(all_reduced, fabric) if fabric.world_size > 1 else identity,
    )
    for buffer, before in statistics:
        buffer.copy_(before)
    torch.manual_seed(seed)


def velocities(optimizer: torch.optim.Optimizer) -> dict[Tensor, Tensor]:
    """What momentum adds to the next gradient of each parameter, for SGD."""
    inner = getattr(optimizer, "optimizer", optimizer)  # Fabric's wraps the one that was made
    if not isinstance(inner, torch.optim.SGD):
        return {}
    found = {}
    for group in inner.param_groups:
        for p in group["params"]:
            buffer = inner.state[p].get("momentum_buffer") if p in inner.state else None
            if group["momentum"] and buffer is not None:
                found[p] = group["momentum"] * buffer
    return found
