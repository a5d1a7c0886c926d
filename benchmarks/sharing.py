"""Every way of sharing on one recipe: scores, parameters and the time of a step.

Trains the recipe once per topology, with the same data, seed and number of steps, and scores the
test part. One seed says whether a topology works and what it costs, not which is best.

    python benchmarks/sharing.py recipes/shapes.yaml --set training.epochs=4
    python benchmarks/sharing.py recipes/shapes.yaml --kinds hard mmoe --set training.epochs=2
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def main() -> None:
    """Print a line per topology."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(TRUNKS), choices=list(TRUNKS))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    for number, kind in enumerate(asked.kinds):
        config = load_config(asked.config, [*asked.set, f"trunk.kind={kind}"])
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            train(config, Path(folder), clock, [])
            scores = evaluate_run(clock.run, "test")
        if number == 0:
            print("| kind | parameters | ms a step | " + " | ".join(scores) + " |")
            print("|---" * (3 + len(scores)) + "|")
        accuracy = " | ".join(f"{some['accuracy']:.4f}" for some in scores.values())
        print(
            f"| `{kind}` | {clock.facts['parameters']:,} | "
            f"{1000 * statistics.median(clock.steps):.0f} | {accuracy} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
