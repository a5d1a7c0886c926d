"""What `backward` asks of what it is given."""

from collections.abc import Iterable

import torch
from torch import Tensor

from polytask.balancing.base import Balancer, LossBalancer
from polytask.balancing.graph import Losses, leaves
from polytask.balancing.passes import Passes, identity
from polytask.errors import TrainingError


def active_tasks(losses: Losses, num_tasks: int, active: Tensor | None) -> list[int]:
    """The numbers of the active tasks."""
    count = len(losses.values)
    if count != num_tasks:
        raise ValueError(
            f"`losses` should have one entry per task (num_tasks={num_tasks}). "
            f"Found {count}. Did a task have no label? Keep its entry and pass `active=`."
        )
    if active is None:
        return list(range(count))
    wanted = f"`active` should be a bool tensor of shape ({count},), true for tasks with a label."
    if not isinstance(active, Tensor):
        raise TypeError(f"{wanted} Found {type(active).__name__}. Pass `torch.tensor(...)` of it.")
    if active.dtype != torch.bool or active.shape != (count,):
        raise ValueError(f"{wanted} Found {active.dtype} of shape {tuple(active.shape)}.")
    tasks = [t for t, on in enumerate(active.tolist()) if on]
    if not tasks:
        raise TrainingError("No task is active in this step: there is nothing to learn from.")
    absent = losses.values[~active.to(losses.values.device)]
    if losses.entwined and not bool(absent.isfinite().all()):
        raise ValueError(
            "Losses of absent tasks are not finite, and `losses` is one computation of all tasks, "
            "in which a gradient of zero times NaN is NaN for everybody. Compute each task's loss "
            "by itself and pass a list or `torch.stack` of them, or put numbers where labels are "
            "missing before the losses are computed."
        )
    return tasks


def need_balancer(balancer: object) -> None:
    """Raise unless it is a balancer, made for a number of tasks."""
    if isinstance(balancer, Balancer):
        return
    found = f"an object of {type(balancer).__name__}"
    if isinstance(balancer, type):
        found = f"the class {balancer.__name__}: make one, {balancer.__name__}(num_tasks=...)"
    elif isinstance(balancer, str):
        found = f"the name '{balancer}': make one, `BALANCERS['{balancer}'](num_tasks=...)`"
    raise TypeError(f"`balancer` should be a balancer. Found {found}.")


def need_shared(balancer: Balancer, passes: Passes) -> None:
    """Raise unless there are shared parameters, and some learn."""
    name = type(balancer).__name__
    if passes.shared:
        return
    if passes.shared.declared:
        raise ValueError(
            f"{name} combines gradients at shared parameters, and all that are in `shared` are "
            "frozen. While nothing shared learns there is nothing to combine: use EqualWeighting."
        )
    raise ValueError(
        f"{name} combines gradients at shared parameters. Pass `shared=`, the parameters that "
        "several tasks train."
    )


def need_reached(passes: Passes, reached: Iterable[Tensor] | None) -> None:
    """Raise if all tasks are there and none of them reaches a shared parameter."""
    everyone = len(passes.tasks) == len(passes.losses.values)
    if reached is None or not everyone or not set(reached).isdisjoint(passes.shared.everyone):
        return
    raise ValueError(
        "No loss depends on any of the `shared` parameters, so they would not learn. Are they "
        "those of the model that made the losses, not of a copy? Was it run under "
        "`torch.no_grad()`, its output detached, or hidden by `checkpoint` (which needs "
        "`use_reentrant=False`)?"
    )


def sees_parameters(balancer: Balancer) -> bool:
    """Whether a balancer needs each task's gradient at the shared parameters."""
    return not isinstance(balancer, LossBalancer) and getattr(balancer, "at", "") != "features"


def makes_rows(balancer: Balancer) -> bool:
    """Whether a balancer takes each task's gradient at shared parameters, of one batch."""
    return sees_parameters(balancer) and not getattr(balancer, "batches", None)


def need_whole(balancer: Balancer, passes: Passes) -> None:
    """Raise if each task's gradient is needed at parameters of which a process has a part."""
    shared = passes.shared
    if shared.everyone is shared.parameters or len(shared.everyone) == len(shared.parameters):
        return
    if sees_parameters(balancer):
        raise ValueError(
            f"{type(balancer).__name__} needs each task's gradient at shared parameters, which "
            "can't be had of sharded ones. Take at='features', or a balancer that sees losses."
        )


def need_rows(balancer: Balancer, passes: Passes, estimate: object) -> None:
    """Raise unless several tasks' passes can be made as one."""
    if passes.at_once < 1:
        raise ValueError(f"`at_once` should be at least 1. Found {passes.at_once}.")
    if not makes_rows(balancer):
        raise ValueError(
            "`at_once` is for balancers that take each task's gradient at shared parameters, of "
            f"one batch. {type(balancer).__name__} does not."
        )
    if passes.features is None or estimate is not None:
        raise ValueError(
            "`at_once` needs `features`, and no `estimate`: passes are made as one below the "
            "features that several tasks read."
        )


def need_features(passes: Passes) -> None:
    """Raise unless features are given."""
    if passes.features is None:
        raise ValueError("`at='features'` needs `features=`: one alias per task.")


def reached_leaves(passes: Passes) -> list[Tensor] | None:
    """The leaves that any active task reaches; None (all) if other processes may reach more."""
    if passes.reduce is not identity:
        return None
    if passes.features is None:
        return leaves(passes.losses.nodes(passes.tasks))
    return leaves(f.grad_fn for f in passes.features if f is not None)


def raise_unless_scaled(values: Tensor, passes: Passes, factor: float) -> None:
    """Overflow is an everyday event under a gradient scaler, which then skips the step."""
    if factor != 1.0:
        return
    bad = (~values.isfinite()).all(1) if values.shape[0] == values.shape[1] else None
    rows = range(len(values)) if bad is None else [i for i, b in enumerate(bad.tolist()) if b]
    names = [passes.tasks[i] for i in rows if not bool(values[i].isfinite().all())]
    raise TrainingError(f"The gradients of tasks {names} at shared parameters are not finite.")
