"""Task gradients at shared parameters, where those of large linear layers stay factors.

A active tasks, B examples, P shared parameters (entries). A linear layer that saw X `[B, D]` gets
the gradient `C_t' X` `[K, D]` from task t, where `C_t` `[B, K]` is what arrives at its outputs.

With fewer examples than inputs `C_t` is the smaller one. It stands in the task's row in the place
of the gradient, which is not made: the weighted sum of gradients is one product, of the weighted
sum of the `C_t`, and with `X X' = L L'` inner products of gradients are those of the `L' C_t`.
(Goodfellow 2015 has norms of single examples' gradients from factors; here it is inner products of
tasks, and L keeps the digits that multiplying `X X'` by `C_s` and `C_t` would lose.)
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from polytask.balancing.buffers import kept_buffers
from polytask.balancing.graph import Shared, leaves
from polytask.balancing.passes import BLOCK, Passes, gramian, identity

Catch = Callable[[list[Tensor]], AbstractContextManager[None]]
HALF_BLOCK = 8192  # Columns of one product in bfloat16.
# What the ways cost, in multiplications: an entry of a row that is written, added and read again; a
# multiplication for the root, in float64; a layer in each pass and in a step, whatever its size.
# From steps with 2 to 20 tasks and layers of 64 to 4,096 inputs, on one thread.
TRAFFIC, DOUBLE, PASS, STEP = 50, 6, 1_000_000, 10_000_000
PRODUCTS = {  # Of a linear layer: which edge leads to its weight, and what holds its input.
    "AddmmBackward0": (2, "_saved_mat1"),
    "MmBackward0": (1, "_saved_self"),
}


@dataclass
class Layer:
    """A linear layer whose weight is used here alone.

    Attributes:
        node: Where the gradient of its outputs arrives.
        weight: The parameter.
        seen: X, `[B, D]`.
        outputs: K.
        transposed: Whether the weight is `[K, D]`, as that of `nn.Linear`, and not `[D, K]`.
        bias: Its bias `[K]`, if that is left out as well: the weights of an input that is 1.
    """

    node: Node
    weight: Tensor
    seen: Tensor
    outputs: int
    transposed: bool
    bias: Tensor | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """What gets its gradient from the factors."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def products(self, factors: Tensor) -> Tensor:
        """Inner products `[A, A]` of its gradients, from factors `[A, B, K]`."""
        if factors.dtype == torch.bfloat16:
            turn = self.turn()
            return half_products(torch.stack([turn @ factor for factor in factors]))
        # In float16, which reaches 65,504, products of scaled losses' factors would overflow.
        kind = torch.promote_types(factors.dtype, torch.float32)
        root = _root(self.seen, self.bias is not None).to(kind)
        total = torch.zeros(len(factors), len(factors), dtype=torch.float64)
        step = max(BLOCK // self.outputs, 32)
        for first in range(0, len(root), step):
            part = root[first:, first : first + step].T  # Rows of L'; they begin with zeros.
            total += gramian(torch.matmul(part, factors[:, first:].to(kind)).flatten(1))
        return total

    def turn(self) -> Tensor:
        """`L'` `[B, B]`, in the precision of X."""
        return _root(self.seen, self.bias is not None).to(self.seen).T.contiguous()

    def gradients(self, factor: Tensor) -> list[Tensor]:
        """Those of `parameters`, from a factor `[B, K]`."""
        seen = self.seen.to(factor)
        of_weight = factor.T @ seen if self.transposed else seen.T @ factor
        return [of_weight] if self.bias is None else [of_weight, factor.sum(0)]


def half_products(turned: Tensor) -> Tensor:
    """Inner products of the `L' C_t`, `[A, B, K]` in bfloat16, summed in float64.

    Units of bfloat16 add up in float32. Each block's sum is rounded to bfloat16 at its end, which
    blocks even out: no more is lost than gradients in bfloat16 have lost themselves.
    """
    blocks = turned.flatten(1).split(HALF_BLOCK, 1)
    return torch.stack([block @ block.T for block in blocks]).double().sum(0).cpu()


def _root(seen: Tensor, ones: bool = False) -> Tensor:
    """L `[B, B]` with `L L' = X X'`, in float64; NaN if X is not finite.

    Args:
        seen: X, `[B, D]`.
        ones: Whether X has one more column, of ones.
    """
    wide = seen.double()
    products = wide @ wide.T
    if ones:
        products += 1
    # Rows that depend on each other leave pivots of rounding; what this adds is below what
    # float32 rounds off the inner products themselves.
    most = products.diagonal().mean()
    root: Tensor
    root, info = torch.linalg.cholesky_ex(
        products + (1e-13 * most).clamp_min(1e-300) * torch.eye(len(products)).to(products)
    )
    if not bool(info):
        return root
    if not bool(products.isfinite().all()):
        return torch.full_like(products, torch.nan)
    values, vectors = torch.linalg.eigh(products)
    root = torch.linalg.qr((vectors * values.clamp_min(0).sqrt()).T, mode="r").R.T.contiguous()
    return root


class Gradients:
    """Gradients of A tasks at the shared parameters.

    Args:
        plain: The parameters whose gradients stand in the rows.
        rows: `[A, plain.size]`.
        layers: Those whose factors do not.
        factors: `[A, B, K]` for each of them.
        turned: Whether factors are the `L' C_t`, where they are bfloat16: they give products only.
    """

    def __init__(
        self,
        plain: Shared,
        rows: Tensor,
        layers: Sequence[Layer] = (),
        factors: Sequence[Tensor] = (),
        turned: bool = False,
    ) -> None:
        self.plain, self.rows, self.turned = plain, rows, turned
        self.layers = list(zip(layers, factors, strict=True))

    def products(self) -> Tensor:
        """Their Gramian `[A, A]`, in float64 on the CPU."""
        total = gramian(self.rows)
        for layer, factors in self.layers:
            done = self.turned and factors.dtype == torch.bfloat16
            total += half_products(factors) if done else layer.products(factors)
        return total

    def add(self, weights: Tensor, reached: Sequence[Tensor] | None) -> None:
        """Add their weighted sum to `.grad`; what is not in `reached` is left alone."""
        weights = weights.to(self.rows)
        self.plain.add(weights @ self.rows, reached)
        for layer, factors in self.layers:
            gradients = layer.gradients(_combined(weights, factors))
            for p, gradient in zip(layer.parameters, gradients, strict=True):
                p.grad = gradient if p.grad is None else p.grad.add_(gradient)


def _combined(weights: Tensor, factors: Tensor) -> Tensor:
    """The weighted sum `[B, K]`, in the precision of the weights."""
    if factors.dtype == weights.dtype:
        return (weights @ factors.flatten(1)).view(factors.shape[1:])
    parts = factors.split(max(1, BLOCK // factors.shape[2]), 1)
    return torch.cat([torch.tensordot(weights, part.to(weights), 1) for part in parts])


def gradients_at_parameters(
    owner: object,
    passes: Passes,
    cotangents: list[Tensor | None] | None,
    factor: float,
    heads: bool,
    *,
    measured: bool = False,
) -> Gradients:
    """The gradients of the losses at the shared parameters, from one pass per task.

    Args:
        owner: For whom memory is kept from step to step.
        passes: The step's.
        cotangents: What `Passes.cotangents` gave, or None to start from the losses.
        factor: What `Passes.amplification` gave.
        heads: Whether every other parameter that the passes cross accumulates its gradient.
        measured: Whether their products are all that is wanted.
    """
    below = cotangents is not None
    layers = _layers(passes, below)
    factored = {p for layer in layers for p in layer.parameters}
    plain = Shared(p for p in passes.shared.parameters if p not in factored)
    count, like = len(passes.tasks), plain.parameters[0]
    kinds = [(x.seen.dtype, (count, len(x.seen), x.outputs)) for x in layers]
    rows, *factors = kept_buffers(owner, like.device, (like.dtype, (count, plain.size)), *kinds)
    if not layers:
        return Gradients(plain, passes.jacobian(cotangents, factor, heads, into=rows))
    inputs = plain.parameters
    if heads:
        inputs = [p for p in leaves(_roots(passes, below)) if p not in factored]
    half = [measured and layer.seen.dtype == torch.bfloat16 for layer in layers]
    turns = [x.turn() if y else None for x, y in zip(layers, half, strict=True)]
    with plain.collecting() as point, _catching(layers, turns) as catch:
        for i in range(count):
            point(rows[i].zero_())
            with catch([piece[i] for piece in factors]):
                retain = not heads or i + 1 < count
                passes.alone(i, cotangents, factor, inputs=inputs, retain_graph=retain)
    return Gradients(plain, rows, layers, factors, turned=measured)


@contextmanager
def _catching(layers: Sequence[Layer], turns: Sequence[Tensor | None]) -> Iterator[Catch]:
    """Within this context the gradients at the layers' outputs are kept, turned where asked to.

    Yields:
        `catch(places)`, a context in which they go to these places, `[B, K]` for each layer: zeros
        if none arrives.
    """
    places: list[Tensor] = []
    missing: set[int] = set()

    def keeping(n: int) -> Callable[[tuple[Tensor | None, ...]], None]:
        def hook(gradients: tuple[Tensor | None, ...]) -> None:
            if gradients[0] is not None:
                turn = turns[n]
                if turn is None:
                    places[n].copy_(gradients[0])
                else:
                    torch.mm(turn, gradients[0].to(turn), out=places[n])
                missing.discard(n)

        return hook

    @contextmanager
    def catch(wanted: list[Tensor]) -> Iterator[None]:
        places[:] = wanted
        missing.update(range(len(wanted)))
        yield
        for n in missing:
            places[n].zero_()
        missing.clear()

    with ExitStack() as stack:
        for n, layer in enumerate(layers):
            stack.callback(layer.node.register_prehook(keeping(n)).remove)
        yield catch


def _roots(passes: Passes, below: bool) -> list[Node | None]:
    """Where the passes begin: at the features, or at the losses."""
    if below:
        assert passes.features is not None
        return [None if f is None else f.grad_fn for f in passes.features]
    return passes.losses.nodes(passes.tasks)


def _layers(passes: Passes, below: bool) -> list[Layer]:
    """The linear layers whose factors take the place of their gradients."""
    count = len(passes.tasks)
    if count < 2 or passes.reduce is not identity:  # Means over processes have no such factors.
        return []
    if passes.at_once > 1 and below:  # Nor do passes of several tasks.
        return []
    entered = _graph(_roots(passes, below))
    if entered is None:
        return []
    mine = set(passes.shared.parameters)
    each = (_layer(node, entered, mine, count) for node in entered)
    found = [layer for layer in each if layer is not None]
    # A pass goes only as far as it is asked to: something that is asked for must lie below, if
    # nothing else does, the layer's own bias.
    rest = mine.difference(p for layer in found for p in layer.parameters)
    for layer in reversed(found):
        if layer.bias is not None and not _leads_to(rest, layer):
            rest.add(layer.bias)
            layer.bias = None
    return [layer for layer in found if _leads_to(rest, layer)]


def _graph(roots: Sequence[Node | None]) -> Counter[Node] | None:
    """By how many edges each node below is entered.

    None if there are functions of Python's among them: what they differentiate on their own, as
    `checkpoint` with `use_reentrant=True` does, only a pass that asks for everything reaches.
    """
    todo = list(dict.fromkeys(root for root in roots if root is not None))
    entered = Counter(todo)
    while todo:
        node = todo.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return None
        for below, _ in node.next_functions:
            if below is None:
                continue
            if below not in entered:
                todo.append(below)
            entered[below] += 1
    return entered


def _layer(node: Node, entered: Counter[Node], shared: set[Tensor], count: int) -> Layer | None:
    """The linear layer at this node, if it is one and factors cost less for so many tasks."""
    if node.name() not in PRODUCTS:
        return None
    slot, name = PRODUCTS[node.name()]
    below, transposed = node.next_functions[slot][0], False
    while below is not None and below.name() in ("TBackward0", "ToCopyBackward0"):
        if entered[below] != 1:
            return None
        transposed ^= below.name() == "TBackward0"
        below = below.next_functions[0][0]
    weight = getattr(below, "variable", None)
    if below is None or weight not in shared or entered[below] != 1:
        return None
    if weight._backward_hooks or weight._post_accumulate_grad_hooks:
        return None
    saved: Any = node
    if getattr(saved, "_saved_alpha", 1) != 1:
        return None
    outputs = weight.shape[0 if transposed else 1]
    examples, inputs = getattr(saved, f"{name}_sym_sizes")
    if not _pays(examples, inputs, outputs, count):
        return None
    seen = getattr(saved, name).detach()
    return Layer(node, weight, seen, outputs, transposed, _bias(node, entered, shared, outputs))


def _bias(node: Node, entered: Counter[Node], shared: set[Tensor], outputs: int) -> Tensor | None:
    """The bias `[K]` of this linear layer, if it is a shared parameter used here alone."""
    saved: Any = node
    if node.name() != "AddmmBackward0" or saved._saved_beta != 1:
        return None
    below = node.next_functions[0][0]
    if below is not None and below.name() == "ToCopyBackward0" and entered[below] == 1:
        below = below.next_functions[0][0]
    bias: Tensor | None = getattr(below, "variable", None)
    if below is None or bias is None or bias not in shared or entered[below] != 1:
        return None
    if bias.shape != (outputs,) or bias._backward_hooks or bias._post_accumulate_grad_hooks:
        return None
    return bias


def _pays(examples: int, inputs: int, outputs: int, count: int) -> bool:
    """Whether factors of a layer cost less than its gradients, in time and in memory."""
    if 2 * examples > inputs:
        return False
    each = examples * (inputs - examples) + (count + TRAFFIC) * (inputs - examples)
    root = DOUBLE * examples**2 * (inputs + examples)
    return count * (outputs * each - PASS) > root + examples * inputs * outputs + STEP


def _leads_to(wanted: set[Tensor], layer: Layer) -> bool:
    """Whether one of these lies below the layer: its bias, or what its input came from."""
    slot, _ = PRODUCTS[layer.node.name()]
    others = [n for j, (n, _) in enumerate(layer.node.next_functions) if j != slot]
    return not wanted.isdisjoint(leaves(others))
