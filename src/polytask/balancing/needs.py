"""What `backward` asks of what it is given."""

import torch
from torch import Tensor

from polytask.balancing.base import Balancer
from polytask.balancing.graph import Losses, leaves
from polytask.balancing.passes import Passes, identity
from polytask.errors import TrainingError


def active_tasks(losses: Losses, balancer: Balancer, active: Tensor | None) -> list[int]:
    """The numbers of the active tasks."""
    count = len(losses.values)
    if count != balancer.num_tasks:
        raise ValueError(
            f"`losses` should have one entry per task (num_tasks={balancer.num_tasks}). "
            f"Found {count}. Did a task have no label? Keep its entry and pass `active=`."
        )
    if active is None:
        return list(range(count))
    if active.dtype != torch.bool or active.shape != (count,):
        raise ValueError(
            f"`active` should be a bool tensor of shape ({count},). "
            f"Found {active.dtype} of shape {tuple(active.shape)}."
        )
    tasks = [t for t, on in enumerate(active.tolist()) if on]
    if not tasks:
        raise TrainingError("No task is active in this step: there is nothing to learn from.")
    return tasks


def need_shared(balancer: Balancer, passes: Passes) -> None:
    """Raise unless parameters are declared shared."""
    if not passes.shared:
        raise ValueError(
            f"{type(balancer).__name__} combines gradients at shared parameters. Pass `shared=`, "
            "the parameters that several tasks train (at least one must require gradients)."
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
