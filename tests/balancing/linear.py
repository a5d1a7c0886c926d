"""Networks whose heads are linear layers right above shared features, or nearly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.balancing import backward, factored
from polytask.balancing.heads import Linear
from polytask.balancing.passes import Passes
from polytask.balancing.places import Factored
from tests.balancing import toys
from tests.balancing.toys import flat

Given = partial(toys.Given, at="features")


@contextmanager
def way(keep: bool | None) -> Iterator[list[int]]:
    """Within this context factors are kept, or rows made; None: as it comes.

    Yields:
        How many heads were found linear, each time that factors were kept.
    """
    caught: list[int] = []
    original = factored._caught

    def counted(passes: Passes, linear: dict[int, Linear], *more: Any, **settings: Any) -> Any:
        caught.append(len(linear))
        return original(passes, linear, *more, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factored, "_caught", counted)
        if keep is not None:
            patch.setattr(factored, "_pays", lambda passes, linear: keep)
        yield caught


@contextmanager
def taking() -> Iterator[list[int]]:
    """Yields how many heads learned by a product of their own, each time that some did."""
    taught: list[int] = []
    original = Factored.taught

    def counted(self: Factored, heads: Any) -> Any:
        taught.append(len(heads))
        return original(self, heads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Factored, "taught", counted)
        yield taught


class Net:
    """A trunk, and T linear heads of different sizes."""

    def __init__(
        self, outputs: list[int], biases: list[bool], examples: int, width: int, dtype: torch.dtype
    ) -> None:
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(3, width), nn.Tanh()).to(dtype)
        self.heads = nn.ModuleList(
            nn.Linear(width, k, bias=b) for k, b in zip(outputs, biases, strict=True)
        ).to(dtype)
        self.x = torch.randn(examples, 3, dtype=dtype)
        self.targets = [torch.randn(examples, k, dtype=dtype).softmax(1) for k in outputs]
        self.shared: list[Tensor] = list(self.trunk.parameters())
        self.own: list[Tensor] = list(self.heads.parameters())

    def losses(self) -> tuple[list[Tensor], list[Tensor]]:
        z = self.trunk(self.x)
        aliases = [z.view_as(z) for _ in self.heads]
        losses = [
            F.cross_entropy(head(a), y)
            if y.shape[1] > 1
            else F.binary_cross_entropy_with_logits(head(a), y)
            for head, a, y in zip(self.heads, aliases, self.targets, strict=True)
        ]
        return losses, aliases

    def gradients(self, balancer: Given, keep: bool | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        for p in self.shared + self.own:
            p.grad = None
        losses, aliases = self.losses()
        with way(keep) as caught:
            backward(losses, balancer, self.shared, active=mask, features=aliases)
        assert caught == ([] if keep is False else [int(mask.sum())])
        return flat(self.shared), flat(self.own)


def two_layers(net: "Odd") -> Tensor:
    return net.second(net.first(net.alias).tanh())


def twice(net: "Odd") -> Tensor:
    return net.first(net.alias) + net.first(net.alias)


def beside(net: "Odd") -> Tensor:
    return net.first(net.alias) + net.alias.sum()


def through_relu(net: "Odd") -> Tensor:
    return net.first(net.alias.relu())


def as_right_factor(net: "Odd") -> Tensor:
    return net.first.weight @ net.alias.T


def frozen(net: "Odd") -> Tensor:
    return F.linear(net.alias, net.first.weight.detach(), net.first.bias.detach())


def only_the_bias_learns(net: "Odd") -> Tensor:
    return F.linear(net.alias, net.first.weight.detach(), net.first.bias)


def only_the_weight_learns(net: "Odd") -> Tensor:
    return F.linear(net.alias, net.first.weight, net.first.bias.detach())


def scaled(net: "Odd") -> Tensor:
    return torch.addmm(net.first.bias, net.alias, net.first.weight.T, beta=0.5, alpha=3.0)


def plain_product(net: "Odd") -> Tensor:
    return net.alias @ net.right


def output_read_twice(net: "Odd") -> Tensor:
    output = net.first(net.alias)
    return output * output.detach() + output.exp()


def checkpointed(net: "Odd") -> Tensor:
    from torch.utils.checkpoint import checkpoint

    output: Tensor = checkpoint(net.first, net.alias, use_reentrant=False)
    return output


def watched(net: "Odd") -> Tensor:
    net.alias.register_hook(lambda g: 2 * g)
    return net.first(net.alias)


def others_head(net: "Odd") -> Tensor:
    return net.heads[0](net.alias)


class Odd:
    """Two linear heads, and a third task that does something else with its features."""

    def __init__(self, odd: Callable[["Odd"], Tensor]) -> None:
        torch.manual_seed(1)
        self.odd = odd
        self.trunk = nn.Linear(3, 6).double()
        self.heads = nn.ModuleList(nn.Linear(6, 2) for _ in range(2)).double()
        self.first, self.second = nn.Linear(6, 6).double(), nn.Linear(6, 2).double()
        self.right = nn.Parameter(torch.randn(6, 4).double())
        self.x = torch.randn(9, 3).double()
        self.outputs: list[Tensor] = []

    def losses(self) -> tuple[list[Tensor], list[Tensor]]:
        z = self.trunk(self.x).tanh()
        aliases = [z.view_as(z) for _ in range(3)]
        self.alias = aliases[2]
        losses = [(h(a) - 1).square().mean() for h, a in zip(self.heads, aliases[:2], strict=True)]
        return [*losses, (self.odd(self) - 2).square().mean()], aliases

    def parameters(self) -> list[Tensor]:
        modules = (self.trunk, self.heads, self.first, self.second)
        return [p for m in modules for p in m.parameters()] + [self.right]
