"""A look at task gradients in the middle of a training, which goes on as if nobody had looked.

T tasks, A active ones, G groups of shared parameters, P shared parameters (entries), N notes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import Parameter

from polytask.balancing.graph import Losses, Shared
from polytask.balancing.passes import Passes, gramian, identity
from polytask.errors import ConfigError
from polytask.model import Boundary, MultiTaskModel
from polytask.training.losses import active_tasks, task_losses
from polytask.training.processes import all_reduced
from polytask.training.step import require_finite
from polytask.types import Batch

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer


class AffinityProbe:
    """Notes, at even intervals, the Gramian of the task gradients and what a step on each task
    alone would do to all losses.

    Cost of a note: a forward, a backward per active task, and with `ahead` a forward more for each.
    Notes are kept in a file, so a training that is taken up again keeps those of before.

    The step ahead is the optimiser's own rate times the gradient; for optimisers of Adam's kind
    the gradient is divided by the root of the second moment, without momentum. Only shared
    parameters move in it, as in TAG.

    Args:
        path: The file.
        notes: How many notes a training makes, at most.
        ahead: Whether to look ahead; without, only the Gramian is noted.
    """

    def __init__(self, path: Path, *, notes: int = 50, ahead: bool = True) -> None:
        self.path, self.notes, self.ahead = path, notes, ahead
        self.groups: list[str] = []
        self.steps: list[int] = []
        self.rates: list[float] = []
        self.losses: list[Tensor] = []  # N times [T], NaN where inactive
        self.gramians: list[Tensor] = []  # N times [G, T, T]
        self.after: list[Tensor] = []  # N times [T, T], loss of column after a step on row
        if path.exists():
            self._load()

    def __call__(self, trainer: "Trainer", batch: Batch) -> None:
        """Note, if this step is due."""
        step = trainer.progress.step
        if step % max(1, trainer.steps // self.notes):
            return
        kept = sum(known < step for known in self.steps)
        for notes in (self.steps, self.rates, self.losses, self.gramians, self.after):
            del notes[kept:]  # what a stopped training had done after its last checkpoint
        with (
            unnoticed(trainer.bare),
            trainer.fabric.no_backward_sync(trainer.model, enabled=trainer.fabric.world_size > 1),
        ):
            self._note(trainer, batch)
        if trainer.fabric.is_global_zero:
            self._save()

    def _note(self, trainer: "Trainer", batch: Batch) -> None:
        fabric, tasks, count = trainer.fabric, trainer.tasks, len(trainer.tasks)
        parts = parts_of(trainer.bare, trainer.shared)
        if not parts:
            raise ConfigError(
                "Tasks share no parameters here, so their gradients cannot meet. Give the model a "
                "trunk that shares something, such as `trunk: {kind: hard}`."
            )
        self.groups = list(parts)
        seed = 7 + trainer.progress.step  # one draw of dropout before and after

        def measured() -> tuple[list[Tensor], Tensor]:
            torch.manual_seed(seed)
            return task_losses(fabric, trainer.model, batch, tasks, Boundary())

        losses, counts = measured()
        reduce = partial(all_reduced, fabric) if fabric.world_size > 1 else identity
        values = reduce(torch.stack([loss.detach() for loss in losses])).double().cpu()
        require_finite(values, tasks)
        there = active_tasks(counts, None).nonzero().flatten().tolist()
        known = torch.full((count,), math.nan, dtype=torch.float64)
        known[there] = values[there]
        self.steps.append(trainer.progress.step)
        self.rates.append(float(trainer.optimizer.param_groups[0]["lr"]))
        self.losses.append(known)
        shared = Shared(p for part in parts.values() for p in part)
        passes = Passes(Losses(losses), there, shared, None, fabric.backward, reduce)
        factor = passes.amplification()
        rows = passes.jacobian(None, factor, heads=False) / factor  # [A, P]
        del passes, losses
        columns = dict(
            zip(
                shared.parameters,
                rows.split([p.numel() for p in shared.parameters], 1),
                strict=True,
            )
        )
        found = torch.full((len(parts), count, count), math.nan, dtype=torch.float64)
        square = torch.tensor(there)
        for g, part in enumerate(parts.values()):
            total = sum((gramian(columns[p]).double().cpu() for p in part), torch.zeros(1, 1))
            found[g][square[:, None], square] = total.double()
        self.gramians.append(found)
        after = torch.full((count, count), math.nan, dtype=torch.float64)
        if self.ahead:
            rates = {p: g["lr"] for g in trainer.optimizer.param_groups for p in g["params"]}
            for row, task in enumerate(there):
                steps = {
                    p: rates.get(p, 0.0) * scaled(trainer.optimizer, p, piece[row].view_as(p))
                    for p, piece in columns.items()
                }
                with moved(steps), torch.no_grad():
                    ahead = reduce(torch.stack(measured()[0])).double().cpu()
                after[task, there] = ahead[there]
        self.after.append(after)

    def history(self) -> dict[str, Tensor]:
        """`steps` and `rates` `[N]`, `losses` `[N, T]`, `gramians` `[N, G, T, T]`, `after`
        `[N, T, T]`; NaN for absent tasks."""
        return {
            "steps": torch.tensor(self.steps, dtype=torch.int64),
            "rates": torch.tensor(self.rates, dtype=torch.float64),
            "losses": torch.stack(self.losses),
            "gramians": torch.stack(self.gramians),
            "after": torch.stack(self.after),
        }

    def _save(self) -> None:
        from safetensors.torch import save_file

        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".tmp")
        save_file(self.history(), scratch, metadata={"groups": "\n".join(self.groups)})
        scratch.replace(self.path)

    def _load(self) -> None:
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            self.groups = (file.metadata() or {})["groups"].split("\n")
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a file
        self.steps, self.rates = found["steps"].tolist(), found["rates"].tolist()
        self.losses = list(found["losses"].unbind())
        self.gramians, self.after = list(found["gramians"].unbind()), list(found["after"].unbind())


def parts_of(model: MultiTaskModel, shared: list[Parameter]) -> dict[str, list[Parameter]]:
    """The shared parameters by where they are: encoders, stage by stage, and the rest."""
    left = dict.fromkeys(shared)
    parts: dict[str, list[Parameter]] = {}

    def take(name: str, parameters: Iterator[Parameter]) -> None:
        mine = [p for p in dict.fromkeys(parameters) if p in left]
        for p in mine:
            del left[p]
        if mine:
            parts.setdefault(name, []).extend(mine)

    take("encoders", model.encoders.parameters())
    for backbone in model.trunk.backbones():
        for number, stage in enumerate(backbone.stages):
            take(f"stage {number + 1}", stage.parameters())
    take("other", iter(list(left)))
    return parts


def scaled(optimizer: torch.optim.Optimizer, parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient as the optimiser would scale it, without momentum."""
    state = optimizer.state.get(parameter, {})
    if "exp_avg_sq" not in state:
        return gradient
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    correction = 1 - group["betas"][1] ** float(state["step"])
    size: Tensor = (state["exp_avg_sq"] / correction).sqrt() + group["eps"]
    return gradient / size


@contextmanager
def moved(steps: dict[Tensor, Tensor]) -> Iterator[None]:
    """Inside, parameters are less by these steps; afterwards bit for bit as before."""
    before = {p: p.detach().clone() for p in steps}
    try:
        with torch.no_grad():
            for p, step in steps.items():
                p.sub_(step)
        yield
    finally:
        with torch.no_grad():
            for p, value in before.items():
                p.copy_(value)


@contextmanager
def unnoticed(model: MultiTaskModel) -> Iterator[None]:
    """Afterwards buffers, such as running statistics, and random numbers are as before."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    random = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(random)
        for name, value in model.named_buffers():
            value.copy_(before[name])
