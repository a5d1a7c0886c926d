"""Gradients at features that stay factored are those that are made."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polytask.balancing import (
    BALANCERS,
    ConstantWeights,
    StackedHeads,
    backward,
    factored,
)
from polytask.balancing.factored import Factored, Linear
from polytask.balancing.passes import Passes, gramian
from polytask.tasks import Multiclass
from polytask.types import Features
from tests.balancing import toys
from tests.balancing.toys import Toy, flat

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


def relative(found: Tensor, expected: Tensor) -> float:
    """The greatest error of a Gramian, relative to the lengths of the two gradients."""
    lengths = expected.diagonal().sqrt().clamp(min=1e-30)
    return float(((found - expected).abs() / (lengths[:, None] * lengths)).max())


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


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_factors_give_what_rows_and_plain_autograd_give(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    outputs = data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    if data.draw(st.booleans()):
        outputs[0] = 150  # More than one block of products.
    biases = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    active = data.draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.3, 2.0]), min_size=count, max_size=count))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    examples, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    net, balancer = Net(outputs, biases, examples, width, dtype), Given(weights)
    mask = torch.tensor(active)
    shared, own = net.gradients(balancer, True, mask)
    seen = balancer.seen
    close: dict[str, float] = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {}

    made_shared, made_own = net.gradients(balancer, False, mask)
    assert relative(seen, balancer.seen) < (1e-5 if dtype == torch.float32 else 1e-12)
    torch.testing.assert_close(shared, made_shared, **close)
    torch.testing.assert_close(own, made_own, **close)

    exact = Net(outputs, biases, examples, width, dtype)
    exact.trunk, exact.heads = net.trunk.double(), net.heads.double()
    exact.x, exact.targets = net.x.double(), [y.double() for y in net.targets]
    losses, aliases = exact.losses()
    tasks = [t for t in range(count) if active[t]]
    rows = torch.stack(
        [torch.autograd.grad(losses[t], aliases[t], retain_graph=True)[0].flatten() for t in tasks]
    )
    if dtype == torch.float64:  # In float32 a loss near its least has few right digits of its own.
        assert relative(seen, rows @ rows.T) < 1e-12
    mixed = sum(weights[t] * losses[t] for t in tasks)
    if isinstance(mixed, Tensor):
        found = torch.autograd.grad(mixed, list(exact.trunk.parameters()), retain_graph=True)
        expected = torch.cat([g.flatten() for g in found])
        torch.testing.assert_close(shared.double(), expected, **close)


@pytest.mark.parametrize("common", [0.0, 1.0, 2.5, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("outputs", [2, 10, 200])
def test_what_cancels_is_right_too(outputs: int, common: float) -> None:
    """Gradients of a softmax sum to zero, so a common part of the weights is as if it weren't."""
    torch.manual_seed(0)
    right = [(torch.randn(outputs, 64) + common * torch.randn(64)) / 8 for _ in range(4)]
    left = []
    for _ in right:
        drawn = torch.randn(50, outputs)
        left.append(drawn.softmax(1) - F.one_hot(drawn.argmin(1), outputs))
    exact = torch.stack(
        [(c.double() @ w.double()).flatten() for c, w in zip(left, right, strict=True)]
    )
    found = Factored([0, 1, 2, 3], left, right)
    assert relative(found.products(), exact @ exact.T) < 1e-5
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0])
    expected = (weights.double() @ exact).float().view(50, 64)
    error = (found.combined(weights) - expected).norm() / expected.norm()
    assert error < 1e-6 * (1 + common)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("outputs", [2, 100])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e30])
def test_what_is_not_finite_is_said_of_its_task(value: float, outputs: int) -> None:
    torch.manual_seed(0)
    left = [torch.randn(3, outputs) for _ in range(3)]
    right = [torch.randn(outputs, 4) for _ in range(3)]
    left[1][0, 0] = value
    rows = torch.stack([(c @ w).flatten() for c, w in zip(left, right, strict=True)])
    found = Factored([0, 1, 2], left, right).products()
    assert torch.equal(found.isfinite(), gramian(rows).isfinite())


