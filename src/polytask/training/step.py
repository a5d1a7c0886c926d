"""One training step, in the order in which it happens.

Shapes: T tasks, B examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.nn import Parameter

from polytask.balancing import Balancer, RecomputesLosses, backward
from polytask.balancing.passes import identity
from polytask.distillation import Lessons, Teaching
from polytask.errors import TrainingError
from polytask.model import Boundary, guidance
from polytask.tasks.base import Task
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
    """What the Gramian of a step is made of, for a balancer that sees it.

    Attributes:
        parameters: The shared parameters whose gradients are measured; None for all.
        subsample: The share of each input's examples that are measured.
        groups: In how many groups of parameters, of which one is in memory at a time.
    """

    parameters: Sequence[Parameter] | None = None
    subsample: float = 1.0
    groups: int = 1


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
        shared: Parameters that several tasks move.
        private: All other trained parameters.
        clip: The greatest norm of the gradient, or None.
        second: Independent examples, for a balancer that compares gradients of two batches.
        measurement: What the balancer's Gramian is made of.
        teaching: Teachers, if there are any.
        progress: Share of the training that is done, for teachers that step back.

    Raises:
        TrainingError: If a loss or the trunk's penalty is not finite. The model has not been moved.
    """
    boundary = Boundary()
    lessons = lessons_of(fabric, teaching, batch, tasks, progress)
    with fabric.no_backward_sync(model, enabled=fabric.world_size > 1):
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
        weights = backward(
            losses,
            balancer,
            shared,
            active=active,
            features=[learnable(boundary.aliases.get(task.name)) for task in tasks],
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
            independent=independent,
            differentiate=fabric.backward,
            reduce=partial(all_reduced, fabric) if fabric.world_size > 1 else identity,
        )
    reduce_gradients(fabric, private)
    norm = None
    if clip is not None:
        norm = fabric.clip_gradients(model, optimizer, max_norm=clip, error_if_nonfinite=False)
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


@dataclass(frozen=True)
class Taught:
    """What teachers say of a batch, and of how many examples in all processes.

    Attributes:
        lessons: What they say.
        taught: `[T]`, of how many examples.
        filled: `[T]`, how many examples got a label.
    """

    lessons: Lessons
    taught: Tensor
    filled: Tensor


def lessons_of(
    fabric: Fabric,
    teaching: Teaching | None,
    batch: Batch,
    tasks: Sequence[Task],
    progress: float,
) -> Taught | None:
    """What the teachers say of a batch; None without teachers."""
    if teaching is None:
        return None
    with fabric.autocast(), torch.no_grad():
        lessons = teaching(batch, progress)
    counts = torch.zeros(2, len(tasks), dtype=torch.int64, device=fabric.device)
    for place, task in enumerate(tasks):
        counts[0, place] = lessons.rows(task.name)
        counts[1, place] = lessons.filled.get(task.name, counts.new_zeros(()))
    if fabric.world_size > 1:
        counts = all_reduced(fabric, counts, "sum")
    return Taught(lessons, counts[0], counts[1])


def active_tasks(counts: Tensor, lessons: Taught | None) -> Tensor:
    """`[T]` bool, the tasks that have a label or a teacher's word anywhere."""
    return counts > 0 if lessons is None else (counts > 0) | (lessons.taught > 0)


def task_losses(
    fabric: Fabric,
    model: nn.Module,
    batch: Batch,
    tasks: Sequence[Task],
    boundary: Boundary,
    lessons: Taught | None = None,
) -> tuple[list[Tensor], Tensor]:
    """The mean loss of each task over its labelled examples in all processes.

    The mean of each process's mean would weigh labels unequally; the sum over the global count,
    times the number of processes, is exact once gradients are averaged over processes.

    What teachers say counts by its mean over all examples of a task's input, labelled or not.

    Returns:
        T scalars, each times its task's `weight` (a constant 0 for a task whose input is not in
        the batch), and the global counts of labels, `[T]`.
    """
    if lessons is not None:
        batch = lessons.lessons.batch
    here = [task for task in tasks if task.input in batch.inputs]
    names = [task.name for task in here]
    outputs = model(batch.inputs, names, boundary, **guidance(here, batch))
    sums = {}
    for task in here:
        sums[task.name] = batch_loss(task, outputs[task.name], batch)
        if task.name in boundary.drafts:
            drafted = batch_loss(task, boundary.drafts[task.name], batch)
            sums[task.name] = sums[task.name] + boundary.draft_weight * drafted
    counted = {
        task.name: task.counted(batch.targets[task.name], batch.present[task.name]).sum()
        for task in here
    }
    zero = torch.zeros((), device=fabric.device)
    counts = torch.stack([counted.get(task.name, zero.long()) for task in tasks])
    if fabric.world_size > 1:
        counts = all_reduced(fabric, counts, "sum")
    sizes = counts.tolist() if not batch.blends else label_sizes(fabric, batch, tasks)
    losses = [
        sums.get(task.name, zero) * (task.weight * fabric.world_size / (size or 1))
        for task, size in zip(tasks, sizes, strict=True)
    ]
    if lessons is None:
        return losses, counts
    for place, task in enumerate(tasks):
        said, total = lessons.lessons, int(lessons.taught[place])
        if total:
            losses[place] = losses[place] * said.label_factor(task.name)
        if said.rows(task.name):
            taught = said.loss(task.name, outputs[task.name], boundary)
            losses[place] = losses[place] + taught * (task.weight * fabric.world_size / total)
    return losses, counts


