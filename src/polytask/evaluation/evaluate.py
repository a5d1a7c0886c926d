"""Scores of a model on examples: per task, over the examples that have its label."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from polytask.data.collate import SOURCE_SHIFT
from polytask.model import guidance, labelled
from polytask.tasks.base import Task
from polytask.types import Batch, Scores, loss_of


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    tasks: Sequence[Task],
    device: torch.device,
    *,
    sources: Mapping[int, str] | None = None,
) -> Scores:
    """Score every task.

    Args:
        model: Takes `(inputs, task names, rows=)` as `MultiTaskModel` does; is put into evaluation
            mode and back.
        batches: The examples, each once.
        tasks: The tasks.
        device: Where the model is.
        sources: By their numbers, the sources over whose examples losses are wanted too.

    Returns:
        Per task its metrics, `loss` (the mean over labelled examples that have one) and `count`
        (labelled examples); and `loss_of(source)` for each of `sources` with a label of the task.
        Every value but the count is None for a task without a label, and a metric is None where
        it is not defined, such as R2 of a single example.
    """
    metrics = {task.name: task.metrics().to(device) for task in tasks}
    losses = {task.name: 0.0 for task in tasks}
    counts = {task.name: 0 for task in tasks}
    sizes = {task.name: 0 for task in tasks}  # how many examples have a loss
    parts: dict[str, dict[str, list[float]]] = {task.name: {} for task in tasks}
    training = model.training
    model.eval()
    try:
        for batch in batches:
            batch = batch.to(device)
            here = labelled(tasks, batch)
            names = [task.name for task in here]
            outputs = model(batch.inputs, names, rows=batch.present, **guidance(here, batch))
            for task in here:
                present = batch.present[task.name]
                output = outputs[task.name][present].float()
                target = batch.targets[task.name][present]
                metrics[task.name].update(task.decode(output), target)
                each = task.loss(output, target)
                counted = task.counted(target, present[present])
                losses[task.name] += float(each.sum())
                counts[task.name] += len(target)
                sizes[task.name] += int(counted.sum())
                if sources is not None:
                    numbers = batch.rows[task.input][present.cpu()] // SOURCE_SHIFT
                    for place in numbers.unique().tolist():
                        own = (numbers == place).to(device)
                        sums = parts[task.name].setdefault(sources[place], [0.0, 0.0])
                        sums[0] += float(each[own].sum())
                        sums[1] += float(counted[own].sum())
    finally:
        model.train(training)
    scores: dict[str, dict[str, float | None]] = {}
    for task in tasks:
        count = counts[task.name]
        if count:
            values = {k: float(v) for k, v in metrics[task.name].compute().items()}
            scores[task.name] = {k: v if math.isfinite(v) else None for k, v in values.items()}
            size = sizes[task.name]
            scores[task.name]["loss"] = losses[task.name] / size if size else None
        else:
            scores[task.name] = dict.fromkeys([*metrics[task.name], "loss"])
        scores[task.name]["count"] = count
        for source, (total, number) in parts[task.name].items():
            scores[task.name][loss_of(source)] = total / number if number else None
    return scores


@torch.no_grad()
def decoded_labels(
    model: nn.Module, batches: Iterable[Batch], tasks: Sequence[Task], device: torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Per task its decoded outputs and targets of labelled examples, on the CPU.

    Args:
        model: Takes `(inputs, task names, rows=)` as `MultiTaskModel` does; is put into evaluation
            mode and back.
        batches: The examples, each once.
        tasks: The tasks.
        device: Where the model is.

    Returns:
        Tasks without a label are left out.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    training = model.training
    model.eval()
    try:
        for batch in batches:
            batch = batch.to(device)
            here = labelled(tasks, batch)
            outputs = model(batch.inputs, [task.name for task in here], rows=batch.present)
            for task in here:
                present = batch.present[task.name]
                decoded = task.decode(outputs[task.name][present].float())
                pair = decoded.cpu(), batch.targets[task.name][present].cpu()
                found.setdefault(task.name, []).append(pair)
    finally:
        model.train(training)
    joined = {
        name: (torch.cat([d for d, _ in pairs]), torch.cat([t for _, t in pairs]))
        for name, pairs in found.items()
    }
    return {name: pair for name, pair in joined.items() if len(pair[1])}
