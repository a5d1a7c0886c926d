"""The data of a configuration or a run, made ready."""

from collections.abc import Callable
from typing import Literal

from polytask.config.build import (
    build_augment,
    build_blend,
    build_inputs,
    build_mixing,
    build_resampling,
    build_sources,
    build_splits,
    build_tasks,
)
from polytask.config.schema import Config
from polytask.data.dataset import Prepared
from polytask.data.preparing import prepare
from polytask.data.stream import BatchStream
from polytask.origin import Origin
from polytask.run import Run, restored
from polytask.types import Features

Part = Literal["train", "validation", "test"]

# Rows of each input from which parts that start from data do so.
SAMPLE = 1024


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


def reopen_data(
    run: Run, progress: Callable[[int, int, str], None] | None, *, tuned: bool = True
) -> Prepared:
    """The data of a run, with the same rows in the same parts and the same fitted facts.

    Args:
        run: The run.
        progress: Told about decoding.
        tuned: Whether tasks have what was chosen on validation rows when the training ended, or
            was stopped. A training that goes on measures its epochs without, as all before.

    Raises:
        DataError: If a source has changed since.
    """
    config = run.config
    parts, fingerprints = run.parts()
    inputs, tasks = restored(run)
    return prepare(
        build_sources(config),
        inputs,
        tasks if tuned else [task.untuned() for task in tasks],
        splits=build_splits(config),
        seed=config.seed,
        on_bad=config.on_bad,
        unknown_labels=config.unknown_labels,
        progress=progress,
        parts=parts,
        fitted=True,
        fingerprints=fingerprints,
    )


def make_stream(config: Config, prepared: Prepared, rank: int, world_size: int) -> BatchStream:
    """The training batches of a configuration."""
    resample = build_resampling(config)
    rows, notes = resample(prepared, config.seed) if resample else (prepared.parts["train"], [])
    mixing = build_mixing(config)
    return BatchStream(
        prepared.datasets,
        rows,
        notes=[*notes, *(unmeasured(prepared) if mixing.follows else ())],
        batch_size=config.batches.size,
        mixing=mixing,
        augment=build_augment(config),
        blend=build_blend(config),
        seed=config.seed,
        epoch_examples=config.batches.epoch_examples,
        rank=rank,
        world_size=world_size,
    )


def unmeasured(prepared: Prepared) -> list[str]:
    """What is to be said of sources whose losses validation does not measure."""
    rows = prepared.parts.get("validation", {})
    labelled = {
        name
        for name, dataset in prepared.datasets.items()
        if name in rows and any(bool(has[rows[name]].any()) for has in dataset.present.values())
    }
    return [
        f"{name} has no labels in validation rows, so its share stays as it is."
        for name in prepared.parts["train"]
        if name not in labelled
    ]


def sample(prepared: Prepared) -> dict[str, Features]:
    """Raw training rows of each input, evenly spaced: rows are often in order of speaker."""
    found: dict[str, Features] = {}
    for name, rows in prepared.parts["train"].items():
        batch = prepared.datasets[name].gather(rows[:: -(-len(rows) // SAMPLE)])
        found |= {k: v for k, v in batch.inputs.items() if k not in found}
    return found
