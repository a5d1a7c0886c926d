"""The test part, opened when every training of a study is over.

test.safetensors    per task what each test example (or group of them) adds to its score
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polytask.evaluation.units import unit_scores
from polytask.run import Run, readable, written
from polytask.study.runs import claimed
from polytask.training.checkpoint import write_whole

RECORD, SCORES = "test.safetensors", "scores.json"

AGAIN = "Remove it, and `polytask compare --resume STUDY` scores the run again."


@dataclass(frozen=True)
class Tested:
    """A run's test scores.

    Attributes:
        scores: The score of each task by which it is compared.
        units: Per task `[N]`, what each example or group of them adds; may be empty.
    """

    scores: dict[str, float]
    units: dict[str, NDArray[np.float64]]


def test(path: Path, metrics: Mapping[str, str]) -> bool:
    """Score a finished run on its test part, once.

    Args:
        path: The run's folder.
        metrics: For each task, the metric by which it is compared.

    Returns:
        Whether it is scored now; False if another process is at it.

    Raises:
        RunError: If the run or its data is not what it was.
    """
    if is_tested(path):
        return True
    with claimed(path.parent, f"{path.name}.test") as ours:
        if ours and not is_tested(path):
            _score(Run.open(path), metrics)
        return ours


def is_tested(path: Path) -> bool:
    """Whether a run has test scores, and what examples add to them."""
    return (path / RECORD).exists() and (path / SCORES).exists()


def _score(run: Run, metrics: Mapping[str, str]) -> None:
    from safetensors.torch import save

    from polytask.data.stream import evaluation_batches
    from polytask.evaluation.evaluate import decoded_labels
    from polytask.workflow import EVALUATION_BATCH, for_judging, score

    model, prepared, device = for_judging(run, "test")
    run.save_scores("test", score(model, prepared, "test", device))
    batches = evaluation_batches(prepared.datasets, prepared.parts["test"], EVALUATION_BATCH)
    found = decoded_labels(model, batches, prepared.tasks, device)
    units = {
        task.name: unit_scores(task, *found[task.name], metric=metrics[task.name])
        for task in prepared.tasks
        if task.name in found
    }
    content = save(units)
    with written(run.path / RECORD):
        write_whole(run.path / RECORD, lambda file: file.write(content))


def tested(path: Path, scores: dict[str, str]) -> Tested | None:
    """The test scores of a run; None if it has none yet.

    Args:
        path: The run's folder.
        scores: For each task, the metric by which it is compared.

    Raises:
        RunError: If they are broken.
    """
    from safetensors.numpy import load_file

    if not is_tested(path):
        return None
    with readable(path / RECORD, AGAIN):
        units = load_file(path / RECORD)
    with readable(path / SCORES, AGAIN):
        known = json.loads((path / SCORES).read_text(encoding="utf-8"))["test"]
    values = {
        task: known[task][metric]
        for task, metric in scores.items()
        if task in known and known[task][metric] is not None
    }
    return Tested(values, {task: units.get(task, np.zeros(0)) for task in values})
