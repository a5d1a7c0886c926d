"""Every way of sharing on one recipe: scores, parameters and the time of a step.

Trains the recipe once per topology and seed, with the same data, seeds and number of steps, and
scores the test part. One seed says whether a topology works and what it costs, not which is best;
with several there is a mean, and the difference to the first topology, paired by seed, each with
its 95 % interval. `independent` is the single-task networks.

    python benchmarks/sharing.py recipes/shapes.yaml --set training.epochs=4
    POLYTASK_DATA=... python benchmarks/sharing.py recipes/multi-mnist.yaml --seeds 5 \\
        --kinds independent hard cross-stitch mmoe ple mtan
    python benchmarks/sharing.py recipes/shapes.yaml --kinds hard mmoe --set training.epochs=2
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from polytask.config.catalogue import TRUNKS
from polytask.config.load import load_config
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
    """Trains once; the score of each task on the test part."""
    config = load_config(path, changes)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder), clock, [])
        scores = evaluate_run(clock.run, "test")
    return clock, {task: float(some["accuracy"] or 0.0) for task, some in scores.items()}


def interval(values: list[float]) -> str:
    """The mean, and with several seeds half the width of its 95 % interval (Student's t)."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    return f"{mean:.4f} ± {half / len(values) ** 0.5:.4f}"


def main() -> None:
    """Print a line per topology."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(TRUNKS), choices=list(TRUNKS))
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each, seeds 0, 1, ...")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    first: dict[str, list[float]] = {}
    for kind in asked.kinds:
        found: dict[str, list[float]] = {}
        for seed in range(asked.seeds):
            clock, scores = trained(
                asked.config, [*asked.set, f"trunk.kind={kind}", f"seed={seed}"]
            )
            for task, score in scores.items():
                found.setdefault(task, []).append(score)
        cells = [interval(values) for values in found.values()]
        if asked.seeds > 1:
            cells += [
                interval([a - b for a, b in zip(found[task], first[task], strict=True)])
                if first
                else ""
                for task in found
            ]
        if not first:
            first = found
            head = list(found)
            if asked.seeds > 1:
                head += [f"{task} - {asked.kinds[0]}" for task in found]
            print("| kind | parameters | ms a step | " + " | ".join(head) + " |")
            print("|---" * (3 + len(head)) + "|")
        print(
            f"| `{kind}` | {clock.facts['parameters']:,} | "
            f"{1000 * statistics.median(clock.steps):.0f} | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
