"""What a batch costs each task: the mean over labels in all processes, and what teachers add.

Shapes: T tasks, B examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from polytask.distillation import Lessons, Teaching
from polytask.model import Boundary, guidance
from polytask.tasks.base import Task
from polytask.training.processes import all_reduced
from polytask.types import Batch


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

    A task without a label here whose pass need not run has a constant 0, as one whose input is not
    in the batch.

    What teachers say counts by its mean over all examples of a task's input, labelled or not.

    Returns:
        T scalars, each times its task's `weight` (a constant 0 for a task whose input is not in
        the batch), and the global counts of labels, `[T]`.
    """
    if lessons is not None:
        batch = lessons.lessons.batch
    here = [task for task in tasks if task.input in batch.inputs]
    names = [task.name for task in here]
    taught = () if lessons is None else lessons.lessons.said  # of these all rows are read
    rows = {task.name: read_rows(task, batch) for task in here if task.name not in taught}
    outputs = model(batch.inputs, names, boundary, rows=rows, **guidance(here, batch))
    sums = {}
    for task in here:
        if task.name not in outputs:
            continue
        sums[task.name] = batch_loss(task, outputs[task.name], batch)
        if task.name in boundary.drafts:
            drafted = batch_loss(task, boundary.drafts[task.name], batch)
            sums[task.name] = sums[task.name] + boundary.draft_weight * drafted
        if task.name in boundary.beside:
            beside = batch_loss(task, boundary.beside[task.name], batch)
            # A gradient and no value: reports and balancers see the loss of the network alone.
            sums[task.name] = sums[task.name] + (beside - beside.detach())
    zero = torch.zeros((), device=fabric.device)
    counts = label_counts(fabric, batch, tasks)
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
            loss = said.loss(task.name, outputs[task.name], boundary)
            losses[place] = losses[place] + loss * (task.weight * fabric.world_size / total)
    return losses, counts


def label_counts(fabric: Fabric, batch: Batch, tasks: Sequence[Task]) -> Tensor:
    """How many labels of each task, `[T]`, the batches of all processes have."""
    counted = {
        task.name: task.counted(batch.targets[task.name], batch.present[task.name]).sum()
        for task in tasks
        if task.input in batch.inputs
    }
    none = torch.zeros((), dtype=torch.int64, device=fabric.device)
    counts = torch.stack([counted.get(task.name, none) for task in tasks])
    return all_reduced(fabric, counts, "sum") if fabric.world_size > 1 else counts


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


def read_rows(task: Task, batch: Batch) -> Tensor:
    """The examples whose output a task's loss reads, `[B]` bool: those with a label."""
    present = batch.present[task.name]
    blend = batch.blends.get(task.input)
    return present if blend is None else present | blend.present[task.name]


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
