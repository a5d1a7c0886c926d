"""Gradients of several tasks at one tensor of features, and what is made of them.

A active tasks of one place, B examples, D features, K_t outputs of task t's head, S = sum of K_t.

A linear head sends the gradient `C_t W_t` to the features: `C_t` `[B, K_t]` is what arrives at its
outputs, `W_t` `[K_t, D]` its weights. Inner products of such gradients are sums over blocks of
`(C^T C) * (W W^T)`, and a weighted sum is one product, so the gradients `[A, B D]` themselves need
not be made.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from polytask.balancing.few import Array
from polytask.balancing.heads import Learned
from polytask.balancing.passes import gramian

# Single outputs' gradients, squared and summed, over the square of their sum. Where they cancel,
# products of factors lose what rows keep: at 10 they are wrong by 3e-6, at 100 by 3e-5.
CANCELLATION = 10.0
OUTPUTS = 128  # Of one block of products: symmetric ones are computed on and above the diagonal.


class Place(Protocol):
    """Gradients of A tasks at one tensor of features."""

    members: list[int]

    def products(self) -> Tensor:
        """Their Gramian `[A, A]`, in float64 on the CPU."""

    def combined(self, weights: Tensor) -> Tensor:
        """Their weighted sum, in the shape of the features."""

    def each(self) -> list[Tensor]:
        """They themselves, in the shape of the features."""


class Rows:
    """Gradients as they are."""

    def __init__(self, members: list[int], gradients: list[Tensor]) -> None:
        self.members, self.gradients = members, gradients
        self.rows = torch.stack([g.flatten() for g in gradients])  # [A, B D]

    def products(self) -> Tensor:
        return gramian(self.rows)

    def combined(self, weights: Tensor) -> Tensor:
        return (weights.to(self.rows) @ self.rows).view_as(self.gradients[0])

    def each(self) -> list[Tensor]:
        return self.gradients


class Factored:
    """Gradients `C_t W_t`.

    Args:
        members: The tasks, as in `Place`.
        left: `C_t`, `[B, K_t]`; together `[B, S]`.
        right: `W_t`, `[K_t, D]`; together `[S, D]`.
    """

    def __init__(self, members: list[int], left: list[Tensor], right: list[Tensor]) -> None:
        self.members = members
        self.widths = [len(w) for w in right]
        self.dtype = right[0].dtype
        kind = torch.promote_types(self.dtype, torch.float32)
        with torch.no_grad():  # Weights may be parameters.
            self.left, self.right = torch.cat(left, 1).to(kind), torch.cat(right).to(kind)
        self.owner: Tensor | None = None  # [S], the task of each output; None if all K are one.
        if len({*self.widths}) > 1:
            owner = [t for t, k in enumerate(self.widths) for _ in range(k)]
            self.owner = torch.tensor(owner, device=self.left.device)

    def products(self) -> Tensor:
        few = self.left.device.type == "cpu" and len(self.right) <= OUTPUTS
        with np.errstate(over="ignore", invalid="ignore"):  # The rows say what isn't finite.
            found, single = self._products_of_few() if few else self._products()
            whole = found.diagonal()
            # No two products are larger than their squares, which tell whether all are finite.
            if np.isfinite(whole).all() and (single <= CANCELLATION * whole).all():
                return torch.from_numpy(found)
        return gramian(torch.stack([g.flatten() for g in self._gradients()]))

    def _products_of_few(self) -> tuple[Array, Array]:
        """What `_products` gives, by few calls, and NumPy's (see `few`)."""
        starts = [0, *accumulate(self.widths[:-1])]
        products = self.left.T @ self.left
        products *= self.right @ self.right.T
        plain = products.numpy()
        found = np.add.reduceat(np.add.reduceat(plain, starts, 0), starts, 1).astype(np.float64)
        return (found + found.T) / 2, np.add.reduceat(plain.diagonal(), starts)

    def _products(self) -> tuple[Array, Array]:
        """`[A, A]`, summed over each two tasks' outputs, and `[A]`, over each output's square."""
        count = len(self.members)
        half = self.left.new_zeros(count, count, dtype=torch.float64)
        single = half.new_zeros(count)
        ends = [0, *accumulate(self.widths)]
        first = 0
        while first < count:
            last = first + 1
            while last < count and ends[last + 1] - ends[first] <= OUTPUTS:
                last += 1
            here, onward = slice(ends[first], ends[last]), slice(ends[first], None)
            products = self.left[:, here].T @ self.left[:, onward]
            products *= self.right[here] @ self.right[onward].T
            part = self._per_task(products, first, last).double()
            half[first:last, first:] = self._per_task(part.T, first, count).T
            single[first:last] = self._per_task(products.diagonal(), first, last)
            first = last
        return (half.triu() + half.triu(1).T).cpu().numpy(), single.cpu().numpy()

    def _per_task(self, values: Tensor, first: int, last: int) -> Tensor:
        """Entries summed over the outputs of each of the tasks from `first` to before `last`."""
        if self.owner is None:
            return values.reshape(last - first, self.widths[0], *values.shape[1:]).sum(1)
        ends = [0, *accumulate(self.widths)]
        owner = self.owner[ends[first] : ends[last]] - first
        if values.device.type == "cpu":
            room = values.new_zeros(last - first, *values.shape[1:])
            return room.index_add_(0, owner, values)
        # Elsewhere the same sums may come out in another order each time.
        return torch.nn.functional.one_hot(owner, last - first).T.to(values) @ values

    def combined(self, weights: Tensor) -> Tensor:
        weights = weights.to(self.left)
        owner = self.owner
        every = weights.repeat_interleave(self.widths[0]) if owner is None else weights[owner]
        return ((self.left * every) @ self.right).to(self.dtype)

    def each(self) -> list[Tensor]:
        return [g.to(self.dtype) for g in self._gradients()]

    def taught(self, heads: Sequence[Learned | None]) -> tuple[list[Tensor], list[Tensor]]:
        """What the heads learn, and its own gradients: of weights `C_t^T Z`, of features `Z`."""
        features = next(head.features for head in heads if head is not None)  # [B, D]
        weights = (self.left.T @ features.detach()).split(self.widths)
        biases = self.left.sum(0).split(self.widths)
        parameters: list[Tensor] = []
        gradients: list[Tensor] = []
        for head, weight, bias in zip(heads, weights, biases, strict=True):
            assert head is not None
            parameters.append(head.weight)
            gradients.append(weight)
            if head.bias is not None:
                parameters.append(head.bias)
                gradients.append(bias)
        return parameters, gradients

    def _gradients(self) -> Iterator[Tensor]:
        pairs = zip(self.left.split(self.widths, 1), self.right.split(self.widths), strict=True)
        return (left @ right for left, right in pairs)
