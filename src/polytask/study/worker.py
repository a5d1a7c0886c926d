"""A process that works on a study until nothing is left to do; any number of them share one.

`python -m polytask.study.worker STUDY` starts one by hand, on any machine that sees the folder.
"""

import os
import sys
import time
from pathlib import Path

from polytask.errors import PolytaskError
from polytask.study.folder import Study, Training
from polytask.study.plan import Candidate
from polytask.study.runs import work
from polytask.study.testing import test
from polytask.workflow import Watcher

WAIT = 0.5  # seconds between looks at what others have finished


def labour(path: Path, watcher: Watcher | None = None, *, parent: int | None = None) -> bool:
    """Train what is left of a study, then open the test part.

    Args:
        path: The study's folder.
        watcher: Told about every training; None for nobody.
        parent: Stop when this process is no longer the parent of this one.

    Returns:
        Whether everything is over; False if a person stopped it.
    """
    study = Study.open(path)
    while True:
        todo = [t for t in study.trainings() if study.outcome(t.candidate, t.seed) is None]
        if not todo:
            break
        busy = False
        for training in todo:
            if parent is not None and os.getppid() != parent:
                return False
            status = work(
                study.plan.job(training.candidate, training.seed), study.runs, watcher
            ).status
            if status == "stopped":
                return False
            busy |= status != "elsewhere"
            if status != "elsewhere" and _follow(study, training):
                break  # what follows from it may be wanted before the rest
        if not busy:
            time.sleep(WAIT)
    study.choose()
    return open_test(study)


def _follow(study: Study, training: Training) -> bool:
    """Whether a training's end may have brought new ones."""
    return training.candidate.role in ("shared", "trial")


def open_test(study: Study) -> bool:
    """Score every finished training but trials that were not taken on the test part."""
    metrics, _ = study.scores
    waiting = [t for t in judged(study) if (o := study.outcome(*t)) and o.status == "finished"]
    while waiting:
        left = [t for t in waiting if not test(study.runs / study.plan.folder(*t), metrics)]
        if len(left) == len(waiting):
            time.sleep(WAIT)
        waiting = left
    return True


def judged(study: Study) -> list[tuple[Candidate, int]]:
    """Candidates and seeds whose test scores count."""
    return [(c, s) for c in study.candidates() for s in study.compare.seeds]


def main() -> None:
    """Work on the study that is named on the command line."""
    parent = int(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        done = labour(Path(sys.argv[1]), parent=parent)
    except PolytaskError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        done = False
    sys.exit(0 if done else 130)


if __name__ == "__main__":
    main()
