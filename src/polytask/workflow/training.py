"""A whole training, from the data to the last epoch."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from polytask.balancing.costs import cost_of_many
from polytask.config.build import (
    build_balancer,
    build_loggers,
    build_model,
    build_optimizer,
    build_schedule,
    build_settings,
)
from polytask.config.schema import Config
from polytask.data.dataset import Prepared
from polytask.data.stream import BatchStream, Prefetcher
from polytask.environment import environment
from polytask.model import MultiTaskModel
from polytask.origin import Origin
from polytask.own_best import answers, remove_unused, save_own, write_epochs
from polytask.run import Run
from polytask.tracking import HistoryKeeper
from polytask.training.checkpoint import load_state
from polytask.training.devices import (
    choose_threads,
    kept_precision,
    leaves_a_core,
    make_fabric,
    named_threads,
    resolve_precision,
    share_of_cores,
)
from polytask.training.history import compared_by
from polytask.training.settings import Settings
from polytask.transfer import Start
from polytask.tuning import require_validation, tune
from polytask.workflow.conditions import (
    require_best_weights,
    require_kept,
    require_nothing_to_lose,
    require_resumable,
    unguided,
)
from polytask.workflow.judging import fitting_weights, validator
from polytask.workflow.opening import make_stream, prepare_data, reopen_data, sample
from polytask.workflow.teachers import (
    TEACHERS,
    make_teaching,
    require_same_teachers,
    warn_of_leaks,
)
from polytask.workflow.watching import Silent, Watcher

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from polytask.training.trainer import Probe, Trainer


def train(
    start: Config | Run,
    root: Path,
    watcher: Watcher,
    command: list[str],
    origin: Origin | None = None,
    probe: "Probe | None" = None,
) -> bool:
    """Train from a configuration, or go on with a run that was stopped.

    Args:
        start: What to train, or the stopped run.
        root: Where the folder of a fresh run is made.
        watcher: Told everything, in the first of several processes.
        command: The command line, for the record.
        origin: The run whose weights a fresh training starts from.
        probe: Looks at each step before it is taken.

    Returns:
        Whether training reached its end.

    Raises:
        PolytaskError: For anything that a person can mend.
    """
    config = start.config if isinstance(start, Run) else start
    stopped = start if isinstance(start, Run) and (start.path / "facts.json").exists() else None
    if stopped is not None:
        require_resumable(stopped)
    elif isinstance(start, Run):
        require_nothing_to_lose(start)
    settings = settings_of(config, stopped)
    named, share = named_threads(), share_of_cores(settings)
    fabric = make_fabric(settings)
    first = fabric.is_global_zero
    watcher = watcher if first else Silent()
    loggers = build_loggers(config) if first else []
    prepared = (
        prepare_data(config, watcher.on_decoding, origin)
        if stopped is None
        else reopen_data(stopped, watcher.on_decoding, tuned=False)
    )
    require_validation(prepared)
    torch.manual_seed(config.seed)
    model = build_model(config, prepared.inputs, prepared.tasks)
    model.fit_to(sample(prepared))
    if stopped is not None:
        origin = None if (stopped.path / "checkpoint.pt").exists() else Origin.of(stopped)
    begun = origin.give_to(model, prepared.tasks) if origin is not None else None
    teaching, taught_by = make_teaching(config, model, prepared)
    if stopped is not None and taught_by:
        require_same_teachers(stopped, taught_by)
    teachers = [Run.open(Path(teacher["run"])) for teacher in taught_by]
    for source in [*([origin.run] if origin else []), *teachers]:
        warn_of_leaks(prepared, source, watcher)
    stream = make_stream(config, prepared, fabric.global_rank, fabric.world_size)
    threads = named if settings.threads == "auto" else settings.threads
    if threads is None:
        threads = choose_threads(fabric, model, prepared.tasks, stream.batch(0), share)
    torch.set_num_threads(threads)
    facts = environment(settings.precision, threads, str(fabric.device), command)
    run = open_run(fabric, start, root)
    if first and stopped is None:
        keep_facts(run, prepared, facts, stream.notes)
        if taught_by:
            run.write_json(TEACHERS, taught_by)
        if origin is not None and begun is not None:
            origin.record(run, begun)
    keeper = HistoryKeeper(run, watcher, loggers) if first else None
    ahead_of_time = leaves_a_core(fabric.device, threads, share)
    with Prefetcher(stream) if ahead_of_time else nullcontext(stream) as ahead:
        trainer = make_trainer(
            config,
            fabric,
            model,
            prepared,
            settings=settings,
            stream=ahead,
            validate=validator(prepared, fabric.device, by_source=stream.follows),
            keep=run.save_weights,
            keep_own=partial(save_own, run) if settings.keep == "each" else None,
            directory=run.path,
            reporter=keeper or watcher,
            teaching=teaching,
            probe=probe,
        )
        if stopped is not None and trainer.checkpoint.exists():
            with fitting_weights(run):
                trainer.load_state_dict(load_state(trainer.checkpoint))
        lost = [] if stopped is None else require_best_weights(stopped, trainer)
        if first:
            lost += run.cut_history(trainer.progress.step // stream.steps_per_epoch)
            if settings.keep == "each":
                write_epochs(run, trainer.progress.own_epoch)
        overview = overview_of(trainer, model, prepared, stream, fabric.world_size, begun)
        watcher.on_start(run, {**facts, **overview})
        for said in (*lost, *unguided(settings, prepared)):
            watcher.warn(said)
        costs = cost_of_many(trainer.acting, sum(p.numel() for p in trainer.shared))
        if costs is not None:
            watcher.warn(costs)
        step = trainer.progress.step
        finished = trainer.fit() if keeper is None else keeper.follow(trainer.fit, step)
    if first and finished:
        require_kept(run)
        if settings.keep == "each":
            remove_unused(run, trainer.progress.own_epoch)
    tuning = [task.name for task in prepared.tasks if task.tunes]
    if (first or trainer.sharded) and tuning and trainer.progress.best_epoch:
        from polytask.training.sharding import load_weights

        for weights, names in answers(run, tuning):
            load_weights(model, weights)
            tune(run, model, prepared, fabric.device, names, keep=first)
    watcher.on_end(run, finished)
    return finished


def overview_of(
    trainer: "Trainer",
    model: MultiTaskModel,
    prepared: Prepared,
    stream: BatchStream,
    processes: int,
    begun: Start | None,
) -> dict[str, Any]:
    """What a person is told of a training that is about to begin, beside its environment."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": trainer.steps,
        "done": trainer.progress.step,
        "epochs": trainer.settings.epochs,
        "processes": processes,
        "epoch": stream.describe_epoch(),
        "summary": prepared.summary(),
        "tasks": [task.name for task in prepared.tasks],
        "judged": {t.name: compared_by(trainer.settings.monitor, t)[0] for t in prepared.tasks},
        "start": [] if begun is None else list(begun.parts()),
    }


