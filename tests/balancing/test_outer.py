"""Gradients of linear layers that stay factors are those that are made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polytask.balancing import backward, outer
from polytask.balancing.outer import Layer, Passes
from polytask.errors import TrainingError
from tests.balancing.toys import Given, flat


@contextmanager
def way(keep: bool | None) -> Iterator[list[int]]:
    """Within this context factors are kept wherever they can be, or nowhere; None: as it comes.

    Yields:
        How many layers kept them, for each backward.
    """
    found: list[int] = []
    original = outer._layers

    def counted(passes: Passes, below: bool) -> list[Layer]:
        layers = original(passes, below)
        found.append(len(layers))
        return layers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer, "_layers", counted)
        if keep is not None:
            patch.setattr(outer, "_pays", lambda *sizes: keep)
        yield found


class Net(nn.Module):
    """A trunk of two layers, a task that leaves after the first, and heads.

    Args:
        trunk: What lies between the first layer and the features.
        num_tasks: T.
        wide: D, of all layers.
    """

    def __init__(self, trunk: nn.Module, num_tasks: int = 3, wide: int = 12) -> None:
        super().__init__()
        self.first = nn.Linear(4, wide)
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Linear(wide, 2) for _ in range(num_tasks))

    @property
    def shared(self) -> list[Tensor]:
        return [*self.first.parameters(), *self.trunk.parameters()]

    def forward(self, x: Tensor, early: bool = False) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and features."""
        low = self.first(x).tanh()
        z = self.trunk(low)
        aliases = [z.view_as(z) for _ in self.heads]
        if early:
            aliases[0] = low.view_as(low)
        target = torch.linspace(-1, 1, x.shape[0], dtype=x.dtype)[:, None]
        losses = [
            (head(a).flatten(0, -2) - (t + 1) * target.repeat_interleave(a[0].numel() // 12, 0))
            .square()
            .mean()
            for t, (head, a) in enumerate(zip(self.heads, aliases, strict=True))
        ]
        return losses, aliases


class Plain(nn.Module):
    """`x @ W`, whose weight is `[D, K]`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 12) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight).tanh()


class Tied(nn.Module):
    """One layer, applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.layer(x).tanh())
        return out


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.body, x, use_reentrant=self.reentrant)
        return out


def frozen_bias() -> nn.Module:
    layer = nn.Linear(12, 12)
    layer.bias.requires_grad_(False)
    return nn.Sequential(layer, nn.Tanh())


TRUNKS: dict[str, tuple[Callable[[], nn.Module], int]] = {  # And how many layers keep factors.
    "two layers": (lambda: nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12)), 3),
    "no bias": (lambda: nn.Sequential(nn.Linear(12, 12, bias=False), nn.Tanh()), 2),
    "frozen bias": (frozen_bias, 2),
    "plain product": (Plain, 2),
    "applied twice": (Tied, 1),
    "normed": (lambda: nn.Sequential(nn.Linear(12, 12), nn.LayerNorm(12), nn.ReLU()), 2),
    "dead units": (lambda: nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12)), 3),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(12, 12)), 1),
    "checkpoint": (lambda: Checkpointed(False), 3),
    "no layer": (nn.Tanh, 1),
}


