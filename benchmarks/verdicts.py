"""How often verdicts are wrong: made-up scores of two models whose true difference is known.

    python benchmarks/verdicts.py                                       all tables
    python benchmarks/verdicts.py --tables wrong --repeats 400          one, in a minute of CPU
    python benchmarks/verdicts.py --worlds both 'few examples'          some rows of each

An example is answered rightly with probability `sigmoid(difficulty + own + seed)`: how hard it is
(the same for both models), what a model in itself makes of it (the same for all its seeds), and how
good a seed of a model is (the same for all its examples). Without a shift both models are draws of
one distribution, so every verdict but "cannot tell" is wrong.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.evaluation.intervals import (
    Difference,
    difference,
    spread_of,
    sum_below,
    verdicts,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Where scores come from.

    Attributes:
        name: What it is.
        seed: Deviation of a seed's quality, on the scale of logits.
        own: Deviation of what a model makes of an example.
        examples: Test examples.
        collapse: Share of seeds in which a training went wrong.
    """

    name: str
    seed: float
    own: float
    examples: int
    collapse: float = 0.0

    def scores(self, rng: np.random.Generator, tasks: int, seeds: int, shift: float = 0.0) -> Array:
        """Right or wrong, `[T, 2, S, N]`; the first model has the shift."""
        hard = rng.normal(1.5, 1.5, (tasks, 1, 1, self.examples))
        own = rng.normal(0, self.own, (tasks, 2, 1, self.examples))
        seed = rng.normal(0, self.seed, (tasks, 2, seeds, 1))
        seed -= 2.0 * (rng.random(seed.shape) < self.collapse)
        logits = hard + own + seed
        logits[:, 0] += shift
        chance = 1 / (1 + np.exp(-logits))
        return (rng.random(chance.shape) < chance).astype(np.float64)


WORLDS = (
    World("seeds matter", 0.4, 0.3, 1000),
    World("examples matter", 0.02, 1.0, 200),
    World("both", 0.15, 0.5, 500),
    World("few examples", 0.15, 0.5, 40),
    World("a seed in ten collapses", 0.15, 0.5, 500, 0.1),
)


def judged(differences: Array) -> Difference:
    """A difference without its interval, which takes most of the time. `[S, N]`"""
    by_seed = differences.mean(1)
    mean, spread = float(by_seed.mean()), spread_of(by_seed, differences)
    p = min(1.0, 2 * float(spread.below(-abs(mean)))) if spread.known else 1.0
    return Difference(mean, np.nan, np.nan, np.nan, p, spread)


def seeds_only(differences: Array) -> float:
    """p of the t test over seeds. `[S, N]`"""
    by_seed = differences.mean(1)
    error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    return 2 * float(
        sum_below(np.array(-abs(by_seed.mean())), max(error, 1e-12), len(by_seed) - 1, 0, 0)
    )


def bootstrap(differences: Array, rng: np.random.Generator, draws: int = 400) -> float:
    """p of resampling seeds and examples, both with replacement. `[S, N]`"""
    seeds, examples = differences.shape
    means = np.empty(draws)
    for draw in range(draws):
        weights = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds) @ differences
        means[draw] = weights[rng.integers(examples, size=examples)].mean() / seeds
    below = (np.sum(means < 0) + 0.5 * np.sum(means == 0) + 0.5) / (draws + 1)
    return 2 * float(min(below, 1 - below))


