"""How long and how to train, as a frozen description."""

from dataclasses import dataclass, field
from typing import Literal

from polytask.errors import require_number

# More end the process: the system gives no more threads, and OpenMP does not say so.
_MOST_THREADS = 1024

# Settings of what a Gramian is made of.
MEASURED = ("measured", "subsample", "groups")

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long and how to train.

    Attributes:
        epochs: How often the data is gone through; the run says what an epoch is.
        precision: Number format of the network's products. `auto` is bf16 where the
            processor has units for it (AMX on a CPU, or a GPU that has them), else fp32.
        clip: The greatest norm of the gradient; null does not clip.
        ema: If given, the decay per step of a moving average of the weights, which is what is
            validated and kept.
        monitor: What decides which epoch's weights are kept: `mean` (of each task's own score),
            `mean.metric` (of all tasks that have the metric, such as `mean.auroc`), or
            `task.metric`, such as `object.accuracy`.
        keep: Which epochs' weights are kept: those of `one`, the best by `monitor`; or for `each`
            task those of its own best epoch too (best checkpoints per task), with which it answers
            then. That is the epoch that it would keep if it were trained alone: the best by
            `monitor` where the task measures that, else by its own score. Tasks that learn at
            different speeds want that; an answer takes a pass for each such epoch.
        patience: Stop after so many epochs without improvement (with `keep: each`, of any task);
            null trains to the end.
        measured: For a balancer that sees the Gramian: the shared parameters whose gradients make
            it, `all`, or those of the trunk's `last_stage`, whose passes per task are short.
        subsample: For a balancer that sees the Gramian: the share of the examples of each input
            that make it, in (0, 1]. A step in which a task has no label among them takes all.
        groups: For a balancer that sees the Gramian: more than 1 measures it in so many groups of
            parameters, which takes longer and holds the gradients of one group at a time.
        at_once: For a balancer that takes each task's gradient at shared parameters: of how many
            tasks one pass makes them, for so many times its memory. Small networks on large
            devices, which wait for calls and not for arithmetic, gain by more than 1.
        checkpoint_minutes: A crash loses at most so many minutes (and never more than an epoch).
        freeze: Beginnings of parameters' names that do not learn, such as `[encoders.sound]`.
        unfreeze: Beginnings of names that do not learn in the first so many epochs, such as
            `{trunk: 2}`.
        threads: Threads of the CPU in each process; `auto` is what `OMP_NUM_THREADS` says (1 under
            torchrun says nothing, as torchrun sets that itself), or else times a few steps with one
            and with all cores, which processes on one machine share evenly.
        accelerator: Where to compute.
        devices: How many processes with a device each.
        sharding: With several processes, what each holds a part of instead of a copy: null for
            nothing (DDP), or the `trunk` (FSDP2), for a model that is too large for one device.
            For balancers that see losses alone or have `at: features`.
    """

    epochs: int = 10
    precision: Precision = "auto"
    clip: float | None = None
    ema: float | None = None
    monitor: str = "mean"
    keep: Literal["one", "each"] = "one"
    patience: int | None = None
    measured: Literal["all", "last_stage"] = "all"
    subsample: float = 1.0
    groups: int = 1
    at_once: int = 1
    checkpoint_minutes: float = 5.0
    freeze: tuple[str, ...] = ()
    unfreeze: dict[str, int] = field(default_factory=dict)
    threads: int | Literal["auto"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    sharding: Literal["trunk"] | None = None

    def __post_init__(self) -> None:
        require_number("subsample", self.subsample, 0, 1, above=True, below=False)
        for key in ("epochs", "groups", "at_once", "devices"):
            require_number(key, getattr(self, key), 1)
        if self.threads != "auto":
            require_number("threads", self.threads, 1, _MOST_THREADS, below=False)
        if self.clip is not None:
            require_number("clip", self.clip, 0, above=True)
        if self.ema is not None:
            require_number("ema", self.ema, 0, 1)
        if self.patience is not None:
            require_number("patience", self.patience, 1)
        require_number("checkpoint_minutes", self.checkpoint_minutes, 0)
        for part, epochs in self.unfreeze.items():
            require_number(f"unfreeze.{part}", epochs, 0)
