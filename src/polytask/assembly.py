"""Several runs of one start, each with other tasks, as one run."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.config.build import build_model
from polytask.config.load import dump_config
from polytask.config.schema import Config
from polytask.environment import environment
from polytask.errors import RunError
from polytask.merging import average, require_alike, task_arithmetic, ties
from polytask.model import MultiTaskModel
from polytask.origin import RECORD as START
from polytask.run import Run, restored, written

Method = Literal["average", "task-arithmetic", "ties"]
METHODS = {"average": average, "task-arithmetic": task_arithmetic, "ties": ties}
# The file of a run that says of which runs it was merged.
RECORD = "merge.json"


def merge_runs(
    runs: Sequence[Run],
    base: Run,
    output: Path,
    command: Sequence[str],
    *,
    method: Method = "ties",
    **options: float,
) -> Run:
    """One run with the tasks of all: encoders and trunk merged, each head as its run has it.

    Buffers, such as the statistics of batch normalisation, are averaged whatever the method: a
    scaled sum of variances is none. Nothing is written before everything fits.

    Args:
        runs: Runs that were trained from `base`, each with tasks of its own.
        base: The run that they started from.
        output: The merged run's folder, which may not hold anything yet.
        command: The command line, for the record.
        method: How changes of weights become one.
        **options: `scale` and `keep`, where they are not the method's default.

    Raises:
        RunError: If the runs do not go together, or the folder is taken.
    """
    if "keep" in options and method != "ties":
        raise RunError(f"`keep` is the share that TIES keeps; found the method '{method}'.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"'{output}' is there already. Name another folder with --output.")
    if not runs:
        raise RunError("There is nothing to merge: name the runs.")
    for run in runs:
        require_start(run, base)
    for run in runs[1:]:
        require_same_data(runs[0], run)
    require_own_tasks(runs)
    config, facts, model = joined(runs)
    state, said = merged_weights(model, runs, base, method, options)
    merged = Run(output, config)
    with written(output, "Name another folder with --output."):
        output.mkdir(parents=True, exist_ok=True)
        dump_config(config, output / "config.yaml")
        merged.save_weights(state)
    known = runs[0].read_json("environment.json", needs=("precision", "threads", "device"))
    computed = {key: known[key] for key in ("precision", "threads", "device")}
    merged.save_parts(*runs[0].parts())
    merged.write_json("facts.json", facts)
    merged.write_json("environment.json", environment(**computed, command=command))
    merged.write_json(RECORD, {"method": method, **options, **said, "base": identity(base)})
    return merged


def identity(run: Run) -> dict[str, Any]:
    """By what a run is known again."""
    path = str(run.path.absolute())
    return {"run": path, "weights": run.fingerprint(), "tasks": list(run.config.tasks)}


def require_start(run: Run, base: Run) -> None:
    """Raise unless a run's encoders and trunk started as those of another."""
    if not (run.path / START).exists():
        raise RunError(
            f"'{run.path}' started from no run. Train it with --from {base.path}; models that "
            "were drawn apart have no weights in common."
        )
    said = run.read_json(START, needs=("run", "weights", "parts_fresh"))
    if said["weights"] != base.fingerprint():
        raise RunError(
            f"'{run.path}' started from '{said['run']}', or from other weights of it, and not "
            f"from '{base.path}' as it is. Name the right run with --base."
        )
    fresh = [name for name in said["parts_fresh"] if not name.startswith("heads.")]
    if fresh:
        raise RunError(
            f"'{run.path}' let parts begin anew that should be merged: {', '.join(fresh[:8])}. "
            "Leave out --fresh for them."
        )