class Refuses(torch.autograd.Function):
    """Has no gradient for its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        return None


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


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        (two_layers, True),
        (twice, False),
        (beside, False),
        (through_relu, False),
        (as_right_factor, False),
        (frozen, False),
        (watched, False),
        (only_the_bias_learns, True),
        (only_the_weight_learns, True),
        (scaled, True),
        (plain_product, True),
        (output_read_twice, True),
        (checkpointed, True),
        (others_head, True),
    ],
)
def test_what_is_no_linear_head_makes_rows(odd: Callable[[Odd], Tensor], kept: bool) -> None:
    net = Odd(odd)
    found = []
    for keep in (None, False):
        for p in net.parameters():
            p.grad = None
        losses, aliases = net.losses()
        balancer = Given([0.5, 2.0, 0.25])
        with way(keep) as caught:
            backward(losses, balancer, net.trunk.parameters(), features=aliases)
        assert caught == ([3] if kept and keep is None else [])
        found.append([balancer.seen, flat(net.parameters())])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        *((odd, 3) for odd in (two_layers, only_the_weight_learns, scaled, plain_product)),
        *((odd, 3) for odd in (output_read_twice, checkpointed, others_head)),
        *((odd, 0) for odd in (twice, beside, through_relu, as_right_factor, frozen, watched)),
        (lambda net: plain_product(net) + net.trunk.weight.sum(), 0),  # Shared, but not a feature.
    ],
)
def test_weights_of_losses_reach_the_trunk_by_factors(
    odd: Callable[[Odd], Tensor], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where features are many, and for tasks with labels alone."""
    net = Odd(odd)
    monkeypatch.setattr(factored, "SEVERAL", 99)
    for active in ([True, True, True], [True, False, True]):
        found = []
        for worth in (0, 1 << 60):
            monkeypatch.setattr(factored, "WORTH", worth)
            monkeypatch.setattr(factored, "EACH", 0)
            for p in net.parameters():
                p.grad = None
            losses, aliases = net.losses()
            balancer = ConstantWeights(3, weights=(0.5, 2.0, 0.0))
            mask = torch.tensor(active)
            with way(None) as caught:
                backward(losses, balancer, net.trunk.parameters(), features=aliases, active=mask)
            assert caught == ([min(kept, sum(active))] if kept and not worth else [])
            found.append(flat(net.parameters()))
        torch.testing.assert_close(found[0], found[1])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_weights_of_losses_reach_what_heads_read(data: st.DataObject) -> None:
    """Where no features are given, and no parameter but heads' is above them."""
    count = data.draw(st.integers(2, 6))
    outputs = data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    biases = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    active = data.draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    weight = st.sampled_from([0.0, 0.3, 2.0])
    weights = data.draw(st.lists(weight, min_size=count, max_size=count).filter(any))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    examples = data.draw(st.integers(1, 20))
    net, mask = Net(outputs, biases, examples, 7, dtype), torch.tensor(active)
    balancer = ConstantWeights(count, weights=weights)
    found = []
    for ways in (True, False):
        for n, p in enumerate(net.shared + net.own):
            p.grad = None if n % 3 else torch.ones_like(p)
        z = net.trunk(net.x)
        pairs = zip(net.heads, net.targets, strict=True)
        losses = [(head(z) - y).square().mean() for head, y in pairs]
        with pytest.MonkeyPatch.context() as patch, taking() as taught:
            patch.setattr(factored, "SEVERAL", 1 if ways else 99)
            backward(losses, balancer, net.shared, active=mask)
        tasks = [t for t in range(count) if active[t]]
        small = sum(outputs[t] for t in tasks) <= len(tasks) * examples
        equal = all(weights[t] == 1 for t in tasks)
        assert taught == ([len(tasks)] if ways and small and not equal else [])
        found.append([p.grad for p in net.shared + net.own])
    torch.testing.assert_close(*found)


def deeper(net: Odd, z: Tensor) -> Tensor:
    return net.second(net.first(z).relu())


