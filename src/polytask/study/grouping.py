"""Which tasks to train together, what that is predicted to be worth, and whether it is true.

T tasks.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polytask.affinity.candidates import best_groupings
from polytask.affinity.exhaustive import MOST
from polytask.affinity.grouping import EXACT, Grouping, best_grouping
from polytask.config.schema import Config
from polytask.config.variants import varied
from polytask.data.dataset import Prepared
from polytask.errors import ConfigError
from polytask.run import written
from polytask.study.affinities import (
    LITTLE,
    MEASURES,
    OF_GRADIENTS,
    OF_SCORES,
    Evidence,
    Measure,
    from_joint,
    from_sets,
    from_subsets,
    labels_together,
)
from polytask.study.likeness import from_features, from_labels
from polytask.study.proving import Tried, plain, table, tried, verified
from polytask.workflow import Watcher, prepare_data

RECORD = "group.json"
# Ends of the interval that is given with a predicted gain.
LOW, HIGH = 0.05, 0.95
# All sets of tasks are trained for one part in so many of the epochs.
BRIEF = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to find groups.

    Attributes:
        measure: What is measured: `cka`, in trainings of each task alone; `labels`, without any;
            `subsets`, in trainings of random sets and of each task alone; `sets`, in short
            trainings of all sets of up to 8 tasks; `lookahead`, `first-order` or `cosine`, in one
            joint training.
        models: The most models; None for half as many as tasks, rounded up.
        overlapping: Whether a task may help in a model that does not predict it.
        epochs: Epochs of trainings that explore; None for those of the configuration, and for
            `sets` a fifth of them, rounded up.
        notes: How often a joint training looks at gradients, at most.
        size: Tasks of a random set; None for half of them, at least 2.
        rounds: How often all tasks are dealt into random sets.
        tries: How many of the groupings that are predicted to be best are trained, beside all
            together and each alone, so that validation scores decide; 0 takes the first one
            unseen. None for 3, or 0 where groups may overlap.
        verify: Whether to train the groups, all together and each alone, and compare.
    """

    measure: Measure = "cka"
    models: int | None = None
    overlapping: bool = False
    epochs: int | None = None
    notes: int = 50
    size: int | None = None
    rounds: int = 4
    tries: int | None = None
    verify: bool = False

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ConfigError(
                f"--measure: found '{self.measure}'. Use one of {', '.join(MEASURES)}."
            )
        for name in ("models", "epochs", "notes", "rounds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} should be at least 1. Found {value}.")
        if self.tries is not None and self.tries < 0:
            raise ConfigError(f"--tries should be at least 0. Found {self.tries}.")
        if self.tries and self.overlapping:
            raise ConfigError("--tries is for groups that do not overlap. Leave one of both out.")

    @property
    def tried(self) -> int:
        """How many likely groupings are trained."""
        return (0 if self.overlapping else 3) if self.tries is None else self.tries

    def exploring(self, config: Config) -> int:
        """Epochs of trainings that explore."""
        whole: int = config.training.model_dump()["epochs"]
        if self.epochs is not None:
            return self.epochs
        return -(-whole // BRIEF) if self.measure == "sets" else whole


def group(config: Config, root: Path, plan: Plan, watcher: Watcher | None = None) -> dict[str, Any]:
    """Find groups, and write `group.json` into the study's folder.

    Args:
        config: The training of all tasks.
        root: The study's folder. What it holds already is not done again.
        plan: How.
        watcher: Told about every training.

    Returns:
        What is in `group.json`, as plain values.

    Raises:
        ConfigError: If there is nothing to group, or nothing to judge by.
        RunError: If a training did not reach its end.
    """
    names = list(config.tasks)
    if len(names) < 2:
        raise ConfigError(f"There is one task, '{names[0]}': nothing to group.")
    if plan.overlapping and len(names) > EXACT:
        raise ConfigError(f"--overlapping is for up to {EXACT} tasks. Found {len(names)}.")
    prepared = prepare_data(config, None if watcher is None else watcher.on_decoding)
    if not prepared.parts.get("validation"):
        raise ConfigError("No rows are held back for validation: set split.validation above 0.")
    evidence = measured(config, root / "explore", watcher, plan, prepared)
    most = plan.models or -(-len(names) // 2)
    # What has been trained for the measure is not trained again.
    whole = config.training.model_dump()["epochs"]
    proofs = root / ("explore" if plan.exploring(config) == whole else "verify")
    tries: list[Tried] = []
    if plan.tried:
        likely = best_groupings(len(names), evidence.gains, most=most, count=plan.tried)
        tries = tried(config, proofs, watcher, prepared.tasks, evidence.gains, likely)
        best = max(tries, key=lambda one: one.gain).grouping
    else:
        best = best_grouping(len(names), evidence.gains, budget=most, overlapping=plan.overlapping)
    found = described(config, plan, prepared, evidence, best)
    if tries:
        found["tried"] = [
            {
                "groups": [[names[t] for t in g.trains] for g in one.grouping.groups],
                "predicted": plain(one.grouping.gains.mean()),
                "validation_gain": one.gain if math.isfinite(one.gain) else None,
                "chosen": one.grouping is best,
            }
            for one in tries
        ]
    if plan.verify:
        found["verified"] = verified(config, proofs, watcher, prepared.tasks, best)
    with written(root / RECORD, "Choose another folder, or free some space."):
        root.mkdir(parents=True, exist_ok=True)
        (root / RECORD).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    return found


def measured(
    config: Config, root: Path, watcher: Watcher | None, plan: Plan, prepared: Prepared
) -> Evidence:
    """What the plan's measure says of the tasks.

    Raises:
        ConfigError: If the plan does not fit the tasks.
    """
    names = list(config.tasks)
    short = varied(config, {"training.epochs": plan.exploring(config)})
    if plan.measure == "labels":
        return from_labels(prepared)
    if plan.measure == "cka":
        return from_features(short, root, watcher, prepared)
    if plan.measure == "sets":
        if len(names) > MOST:
            raise ConfigError(
                f"--measure sets is for up to {MOST} tasks. Found {len(names)}. Use subsets, which "
                "trains a few of them."
            )
        return from_sets(short, root, watcher, prepared.tasks)
    if plan.measure != "subsets":
        return from_joint(short, root, watcher, plan.measure, plan.notes)
    size = plan.size or max(2, -(-len(names) // 2))
    if not 2 <= size <= len(names):
        raise ConfigError(f"--size should be from 2 to {len(names)} (tasks). Found {size}.")
    return from_subsets(short, root, watcher, prepared.tasks, size=size, rounds=plan.rounds)


def described(
    config: Config, plan: Plan, prepared: Prepared, evidence: Evidence, best: Grouping
) -> dict[str, Any]:
    """What was found, as plain values; None for what is not known."""
    names = list(config.tasks)
    overlap, correlation = labels_together(prepared)
    together = evidence.gains(torch.ones(1, len(names), dtype=torch.bool))[0]
    return {
        "measure": plan.measure,
        "unit": evidence.unit,
        "tasks": names,
        "groups": [
            {"trains": [names[t] for t in g.trains], "serves": [names[t] for t in g.serves]}
            for g in best.groups
        ],
        "exact": best.exact,
        "predicted": predicted(names, evidence, best),
        "mean_gain": {
            "groups": plain(best.gains.mean()),
            "together": plain(together.mean()),
            "apart": 0.0,
        },
        "cost": {
            "examples": evidence.cost,
            "trainings": evidence.trainings,
            "epochs": plan.exploring(config),
        },
        "pairs": table(evidence.pairs),
        "layers": {name: table(values) for name, values in evidence.layers.items()},
        "overlap": table(overlap),
        "correlation": table(correlation),
        "warnings": doubts(names, plan, evidence, overlap),
    }


def predicted(names: Sequence[str], evidence: Evidence, best: Grouping) -> dict[str, Any]:
    """Each task's predicted gain in the group that serves it, with a 90 % interval.

    The interval is about the measurement, drawn anew, and unknown where nothing can be drawn; not
    about the choice of the best of many groupings, which makes predictions too good on average.
    """
    found: dict[str, Any] = {}
    for served in best.groups:
        mask = torch.zeros(1, len(names), dtype=torch.bool)
        mask[0, list(served.trains)] = True
        draws = [gains(mask)[0] for gains in evidence.draws] or [
            torch.full_like(best.gains, math.nan)
        ]
        drawn = torch.stack(draws)  # [R, T]
        for task in served.serves:
            ends = drawn[:, task].quantile(torch.tensor([LOW, HIGH], dtype=drawn.dtype))
            found[names[task]] = {
                "gain": plain(best.gains[task]),
                "low": plain(ends[0]),
                "high": plain(ends[1]),
            }
    return {name: found[name] for name in names}


def doubts(names: Sequence[str], plan: Plan, evidence: Evidence, overlap: Tensor) -> list[str]:
    """What speaks against believing the numbers."""
    found = []
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    apart = [p for p in pairs if max(float(overlap[p]), float(overlap[p[::-1]])) < LITTLE]
    if plan.measure in OF_GRADIENTS and apart:
        shown = ", ".join(f"{names[j]} and {names[i]}" for i, j in apart[:3])
        found.append(
            f"{len(apart)} of {len(pairs)} pairs of tasks have fewer than {LITTLE:.0%} of their "
            f"labelled examples in common ({shown}{', ...' if len(apart) > 3 else ''}). One "
            "preprint found gradient affinities to be noise there; that is a hypothesis, not "
            "settled. Other measures do not rest on gradients, and --verify tells."
        )
    unseen = sum(bool(evidence.pairs[i, j].isnan()) for i, j in pairs)
    if unseen:
        found.append(
            f"{unseen} of {len(pairs)} pairs were never measured together; they count as 0."
        )
    if plan.measure == "sets":
        found.append(
            "Gains are of one short training of each set; which sets are best may change in long "
            "ones, which is what --tries is for."
        )
    if evidence.unit != OF_SCORES:
        decided = (
            "Which grouping is best was decided by training the likely ones."
            if plan.tried
            else "--verify trains the groups, --tries several groupings."
        )
        found.append(
            "What is predicted orders groups; it is not a gain of scores, and a task alone counts "
            f"as 0 by definition. {decided}"
        )
    return found
