"""Two processes on one machine that train together, for the tests of several floors."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as mp
from lightning_fabric import Fabric

from polytask.training.sharding import strategy


def in_two_processes(work: Callable[..., None], *given: Any) -> None:
    """Run `work(rank, port, *given)` in two processes that can find each other by the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, *given), nprocs=2)


def launched(rank: int, port: int, *, sharded: bool = False) -> Fabric:
    """The Fabric of one of the two processes, on one thread."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    runner = Fabric(accelerator="cpu", devices=2, strategy=strategy(2) if sharded else "ddp")
    runner.launch()
    return runner
