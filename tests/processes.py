"""Two processes on one machine that train together, for the tests of several floors."""

import multiprocessing as mp
import os
import socket
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from polytask.training.sharding import strategy

PATIENCE = 240  # Seconds.
_pair: list[ProcessPoolExecutor] = []  # They stay: to start takes longer than most of the work.


def in_two_processes(work: Callable[..., None], *given: Any) -> None:
    """Run `work(rank, port, *given)` in two processes that can find each other by the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    while len(_pair) < 2:
        _pair.append(ProcessPoolExecutor(1, mp.get_context("spawn")))
    futures = [one.submit(_one_of_two, work, rank, port, *given) for rank, one in enumerate(_pair)]
    done, waiting = wait(futures, PATIENCE, FIRST_EXCEPTION)
    if waiting:  # Without the other, one may wait for ever.
        for process in mp.active_children():
            process.kill()
        _pair.clear()
    for future in done:
        future.result()
    assert not waiting, f"Two processes were not done in {PATIENCE} s."


def _one_of_two(work: Callable[..., None], *given: Any) -> None:
    try:
        work(*given)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def grouped(rank: int, port: int) -> None:
    """Make one of the two processes find the other, without Fabric, on one thread."""
    torch.set_num_threads(1)
    where = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2)


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
