"""Does a network of all tasks get better by learning of networks of one task each, or of itself?

For each seed a recipe is trained once per task alone (the teachers), once for all tasks without
teachers, and once for all tasks with each way to learn of the teachers beside the labels. All see
the same rows, seeds and number of steps; the network is the recipe's, for a teacher too, so
teachers cost T trainings more. Scores are of the test part, which nothing was chosen by. Printed
are means over seeds, and differences to the training without teachers, paired by seed, with 95 %
intervals (Student's t over seeds; what other examples would give is not in them).

With `--labels 0.1` students, and the training without teachers, have a tenth of each task's labels
of training rows, drawn by the seed and for each task by itself; all rows stay, and validation rows
keep their labels. The teachers had all labels. With `--born-again` the teacher is the training
without teachers (Furlanello et al. 2018), which had no more than its student.

    POLYTASK_DATA=... python benchmarks/distillation.py recipes/compare-speech.yaml --seeds 5
    ... --set training.epochs=4 --ways logits features
    ... --labels 0.1 --ways filled --born-again
    ... --seeds 3 --keep scores.jsonl    later --seeds 5 trains seeds 3 and 4 only
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from polytask.config.load import load_config
from polytask.config.schema import Config
from polytask.config.variants import varied, with_seed, with_tasks
from polytask.data.media import EncodedMedia
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, prepare_data, train

ALONE = "each alone"
JOINT = "all tasks, no teacher"
WAYS: dict[str, dict[str, Any]] = {
    "logits": {},
    "logits, weight 4": {"weight": 4.0},
    "annealed": {"anneal": True},
    "features": {"match": "features"},
    "filled": {"fill_missing": True},
    "filled, annealed": {"fill_missing": True, "anneal": True},
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


def with_few_labels(config: Config, share: float, folder: Path) -> Config:
    """The same rows and parts out of tables in which most labels of training rows are blank."""
    prepared = prepare_data(config, None)
    random = np.random.default_rng(config.seed)
    sources: dict[str, Any] = {}
    for name, dataset in prepared.datasets.items():
        frame, kinds = dataset.table.frame.copy(), {}
        for column, media in dataset.table.media.items():
            if not isinstance(media, EncodedMedia):
                raise TypeError(f"'{column}' of '{name}' should be files, to be put in a table.")
            frame[column] = [media.content(item) for item in range(len(media))]
            kinds[column] = media.kind
        for part, rows in prepared.parts.items():
            frame.loc[rows.get(name, []), "part"] = part
        train = prepared.parts["train"][name]
        for task in config.resolved()["tasks"].values():
            hidden = random.permutation(train)[round(share * len(train)) :]
            frame.loc[list(hidden), task["target"][name]] = None
        path = folder / f"{name}-{config.seed}.parquet"
        frame.to_parquet(path)
        split = {"column": "part"}
        sources[name] = {"kind": "table", "path": str(path), "media": kinds, "split": split}
    return varied(config, {"sources": sources})


def of_seed(
    config: Config, folder: Path, asked: argparse.Namespace
) -> Iterator[tuple[str, dict[str, float]]]:
    """The scores of every candidate with one seed."""
    ways, metric = asked.ways, asked.metric
    few = config if asked.labels == 1 else with_few_labels(config, asked.labels, folder)
    joint = trained(few, folder)
    yield JOINT, scores(joint, metric)
    teachers = [joint]
    if not asked.born_again:
        teachers = [trained(with_tasks(config, [task]), folder) for task in config.tasks]
        yield ALONE, {t: s for run in teachers for t, s in scores(run, metric).items()}
    for way in ways:
        lessons = [{"run": str(run.path.absolute()), **WAYS[way]} for run in teachers]
        taught = varied(few, {"teachers": lessons})
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
    parser.add_argument("--labels", type=float, default=1.0, help="share that students see")
    parser.add_argument("--born-again", action="store_true", help="learn of the same network")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--keep", type=Path, help="scores of seeds that were trained already")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = varied(load_config(asked.config, asked.set), {"compare": None})
    kept: list[dict[str, Any]] = []
    if asked.keep and asked.keep.is_file():
        kept = [json.loads(line) for line in asked.keep.read_text().splitlines()]
    wanted = [*([] if asked.born_again else [ALONE]), JOINT, *asked.ways]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    for seed in range(asked.seeds):
        known = {line["name"]: line["scores"] for line in kept if line["seed"] == seed}
        if not set(wanted) <= set(known):
            with tempfile.TemporaryDirectory() as folder:
                made = of_seed(with_seed(config, seed), Path(folder), asked)
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