def both(
    net: Net, x: Tensor, weights: list[float], layers: int | None = None, **call: Any
) -> tuple[Tensor, Tensor]:
    """A backward in both ways; they must agree.

    Returns:
        The Gramian and all gradients.
    """
    early, features = call.pop("early", False), call.pop("features", True)
    weight_heads = call.pop("weight_heads", False)
    found = []
    for keep in (True, False):
        net.zero_grad()
        balancer = Given(weights, weight_heads=weight_heads, scale="paper")
        with way(keep) as kept:
            losses, aliases = net(x, early)
            given_features = {"features": aliases} if features else {}
            backward(losses, balancer, net.shared, **given_features, **call)
        if keep and layers is not None:
            assert kept == [layers]
        found.append((balancer.seen, flat(net.parameters()), [p.grad is None for p in net.shared]))
    (gramian, gradients, none), (other, others, same) = found
    assert none == same
    lengths = other.diagonal().sqrt().clamp(min=1e-30)
    error = ((gramian - other).abs() / (lengths[:, None] * lengths)).max()
    assert float(error) < (1e-9 if x.dtype == torch.float64 else 1e-5)
    close = {} if x.dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(gradients, others, **close)
    return gramian, gradients


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("weight_heads", [True, False])
@pytest.mark.parametrize("name", TRUNKS)
def test_they_are_those_that_are_made(name: str, weight_heads: bool, features: bool) -> None:
    torch.manual_seed(0)
    make, layers = TRUNKS[name]
    net = Net(make()).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    if not features:  # Heads are linear layers too, but they are not shared.
        both(net, x, [0.5, 2.0, 0.25], layers, weight_heads=weight_heads, features=False)
    both(net, x, [0.5, 2.0, 0.25], layers, weight_heads=weight_heads)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("active", [[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]])
def test_tasks_that_are_absent_or_leave_early(early: bool, active: list[int]) -> None:
    """A task that does not pass a layer has a gradient of zero there, whatever was there before."""
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]()).double()
    present = torch.tensor(active, dtype=torch.bool)
    for step in range(2):
        x = torch.randn(5, 4, dtype=torch.float64) + step
        both(net, x, [0.5, 2.0, 0.25], active=present, early=early)


