"""Each Gramian method against an independent computation of the same formula."""

import itertools
from typing import Any

import numpy as np
import pytest
import quadprog
import torch
import torchjd.aggregation as jd
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.balancing import (
    DBMTL,
    EDM,
    IMTL,
    IMTLG,
    MGDA,
    AlignedMTL,
    CAGrad,
    ConFIG,
    DualProj,
    ExcessMTL,
    FairGrad,
    GradNorm,
    GramianBalancer,
    Krum,
    MetaBalance,
    MoCo,
    MoDo,
    NashMTL,
    SDMGrad,
    SmoothedWeights,
    SolverError,
    TrimmedMean,
    UPGrad,
    backward,
)
from polytask.balancing.elementwise import graddrop_update
from polytask.balancing.projection import gradvac_weights, pcgrad_weights
from polytask.balancing.solvers import onto_simplex


def gaussian(count: int = 3, size: int = 8, seed: int = 0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) + shift


def spread(count: int, seed: int) -> Tensor:
    """Rows of very different length."""
    return gaussian(count, 30, seed) * torch.logspace(-2, 2, count).double()[:, None]


def weights(balancer: GramianBalancer, jacobian: Tensor, losses: Tensor | None = None) -> Tensor:
    losses = torch.ones(len(jacobian)).double() if losses is None else losses
    return balancer(jacobian @ jacobian.T, losses)


def update(balancer: GramianBalancer, jacobian: Tensor) -> Tensor:
    return weights(balancer, jacobian) @ jacobian


SHAPES = [(2, 0), (3, 1), (5, 2), (9, 3)]


@pytest.mark.parametrize(("count", "seed"), SHAPES)
@pytest.mark.parametrize("kind", ["even", "spread", "flat"])
def test_mgda_is_the_min_norm_point(count: int, seed: int, kind: str) -> None:
    jacobian = {
        "even": gaussian(count, 30, seed),
        "spread": spread(count, seed),
        "flat": gaussian(count, 2, seed, shift=0.5),
    }[kind]
    gramian = jacobian @ jacobian.T
    w = weights(MGDA(count), jacobian)
    assert w.sum() == pytest.approx(1.0)
    assert (w >= 0).all()
    point = w @ jacobian
    # Optimal: no gradient has a smaller product with the point than the point itself.
    norms = gramian.diagonal().sqrt()
    assert ((jacobian @ point - point @ point) >= -1e-9 * norms * norms.min()).all()


def test_mgda_of_two_tasks_in_closed_form() -> None:
    a, b = gaussian(2, seed=4)
    w = weights(MGDA(2), torch.stack([a, b]))
    first = ((b - a) @ b / (a - b).square().sum()).clamp(0, 1)
    torch.testing.assert_close(w, torch.stack([first, 1 - first]))


@pytest.mark.parametrize("normalizer", ["none", "l2", "loss", "loss+"])
def test_mgda_normalizers_shape_the_weights_only(normalizer: Any) -> None:
    jacobian, losses = gaussian(3, seed=5), torch.tensor([0.5, 2.0, 3.0]).double()
    norms = jacobian.norm(dim=1)
    size = {"none": 1, "l2": norms, "loss": losses, "loss+": losses * norms}[normalizer]
    scaled = (jacobian.T / size).T
    expected = weights(MGDA(3), scaled)
    torch.testing.assert_close(weights(MGDA(3, normalizer=normalizer), jacobian, losses), expected)


def project_in_turn(jacobian: Tensor, orders: Tensor) -> Tensor:
    total = torch.zeros_like(jacobian[0])
    for i, order in enumerate(orders):
        g = jacobian[i].clone()
        for j in order:
            if j != i and g @ jacobian[j] < 0:
                g -= (g @ jacobian[j]) / (jacobian[j] @ jacobian[j]) * jacobian[j]
        total += g
    return total


@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_on_vectors(seed: int) -> None:
    jacobian = gaussian(4, 5, seed)
    orders = torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)).argsort(1)
    w = pcgrad_weights(jacobian @ jacobian.T, orders)
    torch.testing.assert_close(w @ jacobian, project_in_turn(jacobian, orders))


def test_pcgrad_of_two_tasks_is_torchjds() -> None:
    jacobian = gaussian(2, seed=7)
    order = torch.tensor([[0, 1], [1, 0]])
    w = pcgrad_weights(jacobian @ jacobian.T, order)
    torch.testing.assert_close(w @ jacobian, jd.PCGrad()(jacobian))