def require_same_data(first: Run, other: Run) -> None:
    """Raise, and name what differs, unless two runs read the same rows with one network."""
    for section in ("sources", "inputs", "trunk", "on_bad", "unknown_labels"):
        here, there = (comparable(run.config)[section] for run in (first, other))
        if here != there:
            raise RunError(
                f"Runs to merge need the same {section}, and these differ: "
                f"{difference(section, here, there)} ('{first.path}' and '{other.path}')."
            )
    here, there = (
        run.read_json("facts.json", needs=("inputs",))["inputs"] for run in (first, other)
    )
    if here != there:
        raise RunError(
            f"'{other.path}' was fitted to other inputs than '{first.path}': "
            f"{difference('inputs', here, there)}."
        )
    (ours, known), (theirs, found) = first.parts(), other.parts()
    same = ours.keys() == theirs.keys() and all(
        ours[part].keys() == theirs[part].keys()
        and all(torch.equal(rows, theirs[part][source]) for source, rows in ours[part].items())
        for part in ours
    )
    if not same or known != found:
        raise RunError(
            f"'{other.path}' trained on other rows than '{first.path}', so one would be tested on "
            "what the other learned. Train them with one 'seed', on the same files."
        )


def comparable(config: Config) -> dict[str, Any]:
    """A configuration as plain values, without what changes training alone."""
    values = config.resolved()
    for given in values["inputs"].values():
        given.pop("augment", None)
        given.pop("blend", None)
    return values


def difference(path: str, here: Any, there: Any) -> str:
    """The first place where two plain values differ, and both values there."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in [*here, *there]:
            if here.get(key) != there.get(key):
                return difference(f"{path}.{key}", here.get(key), there.get(key))
    return f"{path} is {here} and {there}"


def require_own_tasks(runs: Sequence[Run]) -> None:
    """Raise if a task is in two runs."""
    for one, other in itertools.combinations(runs, 2):
        twice = [task for task in one.config.tasks if task in other.config.tasks]
        if twice:
            raise RunError(
                f"Each task's head comes from one run, and two have: {', '.join(twice)} "
                f"('{one.path}' and '{other.path}'). Merge runs with tasks of their own."
            )


def joined(runs: Sequence[Run]) -> tuple[Config, dict[str, Any], MultiTaskModel]:
    """The configuration, the facts and the network of all tasks."""
    tasks = {name: spec for run in runs for name, spec in run.config.tasks.items()}
    plain = {key: Config.model_fields[key].default for key in ("balancer", "teachers", "training")}
    config = runs[0].config.model_copy(update={"tasks": tasks, "name": "merged", **plain})
    known = [run.read_json("facts.json", needs=("inputs", "tasks")) for run in runs]
    facts = {
        "inputs": known[0]["inputs"],
        "tasks": {task: fact for one in known for task, fact in one["tasks"].items()},
    }
    inputs, _ = restored(runs[0])
    fitted = [task for run in runs for task in restored(run)[1]]
    return config, facts, build_model(config, inputs, fitted)


def merged_weights(
    model: MultiTaskModel,
    runs: Sequence[Run],
    base: Run,
    method: Method,
    options: Mapping[str, float],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The merged model's weights, and for the record what became of which part.

    Raises:
        RunError: If the runs' shared parts are built otherwise than the merged model's.
    """
    buffers = {name for name, _ in model.named_buffers()}
    states = {run.path: run.weights() for run in (base, *runs)}
    shared = {path: without_heads(state) for path, state in states.items()}
    kind = runs[0].config.trunk.chosen
    for path, state in shared.items():
        like = (
            f"the model of all tasks (trunk: {kind}; one that has parts of single tasks won't do)"
        )
        require_alike(without_heads(model.state_dict()), state, f"'{path}'", like)
    weights, statistics = (
        [
            {name: value for name, value in shared[run.path].items() if (name in buffers) == wanted}
            for run in (base, *runs)
        ]
        for wanted in (False, True)
    )
    merged = METHODS[method](weights[0], weights[1:], **options)
    averaged = average(statistics[0], statistics[1:])
    heads = {
        name: value
        for run in runs
        for name, value in states[run.path].items()
        if name.startswith("heads.")
    }
    model.load_state_dict({**merged, **averaged, **heads})
    changed = [n for n, v in averaged.items() if not torch.equal(v, statistics[0][n])]
    said = {"runs": [identity(run) for run in runs], "averaged": changed}
    return model.state_dict(), said


def without_heads(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is of no single task."""
    return {name: value for name, value in state.items() if not name.startswith("heads.")}