@pytest.mark.parametrize("how", ["plain", "frozen", "hooked", "of two layers", "of one number"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_biases_are_left_out_where_something_lies_below(how: str, dtype: torch.dtype) -> None:
    """All but the lowest one, without which no pass would come by."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
    net = Net(trunk).to(dtype)
    upper = {id(trunk[0].bias): 0, id(trunk[2].bias): 1}
    if how == "frozen":
        trunk[0].bias.requires_grad_(False)
    elif how == "hooked":
        trunk[0].bias.register_hook(lambda gradient: 2 * gradient)
    elif how == "of two layers":
        trunk[0].bias = net.first.bias
    elif how == "of one number":
        trunk[0].bias = nn.Parameter(torch.ones(1, dtype=dtype))
    left_out = []
    original = outer._layers

    def watched(passes: Passes, below: bool) -> list[Layer]:
        layers = original(passes, below)
        left_out.append(sorted(upper[id(x.bias)] for x in layers if x.bias is not None))
        return layers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer, "_layers", watched)
        both(net, torch.randn(5, 4, dtype=dtype), [0.5, 2.0, 0.25])
    assert left_out[0] == ([0, 1] if how == "plain" else [1])


@given(
    tasks=st.integers(2, 5),
    rows=st.integers(1, 30),
    rank=st.integers(1, 12),
    scale=st.sampled_from([1e-12, 1.0, 1e6]),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_layers_saw(
    tasks: int, rows: int, rank: int, scale: float, seed: int, dtype: torch.dtype
) -> None:
    """More rows than inputs, rows that repeat, inputs of any size."""
    torch.manual_seed(seed)
    layer = nn.Linear(12, 12).to(dtype)
    x = (torch.randn(rows, rank) @ torch.randn(rank, 12) * scale).to(dtype)
    x = x[torch.randint(rows, (rows,))]
    heads = torch.randn(tasks, 12, dtype=dtype)
    weights = torch.rand(tasks, dtype=torch.float64).tolist()
    found = []
    for keep in (True, False):
        layer.zero_grad()
        balancer = Given(weights, scale="paper")
        z = layer(x)
        with way(keep) as kept:
            backward([(z @ h).tanh().mean() for h in heads], balancer, layer.parameters())
        assert kept == [int(keep)]
        found.append((balancer.seen, layer.weight.grad))
    (gramian, gradient), (other, expected) = found
    assert gradient is not None and expected is not None
    error = float((gramian - other).abs().max() / other.abs().max().clamp(min=1e-300))
    assert error < (1e-7 if dtype == torch.float64 else 1e-4)
    size = expected.abs().max().clamp(min=1e-30)
    assert float((gradient - expected).abs().max() / size) < 1e-4


def test_examples_that_depend_on_each_other_have_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rounding leaves pivots that no small number on the diagonal mends."""
    torch.manual_seed(0)
    x = torch.randn(9, 2) @ torch.randn(2, 30)
    products = x.double() @ x.double().T
    usual = outer._root(x)
    monkeypatch.setattr(
        torch.linalg, "cholesky_ex", lambda matrix: (torch.full_like(matrix, 7), torch.ones(()))
    )
    for root in (usual, outer._root(x)):
        assert root.equal(root.tril())
        torch.testing.assert_close(root @ root.T, products, rtol=0.0, atol=1e-11)
    x[3, 4] = torch.inf
    assert outer._root(x).isnan().all()


def test_long_sums_that_nearly_cancel_keep_their_digits() -> None:
    """What products of `X X'` with factors twice would lose by the square of the cancellation."""
    torch.manual_seed(0)
    layer = nn.Linear(600, 40)
    # Gradients a thousandth of what single examples' have: those of the least singular vectors.
    left, values, _ = torch.linalg.svd(torch.randn(256, 600).double(), full_matrices=False)
    x = (left * (values * 10.0 ** -torch.linspace(0, 3, 256))).float() @ torch.randn(256, 600)
    weak = left[:, -8:].float() @ torch.randn(3, 8, 40)
    factors = weak + 1e-6 * torch.randn(3, 256, 40)
    rows = factors.transpose(1, 2).double() @ x.double()
    expected = (rows.flatten(1) @ rows.flatten(1).T).double()
    found = Layer(None, layer.weight, x, 40, True).products(factors)  # type: ignore[arg-type]
    lengths = expected.diagonal().sqrt()
    wrong = ((found - expected).abs() / (lengths[:, None] * lengths)).max()
    naive = torch.einsum("abk,bc,dck->ad", factors, x @ x.T, factors).double()
    much = ((naive - expected).abs() / (lengths[:, None] * lengths)).max()
    assert float(wrong) < 1e-5
    assert float(much) > 10 * float(wrong)


def test_it_is_done_where_it_pays() -> None:
    """Few examples and many inputs, for several tasks; never with more memory than gradients."""
    net = Net(nn.Sequential(nn.Linear(12, 12), nn.Tanh()))
    with way(None) as kept:
        losses, aliases = net(torch.randn(5, 4))
        backward(losses, Given([1.0, 1.0, 1.0]), net.shared, features=aliases)
    assert kept == [0]
    trunk = nn.Sequential(nn.Linear(8, 1024), nn.ReLU(), nn.Linear(1024, 512))
    heads = nn.ModuleList(nn.Linear(512, 2) for _ in range(6))
    for rows, layers in ((32, 1), (600, 0)):
        z = trunk(torch.randn(rows, 8))
        with way(None) as kept:
            backward([h(z).square().mean() for h in heads], Given([1.0] * 6), trunk.parameters())
        assert kept == [layers]


@pytest.mark.parametrize("hook", ["hook", "after"])
def test_weights_with_hooks_get_gradients(hook: str) -> None:
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]()).double()
    weight = net.trunk[0].weight  # type: ignore[index]
    seen = []
    if hook == "hook":
        weight.register_hook(lambda g: seen.append(1) or g)
    else:
        weight.register_post_accumulate_grad_hook(lambda p: seen.append(1))
    both(net, torch.randn(5, 4, dtype=torch.float64), [0.5, 2.0, 0.25], layers=2)
    assert len(seen) == 6


