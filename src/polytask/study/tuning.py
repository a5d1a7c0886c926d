"""A search for better settings by Optuna: trials that are runs, and the best of them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from polytask.config.document import Document
from polytask.config.load import dump_config, validated
from polytask.config.schema import Config
from polytask.config.variants import with_seed
from polytask.errors import ConfigError, RunError, nearest
from polytask.run import written
from polytask.study.space import Space
from polytask.study.trials import Search, folder_of, opened, over, run_trials
from polytask.workflow import prepare_data

RECORD = "tune.json"
# Changes of a configuration that are told.
SHOWN = 5


def tune(
    config: Config, root: Path, search: Search, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Search, and write `tune.json` and the best configuration into the study's folder.

    Several calls, also at the same time, share one folder's trials. Only validation scores are
    looked at.

    Args:
        config: The configuration, with its `tune`.
        root: The study's folder.
        search: How.
        tell: Told about each trial.

    Returns:
        What is in `tune.json`.

    Raises:
        ConfigError: If keys, ranges or objectives are wrong.
        RunError: If no trial reached its end.
    """
    config = with_seed(config, config.seed)  # A seed may be searched; rows stay where they are.
    space = Space(config)
    check_objectives(config, search.objectives)
    with written(root, "Choose another folder with --study, or free some space."):
        root.mkdir(parents=True, exist_ok=True)
    require_same_search(root, config, search)
    opened(root, config, search)
    if search.workers == 1:
        run_trials(space, root, search, tell)
    else:
        started = get_context("spawn")
        raw = config.resolved()
        with ProcessPoolExecutor(search.workers, mp_context=started) as pool:
            works = [pool.submit(_worker, raw, root, search) for _ in range(search.workers)]
            for some in works:
                some.result()
    return conclude(space, root, search, opened(root, config, search))


def _worker(raw: dict[str, Any], root: Path, search: Search) -> None:
    """One of several processes."""
    config = validated(Document("the configuration", raw), Path())
    run_trials(Space(config), root, search, lambda line: print(line, flush=True))


def check_objectives(config: Config, objectives: Sequence[str]) -> None:
    """Raise unless each objective is a `task.metric` that is measured.

    What a task measures may depend on its labels, so where there are objectives data is read.
    """
    if not objectives:
        return
    measured = {
        task.name: [*task.metrics().keys(), "loss"] for task in prepare_data(config, None).tasks
    }
    valid = [f"{task}.{metric}" for task, metrics in measured.items() for metric in metrics]
    for objective in objectives:
        if objective not in valid:
            raise ConfigError(
                f"--objective: found '{objective}', expected task.metric. "
                + nearest(objective, valid)
            )


def require_same_search(root: Path, config: Config, search: Search) -> None:
    """Raise if a folder holds trials of another configuration or for another objective."""
    path = root / "search.json"
    said = {"config": config.resolved(), "objectives": list(search.objectives)}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in said if known.get(key) != said[key]]
        if differing:
            changes = list(changed(known, said))
            more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
            raise RunError(
                f"'{root}' holds trials of another search: {'; '.join(changes[:SHOWN])}{more}. "
                "Choose another folder with --study, or remove this one."
            )
        return
    with written(path):
        path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def changed(known: Any, now: Any, key: str = "") -> Iterator[str]:
    """What differs between two configurations, by key: what it was, and what it is now."""
    if isinstance(known, Mapping) and isinstance(now, Mapping):
        for name in (*known, *(name for name in now if name not in known)):
            inner = name if key in ("", "config") else f"{key}.{name}"
            yield from changed(known.get(name), now.get(name), inner)
    elif known != now:
        yield f"{key} was {json.dumps(known)} and is {json.dumps(now)}"


def conclude(space: Space, root: Path, search: Search, study: Any) -> dict[str, Any]:
    """Write down all trials and the best configurations."""
    trials = [
        {
            "number": t.number,
            "state": t.state.name.lower(),
            "values": list(t.values) if t.values else None,
            "params": t.params,
            "reason": t.user_attrs.get("reason"),
            "epochs": len(t.intermediate_values) or None,
            "seconds": t.user_attrs.get("seconds"),
            "parameters": t.user_attrs.get("parameters"),
            "run": str(root / "trials" / folder_of(t)),
        }
        for t in over(study)
    ]
    best = sorted(study.best_trials, key=lambda t: t.values, reverse=True)
    if len(search.objectives) <= 1:
        best = best[:1]
    files = []
    for place, trial in enumerate(best, 1):
        name = "best.yaml" if len(search.objectives) <= 1 else f"front-{place}.yaml"
        dump_config(configured(space, trial.params), root / name)
        files.append(
            {
                "number": trial.number,
                "values": list(trial.values),
                "params": trial.params,
                "file": str(root / name),
            }
        )
    said = {"objectives": list(search.objectives), "best": files, "trials": trials}
    with written(root / RECORD):
        (root / RECORD).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if not best:
        reasons = [f"trial {t['number']}: {t['reason']}" for t in trials if t["reason"]]
        raise RunError("No trial reached its end.\n" + "\n".join(reasons[:5]))
    return said


def configured(space: Space, params: Mapping[str, Any]) -> Config:
    """The configuration of a trial's values."""

    def known(key: str, range_: Any) -> Any:
        value = params[key]
        plain = range_.choices is None or value in range_.choices
        return value if plain else json.loads(value)

    return space.chosen(known)
