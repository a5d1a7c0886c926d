"""What a loss can reach: walks over autograd graphs, and the pieces of a list of losses.

T tasks, P shared parameters (entries).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from polytask.balancing.given import one_dimension, one_per_task, tensors

Differentiate = Callable[..., Any]
STACK = "StackBackward0"
ENTRY_BY_ENTRY = {  # What leaves each loss in its place.
    *("MulBackward0", "DivBackward0", "NegBackward0", "ToCopyBackward0", "CloneBackward0"),
    *("AliasBackward0", "ViewBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0"),
    *("SqueezeBackward0", "SqueezeBackward1"),
}


def leaves(
    roots: Iterable[Node | None],
    stop: Iterable[Node | None] = (),
    entered: dict[Node, list[Node]] | None = None,
) -> list[Tensor]:
    """The tensors that a backward pass from `roots` would accumulate into.

    Args:
        roots: Nodes of the graph, as `tensor.grad_fn` gives them.
        stop: Nodes that are neither entered nor passed. For many calls best a frozenset.
        entered: Filled with the nodes of `stop` that would have been entered, and from where: the
            node of each edge that leads there.
    """
    stopped = stop if isinstance(stop, frozenset) else frozenset(stop)
    seen: set[Any] = {None}
    todo: list[Any] = list(roots)
    found: list[Tensor] = []
    while todo:  # A step walks a thousand nodes with a hundred tasks: few calls for each of them.
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in stopped:
            if entered is not None:
                entered.setdefault(node, [])
        elif (variable := getattr(node, "variable", None)) is not None:
            found.append(variable)
        else:
            below = [n for n, _ in node.next_functions]
            todo += below
            if entered is not None and not stopped.isdisjoint(below):
                for n in below:
                    if n is not None and n in stopped:
                        entered.setdefault(n, []).append(node)
    return found


class Losses:
    """The losses of T tasks, each of which can be differentiated without the others.

    Args:
        losses: A tensor `[T]`, best straight from `torch.stack`, or T scalars; None for a task
            that is not going to be differentiated.
    """

    def __init__(self, losses: Tensor | Sequence[Tensor | None]) -> None:
        self.fork: Node | None  # Where the graph of `whole` parts into those of the tasks.
        self.begins: list[Node | None] | None = None  # Where each task's graph begins, if known.
        if isinstance(losses, Tensor):
            one_dimension(losses)
            self.whole = losses  # [T]
            self.fork = _fork(losses)
            self.parts = [] if self.fork is not None else list(losses.unbind())
        else:
            self.parts = one_per_task(losses)
            self.whole = torch.stack(self.parts)
            self.fork = self.whole.grad_fn
        self.values = self.whole.detach()  # [T]

    @property
    def entwined(self) -> bool:
        """Whether a pass for some tasks goes through the others' computation too, with zeros."""
        return self.whole.grad_fn is not None and self.fork is None

    def nodes(self, tasks: Sequence[int]) -> list[Node | None]:
        """Where the graph of each of these tasks begins; None if a loss has no graph."""
        if self.begins is None:
            forks = [p.grad_fn for p in self.parts]
            self.begins = forks if self.fork is None else [n for n, _ in self.fork.next_functions]
        return [self.begins[t] for t in tasks]

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
        if len(tasks) == len(self.values):
            if self.whole.requires_grad:
                differentiate(self.whole, gradient=weights.to(self.values), **kwargs)
            return
        with_graph = [i for i, node in enumerate(self.nodes(tasks)) if node is not None]
        if not with_graph:
            return
        if len(with_graph) < len(tasks):
            tasks, weights = [tasks[i] for i in with_graph], weights[with_graph]
        if self.parts or self.fork is None:
            total = torch.stack([self.parts[t] for t in tasks])
            differentiate(total, gradient=weights.to(total), **kwargs)
            return
        if differentiate is Tensor.backward and self.fork.name() == STACK == _name(self.whole):
            parts = self.fork.next_functions
            edges = [GradientEdge(node, n) for node, n in (parts[t] for t in tasks) if node]
            torch.autograd.backward(edges, list(weights.to(self.values)), **kwargs)
            return
        gradient = torch.zeros_like(self.values)
        gradient[tasks] = weights.to(gradient)
        with _entering(self.fork, set(tasks)):
            differentiate(self.whole, gradient=gradient, **kwargs)