def vaccinate_in_turn(jacobian: Tensor, orders: Tensor, wanted: Tensor, beta: float) -> Tensor:
    total = torch.zeros_like(jacobian[0])
    for i, order in enumerate(orders):
        g = jacobian[i].clone()
        for j in order:
            if j == i:
                continue
            c = g @ jacobian[j] / (g.norm() * jacobian[j].norm())
            m = wanted[i, j].clone()
            if c < m:
                turn = m * (1 - c**2).sqrt() - c * (1 - m**2).sqrt()
                g += g.norm() * turn / (jacobian[j].norm() * (1 - m**2).sqrt()) * jacobian[j]
            wanted[i, j] = (1 - beta) * m + beta * c
        total += g
    return total


def test_gradvac_on_vectors() -> None:
    wanted, ours = torch.zeros(4, 4).double(), torch.zeros(4, 4).double()
    for seed in range(6):
        jacobian = gaussian(4, 5, seed, shift=0.2)
        orders = torch.rand(4, 4, generator=torch.Generator().manual_seed(seed)).argsort(1)
        expected = vaccinate_in_turn(jacobian, orders, wanted, 0.5)
        w = gradvac_weights(jacobian @ jacobian.T, orders, ours, 0.5)
        torch.testing.assert_close(w @ jacobian, expected)
        torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize(("count", "seed"), SHAPES)
@pytest.mark.parametrize("c", [0.2, 0.4, 0.8])
def test_cagrad_reaches_its_own_bound(count: int, seed: int, c: float) -> None:
    """The worst gain of d equals the dual bound, so both are optimal."""
    for jacobian in (gaussian(count, 20, seed), spread(count, seed)):
        mean = jacobian.mean(0)
        w = weights(CAGrad(count, c=c), jacobian) * (1 + c**2)
        d = w @ jacobian
        assert (d - mean).norm() == pytest.approx(float(c * mean.norm()), rel=1e-6)
        shares = (w - 1 / count).clamp_min(0)
        shares = shares / shares.sum()
        worst = shares @ jacobian
        bound = worst @ mean + c * mean.norm() * worst.norm()
        gain = (jacobian @ d).min()
        assert abs(bound - gain) <= 1e-6 * mean.norm() * jacobian.norm(dim=1).min()


@pytest.mark.parametrize(("count", "seed"), SHAPES)
def test_nash_mtl_solves_its_equation(count: int, seed: int) -> None:
    for jacobian in (gaussian(count, 20, seed), spread(count, seed)):
        w = weights(NashMTL(count), jacobian)
        assert (w > 0).all()
        torch.testing.assert_close(w * (jacobian @ (w @ jacobian)), torch.ones(count).double())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("count", "seed"), SHAPES)
def test_fairgrad_solves_its_equation(count: int, seed: int, alpha: float) -> None:
    for jacobian in (gaussian(count, 20, seed), spread(count, seed)):
        w = weights(FairGrad(count, alpha=alpha), jacobian)
        torch.testing.assert_close(
            w ** (1 / alpha) * (jacobian @ (w @ jacobian)), torch.ones(count).double()
        )


def test_no_fair_update_is_said() -> None:
    a = gaussian(1)[0]
    for jacobian in (torch.stack([a, -a]), torch.stack([a, a * 0])):
        for balancer in (NashMTL(2), FairGrad(2, alpha=2.0), FairGrad(2, alpha=0.5)):
            with pytest.raises(SolverError):
                weights(balancer, jacobian)


def onto_dual_cone(jacobian: Tensor, target: Tensor) -> Tensor:
    """The vector nearest to `target` that conflicts with no row, by quadratic programming."""
    size = jacobian.shape[1]
    rows = jacobian / jacobian.norm(dim=1, keepdim=True)
    solved = quadprog.solve_qp(np.eye(size), target.numpy(), rows.T.numpy(), np.zeros(len(rows)))
    return torch.from_numpy(solved[0])


@pytest.mark.parametrize(("count", "seed"), SHAPES)
def test_projections_onto_the_dual_cone(count: int, seed: int) -> None:
    for jacobian in (gaussian(count, 12, seed), spread(count, seed), gaussian(count, 6, seed, 1.0)):
        each = torch.stack([onto_dual_cone(jacobian, row) for row in jacobian])
        torch.testing.assert_close(
            update(UPGrad(count), jacobian), each.mean(0), rtol=1e-7, atol=1e-9
        )
        torch.testing.assert_close(
            update(DualProj(count), jacobian),
            onto_dual_cone(jacobian, jacobian.mean(0)),
            rtol=1e-7,
            atol=1e-9,
        )