def own_product(net: Odd, z: Tensor) -> Tensor:
    return net.first(z).square() + net.first(z)


def meets_another(net: Odd, z: Tensor) -> Tensor:
    return net.first(z)[:, :2] + net.heads[0](z)


def same_output(net: Odd, z: Tensor) -> Tensor:
    return net.outputs[0]


def same_head(net: Odd, z: Tensor) -> Tensor:
    return net.heads[0](z)


def of_the_trunk(net: Odd, z: Tensor) -> Tensor:
    return net.first(z) + net.trunk.weight.sum()


def other_features(net: Odd, z: Tensor) -> Tensor:
    return net.first(z * 2)


def weight_penalty(net: Odd, z: Tensor) -> Tensor:
    return net.first(z) + net.first.weight.square().sum()


def read_twice(net: Odd, z: Tensor) -> Tensor:
    output = net.first(z)
    return output * output.detach() + output.exp()


def many_outputs(net: Odd, z: Tensor) -> Tensor:
    return F.linear(z, torch.cat([net.first.weight] * 9))


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        *((odd, True) for odd in (same_head, read_twice)),
        *((odd, False) for odd in (deeper, own_product, meets_another, same_output)),
        *((odd, False) for odd in (of_the_trunk, other_features, weight_penalty, many_outputs)),
    ],
)
@pytest.mark.parametrize("weights", [(0.5, 2.0, 0.25), (0.5, 2.0, 0.0)])
def test_weights_of_losses_where_heads_are_odd(
    odd: Callable[[Odd, Tensor], Tensor], plain: bool, weights: tuple[float, ...]
) -> None:
    net = Odd(without_bias)
    found = []
    for ways in (True, False):
        for p in net.parameters():
            p.grad = None
        z = net.trunk(net.x).tanh()
        z.register_hook(lambda g: 3 * g)
        net.outputs = [head(z) for head in net.heads]
        losses = [(output - 1).square().mean() for output in net.outputs]
        losses.append((odd(net, z) - 2).square().mean())
        with pytest.MonkeyPatch.context() as patch, taking() as taught:
            patch.setattr(factored, "SEVERAL", 3 if ways else 4)
            backward(losses, ConstantWeights(3, weights=weights), net.trunk.parameters())
        assert taught == ([3] if ways and plain else [])
        found.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*found)


def test_what_lies_below_heads_and_is_not_shared_gets_its_own_gradient() -> None:
    net = Odd(without_bias)
    found = []
    for ways in (True, False):
        for p in net.parameters():
            p.grad = None
        z = net.trunk(net.x).tanh()
        losses = [(head(z) - 1).square().mean() for head in net.heads]
        with pytest.MonkeyPatch.context() as patch, taking() as taught:
            patch.setattr(factored, "SEVERAL", 2 if ways else 3)
            backward(losses, ConstantWeights(2, weights=(0.5, 2.0)), [net.trunk.weight])
        assert taught == []  # The trunk's bias is not shared.
        found.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("count", [7, 8])
@pytest.mark.parametrize("outputs", [3, 17])
def test_weights_of_losses_take_plain_heads_from_a_number_on(count: int, outputs: int) -> None:
    """With features and without them."""
    net = Net([outputs] * count, [t % 2 == 0 for t in range(count)], 16, 5, torch.float64)
    balancer = ConstantWeights(count, weights=[0.5 + t for t in range(count)])
    found = []
    for given_features in (True, False):
        for p in net.shared + net.own:
            p.grad = None
        losses, aliases = net.losses()
        if not given_features:
            z = net.trunk(net.x)
            pairs = zip(net.heads, net.targets, strict=True)
            losses = [F.cross_entropy(head(z), y) for head, y in pairs]
        with taking() as taught:
            features = aliases if given_features else None
            backward(losses, balancer, net.shared, features=features)
        assert taught == ([8] if count == 8 and outputs == 3 else [])
        found.append([p.grad for p in net.shared + net.own])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("examples", [63, 64])
