"""Scores and predictions of a run's best weights."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from polytask.config.build import build_model, build_settings, build_sources
from polytask.data.dataset import Policy, Prepared
from polytask.data.files import save_pictures, save_sounds
from polytask.data.inputs import Input
from polytask.data.labels import columns_of
from polytask.data.stream import evaluation_batches
from polytask.errors import DataError, NothingToPredict, RunError
from polytask.evaluation import evaluate
from polytask.model import MultiTaskModel
from polytask.own_best import EachAtItsBest, answers
from polytask.run import Run, restored, written
from polytask.tasks import Task
from polytask.tasks.base import PooledTask
from polytask.training.devices import Formatted, device_of, keep_freed_memory, kept_precision
from polytask.types import Scores
from polytask.workflow.opening import Part, reopen_data

if TYPE_CHECKING:
    from polytask.data.predicting import Unlabelled

# Rows per evaluation batch, and where a task is about every pixel.
EVALUATION_BATCH = 512
DENSE_BATCH = 32


def validator(
    prepared: Prepared, device: torch.device, *, by_source: bool = False
) -> Callable[[nn.Module], Scores] | None:
    """Scores a model on the validation part; None where there is no such part."""
    if not any(len(rows) for rows in prepared.parts.get("validation", {}).values()):
        return None
    return lambda model: score(model, prepared, "validation", device, by_source=by_source)


def score(
    model: nn.Module,
    prepared: Prepared,
    part: Part,
    device: torch.device,
    *,
    by_source: bool = False,
) -> Scores:
    """Scores of a model on one part of the data; with each source's losses, if they are wanted."""
    size = evaluation_batch(prepared.tasks)
    batches = evaluation_batches(prepared.datasets, prepared.parts[part], size)
    names = {dataset.number: name for name, dataset in prepared.datasets.items()}
    return evaluate(model, batches, prepared.tasks, device, sources=names if by_source else None)


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
    """The run's best model in evaluation mode, its inputs and its tasks.

    The model is the best by `training.monitor`; see `answering_model`.
    """
    inputs, tasks = restored(run)
    return _loaded(run, inputs, tasks, run.weights()), inputs, tasks


def _loaded(
    run: Run,
    inputs: Mapping[str, Input],
    tasks: Sequence[Task],
    weights: Mapping[str, Tensor],
) -> MultiTaskModel:
    model = build_model(run.config, inputs, tasks)
    with fitting_weights(run):
        model.load_state_dict(weights)
    return model.eval()


def answering_model(run: Run) -> tuple[MultiTaskModel | EachAtItsBest, Any, Any]:
    """What answers for a run's tasks, in evaluation mode, its inputs and its tasks.

    That is its best model, but where tasks keep the weights of their own best epochs (`keep: each`)
    one with all of these in it, which knows how to answer and nothing else of a model.
    """
    inputs, tasks = restored(run)
    networks, names = [], []
    for weights, some in answers(run, [task.name for task in tasks]):
        networks.append(_loaded(run, inputs, tasks, weights))
        names.append(some)
    if len(networks) == 1:
        return networks[0], inputs, tasks
    return EachAtItsBest(networks, names).eval(), inputs, tasks


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
    model, _, _ = answering_model(run)
    prepared = reopen_data(run, progress)
    if not prepared.parts.get(part):
        there = [name for name, rows in prepared.parts.items() if rows]
        raise RunError(
            f"The run '{run.path}' has no rows in the part '{part}'. It has some in: "
            f"{', '.join(there)} (--part)."
        )
    network, device = as_in_training(run, model)
    return network, prepared, device


def as_in_training(run: Run, model: nn.Module) -> tuple[nn.Module, torch.device]:
    """A run's model where and as it computed in training, but in one process: its number format
    and threads, so that scores of the same rows agree to the last digit.
    """
    facts = run.read_json("environment.json", needs=("precision", "threads"))
    settings = build_settings(run.config)
    precision = kept_precision(settings, facts["precision"])
    device = device_of(settings)
    if device.type == "cpu":
        keep_freed_memory()
    torch.set_num_threads(facts["threads"])
    model = model.to(device)
    return (model if precision == "fp32" else Formatted(model, precision, device)), device


