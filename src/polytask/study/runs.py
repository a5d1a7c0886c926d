"""One training among many: taken up where it was left, done by one process, never done twice.

A study's trainings are folders of one root. Whoever holds `.locks/NAME.lock` works on `NAME`; the
lock goes with the process, however that ends. `outcome.json` in the run's folder says that it is
over, and how; a folder without one is waiting, or was stopped in the middle.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polytask.config.schema import Config
from polytask.errors import CannotWrite, PolytaskError, RunError, require
from polytask.run import Run, written
from polytask.training.history import EpochRecord, kept
from polytask.types import Scores
from polytask.workflow import Silent, Watcher, train

if TYPE_CHECKING:
    from polytask.training.step import StepRecord
    from polytask.training.trainer import Probe

RECORD = "outcome.json"
# How often a training was begun without coming to an end that could be told, and how often it may.
BEGUN, ATTEMPTS = "begun.json", 5

# What one training can die of without the others: settings that torch refuses, memory, a disk.
DEATHS = (
    *(PolytaskError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError),
    *(OSError, MemoryError, AssertionError, NotImplementedError),
)


@dataclass(frozen=True)
class Job:
    """A training that is to be done.

    Attributes:
        name: The name of its folder.
        config: What to train. Its seed, epochs and all else are already in it: see
            `config.variants` for how to make it from another.
    """

    name: str
    config: Config


@dataclass(frozen=True)
class Outcome:
    """How a training went.

    Attributes:
        status: `finished`, `failed`, `stopped` by a person, or `elsewhere`: another process is at
            it. Only the first two are final.
        reason: Why it failed.
        scores: Validation scores of the weights that were kept.
        monitored: The score that decided which weights were kept; greater is better.
        epoch: Their epoch, counted from 1.
        steps: Steps done.
        seconds: Time spent training and validating, over all sittings.
        parameters: Parameters of the network.
        warnings: What went wrong without ending it.
    """

    status: Literal["finished", "failed", "stopped", "elsewhere"]
    reason: str = ""
    scores: Scores | None = None
    monitored: float | None = None
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    parameters: int = 0
    warnings: tuple[str, ...] = ()


def work(
    job: Job, root: Path, watcher: Watcher | None = None, probe: "Probe | None" = None
) -> Outcome:
    """Do a training, or what is left of it.

    Several processes may be given the same job: one does it, the others learn that they need not.

    Args:
        job: The training.
        root: The folder in which the study's trainings are kept.
        watcher: Told everything; None for nobody.
        probe: Looks at each step before it is taken.

    Returns:
        How it went. What went wrong inside of it is an outcome, too, so that the rest goes on.

    Raises:
        RunError: If the folder holds a training of another configuration, or cannot be written.
    """
    with claimed(root, job.name) as ours:
        known = outcome_of(root / job.name)
        if known is not None:
            return known
        if not ours:
            return Outcome("elsewhere")
        notes = Notes(watcher or Silent())
        run = Run.at(root / job.name, job.config)
        if begun_too_often(run):
            outcome = Outcome("failed", f"{ATTEMPTS} processes died of it. Out of memory?")
            run.write_json(RECORD, asdict(outcome))
            return outcome
        try:
            finished = train(run, root, notes, sys.argv, probe=probe)
        except CannotWrite:
            raise  # a full disk is no fault of this training: it goes on when there is room
        except DEATHS as error:
            kind = "" if isinstance(error, PolytaskError) else f"{type(error).__name__}: "
            outcome = Outcome("failed", f"{kind}{error}", warnings=tuple(notes.warnings))
        else:
            if not finished:
                (run.path / BEGUN).unlink(missing_ok=True)
                return Outcome("stopped")
            outcome = _finished(run, notes)
        run.write_json(RECORD, asdict(outcome))
        return outcome


def outcome_of(path: Path) -> Outcome | None:
    """How the training in a folder went; None while it is not over.

    Raises:
        RunError: If the record is broken.
    """
    try:
        text = (path / RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        said = json.loads(text)
        return Outcome(**{**said, "warnings": tuple(said["warnings"])})
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"'{path / RECORD}' is not what a study writes ({error}). Remove it, and the training "
            "is taken up again."
        ) from error


def begun_too_often(run: Run) -> bool:
    """Count a beginning; whether there were so many that something kills the process."""
    times = int(run.read_json(BEGUN)) if (run.path / BEGUN).exists() else 0
    run.write_json(BEGUN, times + 1)
    return times >= ATTEMPTS


@contextmanager
def claimed(root: Path, name: str) -> Iterator[bool]:
    """Inside, no other process works on `name`, if what is yielded is true."""
    filelock = require("filelock", "study")
    folder = root / ".locks"
    with written(folder, "Choose another folder, or free some space."):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f"{name}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
    try:
        yield True
    finally:
        lock.release()


class Notes:
    """Passes on what happens, and keeps what the record needs.

    Args:
        watcher: Told everything.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.parameters = 0
        self.warnings: list[str] = []
        self.on_decoding = watcher.on_decoding
        self.on_end = watcher.on_end

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Keep the size of the network."""
        self.parameters = int(facts["parameters"])
        self.watcher.on_start(run, facts)

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """Pass it on."""
        self.watcher.on_step(step, record, lr)

    def on_epoch(self, record: EpochRecord) -> None:
        """Pass it on."""
        self.watcher.on_epoch(record)

    def warn(self, message: str) -> None:
        """Keep the message."""
        self.warnings.append(message)
        self.watcher.warn(message)


def _finished(run: Run, notes: Notes) -> Outcome:
    """The record of a training that reached its end."""
    history = run.history()
    found = kept(history)
    best = history[-1] if found is None else found[0]
    return Outcome(
        "finished",
        scores=best["scores"],
        monitored=best["monitored"],
        epoch=best["epoch"],
        steps=history[-1]["step"],
        seconds=history[-1]["seconds"],
        parameters=notes.parameters,
        warnings=tuple(notes.warnings),
    )
