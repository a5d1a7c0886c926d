"""Trials of a search: asked for one at a time, done, ended early, taken up where they were left."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polytask.config.schema import Config
from polytask.errors import ConfigError, PolytaskError, RunError, nearest, require
from polytask.run import written
from polytask.study.runs import Job, Outcome, claimed, work
from polytask.study.space import Space, suggested
from polytask.training.history import ERRORS, EpochRecord
from polytask.workflow import Silent

WAIT = 0.3  # seconds between looks at whether another trial is wanted
Pruner = Literal["median", "hyperband", "none"]
PRUNERS: tuple[Pruner, ...] = ("median", "hyperband", "none")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to search.

    Attributes:
        trials: How many trials there are in the end, those of earlier calls included.
        objectives: Validation scores, `task.metric`, of which each is wanted; empty for the score
            by which trainings keep their weights (`training.monitor`).
        pruner: What ends trials that fall behind after an epoch; with several objectives none.
        workers: Processes side by side.
        journal: Whether trials are kept in a journal file, not in SQLite.
    """

    trials: int = 20
    objectives: tuple[str, ...] = ()
    pruner: Pruner = "median"
    workers: int = 1
    journal: bool = False

    def __post_init__(self) -> None:
        if self.pruner not in PRUNERS:
            raise ConfigError(f"--pruner: found '{self.pruner}'. Use one of {', '.join(PRUNERS)}.")
        for name in ("trials", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} should be at least 1. Found {getattr(self, name)}.")


def opened(root: Path, config: Config, search: Search) -> Any:
    """The Optuna study of a folder; made if there is none."""
    optuna = require("optuna", "study")
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # each trial has its line here
    storage: Any = f"sqlite:///{(root / 'tune.db').absolute()}"
    if search.journal:
        backend = optuna.storages.journal.JournalFileBackend(str(root / "tune.journal"))
        storage = optuna.storages.JournalStorage(backend)
    other = root / ("tune.db" if search.journal else "tune.journal")
    if other.exists():
        raise RunError(f"'{root}' keeps its trials in '{other.name}'. Go on as it was begun.")
    directions = [
        "minimize" if objective.rpartition(".")[2] in ERRORS else "maximize"
        for objective in search.objectives or ("",)
    ]
    return optuna.create_study(
        storage=storage,
        study_name="tune",
        load_if_exists=True,
        directions=directions,
        pruner=_pruner(optuna, config, search),
    )


def seeded(config: Config, search: Search, number: int) -> Any:
    """What draws a trial's values: by its number and what is known, whichever process does it."""
    optuna = require("optuna", "study")
    with warnings.catch_warnings():
        # Kinds bring keys of their own, which only groups of keys sample jointly.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=(config.seed * 100_003 + number) % 2**32,
            multivariate=True,
            group=True,
            constant_liar=search.workers > 1,
        )


def _pruner(optuna: Any, config: Config, search: Search) -> Any:
    epochs = int(config.training.model_dump()["epochs"])
    if search.pruner == "none" or len(search.objectives) > 1:
        return optuna.pruners.NopPruner()
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(2, epochs))
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, epochs // 5))


def taken(study: Any, space: Space, root: Path, search: Search, alive: ExitStack) -> Any:
    """The next trial, whose values are not drawn yet; None while none is wanted.

    One process at a time asks, so trials under way count as such, and there are never more than
    wanted.

    Args:
        study: Optuna's study.
        space: What may be tried.
        root: The study's folder.
        search: How many trials are wanted.
        alive: Given a lock that others cannot take for as long as this process lives.
    """
    lock = require("filelock", "study").FileLock(root / "asking.lock")
    with written(root), lock:
        take_up(study, root)
        trials = study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state.name == "RUNNING"]
        if len(over(study)) + len(running) >= search.trials:
            return None
        study.sampler = seeded(space.config, search, len(trials))
        trial = study.ask()
        ours = alive.enter_context(claimed(root / "trials", alive_name(trial)))
        assert ours, f"trial {trial.number} was asked for twice"
        return trial


def alive_name(trial: Any) -> str:
    """The name of the lock that says that somebody works on a trial."""
    return f"{folder_of(trial)}.alive"


def take_up(study: Any, root: Path) -> None:
    """Queue what nobody works on any more again; it goes on from its checkpoint."""
    optuna = require("optuna", "study")
    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False):
        stopped = trial.state == states.FAIL and trial.user_attrs.get("stopped")
        if trial.state == states.RUNNING:
            with claimed(root / "trials", alive_name(trial)) as free:
                # It may have come to its end since it was read, and its lock been given up.
                now = study.get_trials(deepcopy=False)[trial.number].state
                stopped = free and now == states.RUNNING
            if stopped:
                study.tell(trial.number, state=states.FAIL)
        again = {t.user_attrs.get("goes_on") for t in study.get_trials(deepcopy=False)}
        # Values that were queued and not read yet are kept by Optuna under this name.
        params = trial.params or trial.system_attrs.get("fixed_params")
        if stopped and trial.number not in again and params:
            attributes = {"goes_on": trial.number, "folder": folder_of(trial)}
            study.enqueue_trial(params, user_attrs=attributes)


