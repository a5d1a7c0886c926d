"""From the runs of a study to what can be said: does sharing help, whom, and at what cost?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polytask.evaluation.intervals import (
    Difference,
    Spread,
    Verdict,
    difference,
    seeds_wanted,
    verdicts,
)
from polytask.evaluation.ranking import gain, mean_ranks, slope
from polytask.study.folder import Study
from polytask.study.plan import Candidate
from polytask.study.runs import Outcome
from polytask.study.testing import Tested, tested


@dataclass(frozen=True)
class TaskResult:
    """A candidate's test score in a task, against the task alone.

    Attributes:
        task: The task.
        metric: By what it is compared.
        higher_is_better: Whether more of that is better.
        score: Mean over seeds.
        base: The mean over the same seeds of the task alone.
        difference: Their difference; greater is better, also for errors. None without two runs
            of one seed.
        verdict: What can be said, together with the candidate's other tasks.
        wanted: How many seeds it would take to tell; see `intervals.seeds_wanted`.
    """

    task: str
    metric: str
    higher_is_better: bool
    score: float
    base: float
    difference: Difference | None
    verdict: Verdict
    wanted: int | Literal["more", "examples"] | None


@dataclass(frozen=True)
class Row:
    """All about a candidate.

    Attributes:
        candidate: The candidate.
        tasks: Its tasks' results.
        gain: The mean gain (delta-m) over its tasks, on test rows, with its interval; None without
            runs of its own and of every task alone.
        validation: The same on validation rows, the mean over seeds.
        rank: The mean rank over tasks among candidates of all tasks, of which every task alone
            together are one; None for others.
        parameters: Of one network.
        step_seconds: Seconds per step of training, validation included.
        seeds: Seeds that finished.
        outcomes: How each seed went.
    """

    candidate: Candidate
    tasks: Mapping[str, TaskResult]
    gain: Difference | None
    validation: float | None
    rank: float | None
    parameters: int
    step_seconds: float
    seeds: Sequence[int]
    outcomes: Mapping[int, Outcome]


@dataclass(frozen=True)
class Verdicts:
    """What a study found.

    Attributes:
        rows: Every candidate, first of all each task alone.
        chosen: The candidate that was best on validation rows; None if none finished.
        balancing: The best adaptive candidate on validation rows, the best one with fixed weights
            of the same way to share, and the difference of their mean gains on test rows.
        left: What is still to be done before anything may be said; empty where all is over.
        looks: How often the test part was looked at: once, and after each addition of seeds.
    """

    rows: Sequence[Row]
    chosen: Row | None
    balancing: tuple[Row, Row, Difference | None] | None
    left: str = ""
    looks: int = 1

    def row(self, name: str) -> Row:
        """A candidate's row."""
        return next(row for row in self.rows if row.candidate.name == name)


