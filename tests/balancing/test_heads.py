"""What plain linear heads learn by one product is what a pass through them gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.balancing import ConstantWeights, backward, factored
from tests.balancing.linear import (
    Given,
    Net,
    Odd,
    beside,
    checkpointed,
    only_the_bias_learns,
    only_the_weight_learns,
    others_head,
    output_read_twice,
    plain_product,
    scaled,
    taking,
    twice,
    two_layers,
)


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
