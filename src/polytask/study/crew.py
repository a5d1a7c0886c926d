"""Several processes at one study, and somebody who watches them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from polytask.study.folder import Study
from polytask.study.testing import RECORD as TESTED
from polytask.study.worker import judged

LOOK = 1.0  # seconds between looks
REST = 50  # times as long as a look at all folders takes, until the next one


@dataclass(frozen=True)
class Standing:
    """How far a study is.

    Attributes:
        planned: Trainings in all, as far as can be known.
        finished: How many have finished.
        failed: The names of those that failed, with their reasons.
        tested: Runs that were scored on the test part.
        to_test: Runs that will be.
        over: Whether everything is done.
    """

    planned: int
    finished: int
    failed: dict[str, str]
    tested: int
    to_test: int
    over: bool


def standing(study: Study) -> Standing:
    """How far a study is, by its folders."""
    trainings = study.trainings()
    outcomes = {t.name: study.outcome(t.candidate, t.seed) for t in trainings}
    over = [o for o in outcomes.values() if o is not None]
    trained = len(over) == len(outcomes)
    planned = len(outcomes) if trained else max(len(outcomes), study.expected_count())
    names = {study.plan.folder(c, s) for c, s in judged(study)}
    finished = {n for n, o in outcomes.items() if o is not None and o.status == "finished"}
    wanted = names & finished
    tested = sum((study.runs / name / TESTED).exists() for name in wanted)
    return Standing(
        planned,
        len(finished),
        {n: o.reason for n, o in outcomes.items() if o is not None and o.status == "failed"},
        tested,
        len(wanted),
        trained and tested == len(wanted),
    )


def run_study(study: Study, workers: int, look: Callable[[Standing], None]) -> Standing:
    """Work on a study with some processes until it is over, or all of them have ended.

    Ctrl-C reaches them, too: each saves a checkpoint and ends.

    Args:
        study: The study.
        workers: How many processes.
        look: Told how far it is, about every second.
    """
    command = [sys.executable, "-m", "polytask.study.worker", str(study.path), str(os.getpid())]
    logs = study.path / "logs"
    logs.mkdir(exist_ok=True)
    crew = []
    for number in range(workers):
        with (logs / f"worker-{os.getpid()}-{number}.txt").open("w") as log:
            crew.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
    try:
        due = 0.0
        while any(worker.poll() is None for worker in crew):
            began = time.monotonic()
            if began >= due:
                look(standing(study))
                due = began + REST * (time.monotonic() - began)
            time.sleep(LOOK)
    except KeyboardInterrupt:
        for worker in crew:  # they were asked to stop by the same key
            worker.wait()
    now = standing(study)
    look(now)
    return now
