"""Train, evaluate and predict, each as one call over a run."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import nn

from polytask.config.build import (
    blaming,
    build_augment,
    build_balancer,
    build_blend,
    build_inputs,
    build_lessons,
    build_loggers,
    build_mixing,
    build_model,
    build_optimizer,
    build_schedule,
    build_settings,
    build_sources,
    build_splits,
    build_tasks,
)
from polytask.config.schema import Config
from polytask.data.dataset import Policy, Prepared, prepare
from polytask.data.files import save_pictures, save_sounds
from polytask.data.inputs import Input, MediaInput
from polytask.data.mixing import BatchStream, Prefetcher, evaluation_batches
from polytask.data.splits import held_out_and_seen
from polytask.distillation import Teacher, Teaching
from polytask.errors import ConfigError, RunError
from polytask.evaluation import evaluate
from polytask.model import MultiTaskModel
from polytask.origin import Origin
from polytask.run import Run, environment, restored, written
from polytask.tasks import Task
from polytask.tracking import HistoryKeeper
from polytask.training.checkpoint import load_state
from polytask.training.devices import (
    choose_threads,
    kept_precision,
    make_fabric,
    resolve_precision,
)
from polytask.training.history import EpochRecord
from polytask.tuning import require_validation, tune
from polytask.types import Features, Scores

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from polytask.training.step import StepRecord
    from polytask.training.trainer import Probe

Part = Literal["train", "validation", "test"]

# Rows of each input from which parts that start from data do so, and rows per evaluation batch.
SAMPLE = 1024
EVALUATION_BATCH = 512
# Rows per evaluation batch where a task is about every pixel.
DENSE_BATCH = 32
# The file of a run that says who taught it.
TEACHERS = "teachers.json"


class Watcher(Protocol):
    """Somebody who watches a whole training, from the data to the last epoch."""

    def on_decoding(self, done: int, total: int, what: str) -> None:
        """While pictures and sounds are decoded into the cache."""
        ...

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """When the first step is about to begin."""
        ...

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """After each step."""
        ...

    def on_epoch(self, record: EpochRecord) -> None:
        """After each epoch."""
        ...

    def on_end(self, run: Run, finished: bool) -> None:
        """When training has ended, or was stopped."""
        ...

    def warn(self, message: str) -> None:
        """When something went wrong that does not end the training."""
        ...


def prepare_data(
    config: Config,
    progress: Callable[[int, int, str], None] | None,
    origin: Origin | None = None,
) -> Prepared:
    """Load, decode, split and fit everything that a configuration names.

    Args:
        config: The configuration.
        progress: Told about decoding.
        origin: The run to start from: its inputs and labels stay as they were fitted there.

    Raises:
        DataError: If the data is not what the configuration says.
    """
    inputs = build_inputs(config)
    return prepare(
        build_sources(config),
        inputs,
        build_tasks(config),
        splits=build_splits(config),
        seed=config.seed,
        on_bad=config.on_bad,
        unknown_labels=config.unknown_labels,
        progress=progress,
        known_inputs=() if origin is None else origin.keep_inputs(inputs),
        adjust=None if origin is None else origin.adjust,
    )


def reopen_data(run: Run, progress: Callable[[int, int, str], None] | None) -> Prepared:
    """The data of a run, with the same rows in the same parts and the same fitted facts.

    Raises:
        DataError: If a source has changed since.
    """
    config = run.config
    parts, fingerprints = run.parts()
    inputs, tasks = restored(run)
    return prepare(
        build_sources(config),
        inputs,
        tasks,
        splits=build_splits(config),
        seed=config.seed,
        on_bad=config.on_bad,
        unknown_labels=config.unknown_labels,
        progress=progress,
        parts=parts,
        fitted=True,
        fingerprints=fingerprints,
    )


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
    from polytask.training.trainer import Trainer  # Lightning takes seconds to import

    config = start.config if isinstance(start, Run) else start
    settings = build_settings(config)
    resumed = isinstance(start, Run) and (start.path / "facts.json").exists()
    if resumed:
        assert isinstance(start, Run)
        known = start.read_json("environment.json", needs=("precision", "threads"))
        precision = kept_precision(settings, known["precision"])
        settings = replace(settings, precision=precision, threads=known["threads"])
    fabric = make_fabric(settings)
    if not fabric.is_global_zero:
        watcher = Silent()
    loggers = build_loggers(config) if fabric.is_global_zero else []
    prepared = (
        reopen_data(start, watcher.on_decoding)
        if isinstance(start, Run) and resumed
        else prepare_data(config, watcher.on_decoding, origin)
    )
    require_validation(prepared)
    torch.manual_seed(config.seed)
    model = build_model(config, prepared.inputs, prepared.tasks)
    model.fit_to(sample(prepared))
    begun = None
    if isinstance(start, Run) and resumed:
        origin = Origin.of(start) if not (start.path / "checkpoint.pt").exists() else None
    if origin is not None:
        begun = origin.give_to(model, prepared.tasks)
    teaching, taught_by = make_teaching(config, model, prepared)
    if resumed and isinstance(start, Run) and taught_by:
        require_same_teachers(start, taught_by)
    for source in [
        *([origin.run] if origin else []),
        *(Run.open(Path(t["run"])) for t in taught_by),
    ]:
        warn_of_leaks(prepared, source, watcher)
    stream = make_stream(config, prepared, fabric.global_rank, fabric.world_size)
    threads = settings.threads
    if threads == "auto":
        threads = choose_threads(
            fabric, model.to(fabric.device), prepared.tasks, stream.batch(0).to(fabric.device)
        )
    torch.set_num_threads(threads)
    facts = environment(resolve_precision(settings), threads, str(fabric.device), command)
    run = open_run(fabric, start, root)
    if fabric.is_global_zero and not resumed:
        keep_facts(run, prepared, facts)
        if taught_by:
            run.write_json(TEACHERS, taught_by)
        if origin is not None and begun is not None:
            origin.record(run, begun)
    keeper = HistoryKeeper(run, watcher, loggers) if fabric.is_global_zero else None
    with Prefetcher(stream) as ahead:
        trainer = Trainer(
            fabric,
            model,
            build_balancer(config, len(prepared.tasks)),
            prepared.tasks,
            optimizer=build_optimizer(config),
            schedule=build_schedule(config),
            settings=settings,
            stream=ahead,
            validate=validator(prepared, fabric.device),
            keep=run.save_weights,
            directory=run.path,
            reporter=keeper or watcher,
            seed=config.seed,
            teaching=teaching,
            probe=probe,
        )
        if resumed and trainer.checkpoint.exists():
            with fitting_weights(run):
                trainer.load_state_dict(load_state(trainer.checkpoint))
        if fabric.is_global_zero:
            run.cut_history(trainer.progress.step // stream.steps_per_epoch)
        progress = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "steps": trainer.steps,
            "done": trainer.progress.step,
            "epochs": settings.epochs,
            "processes": fabric.world_size,
            "epoch": stream.describe_epoch(),
            "summary": prepared.summary(),
            "tasks": [task.name for task in prepared.tasks],
            "start": [] if begun is None else list(begun.parts()),
        }
        watcher.on_start(run, {**facts, **progress})
        step = trainer.progress.step
        finished = trainer.fit() if keeper is None else keeper.follow(trainer.fit, step)
    if any(task.tunes for task in prepared.tasks) and fabric.is_global_zero:
        model.load_state_dict(run.weights())
        tune(run, model, prepared, fabric.device)
    watcher.on_end(run, finished)
    return finished


def open_run(fabric: "Fabric", start: Config | Run, root: Path) -> Run:
    """The run that all processes share; the first one makes it."""
    if isinstance(start, Run):
        return start
    path = str(Run.create(start, root).path) if fabric.is_global_zero else ""
    return Run.open(Path(fabric.broadcast(path)))


class Silent:
    """Watches without a word: the watcher of every process but the first."""

    def on_decoding(self, done: int, total: int, what: str) -> None:
        """Nothing."""

    def on_start(self, run: Run, facts: Mapping[str, Any]) -> None:
        """Nothing."""

    def on_step(self, step: int, record: "StepRecord", lr: float) -> None:
        """Nothing."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Nothing."""

    def on_end(self, run: Run, finished: bool) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""