def test_weights_of_losses_take_factors_from_a_size_on(
    examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factored, "SEVERAL", 99)
    net = Net([2] * 64, [True] * 64, examples, 512, torch.float32)
    losses, aliases = net.losses()
    with way(None) as caught:
        backward(losses, ConstantWeights(64, weights=(1.0, 2.0) * 32), net.shared, features=aliases)
    assert caught == ([64] if examples == 64 else [])


def test_features_that_come_out_of_one_operation_are_apart() -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 8).double(), [nn.Linear(4, 2).double() for _ in range(2)]
    aliases = list(trunk(torch.randn(5, 3).double()).chunk(2, dim=1))
    losses = [h(a).square().mean() for h, a in zip(heads, aliases, strict=True)]
    total = 0.5 * losses[0] + 2 * losses[1]
    expected = torch.autograd.grad(total, list(trunk.parameters()), retain_graph=True)
    balancer = Given([0.5, 2.0])
    backward(losses, balancer, trunk.parameters(), features=aliases)
    assert balancer.seen[0, 1] == 0.0  # Different features have nothing in common.
    for p, gradient in zip(trunk.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_tasks_without_features_and_weighted_heads() -> None:
    net = Odd(plain_product)
    for weight_heads, kept in ((False, [2]), (True, [])):
        found = []
        for keep in (None, False):
            for p in net.parameters():
                p.grad = None
            losses, aliases = net.losses()
            losses[1] = net.second.weight.square().sum()
            balancer = Given([0.5, 2.0, 0.25], weight_heads=weight_heads)
            some = [aliases[0], None, aliases[2]]
            with way(keep) as caught:
                backward(losses, balancer, net.trunk.parameters(), features=some)
            assert caught == (kept if keep is None else [])
            found.append([balancer.seen, flat(net.parameters())])
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("weights", [[0.0, 1.0, 2.0], [0.5, 2.0, 0.25]])
def test_private_parameters_below_get_their_own_gradient(weights: list[float]) -> None:
    model = Toy(private=True)
    _, others = model.gradients()
    parts, aliases = model()
    with way(None) as caught:
        backward(parts, Given(weights), model.shared, features=aliases)
    assert caught == [3]
    torch.testing.assert_close(flat(model.others), torch.cat([g.flatten() for g in others]))


def test_a_gradient_that_does_not_arrive_is_an_error() -> None:
    net = Odd(lambda n: Refuses.apply(n.first(n.alias)))
    losses, aliases = net.losses()
    with way(True) as caught, pytest.raises(ValueError, match="its entry of `features`"):
        backward(losses, Given([1.0, 1.0, 1.0]), net.trunk.parameters(), features=aliases)
    assert caught == [3]


def penalized(net: Odd) -> Tensor:
    return net.first(net.alias) + net.first.weight.square().sum()


def weight_watched(net: Odd) -> Tensor:
    if not net.first.weight._backward_hooks:
        net.first.weight.register_hook(lambda g: 2 * g)
    return net.first(net.alias)


def halved(parameter: Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.mul_(0.5)


def bias_awaited(net: Odd) -> Tensor:
    if not net.first.bias._post_accumulate_grad_hooks:
        net.first.bias.register_post_accumulate_grad_hook(halved)
    return net.first(net.alias)


def output_watched(net: Odd) -> Tensor:
    output: Tensor = net.first(net.alias)
    output.register_hook(lambda g: 2 * g)
    return output


def without_bias(net: Odd) -> Tensor:
    return F.linear(net.alias, net.first.weight)


@pytest.mark.parametrize("alone", [False, True], ids=["all tasks", "two of three"])
@pytest.mark.parametrize("call", [Tensor.backward, lambda tensor, **kw: tensor.backward(**kw)])
@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        *((odd, True) for odd in (without_bias, output_watched, output_read_twice, others_head)),
        *((odd, True) for odd in (only_the_weight_learns, checkpointed)),
        *((odd, False) for odd in (weight_watched, bias_awaited, penalized, two_layers)),
        *((odd, False) for odd in (scaled, plain_product, only_the_bias_learns, twice, beside)),
    ],
)
def test_what_heads_learn_is_one_product(
    odd: Callable[[Odd], Tensor], plain: bool, call: Any, alone: bool
) -> None:
    """Where nothing but plain linear layers learns above the features; on top of what is there."""
    net = Odd(odd)
    mask = torch.tensor([not alone, True, True])
    found = []
    for ways in (True, False):
        for n, p in enumerate(net.parameters()):
            p.grad = None if n % 3 else torch.ones_like(p)
        balancer = Given([0.5, 2.0, 0.25])
        with pytest.MonkeyPatch.context() as patch, taking() as taught:
            if not ways:
                patch.setattr(factored, "_plain", lambda passes: None)
            for _ in range(2):
                losses, aliases = net.losses()
                backward(
                    losses,
                    balancer,
                    net.trunk.parameters(),
                    features=aliases,
                    active=mask,
                    differentiate=call,
                )
        assert taught == ([int(mask.sum())] * 2 if ways and plain else [])
        found.append([balancer.seen, *(p.grad for p in net.parameters())])
    torch.testing.assert_close(*found)