class Judge:
    """Reads a study once, and compares.

    Args:
        study: The study, over or under way; what is not tested yet is left out.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.metrics, self.higher = study.scores
        self.seeds = study.compare.seeds
        self.alone = {c.tasks[0]: c for c in study.plan.alone()}
        self.candidates = study.candidates()
        self.outcomes = {
            c.name: {s: o for s in self.seeds if (o := study.outcome(c, s)) is not None}
            for c in self.candidates
        }
        self.tests: dict[str, dict[int, Tested]] = {
            c.name: {
                s: t
                for s in self.seeds
                if (t := tested(study.runs / study.plan.folder(c, s), self.metrics)) is not None
            }
            for c in self.candidates
        }

    def verdicts(self) -> Verdicts:
        """Everything that can be said."""
        trained, planned = self._trained()
        # Weights that are still searched, or on their way to be frozen, are candidates too.
        over = trained == planned
        choice = self.study.choose() if over else {"chosen": None, "gains": {}}
        ranks = self._ranks()
        rows = [self._row(c, choice["gains"], ranks) for c in self.candidates]
        chosen = next((row for row in rows if row.candidate.name == choice["chosen"]), None)
        return Verdicts(
            rows, chosen, self._balancing(rows), self._left(trained, planned), self.study.looks
        )

    def _trained(self) -> tuple[int, int]:
        """How many trainings are over, and of how many; equal only where none is left."""
        trainings = self.study.trainings()
        over = sum(self.study.outcome(t.candidate, t.seed) is not None for t in trainings)
        if over == len(trainings):
            return over, over
        return over, max(len(trainings), self.study.expected_count())

    def _left(self, trained: int, planned: int) -> str:
        """What is still to be done before anything is said."""
        if trained < planned:
            return f"{trained} of {planned} trainings are over"
        wanted = [
            s in self.tests[c.name]
            for c in self.candidates
            for s, o in self.outcomes[c.name].items()
            if o.status == "finished"
        ]
        return "" if all(wanted) else f"{sum(wanted)} of {len(wanted)} runs have test scores"

    def _row(
        self, candidate: Candidate, gains: Mapping[str, float], ranks: Mapping[str, float]
    ) -> Row:
        outcomes = self.outcomes[candidate.name]
        done = [o for o in outcomes.values() if o.status == "finished"]
        found = {task: self.compared(candidate, task) for task in candidate.tasks}
        known = {task: d for task, d in found.items() if d is not None}
        said = dict(zip(known, self._said(list(known.values())), strict=True))
        alone = candidate.role == "alone"
        return Row(
            candidate,
            {
                task: TaskResult(
                    task,
                    self.metrics[task],
                    self.higher[task],
                    self._mean(candidate, task),
                    self._mean(self.alone[task], task),
                    d,
                    said.get(task, "cannot tell"),
                    None if d is None or alone else self._wanted(d, len(known)),
                )
                for task, d in found.items()
            },
            None if alone else self.gain_over(candidate, None),
            gains.get(candidate.name),
            ranks.get("alone" if alone else candidate.name),
            max((o.parameters for o in done), default=0),
            float(np.mean([o.seconds / max(1, o.steps) for o in done])) if done else float("nan"),
            [s for s, o in outcomes.items() if o.status == "finished"],
            outcomes,
        )

    def _said(self, known: Sequence[Difference]) -> list[Verdict]:
        return verdicts(known, looks=self.study.looks)

    def _wanted(self, d: Difference, statements: int) -> int | Literal["more", "examples"] | None:
        """Seeds that it would take to tell at the next look."""
        return seeds_wanted(d, statements=statements, looks=self.study.looks + 1)

    def _mean(self, candidate: Candidate, task: str) -> float:
        values = [t.scores[task] for t in self.tests[candidate.name].values() if task in t.scores]
        return float(np.mean(values)) if values else float("nan")

    def compared(
        self, ours: Candidate, task: str, theirs: Candidate | None = None
    ) -> Difference | None:
        """The difference of two candidates' test scores in a task; greater is better.

        Args:
            ours: The one.
            task: The task.
            theirs: The other; None for the task alone.
        """
        pairs = self._pairs(ours, theirs or self.alone[task], task)
        if not pairs or ours.role == "alone":
            return None
        sign = 1.0 if self.higher[task] else -1.0
        by_seed = [sign * (a.scores[task] - b.scores[task]) for a, b in pairs]
        return difference(
            by_seed, sign * units if (units := _units(pairs, task)) is not None else None
        )

    def gain_over(self, ours: Candidate, theirs: Candidate | None) -> Difference | None:
        """The mean gain over every task alone, or how much it is above another candidate's.

        The examples' part is the greatest that it can be: as if errors of all tasks went together.
        """
        by_seed: list[float] = []
        for seed in self.seeds:
            value = self._gain(ours, seed)
            other = 0.0 if theirs is None else self._gain(theirs, seed)
            if value is not None and other is not None:
                by_seed.append(value - other)
        if not by_seed:
            return None
        reach, count = 0.0, 0
        for task in ours.tasks:
            found = self.compared(ours, task, theirs)
            if found is not None and found.spread.example_count:
                base = self._mean(self.alone[task], task)
                steep = slope(base, higher_is_better=self.higher[task])
                scale = steep / len(ours.tasks)
                reach += scale * found.spread.examples
                count = max(count, found.spread.example_count)
        return _with_examples(by_seed, reach, count)

    def _gain(self, candidate: Candidate, seed: int) -> float | None:
        """The mean gain of a seed's run over the same seed's runs of every task alone."""
        ours = self.tests[candidate.name].get(seed)
        gains = []
        for task in candidate.tasks:
            base = self.tests[self.alone[task].name].get(seed)
            if ours is None or base is None or task not in ours.scores or task not in base.scores:
                return None
            gains.append(
                gain(ours.scores[task], base.scores[task], higher_is_better=self.higher[task])
            )
        return float(np.mean(gains))

    def _pairs(self, ours: Candidate, theirs: Candidate, task: str) -> list[tuple[Tested, Tested]]:
        a, b = self.tests[ours.name], self.tests[theirs.name]
        return [
            (a[s], b[s])
            for s in self.seeds
            if s in a and s in b and task in a[s].scores and task in b[s].scores
        ]

    def _ranks(self) -> dict[str, float]:
        """Mean ranks of candidates of all tasks; every task alone together are one of them."""
        names = list(self.study.config.tasks)
        scores = {
            c.name: [self._mean(c, task) for task in names]
            for c in self.candidates
            if len(c.tasks) == len(names)
        }
        scores["alone"] = [self._mean(self.alone[task], task) for task in names]
        whole = {name: row for name, row in scores.items() if np.isfinite(row).all()}
        return mean_ranks(whole, [self.higher[task] for task in names]) if whole else {}

    def _balancing(self, rows: Sequence[Row]) -> tuple[Row, Row, Difference | None] | None:
        """Whether adaptive balancing beat fixed weights that were searched for as long."""
        whole = [
            r
            for r in rows
            if r.validation is not None and len(r.candidate.tasks) == len(self.study.config.tasks)
        ]
        names = {c.name for c in self.study.plan.adaptive()}
        adaptive = [r for r in whole if r.candidate.name in names]
        if not adaptive:
            return None
        best = max(adaptive, key=lambda r: r.validation or 0.0)
        fixed = [
            r
            for r in whole
            if r.candidate.sharing == best.candidate.sharing
            and (r.candidate.role == "tuned" or r.candidate.balancer == "equal")
        ]
        if not fixed:
            return None
        other = max(fixed, key=lambda r: r.validation or 0.0)
        return best, other, self.gain_over(best.candidate, other.candidate)


def _units(pairs: Sequence[tuple[Tested, Tested]], task: str) -> NDArray[np.float64] | None:
    """What each unit adds to the difference, `[S, N]`; None if it is not known for all."""
    sizes = {len(t.units[task]) for pair in pairs for t in pair}
    if len(sizes) != 1 or sizes == {0}:
        return None
    return np.stack([a.units[task] - b.units[task] for a, b in pairs])


def _with_examples(by_seed: Sequence[float], reach: float, count: int) -> Difference:
    """The mean over seeds with an examples' part that is known already."""
    plain = difference(by_seed)
    spread = Spread(plain.spread.seeds, plain.spread.seed_count, reach, count)
    width = spread.width(0.05)
    mean = plain.mean
    p = min(1.0, 2 * float(spread.below(-abs(mean)))) if spread.known else 1.0
    return Difference(mean, mean - width, mean + width, float(spread.below(mean)), p, spread)