def keep_facts(run: Run, prepared: Prepared, facts: Mapping[str, Any]) -> None:
    """Write what was learned from the data, and which rows are for what."""
    fingerprints = {name: d.table.fingerprint for name, d in prepared.datasets.items()}
    run.save_parts(prepared.parts, fingerprints)
    run.write_json("environment.json", dict(facts))
    run.write_json("data.json", prepared.summary())
    run.write_json(
        "facts.json",
        {
            "inputs": {name: some.state for name, some in prepared.inputs.items()},
            "tasks": {task.name: task.facts() for task in prepared.tasks},
        },
    )


def make_teaching(
    config: Config, model: MultiTaskModel, prepared: Prepared
) -> tuple[Teaching | None, list[dict[str, Any]]]:
    """The teachers of a configuration, and for the record their runs with the weights' hashes.

    Raises:
        ConfigError: If a teacher does not fit the training's tasks or inputs.
    """
    teachers: list[Teacher] = []
    record: list[dict[str, Any]] = []
    for number, lesson in enumerate(build_lessons(config)):
        run = Run.open(lesson.run)
        teacher, inputs, tasks = best_model(run)
        with blaming("teachers", number):
            teachers.append(Teacher(teacher, tasks, model, prepared.tasks, lesson))
            for name in {task.input for task in teachers[-1].tasks.values()}:
                require_same_input(name, prepared.inputs[name], inputs[name])
        record.append(
            {
                "run": str(run.path.absolute()),
                "weights": run.fingerprint(),
                "tasks": teachers[-1].weights,
            }
        )
    return (Teaching(teachers) if teachers else None), record


