"""Scores of a model on examples: per task, over the examples that have its label."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from polytask.tasks.base import Task
from polytask.types import Batch, Scores


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Iterable[Batch], tasks: Sequence[Task], device: torch.device
) -> Scores:
    """Score every task.

    Args:
        model: Takes `(inputs, task names)`; is put into evaluation mode and back.
        batches: The examples, each once.
        tasks: The tasks.
        device: Where the model is.

    Returns:
        Per task its metrics, `loss` (mean per labelled example) and `count` (labelled examples).
        Every value but the count is None for a task without a label, and a metric is None where
        it is not defined, such as R2 of a single example.
    """
    metrics = {task.name: task.metrics().to(device) for task in tasks}
    losses = {task.name: 0.0 for task in tasks}
    counts = {task.name: 0 for task in tasks}
    training = model.training
    model.eval()
    try:
        for batch in batches:
            batch = batch.to(device)
            here = [
                task
                for task in tasks
                if task.input in batch.inputs and bool(batch.present[task.name].any())
            ]
            outputs = model(batch.inputs, [task.name for task in here])
            for task in here:
                present = batch.present[task.name]
                output = outputs[task.name][present].float()
                target = batch.targets[task.name][present]
                metrics[task.name].update(task.decode(output), target)
                losses[task.name] += float(task.loss(output, target).sum())
                counts[task.name] += len(target)
    finally:
        model.train(training)
    scores: dict[str, dict[str, float | None]] = {}
    for task in tasks:
        count = counts[task.name]
        if count:
            values = {k: float(v) for k, v in metrics[task.name].compute().items()}
            scores[task.name] = {k: v if math.isfinite(v) else None for k, v in values.items()}
            scores[task.name]["loss"] = losses[task.name] / count
        else:
            scores[task.name] = dict.fromkeys([*metrics[task.name], "loss"])
        scores[task.name]["count"] = count
    return scores