def learnable(features: Tensor | None) -> Tensor | None:
    """Features that gradients reach; None for those of a frozen trunk."""
    return features if features is not None and features.requires_grad else None


def partial_losses(
    fabric: Fabric,
    model: nn.Module,
    batch: Batch,
    tasks: Sequence[Task],
    active: Tensor,
    share: float,
    *,
    teaching: Teaching | None = None,
    progress: float = 0.0,
) -> list[Tensor] | None:
    """The losses on the first examples of each input; None for all of them.

    It takes all, too, where a task would be left without a label.
    """
    if share == 1:
        return None
    part = batch.first(share)
    lessons = lessons_of(fabric, teaching, part, tasks, progress)
    losses, found = task_losses(fabric, model, part, tasks, Boundary(), lessons)
    return None if bool((active & ~active_tasks(found, lessons)).any()) else losses


def batch_loss(task: Task, output: Tensor, batch: Batch) -> Tensor:
    """The sum of a task's loss over the labels in a batch, each by its share of an example."""
    target, present = batch.targets[task.name], batch.present[task.name]
    if task.input not in batch.blends:
        return labelled_loss(task, output, target, present)
    blend = batch.blends[task.input]
    return blended_loss(task, output, target, present, blend.share) + blended_loss(
        task, output, blend.targets[task.name], blend.present[task.name], 1 - blend.share
    )


def blended_loss(
    task: Task, output: Tensor, target: Tensor, present: Tensor, share: Tensor
) -> Tensor:
    """The sum of the loss over the examples that have a label, each times its share, `[B]`."""
    loss = task.loss(output[present].float(), target[present])
    return (loss * share[present]).sum()


def label_sizes(fabric: Fabric, batch: Batch, tasks: Sequence[Task]) -> list[float]:
    """How many labels each task has in all processes, a label of a blend counting by its share."""
    sizes = torch.zeros(len(tasks), dtype=torch.float64, device=fabric.device)
    for place, task in enumerate(tasks):
        if task.input not in batch.inputs:
            continue
        present, blend = batch.present[task.name], batch.blends.get(task.input)
        if blend is None:
            sizes[place] = present.sum()
        else:
            own, other = present, blend.present[task.name]
            sizes[place] = (own * blend.share).sum() + (other * (1 - blend.share)).sum()
    if fabric.world_size > 1:
        sizes = all_reduced(fabric, sizes, "sum")
    found: list[float] = sizes.tolist()
    return found


def labelled_loss(task: Task, output: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """The sum of the loss over the examples that have a label; the others are never read."""
    if not bool(present.all()):
        output, target = output[present], target[present]
    return task.loss(output.float(), target).sum()


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


def reduce_gradients(fabric: Fabric, parameters: Sequence[Parameter]) -> None:
    """Average gradients over processes; a process without one contributes zero.

    What has no gradient in any process keeps none, as in one process: an optimiser leaves it as it
    is, where a gradient of zero would let it decay and go on with its momentum.
    """
    if fabric.world_size == 1 or not parameters:
        return
    has = torch.tensor([p.grad is not None for p in parameters], device=fabric.device)
    anywhere = all_reduced(fabric, has.int(), "sum") > 0
    for parameter, moved in zip(parameters, anywhere.tolist(), strict=True):
        if not moved:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.copy_(all_reduced(fabric, parameter.grad))


def all_reduced(fabric: Fabric, values: Tensor, how: Literal["mean", "sum"] = "mean") -> Tensor:
    """The mean or sum over processes."""
    reduced = fabric.all_reduce(values, reduce_op=how)
    assert isinstance(reduced, Tensor)
    return reduced
