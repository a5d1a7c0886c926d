"""Ways of sharing, or of balancing, on one recipe: scores, parameters and the time of a step.

Trains the recipe once per way and seed, with the same data, seeds and number of steps, and scores
the test part by each task's own score. One seed says whether a way works and what it costs, not
which is best; with several there is a mean, and the difference to the first row, paired by seed,
each with its 95 % interval. `independent` is the single-task networks; `mean gain` is the mean over
tasks of the relative gain over the first row (`polytask.evaluation.ranking`).

    python benchmarks/sharing.py recipes/shapes.yaml --set training.epochs=4
    POLYTASK_DATA=... python benchmarks/sharing.py recipes/multi-mnist.yaml --seeds 5 \\
        --kinds independent hard cross-stitch mmoe ple mtan
    python benchmarks/sharing.py recipes/shapes.yaml --kinds independent hard \\
        --balancers equal uw cagrad --set training.epochs=2

With `--balancers` the last kind is trained with each of them, the others with equal weights.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from polytask.config.build import build_tasks
from polytask.config.catalogue import TRUNKS
from polytask.config.load import load_config
from polytask.evaluation.ranking import mean_gain
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, train


class Clock(Silent):
    """Notes how long steps take, and what the training says of itself."""

    def __init__(self) -> None:
        self.facts: Mapping[str, Any] = {}
        self.steps: list[float] = []
        self._last = 0.0

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        self.run, self.facts, self._last = run, facts, time.perf_counter()

    def on_step(self, *_: object) -> None:
        now = time.perf_counter()
        self.steps.append(now - self._last)
        self._last = now


def trained(path: Path, changes: list[str]) -> tuple[Clock, dict[str, float]]:
    """Trains once; each task's own score on the test part."""
    config = load_config(path, changes)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder), clock, [])
        scores = evaluate_run(clock.run, "test")
    return clock, {
        task.name: float(scores[task.name][task.score] or 0.0) for task in build_tasks(config)
    }


def interval(values: list[float]) -> str:
    """The mean, and with several seeds half the width of its 95 % interval (Student's t)."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    return f"{mean:.4f} ± {half / len(values) ** 0.5:.4f}"


def ways(kinds: list[str], balancers: list[str] | None) -> dict[str, list[str]]:
    """What is trained: per row of the table, the keys that are changed."""
    if not balancers:
        return {f"`{kind}`": [f"trunk.kind={kind}"] for kind in kinds}
    rows = {f"`{kind}`": [f"trunk.kind={kind}", "balancer.kind=equal"] for kind in kinds[:-1]}
    for name in balancers:
        rows[f"`{kinds[-1]}`, `{name}`"] = [f"trunk.kind={kinds[-1]}", f"balancer.kind={name}"]
    return rows


def main() -> None:
    """Print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(TRUNKS), choices=list(TRUNKS))
    parser.add_argument("--balancers", nargs="+", metavar="KIND")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each, seeds 0, 1, ...")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    tasks = {task.name: task for task in build_tasks(load_config(asked.config, asked.set))}
    better = {name: task.higher_is_better for name, task in tasks.items()}
    first: list[dict[str, float]] = []
    for name, changes in ways(asked.kinds, asked.balancers).items():
        by_seed: list[dict[str, float]] = []
        for seed in range(asked.seeds):
            clock, scores = trained(asked.config, [*asked.set, *changes, f"seed={seed}"])
            by_seed.append(scores)
        cells = [interval([scores[task] for scores in by_seed]) for task in tasks]
        if not first:
            first = by_seed
            head = [f"{task.name} {task.score}" for task in tasks.values()]
            if asked.seeds > 1:
                head += [f"{task} - first" for task in tasks]
            print("| way | parameters | ms a step | " + " | ".join([*head, "mean gain"]) + " |")
            print("|---" * (4 + len(head)) + "|")
            cells += [""] * (1 + len(head) - len(cells))
        else:
            pairs = list(zip(by_seed, first, strict=True))
            if asked.seeds > 1:
                cells += [interval([ours[t] - base[t] for ours, base in pairs]) for t in tasks]
            cells.append(interval([mean_gain(ours, base, better) for ours, base in pairs]))
        print(
            f"| {name} | {clock.facts['parameters']:,} | "
            f"{1000 * statistics.median(clock.steps):.0f} | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
