"""The passes over the model that one step may need.

T tasks, A active ones, P shared parameters (entries), B examples, D features.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from polytask.balancing.at_once import of_one_tensor, together
from polytask.balancing.graph import Differentiate, Losses, Shared, leaves

BLOCK = 32768
AT_ONCE = 1 << 22  # Inner products of blocks that are made in one call.


def identity(tensor: Tensor) -> Tensor:
    """One process: nothing to reduce."""
    return tensor


def precisely(device: str) -> AbstractContextManager[None]:
    """For calls that stand in an autocast region: what balancing multiplies is not for bfloat16."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def gramian(rows: Tensor, others: Tensor | None = None) -> Tensor:
    """Inner products `[A, A]` of the rows of `[A, P]`, or `[A, K]` with those of `others`.

    In float64 on the CPU.
    One float32 product over millions of columns is wrong by 2e-3; blocks of columns, summed in
    float64, are right to 2e-7 and no slower.
    """
    others = rows if others is None else others
    width = torch.float64 if rows.dtype == torch.float64 else torch.float32
    most = max(1, AT_ONCE // (len(rows) * len(others))) if rows.dtype == width else 1
    whole = rows.shape[1] // BLOCK * BLOCK
    total = (rows[:, whole:].to(width) @ others[:, whole:].to(width).T).double()
    lefts, rights = (r[:, :whole].unflatten(1, (-1, BLOCK)).transpose(0, 1) for r in (rows, others))
    for left, right in zip(lefts.split(most), rights.split(most), strict=True):
        # In one call threads divide the blocks, not each product: 11 instead of 56 ms for five
        # tasks and 11 million parameters on two cores.
        products = torch.bmm(left.to(width), right.to(width).transpose(1, 2))
        total += products.double().sum(0)
    return total.cpu()


@dataclass
class Passes:
    """What is differentiated in one step, and by which function.

    Attributes:
        losses: The task losses.
        tasks: The numbers of the A active tasks.
        shared: The shared parameters.
        features: Per active task its alias of the shared features; None if not given.
        call: How a tensor is differentiated.
        reduce: Mean over processes.
        at_once: How many tasks' passes below one tensor of features are made as one.
    """

    losses: Losses
    tasks: list[int]
    shared: Shared
    features: list[Tensor | None] | None
    call: Differentiate
    reduce: Callable[[Tensor], Tensor]
    at_once: int = 1

    def ones(self) -> Tensor:
        """Weights `[A]` of equal weighting."""
        return torch.ones(len(self.tasks), device=self.losses.values.device)

    def amplification(self) -> float:
        """The factor that `differentiate` puts on every gradient (a gradient scaler's scale)."""
        if self.call is Tensor.backward:
            return 1.0
        probe = torch.ones((), device=self.losses.values.device, requires_grad=True)
        self.call(probe)
        assert probe.grad is not None
        return float(probe.grad)

    def cotangents(self, above: Sequence[Tensor] = ()) -> list[Tensor | None]:
        """The gradient of each loss at its features, from one pass through all heads.

        Args:
            above: What receives its gradient in the same pass.
        """
        assert self.features is not None
        inputs: list[Tensor] = [f for f in self.features if f is not None and f.requires_grad]
        inputs = [*inputs, *above]
        for tensor in inputs:
            if not tensor.is_leaf:
                tensor.grad = None
        if inputs:
            self.losses.differentiate(
                self.tasks, self.ones(), self.call, inputs=inputs, retain_graph=True
            )
        found: list[Tensor | None] = []
        for feature in self.features:
            found.append(None if feature is None else feature.grad)
            if feature is not None:
                feature.grad = None
        self.on_the_way({i for i, cotangent in enumerate(found) if cotangent is not None})
        return found

    def on_the_way(self, arrived: set[int]) -> None:
        """Raise unless a gradient arrived at the features of every task that has a graph."""
        assert self.features is not None
        for i, node in enumerate(self.losses.nodes(self.tasks)):
            feature = self.features[i]
            if node is None or feature is None or not feature.requires_grad or i in arrived:
                continue
            raise ValueError(
                f"The loss of task {self.tasks[i]} does not depend on its entry of `features`. "
                "Pass the very tensor that its head read, not a copy, or None if it uses no "
                "shared features."
            )

    def reached_above(self, entered: dict[Node, list[Node]] | None = None) -> list[Tensor]:
        """What is reached without crossing features; `entered` as in `leaves`."""
        assert self.features is not None
        edges = frozenset(f.grad_fn for f in self.features if f is not None)
        found = leaves(self.losses.nodes(self.tasks), stop=edges, entered=entered)
        inside = set(self.features)
        return [leaf for leaf in found if leaf not in inside]

    def above(self, entered: dict[Node, list[Node]] | None = None) -> list[Tensor]:
        """The parameters between features and losses; `entered` as in `leaves`."""
        found = self.reached_above(entered)
        if not set(found).isdisjoint(self.shared.everyone):
            raise ValueError(
                "A loss reaches a `shared` parameter other than through its entry of `features`. "
                "Make one alias of the shared features per task (`z.view_as(z)`) and compute that "
                "task's loss from its alias alone, with no operation in place on it (such as "
                "`nn.ReLU(inplace=True)`), or leave `features` out."
            )
        return found

    def jacobian(
        self,
        cotangents: list[Tensor | None] | None,
        factor: float,
        heads: bool,
        into: Tensor | None = None,
    ) -> Tensor:
        """Gradients `[A, P]` of the losses at the shared parameters, the mean over processes.

        Args:
            cotangents: What `cotangents` gave, or None to start from the losses.
            factor: What `amplification` gave.
            heads: Whether every other parameter that the passes cross accumulates its gradient.
            into: Where they are put, `[A, P]` with anything in it. None for new memory.
        """
        if self.at_once > 1 and cotangents is not None:
            rows = self.shared.zeros(len(self.tasks)) if into is None else into.zero_()
            self._several(rows, cotangents, factor, heads)
            return self.reduce(rows)
        rows = self.shared.zeros(len(self.tasks)) if into is None else into
        only = {} if heads else {"inputs": self.shared.parameters}
        with self.shared.collecting() as point:
            for i in range(len(self.tasks)):
                if into is not None:
                    rows[i].zero_()
                point(rows[i])
                retain = not heads or i + 1 < len(self.tasks)
                self.alone(i, cotangents, factor, retain_graph=retain, **only)
        return self.reduce(rows)

    def _several(
        self, rows: Tensor, cotangents: list[Tensor | None], factor: float, heads: bool
    ) -> None:
        """Put gradients in `rows` `[A, P]`, from passes of several tasks at a time."""
        assert self.features is not None
        known = {i: c for i, c in enumerate(cotangents) if c is not None}
        several = [
            members[first : first + self.at_once]
            for members in of_one_tensor(self.features, known)
            for first in range(0, len(members), self.at_once)
        ]
        own: list[Tensor] = []
        if heads:  # Encoders of one task's own learn in one more pass.
            mine = set(self.shared.everyone)
            below = leaves(f.grad_fn for f in self.features if f is not None)
            own = [p for p in below if p not in mine]
        for members in several:
            feature = self.features[members[0]]
            assert feature is not None
            retain = not heads or bool(own) or members is not several[-1]
            given = [known[i] for i in members]
            together(feature, given, self.shared, rows, members, retain_graph=retain)
        if own:
            self.pull(range(len(cotangents)), cotangents, factor, inputs=own)

    def alone(
        self, i: int, cotangents: list[Tensor | None] | None, factor: float, **kwargs: Any
    ) -> None:
        """The pass of the i-th active task."""
        if cotangents is None:
            one = self.losses.values.new_ones(1)
            self.losses.differentiate([self.tasks[i]], one, self.call, **kwargs)
        else:
            self.pull([i], [cotangents[i]], factor, **kwargs)

    def pull(
        self,
        which: Sequence[int],
        cotangents: Sequence[Tensor | None],
        factor: float,
        **kwargs: Any,
    ) -> None:
        """Go on from the features, with these cotangents, to the parameters below."""
        assert self.features is not None
        pairs = [
            (feature, cotangent)
            for i, cotangent in zip(which, cotangents, strict=True)
            if (feature := self.features[i]) is not None and cotangent is not None
        ]
        if not pairs:
            return
        if self.call is Tensor.backward:
            roots, gradients = [f for f, _ in pairs], [c for _, c in pairs]
            torch.autograd.backward(roots, gradients, **kwargs)
            return
        # A scaler multiplies once more: hand it the true cotangents, in float32.
        products = [(f.float() * (c.float() / factor)).sum() for f, c in pairs]
        self.call(torch.stack(products).sum(), **kwargs)
