"""One training step, in the order in which it happens.

Shapes: T tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor
from torch.nn import Parameter

from polytask.balancing import Balancer, LooksAhead, RecomputesLosses, backward
from polytask.balancing.passes import identity
from polytask.distillation import Teaching
from polytask.errors import TrainingError
from polytask.model import Boundary
from polytask.tasks.base import Task
from polytask.training.ahead import look_ahead
from polytask.training.losses import active_tasks, lessons_of, partial_losses, task_losses
from polytask.training.processes import all_reduced, differentiation, reduce_gradients
from polytask.training.sharding import clip_gradients, gathered, require_alike, shards
from polytask.types import Batch


@dataclass(frozen=True)
class StepRecord:
    """What happened in one step. Tensors, so that recording does not wait for the device.

    Attributes:
        losses: `[T]`, the mean loss over the labelled examples of each task in all processes,
            times the task's `weight`; 0 where inactive.
        counts: `[T]`, the number of labelled examples of each task, over all processes.
        weights: `[T]`, the balancer's weights, or None for one that has none.
        norm: The gradient's norm before clipping, or None without clipping.
        examples: The number of examples in this process.
        penalty: The trunk's penalty, the mean over processes; None for a trunk without one.
        taught: `[T]`, of how many examples, over all processes, teachers spoke; None without any.
        filled: `[T]`, how many examples got a label from a teacher; they count as labelled.
    """

    losses: Tensor
    counts: Tensor
    weights: Tensor | None
    norm: Tensor | None
    examples: int
    penalty: Tensor | None = None
    taught: Tensor | None = None
    filled: Tensor | None = None

    @property
    def idle(self) -> bool:
        """Whether there was nothing to learn from, so that the model was not moved."""
        known = self.counts if self.taught is None else self.counts + self.taught
        return not bool(known.any())


@dataclass(frozen=True)
class Measurement:
    """What the Gramian of a step is made of, for a balancer that sees it, and how.

    Attributes:
        parameters: The shared parameters whose gradients are measured; None for all.
        subsample: The share of each input's examples that are measured.
        groups: In how many groups of parameters, of which one is in memory at a time.
        at_once: Of how many tasks one pass below their features makes the gradients.
    """

    parameters: Sequence[Parameter] | None = None
    subsample: float = 1.0
    groups: int = 1
    at_once: int = 1


def train_step(
    fabric: Fabric,
    model: _FabricModule,
    batch: Batch,
    tasks: Sequence[Task],
    *,
    balancer: Balancer,
    optimizer: torch.optim.Optimizer,
    shared: Sequence[Parameter],
    private: Sequence[Parameter],
    clip: float | None,
    second: Batch | None = None,
    measurement: Measurement = Measurement(),
    teaching: Teaching | None = None,
    progress: float = 0.0,
) -> StepRecord:
    """Move the model by one batch.

    A batch in which no task has a label in any process teaches nothing: weights, optimizer and
    balancer stay as they are. Running statistics of normalisation have seen its inputs.

    Args:
        fabric: Where and how precisely to compute.
        model: The model, set up by Fabric.
        batch: The examples of this process.
        tasks: All tasks, in the balancer's order.
        balancer: Makes one update of the losses.
        optimizer: Set up by Fabric.
        shared: Parameters that several tasks move, without sharded ones.
        private: All other trained parameters.
        clip: The greatest norm of the gradient, or None.
        second: Independent examples, for a balancer that compares gradients of two batches or
            looks ahead.
        measurement: What the balancer's Gramian is made of.
        teaching: Teachers, if there are any.
        progress: Share of the training that is done, for teachers that step back.

    Raises:
        TrainingError: If a loss or the trunk's penalty is not finite. The model has not been moved.
    """
    if second is not None and isinstance(balancer, LooksAhead):
        look_ahead(
            fabric,
            model.module,
            batch,
            second,
            tasks,
            balancer=balancer,
            optimizer=optimizer,
            parameters=[*shared, *private],
            teaching=teaching,
            progress=progress,
        )
        second = None
    boundary = Boundary()
    lessons = lessons_of(fabric, teaching, batch, tasks, progress)
    if sharded := shards(fabric):
        require_alike(fabric, batch, [task.input for task in tasks])
    # Copies of a model are averaged below; parts of one, as their gradients arrive.
    with fabric.no_backward_sync(model, enabled=fabric.world_size > 1 and not sharded):
        losses, counts = task_losses(fabric, model, batch, tasks, boundary, lessons)
        values = all_reduced(fabric, torch.stack([loss.detach() for loss in losses]))
        require_finite(values, tasks)
        independent, active = None, active_tasks(counts, lessons)
        if second is not None:
            others = lessons_of(fabric, teaching, second, tasks, progress)
            independent, there = task_losses(fabric, model, second, tasks, Boundary(), others)
            active &= active_tasks(there, others)
            counts = torch.where(active, counts, 0)
        if not bool(active.any()):
            return StepRecord(values, counts, None, None, batch.size)
        penalty = differentiate_penalty(fabric, boundary.penalty, shared)
        features = [learnable(boundary.aliases.get(task.name)) for task in tasks]
        weights = backward(
            losses,
            balancer,
            shared,
            sharded=gathered(features, [*shared, *private]) if sharded else (),
            active=active,
            features=features,
            measured=measurement.parameters,
            estimate=partial_losses(
                fabric,
                model,
                batch,
                tasks,
                active,
                measurement.subsample,
                teaching=teaching,
                progress=progress,
            ),
            groups=measurement.groups,
            at_once=measurement.at_once,
            independent=independent,
            differentiate=differentiation(fabric),
            reduce=partial(all_reduced, fabric) if fabric.world_size > 1 else identity,
        )
    reduce_gradients(fabric, private)
    norm = None
    if clip is not None:
        norm = clip_gradients(fabric, model, optimizer, clip)
    optimizer.step()
    optimizer.zero_grad()
    if isinstance(balancer, RecomputesLosses):
        with torch.no_grad():
            again, _ = task_losses(fabric, model, batch, tasks, Boundary(), lessons)
        balancer.update(all_reduced(fabric, torch.stack(again)), active)
    return StepRecord(
        values,
        counts,
        weights,
        norm,
        batch.size,
        penalty,
        None if lessons is None else lessons.taught,
        None if lessons is None else lessons.filled,
    )


def require_finite(losses: Tensor, tasks: Sequence[Task]) -> None:
    """Stop, in all processes at once, before a NaN or an infinity reaches the weights."""
    finite = losses.isfinite().tolist()
    broken = [task.name for task, fine in zip(tasks, finite, strict=True) if not fine]
    if broken:
        raise TrainingError(
            f"The loss of {', '.join(repr(name) for name in broken)} is not a finite number."
        )


def differentiate_penalty(
    fabric: Fabric, penalty: Tensor | None, shared: Sequence[Parameter]
) -> Tensor | None:
    """Start the gradients with those of the trunk's own penalty, which no balancer sees.

    Gradients of shared parameters are averaged here, because `backward` adds an average to them;
    all others are averaged at the end of the step.

    Returns:
        The mean penalty over processes.
    """
    if penalty is None:
        return None
    value = all_reduced(fabric, penalty.detach().clone())
    if not bool(value.isfinite()):
        raise TrainingError("The trunk's penalty is not a finite number.")
    if penalty.requires_grad:
        fabric.backward(penalty, retain_graph=True)
    reduce_gradients(fabric, shared)
    return value


def learnable(features: Tensor | None) -> Tensor | None:
    """Features that gradients reach; None for those of a frozen trunk."""
    return features if features is not None and features.requires_grad else None
