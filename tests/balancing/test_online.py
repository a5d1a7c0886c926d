"""Weights without task gradients approach the exact ones."""

import pytest
import torch
from torch import Tensor

from polytask.balancing import (
    OnlineCAGrad,
    OnlineDualProj,
    OnlineMGDA,
    OnlineUPGrad,
    backward,
)
from polytask.balancing.min_norm import conflict_averse
from polytask.balancing.online import Online
from polytask.balancing.solvers import in_dual_cone, min_norm
from polytask.balancing.stochastic import sdmgrad_shares


def final_weights(balancer: Online, jacobian: Tensor, steps: int) -> Tensor:
    """Weights after some steps of SGD on losses that are linear in the parameters."""
    theta = torch.nn.Parameter(torch.zeros(jacobian.shape[1]).double())
    for _ in range(steps):
        theta.grad = None
        weights = backward(list(jacobian @ theta + 5), balancer, [theta])
        assert weights is not None
        assert theta.grad is not None
        theta.data -= 1e-3 * theta.grad
        balancer.update((jacobian @ theta + 5).detach())
    return weights


def problem(count: int, conflict: float) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    jacobian = torch.randn(count, 60, generator=generator).double()
    jacobian *= 10 ** (torch.rand(count, 1, generator=generator).double() - 0.5)
    return jacobian - conflict * jacobian.mean(0)


@pytest.mark.parametrize(("count", "steps"), [(2, 400), (3, 100), (10, 250)])
def test_online_mgda(count: int, steps: int) -> None:
    jacobian = problem(count, 0.0)
    gramian = jacobian @ jacobian.T
    weights = final_weights(OnlineMGDA(count), jacobian, steps) / count
    exact = min_norm(gramian)
    assert float(weights @ gramian @ weights) < 1.01 * float(exact @ gramian @ exact)


def test_online_mgda_drawn_to_the_mean_is_sdmgrad() -> None:
    jacobian = problem(4, 0.5)
    gramian = jacobian @ jacobian.T
    weights = final_weights(OnlineMGDA(4, pull=0.5), jacobian, 400) / 4
    start = torch.full((4,), 0.25).double()
    shares = sdmgrad_shares(gramian, start, 0.5, 0.1, 0.0, 3000)
    exact = (shares + 0.5 / 4) / 1.5
    torch.testing.assert_close(weights, exact, atol=0.01, rtol=0.05)


@pytest.mark.parametrize(("count", "steps"), [(2, 800), (3, 150), (10, 300)])
def test_online_dual_projection(count: int, steps: int) -> None:
    jacobian = problem(count, 1.05)
    gramian = jacobian @ jacobian.T
    weights = final_weights(OnlineDualProj(count), jacobian, steps)
    exact = in_dual_cone(gramian, torch.ones(1, count).double())[0]
    least = exact @ gramian @ exact
    assert float(weights @ gramian @ weights) < 1.02 * float(least)
    worst = (gramian @ weights / gramian.diagonal().sqrt()).min() / least.sqrt()
    assert float(worst) > -0.05  # Nearly no conflict left; there was much before.
    assert float((gramian.sum(1) / gramian.diagonal().sqrt()).min() / least.sqrt()) < -0.2


@pytest.mark.parametrize("count", [2, 3, 10, 40])
@pytest.mark.parametrize("conflict", [0.0, 0.9])
def test_online_cagrad(count: int, conflict: float) -> None:
    jacobian = problem(count, conflict)
    exact = conflict_averse(jacobian @ jacobian.T, 0.4) @ jacobian
    weights = final_weights(OnlineCAGrad(count, scale="paper"), jacobian, 349) * 1.16
    even = jacobian.mean(0)
    error = float((weights @ jacobian - exact).norm() / exact.norm())
    assert error < 0.05
    assert error < 0.2 * float((even - exact).norm() / exact.norm())


def test_a_probe_of_online_cagrad_is_equal_weighting() -> None:
    jacobian = problem(3, 0.5)
    for steps, alike in ((1, True), (2, False), (11, True), (12, False)):
        weights = final_weights(OnlineCAGrad(3), jacobian, steps)
        assert torch.allclose(weights, torch.ones(3).double()) == (alike or steps == 2)


@pytest.mark.parametrize(("count", "steps"), [(2, 60), (3, 90), (10, 2500)])
def test_online_upgrad(count: int, steps: int) -> None:
    jacobian = problem(count, 0.9)
    gramian = jacobian @ jacobian.T
    balancer = OnlineUPGrad(count)
    final_weights(balancer, jacobian, steps)
    exact = in_dual_cone(gramian, torch.eye(count).double())
    found = balancer.factors @ jacobian
    error = (found.mean(0) - (exact @ jacobian).mean(0)).norm() / (exact @ jacobian).mean(0).norm()
    assert float(error) < 0.05
    assert bool((balancer.factors >= torch.eye(count).double()).all())


def test_tasks_take_turns_among_those_that_are_there() -> None:
    balancer = OnlineUPGrad(3, scale="paper")
    theta = torch.nn.Parameter(torch.zeros(3).double())
    active = torch.tensor([True, False, True])
    for turn in (0, 2, 0, 2):
        theta.grad = None
        weights = backward([theta[k] + 1 for k in range(3)], balancer, [theta], active=active)
        assert weights is not None
        assert weights.nonzero().flatten().tolist() == [turn]
        theta.data -= 0.1 * theta.grad  # type: ignore[operator]
        balancer.update((theta + 1).detach(), active)
    assert torch.equal(balancer.factors, torch.eye(3).double())


def test_without_conflict_nothing_is_changed() -> None:
    jacobian = torch.eye(4).double() + 0.2
    assert torch.equal(final_weights(OnlineDualProj(4), jacobian, 20), torch.ones(4).double())
