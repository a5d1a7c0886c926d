"""Complementarity problems by conjugate gradients, against pivoting and their own conditions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from polytask.balancing import SolverError, conjugate, pivoting, solvers
from polytask.balancing.conjugate import by_conjugate_gradients
from polytask.balancing.few import FEW, Array, by_masks, shortest_of_few
from polytask.balancing.pivoting import complementary
from polytask.balancing.solvers import cosines, in_dual_cone, min_norm, row_norms

KINDS = ["easy", "hard", "low rank", "twins", "opposites", "nearly twins", "zero sum", "fading"]


def rows(kind: str, count: int, seed: int) -> Tensor:
    """`[count, 5 count]`, each a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).double()

    found, common = normal(count, 5 * count), normal(5 * count)
    sides = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0).double()[:, None]
    half = count // 2
    if kind == "easy":
        found += 0.3 * common
    elif kind == "hard":  # Two camps, and sizes from 0.1 to 10.
        found = (sides * common + 0.3 * found) * 10 ** normal(count, 1).clamp(-1, 1)
    elif kind == "low rank":
        found = normal(count, (9 * count) // 10) @ normal((9 * count) // 10, 5 * count)
    elif kind == "twins":
        found[:half] = 2 * found[-half:]
    elif kind == "opposites":
        few = min(3, half)
        found[:few] = -3 * found[-few:]
    elif kind == "nearly twins":
        found[:half] = 2 * found[-half:] + 1e-3 * found[:half]
    elif kind == "zero sum":
        found -= found.mean(0)
    elif kind == "fading":
        found *= 10 ** (-3 * torch.arange(5 * count).double() / count)
    return found


def problem(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix and the pulls of UPGrad, as `in_dual_cone` makes them."""
    norms = row_norms(gramian)
    matrix = cosines(gramian, norms)
    matrix.diagonal().add_(1e-13)
    return matrix, norms[:, None] * matrix


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("count", [2, 7, 16, 45])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_pivoting_finds(kind: str, count: int, scale: float) -> None:
    gradients = rows(kind, count, seed=count)
    matrix, pull = problem(scale * gradients @ gradients.T)
    size = pull.abs().amax(1, keepdim=True)

    x = complementary(matrix, pull)
    slack = pull + x @ matrix
    most = torch.maximum(size, x.amax(1, keepdim=True))
    assert (x >= 0).all()
    assert (slack >= -1e-10 * most).all()
    assert ((x * slack).sum(1, keepdim=True).abs() <= 1e-10 * count * most**2).all()

    few = count <= FEW
    slow = (
        pivoting._from_scratch(matrix, pull, 1000) if few else complementary(matrix, pull, steps=0)
    )
    assert ((pull + slow @ matrix - slack).abs() <= 1e-9 * size).all()
    if kind in ("easy", "hard"):  # Elsewhere x itself is not unique, or ill-conditioned.
        assert ((slow - x).abs() <= 1e-9 * most).all()


@pytest.mark.parametrize("count", [*range(2, FEW + 1), 40, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_solve_few_tasks_or_say_that_they_do_not(kind: str, count: int) -> None:
    for seed in range(5):
        gradients = rows(kind, count, seed)
        matrix, pull = problem(gradients @ gradients.T)
        alone = pull.mean(0, keepdim=True)
        for some in (pull, alone) if count <= FEW else (alone,):
            found = by_masks(matrix.numpy(), some.numpy())
            if found is None:
                assert kind not in ("easy", "hard")
                continue
            x = torch.from_numpy(found)
            slack = some + x @ matrix
            most = torch.maximum(some.abs().amax(1), x.amax(1))[:, None]
            assert (x >= 0).all()
            assert (slack >= -1e-11 * most).all()
            assert ((x * slack).abs() <= 1e-11 * most**2).all()


@pytest.mark.parametrize("kind", KINDS)
def test_few_tasks_have_the_solutions_of_many(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (3, 8, 16, 60):
        gradients = rows(kind, count, seed=count)
        gramian = gradients @ gradients.T
        targets = torch.eye(count, dtype=torch.float64)
        if kind in ("easy", "hard"):
            assert shortest_of_few(gramian.numpy()) is not None
        few = [min_norm(gramian), in_dual_cone(gramian, targets)]
        with monkeypatch.context() as patch:
            patch.setattr(solvers, "shortest_of_few", lambda _: None)
            patch.setattr(solvers, "unit_rows", lambda _: None)
            for name in ("FEW", "ALONE"):
                patch.setattr(pivoting, name, 0)
            many = [min_norm(gramian), in_dual_cone(gramian, targets)]
        for one, other in zip(few, many, strict=True):
            size = gradients.norm(dim=1).max().item()
            torch.testing.assert_close(one @ gradients, other @ gradients, rtol=0, atol=1e-7 * size)


def test_what_masks_leave_is_pivoted() -> None:
    singular = torch.ones(3, 3).double()
    pull = -torch.ones(1, 3).double()
    assert by_masks(singular.numpy(), pull.numpy()) is None
    found = complementary(singular, pull)
    torch.testing.assert_close(found @ singular, -pull, rtol=1e-9, atol=0.0)
    gradients = rows("hard", 12, seed=0)
    matrix, some = problem(gradients @ gradients.T)
    assert by_masks(matrix.numpy(), some.numpy(), limit=1) is None
    undefined = torch.full((3, 3), torch.nan).double()
    assert by_masks(undefined.numpy(), pull.numpy()) is None


@pytest.mark.parametrize("count", [10, 40, 100])
@pytest.mark.parametrize(("kind", "steps"), [("easy", 18), ("hard", 27), ("twins", 18)])
def test_few_steps_solve_all_problems(kind: str, steps: int, count: int) -> None:
    for seed in range(3):
        gradients = rows(kind, count, seed)
        matrix, pull = problem(gradients @ gradients.T)
        assert by_conjugate_gradients(matrix.numpy(), pull.numpy(), steps)[2].all()


def test_what_one_step_has_solved_stays_solved() -> None:
    """Their residuals are exactly zero, while the other rows go on."""
    pairs = torch.tensor([[1.0, -0.5], [-0.5, 1.0]]).double()
    gradients = rows("easy", 6, seed=0)
    others, _ = problem(gradients @ gradients.T)
    matrix = torch.block_diag(pairs, pairs, others - 0.2 * (1 - torch.eye(6)))
    assert by_conjugate_gradients(matrix.numpy(), matrix.numpy(), 18)[2].all()


@pytest.mark.parametrize("kind", KINDS)
def test_pivoting_solves_what_steps_leave(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = rows(kind, 45, seed=0)
    matrix, pull = problem(gradients @ gradients.T)
    left = []
    pivot = pivoting._together

    def watched(matrix: Tensor, pull: Tensor, free: Tensor, limit: int) -> Tensor:
        left.append(len(pull))
        return pivot(matrix, pull, free, limit)

    monkeypatch.setattr(pivoting, "_together", watched)
    x = complementary(matrix, pull, steps=0)
    assert left[0] == int((pull < 0).any(1).sum())
    slack = pull + x @ matrix
    assert (slack >= -1e-9 * pull.abs().amax(1, keepdim=True)).all()
    assert (x * slack).abs().max() <= 1e-9 * pull.abs().max() ** 2

    left.clear()
    complementary(matrix, pull)
    if kind != "opposites":  # There the last digits decide.
        assert bool(left) == (kind in ("nearly twins", "fading"))


@pytest.mark.parametrize("seed", range(2, 6))
def test_twice_as_many_tasks_as_dimensions_are_solved(seed: int) -> None:
    """Exchanges have to be let go on one by one for a while: a hundred used not to be enough."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(30, 15, generator=generator).double()
    matrix, pull = problem(gradients @ gradients.T)
    x = complementary(matrix, pull)
    slack = pull + x @ matrix
    most = torch.maximum(pull.abs().amax(1, keepdim=True), x.amax(1, keepdim=True))
    assert (slack >= -1e-10 * most).all()
    assert (x * slack <= 1e-10 * most**2).all()


def test_no_answer_is_taken_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = rows("hard", 20, seed=0)
    matrix, pull = problem(gradients @ gradients.T)
    right = complementary(matrix, pull)
    descend = conjugate._descend

    def astray(m: Array, q: Array, free: Array, limit: int) -> tuple[Array, Array]:
        x, free = descend(m, q, free, limit)
        x, free = x.copy(), free.copy()
        x[0] *= 1 + 1e-9
        x[1, free[1].nonzero()[0][0]] = -1e-9
        x[2] = np.nan
        free[3] = ~free[3]
        return x, free

    monkeypatch.setattr(conjugate, "_descend", astray)
    _, _, solved = by_conjugate_gradients(matrix.numpy(), pull.numpy(), 100)
    assert solved.tolist() == 4 * [False] + 16 * [True]
    torch.testing.assert_close(complementary(matrix, pull), right, rtol=1e-9, atol=1e-9)


def test_what_is_not_finite_is_not_solved() -> None:
    matrix = np.eye(3)
    matrix[0, 1] = matrix[1, 0] = np.nan
    assert not by_conjugate_gradients(matrix, -np.eye(3), 100)[2].any()
    singular = np.diag([1.0, 1.0, -conjugate.BLUR])
    assert not by_conjugate_gradients(singular, -np.eye(3), 100)[2].any()


def test_where_nothing_conflicts_nothing_is_changed() -> None:
    gramian = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)).double()
    gramian = gramian @ gramian.T
    eye = torch.eye(12).double()
    assert in_dual_cone(gramian, eye).equal(eye)


def test_a_problem_that_neither_solves_is_an_error() -> None:
    gradients = rows("hard", 20, seed=0)
    with pytest.raises(SolverError, match="0 exchanges"):
        complementary(*problem(gradients @ gradients.T), limit=0, steps=0)


@pytest.mark.parametrize("kind", ["easy", "hard", "low rank"])
def test_projections_agree_with_all_rows(kind: str) -> None:
    gradients = rows(kind, 30, seed=1)
    norms = gradients.norm(dim=1)
    v = in_dual_cone(gradients @ gradients.T, torch.eye(30).double())
    update = v @ gradients
    assert (update @ gradients.T / norms >= -1e-10 * norms[:, None]).all()
    # What the projection has taken off is orthogonal to what it leaves.
    assert (((update - gradients) * update).sum(1).abs() <= 1e-10 * norms**2).all()