def test_what_a_head_read_may_not_have_changed() -> None:
    net = Net([2, 3], [True] * 2, 8, 6, torch.float32)
    z = net.trunk(net.x)
    copies = [z.clone() for _ in net.heads]
    losses = [h(a).square().mean() for h, a in zip(net.heads, copies, strict=True)]
    copies[1].detach().mul_(2)
    with taking() as taught, pytest.raises(RuntimeError, match="modified by an inplace operation"):
        backward(losses, Given([0.5, 2.0]), net.shared, features=copies)
    assert taught == []


def test_a_shared_head_is_not_above_the_features() -> None:
    net = Odd(without_bias)
    losses, aliases = net.losses()
    shared = [*net.trunk.parameters(), net.first.weight]
    with pytest.raises(ValueError, match="reaches a `shared` parameter"):
        backward(losses, Given([0.5, 2.0, 0.25]), shared, features=aliases)


def test_no_gradient_at_the_features_is_computed() -> None:
    """A gradient passes each loss once, and the trunk once; it enters the trunk by one alias."""
    net = Net([2, 3, 4], [True] * 3, 8, 6, torch.float32)
    losses, aliases = net.losses()
    calls = {"losses": 0, "aliases": 0, "trunk": 0}

    def counter(name: str) -> Callable[[Any], None]:
        def hook(_: Any) -> None:
            calls[name] += 1

        return hook

    for alias in aliases:
        node = alias.grad_fn
        assert node is not None
        node.register_prehook(counter("aliases"))
    below = node.next_functions[0][0]
    assert below is not None
    below.register_prehook(counter("trunk"))
    for node in map(operator.attrgetter("grad_fn"), losses):
        node.register_prehook(counter("losses"))
    made: list[int] = []
    with way(None) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Factored, "each", lambda self: made.append(1))
        backward(losses, BALANCERS["upgrad"](3, at="features"), net.shared, features=aliases)
    assert caught == [3]
    assert calls == {"losses": 3, "aliases": 1, "trunk": 1}
    assert made == []


def test_training_goes_as_it_went() -> None:
    found = []
    for keep in (None, False):
        net = Net([2, 3, 1, 5], [True] * 4, 16, 10, torch.float64)
        balancer = BALANCERS["upgrad"](4, at="features")
        optimizer = torch.optim.SGD([*net.trunk.parameters(), *net.heads.parameters()], lr=0.5)
        with way(keep) as caught:
            for _ in range(5):
                losses, aliases = net.losses()
                backward(losses, balancer, net.shared, features=aliases)
                optimizer.step()
                optimizer.zero_grad()
        assert len(caught) == (5 if keep is None else 0)
        found.append([p.detach().clone() for p in net.shared + net.own])
    torch.testing.assert_close(found[0], found[1])


def test_many_outputs_make_rows() -> None:
    """A hundred tasks of four classes keep factors; two of four hundred do not."""
    for count, outputs, kept in ((100, 4, [100]), (2, 400, [])):
        net = Net([outputs] * count, [True] * count, 16, 16, torch.float32)
        losses, aliases = net.losses()
        with way(None) as caught:
            backward(losses, Given([1.0] * count), net.shared, features=aliases)
        assert caught == kept