def _name(tensor: Tensor) -> str:
    return "" if tensor.grad_fn is None else tensor.grad_fn.name()


def _fork(losses: Tensor) -> Node | None:
    """The `torch.stack` or `torch.cat` of T losses behind `[T]`, which may have been scaled since.

    None if there is none: then a gradient for one task flows on to all of them, with zeros.
    """
    node = losses.grad_fn
    while node is not None and node.name() not in (STACK, "CatBackward0"):
        before = [n for n, _ in node.next_functions if n is not None]
        node = before[0] if node.name() in ENTRY_BY_ENTRY and len(before) == 1 else None
    return node if node is not None and len(node.next_functions) == len(losses) else None


@contextmanager
def _entering(fork: Node, tasks: set[int]) -> Iterator[None]:
    """Within this context a backward pass through `fork` goes on to `tasks` only."""

    def keep(inputs: Any, _: Any) -> Any:
        return tuple(g if t in tasks else None for t, g in enumerate(inputs))

    handle = fork.register_hook(keep)
    try:
        yield
    finally:
        handle.remove()


class Shared:
    """The shared parameters, seen as one vector `[P]`, and where their gradients are put.

    Args:
        parameters: They should be of one dtype and on one device. Frozen ones are left out.
        sharded: More of them, of which each process holds a part. They are no part of the vector:
            whoever sharded them takes their gradients as they arrive.

    Attributes:
        parameters: Those of the vector.
        everyone: These and the sharded ones.
        declared: Whether there are any, even if all of them are frozen.
    """

    def __init__(self, parameters: Iterable[Tensor], sharded: Iterable[Tensor] = ()) -> None:
        given = tensors(parameters)
        none = isinstance(sharded, tuple) and not sharded  # The usual case, and a hot path.
        apart = [] if none else tensors(sharded, "`sharded`")
        self.declared = bool(given or apart)
        self.parameters = [p for p in given if p.requires_grad]
        self.everyone = self.parameters
        if apart:
            self.everyone = self.parameters + [p for p in apart if p.requires_grad]
        kinds = {(p.dtype, p.device) for p in self.everyone}
        if len(kinds) > 1:
            raise ValueError(
                f"`shared` parameters should be of one dtype and on one device. Found {kinds}. "
                "For half precision keep them in float32 and run the model under `torch.autocast`."
            )
        self.size = sum(p.numel() for p in self.parameters)  # P

    def __bool__(self) -> bool:
        return bool(self.everyone)

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
        """Add `vector` `[P]` to `.grad`.

        What is not in `reached` (None: all) is left alone, so that an optimizer does not move it,
        unless a gradient did arrive: some functions (`checkpoint` with `use_reentrant=True`) hide
        from the graph what they reach.
        """
        only = None if reached is None else set(reached)
        for p, view in zip(self.parameters, self.views(vector), strict=True):
            if only is not None and p not in only and not bool(view.any()):
                continue
            p.grad = view if p.grad is None else p.grad.add_(view)


def _like(piece: Tensor, parameter: Tensor) -> Tensor:
    """`piece` `[n]` with the shape of `parameter`, and its strides if they leave no gaps."""
    extent = 1 + sum((n - 1) * s for n, s in zip(parameter.shape, parameter.stride(), strict=True))
    if parameter.is_contiguous() or extent != parameter.numel():
        return piece.view(parameter.shape)
    return piece.as_strided(parameter.shape, parameter.stride(), piece.storage_offset())