def warn_of_leaks(prepared: Prepared, earlier: Run, watcher: Watcher) -> None:
    """Say so where a run that this one builds on has learned from rows that are held out here."""
    fingerprints = {name: d.table.fingerprint for name, d in prepared.datasets.items()}
    for name, count in held_out_and_seen(prepared.parts, fingerprints, *earlier.parts()).items():
        watcher.warn(
            f"{count:,} validation or test rows of '{name}' were training rows of "
            f"'{earlier.path}', so scores on them will flatter. Give both the same seed and split."
        )


def require_same_input(name: str, ours: Input, theirs: Input) -> None:
    """Raise unless an input's raw values mean the same to a student and its teacher."""

    def facts(some: Input) -> Any:
        return some.settings if isinstance(some, MediaInput) else some.state

    if type(ours) is not type(theirs) or facts(ours) != facts(theirs):
        raise ConfigError(
            f"The input '{name}' has other values in the teacher's run: {facts(theirs)} there, "
            f"{facts(ours)} here. Give it the same settings, or start this training with --from "
            "the teacher's run."
        )


def require_same_teachers(run: Run, found: list[dict[str, Any]]) -> None:
    """Raise if a stopped run had teachers with other weights."""
    known = run.read_json(TEACHERS)
    for before, now in zip(known, found, strict=True):
        if before["weights"] != now["weights"]:
            raise RunError(
                f"The weights of the teacher '{now['run']}' have changed since this training "
                "began. Bring them back, or train anew."
            )


def make_stream(config: Config, prepared: Prepared, rank: int, world_size: int) -> BatchStream:
    """The training batches of a configuration."""
    return BatchStream(
        prepared.datasets,
        prepared.parts["train"],
        batch_size=config.batches.size,
        mixing=build_mixing(config),
        augment=build_augment(config),
        blend=build_blend(config),
        seed=config.seed,
        epoch_examples=config.batches.epoch_examples,
        rank=rank,
        world_size=world_size,
    )


