"""What a comparison trains: every task alone, ways to share, ways to balance, and fixed weights.

A plan is a pure function of a configuration, of what was measured before it began, and of the
outcomes so far; so every process that works on a study arrives at the same one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from polytask.config.build import read_sources
from polytask.config.schema import Compare, Config
from polytask.config.spec import Spec
from polytask.config.task_keys import for_tasks
from polytask.config.variants import varied, with_seed, with_tasks
from polytask.errors import ConfigError
from polytask.study.runs import Job

Role = Literal["alone", "shared", "trial", "tuned", "frozen"]
# Balancers whose weights no loss and no gradient changes.
FIXED = ("equal", "constant")


@dataclass(frozen=True)
class Candidate:
    """A way to train some tasks; with a seed, a training.

    Attributes:
        name: What people read.
        role: `alone` (one task), `shared`, `trial` (fixed weights that are tried with one seed),
            `tuned` (the best of these), `frozen` (weights at which a balancer arrived).
        tasks: The tasks.
        changes: What it changes in the configuration.
        sharing: Which way to share it is about.
        balancer: Which balancer.
        taken: The trial whose training with the first seed it takes over.
    """

    name: str
    role: Role
    tasks: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    sharing: str = ""
    balancer: str = ""
    taken: str = ""


@dataclass(frozen=True)
class Allowance:
    """How much a set of tasks is trained, besides epochs.

    Attributes:
        size: Examples of a step.
        epoch_examples: Examples of an epoch.
    """

    size: int
    epoch_examples: int


class Plan:
    """The candidates of a comparison, and the trainings that they need.

    Args:
        config: With a `compare` section.
        allowances: For each set of tasks. Filled in by whoever has seen the data.
        epochs: Epochs of candidates that get others than the configuration says, by name.
        threads: Threads of every training.

    Raises:
        ConfigError: If the section asks for something that cannot be.
    """

    def __init__(
        self,
        config: Config,
        allowances: Mapping[tuple[str, ...], Allowance],
        epochs: Mapping[str, int],
        threads: int,
    ) -> None:
        require_comparable(config)
        self.compare: Compare = config.compare or Compare()
        self.config = varied(config, {"training.threads": threads, "compare": None})
        self.allowances, self.epochs = dict(allowances), dict(epochs)
        self._jobs: dict[str, Job] = {}

    @property
    def sets(self) -> list[tuple[str, ...]]:
        """The sets of tasks that share a model, each in the configuration's order."""
        names = list(self.config.tasks)
        wanted = self.compare.tasks or (tuple(names),)
        return [tuple(n for n in names if n in chosen) for chosen in wanted]

    def alone(self) -> list[Candidate]:
        """Every task by itself, on the configuration's backbone."""
        backbone = self.config.resolved()["trunk"]["backbone"]
        return [
            Candidate(
                f"{task} alone",
                "alone",
                (task,),
                {"trunk": {"kind": "hard", "backbone": backbone}, "balancer": {"kind": "equal"}},
            )
            for task in self.config.tasks
        ]

    def shared(self) -> list[Candidate]:
        """Ways to share times balancers times sets of tasks."""
        found = []
        for tasks in self.sets:
            for sharing, trunk in self._ways():
                for balancer, spec in self._balancers():
                    name = f"{sharing} + {balancer}{self._suffix(tasks)}"
                    own = for_tasks(spec, list(self.config.tasks), tasks)
                    changes = {"trunk": trunk, "balancer": own}
                    found.append(Candidate(name, "shared", tasks, changes, sharing, balancer))
        return found

    def trials(self) -> list[Candidate]:
        """Fixed weights drawn evenly from the simplex, the same ones for every way to share."""
        found = []
        for tasks in self.sets:
            rng = np.random.default_rng([self.config.seed, len(tasks)])
            draws = rng.dirichlet(np.ones(len(tasks)), self.trial_count)
            for sharing, trunk in self._ways():
                for number, draw in enumerate(draws):
                    weights = [round(float(w) * len(tasks), 4) for w in draw]
                    name = f"{sharing} + weights {number + 1}{self._suffix(tasks)}"
                    changes = {"trunk": trunk, "balancer": constant(weights)}
                    found.append(Candidate(name, "trial", tasks, changes, sharing, "constant"))
        return found

    @property
    def trial_count(self) -> int:
        """Sets of weights that are tried for each way to share."""
        if self.compare.trials is not None:
            return self.compare.trials
        adaptive = [s for _, s in self._balancers() if s["kind"] not in FIXED]
        return max(4, len(adaptive) * len(self.compare.seeds))

    def adaptive(self) -> list[Candidate]:
        """The candidates whose balancers look at losses or gradients."""
        return [c for c in self.shared() if c.changes["balancer"]["kind"] not in FIXED]

    def tuned(self, best: Candidate) -> Candidate:
        """The candidate that a search ended with: its first training is the trial."""
        name = f"{best.sharing} + tuned weights{self._suffix(best.tasks)}"
        return Candidate(
            name, "tuned", best.tasks, best.changes, best.sharing, "constant", best.name
        )

    def frozen(self, origin: Candidate, weights: Sequence[float]) -> Candidate:
        """An adaptive candidate's weights as constants."""
        name = f"{origin.sharing} + frozen {origin.balancer}{self._suffix(origin.tasks)}"
        changes = {**origin.changes, "balancer": constant(weights)}
        return Candidate(name, "frozen", origin.tasks, changes, origin.sharing, "constant")

    def folder(self, candidate: Candidate, seed: int) -> str:
        """The name of a candidate's training with a seed."""
        taken = candidate.taken if seed == self.compare.seeds[0] else ""
        return f"{slug(taken or candidate.name)}-s{seed}"

    def job(self, candidate: Candidate, seed: int) -> Job:
        """The training of a candidate with a seed."""
        name = self.folder(candidate, seed)
        if name not in self._jobs:
            changes = dict(candidate.changes)
            allowed = self.allowances.get(candidate.tasks)
            if allowed is not None:
                changes["batches.size"] = allowed.size
                changes["batches.epoch_examples"] = allowed.epoch_examples
            if candidate.name in self.epochs:
                changes["training.epochs"] = self.epochs[candidate.name]
            try:
                chosen = varied(with_tasks(self.config, candidate.tasks), changes)
            except ConfigError as error:
                raise ConfigError(f"compare, '{candidate.name}': {error}") from error
            self._jobs[name] = Job(name, with_seed(chosen, seed))
        return self._jobs[name]

    def _ways(self) -> list[tuple[str, dict[str, Any]]]:
        """Ways to share, by name."""
        own = self.config.resolved()["trunk"]
        given = self.compare.sharing
        if not given:
            return [(own["kind"], own)]
        return list(zip(labels(given), [w.model_dump(mode="json") for w in given], strict=True))

    def _balancers(self) -> list[tuple[str, dict[str, Any]]]:
        """Balancers by name, equal weights first."""
        given = list(self.compare.balancing or (self.config.balancer,))
        named = list(zip(labels(given), [s.model_dump(mode="json") for s in given], strict=True))
        if "equal" not in [name for name, _ in named]:
            named.insert(0, ("equal", {"kind": "equal"}))
        return named

    def _suffix(self, tasks: tuple[str, ...]) -> str:
        return "" if len(tasks) == len(self.config.tasks) else f" ({', '.join(tasks)})"


