"""Workers of a study as tasks of a Ray cluster.

A study is its folder, so Ray only has to say where processes run and what they may use; what is to
be done, and what has been, workers see in the folder, as they do on one machine. All nodes need
Polytask, the data and the study's folder under the same paths.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from polytask.errors import RunError, require
from polytask.study.crew import LOOK, REST, Standing, standing
from polytask.study.folder import Study
from polytask.study.worker import labour

RETRIES = 3  # of a task whose process or node was lost


def run_on_ray(
    study: Study,
    workers: int,
    look: Callable[[Standing], None],
    *,
    address: str,
    cpus: float = 1.0,
    gpus: float = 0.0,
) -> Standing:
    """Work on a study with tasks of a Ray cluster until it is over, or all of them have ended.

    Ctrl-C cancels them: each saves a checkpoint and ends. A task whose node is lost is started anew
    by Ray, a few times, and goes on from the last checkpoints in the folder.

    Args:
        study: In a folder that all nodes see.
        workers: How many tasks.
        look: Told how far it is, about every second.
        address: The cluster's: `auto` for the one that this machine belongs to, `local` for one of
            this machine alone, or `ray://HOST:PORT`.
        cpus: Of each task; its trainings use so many threads, where the configuration leaves it.
        gpus: Of each task.

    Raises:
        RunError: If there is no cluster at that address, or it is too small for any task.
    """
    ray = require("ray", "ray")
    begun = not ray.is_initialized()  # else it is the caller's, and stays
    if begun:
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError) as error:
            raise RunError(f"--ray: there is no Ray cluster at '{address}': {error}") from error
    try:
        _fits(ray.cluster_resources(), cpus, gpus)
        broke = _watched(ray, study, workers, look, cpus, gpus)
    finally:
        if begun:
            ray.shutdown()
    now = standing(study)
    look(now)
    return replace(now, broke=tuple(broke))


def _watched(
    ray: ModuleType,
    study: Study,
    workers: int,
    look: Callable[[Standing], None],
    cpus: float,
    gpus: float,
) -> list[str]:
    """Starts tasks and waits for them; what those said that ended without having been asked to."""
    threads = {"env_vars": {"OMP_NUM_THREADS": str(max(1, int(cpus)))}}
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, runtime_env=threads)(
        _labour
    )
    tasks = [task.remote(str(study.path.resolve())) for _ in range(workers)]
    broke: list[str] = []
    try:
        due, left = 0.0, tasks
        while left:
            began = time.monotonic()
            if began >= due:
                look(standing(study))
                due = began + REST * (time.monotonic() - began)
            done, left = ray.wait(left, num_returns=len(left), timeout=LOOK)
            broke += [said for said in (_last_words(ray, one) for one in done) if said]
    except KeyboardInterrupt:
        for one in tasks:
            ray.cancel(one, force=False)
        ray.wait(tasks, num_returns=len(tasks))
    return broke


def _labour(path: str) -> bool:
    """What a task does, in a process of its own on some node."""
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(
            f"The node '{os.uname().nodename}' does not see '{path}'. A study on a cluster needs a "
            "folder that all nodes share: compare --study."
        )
    return labour(folder)


def _last_words(ray: ModuleType, one: object) -> str:
    """Why a task ended without having been asked to; empty if it came to its end."""
    try:
        ray.get(one)
    except ray.exceptions.RayError as error:  # whatever a task raised is one, too
        cause = getattr(error, "cause", error)
        lines = str(cause).strip().splitlines()
        return lines[-1] if lines else type(cause).__name__
    return ""


def _fits(there: dict[str, float], cpus: float, gpus: float) -> None:
    """Refuse what would wait for ever."""
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > there.get(name, 0.0):
            raise RunError(
                f"--ray: each worker asks for {wanted:g} {name}, and the cluster has "
                f"{there.get(name, 0.0):g}."
            )
