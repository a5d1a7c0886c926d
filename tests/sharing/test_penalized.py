"""Columns that only a penalty couples."""

from typing import Any

import pytest
import torch
from torch import nn

from polytask.backbones import PerceptronBackbone
from polytask.sharing import Independent, SoftSharing
from polytask.sharing.penalized import squared_distances, trace_norm
from polytask.types import Features
from tests.networks import TASKS, batch, network, parameters
from tests.training.loops import fabric
from tests.training.test_step import same, step

NAMES = ["a", "b", "c"]
every_pull = pytest.mark.parametrize("pull", ["distance", "trace_norm"])


def made(**settings: Any) -> SoftSharing:
    torch.manual_seed(0)
    return SoftSharing(lambda: PerceptronBackbone(4, widths=(5, 3)), NAMES, **settings)


def vectors(trunk: SoftSharing) -> torch.Tensor:
    """`[T, P]`."""
    return torch.stack(
        [nn.utils.parameters_to_vector(trunk.columns[task].parameters()) for task in NAMES]
    ).detach()


def test_two_tasks_distance_is_half_the_square_of_theirs() -> None:
    a, b = torch.randn(6), torch.randn(6)
    expected = 0.5 * (a - b).square().sum()
    torch.testing.assert_close(squared_distances(torch.stack([a, b])), expected)


def test_trace_norm_is_the_sum_of_singular_values() -> None:
    rows = torch.randn(3, 40, requires_grad=True)
    found, expected = trace_norm(rows), torch.linalg.svdvals(rows).sum()
    torch.testing.assert_close(found, expected)
    (ours,), (theirs,) = (torch.autograd.grad(value, rows) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_rows_that_depend_on_each_other_have_a_finite_gradient() -> None:
    row = torch.randn(9)
    same_rows = row.expand(3, 9).clone().requires_grad_()
    trace_norm(same_rows).backward()
    assert same_rows.grad is not None
    expected = (row / (row.norm() * 3**0.5)).expand(3, 9)
    torch.testing.assert_close(same_rows.grad, expected)
    zeros = torch.zeros(3, 9, requires_grad=True)
    trace_norm(zeros).backward()
    assert zeros.grad is not None and not zeros.grad.any()


@every_pull
def test_a_loss_moves_its_own_column_and_the_penalty_moves_all(pull: str) -> None:
    trunk = made(pull=pull, same_start=False)
    trunk(Features(torch.randn(6, 4)), NAMES)["a"].values.sum().backward()
    for name, parameter in trunk.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.any())
        assert not (moved and not name.startswith("columns.a.")), name
    trunk.zero_grad()
    found = trunk.penalty()
    assert found is not None
    found.backward()
    weights = [(n, p) for n, p in trunk.named_parameters() if n.endswith("linear.weight")]
    assert len(weights) == 6
    assert all(p.grad is not None and p.grad.any() for _, p in weights)


def test_columns_start_alike_or_apart() -> None:
    alike, apart = vectors(made()), vectors(made(same_start=False))
    assert torch.equal(alike[0], alike[1]) and torch.equal(alike[0], alike[2])
    assert torch.equal(alike[0], apart[0]) and not torch.equal(apart[0], apart[1])
    found = made().penalty()
    assert found is not None and float(found.detach()) == pytest.approx(0.0, abs=1e-12)


@every_pull
def test_one_task_has_nothing_to_be_like(pull: str) -> None:
    trunk = SoftSharing(lambda: PerceptronBackbone(4), ["a"], pull=pull)  # type: ignore[arg-type]
    assert trunk.penalty() is None
    for parameter in (frozen := made(pull=pull)).parameters():
        parameter.requires_grad_(False)
    assert frozen.penalty() is None


def test_without_weight_it_is_independent_columns() -> None:
    torch.manual_seed(0)
    plain = Independent(lambda: PerceptronBackbone(4, widths=(5, 3)), NAMES)
    soft = made(weight=0.0, same_start=False)
    x = Features(torch.randn(3, 4))
    for task, found in soft(x, NAMES).items():
        assert torch.equal(found.values, plain(x, [task])[task].values)


def test_a_stronger_pull_leaves_columns_nearer_and_of_lower_rank() -> None:
    """Each task wants its column elsewhere; what is left of that after some steps."""
    left: dict[tuple[str, float], torch.Tensor] = {}
    for pull in ("distance", "trace_norm"):
        for weight in (0.0, 0.3):
            trunk = made(pull=pull, weight=weight)
            random = torch.Generator().manual_seed(1)
            x = Features(torch.randn(32, 4, generator=random))
            wanted = {task: torch.randn(32, 3, generator=random) for task in NAMES}
            optimizer = torch.optim.Adam(trunk.parameters(), lr=0.02)
            for _ in range(60):
                found = trunk(x, NAMES)
                loss = torch.stack(
                    [(found[t].values - wanted[t]).square().mean() for t in NAMES]
                ).sum()
                coupling = trunk.penalty()
                assert coupling is not None
                optimizer.zero_grad()
                (loss + coupling).backward()
                optimizer.step()
            left[pull, weight] = vectors(trunk)
    near, far = (squared_distances(left["distance", w]) for w in (0.3, 0.0))
    assert near < 0.2 * far
    low, high = (torch.linalg.svdvals(left["trace_norm", w]) for w in (0.3, 0.0))
    assert (low[1:] / low[0]).sum() < 0.5 * (high[1:] / high[0]).sum()


def test_in_a_step_the_penalty_is_added_to_each_column() -> None:
    model, plain, examples = network(trunk="soft"), network(trunk="independent"), batch()
    assert isinstance(model.trunk, SoftSharing)
    with torch.no_grad():
        for column, (name, other) in zip(
            model.trunk.columns.parameters(), plain.trunk.named_parameters(), strict=True
        ):
            assert column.shape == other.shape, name
            column.copy_(other)
    before = parameters(plain)
    coupling = model.trunk.penalty()
    assert coupling is not None
    coupling.backward()
    pulls = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    record = step(fabric(), model, examples)
    step(fabric(), plain, examples)
    assert record.penalty is not None and torch.equal(record.penalty, coupling.detach())
    expected = parameters(plain)
    for name, pull in pulls.items():
        assert not torch.equal(before[name], expected[name])
        expected[name] = expected[name] - 0.1 * pull
    assert len(pulls) == 4 * len(TASKS)
    same(parameters(model), expected)