def wrong_verdicts(worlds: Sequence[World], repeats: int, seed: int) -> None:
    """How often at least one of T tasks is said to gain, or to lose, though none does."""
    print(f"## Both models alike: any 'helps' / any verdict, in percent of {repeats} studies\n")
    print("| world | S | " + " | ".join(f"T={t}" for t in TASKS) + " |")
    print("|---" * (2 + len(TASKS)) + "|")
    for world in worlds:
        rng = np.random.default_rng([seed, WORLDS.index(world)])
        for seeds in SEEDS:
            cells = []
            for tasks in TASKS:
                helped = spoke = 0
                for _ in range(max(50, repeats // (1 + tasks // 20))):
                    right = world.scores(rng, tasks, seeds)
                    said = verdicts([judged(d) for d in right[:, 0] - right[:, 1]])
                    helped += "helps" in said
                    spoke += any(v != "cannot tell" for v in said)
                count = max(50, repeats // (1 + tasks // 20))
                cells.append(f"{100 * helped / count:.1f} / {100 * spoke / count:.1f}")
            print(f"| {world.name} | {seeds} | " + " | ".join(cells) + " |", flush=True)


def other_methods(worlds: Sequence[World], repeats: int, seed: int) -> None:
    """Type I errors of the usual ways, on one task."""
    print(f"\n## One task, both alike: verdicts of other methods, in percent of {repeats}\n")
    print("| world | S | t over seeds | seeds and examples resampled | this one |")
    print("|---|---|---|---|---|")
    for world in worlds:
        rng = np.random.default_rng([seed, WORLDS.index(world)])
        for seeds in SEEDS:
            counts = np.zeros(3)
            for _ in range(repeats):
                right = world.scores(rng, 1, seeds)[0]
                d = right[0] - right[1]
                counts += np.array([seeds_only(d), bootstrap(d, rng), judged(d).p]) < 0.05
            row = " | ".join(f"{100 * c / repeats:.1f}" for c in counts)
            print(f"| {world.name} | {seeds} | {row} |", flush=True)


def coverage_and_power(worlds: Sequence[World], repeats: int, seed: int) -> None:
    """How often the interval holds the truth, and how often a true gain is found."""
    print(
        f"\n## One task, a true gain: coverage of the 95 % interval / power, percent of {repeats}\n"
    )
    print("| world | gain | " + " | ".join(f"S={s}" for s in SEEDS) + " |")
    print("|---" * (2 + len(SEEDS)) + "|")
    for world in worlds:
        rng = np.random.default_rng([seed, WORLDS.index(world)])
        for shift in (0.2, 0.5):
            many = World("", world.seed, world.own, 2000, world.collapse)
            drawn = [many.scores(rng, 20, 20, shift) for _ in range(5)]
            truth = float(np.mean([d[:, 0].mean() - d[:, 1].mean() for d in drawn]))
            cells = []
            for seeds in SEEDS:
                held = told = 0
                for _ in range(repeats):
                    right = world.scores(rng, 1, seeds, shift)[0]
                    d = right[0] - right[1]
                    found = difference(list(d.mean(1)), d)
                    held += found.low <= truth <= found.high
                    told += verdicts([found]) == ["helps"]
                cells.append(f"{100 * held / repeats:.1f} / {100 * told / repeats:.0f}")
            print(f"| {world.name} | {truth:.3f} | " + " | ".join(cells) + " |", flush=True)


def several_looks(worlds: Sequence[World], repeats: int, seed: int) -> None:
    """How often anything is told of two models alike, if seeds are added until something is."""
    print(f"\n## One task, both alike: any verdict after so many seeds, in percent of {repeats}\n")
    print("| world | each look's level | " + " | ".join(f"up to S={s}" for s in LOOKS) + " |")
    print("|---" * (2 + len(LOOKS)) + "|")
    for world in worlds:
        rng = np.random.default_rng([seed, WORLDS.index(world)])
        told = np.zeros((2, len(LOOKS)))
        for _ in range(repeats):
            right = world.scores(rng, 1, LOOKS[-1])[0]
            found = [judged((right[0] - right[1])[:count]) for count in LOOKS]
            for row, falling in enumerate((False, True)):
                said = [
                    verdicts([d], looks=1 + look * falling) != ["cannot tell"]
                    for look, d in enumerate(found)
                ]
                told[row] += np.maximum.accumulate(said)
        for name, row in zip(("5 %", "half the last one's"), told, strict=True):
            cells = " | ".join(f"{100 * count / repeats:.1f}" for count in row)
            print(f"| {world.name} | {name} | {cells} |", flush=True)


SEEDS = (2, 3, 5, 10)
LOOKS = (3, 8, 13, 18)  # seeds when the test part is looked at
TASKS = (1, 5, 40)
TABLES = {
    "wrong": wrong_verdicts,
    "others": other_methods,
    "power": coverage_and_power,
    "looks": several_looks,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--worlds", nargs="+", choices=[w.name for w in WORLDS])
    given = parser.parse_args()
    worlds = [w for w in WORLDS if given.worlds is None or w.name in given.worlds]
    for table in given.tables:
        TABLES[table](worlds, given.repeats, given.seed)


if __name__ == "__main__":
    main()