@pytest.mark.parametrize(("count", "seed"), SHAPES)
def test_imtl_g_projects_equally(count: int, seed: int) -> None:
    for jacobian in (gaussian(count, 12, seed), spread(count, seed)):
        w = weights(IMTLG(count), jacobian)
        d = w @ jacobian
        assert w.sum() == pytest.approx(1.0)
        projections = jacobian @ d / jacobian.norm(dim=1)
        torch.testing.assert_close(projections, projections.mean().expand(count))
    torch.testing.assert_close(
        update(IMTLG(3), gaussian(3, seed=1)), jd.IMTLG()(gaussian(3, seed=1))
    )


def test_imtl_scales_losses_too() -> None:
    jacobian, losses = gaussian(3, seed=1), torch.tensor([0.5, 1.0, 4.0]).double()
    balancer = IMTL(3).double()
    balancer.log_scale.data = torch.tensor([0.2, -0.4, 0.1]).double()
    scale = balancer.log_scale.detach().exp()
    expected = weights(IMTLG(3), scale[:, None] * jacobian) * scale
    torch.testing.assert_close(weights(balancer, jacobian, losses), expected)
    torch.testing.assert_close(balancer.log_scale.grad, scale * losses - 1)


def test_aligned_mtl_is_torchjds_sum() -> None:
    jacobian = gaussian(4, 10, seed=5)
    for mode in ("min", "median", "rmse"):
        theirs = jd.AlignedMTL(scale_mode=mode)(jacobian)
        torch.testing.assert_close(update(AlignedMTL(4, mode=mode), jacobian), theirs * 4)