def folder_of(trial: Any) -> str:
    """The name of a trial's run: its number's, or that of the trial which it goes on with."""
    return str(trial.user_attrs.get("folder") or f"{trial.number:04d}")


def over(study: Any) -> list[Any]:
    """Trials that are over and were not stopped by a person or a crash, oldest first."""
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs.get("goes_on") for trial in trials}
    return [
        t
        for t in trials
        if t.state.is_finished()
        and t.number not in again
        and (t.state.name != "FAIL" or "reason" in t.user_attrs)
    ]


def run_trials(space: Space, root: Path, search: Search, tell: Callable[[str], None]) -> None:
    """Do trials in this process until there are as many as wanted, also by others."""
    study = opened(root, space.config, search)
    while len(over(study)) < search.trials:
        with ExitStack() as alive:
            trial = taken(study, space, root, search, alive)
            if trial is not None:
                finish(study, trial, lambda trial: values_of(trial, space, root, search))
                tell(described(study.trials[trial.number], study, search))
        if trial is None:
            time.sleep(WAIT)  # another process may fail, or be killed


def finish(study: Any, trial: Any, value: Callable[[Any], Any]) -> None:
    """Do a trial and say how it went.

    Raises:
        KeyboardInterrupt: If a person stopped it.
    """
    optuna = require("optuna", "study")
    states = optuna.trial.TrialState
    try:
        study.tell(trial, value(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except PolytaskError as error:
        trial.set_user_attr("stopped", False)
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=states.FAIL)
    except BaseException:
        study.tell(trial, state=states.FAIL)
        raise


def values_of(trial: Any, space: Space, root: Path, search: Search) -> Any:
    """The objectives of a trial: a training, or what is left of it.

    Raises:
        PolytaskError: If it failed, which is then the trial's reason.
        KeyboardInterrupt: If a person stopped it.
    """
    config = space.chosen(lambda key, range_: suggested(trial, key, range_))
    folder = folder_of(trial)
    watcher = Pruning(trial) if len(search.objectives) <= 1 else Silent()
    trial.set_user_attr("stopped", True)  # until it is over; a killed process leaves it so
    try:
        outcome = work(Job(folder, config), root / "trials", watcher)
    except require("optuna", "study").TrialPruned:
        trial.set_user_attr("stopped", False)
        forget_checkpoint(root, folder)
        raise
    if outcome.status == "stopped":
        raise KeyboardInterrupt
    trial.set_user_attr("stopped", False)
    forget_checkpoint(root, folder)
    trial.set_user_attr("epoch", outcome.epoch)
    trial.set_user_attr("seconds", outcome.seconds)
    trial.set_user_attr("parameters", outcome.parameters)
    reason = outcome.reason or ("another process is at it" if outcome.status == "elsewhere" else "")
    values = measured(outcome, search.objectives)
    if not reason and any(value is None or not math.isfinite(value) for value in values):
        reason = "what is to be optimised was not measured on validation rows"
    if reason:
        raise RunError(reason)
    return values[0] if len(values) == 1 else tuple(values)


class Pruning(Silent):
    """Reports each validation to Optuna, and ends trials that fall behind.

    Args:
        trial: Optuna's trial.
    """

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def on_epoch(self, record: EpochRecord) -> None:
        """Report, and end the trial if it is among the worse."""
        if record.monitored is None:
            return
        self.trial.report(record.monitored, record.epoch)
        if self.trial.should_prune():
            raise require("optuna", "study").TrialPruned


def measured(outcome: Outcome, objectives: Sequence[str]) -> list[float | None]:
    """What is optimised; None where it was not measured."""
    if not objectives:
        return [outcome.monitored]
    found: list[float | None] = []
    for objective in objectives:
        task, _, metric = objective.partition(".")
        scores = (outcome.scores or {}).get(task, {})
        if scores and metric not in scores:
            raise ConfigError(
                f"--objective: task '{task}' has no '{metric}'. {nearest(metric, scores)}"
            )
        found.append(scores.get(metric))
    return found


def forget_checkpoint(root: Path, folder: str) -> None:
    """What a trial that is over does not need any more; its weights stay."""
    (root / "trials" / folder / "checkpoint.pt").unlink(missing_ok=True)


def described(trial: Any, study: Any, search: Search) -> str:
    """A line about a trial that is over."""
    values = ", ".join(f"{key}={shown(value)}" for key, value in trial.params.items())
    state = trial.state.name.lower()
    result = {
        "complete": " ".join(f"{v:.4f}" for v in trial.values or ()),
        "pruned": f"pruned after epoch {max(trial.intermediate_values, default=0)}",
    }.get(state, f"failed: {trial.user_attrs.get('reason', 'stopped')}")
    best = ""
    if len(search.objectives) <= 1 and state == "complete":
        best = f" (best {study.best_value:.4f})"
    done = f"{len(over(study))} of {search.trials}"
    return f"trial {trial.number} ({done}): {result}{best}  {values}"


def shown(value: Any) -> str:
    """A value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