def sample(prepared: Prepared) -> dict[str, Features]:
    """Raw training rows of each input, evenly spaced: rows are often in order of speaker."""
    found: dict[str, Features] = {}
    for name, rows in prepared.parts["train"].items():
        batch = prepared.datasets[name].gather(rows[:: -(-len(rows) // SAMPLE)])
        found |= {k: v for k, v in batch.inputs.items() if k not in found}
    return found


def validator(prepared: Prepared, device: torch.device) -> Callable[[nn.Module], Scores] | None:
    """Scores a model on the validation part; None where there is no such part."""
    if not any(len(rows) for rows in prepared.parts.get("validation", {}).values()):
        return None
    return lambda model: score(model, prepared, "validation", device)


def score(model: nn.Module, prepared: Prepared, part: Part, device: torch.device) -> Scores:
    """Scores of a model on one part of the data."""
    size = evaluation_batch(prepared.tasks)
    batches = evaluation_batches(prepared.datasets, prepared.parts[part], size)
    return evaluate(model, batches, prepared.tasks, device)


def evaluation_batch(tasks: Sequence[Task]) -> int:
    """Rows per batch outside training: fewer where outputs have a value for every pixel."""
    return DENSE_BATCH if any(task.media is not None for task in tasks) else EVALUATION_BATCH


@contextmanager
def fitting_weights(run: Run) -> Iterator[None]:
    """Say what is the matter where saved weights do not fit the run's configuration."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(
            f"What is saved in '{run.path}' does not fit its config.yaml, which must stay as it "
            f"was when training began: {error}"
        ) from error


def best_model(run: Run) -> tuple[MultiTaskModel, Any, Any]:
    """The run's best model in evaluation mode, its inputs and its tasks."""
    inputs, tasks = restored(run)
    model = build_model(run.config, inputs, tasks)
    with fitting_weights(run):
        model.load_state_dict(run.weights())
    return model.eval(), inputs, tasks


def evaluate_run(
    run: Run, part: Part, progress: Callable[[int, int, str], None] | None = None
) -> Scores:
    """Score a run's best weights on a part of its data, and write `scores.json`.

    Computes in the number format and with the threads of the training.

    Raises:
        RunError: If the run has no weights, or a source has changed.
    """
    model, prepared, device = for_judging(run, part, progress)
    scores = score(model, prepared, part, device)
    run.save_scores(part, scores)
    return scores


def for_judging(
    run: Run, part: Part, progress: Callable[[int, int, str], None] | None = None
) -> tuple[nn.Module, Prepared, torch.device]:
    """A run's best model, its data and where it computes: as in training, in one process.

    Raises:
        RunError: If the run has no weights or no rows in the part, or a source has changed.
    """
    model, _, _ = best_model(run)
    prepared = reopen_data(run, progress)
    if not prepared.parts.get(part):
        raise RunError(f"The run '{run.path}' has no rows in the part '{part}'.")
    facts = run.read_json("environment.json", needs=("precision", "threads"))
    settings = build_settings(run.config)
    precision = kept_precision(settings, facts["precision"])
    settings = replace(settings, precision=precision, devices=1)
    fabric = make_fabric(settings)
    torch.set_num_threads(facts["threads"])
    return fabric.setup_module(model), prepared, fabric.device


def predict_run(
    run: Run,
    path: Path,
    *,
    on_bad: Policy | None = None,
    pictures: Path | None = None,
    sounds: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Predictions of a run's best weights for unlabelled pictures, sounds, texts or table rows.

    Args:
        run: The run.
        path: A picture, a sound, a folder of them, a table, or a .txt with a text on each line.
        on_bad: Whether what cannot be decoded is an error, or is left out with a warning; None as
            in training.
        pictures: The folder for predictions that are pictures, made if need be; None leaves them
            out.
        sounds: The same for those that are sounds.

    Yields:
        One mapping per example: where it comes from, and each task's label and probabilities, or
        the path of a picture or sound.

    Raises:
        DataError: If the input cannot be read.
    """
    from polytask.data.predicting import read_unlabelled

    model, inputs, tasks = best_model(run)
    facts = run.read_json("environment.json", needs=("precision", "threads"))
    settings = build_settings(run.config)
    precision = kept_precision(settings, facts["precision"])
    settings = replace(settings, precision=precision, devices=1)
    fabric = make_fabric(settings)
    network = fabric.setup_module(model)
    network.eval()
    found = read_unlabelled(path, inputs, on_bad=on_bad or run.config.on_bad)
    for batch in found.batches(evaluation_batch(tasks)):
        batch = batch.to(fabric.device)
        here = [task for task in tasks if task.input in batch.inputs]
        with torch.inference_mode():
            outputs = network(batch.inputs, [task.name for task in here])
        lines: dict[int, dict[str, Any]] = {}  # by row: inputs of one row share a line
        for task in here:
            decoded = task.decode(outputs[task.name].float()).cpu()
            described = task.describe(decoded)
            rows = batch.rows[task.input].tolist()
            for folder, save in ((pictures, save_pictures), (sounds, save_sounds)):
                if folder is not None:
                    with written(folder, "Free some space, or name another output."):
                        saved = save(task, decoded, rows, folder)
                    described = [a | b for a, b in zip(saved, described, strict=True)]
            for row, columns in zip(rows, described, strict=True):
                said = {"input": found.describe(row), **found.texts(row)}
                lines.setdefault(row, said).update(columns)
        yield from lines.values()
    for where, reason in found.skipped:
        warnings.warn(f"left out {where}: {reason}", stacklevel=2)
