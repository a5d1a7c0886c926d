"""Many linear heads of one shape, computed together.

T tasks, B examples, D features, K outputs of each head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node


class StackedHeads(nn.Module):
    """T linear heads of one shape as one product, with each task's own gradient at the features.

    A head is too small a product to keep a processor busy: a hundred of them cost three times what
    they cost in one. Forward and the weights' gradient are one product each, the gradients at the
    features one per task, or none where `backward` leaves them as factors. Apply the loss to all
    tasks at once as well:

        aliases = [z.view_as(z) for _ in range(T)]
        logits = heads(aliases)  # [B, T, K]
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        backward(losses.view(B, T).mean(0), balancer, trunk.parameters(), features=aliases)

    The heads start like as many `nn.Linear`. All tasks have one graph here: losses of inactive ones
    must be finite, and a step with some takes `heads(z)` and no `features=`.

    Args:
        num_tasks: T.
        in_features: D.
        out_features: K.
    """

    def __init__(self, num_tasks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        reach = in_features**-0.5
        size = num_tasks, out_features
        self.weight = nn.Parameter(torch.empty(*size, in_features).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(*size).uniform_(-reach, reach))

    def forward(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """Outputs `[B, T, K]`.

        Args:
            features: `[B, D]`, or T aliases of it (`z.view_as(z)`), which then receive each
                task's gradient apart.
        """
        if isinstance(features, Tensor):
            return _outputs(self.weight, self.bias, features)
        if len(features) != len(self.weight):
            raise ValueError(
                f"`features` should have one alias per head ({len(self.weight)}). "
                f"Found {len(features)}."
            )
        if any(f.data_ptr() != features[0].data_ptr() for f in features):
            raise ValueError("`features` should be aliases of one tensor, `z.view_as(z)`.")
        outputs: Tensor = _Stacked.apply(self.weight, self.bias, *features)
        return outputs


def _outputs(weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
    """`[B, T, K]` in one product."""
    flat = nn.functional.linear(features, weight.flatten(0, 1))
    return flat.view(len(features), *bias.shape) + bias


class _Stacked(torch.autograd.Function):
    """Outputs `[B, T, K]` of all heads, from T aliases of `[B, D]`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, *aliases: Tensor) -> Tensor:
        ctx.save_for_backward(weight, aliases[0])
        ctx.apart = True  # False while somebody takes gradients at the features as factors.
        return _outputs(weight, bias, aliases[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, features = ctx.saved_tensors
        for_weight, for_bias, *for_aliases = ctx.needs_input_grad
        flat = gradient.flatten(1)  # [B, T K]
        own = (flat.T @ features.to(flat)).view_as(weight) if for_weight else None
        bias = gradient.sum(0) if for_bias else None
        if not ctx.apart:
            return own, bias, *(None for _ in for_aliases)
        pairs = zip(gradient.unbind(1), weight, for_aliases, strict=True)
        # Not one batched product: small results come from memory that has been used before.
        return own, bias, *(part @ rows if wanted else None for part, rows, wanted in pairs)


@contextmanager
def stopped(node: Node) -> Iterator[None]:
    """Within this context a backward pass through `StackedHeads` makes no gradient of features."""
    function: Any = node
    function.apart = False
    try:
        yield
    finally:
        function.apart = True


def heads_at(node: Node) -> dict[object, tuple[int, Tensor]] | None:
    """Number and weight `[K, D]` of each of the `StackedHeads`, by the edge to its features.

    None for another node; none where no weight learns, so that no pass comes by.
    """
    if not isinstance(node, BACKWARD):
        return None
    function: Any = node
    for_weight, for_bias, *edges = function.next_functions
    if for_weight[0] is None and for_bias[0] is None:
        return {}
    weight = function.saved_tensors[0].detach()
    return dict(zip(edges, enumerate(weight), strict=True))


BACKWARD: Any = _Stacked._backward_cls