def test_aligned_mtl_makes_the_condition_number_one() -> None:
    jacobian = gaussian(3, 10, seed=6)
    units = [
        update(AlignedMTL(3, preference=tuple(p)), jacobian)
        for p in (np.ones(3) * 1e-9 + 3 * np.eye(3)).tolist()
    ]
    aligned = torch.stack(units) / 3 * 1  # Rows of the aligned gradients.
    gramian = aligned @ aligned.T
    torch.testing.assert_close(gramian / gramian[0, 0], torch.eye(3).double(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("count", "seed"), SHAPES)
def test_config_is_torchjds(count: int, seed: int) -> None:
    jacobian = gaussian(count, 12, seed)
    torch.testing.assert_close(update(ConFIG(count), jacobian), jd.ConFIG()(jacobian))
    d = update(ConFIG(count), spread(count, seed))
    cosines = spread(count, seed) @ d / spread(count, seed).norm(dim=1) / d.norm()
    torch.testing.assert_close(cosines, cosines.mean().expand(count))


def test_edm_makes_equal_angles() -> None:
    jacobian = spread(4, 3)
    w = weights(EDM(4), jacobian)
    d = w @ jacobian
    assert w.sum() == pytest.approx(1.0)
    assert (w > 0).all()
    cosines = jacobian @ d / jacobian.norm(dim=1)
    torch.testing.assert_close(cosines, cosines.mean().expand(4))


def test_gradnorm_learns_by_its_objective() -> None:
    jacobian = gaussian(3, seed=8)
    balancer = GradNorm(3, alpha=1.5).double()
    first = torch.tensor([1.0, 2.0, 3.0]).double()
    weights(balancer, jacobian, first)
    balancer.logits.grad = None
    losses = torch.tensor([0.9, 1.0, 2.9]).double()
    torch.testing.assert_close(weights(balancer, jacobian, losses), torch.ones(3).double())

    norms = jacobian.norm(dim=1) / jacobian.norm(dim=1).mean()
    rate = (losses / first) / (losses / first).mean()
    target = norms.mean() * rate**1.5
    slope = torch.sign(norms - target) * norms  # By the weights, at weights of one.
    expected = slope - slope.mean()  # Through 3 softmax(v) at v = 0.
    torch.testing.assert_close(balancer.logits.grad, expected)


def test_metabalance_by_hand() -> None:
    jacobian = torch.eye(3).double() * torch.tensor([1.0, 2.0, 4.0]).double()[:, None]
    balancer = MetaBalance(3, primary=0, relax=0.7, beta=0.9)
    expected = 0.7 * torch.tensor([1.0, 0.5, 0.25]) + 0.3
    torch.testing.assert_close(weights(balancer, jacobian), expected.double())
    again = weights(balancer, 2 * jacobian)  # Means move a tenth of the way: ratios stay.
    torch.testing.assert_close(again, expected.double())
    torch.testing.assert_close(balancer.sizes, torch.tensor([1.1, 2.2, 4.4]).double())


def test_krum_and_the_trimmed_mean_are_torchjds() -> None:
    jacobian = gaussian(6, seed=2)
    for faulty, selected in ((1, 1), (1, 3), (2, 2)):
        ours = update(Krum(6, faulty=faulty, selected=selected), jacobian)
        torch.testing.assert_close(ours, jd.Krum(faulty, selected)(jacobian))
    ours = TrimmedMean(6, trim=2, scale="paper")(jacobian, torch.ones(6).double())
    torch.testing.assert_close(ours, jd.TrimmedMean(2)(jacobian))


def test_graddrop_entry_by_entry() -> None:
    jacobian = gaussian(4, 30, seed=3)
    draws = torch.rand(30, generator=torch.Generator().manual_seed(0)).double()
    for leak in (0.0, 0.3):
        got = graddrop_update(jacobian, draws, leak)
        for column, draw, value in zip(jacobian.T, draws, got, strict=True):
            purity = 0.5 * (1 + column.sum() / column.abs().sum())
            up = purity > draw
            parts = [float(g) if (g > 0) == up else leak * float(g) for g in column]
            assert float(value) == pytest.approx(sum(parts))


def test_cr_mogm_is_a_running_mean() -> None:
    balancer, inner = SmoothedWeights(3, inner="mgda", gamma=0.8), MGDA(3)
    mean = None
    for seed in range(4):
        jacobian = gaussian(3, seed=seed)
        now = 3 * weights(inner, jacobian)
        mean = now if mean is None else 0.8 * mean + 0.2 * now
        torch.testing.assert_close(weights(balancer, jacobian), mean)
    with pytest.raises(ValueError, match="inner"):
        SmoothedWeights(3, inner="uw")


def test_db_mtl_by_hand() -> None:
    balancer = DBMTL(3, beta=0.6, decay=0.5, scale="paper").double()
    mean, left = torch.zeros(3, 8).double(), 1.0
    for step in range(4):
        jacobian, losses = gaussian(3, seed=step), torch.rand(3).double() + 0.5
        b = 0.6 / (step + 1) ** 0.5
        mean, left = b * mean + (1 - b) * (jacobian / losses[:, None]), left * b
        g = mean / (1 - left)
        norms = g.norm(dim=1)
        torch.testing.assert_close(balancer(jacobian, losses), (norms.max() / norms) @ g)
    first = DBMTL(3, scale="paper").double()(jacobian, losses)  # No trace of the start at zero.
    g = jacobian / losses[:, None]
    torch.testing.assert_close(first, (g.norm(dim=1).max() / g.norm(dim=1)) @ g)


def test_moco_by_hand() -> None:
    balancer = MoCo(3, beta=0.5, gamma=0.3, rho=0.1, scale="paper").double()
    mean, shares = gaussian(3, seed=0), torch.full((3,), 1 / 3).double()
    for step in range(4):
        jacobian = gaussian(3, seed=step)
        mean = mean - (0.5 / (step + 1) ** 0.5) * (mean - jacobian) if step else jacobian
        products = mean @ mean.T / mean.square().sum(1).mean()
        point = shares - 0.3 / (step + 1) ** 0.5 * (products @ shares + 0.1 * shares)
        nearest = quadprog.solve_qp(
            np.eye(3), point.numpy(), np.c_[np.ones(3), np.eye(3)], np.array([1.0, 0, 0, 0]), 1
        )
        shares = torch.from_numpy(nearest[0])
        got = balancer(jacobian, torch.ones(3).double())
        torch.testing.assert_close(got, shares @ mean)


def test_excessmtl_by_hand() -> None:
    balancer = ExcessMTL(3, eta=0.5, scale="paper").double()
    squares, w, first = torch.zeros(3, 8).double(), torch.full((3,), 1 / 3).double(), None
    for step in range(4):
        jacobian = gaussian(3, seed=step)
        squares = squares + jacobian**2
        risk = (jacobian**2 / squares.sqrt()).sum(1)
        if first is None:
            first = risk
        else:
            w = w * (0.5 * risk / first).exp()
            w = w / w.sum()
        got = balancer(jacobian, torch.ones(3).double())
        torch.testing.assert_close(got, w @ jacobian)


def test_modo_and_sdmgrad_are_torchjds() -> None:
    ours, theirs = MoDo(3, gamma=0.02, rho=0.1, scale="paper"), jd.MoDoWeighting(0.02, 0.1)
    other = SDMGrad(3, pull=0.3, lr=2.0, momentum=0.5, steps=20, scale="paper")
    their_other = jd.SDMGradWeighting(lr=2.0, momentum=0.5, n_iter=20, lambda_=0.3)
    for seed in range(4):
        one, two = gaussian(3, seed=seed), gaussian(3, seed=seed) + 0.3 * gaussian(3, seed=seed + 9)
        products = one @ two.T
        losses = torch.ones(3).double()
        torch.testing.assert_close(ours(products, losses), theirs(products))
        torch.testing.assert_close(
            other(products, losses), their_other(products), rtol=1e-5, atol=1e-7
        )


def test_two_batches_are_used() -> None:
    torch.manual_seed(0)
    theta = torch.nn.Parameter(torch.zeros(6).double())
    one, two = gaussian(3, 6, seed=1), gaussian(3, 6, seed=2)
    balancer, same = SDMGrad(3), SDMGrad(3)
    w = backward(list(one @ theta), balancer, [theta], independent=list(two @ theta))
    assert w is not None
    expected = 3 * same(one @ two.T, torch.zeros(3).double())
    torch.testing.assert_close(w, expected)
    torch.testing.assert_close(theta.grad, expected @ (one + two) / 2)
    with pytest.raises(ValueError, match="independent"):
        backward(list(one @ theta), balancer, [theta])
    with pytest.raises(ValueError, match="one batch"):
        backward(list(one @ theta), MGDA(3), [theta], independent=list(two @ theta))


def test_projection_onto_the_simplex() -> None:
    for seed in range(10):
        point = 3 * gaussian(1, 5, seed)[0]
        expected = quadprog.solve_qp(
            np.eye(5), point.numpy(), np.c_[np.ones(5), np.eye(5)], np.eye(6)[0], 1
        )[0]
        torch.testing.assert_close(onto_simplex(point), torch.from_numpy(expected))


METHODS = [MGDA, CAGrad, UPGrad, DualProj, NashMTL, IMTLG, ConFIG, AlignedMTL, EDM]


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    shift=st.floats(-0.5, 1.5),
    power=st.floats(-15, 15),
    method=st.sampled_from(METHODS),
)
def test_the_magnitude_of_gradients_does_not_matter(
    count: int, seed: int, shift: float, power: float, method: Any
) -> None:
    jacobian = gaussian(count, 40, seed, shift)
    balancer = method(count)
    one = balancer.scaled(weights(balancer, jacobian))
    other = balancer.scaled(weights(balancer, jacobian * 10**power))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 6),
    rank=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    wide=st.floats(0, 4),
    method=st.sampled_from([MGDA, UPGrad, DualProj]),
)
def test_non_conflicting_methods_conflict_with_nobody(
    count: int, rank: int, seed: int, wide: float, method: Any
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(count, rank, generator=generator, dtype=torch.float64)
    sizes = 10 ** (wide * torch.rand(count, 1, generator=generator, dtype=torch.float64))
    jacobian = sizes * (mix @ gaussian(rank, 20, seed))
    d = update(method(count), jacobian)
    norms = jacobian.norm(dim=1)
    assert (jacobian @ d >= -1e-6 * norms * norms.max()).all()
    if d.norm() > 1e-5 * norms.max():
        assert (jacobian @ d >= -1e-6 * norms * d.norm()).all()


def test_upgrad_grows_in_proportion_with_each_gradient() -> None:
    """Linear under scaling: the map from row scales to the update is linear."""
    jacobian = gaussian(3, seed=2)
    for one, other in itertools.pairwise([(1.0, 2.0, 3.0), (0.1, 5.0, 1.0), (4.0, 1.0, 0.2)]):
        a, b = torch.tensor(one).double()[:, None], torch.tensor(other).double()[:, None]
        total = update(UPGrad(3), a * jacobian) + update(UPGrad(3), b * jacobian)
        torch.testing.assert_close(update(UPGrad(3), (a + b) * jacobian), total)
