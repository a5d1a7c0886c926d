"""The solvers on Gramians that are no pleasure: rank-deficient, imbalanced, noisy, cancelling."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.balancing import SolverError, pivoting, solvers
from polytask.balancing.solvers import (
    conflict_averse,
    cosines,
    equal_projections,
    fair,
    in_dual_cone,
    min_norm,
    row_norms,
)


def unpleasant(seed: int) -> Tensor:
    """A Gramian with up to 8 orders of imbalance, twins or opposites, in float32 now and then."""
    generator = torch.Generator().manual_seed(seed)
    count, rank = torch.randint(2, 13, (2,), generator=generator).tolist()
    wide = 8 * torch.rand(1, generator=generator).double()
    mix = torch.randn(count, rank, generator=generator).double()
    rows = mix @ torch.randn(rank, 20, generator=generator).double()
    rows = rows * 10 ** (wide * torch.rand(count, 1, generator=generator).double())
    if seed % 4 == 1:
        rows[0] = -3 * rows[-1]
    if seed % 4 == 2:
        rows[0] = 0.5 * rows[-1]
    if seed % 4 == 3:
        rows = rows * 1e-6
    if seed % 5 == 0:  # A Gramian that isn't quite positive semidefinite.
        return (rows.float() @ rows.float().T).double()
    return rows @ rows.T


@given(
    angle=st.floats(0, math.pi) | st.sampled_from([0.0, math.pi / 2, math.pi]),
    sizes=st.tuples(*[st.sampled_from([0.0, 1e-15, 1e-3, 1.0, 7.0, 1e6, 1e15])] * 2),
    target=st.tuples(*[st.floats(-3, 3)] * 2),
)
@example(angle=2.25, sizes=(1e15, 7.0), target=(-1.0, -1.625))
@settings(deadline=None, max_examples=200)
def test_two_tasks_have_a_form_of_their_own(
    angle: float, sizes: tuple[float, float], target: tuple[float, float]
) -> None:
    """It gives what the solver of any number of tasks gives."""
    a, b = sizes
    rows = torch.tensor([[a, 0.0], [b * math.cos(angle), b * math.sin(angle)]]).double()
    gramian, norms = rows @ rows.T, rows.norm(dim=1)
    targets = torch.cat([torch.eye(2), torch.tensor([target])]).double()
    found = in_dual_cone(gramian, targets)
    assert (found >= targets).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "_in_cone_of_two", lambda gramian, target: None)
        other = in_dual_cone(gramian, targets)
    lengths = targets.abs().sum(1) * norms.max()
    assert ((found @ rows - other @ rows).norm(dim=1) <= 1e-6 * lengths).all()

    w = min_norm(gramian)
    assert w.sum() == pytest.approx(1.0)
    # On either side of the segment's nearest point there is no nearer one.
    shortest = (w @ rows).norm()
    for step in (1e-3, -1e-3):
        beside = (w[0] + step).clamp(0, 1)
        moved = (torch.stack([beside, 1 - beside]) @ rows).norm()
        assert moved >= shortest - 1e-9 * norms.min()


@pytest.mark.parametrize("seed", range(40))
def test_unpleasant_gramians(seed: int) -> None:
    gramian = unpleasant(seed)
    count, norms = len(gramian), row_norms(gramian)
    noisy = seed % 5 == 0
    slack = 1e-5 if noisy else 1e-9

    w = min_norm(gramian)
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1.0)
    size = w @ norms if noisy else norms.min()
    assert ((gramian @ w - w @ gramian @ w) >= -slack * norms * size).all()

    assert conflict_averse(gramian, 0.4).isfinite().all()

    v = in_dual_cone(gramian, torch.eye(count).double())
    assert (v >= torch.eye(count) - 1e-9).all()
    size = (v * norms).sum(1, keepdim=True)
    assert ((v @ gramian) >= -slack * norms * size).all()
    assert ((v - torch.eye(count)) * (v @ gramian) <= slack * size**2).all()

    assert equal_projections(gramian)[0].isfinite().all()

    matrix = cosines(gramian, norms)
    shortest = min_norm(matrix)
    closeness = float(shortest @ matrix @ shortest)
    try:
        assert (fair(gramian, 1.0) > 0).all()
    except SolverError:
        assert closeness < (1e-6 if noisy else 1e-9)  # Only where gradients cancel.
    else:
        assert closeness > 1e-15


@pytest.mark.parametrize("room", [1, 400])
def test_problems_in_small_blocks_have_the_same_solutions(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    gramian = rows @ rows.T
    together = in_dual_cone(gramian, torch.eye(20).double())
    assert (together > 1e-6).sum() > 100  # hardly one free set is like another
    monkeypatch.setattr(pivoting, "ROOM", room)
    torch.testing.assert_close(in_dual_cone(gramian, torch.eye(20).double()), together)


def test_a_tie_of_opposites_has_the_mean_as_its_conflict_averse_update() -> None:
    gramian = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double()
    torch.testing.assert_close(conflict_averse(gramian, 0.4), torch.full((2,), 0.5).double())


@pytest.mark.parametrize("count", [1, 2, 30])
def test_nothing_at_all(count: int) -> None:
    zero = torch.zeros(count, count).double()
    assert min_norm(zero).sum() == pytest.approx(1.0)
    assert in_dual_cone(zero, torch.eye(count).double()).equal(torch.eye(count).double())
    assert conflict_averse(zero, 0.4).isfinite().all()
    with pytest.raises(SolverError, match="zero"):
        fair(zero, 1.0)


@pytest.mark.parametrize("opposed", [False, True])
@pytest.mark.parametrize("count", [3, 12, 40])
def test_optima_are_certified_by_their_duals(count: int, opposed: bool) -> None:
    generator = torch.Generator().manual_seed(count)
    rows = torch.randn(count, 200, generator=generator).double()
    if opposed:  # Two camps, and rows of unlike size.
        common = torch.randn(200, generator=generator).double()
        rows = 0.3 * rows + torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0)[:, None] * common
        rows = rows * 10 ** (2 * torch.rand(count, 1, generator=generator).double() - 1)
    gramian = rows @ rows.T

    w = min_norm(gramian)
    assert (gramian @ w).min() == pytest.approx(float(w @ gramian @ w), rel=1e-9)

    mean = torch.full((count,), 1 / count).double()
    mean = mean / mean.sum()
    for c in (0.1, 0.4, 0.9):
        found = conflict_averse(gramian, c)
        y = (found - mean) / (found - mean).sum()
        size, length = (mean @ gramian @ mean).sqrt(), (y @ gramian @ y).sqrt()
        bound = y @ gramian @ mean + c * size * length
        assert (gramian @ found).min() == pytest.approx(float(bound), rel=1e-9)

    v = in_dual_cone(gramian, torch.eye(count).double())
    size = (v * row_norms(gramian)).sum(1, keepdim=True)
    assert (v >= torch.eye(count)).all()
    assert (v @ gramian >= -1e-11 * row_norms(gramian) * size).all()
    assert (((v - torch.eye(count)) * (v @ gramian)).sum(1).abs() <= 1e-9 * size[:, 0] ** 2).all()

    w = fair(gramian, 1.0)
    torch.testing.assert_close(w * (gramian @ w), torch.ones(count).double(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_the_magnitude_of_a_gramian_is_of_no_account(scale: float) -> None:
    rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).double()
    gramian = rows @ rows.T
    for solve in (min_norm, lambda g: conflict_averse(g, 0.4), lambda g: in_dual_cone(g, g / g)):
        torch.testing.assert_close(solve(scale * gramian), solve(gramian), rtol=1e-6, atol=1e-9)
