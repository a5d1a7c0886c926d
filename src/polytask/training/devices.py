"""Where to compute, how precisely, and with how many threads."""

import copy
import ctypes
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from polytask.errors import ConfigError
from polytask.model import guidance
from polytask.tasks.base import Task
from polytask.training.settings import Precision, Settings
from polytask.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
NO_GPU = "training.accelerator: found 'cuda', but PyTorch sees no GPU here. Set it to 'auto'."

# Of <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_INT = 2**31 - 1


def make_fabric(settings: Settings) -> "Fabric":
    """A launched Fabric for the settings; under torchrun it joins the others.

    On a CPU the process keeps freed memory from then on (`keep_freed_memory`).

    Raises:
        ConfigError: If there is no GPU where one is asked for, or `training.devices` says
            something else than torchrun.
    """
    from lightning_fabric import Fabric

    # Its notes repeat what the run says about itself.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    accelerator = settings.accelerator
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError(NO_GPU)
    chosen: Any = PRECISIONS[resolve_precision(settings)]
    devices, machines = processes(settings)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=machines,
        strategy=_strategy(devices * machines, settings),
        precision=chosen,
    )
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def device_of(settings: Settings) -> torch.device:
    """The device of one process outside training: what `make_fabric` takes, without Fabric, whose
    import is most of what a command waits for.

    Raises:
        ConfigError: If there is no GPU where one is asked for.
    """
    if settings.accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if settings.accelerator == "cuda":
        raise ConfigError(NO_GPU)
    if settings.accelerator == "auto" and torch.backends.mps.is_available():
        return torch.device("mps", 0)
    return torch.device("cpu")


class Formatted(nn.Module):
    """A network that computes in a number format of 16 bits and answers in fp32.

    Inputs, operations and outputs are converted as by Fabric's mixed precision, so that outputs are
    those of training to the last digit.

    Args:
        network: The network, whose attributes are found here too.
        precision: The format: `bf16`, or `fp16`, which on a CPU is `bf16` as in Fabric.
        device: Where it computes.
    """

    def __init__(self, network: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.device_type = device.type
        half = precision == "fp16" and device.type != "cpu"
        self.dtype = torch.float16 if half else torch.bfloat16

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, *args: Any, **options: Any) -> Any:
        args, options = _converted((args, options), self.dtype)
        with torch.autocast(self.device_type, dtype=self.dtype):
            outputs = self.network(*args, **options)
        return _converted(outputs, torch.float32)


def _converted(values: Any, dtype: torch.dtype) -> Any:
    """Nested values, whose tensors of floating point are of another type."""
    from lightning_utilities.core.apply_func import apply_to_collection

    return apply_to_collection(
        values, torch.Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t
    )


def _strategy(count: int, settings: Settings) -> Any:
    """How so many processes share a model: each with a copy, or with a part of the trunk."""
    if count == 1:
        return "auto"
    if settings.sharding is None:
        return "ddp"
    from polytask.training.sharding import strategy

    return strategy(count)


