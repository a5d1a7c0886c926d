"""Gradients at features that stay factored are those that are made."""

import operator
from collections.abc import Callable
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
from polytask.balancing.passes import gramian
from polytask.balancing.places import Factored
from polytask.tasks import Multiclass
from polytask.types import Features
from tests.balancing.linear import (
    Given,
    Net,
    Odd,
    as_right_factor,
    beside,
    checkpointed,
    frozen,
    only_the_bias_learns,
    only_the_weight_learns,
    others_head,
    output_read_twice,
    plain_product,
    scaled,
    through_relu,
    twice,
    two_layers,
    watched,
    way,
)
from tests.balancing.toys import Toy, flat


def relative(found: Tensor, expected: Tensor) -> float:
    """The greatest error of a Gramian, relative to the lengths of the two gradients."""
    lengths = expected.diagonal().sqrt().clamp(min=1e-30)
    return float(((found - expected).abs() / (lengths[:, None] * lengths)).max())


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
