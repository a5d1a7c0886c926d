"""A study: a folder with a plan, the trainings it needs, and what has become of them.

study.json     the configuration, and what was measured before it began
runs/NAME-sN   a run for each candidate and seed
choice.json    what was chosen on validation rows, written before the test part is opened
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import polytask
from polytask.config.document import Document
from polytask.config.load import validated
from polytask.config.schema import Compare, Config
from polytask.errors import RunError
from polytask.evaluation.ranking import mean_gain
from polytask.run import Run, written
from polytask.study.measuring import measured
from polytask.study.plan import FIXED, Allowance, Candidate, Plan
from polytask.study.runs import Outcome, outcome_of
from polytask.training.checkpoint import write_whole

RECORD = "study.json"
CHOICE = "choice.json"
# What the record has, and what to do where it has not.
NEEDS = (
    *("polytask", "created", "command", "config", "allowances", "epochs", "threads", "seconds"),
    *("scores", "higher_is_better", "data", "epoch"),
)
BROKEN = "Bring it back from a copy, or begin the comparison anew."


@dataclass(frozen=True)
class Training:
    """A training of the plan.

    Attributes:
        candidate: What it is a training of.
        seed: Its seed.
        name: The name of its folder.
    """

    candidate: Candidate
    seed: int
    name: str


@dataclass(frozen=True)
class Study:
    """A comparison's folder.

    Attributes:
        path: The folder.
        facts: What `study.json` says.
    """

    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def create(cls, config: Config, path: Path, command: Sequence[str], workers: int) -> "Study":
        """Measure, and write down what is to be done.

        Raises:
            PolytaskError: If the comparison or its data is not what it should be.
        """
        if (path / RECORD).exists():
            raise RunError(f"'{path}' holds a study already. Go on with it: --resume {path}")
        facts = {
            "polytask": polytask.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": list(command),
            "config": config.resolved(),
            **measured(config, workers),
        }
        with written(path, "Choose another folder with --study, or free some space."):
            (path / "runs").mkdir(parents=True, exist_ok=True)
        write_json(path / RECORD, facts)
        return cls(path, facts)

    @classmethod
    def open(cls, path: Path) -> "Study":
        """An existing study.

        Raises:
            RunError: If there is none.
        """
        try:
            facts = json.loads((path / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                f"'{path}' is no study (a study is a folder with a {RECORD}). Start one with: "
                "polytask compare CONFIG"
            ) from None
        except ValueError as error:
            raise RunError(f"'{path / RECORD}' cannot be read: {error}. {BROKEN}") from error
        lacks = [key for key in NEEDS if not isinstance(facts, dict) or key not in facts]
        if lacks:
            raise RunError(f"'{path / RECORD}' lacks {', '.join(lacks)}. {BROKEN}")
        return cls(path, facts)

    @property
    def runs(self) -> Path:
        """Where the trainings are."""
        return self.path / "runs"

    @cached_property
    def config(self) -> Config:
        """What is compared."""
        return validated(Document(str(self.path / RECORD), dict(self.facts["config"])), self.path)

    @cached_property
    def plan(self) -> Plan:
        """What it takes."""
        allowances = {
            tuple(a["tasks"]): Allowance(a["size"], a["epoch_examples"])
            for a in self.facts["allowances"]
        }
        return Plan(self.config, allowances, self.facts["epochs"], self.facts["threads"])

    @property
    def compare(self) -> Compare:
        """What was asked for."""
        return self.plan.compare

    @property
    def added(self) -> list[list[int]]:
        """Seeds that were added after a look at the test part, one list for each time."""
        return list(self.facts.get("added", []))

    @property
    def first_seeds(self) -> list[int]:
        """The seeds that the study began with: the choice and frozen weights rest on them."""
        later = {seed for seeds in self.added for seed in seeds}
        return [seed for seed in self.compare.seeds if seed not in later]

    @property
    def looks(self) -> int:
        """How often the test part is looked at."""
        return 1 + len(self.added)

    def training(self, candidate: Candidate, seed: int) -> Training:
        """A candidate's training with a seed."""
        return Training(candidate, seed, self.plan.folder(candidate, seed))

    def outcome(self, candidate: Candidate, seed: int) -> Outcome | None:
        """How it went; None while it is not over."""
        return outcome_of(self.runs / self.plan.folder(candidate, seed))

    def trainings(self) -> list[Training]:
        """Everything that can be trained by now; more may follow from how these go."""
        seeds = self.compare.seeds
        found = [self.training(c, s) for c in self.candidates() for s in seeds]
        found += [self.training(trial, seeds[0]) for trial in self.plan.trials()]
        unique = {training.name: training for training in found}
        return list(unique.values())

    def candidates(self) -> list[Candidate]:
        """Everything that is compared by now: tuned and frozen weights once they are known."""
        return [*self.plan.alone(), *self.plan.shared(), *self.tuned(), *self.frozen()]

    def tuned(self) -> Iterator[Candidate]:
        """For each way to share the best weights that were tried, once all have been.

        None where equal weights did better with the same seed: they are a candidate already.
        """
        seed = self.compare.seeds[0]
        ways: dict[tuple[str, tuple[str, ...]], list[Candidate]] = {}
        for trial in self.plan.trials():
            ways.setdefault((trial.sharing, trial.tasks), []).append(trial)
        for (sharing, tasks), trials in ways.items():
            equal = [
                c
                for c in self.plan.shared()
                if (c.sharing, c.tasks, c.balancer) == (sharing, tasks, "equal")
            ]
            outcomes = [self.outcome(c, seed) for c in (*equal, *trials)]
            if any(outcome is None for outcome in outcomes):
                continue
            values = [
                -np.inf if o is None or o.monitored is None else o.monitored for o in outcomes
            ]
            best = int(np.argmax(values))
            if best > 0 and np.isfinite(values[best]):
                yield self.plan.tuned(trials[best - 1])

    def frozen(self) -> Iterator[Candidate]:
        """For each adaptive candidate the mean of its last weights, once its seeds are over.

        Of the first seeds: weights that moved with seeds that are added would be others.
        """
        if not self.compare.frozen:
            return
        for origin in self.plan.adaptive():
            outcomes = [self.outcome(origin, seed) for seed in self.first_seeds]
            if any(outcome is None for outcome in outcomes):
                continue
            weights = [
                self._last_weights(origin, seed)
                for seed, o in zip(self.first_seeds, outcomes, strict=True)
                if o is not None and o.status == "finished"
            ]
            known = [w for w in weights if w is not None]
            if known and all(np.isfinite(known).ravel()):
                mean = np.mean(known, axis=0)
                if mean.min() >= 0 and mean.max() > 0:
                    yield self.plan.frozen(origin, [round(float(w), 4) for w in mean])

    def _last_weights(self, candidate: Candidate, seed: int) -> list[float] | None:
        """The weights of a training's last epoch, in the order of its tasks."""
        weights = (
            Run.open(self.runs / self.plan.folder(candidate, seed)).history()[-1].get("weights")
        )
        return None if weights is None else [weights.get(t) or 0.0 for t in candidate.tasks]

    def expected_seconds(self) -> dict[str, float]:
        """Seconds that all trainings of each role should take, known by now or not."""
        seeds, seconds = self.compare.seeds, self.facts["seconds"]
        plan = self.plan
        shared = {(c.sharing, c.tasks): seconds[c.name] for c in plan.shared() if _fixed(c)}
        trials = sum(shared[t.sharing, t.tasks] for t in plan.trials())
        return {
            "alone": len(seeds) * sum(seconds[c.name] for c in plan.alone()),
            "shared": len(seeds) * sum(seconds[c.name] for c in plan.shared()),
            "trial": trials,
            "tuned": (len(seeds) - 1) * sum(shared.values()),
            "frozen": len(seeds) * sum(shared[c.sharing, c.tasks] for c in plan.adaptive())
            if self.compare.frozen
            else 0.0,
        }

    def expected_count(self) -> int:
        """How many trainings there will be at most."""
        plan, seeds = self.plan, len(self.compare.seeds)
        frozen = len(plan.adaptive()) if self.compare.frozen else 0
        ways = len({(t.sharing, t.tasks) for t in plan.trials()})
        whole = seeds * (len(plan.alone()) + len(plan.shared()) + frozen)
        return whole + len(plan.trials()) + ways * (seeds - 1)

    def choose(self) -> dict[str, Any]:
        """The candidate that is best on validation rows; kept, so that it stays the choice.

        Among candidates that share all tasks; by the mean over seeds of the gain over every task
        alone.
        """
        path = self.path / CHOICE
        if path.exists():
            known = _known_choice(path)
            if known["chosen"] is not None:  # else something failed that may have been mended
                return known
        gains = self.validation_gains()
        whole = tuple(self.config.tasks)
        compared = {c.name: c for c in self.candidates() if c.role != "alone" and c.tasks == whole}
        known = {name: value for name, value in gains.items() if name in compared}
        best = max(known, key=lambda name: known[name]) if known else None
        choice = {
            "chosen": best,
            "gains": gains,
            "opened": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(path, choice)
        return choice

    def validation_gains(self) -> dict[str, float]:
        """Per candidate the mean gain on validation rows, over seeds and its tasks."""
        found = {}
        alone = {c.tasks[0]: c for c in self.plan.alone()}
        _, directions = self.scores
        for candidate in self.candidates():
            values = []
            for seed in self.first_seeds:
                ours = self._validated(candidate, seed)
                bases = {
                    task: base[task]
                    for task in candidate.tasks
                    if (base := self._validated(alone[task], seed)).get(task) is not None
                }
                both = {t: v for t, v in ours.items() if t in bases}
                if len(both) == len(candidate.tasks):
                    values.append(mean_gain(both, bases, directions))
            if values and candidate.role != "alone":
                found[candidate.name] = float(np.mean(values))
        return found

    def _validated(self, candidate: Candidate, seed: int) -> dict[str, float]:
        """The validation score of each task; empty if the training did not finish."""
        outcome = self.outcome(candidate, seed)
        if outcome is None or outcome.status != "finished" or not outcome.scores:
            return {}
        metrics, _ = self.scores
        return {
            task: value
            for task in candidate.tasks
            if (value := outcome.scores[task].get(metrics[task])) is not None
        }

    @cached_property
    def scores(self) -> tuple[dict[str, str], dict[str, bool]]:
        """For each task the metric by which it is compared, and whether more of it is better."""
        return self.facts["scores"], self.facts["higher_is_better"]


def _known_choice(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {key: known[key] for key in ("chosen", "gains", "opened")}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"'{path}' is not what a study writes ({error!r}). Remove it, and the choice is made "
            "again, by the same validation scores."
        ) from error


def fresh_folder(config: Config) -> Path:
    """Where a study goes that was given no folder."""
    return Path("studies") / f"{config.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def _fixed(candidate: Candidate) -> bool:
    return candidate.changes["balancer"]["kind"] in FIXED and candidate.balancer == "equal"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of a study, whole.

    Raises:
        RunError: If it cannot be written. The previous one is whole.
    """
    text = json.dumps(value, indent=2) + "\n"
    with written(path):
        write_whole(path, lambda file: file.write(text.encode()))
