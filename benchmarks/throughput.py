"""Examples per second of our training against a hand-written PyTorch loop.

Both train the same network from the same start on the same batches, in one process, in turns. The
hand-written loop is what a careful person would write for exactly this job: autocast, the losses by
name, one backward, one optimiser step. It runs twice: making each batch as it goes (gathering and
augmenting the same rows by the same code), and finding all batches ready in memory, which no real
training can. Ours makes its batches, checks every loss, keeps its books and saves a checkpoint at
the end of each round.

    python benchmarks/throughput.py recipes/shapes.yaml
    POLYTASK_DATA=... python benchmarks/throughput.py recipes/cifar10-speech.yaml --steps 20
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.config.build import (
    build_balancer,
    build_model,
    build_optimizer,
    build_schedule,
    build_settings,
)
from polytask.config.load import load_config
from polytask.data.stream import BatchStream, Prefetcher
from polytask.model import MultiTaskModel
from polytask.training.devices import (
    choose_threads,
    leaves_a_core,
    make_fabric,
    own_cores,
    resolve_precision,
)
from polytask.training.settings import Settings
from polytask.training.trainer import Trainer
from polytask.types import Batch
from polytask.workflow import make_stream, prepare_data, sample


class Quiet:
    """A reporter that reports nothing."""

    def on_step(self, *_: object) -> None:
        pass

    def on_epoch(self, *_: object) -> None:
        pass

    def warn(self, message: str) -> None:
        raise RuntimeError(message)


class Shortened:
    """A stream whose epoch is as long as a round of this benchmark."""

    def __init__(self, stream: BatchStream, steps: int) -> None:
        self.steps_per_epoch = steps
        device, threads = torch.device("cpu"), torch.get_num_threads()
        self.batch = (
            Prefetcher(stream) if leaves_a_core(device, threads, own_cores()) else stream
        ).batch


def by_hand(
    model: MultiTaskModel,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    smoothing: float,
) -> float:
    """Seconds for a round of the hand-written loop; every task is a classification."""
    reads = model.inputs
    start = time.perf_counter()
    model.train()
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            outputs = model(batch.inputs, list(reads))
        total: Tensor | float = 0.0
        for task, output in outputs.items():
            here = batch.present[task]
            total = total + F.cross_entropy(
                output[here].float(), batch.targets[task][here], label_smoothing=smoothing
            )
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    """Print examples per second of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=40, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    global BF16

    config = load_config(asked.config)
    settings: Settings = build_settings(config)
    BF16 = resolve_precision(settings) == "bf16"
    fabric = make_fabric(settings)
    prepared = prepare_data(config, None)
    torch.manual_seed(0)
    model = build_model(config, prepared.inputs, prepared.tasks)
    model.fit_to(sample(prepared))
    stream = make_stream(config, prepared, 0, 1)
    batches = [stream.batch(k) for k in range(asked.steps)]
    threads = choose_threads(fabric, model, prepared.tasks, batches[0], own_cores())
    examples = sum(batch.size for batch in batches)
    smoothing = getattr(prepared.tasks[0], "label_smoothing", 0.0)
    spec = build_optimizer(config)

    hand, ready, ours = [], [], []
    for number in range(asked.rounds + 1):
        first = copy.deepcopy(model)
        made = (stream.batch(k) for k in range(asked.steps))
        hand.append(by_hand(first, spec.make(spec.groups(first, ())), made, smoothing))
        first = copy.deepcopy(model)
        ready.append(by_hand(first, spec.make(spec.groups(first, ())), batches, smoothing))
        second = copy.deepcopy(model)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                fabric,
                second,
                build_balancer(config, len(prepared.tasks)),
                prepared.tasks,
                optimizer=spec,
                schedule=build_schedule(config),
                settings=Settings(epochs=1, precision=settings.precision),
                stream=Shortened(stream, asked.steps),
                validate=None,
                keep=lambda state: None,
                directory=Path(folder),
                reporter=Quiet(),
                seed=0,
            )
            start = time.perf_counter()
            trainer.fit()
            ours.append(time.perf_counter() - start)
        if number == 0:  # warm-up
            hand.clear()
            ready.clear()
            ours.clear()
    print(f"{asked.config.name}, {threads} threads, {examples / asked.steps:.0f} examples a step")
    print(f"polytask                     {examples / statistics.median(ours):8.0f} examples/s")
    for name, times in (("making batches", hand), ("batches ready", ready)):
        ratios = sorted(o / h for o, h in zip(ours, times, strict=True))
        print(
            f"by hand, {name:<19} {examples / statistics.median(times):8.0f} examples/s; polytask "
            f"takes {statistics.median(ratios):.3f} of its time "
            f"(rounds: {', '.join(f'{r:.3f}' for r in ratios)})"
        )


BF16 = False

if __name__ == "__main__":
    main()
