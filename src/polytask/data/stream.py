"""The stream of batches.

A batch is a pure function of the seed and the step's number, so that resuming needs neither. Only
where a mixing follows what validation measures, it is one of these and the shares of the epochs so
far, which are saved.
Letters: B examples of a step, N rows of a source, q the examples of a source per step.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from math import ceil
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from polytask.data.blending import Blending
from polytask.data.collate import collate, take
from polytask.data.dataset import Dataset
from polytask.data.mixing import Mixing
from polytask.data.steering import Steering, ValidationLoss
from polytask.data.stores import Rows, as_rows
from polytask.data.transforms import Maps, Times, Transform
from polytask.errors import ConfigError, DataError
from polytask.types import Batch, Blend, Scores


class BatchStream:
    """The batches of training, by number.

    Step k draws from source s what brings its total to `floor((k + 1) * q)`; every pass over a
    source is a new permutation of its rows.

    Args:
        datasets: The sources by name.
        rows: The training rows of each source.
        batch_size: Examples per step, over all sources and ranks.
        mixing: How the sources share a step.
        augment: Per input, transforms in order.
        blend: Per input, how its examples are blended with others of their source, after that.
        seed: Decides order and augmentation.
        epoch_examples: Examples of an epoch, over all sources. None: until every row of every
            source was seen at least once, at the shares of the first epoch.
        notes: What else a person should know of the rows.
        rank: Which process this is.
        world_size: How many processes share every step. Their rows together are exactly those of
            one process; each gathers the whole step and keeps its share.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        rows: Mapping[str, Tensor],
        *,
        batch_size: int,
        mixing: Mixing,
        augment: Mapping[str, Sequence[Transform]] | None = None,
        blend: Mapping[str, Blending] | None = None,
        seed: int = 0,
        epoch_examples: int | None = None,
        notes: Sequence[str] = (),
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"`batch_size` should be at least 1. Found {batch_size}.")
        self.datasets = {name: datasets[name] for name in rows}
        self.rows = {name: as_rows(r) for name, r in rows.items()}
        empty = [name for name, r in self.rows.items() if len(r) == 0]
        if empty or not self.rows:
            raise DataError(f"Source '{', '.join(empty)}' has no rows to draw from.")
        self.mixing, self.batch_size = mixing, batch_size
        self.sizes = {name: len(r) for name, r in self.rows.items()}
        self.quota = mixing.shares(self.sizes, batch_size)
        self.steering: Steering | None = None
        if isinstance(mixing, ValidationLoss):
            self.steering = Steering(mixing, self.quota)
        self.notes = list(notes)
        self.augment = dict(augment or {})
        self.blend = dict(blend or {})
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self._order: dict[tuple[str, int], Rows] = {}
        self._before: list[dict[str, Fraction]] = []
        self._lock = threading.Lock()
        if epoch_examples is None:
            self.steps_per_epoch = max(
                ceil(len(self.rows[name]) / quota) for name, quota in self.quota.items()
            )
        else:
            self.steps_per_epoch = max(1, ceil(epoch_examples / sum(self.quota.values())))

    def drawn(self, source: str, steps: int) -> int:
        """How many examples of a source the first steps have drawn."""
        if not self.changes:
            return self.mixing.drawn(self.quota, source, steps)
        epoch = steps // self.steps_per_epoch
        if self.steering is None:
            epoch = min(epoch, self.mixing.settles)
        elif steps and not self.decided(steps - 1):
            raise ValueError(f"The shares of step {steps} are decided when its epoch begins.")
        else:
            epoch = min(epoch, len(self.steering.epochs) - 1)
        rest = steps - epoch * self.steps_per_epoch
        share = self._shares_in(epoch)[source]
        return int(self._drawn_before(epoch)[source] + share * rest)

    @property
    def changes(self) -> bool:
        """Whether shares change from epoch to epoch."""
        return self.follows or self.mixing.settles > 0

    @property
    def follows(self) -> bool:
        """Whether shares depend on what was measured after the epochs before."""
        return self.steering is not None

    def decided(self, step: int) -> bool:
        """Whether the batch of a step can be made already."""
        if self.steering is None:
            return True
        return step < len(self.steering.epochs) * self.steps_per_epoch

    def end_epoch(self, scores: Scores) -> None:
        """Decide the shares of the next epoch, where they depend on validation scores."""
        if self.steering is not None:
            self.steering.end_epoch(scores)

    def drawn_in(self, epoch: int) -> dict[str, int] | None:
        """Examples of each source in an epoch, counted from 0; None where that never changes."""
        if not self.changes:
            return None
        begin = epoch * self.steps_per_epoch
        end = begin + self.steps_per_epoch
        return {name: self.drawn(name, end) - self.drawn(name, begin) for name in self.sizes}

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on beside the seed and the step: usually nothing."""
        return {} if self.steering is None else self.steering.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: If it is of another mixing.
        """
        if self.steering is not None:
            with self._lock:
                self._before.clear()
            self.steering.load_state_dict(state)

    def _shares_in(self, epoch: int) -> dict[str, Fraction]:
        if self.steering is not None:
            return self.steering.epochs[epoch]
        return self.mixing.shares_in(epoch, self.sizes, self.batch_size)

    def per_step(self, source: str, steps: int) -> float:
        """Examples of a source per step, the mean over the first steps.

        Where it depends on what will be measured, it is what the first epoch has.
        """
        if not self.changes or self.follows:
            return float(self.quota[source])
        return self.drawn(source, steps) / steps

    def _drawn_before(self, epoch: int) -> dict[str, Fraction]:
        """What the epochs before one have drawn of each source."""
        with self._lock:
            if not self._before:
                self._before.append(dict.fromkeys(self.sizes, Fraction(0)))
            while len(self._before) <= epoch:
                last = self._before[-1]
                some = self._shares_in(len(self._before) - 1)
                steps = self.steps_per_epoch
                self._before.append({name: last[name] + some[name] * steps for name in last})
            return self._before[epoch]

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        generator = torch.Generator().manual_seed(_seed_of(self.seed, "augment", step))
        parts = []
        for name, dataset in self.datasets.items():
            picked = self._picked(name, step)
            if len(picked) == 0:
                continue
            part = self._changed(dataset, dataset.gather(picked), step, generator)
            if self.world_size > 1:
                first = len(picked) * self.rank // self.world_size
                last = len(picked) * (self.rank + 1) // self.world_size
                part = take(part, slice(first, last))
            parts.append(part)
        return collate(parts)

    def _changed(
        self, dataset: Dataset, batch: Batch, step: int, generator: torch.Generator
    ) -> Batch:
        """A part of a batch, augmented and blended; targets of pixels move with their pictures, and
        labels of frames with their sounds."""
        inputs, targets = dict(batch.inputs), dict(batch.targets)
        for key in inputs:
            pixels = [task for task in dataset.blanks if dataset.reads[task] == key]
            timed = [task for task in dataset.timed if dataset.reads[task] == key]
            for transform in self.augment.get(key, ()):
                if not transform.applies(step // self.steps_per_epoch):
                    continue
                before, sounds = generator.get_state(), inputs[key]
                inputs[key] = transform(sounds, generator)
                after = generator.get_state()
                for task in pixels:
                    generator.set_state(before)
                    maps = Maps(targets[task], *dataset.blanks[task])
                    targets[task] = transform.moved(maps, generator)
                for task in timed:
                    generator.set_state(before)
                    times = Times(targets[task], *dataset.timed[task])
                    targets[task] = transform.retimed(times, sounds, generator)
                generator.set_state(after)
        blends = {}
        for key in [name for name in inputs if name in self.blend]:
            inputs[key], order, share = self.blend[key](inputs[key], generator)
            tasks = [task for task, read in dataset.reads.items() if read == key]
            blends[key] = Blend(
                {task: targets[task][order] for task in tasks},
                {task: batch.present[task][order] for task in tasks},
                share,
            )
        return Batch(inputs, targets, batch.present, batch.rows, blends)

    def _picked(self, name: str, step: int) -> Rows:
        """The rows of a source in a step; they may cross from one pass into the next."""
        position, end = self.drawn(name, step), self.drawn(name, step + 1)
        size = len(self.rows[name])
        pieces = [np.zeros(0, np.int64)]
        while position < end:
            pass_number, offset = divmod(position, size)
            stop = min(size, offset + end - position)
            pieces.append(self._permutation(name, pass_number)[offset:stop])
            position += stop - offset
        return np.concatenate(pieces)

    def _permutation(self, name: str, pass_number: int) -> Rows:
        """The order of a pass; the two latest of a source are kept."""
        key = (name, pass_number)
        with self._lock:
            if key not in self._order:
                rng = np.random.default_rng(_seed_of(self.seed, name, pass_number))
                for old in [k for k in self._order if k[0] == name][:-1]:
                    del self._order[old]
                self._order[key] = rng.permutation(self.rows[name])
            return self._order[key]

    def describe_epoch(self) -> str:
        """What an epoch is, in a line; a further line for each note."""
        said = f"one epoch = {self.steps_per_epoch:,} steps = {self._described(0)}"
        if self.mixing.settles:
            last = self.mixing.settles
            said += f" at first, {self._described(last)} from epoch {last + 1} on"
        if self.follows:
            said += " at first, then by validation losses"
        return "\n".join([said, *self.notes])

    def _described(self, epoch: int) -> str:
        parts = []
        for name, rows in self.rows.items():
            begin = epoch * self.steps_per_epoch
            count = self.drawn(name, begin + self.steps_per_epoch) - self.drawn(name, begin)
            passes = count / len(rows)
            plural = "pass" if f"{passes:.1f}" == "1.0" else "passes"
            parts.append(f"{count:,} of {name} ({passes:.1f} {plural})")
        return " + ".join(parts)


class Prefetcher:
    """Makes the next batch in a thread while the current one is trained on.

    Args:
        stream: Where batches come from.
    """

    def __init__(self, stream: BatchStream) -> None:
        self.stream = stream
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        threads = torch.get_num_threads()
        self._pool.submit(_compute_alone).result()
        torch.set_num_threads(threads)  # some libraries keep one number for all threads
        self._next: tuple[int, Future[Batch]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.stream.steps_per_epoch

    def describe_epoch(self) -> str:
        """What an epoch is, in one line."""
        return self.stream.describe_epoch()

    @property
    def follows(self) -> bool:
        """Whether shares depend on what was measured after the epochs before."""
        return self.stream.follows

    def end_epoch(self, scores: Scores) -> None:
        """Decide the shares of the next epoch, where they depend on validation scores."""
        self.stream.end_epoch(scores)

    def drawn_in(self, epoch: int) -> dict[str, int] | None:
        """Examples of each source in an epoch, counted from 0; None where that never changes."""
        return self.stream.drawn_in(epoch)

    def state_dict(self) -> dict[str, Any]:
        """What batches depend on beside the seed and the step."""
        return self.stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.stream.load_state_dict(state)

    def batch(self, step: int) -> Batch:
        """The batch of a step; what goes wrong in making it is raised here."""
        ready = self._next
        self._next = None
        if ready is None or ready[0] != step:
            if ready is not None:
                ready[1].cancel()
            ready = (step, self._pool.submit(self.stream.batch, step))
        batch = ready[1].result()
        if self.stream.decided(step + 1):  # if not, the epoch's end is waited for
            self._next = (step + 1, self._pool.submit(self.stream.batch, step + 1))
        return batch

    def close(self) -> None:
        """Ends the thread."""
        self._next = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _compute_alone() -> None:
    """Makes the calling thread compute without helpers.

    A second team of OpenMP threads makes more threads than cores. GNU's OpenMP then puts waiting
    threads to sleep, those of the training too, and waking them costs more than many operations:
    an LSTM took five times as long.
    """
    torch.get_num_threads()  # the first call in a thread takes over the number of the process
    torch.set_num_threads(1)


def evaluation_batches(
    datasets: Mapping[str, Dataset], rows: Mapping[str, Tensor], batch_size: int
) -> Iterator[Batch]:
    """Every row once, in order, one source at a time, as they are."""
    for name, picked in rows.items():
        for first in range(0, len(picked), batch_size):
            yield datasets[name].gather(picked[first : first + batch_size])


def _seed_of(seed: int, what: str, number: int) -> int:
    """A seed of 63 bits of its own for everything that is drawn."""
    text = int.from_bytes(what.encode()[:64].ljust(1, b"\0"), "little")
    mixed = np.random.SeedSequence([seed, text, number]).generate_state(1, np.uint64)
    return int(mixed[0]) >> 1