def processes(settings: Settings) -> tuple[int, int]:
    """Devices of a machine, a process each, and machines; torchrun says both where it started us.

    Raises:
        ConfigError: If `training.devices` says something else than torchrun.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return settings.devices, 1
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if settings.devices not in (1, here):
        raise ConfigError(
            f"training.devices: found {settings.devices}, but torchrun started {here} processes "
            "here. Leave the key out."
        )
    return here, everywhere // here


def resolve_precision(settings: Settings) -> Precision:
    """What is computed in: `fp32`, `bf16` or `fp16`. On a CPU Fabric takes bf16 for fp16, so that
    is what a run says of itself; warns then.

    Raises:
        ConfigError: If there is no GPU where one is asked for.
    """
    if settings.precision == "fp16" and device_of(settings).type == "cpu":
        warnings.warn(
            "training.precision: a CPU does not compute in fp16. It computes in bf16 instead, "
            "slowly where it has no units for that. Set the key to 'auto', 'bf16' or 'fp32'.",
            stacklevel=2,
        )
        return "bf16"
    if settings.precision != "auto":
        return settings.precision
    if settings.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    # AMX multiplies bf16 about six times as fast as fp32; emulation would be slower than fp32.
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def kept_precision(settings: Settings, trained: Precision) -> Precision:
    """The number format that a run was trained in, or `fp32` where this machine emulates it.

    A run goes from a machine with a GPU or bf16 units to one without; there emulation takes a
    hundred times as long as fp32. Warns when it happens, because results then differ by rounding.
    A format that the settings name is kept, as far as the machine has it (`resolve_precision`).

    Raises:
        ConfigError: If there is no GPU where one is asked for.
    """
    on_gpu = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    if trained == "fp32" or on_gpu:
        return trained
    if settings.precision != "auto":
        return trained if trained == "bf16" else resolve_precision(settings)
    if trained == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return trained
    warnings.warn(
        f"The run was trained in {trained}, for which this machine has no units. It computes in "
        "fp32 here; results differ by rounding.",
        stacklevel=2,
    )
    return "fp32"


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next step.

    GNU's gives blocks of more than 32 MB, such as the activations of a batch of pictures, back to
    the system each time, which has to clear every page anew: 0.08 of 0.61 s of a step of the main
    recipe. The process then holds on to its largest use of memory until it ends. Nothing happens
    where the environment already settles it (`MALLOC_*`, `GLIBC_TUNABLES`) or the library is
    another one.
    """
    settled = any(key.startswith(("MALLOC_", "GLIBC_TUNABLES")) for key in os.environ)
    if sys.platform != "linux" or settled:
        return
    try:
        setting = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # not GNU's
    for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        setting(parameter, LARGEST_INT)


def own_cores(process: int = 0) -> int:
    """Cores that this process, or another one, may use; 1 if the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(process))
    return os.cpu_count() or 1


def share_of_cores(settings: Settings) -> int:
    """Cores for each of the processes that train together on this machine; at least 1.

    What torchrun may use is divided. A process that is bound to some of these cores has its share
    by that already, or divides them with those that are bound alike.
    """
    cores = own_cores()
    torchrun = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else 0
    return max(1, min(cores, own_cores(torchrun) // processes(settings)[0]))


def named_threads() -> int | None:
    """The number of threads that `OMP_NUM_THREADS` names for this process; None if it doesn't.

    For several processes torchrun sets it to 1 where nobody did, so that a 1 says nothing there.
    Fabric sets it where it starts processes itself, so that this is asked before.
    """
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if not named.isdecimal() or int(named) == 0:
        return None
    several = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["LOCAL_WORLD_SIZE"]) > 1
    return None if several and int(named) == 1 else int(named)


def leaves_a_core(device: torch.device, threads: int, share: int) -> bool:
    """Whether the next batch can be made while a step is computed.

    Where the step's threads have all cores, one more holds them up at every operation: steps of
    spoken commands took 1.3 times as long as with batches made in between, by all threads.

    Args:
        device: Where steps are computed.
        threads: Their threads.
        share: The cores of this process.
    """
    return device.type != "cpu" or threads < share


def choose_threads(
    fabric: "Fabric", model: nn.Module, tasks: Sequence[Task], batch: Batch, cores: int
) -> int:
    """The number of threads with which a step is fastest: one, or all of this process's cores.

    Two threads on busy cores can be many times slower than one, so this is measured, on copies:
    the model, its statistics and all generators are as before. Several processes measure at the
    same time, as they will compute, and do as the first one finds.
    """
    if fabric.device.type != "cpu" or cores == 1:
        return cores
    fabric.barrier()
    times = {}
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(model)
        for threads in (1, cores):
            torch.set_num_threads(threads)
            times[threads] = min(_pass_seconds(fabric, trial, tasks, batch) for _ in range(2))
    chosen = min(cores, int(fabric.broadcast(min(times, key=times.__getitem__))))
    torch.set_num_threads(chosen)
    return chosen


def _pass_seconds(fabric: "Fabric", model: nn.Module, tasks: Sequence[Task], batch: Batch) -> float:
    """Seconds of one forward and backward pass."""
    start = time.perf_counter()
    with fabric.autocast():
        names = [task.name for task in tasks]
        outputs = model(batch.inputs, names, **guidance(tasks, batch))
    torch.stack([output.float().mean() for output in outputs.values()]).sum().backward()
    model.zero_grad()
    return time.perf_counter() - start
