"""Each loss balancer against an independent computation of the same formula."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
import torchjd.scalarization as jd
from torch import Tensor

from polytask.balancing import (
    BALANCERS,
    COSMOS,
    FAMO,
    BoundaryIntersection,
    ConstantWeights,
    DynamicTaskPriority,
    DynamicWeightAverage,
    EqualWeighting,
    GeometricMean,
    ImpartialLosses,
    LossBalancer,
    RandomWeights,
    ScaleInvariant,
    SmoothTchebycheff,
    SoftUncertaintyWeighting,
    Tchebycheff,
    UncertaintyWeighting,
    backward,
)

VALUES = (0.5, 2.0, 3.5)


def derivative(function: Any, values: tuple[float, ...] = VALUES) -> Tensor:
    leaf = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(function(leaf), leaf)
    return found


R = torch.tensor([0.2, 0.3, 0.5]).double()
WEIGHING = {
    "equal": lambda: EqualWeighting(3),
    "constant": lambda: ConstantWeights(3, weights=(1.0, 2.0, 0.5)),
    "rlw": lambda: RandomWeights(3, seed=4),
    "rlw dirichlet": lambda: RandomWeights(3, seed=4, distribution="dirichlet"),
    "dwa": lambda: _with_history(DynamicWeightAverage(3)),
    "dtp": lambda: DynamicTaskPriority(3),
    "uw-so": lambda: SoftUncertaintyWeighting(3),
}


def _with_history(balancer: DynamicWeightAverage) -> DynamicWeightAverage:
    for means in ([1.0, 2.0, 3.0], [0.5, 1.9, 2.0]):
        balancer.end_epoch(torch.tensor(means))
    return balancer


@pytest.mark.parametrize("name", WEIGHING)
def test_weights_that_are_asked_for_are_the_derivatives(name: str) -> None:
    """What `backward` takes from `weigh` is what differentiating `forward` would give."""
    values = torch.tensor(VALUES, dtype=torch.float64)
    balancer = WEIGHING[name]()
    wanted = derivative(balancer)
    leaf = values.clone().requires_grad_()
    found = backward(leaf * 1.0, WEIGHING[name]())
    torch.testing.assert_close(found, balancer.scaled(wanted))
    torch.testing.assert_close(leaf.grad, found)


WRITTEN_TWICE = {
    "uw": lambda kind: moved(kind(3, classification=(1,)), "log_variance"),
    "imtl-l": lambda kind: moved(kind(3), "log_scale"),
    "gls": lambda kind: kind(3),
    "si": lambda kind: kind(3),
    "famo": lambda kind: kind(3, min_losses=(0.0, 0.1, 0.2)),
}


def moved(balancer: Any, parameter: str) -> Any:
    with torch.no_grad():
        getattr(balancer, parameter).copy_(torch.tensor([0.3, -0.5, 40.0]))  # One is out of bounds.
    return balancer


@pytest.mark.parametrize("factor", [1.0, 8.0])
@pytest.mark.parametrize("active", [None, [True, False, True]])
@pytest.mark.parametrize("name", WRITTEN_TWICE)
def test_derivatives_by_hand_are_those_of_the_formula(
    name: str, active: list[bool] | None, factor: float
) -> None:
    kind: Any = BALANCERS[name]

    class ByFormula(kind):  # type: ignore[misc]
        def forward(self, losses: Tensor) -> Tensor:
            return super().forward(losses)

    def scaled(tensor: Tensor, **kwargs: Any) -> None:
        (tensor * factor).backward(**kwargs)

    found = []
    for one in (kind, ByFormula):
        balancer = WRITTEN_TWICE[name](one).double()
        for _ in range(2):  # Gradients accumulate.
            leaf = torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)
            mask = None if active is None else torch.tensor(active)
            how = Tensor.backward if factor == 1 else scaled
            weights = backward(list(leaf.unbind()), balancer, active=mask, differentiate=how)
        assert balancer.weighs() == (one is kind)
        own = [p.grad for p in balancer.parameters()]
        found.append([weights, leaf.grad, *balancer.parameters(), *balancer.buffers(), *own])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_a_solved_task_has_no_weight_by_hand_either() -> None:
    for name in ("gls", "si"):
        leaf = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
        weights = backward(list(leaf.unbind()), BALANCERS[name](3))
        assert weights is not None
        assert weights[0] == 0
        assert (weights[1:] > 0).all()


def test_who_waits_at_a_balancers_parameter_is_told() -> None:
    balancer = UncertaintyWeighting(3).double()
    seen = []
    balancer.log_variance.register_hook(seen.append)
    leaf = torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)
    backward(list(leaf.unbind()), balancer)
    torch.testing.assert_close(seen[0], 0.5 - 0.5 * leaf.detach())


def test_a_forward_of_ones_own_is_not_passed_over() -> None:
    class Squares(EqualWeighting):
        def forward(self, losses: Tensor) -> Tensor:
            return losses.square().sum()

    leaf = torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)
    found = backward(leaf * 1.0, Squares(3))
    torch.testing.assert_close(found, 2 * leaf.detach())


PREFERENCE = (0.2, 0.3, 0.5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GeometricMean(3), jd.GeometricMean()),
        (COSMOS(3, penalty=0.7, preference=PREFERENCE), jd.COSMOS(0.7, R)),
        (BoundaryIntersection(3, theta=2.0, preference=PREFERENCE), jd.PBI(2.0, R)),
        (ImpartialLosses(3).double(), jd.IMTLL(3).double()),
    ],
)
def test_torchjds_formula(ours: LossBalancer, theirs: Any) -> None:
    torch.testing.assert_close(derivative(ours), derivative(theirs), rtol=1e-5, atol=1e-6)


def test_uncertainty_weighting() -> None:
    balancer = UncertaintyWeighting(3, classification=(1,)).double()
    s = torch.tensor([0.3, -0.5, 1.0]).double()
    balancer.log_variance.data = s.clone()
    losses = torch.tensor(VALUES).double()
    sigma = (s / 2).exp()  # The paper's form.
    regression = losses / (2 * sigma**2) + sigma.log()
    expected = regression[0] + regression[2] + losses[1] / sigma[1] ** 2 + sigma[1].log()
    torch.testing.assert_close(balancer(losses).detach(), expected)


def test_uncertainty_is_bounded() -> None:
    balancer = UncertaintyWeighting(2, bound=3.0)
    balancer.log_variance.data = torch.tensor([-50.0, 50.0])
    balancer(torch.tensor([1e-9, 1e9]))
    assert balancer.log_variance.tolist() == [-3.0, 3.0]


def test_soft_uncertainty_is_a_softmax_of_inverses() -> None:
    expected = (1 / torch.tensor(VALUES).double() / 1.5).softmax(0)
    torch.testing.assert_close(derivative(SoftUncertaintyWeighting(3, temperature=1.5)), expected)


def test_scale_invariant_and_constant_and_tchebycheff() -> None:
    torch.testing.assert_close(derivative(ScaleInvariant(3)), 1 / torch.tensor(VALUES).double())
    constant = ConstantWeights(3, weights=(1.0, 0.0, 2.5))
    assert derivative(constant).tolist() == [1.0, 0.0, 2.5]
    worst = Tchebycheff(3, preference=(10.0, 1.0, 1.0), ideal=(0.0, 1.0, 0.0))
    assert (derivative(worst) > 0).tolist() == [True, False, False]


def test_geometric_mean_does_not_overflow() -> None:
    values = torch.full((400,), 50.0, requires_grad=True)
    assert GeometricMean(400)(values).item() == pytest.approx(50.0, rel=1e-5)
    with pytest.raises(ValueError, match="losses >= 0"):
        GeometricMean(2)(torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
def test_random_weights(distribution: Any) -> None:
    balancer = RandomWeights(3, distribution=distribution, seed=5)
    draws = torch.stack([derivative(balancer) for _ in range(400)])
    torch.testing.assert_close(draws.sum(1), torch.ones(400).double())
    torch.testing.assert_close(draws.mean(0), torch.full((3,), 1 / 3).double(), atol=0.05, rtol=0)
    if distribution == "dirichlet":  # Uniform on the simplex: P(w > 1/2) is 1/4.
        assert (draws[:, 0] > 0.5).double().mean() == pytest.approx(0.25, abs=0.07)
    again = RandomWeights(3, distribution=distribution, seed=5)
    assert torch.equal(derivative(again), draws[0])
    assert not torch.equal(derivative(RandomWeights(3, seed=6)), draws[0])


def test_dwa_by_hand() -> None:
    balancer = DynamicWeightAverage(3, temperature=2.0)
    ones = torch.ones(3).double()
    torch.testing.assert_close(derivative(balancer), ones)
    balancer.end_epoch(torch.tensor([2.0, 4.0, 1.0]))
    torch.testing.assert_close(derivative(balancer), ones)
    balancer.end_epoch(torch.tensor([1.0, 4.0, 2.0]))
    parts = [math.exp(0.25), math.exp(0.5), math.exp(1.0)]
    expected = 3 * torch.tensor(parts).double() / sum(parts)
    torch.testing.assert_close(derivative(balancer), expected)
    balancer.end_epoch(torch.tensor([9.0, 4.0, float("nan")]), torch.tensor([False, True, True]))
    parts = [math.exp(0.25), math.exp(0.5), math.exp(1.0)]  # 0: absent, 1: 4 / 4, 2: unknown.
    expected = 3 * torch.tensor(parts).double() / sum(parts)
    torch.testing.assert_close(derivative(balancer), expected)


def test_stch_plain_and_nadir() -> None:
    plain = SmoothTchebycheff(3, form="plain", mu=0.4, preference=PREFERENCE)
    expected = R * (R * torch.tensor(VALUES).double() / 0.4).softmax(0)
    torch.testing.assert_close(derivative(plain), expected)

    balancer = SmoothTchebycheff(3, mu=0.5, warmup_epochs=2)
    values = torch.tensor(VALUES).double()
    for _ in range(3):  # Two epochs of warm-up and the one that measures the nadir.
        torch.testing.assert_close(derivative(balancer), 1 / values)
        balancer.end_epoch(torch.tensor([1.0, 2.0, 4.0]))
    nadir = torch.tensor([1.0, 2.0, 4.0]).double()
    expected = 3 * ((values / nadir).log() / 0.5).softmax(0) / values
    torch.testing.assert_close(derivative(balancer), expected)


def test_dtp_weighs_hard_tasks_more() -> None:
    balancer = DynamicTaskPriority(3, gamma=2.0, discount=1.0)
    k = (-torch.tensor(VALUES).double()).exp()
    torch.testing.assert_close(derivative(balancer), -((1 - k) ** 2) * k.log())


def test_famo_is_the_authors_recipe() -> None:
    """A few steps against autograd and torch's own Adam."""
    balancer = FAMO(3, lr=0.025, weight_decay=1e-3)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.025, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        before = torch.rand(3, generator=generator, dtype=torch.float64) + 0.2
        after = before * (0.7 + 0.3 * torch.rand(3, generator=generator, dtype=torch.float64))
        z = w.detach().softmax(0)
        c = (z / (before + 1e-8)).sum()
        got = derivative(balancer, tuple(before.tolist()))
        torch.testing.assert_close(got, z / (before + 1e-8) / c)
        balancer.update(after)
        delta = (before + 1e-8).log() - (after + 1e-8).log()
        (w.grad,) = torch.autograd.grad(w.softmax(0), w, delta)
        adam.step()
        torch.testing.assert_close(balancer.logits, w.detach())


def test_importing_is_cheap_and_alone() -> None:
    code = (
        "import sys, time, torch\n"
        "start = time.process_time()\n"
        "import polytask.balancing\n"
        "print(time.process_time() - start)\n"
        "heavy = {'lightning', 'pydantic', 'typer', 'scipy', 'fastapi', 'torchmetrics', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = done.stdout.split("\n")[:2]
    assert loaded == "[]"
    assert float(seconds) < 0.25  # On a machine at rest it takes 20 ms.
