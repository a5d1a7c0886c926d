"""What is chosen on validation rows once training has ended: thresholds of yes and no."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from polytask.data.dataset import Prepared
from polytask.data.stream import evaluation_batches
from polytask.errors import ConfigError
from polytask.evaluation.evaluate import decoded_labels
from polytask.run import Run
from polytask.tasks.base import Task

EVALUATION_BATCH = 512
_MANY = 24  # tasks whose thresholds are not listed


def require_validation(prepared: Prepared) -> None:
    """Make sure that tasks that tune something have validation labels to do it on.

    Raises:
        ConfigError: If one has none.
    """
    labels = prepared.labels()
    for task in prepared.tasks:
        if task.tunes and not labels[task.name].get("validation"):
            raise ConfigError(
                f"tasks.{task.name}.threshold: there are no validation labels to tune it on. Give "
                "its source a validation part, or name a number."
            )


def tune(
    run: Run,
    model: nn.Module,
    prepared: Prepared,
    device: torch.device,
    names: Collection[str],
    *,
    keep: bool = True,
) -> list[Task]:
    """Choose on the validation part with a run's best weights, and keep it in `facts.json`.

    Args:
        run: The run.
        model: Its network, with the best weights.
        prepared: Its data.
        device: Where the model is.
        names: The tasks that choose, of those that have something to choose.
        keep: Whether this process is the one that writes.

    Returns:
        The tasks that chose something, with it.
    """
    wanting = [task for task in prepared.tasks if task.tunes and task.name in names]
    rows = prepared.parts.get("validation", {})
    batches = evaluation_batches(prepared.datasets, rows, EVALUATION_BATCH)
    found = decoded_labels(model, batches, wanting, device)
    tuned: list[Task] = [task.tuned(*found[task.name]) for task in wanting]
    if not keep:
        return tuned
    facts = run.read_json("facts.json", needs=("inputs", "tasks"))
    facts["tasks"] |= {task.name: task.facts() for task in tuned}
    run.write_json("facts.json", facts)
    return tuned


def said(facts: Mapping[str, Any], tasks: Sequence[Task]) -> list[str]:
    """A line per task whose thresholds were tuned, for people; one line for many tasks.

    Args:
        facts: `facts.json` of a run.
        tasks: Its tasks.
    """
    lines = []
    for task in tasks:
        known = facts["tasks"].get(task.name, {})
        cuts = known.get("thresholds", [])
        if not task.tunes or not cuts:
            continue
        names: Sequence[str] = known["classes"]
        of = names if len(names) == len(cuts) and len(cuts) > 1 else names[-1:]
        pairs = ", ".join(f"{n} {c:.3f}" for n, c in list(zip(of, cuts, strict=True))[:20])
        more = f", ... ({len(cuts)} in all)" if len(cuts) > 20 else ""
        lines.append(f"thresholds of {task.name}, tuned on validation: {pairs}{more}")
    if len(lines) > _MANY:
        return [f"thresholds of {len(lines):,} tasks, tuned on validation, are in facts.json"]
    return lines