def constant(weights: Sequence[float]) -> dict[str, Any]:
    """A balancer of fixed weights, with mean 1 over the tasks of a step."""
    return {"kind": "constant", "weights": list(weights), "scale": "unit"}


def labels(specs: Sequence[Spec]) -> list[str]:
    """A name for each spec: its kind, and a number where a kind occurs again."""
    seen: dict[str, int] = {}
    names = []
    for spec in specs:
        seen[spec.chosen] = seen.get(spec.chosen, 0) + 1
        count = seen[spec.chosen]
        names.append(spec.chosen if count == 1 else f"{spec.chosen} {count}")
    return names


def slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-")


def require_comparable(config: Config) -> None:
    """Raise for what a comparison cannot be made of.

    Raises:
        ConfigError: With all reasons.
    """
    wrong = list(_reasons(config, config.compare or Compare()))
    if wrong:
        raise ConfigError("\n".join(wrong))


def _reasons(config: Config, compare: Compare) -> Iterator[str]:
    if len(config.tasks) < 2:
        yield "There is one task. A comparison asks whether tasks should share: name two at least."
    for tasks in compare.tasks:
        unknown = [name for name in tasks if name not in config.tasks]
        if unknown:
            yield f"compare.tasks: there is no task '{unknown[0]}' (of {', '.join(config.tasks)})."
        if len(set(tasks)) < 2:
            yield f"compare.tasks: [{', '.join(tasks)}] shares nothing; every task alone is there."
    if len(set(compare.seeds)) < len(compare.seeds) or not compare.seeds:
        yield f"compare.seeds: expected different numbers, found {list(compare.seeds)}."
    if config.teachers:
        yield "teachers: a comparison is of models that learn from labels. Leave them out."
    for source in read_sources(config):
        spec = config.sources[source]
        if spec.split.model_dump()["validation"] == 0 and not spec.split.model_dump()["column"]:
            yield (
                f"sources.{source}.split.validation is 0. Weights, epochs and candidates are "
                "chosen on validation rows: give it a share."
            )
