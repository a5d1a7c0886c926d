"""Does a network of all tasks get better by learning of networks of one task each?

For each seed a recipe is trained once per task alone (the teachers), once for all tasks without
teachers, and once for all tasks with each way to learn of the teachers beside the labels. All see
the same rows, seeds and number of steps; the network is the recipe's, for a teacher too, so
teachers cost T trainings more. Scores are of the test part, which nothing was chosen by. Printed
are means over seeds, and differences to the training without teachers, paired by seed, with 95 %
intervals (Student's t over seeds; what other examples would give is not in them).

    POLYTASK_DATA=... python benchmarks/distillation.py recipes/compare-speech.yaml --seeds 5
    ... --set training.epochs=4 --ways logits features
    ... --seeds 3 --keep scores.jsonl    later --seeds 5 trains seeds 3 and 4 only
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.config.variants import varied, with_seed, with_tasks
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, train

JOINT = "all tasks, no teacher"
WAYS: dict[str, dict[str, Any]] = {
    "logits": {},
    "logits, weight 4": {"weight": 4.0},
    "annealed": {"anneal": True},
    "features": {"match": "features"},
}


class Named(Silent):
    """Keeps the run."""

    def on_start(self, run: Run, facts: object) -> None:
        self.run = run


def trained(config: Config, folder: Path) -> Run:
    """A finished training."""
    watcher = Named()
    train(config, folder, watcher, [])
    return watcher.run


def scores(run: Run, metric: str) -> dict[str, float]:
    """Each task's score on the test part."""
    return {task: float(some[metric] or 0.0) for task, some in evaluate_run(run, "test").items()}


def of_seed(
    config: Config, folder: Path, ways: list[str], metric: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """The scores of every candidate with one seed."""
    teachers = [trained(with_tasks(config, [task]), folder) for task in config.tasks]
    yield "each alone", {t: s for run in teachers for t, s in scores(run, metric).items()}
    yield JOINT, scores(trained(config, folder), metric)
    for way in ways:
        lessons = [{"run": str(run.path.absolute()), **WAYS[way]} for run in teachers]
        taught = varied(config, {"teachers": lessons})
        yield way, scores(trained(taught, folder), metric)


def interval(values: list[float]) -> str:
    """The mean, and with several seeds half the width of its 95 % interval (Student's t)."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:+.4f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    return f"{mean:+.4f} ± {half / len(values) ** 0.5:.4f}"


def main() -> None:
    """Train, and print a line per candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--keep", type=Path, help="scores of seeds that were trained already")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = varied(load_config(asked.config, asked.set), {"compare": None})
    kept: list[dict[str, Any]] = []
    if asked.keep and asked.keep.is_file():
        kept = [json.loads(line) for line in asked.keep.read_text().splitlines()]
    wanted = ["each alone", JOINT, *asked.ways]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    for seed in range(asked.seeds):
        known = {line["name"]: line["scores"] for line in kept if line["seed"] == seed}
        if not set(wanted) <= set(known):
            with tempfile.TemporaryDirectory() as folder:
                made = of_seed(with_seed(config, seed), Path(folder), asked.ways, asked.metric)
                for name, by_task in made:
                    known[name] = by_task
                    print(f"seed {seed}, {name}: {by_task}", flush=True)
            if asked.keep:
                lines = [{"seed": seed, "name": name, "scores": known[name]} for name in wanted]
                with asked.keep.open("a") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)
        for name in wanted:
            found[name].append(known[name])
    tasks = list(config.tasks)
    columns = [*tasks, "mean", *(f"{task} - joint" for task in [*tasks, "mean"])]
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (1 + len(columns)) + "|")
    for by_seed in found.values():
        for by_task in by_seed:
            by_task["mean"] = statistics.mean(by_task[task] for task in tasks)
    for name, by_seed in found.items():
        cells = [
            f"{statistics.mean(s[column] for s in by_seed):.4f}" for column in [*tasks, "mean"]
        ]
        for column in [*tasks, "mean"]:
            pairs = zip(by_seed, found[JOINT], strict=True)
            cells.append(
                "" if name == JOINT else interval([a[column] - b[column] for a, b in pairs])
            )
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
