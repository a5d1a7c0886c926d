"""The passes over the model that one step may need.

T tasks, A active ones, P shared parameters (entries), B examples, D features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from polytask.balancing.graph import Differentiate, Losses, Shared, leaves
from polytask.balancing.hooks import divided, dividing, scaling

BLOCK = 32768

Rows = tuple[list[int], Tensor]  # Entries that alias one tensor, and their gradients there.


def identity(tensor: Tensor) -> Tensor:
    """One process: nothing to reduce."""
    return tensor


def gramian(rows: Tensor, others: Tensor | None = None) -> Tensor:
    """Inner products `[A, A]` of the rows of `[A, P]`, or `[A, K]` with those of `others`.

    In float64 on the CPU.
    One float32 product over millions of columns is wrong by 2e-3; blocks of columns, summed in
    float64, are right to 2e-7 and no slower.
    """
    others = rows if others is None else others
    total = torch.zeros(len(rows), len(others), dtype=torch.float64, device=rows.device)
    width = torch.float64 if rows.dtype == torch.float64 else torch.float32
    blocks = zip(rows.split(BLOCK, dim=1), others.split(BLOCK, dim=1), strict=True)
    for left, right in blocks:
        total += (left.to(width) @ right.to(width).T).double()
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
    """

    losses: Losses
    tasks: list[int]
    shared: Shared
    features: list[Tensor | None] | None
    call: Differentiate
    reduce: Callable[[Tensor], Tensor]

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

    def weighted(self, weights: Tensor, weight_heads: bool) -> None:
        """Shared parameters get the weighted sum; all others too, or their own gradients.

        One backward, or with unweighted heads and no features one and a second through the heads.
        """
        if self.reduce is identity or not self.shared:
            self._weighted(weights, weight_heads)
            return
        update = self.shared.zeros()
        with self.shared.collecting() as point:
            point(update)
            self._weighted(weights, weight_heads)
        self.shared.add(self.reduce(update), reached=None)

    def _weighted(self, weights: Tensor, weight_heads: bool) -> None:
        if weight_heads or not self.shared or bool((weights == 1).all()):
            self.losses.differentiate(self.tasks, weights, self.call)
        elif (owners := self._owners(weights)) is not None:
            with divided(owners):
                self.losses.differentiate(self.tasks, weights, self.call)
        elif self.features is not None:
            with self.private_unweighted(weights), scaling(self.features, weights) as arrived:
                self.losses.differentiate(self.tasks, self.ones(), self.call)
            self._on_the_way(arrived)
        else:
            mine = set(self.shared.parameters)
            others = [p for p in leaves(self.losses.nodes(self.tasks)) if p not in mine]
            if others:
                self.losses.differentiate(
                    self.tasks, self.ones(), self.call, inputs=others, retain_graph=True
                )
            self.losses.differentiate(self.tasks, weights, self.call, inputs=self.shared.parameters)

    def _owners(self, weights: Tensor) -> dict[Tensor, float] | None:
        """Each parameter that isn't shared, with the weight of the tasks that it belongs to.

        None where a weighted gradient does not give the unweighted one by a division: weights that
        are zero or nearly, parameters of several tasks with different weights.
        """
        if self.features is None or float(weights.min()) <= 1e-3 * float(weights.max()):
            return None
        given = [f for f in self.features if f is not None]
        mine = {*self.shared.parameters, *given}
        edges = [f.grad_fn for f in given]
        if any(p not in mine for p in leaves(edges)):
            return None
        owners: dict[Tensor, float] = {}
        arrived: set[int] = set()
        nodes = self.losses.nodes(self.tasks)
        for i, (node, weight) in enumerate(zip(nodes, weights.tolist(), strict=True)):
            feature = self.features[i]
            own = None if feature is None else feature.grad_fn
            passed: set[Node] = set()
            for p in leaves([node], stop=edges, passed=passed):
                if p is feature:
                    arrived.add(i)
                if p not in mine and owners.setdefault(p, weight) != weight:
                    return None
            if own in passed:
                arrived.add(i)
        self._on_the_way(arrived)
        return owners

    def cotangents(self, heads: bool) -> list[Tensor | None]:
        """The gradient of each loss at its features, from one pass through all heads.

        Args:
            heads: Whether what lies above the features receives its gradient in the same pass.
        """
        assert self.features is not None
        inputs: list[Tensor] = [f for f in self.features if f is not None and f.requires_grad]
        if heads:
            inputs = inputs + self.above()
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
        self._on_the_way({i for i, cotangent in enumerate(found) if cotangent is not None})
        return found

    def _on_the_way(self, arrived: set[int]) -> None:
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

    def above(self) -> list[Tensor]:
        """The parameters between features and losses."""
        assert self.features is not None
        edges = [f.grad_fn for f in self.features if f is not None]
        found = leaves(self.losses.nodes(self.tasks), stop=edges)
        inside = set(self.features)
        found = [leaf for leaf in found if leaf not in inside]
        if not set(found).isdisjoint(self.shared.parameters):
            raise ValueError(
                "A loss reaches a `shared` parameter other than through its entry of `features`. "
                "Make one alias of the shared features per task (`z.view_as(z)`) and compute that "
                "task's loss from its alias alone, or leave `features` out."
            )
        return found

    def jacobian(
        self, cotangents: list[Tensor | None] | None, factor: float, heads: bool
    ) -> Tensor:
        """Gradients `[A, P]` of the losses at the shared parameters, the mean over processes.

        Args:
            cotangents: What `cotangents` gave, or None to start from the losses.
            factor: What `amplification` gave.
            heads: Whether every other parameter that the passes cross accumulates its gradient.
        """
        rows = self.shared.zeros(len(self.tasks))
        only = {} if heads else {"inputs": self.shared.parameters}
        with self.shared.collecting() as point:
            for i, task in enumerate(self.tasks):
                point(rows[i])
                retain = not heads or i + 1 < len(self.tasks)
                if cotangents is None:
                    one = rows.new_ones(1)
                    self.losses.differentiate([task], one, self.call, retain_graph=retain, **only)
                else:
                    self.pull([i], [cotangents[i]], factor, retain_graph=retain, **only)
        return self.reduce(rows)

    def others_weighted(self, weights: Tensor) -> None:
        """Everything that isn't shared gets the weighted sum."""
        mine = set(self.shared.parameters)
        others = [p for p in leaves(self.losses.nodes(self.tasks)) if p not in mine]
        if others:
            self.losses.differentiate(self.tasks, weights, self.call, inputs=others)

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

    def feature_rows(self, cotangents: list[Tensor | None]) -> tuple[Tensor, list[Rows]]:
        """The Gramian `[A, A]` of the gradients at the features, and those gradients.

        Aliases of one tensor are one place. Tasks whose features are different tensors, such as
        those with their own batches, have product zero. Processes hold different examples, so
        their Gramians are averaged.
        """
        assert self.features is not None
        groups: dict[object, list[int]] = {}
        for i, (feature, cotangent) in enumerate(zip(self.features, cotangents, strict=True)):
            if feature is not None and cotangent is not None:
                groups.setdefault(_source(feature), []).append(i)
        total = torch.zeros(len(cotangents), len(cotangents), dtype=torch.float64)
        found: list[Rows] = []
        for members in groups.values():
            rows = torch.stack([c.flatten() for i in members if (c := cotangents[i]) is not None])
            index = torch.tensor(members)
            total[index[:, None], index] = gramian(rows)
            found.append((members, rows))
        device = self.losses.values.device
        return self.reduce(total.to(device)).cpu(), found

    def features_weighted(
        self,
        cotangents: list[Tensor | None],
        groups: list[Rows],
        weights: Tensor,
        factor: float,
        heads: bool,
    ) -> None:
        """One trunk backward with the weighted cotangents, summed over aliases first.

        Args:
            cotangents: What `cotangents` gave.
            groups: What `feature_rows` gave.
            weights: `[A]`.
            factor: What `amplification` gave.
            heads: Whether parameters below the features that aren't shared get their gradient.
        """
        everyone = [members[0] for members, _ in groups]
        scaled: list[Tensor | None] = []
        for members, rows in groups:
            like = cotangents[members[0]]
            assert like is not None
            scaled.append((weights[members].to(rows) @ rows).view_as(like))

        def go() -> None:
            if not heads:
                only = self.shared.parameters
                self.pull(everyone, scaled, factor, inputs=only, retain_graph=True)
                return
            with self.private_unweighted(weights, cotangents, factor):
                self.pull(everyone, scaled, factor)

        if self.reduce is identity:
            go()
            return
        update = self.shared.zeros()
        with self.shared.collecting() as point:
            point(update)
            go()
        self.shared.add(self.reduce(update), reached=None)

    @contextmanager
    def private_unweighted(
        self,
        weights: Tensor,
        cotangents: list[Tensor | None] | None = None,
        factor: float = 1.0,
    ) -> Iterator[None]:
        """Within this context weighted features give unweighted gradients below the shared part.

        A parameter that lies below the features and isn't shared (an encoder of one task's own)
        gets its gradient multiplied by the task's weight, and here divided by it again. Where
        that can't be done (weight 0; several tasks; also used above) it takes one more pass.
        """
        assert self.features is not None
        mine = set(self.shared.parameters)
        nodes = [None if f is None else f.grad_fn for f in self.features]
        below = [p for p in leaves(nodes) if p not in mine]
        if not below:
            yield
            return
        factors: dict[Tensor, set[float]] = {p: set() for p in below}
        for node, weight in zip(nodes, weights.tolist(), strict=True):
            for p in leaves([node]):
                if p not in mine:
                    factors[p].add(weight)
        also_above = set(self.above())
        awkward = {p for p, f in factors.items() if len(f) != 1 or 0.0 in f or p in also_above}
        if awkward:
            first = {"inputs": list(awkward), "retain_graph": True}
            if cotangents is None:
                self.losses.differentiate(self.tasks, self.ones(), self.call, **first)
            else:
                self.pull(range(len(self.tasks)), cotangents, factor, **first)
        handles = [
            p.register_hook(torch.zeros_like if p in awkward else dividing(next(iter(f))))
            for p, f in factors.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _source(feature: Tensor) -> object:
    """What an alias or a copy of a tensor was made of."""
    node = feature.grad_fn
    if node is None:
        return feature
    same = ("ViewBackward0", "AliasBackward0", "CloneBackward0", "ReshapeAliasBackward0")
    return (node.next_functions[0] if node.name() in same else (node, 0), feature.shape)
