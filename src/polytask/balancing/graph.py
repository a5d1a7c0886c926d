"""What a loss can reach: walks over autograd graphs, and the pieces of a list of losses.

T tasks, P shared parameters (entries).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

Differentiate = Callable[..., Any]


def leaves(
    roots: Iterable[Node | None],
    stop: Iterable[Node | None] = (),
    passed: set[Node] | None = None,
) -> list[Tensor]:
    """The tensors that a backward pass from `roots` would accumulate into.

    Args:
        roots: Nodes of the graph, as `tensor.grad_fn` gives them.
        stop: Nodes that are neither entered nor passed.
        passed: Filled with the nodes of `stop` that would have been entered.
    """
    stopped = {node for node in stop if node is not None}
    seen: set[Node] = set()
    todo = [node for node in roots if node is not None]
    found: list[Tensor] = []
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in stopped:
            if passed is not None:
                passed.add(node)
            continue
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        else:
            todo.extend(n for n, _ in node.next_functions if n is not None)
    return found


class Losses:
    """The losses of T tasks, each of which can be differentiated without the others.

    Args:
        losses: A tensor `[T]`, best straight from `torch.stack`, or T scalars.
    """

    def __init__(self, losses: Tensor | Sequence[Tensor]) -> None:
        if isinstance(losses, Tensor):
            if losses.ndim != 1:
                raise ValueError(f"`losses` should have shape [T]. Found {tuple(losses.shape)}.")
            self.values = losses.detach()  # [T]
            node = losses.grad_fn
            self.stack = losses if node is not None and node.name() == "StackBackward0" else None
            self.parts = [] if self.stack is not None else list(losses.unbind())
        else:
            self.stack = None
            self.parts = [part.reshape(()) for part in losses]
            if not self.parts:
                raise ValueError("`losses` is empty. Pass one loss per task.")
            self.values = torch.stack([part.detach() for part in self.parts])  # [T]

    def nodes(self, tasks: Sequence[int]) -> list[Node | None]:
        """Where the graph of each of these tasks begins; None if a loss has no graph."""
        if self.stack is not None and self.stack.grad_fn is not None:
            heads = self.stack.grad_fn.next_functions
            return [heads[t][0] for t in tasks]
        return [self.parts[t].grad_fn for t in tasks]

    def differentiate(
        self, tasks: Sequence[int], weights: Tensor, differentiate: Differentiate, **kwargs: Any
    ) -> None:
        """Accumulate `sum_t weights[t] dL_t`; the graphs of other tasks are not entered.

        Args:
            tasks: A task numbers.
            weights: `[A]`.
            differentiate: Called as `differentiate(tensor, gradient=..., **kwargs)`.
            **kwargs: `inputs` and `retain_graph`, as `Tensor.backward` takes them.
        """
        with_graph = [i for i, node in enumerate(self.nodes(tasks)) if node is not None]
        if not with_graph:
            return
        tasks, weights = [tasks[i] for i in with_graph], weights[with_graph]
        if self.stack is None:
            total = torch.stack([self.parts[t] for t in tasks])
            differentiate(total, gradient=weights.to(total), **kwargs)
            return
        if differentiate is Tensor.backward:
            assert self.stack.grad_fn is not None
            parts = self.stack.grad_fn.next_functions
            edges = [GradientEdge(node, n) for node, n in (parts[t] for t in tasks) if node]
            torch.autograd.backward(edges, list(weights.to(self.values)), **kwargs)
            return
        gradient = torch.zeros_like(self.values)
        gradient[tasks] = weights.to(gradient)
        with _entering(self.stack.grad_fn, set(tasks)):
            differentiate(self.stack, gradient=gradient, **kwargs)


@contextmanager
def _entering(stack: Node | None, tasks: set[int]) -> Iterator[None]:
    """Within this context a backward pass through `stack` goes on to `tasks` only."""

    def keep(inputs: Any, _: Any) -> Any:
        return tuple(g if t in tasks else None for t, g in enumerate(inputs))

    assert stack is not None
    handle = stack.register_hook(keep)
    try:
        yield
    finally:
        handle.remove()


class Shared:
    """The shared parameters, seen as one vector `[P]`, and where their gradients are put.

    Args:
        parameters: They should be of one dtype and on one device. Frozen ones are left out.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(
                f"`shared` parameters should be of one dtype and on one device. Found {kinds}."
            )
        self.size = sum(p.numel() for p in self.parameters)  # P

    def __bool__(self) -> bool:
        return bool(self.parameters)

    def zeros(self, *rows: int) -> Tensor:
        """Zeros `[*rows, P]` of the parameters' dtype and device."""
        p = self.parameters[0]
        return torch.zeros(*rows, self.size, dtype=p.dtype, device=p.device)

    def divided(self, groups: int) -> list["Shared"]:
        """Consecutive parameters in so many groups, of about equal size; each has at least one."""
        found: list[list[Tensor]] = [[]]
        taken = 0
        for p in self.parameters:
            if found[-1] and taken + p.numel() / 2 > self.size * len(found) / groups:
                found.append([])
            found[-1].append(p)
            taken += p.numel()
        return [Shared(group) for group in found]

    def views(self, vector: Tensor) -> list[Tensor]:
        """The entries of `vector` `[P]`, shaped and laid out in memory like each parameter."""
        pieces = vector.split([p.numel() for p in self.parameters])
        return [_like(piece, p) for piece, p in zip(pieces, self.parameters, strict=True)]

    @contextmanager
    def collecting(self) -> Iterator[Callable[[Tensor | None], None]]:
        """Within this context `.grad` may be pointed elsewhere; afterwards it is as before.

        Yields:
            `point(vector)`, after which gradients accumulate in `vector` `[P]`.
        """
        before = [p.grad for p in self.parameters]

        def point(vector: Tensor | None) -> None:
            views = [None] * len(before) if vector is None else self.views(vector)
            for p, view in zip(self.parameters, views, strict=True):
                p.grad = view

        try:
            yield point
        finally:
            for p, grad in zip(self.parameters, before, strict=True):
                p.grad = grad

    def add(self, vector: Tensor, reached: Iterable[Tensor] | None) -> None:
        """Add `vector` `[P]` to `.grad`; what is not in `reached` (None: all) is left alone."""
        only = None if reached is None else set(reached)
        for p, view in zip(self.parameters, self.views(vector), strict=True):
            if only is not None and p not in only:
                continue
            p.grad = view if p.grad is None else p.grad.add_(view)


def _like(piece: Tensor, parameter: Tensor) -> Tensor:
    """`piece` `[n]` with the shape of `parameter`, and its strides if they leave no gaps."""
    extent = 1 + sum((n - 1) * s for n, s in zip(parameter.shape, parameter.stride(), strict=True))
    if parameter.is_contiguous() or extent != parameter.numel():
        return piece.view(parameter.shape)
    return piece.as_strided(parameter.shape, parameter.stride(), piece.storage_offset())
