"""Auto-Lambda against the exact derivative."""

import pytest
import torch
from torch import Tensor

from polytask.balancing import AutoLambda
from polytask.errors import TrainingError


def quadratics(seed: int, theta: Tensor) -> Tensor:
    """Three quadratic losses."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 5, generator=generator).double()
    scales = torch.rand(3, 5, generator=generator).double() + 0.5
    return ((theta - centres) ** 2 * scales).sum(1)


@pytest.mark.parametrize("primary", [None, (0,), (0, 2)])
@pytest.mark.parametrize("momentum", [True, False])
def test_the_derivative_is_that_of_the_virtual_step(
    primary: tuple[int, ...] | None, momentum: bool
) -> None:
    theta = torch.nn.Parameter(torch.randn(5).double())
    velocity = torch.randn(5).double()
    before = theta.detach().clone()
    balancer = AutoLambda(3, primary=primary).double()
    weights = balancer.weights.clone().requires_grad_()
    slope = balancer.look_ahead(
        [theta],
        lambda: quadratics(1, theta),
        lambda: quadratics(2, theta),
        lr=0.05,
        momentum={theta: velocity} if momentum else None,
        weight_decay=0.1,
    )
    assert torch.equal(theta.detach(), before)
    assert theta.grad is None

    fixed = before.clone().requires_grad_()
    (g,) = torch.autograd.grad(weights @ quadratics(1, fixed), fixed, create_graph=True)
    ahead = before - 0.05 * (g + 0.1 * before + (velocity if momentum else 0.0))
    goal = quadratics(2, ahead)[list(primary or (0, 1, 2))].sum()
    (expected,) = torch.autograd.grad(goal, weights)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-9)
    moved = torch.full((3,), 0.1).double() - 1e-4 * expected.sign()  # Adam's first step.
    torch.testing.assert_close(balancer.weights, moved, rtol=1e-4, atol=1e-8)


def test_rates_and_decay_of_each_parameter_are_those_of_its_step() -> None:
    """Of three parameters with rates of their own the derivative is that of one vector."""
    parts = [torch.nn.Parameter(torch.randn(n).double()) for n in (2, 1, 2)]
    rates, decays = (0.05, 0.0, 0.3), (0.1, 0.2, 0.0)
    before = torch.cat([p.detach() for p in parts])
    balancer = AutoLambda(3, primary=(0, 2)).double()
    weights = balancer.weights.clone().requires_grad_()
    slope = balancer.look_ahead(
        parts,
        lambda: quadratics(1, torch.cat(parts)),
        lambda: quadratics(2, torch.cat(parts)),
        lr=dict(zip(parts, rates, strict=True)),
        weight_decay=dict(zip(parts, decays, strict=True)),
    )
    assert torch.equal(torch.cat([p.detach() for p in parts]), before)

    rate, decay = (
        torch.cat([torch.full((len(p),), v).double() for p, v in zip(parts, values, strict=True)])
        for values in (rates, decays)
    )
    fixed = before.clone().requires_grad_()
    (g,) = torch.autograd.grad(weights @ quadratics(1, fixed), fixed, create_graph=True)
    goal = quadratics(2, before - rate * (g + decay * before))[[0, 2]].sum()
    (expected,) = torch.autograd.grad(goal, weights)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-9)


def test_a_step_that_leads_to_infinity_is_told_and_leaves_the_parameters() -> None:
    theta = torch.nn.Parameter(torch.ones(2).double())
    balancer = AutoLambda(1).double()
    with pytest.raises(TrainingError, match=r"looked a step ahead.*learning rate"):
        balancer.look_ahead(
            [theta], lambda: theta.exp().sum()[None], lambda: (-theta).exp().sum()[None], lr=1e9
        )
    assert theta.tolist() == [1.0, 1.0] and balancer.weights.tolist() == [0.1]


def test_a_harmful_task_loses_weight() -> None:
    theta = torch.nn.Parameter(torch.zeros(2).double())
    good, bad = torch.tensor([1.0, 0.0]).double(), torch.tensor([-3.0, 0.0]).double()

    def train() -> Tensor:
        return torch.stack([(theta - good).square().sum(), (theta - bad).square().sum()])

    balancer = AutoLambda(2, primary=(0,), lr=0.01)
    for _ in range(30):
        balancer.look_ahead([theta], train, train, lr=0.1)
    assert balancer.weights[0] > 0.2
    assert balancer.weights[1] == 0


def test_without_looking_ahead_it_says_so() -> None:
    with pytest.raises(ValueError, match="look_ahead"):
        AutoLambda(2)(torch.ones(2))


def test_absent_tasks_stand_still() -> None:
    theta = torch.nn.Parameter(torch.zeros(5).double())
    balancer = AutoLambda(3, primary=(0,))

    def losses() -> Tensor:
        return torch.where(torch.tensor([True, False, True]), quadratics(3, theta), torch.nan)

    active = torch.tensor([True, False, True])
    balancer.look_ahead([theta], losses, losses, lr=0.1, active=active)
    assert balancer.weights[1] == pytest.approx(0.1)
    assert balancer.adam.counts.tolist() == [1, 0, 1]
    weights = balancer.weights.clone()
    only = torch.tensor([False, False, True])
    assert balancer.look_ahead([theta], losses, losses, lr=0.1, active=only).tolist() == [0.0]
    assert torch.equal(balancer.weights, weights)