def predict_run(
    run: Run,
    path: Path,
    *,
    on_bad: Policy | None = None,
    pictures: Path | None = None,
    sounds: Path | None = None,
    called: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Predictions of a run's best weights for unlabelled pictures, sounds, texts or table rows.

    Args:
        run: The run.
        path: A picture, a sound, a folder of them, a table, a .txt with a text on each line, or a
            file of text that is written as that of training was.
        on_bad: Whether what cannot be decoded is an error, or is left out with a warning; None as
            in training.
        pictures: The folder for predictions that are pictures, made if need be; None leaves them
            out.
        sounds: The same for those that are sounds.
        called: What columns of training are called in the table, where it is something else.

    Yields:
        One mapping per example: where it comes from (`input`, or `row` where a task has that
        name), and each task's label and probabilities, or the path of a picture or sound.

    Raises:
        DataError: If the input cannot be read, or a prediction is no finite number.
        NothingToPredict: If it has no rows.
    """
    model, inputs, tasks = answering_model(run)
    network, device = as_in_training(run, model)
    network.eval()
    policy = on_bad or run.config.on_bad
    found = _opened(run, path, inputs, tasks, policy, called)
    if not len(found):
        raise NothingToPredict(f"{path} has no rows to predict.", _columns(tasks))
    strange: dict[str, str] = {}
    place, words = _columns_beside([task.name for task in tasks], inputs)
    for batch in found.batches(evaluation_batch(tasks)):
        batch = batch.to(device)
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
                if _is_strange(columns):
                    strange[found.describe(row)] = (
                        f"task '{task.name}' gives no finite number, as for numbers far beyond "
                        "those of training"
                    )
                if row not in lines:
                    texts = {words[name]: text for name, text in found.texts(row).items()}
                    lines[row] = {place: found.describe(row), **texts}
                lines[row].update(columns)
        if strange and policy == "error":
            where, reason = next(iter(strange.items()))
            raise DataError(f"{where}: {reason}. Correct it, or leave it out with --on-bad skip.")
        yield from (line for line in lines.values() if line[place] not in strange)
    for where, reason in (*found.skipped, *strange.items()):
        warnings.warn(f"left out {where}: {reason}", stacklevel=2)


def _columns_beside(tasks: Sequence[str], inputs: Iterable[str]) -> tuple[str, dict[str, str]]:
    """What the columns of a prediction are called that say where it comes from and what it reads:
    `input` and by the input's name, but where a task's own column has that name."""
    place = next(name for name in ("input", "row", "example", "place") if name not in tasks)
    return place, {name: f"{name} text" if name in tasks else name for name in inputs}


def _columns(tasks: Sequence[Task]) -> list[str]:
    """The columns of predictions, of tasks about whole examples: others need one to have any."""
    place, _ = _columns_beside([task.name for task in tasks], ())
    columns = {place: None}
    for task in tasks:
        if isinstance(task, PooledTask):
            (described,) = task.describe(task.decode(torch.zeros(1, task.outputs)))
            columns |= dict.fromkeys(described)
    return list(columns)


def _is_strange(predicted: Mapping[str, Any]) -> bool:
    """Whether a prediction has a number that is none."""
    return any(isinstance(v, float) and not math.isfinite(v) for v in predicted.values())


def _opened(
    run: Run,
    path: Path,
    inputs: Mapping[str, Input],
    tasks: Sequence[Task],
    on_bad: Policy,
    called: Mapping[str, str] | None,
) -> "Unlabelled":
    """What is to be predicted, read as the run's own sources are."""
    from polytask.data.likewise import Written
    from polytask.data.predicting import read_unlabelled
    from polytask.data.tables import TableFile

    sources = build_sources(run.config)
    tables = [s for s in sources.values() if isinstance(s, TableFile)]
    labels = {
        name: {c: getattr(task, "classes", ()) for task in tasks for c in columns_of(task, name)}
        for name in sources
    }
    return read_unlabelled(
        path,
        inputs,
        on_bad=on_bad,
        like=tables[0] if len(tables) == 1 else None,
        written=Written.as_in(sources, labels),
        called=called,
    )
