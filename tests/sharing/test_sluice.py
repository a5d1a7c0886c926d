"""Subspaces of all columns mixed, stages mixed, and the penalty on the overlap of subspaces."""

import pytest
import torch

from polytask.backbones import Backbone, PerceptronBackbone, ResidualBackbone
from polytask.sharing import Independent, Sluice
from polytask.sharing.adversarial import orthogonality
from polytask.sharing.sluice import sluiced
from polytask.types import Features

NAMES = ["a", "b"]
X = Features(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))


def backbone() -> Backbone:
    return PerceptronBackbone(4, widths=(6, 6))


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 4, 3, 5)])
def test_each_subspace_becomes_a_mixture_of_all(shape: tuple[int, ...]) -> None:
    columns, alpha = [torch.randn(shape) for _ in range(3)], torch.randn(6, 6)
    found = sluiced([Features(c) for c in columns], alpha, 2)
    at = 1 if len(shape) == 4 else -1
    halves = [c.narrow(at, 2 * k, 2) for c in columns for k in range(2)]
    for t in range(3):
        for k in range(2):
            expected = sum(alpha[2 * t + k, u] * half for u, half in enumerate(halves))
            torch.testing.assert_close(found[t].values.narrow(at, 2 * k, 2), expected)


def test_what_is_kept_whole_is_independent() -> None:
    torch.manual_seed(0)
    alone = Independent(backbone, NAMES)
    torch.manual_seed(0)
    trunk = Sluice(backbone, NAMES, keep=1.0)
    for task, found in trunk(X, NAMES).items():
        torch.testing.assert_close(found.values, alone(X, [task])[task].values)


def test_heads_read_all_stages_of_their_column() -> None:
    trunk = Sluice(backbone, NAMES)
    torch.testing.assert_close(trunk.shares()["betas"], torch.tensor([[0.1, 0.9]] * 2))
    last = trunk(X, NAMES)
    with torch.no_grad():
        trunk.betas["a"].get_parameter("weight").copy_(torch.tensor([1.0, 0.0]))
    first = trunk(X, NAMES)
    torch.testing.assert_close(first["b"].values, last["b"].values)
    columns = [trunk.columns[task].get_submodule("stages.0")(X) for task in NAMES]
    expected = sluiced(columns, trunk.alphas[0], 2)[0].values
    torch.testing.assert_close(first["a"].values, expected)


def test_stages_of_other_widths_or_sizes_are_not_mixed() -> None:
    assert "betas" not in Sluice(lambda: PerceptronBackbone(4, widths=(6, 4)), NAMES).shares()
    trunk = Sluice(lambda: ResidualBackbone(3, widths=(4, 4), stem="conv3", stem_width=4), NAMES)
    maps = Features(torch.randn(2, 3, 8, 8))
    assert trunk(maps, ["a"])["a"].values.isfinite().all()


def test_a_width_that_does_not_divide_is_mixed_as_a_whole() -> None:
    trunk = Sluice(lambda: PerceptronBackbone(4, widths=(5, 6)), NAMES)
    assert [len(alpha) for alpha in trunk.alphas] == [2, 4]
    trunk(X, NAMES)
    assert trunk.penalty() is not None
    with pytest.raises(ValueError, match=r"`subspaces` should be at least 1. Found 0"):
        Sluice(backbone, NAMES, subspaces=0)


def test_the_penalty_is_the_overlap_of_each_columns_halves() -> None:
    trunk = Sluice(lambda: PerceptronBackbone(4, widths=(6,)), NAMES, orthogonal=0.5)
    trunk(X, NAMES)
    found = trunk.penalty()
    expected = sum(
        orthogonality(values[:, 3:], values[:, :3])
        for values in (trunk.columns[task](X).values for task in NAMES)
    )
    assert found is not None
    torch.testing.assert_close(found, 0.5 * expected)
    found.backward()
    assert all(p.grad is not None and p.grad.any() for p in trunk.columns.parameters())
    assert trunk.penalty() is None
    trunk.eval()(X, NAMES)
    assert trunk.penalty() is None