def settings_of(config: Config, stopped: Run | None) -> Settings:
    """How to train, in which number format; a stopped run goes on with the precision and the
    threads that it had.

    With no more threads than there are cores for each process here, unless they are asked for.
    """
    settings = build_settings(config)
    if stopped is None:
        return replace(settings, precision=resolve_precision(settings))
    known = stopped.read_json("environment.json", needs=("precision", "threads"))
    precision = kept_precision(settings, known["precision"])
    threads: int = known["threads"]
    if settings.threads == "auto":
        threads = min(threads, max(named_threads() or 0, share_of_cores(settings)))
    return replace(settings, precision=precision, threads=threads)


def make_trainer(
    config: Config, fabric: "Fabric", model: MultiTaskModel, prepared: Prepared, **rest: Any
) -> "Trainer":
    """The trainer that a configuration asks for.

    Args:
        config: The configuration.
        fabric: The processes and devices.
        model: What is trained.
        prepared: The data, whose tasks are trained.
        rest: What the trainer wants beside these.
    """
    from polytask.training.trainer import Trainer  # Lightning takes seconds to import

    return Trainer(
        fabric,
        model,
        build_balancer(config, len(prepared.tasks)),
        prepared.tasks,
        optimizer=build_optimizer(config),
        schedule=build_schedule(config),
        seed=config.seed,
        **rest,
    )


def open_run(fabric: "Fabric", start: Config | Run, root: Path) -> Run:
    """The run that all processes share; the first one makes it."""
    if isinstance(start, Run):
        return start
    path = str(Run.create(start, root).path) if fabric.is_global_zero else ""
    return Run.open(Path(fabric.broadcast(path)))


def keep_facts(
    run: Run, prepared: Prepared, facts: Mapping[str, Any], notes: Sequence[str]
) -> None:
    """Write what was learned from the data, which rows are for what, and what was done to them."""
    fingerprints = {name: d.table.fingerprint for name, d in prepared.datasets.items()}
    run.save_parts(prepared.parts, fingerprints)
    run.write_json("environment.json", dict(facts))
    run.write_json("data.json", {**prepared.summary(), "notes": list(notes)})
    run.write_json(
        "facts.json",
        {
            "inputs": {name: some.state for name, some in prepared.inputs.items()},
            "tasks": {task.name: task.facts() for task in prepared.tasks},
        },
    )
