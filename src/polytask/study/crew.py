"""Several processes at one study, and somebody who watches them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from polytask.study.folder import Study
from polytask.study.testing import is_tested
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
        broke: What processes said that ended without having been asked to.
    """

    planned: int
    finished: int
    failed: dict[str, str]
    tested: int
    to_test: int
    over: bool
    broke: tuple[str, ...] = ()


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
    tested = sum(is_tested(study.runs / name) for name in wanted)
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
    crew, asked = [], False
    paths = [logs / f"worker-{os.getpid()}-{number}.txt" for number in range(workers)]
    for path in paths:
        with path.open("w") as log:
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
        asked = True
        for worker in crew:  # they were asked to stop by the same key
            worker.wait()
    now = standing(study)
    look(now)
    ends = zip(crew, paths, strict=True)
    broke = () if asked else tuple(_last_words(w.returncode, p) for w, p in ends if w.returncode)
    return replace(now, broke=broke)


def _last_words(code: int, log: Path) -> str:
    """What a process that ended by itself has said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines:
        return lines[-1].removeprefix("error: ")
    if code < 0:
        return f"Something ended a process (signal {-code}). Out of memory?"
    return f"A process ended with code {code} and could not write down why. Is the disk full?"
