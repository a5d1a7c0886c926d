"""What needs no gradients: how alike single tasks' networks and labels are.

T tasks, B validation examples.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from polytask.affinity.grouping import pairwise_gains
from polytask.affinity.measures import representation_similarity
from polytask.config.schema import Config
from polytask.config.variants import with_tasks
from polytask.data.dataset import Prepared
from polytask.data.stream import evaluation_batches
from polytask.errors import ConfigError
from polytask.model import Boundary, guidance
from polytask.run import Run
from polytask.study.affinities import DRAWS, Evidence, finished, labels_together
from polytask.study.runs import Job
from polytask.tasks.base import Task
from polytask.types import Features
from polytask.workflow import Watcher, best_model, evaluation_batch

EXAMPLES = 512  # of an input, at which features are compared
PAIRS = 40_000  # that all draws together compare, at most


def from_features(
    config: Config, root: Path, watcher: Watcher | None, prepared: Prepared
) -> Evidence:
    """How alike what the networks of single tasks give their heads is (linear CKA).

    Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, for the
    measure; that tasks with like representations go together is the idea of Dwivedi and Roig, CVPR
    2019. Tasks of different inputs have no examples in common, and count as strangers.

    Raises:
        RunError: If a training did not reach its end.
    """
    count, steps = len(prepared.tasks), 0
    features: list[Tensor] = []
    for task in prepared.tasks:
        job = Job(f"alone-{task.name}", with_tasks(config, [task.name]))
        steps += finished(job, root, watcher).steps
        features.append(features_of(Run.open(root / job.name), prepared, task))
    inputs = [task.input for task in prepared.tasks]
    generator = torch.Generator().manual_seed(config.seed)
    draws = []
    for _ in range(min(DRAWS, max(10, PAIRS // count**2))):
        rows = {
            name: torch.randint(len(some), (len(some),), generator=generator)
            for name, some in zip(inputs, features, strict=True)
        }
        drawn = [some[rows[name]] for name, some in zip(inputs, features, strict=True)]
        draws.append(pairwise_gains(alike(drawn, inputs)))
    found = alike(features, inputs)
    return Evidence(
        found,
        pairwise_gains(found),
        draws,
        "likeness of what single tasks' networks give their heads (CKA, 0 to 1)",
        float(steps * config.batches.size),
        count,
        {},
    )


def alike(features: Sequence[Tensor], inputs: Sequence[str]) -> Tensor:
    """CKA `[T, T]` of tasks that read the same input; NaN for others.

    Args:
        features: Per task `[B, D]`.
        inputs: Per task, of which input's examples.
    """
    found = torch.full((len(features), len(features)), math.nan, dtype=torch.float64)
    for name in dict.fromkeys(inputs):
        places = torch.tensor([n for n, other in enumerate(inputs) if other == name])
        some = representation_similarity([features[int(n)] for n in places])
        found[places[:, None], places] = some
    return found


@torch.no_grad()
def features_of(run: Run, prepared: Prepared, task: Task) -> Tensor:
    """What the head of a run of one task reads, `[B, D]`, pooled, of validation examples.

    The examples are those of the training of all tasks, so that all tasks are asked about the same.
    """
    model, _, _ = best_model(run)
    rows = {
        source: some[:: -(-len(some) // EXAMPLES)]
        for source, some in prepared.parts["validation"].items()
        if len(some)
    }
    found = []
    for batch in evaluation_batches(prepared.datasets, rows, evaluation_batch([task])):
        if task.input in batch.inputs:
            boundary = Boundary()
            model(batch.inputs, [task.name], boundary, **guidance([task], batch))
            seen = Features(boundary.features[task.name], boundary.masks[task.name])
            found.append(seen.pooled().float())
    return torch.cat(found)


def from_labels(prepared: Prepared) -> Evidence:
    """How labels of the same training examples go together; it takes no training at all.

    Raises:
        ConfigError: If no two tasks have labels of the same examples.
    """
    _, correlation = labels_together(prepared)
    found = correlation.abs().fill_diagonal_(math.nan)
    if not bool(found.isfinite().any()):
        raise ConfigError(
            "--measure labels: no two tasks have labels of the same examples that can be compared. "
            "Use another measure, such as subsets."
        )
    gains = pairwise_gains(found)
    unit = "how far labels of the same examples go together (correlation without its sign, 0 to 1)"
    return Evidence(found, gains, [gains], unit, 0.0, 0, {})