def test_half_precision_rounds_no_more_than_rows_do() -> None:
    net = Net([3, 4, 2], [True] * 3, 32, 16, torch.float32)
    seen, shared = [], []
    for keep in (True, False):
        for p in net.shared:
            p.grad = None
        balancer = Given([0.5, 2.0, 0.25])
        with torch.autocast("cpu", torch.bfloat16):
            z = net.trunk[0](net.x)
            aliases = [z.view_as(z) for _ in net.heads]
            outputs = [h(a) for h, a in zip(net.heads, aliases, strict=True)]
        pairs = zip(outputs, net.targets, strict=True)
        losses = [F.cross_entropy(o.float(), y) for o, y in pairs]
        with way(keep) as caught:
            backward(losses, balancer, net.shared, features=aliases)
        assert len(caught) == int(keep)
        seen.append(balancer.seen)
        shared.append(flat(net.shared[:2]))
    assert relative(seen[0], seen[1]) < 1e-2
    torch.testing.assert_close(shared[0], shared[1], rtol=2e-2, atol=1e-3)


def test_heads_of_tasks_are_linear_where_features_are_vectors() -> None:
    torch.manual_seed(0)
    tasks = [
        Multiclass(name=n, input="x", target=n, classes=["a", "b", "c"]) for n in ("one", "two")
    ]
    trunk, heads = nn.Linear(4, 6), [task.head(6) for task in tasks]
    z = trunk(torch.randn(8, 4))
    aliases = [z.view_as(z) for _ in tasks]
    losses = [
        task.loss(head(Features(a, None)), torch.zeros(8, dtype=torch.long)).mean()
        for task, head, a in zip(tasks, heads, aliases, strict=True)
    ]
    with way(None) as caught:
        backward(losses, Given([1.0, 2.0]), trunk.parameters(), features=aliases)
    assert caught == [2]


@pytest.mark.parametrize("frozen", ["", "weight", "bias", "weight bias"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_stacked_heads_stay_factors(outputs: int, frozen: str) -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 6).double(), StackedHeads(5, 6, outputs).double()
    for name in frozen.split():
        getattr(heads, name).requires_grad_(False)
    x, y = torch.randn(8, 4).double(), torch.randn(8, 5, outputs).double()
    found = []
    for keep in (True, False):
        trunk.zero_grad()
        heads.zero_grad()
        balancer = Given([0.5, 2.0, 0.25, 1.0, 0.0], scale="paper")
        z = trunk(x).tanh()
        aliases = [z.view_as(z) for _ in range(5)]
        losses = (heads(aliases) - y).square().mean((0, 2))
        with way(keep) as caught:
            backward(losses, balancer, trunk.parameters(), features=aliases)
        assert caught == ([5] if keep and len(frozen.split()) < 2 else [])
        gradients = [p.grad for p in [*trunk.parameters(), *heads.parameters()]]
        found.append((balancer.seen, gradients))
    torch.testing.assert_close(*found)


def test_weights_of_losses_reach_the_trunk_below_stacked_heads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 6).double(), StackedHeads(5, 6, 2).double()
    x, y = torch.randn(8, 4).double(), torch.randn(8, 5, 2).double()
    found = []
    for worth in (0, 1 << 60):
        monkeypatch.setattr(factored, "WORTH", worth)
        monkeypatch.setattr(factored, "EACH", 0)
        trunk.zero_grad()
        heads.zero_grad()
        z = trunk(x).tanh()
        aliases = [z.view_as(z) for _ in range(5)]
        losses = (heads(aliases) - y).square().mean((0, 2))
        balancer = ConstantWeights(5, weights=(0.5, 2.0, 0.25, 1.0, 0.0))
        with way(None) as caught:
            backward(losses, balancer, trunk.parameters(), features=aliases)
        assert caught == ([] if worth else [5])
        found.append(flat([*trunk.parameters(), *heads.parameters()]))
    torch.testing.assert_close(*found)
