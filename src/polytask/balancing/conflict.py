"""A diagnosis of how tasks pull at what they share, for any training loop.

T tasks, A active tasks, G groups of shared parameters, N noted steps.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polytask.balancing.backward import backward
from polytask.balancing.base import (
    Balancer,
    DropsFeatures,
    GradientBalancer,
    GramianBalancer,
    TakesTurns,
)
from polytask.balancing.conflict_report import draw, summarized
from polytask.balancing.given import tensors
from polytask.balancing.graph import Differentiate, Losses, Shared
from polytask.balancing.needs import active_tasks
from polytask.balancing.passes import Passes, gramian, identity


class Conflict:
    """Collects how task gradients agree, how large they are, and the weights that tasks get.

        conflict = Conflict(2, names=("depth", "normals"), every=20)
        weights = conflict.backward(losses, balancer, trunk.parameters())  # in place of `backward`
        print(conflict.summary())
        conflict.plot("conflict.png")

    What is kept of a noted step is the Gramian of each group and the weights; cosines, norms and
    rates are computed from them when asked for. A task that was absent from a step, or whose
    gradient is zero, leaves a gap there. Gradients in `.grad` and the balancer are as without it.

    Cost: without `groups`, what a Gramian or gradient balancer was shown is taken over and nothing
    is computed twice (with `at='features'` these are the gradients of the features). Else a noted
    step costs a trunk backward per active task, no deeper than the lowest group, and `[A, P]`
    memory: with three tasks and `every=20` a tenth of equal weighting's time, with `every=100` a
    fiftieth.

    Args:
        num_tasks: T.
        names: The tasks' names, for summary and plot; None for their numbers.
        groups: Shared parameters by a name of one's own, such as
            `{name: part.parameters() for name, part in trunk.named_children()}`. None: one group
            of all that is shared.
        every: Each so many steps one is noted.
        capacity: The most steps that are kept. When there are more, every other one is dropped and
            half as many are noted from then on, so what is kept always spans the whole training.
    """

    def __init__(
        self,
        num_tasks: int,
        *,
        names: Sequence[str] | None = None,
        groups: Mapping[str, Iterable[Tensor]] | None = None,
        every: int = 20,
        capacity: int = 512,
    ) -> None:
        if num_tasks < 1:
            raise ValueError(f"`num_tasks` should be at least 1. Found {num_tasks}.")
        self.names = [str(t) for t in range(num_tasks)] if names is None else list(names)
        if isinstance(names, str) or len(self.names) != num_tasks:
            raise ValueError(f"`names` should be {num_tasks} names. Found {self.names}.")
        if every < 1 or capacity < 2:
            raise ValueError(f"`every` should be >= 1, `capacity` >= 2. Found {every}, {capacity}.")
        self.parts: dict[str, list[Tensor]] | None = None
        if groups is not None:
            self.parts = {g: tensors(p, f"The group '{g}'") for g, p in groups.items()}
        if self.parts is not None and (not self.parts or "all" in self.parts):
            raise ValueError("`groups` should name at least one group, and none of them 'all'.")
        self.groups = ["shared"] if self.parts is None else list(self.parts)
        self.num_tasks, self.every, self.capacity = num_tasks, every, capacity
        self.seen = 0  # steps
        self.unusable = 0  # steps that were to be noted and had gradients that are not finite
        self.wait = 0  # steps until one is due
        self.at: list[int] = []  # N numbers of steps
        self.gramians: list[Tensor] = []  # N times [G, T, T]
        self.weights: list[Tensor] = []  # N times [T], NaN where there are none

    def __len__(self) -> int:
        return len(self.at)

    def backward(
        self,
        losses: Tensor | Sequence[Tensor | None],
        balancer: Balancer,
        shared: Iterable[Tensor] = (),
        *,
        active: Tensor | None = None,
        features: Sequence[Tensor | None] | None = None,
        differentiate: Differentiate = Tensor.backward,
        reduce: Callable[[Tensor], Tensor] = identity,
        independent: Tensor | Sequence[Tensor] | None = None,
    ) -> Tensor | None:
        """`polytask.balancing.backward`, with the same arguments and effects, and notes taken."""
        shared = tensors(shared)
        found: list[Tensor] = []

        def see(_: object, seen: tuple[Tensor, ...]) -> None:
            """Take over what the balancer is about to see."""
            now = seen[0] if isinstance(balancer, GramianBalancer) else gramian(seen[0])
            if now.shape == (len(balancer.tasks), len(balancer.tasks)):
                found.append(now.detach()[None].clone())

        due = self._due()
        sees = isinstance(balancer, GramianBalancer | GradientBalancer) and self.parts is None
        dropping = isinstance(balancer, DropsFeatures) and balancer.at == "features"
        if dropping or isinstance(balancer, TakesTurns):  # It is not shown all gradients.
            sees = False
        if due and not sees:
            measured = self._measure(losses, shared, active, differentiate, reduce)
            found = [] if measured is None else [measured]
        hook = balancer.register_forward_pre_hook(see) if due and sees else None
        try:
            weights = backward(
                losses,
                balancer,
                shared,
                active=active,
                features=features,
                differentiate=differentiate,
                reduce=reduce,
                independent=independent,
            )
        finally:
            if hook is not None:
                hook.remove()
        if found:
            self._note(found[0], active, weights)
        return weights

    def observe(
        self,
        losses: Tensor | Sequence[Tensor | None],
        shared: Iterable[Tensor] = (),
        *,
        active: Tensor | None = None,
        weights: Tensor | None = None,
        differentiate: Differentiate = Tensor.backward,
        reduce: Callable[[Tensor], Tensor] = identity,
    ) -> bool:
        """For loops that don't call `backward`: call this before yours, in every step.

        Args:
            losses: `[T]` or T scalars, with their graph, which is kept.
            shared: Parameters that several tasks train; not needed if there are `groups`.
            active: `[T]` bool, the tasks that have a label in this step. None: all.
            weights: `[T]`, what you multiply the losses with. None: not noted.
            differentiate: As for `backward`.
            reduce: As for `backward`.

        Returns:
            Whether this step was due.
        """
        if not self._due():
            return False
        found = self._measure(losses, tensors(shared), active, differentiate, reduce)
        if found is not None:
            self._note(found, active, weights)
        return True

    def _due(self) -> bool:
        """Whether the step that begins now should be noted. It stays due until one is."""
        self.seen += 1
        self.wait -= 1
        return self.wait < 0

    def _tasks(self, active: Tensor | None) -> list[int]:
        on = [True] * self.num_tasks if active is None else active.tolist()
        return [t for t, here in enumerate(on) if here]

    def _measure(
        self,
        losses: Tensor | Sequence[Tensor | None],
        shared: list[Tensor],
        active: Tensor | None,
        differentiate: Differentiate,
        reduce: Callable[[Tensor], Tensor],
    ) -> Tensor | None:
        """Gramians `[G, A, A]` by passes of its own; None if they are not finite."""
        pieces = Losses(losses)
        tasks = active_tasks(pieces, self.num_tasks, active)
        parts = [shared] if self.parts is None else list(self.parts.values())
        everything = Shared(p for part in parts for p in part)
        if not everything:
            raise ValueError("There is nothing to observe: nothing is shared, or all of it frozen.")
        passes = Passes(pieces, tasks, everything, None, differentiate, reduce)
        factor = passes.amplification()
        rows = passes.jacobian(None, factor, heads=False)  # [A, P]
        widths = [p.numel() for p in everything.parameters]
        columns = dict(zip(everything.parameters, rows.split(widths, dim=1), strict=True))
        found = torch.zeros(len(parts), len(tasks), len(tasks), dtype=torch.float64)
        for g, part in enumerate(parts):
            for p in dict.fromkeys(part):
                if p in columns:
                    found[g] += gramian(columns[p])
        found /= factor**2
        if bool(found.isfinite().all()):
            return found
        self.unusable += 1
        return None

    def _note(self, found: Tensor, active: Tensor | None, weights: Tensor | None) -> None:
        """Keep the Gramians `[G, A, A]` and weights `[T]` of the present step."""
        tasks = torch.tensor(self._tasks(active))
        full = torch.full((len(found), self.num_tasks, self.num_tasks), math.nan).double()
        full[:, tasks[:, None], tasks] = found.cpu().double()
        given = torch.full((self.num_tasks,), math.nan, dtype=torch.float64)
        if weights is not None:
            given[tasks] = weights.detach().cpu().double()[tasks]
        self.at.append(self.seen)
        self.gramians.append(full)
        self.weights.append(given)
        if len(self.at) > self.capacity:
            self.at, self.gramians = self.at[::2], self.gramians[::2]
            self.weights = self.weights[::2]
            self.every *= 2
        self.wait = self.every - 1

    def history(self) -> dict[str, Tensor]:
        """All that is kept: `steps` `[N]`, `gramians` `[N, G, T, T]` and `weights` `[N, T]`."""
        count, size = len(self.groups), self.num_tasks
        nothing = torch.zeros(0, dtype=torch.float64)
        return {
            "steps": torch.tensor(self.at, dtype=torch.int64),
            "gramians": torch.stack(self.gramians)
            if self.gramians
            else nothing.reshape(0, count, size, size),
            "weights": torch.stack(self.weights) if self.weights else nothing.reshape(0, size),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """What is kept and counted, as tensors."""
        counters = torch.tensor([self.seen, self.unusable, self.wait, self.every])
        return {**self.history(), "counters": counters}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict` of one with the same tasks and groups."""
        wanted = (len(self.groups), self.num_tasks, self.num_tasks)
        if state["gramians"].shape[1:] != wanted:
            raise ValueError(
                f"The saved notes are of another number of groups or tasks: "
                f"{tuple(state['gramians'].shape[1:])} instead of {wanted}."
            )
        self.seen, self.unusable, self.wait, self.every = state["counters"].tolist()
        self.at = state["steps"].tolist()
        self.gramians = list(state["gramians"].unbind())
        self.weights = list(state["weights"].unbind())

    def summary(self) -> dict[str, Any]:
        """Plain values, for a person or for JSON; None for what was never seen.

        Returns:
            `steps` seen, `noted` and `unusable` ones; per task the median of its `weights` and how
            often (`set_back`) the weighted update went against it; and per group (`all` for their
            sum, if there are several) the median `norms`, the median ratio of the largest to the
            smallest of them (`norm_ratio`), and per pair of tasks how often both were there
            (`noted`), the share of these steps in which their gradients conflict
            (`conflict_rate`), and the mean and lowest `cosine`.
        """
        return {
            "steps": self.seen,
            "noted": len(self),
            "unusable": self.unusable,
            **summarized(self.history(), self.groups, self.names),
        }

    def plot(self, path: str | Path) -> None:
        """Draw cosines, norms and weights over the steps into a picture file.

        Args:
            path: Where to; the ending says which format (`.png`, `.svg`, `.pdf`).
        """
        if not self.at:
            raise ValueError("There is nothing to draw yet: no step has been noted.")
        draw(self.history(), self.groups, self.names, Path(path))