def test_a_checkpoint_that_hides_what_it_reaches_takes_the_other_way() -> None:
    torch.manual_seed(0)
    net = Net(Checkpointed(True)).double()
    losses, aliases = net(torch.randn(5, 4, dtype=torch.float64))
    with way(True) as kept:
        backward(losses, Given([0.5, 2.0, 0.25]), net.shared, features=aliases)
    assert kept == [0]
    assert all(p.grad is not None for p in net.shared)


@pytest.mark.parametrize("more", [{"groups": 2}, {"groups": 4}, {"measured": True}, {"own": True}])
def test_a_gramian_that_is_measured_apart(more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]()).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    if "measured" in more:
        more = {"measured": list(net.trunk.parameters())}
    if "own" in more:  # Each way makes losses of its own: a graph is used once.
        for keep in (True, False):
            net.zero_grad()
            balancer = Given([0.5, 2.0, 0.25], scale="paper")
            losses, aliases = net(x)
            with way(keep):
                estimate = net(x[:3])[0]
                backward(losses, balancer, net.shared, features=aliases, estimate=estimate)
            if keep:
                first = balancer.seen, flat(net.parameters())
        torch.testing.assert_close(first, (balancer.seen, flat(net.parameters())))
        return
    both(net, x, [0.5, 2.0, 0.25], **more)


def test_gradients_add_to_those_that_are_there() -> None:
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]()).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    _, once = both(net, x, [0.5, 2.0, 0.25])
    net.zero_grad()
    with way(True):
        for _ in range(2):
            losses, aliases = net(x)
            backward(losses, Given([0.5, 2.0, 0.25], scale="paper"), net.shared, features=aliases)
    torch.testing.assert_close(flat(net.parameters()), 2 * once)


def test_a_scaler_and_a_sequence() -> None:
    """Layers that see `[B, L, D]`, and a `differentiate` that multiplies."""
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]()).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)

    def scaled(tensor: Tensor, **kwargs: Any) -> None:
        if "gradient" in kwargs:
            kwargs["gradient"] = kwargs["gradient"] * 1024
            tensor.backward(**kwargs)
        else:
            (tensor * 1024).backward(**kwargs)

    gramian, gradients = both(net, x, [0.5, 2.0, 0.25], layers=3)
    again, scaled_up = both(net, x, [0.5, 2.0, 0.25], layers=3, differentiate=scaled)
    torch.testing.assert_close(again, gramian)
    torch.testing.assert_close(scaled_up / 1024, gradients, rtol=1e-4, atol=1e-6)  # via float32


def test_in_bfloat16_they_are_as_good_as_those_that_are_made() -> None:
    torch.manual_seed(0)
    net = Net(nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 12)))
    x = torch.randn(20, 4)
    exact, seen = None, []
    for keep, half in ((False, False), (False, True), (True, True)):
        net.zero_grad()
        balancer = Given([0.5, 2.0, 0.25], scale="paper")
        with way(keep) as kept, torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses, aliases = net(x)
            # Within the region: what is computed from gradients is not for bfloat16.
            backward(losses, balancer, net.shared, features=aliases)
        assert kept == [3 if keep else 0]
        if not half:
            exact = balancer.seen, flat(net.parameters())
        else:
            seen.append((balancer.seen, flat(net.parameters())))
    assert exact is not None
    for gramian, gradients in seen:
        torch.testing.assert_close(gramian, exact[0], rtol=0.05, atol=0.05 * float(exact[0].max()))
        assert F.cosine_similarity(gradients, exact[1], dim=0) > 0.999


def test_factors_that_are_not_finite_are_told() -> None:
    torch.manual_seed(0)
    net = Net(TRUNKS["two layers"][0]())
    losses, aliases = net(torch.randn(5, 4))
    aliases[1].register_hook(lambda g: g * torch.nan)
    with way(True), pytest.raises(TrainingError, match=r"tasks \[1\]"):
        backward(losses, Given([0.5, 2.0, 0.25]), net.shared, features=aliases)
