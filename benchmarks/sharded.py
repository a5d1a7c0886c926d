"""What a step takes where each process has a copy of the trunk, and where it has a part of it.

    python benchmarks/sharded.py [--parts] [--balancer mgda] [--processes 2] [--width 512]

Processes on this machine, one thread each, over gloo; a transformer, AdamW, four tasks on two
inputs with 8 rows each in every process. Prints the seconds of a step (median of 7), what a process
holds of weights and moments, and what it had at most in a step beyond what it had before there was
a model. For the last, run it with MALLOC_MMAP_THRESHOLD_=65536 MALLOC_TRIM_THRESHOLD_=65536, or
else the C library keeps what is freed.
"""

import argparse
import os
import socket
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from polytask.backbones import TransformerBackbone
from polytask.balancing import BALANCERS, Balancer, LossBalancer
from polytask.encoders import Encoder
from polytask.model import MultiTaskModel
from polytask.sharing import HardSharing
from polytask.tasks import Regression
from polytask.training.devices import make_fabric
from polytask.training.optim import AdamW
from polytask.training.settings import Settings
from polytask.training.sharding import is_spread, part, spread_names
from polytask.training.step import train_step
from polytask.types import Batch, Features

STEPS, ROWS, LENGTH = 7, 8, 4
INPUTS = ("near", "far")
TASKS = [
    Regression(name=f"{name}{k}", input=name, target={"a": (f"y{k}",)}, mean=(0.0,), std=(1.0,))
    for name in INPUTS
    for k in range(2)
]


class Frames(Encoder):
    """Vectors `[B, 8]` as sequences `[B, 4, D]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(8, LENGTH * width)
        self.out_features = width

    def forward(self, raw: Features) -> Features:
        """One linear layer, cut into frames."""
        return Features(self.linear(raw.values).unflatten(1, (LENGTH, self.out_features)))


def batch(seed: int) -> Batch:
    """Random rows of both inputs, all with labels."""
    random = torch.Generator().manual_seed(seed)
    return Batch(
        {name: Features(torch.randn(ROWS, 8, generator=random)) for name in INPUTS},
        {task.name: torch.randn(ROWS, 1, generator=random) for task in TASKS},
        {task.name: torch.ones(ROWS, dtype=torch.bool) for task in TASKS},
    )


def memory(what: str) -> float:
    """MB of this process, as Linux tells them: `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def held(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """MB of weights and of what the optimiser keeps, in this process."""
    moments = (v for state in optimizer.state.values() for v in state.values())
    tensors: list[Tensor] = [*model.parameters(), *moments]
    return sum(part(tensor).numel() * 4 for tensor in tensors) / 2**20


def measure(rank: int, port: int, asked: argparse.Namespace) -> None:
    """One process's training; the first one prints."""
    torch.set_num_threads(1)
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
        **{"WORLD_SIZE": str(asked.processes), "LOCAL_WORLD_SIZE": str(asked.processes)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "here"},
    }
    sharding: Any = "trunk" if asked.parts else None
    fabric = make_fabric(Settings(accelerator="cpu", precision="fp32", sharding=sharding))
    before = memory("VmRSS")
    torch.manual_seed(0)
    model = MultiTaskModel(
        {name: Frames(asked.width) for name in INPUTS},
        HardSharing(
            lambda: TransformerBackbone(asked.width, width=asked.width, layers=12, heads=8),
            [task.name for task in TASKS],
        ),
        TASKS,
    )
    kind = BALANCERS[asked.balancer]
    sees = {} if issubclass(kind, LossBalancer) else {"at": "features"}
    balancer: Balancer = kind(len(TASKS), **sees)
    names = spread_names(model) if asked.parts else ()
    wrapped = fabric.setup_module(model)
    spec = AdamW(lr=1e-4)
    optimizer: Any = fabric.setup_optimizers(spec.make(spec.groups(model, [], names)))
    kept = [p for p in model.parameters() if not is_spread(p)]
    shared = {id(p) for p in model.shared_parameters()}
    seconds = []
    for step in range(STEPS + 1):
        if step == 1:  # The first made what stays.
            Path("/proc/self/clear_refs").write_text("5")
        started = time.perf_counter()
        train_step(
            fabric,
            wrapped,
            batch(step * asked.processes + rank),
            TASKS,
            balancer=balancer,
            optimizer=optimizer,
            shared=[p for p in kept if id(p) in shared],
            private=[p for p in kept if id(p) not in shared],
            clip=1.0,
        )
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        print(
            f"{sum(p.numel() for p in model.parameters()):,} parameters, {asked.balancer}, "
            f"{'parts' if asked.parts else 'copies'} in {asked.processes} processes: "
            f"{statistics.median(seconds[1:]):.2f} s a step, weights and moments "
            f"{held(model, optimizer.optimizer):.0f} MB, at most {memory('VmHWM') - before:.0f} MB"
        )


def main() -> None:
    """Start the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--balancer", default="equal")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = parser.parse_args()
    mp.spawn(measure, args=(port, asked), nprocs=asked.processes)


if __name__ == "__main__":
    main()
