"""Surrogates: what they were fitted to, and what they foretell."""

import pytest
import torch
from torch import Tensor

from polytask.affinity.surrogate import (
    fit_surrogate,
    left_out_errors,
    refitted,
    sample_subsets,
)


def family(tasks: int, pairs: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """True single and pair terms."""
    random = torch.Generator().manual_seed(seed)
    single = torch.randn(tasks, tasks, generator=random).double()
    double = torch.randn(tasks, tasks, tasks, generator=random).double().triu(1)
    return single.fill_diagonal_(0), double * pairs


def truth(subsets: Tensor, single: Tensor, double: Tensor) -> Tensor:
    there = subsets.double()
    both = torch.einsum("mi,mk,jik->mj", there, there, double)
    return torch.where(subsets, there @ single + both, torch.nan)


def test_every_task_is_dealt_in_every_round() -> None:
    generator = torch.Generator().manual_seed(0)
    for tasks, size in ((7, 3), (6, 3), (5, 5)):
        masks = sample_subsets(tasks, size, 4, generator)
        assert bool((masks.sum(1) == size).all()) and bool((masks.sum(0) >= 1).all())
        assert len(masks.unique(dim=0)) == len(masks)
    with pytest.raises(ValueError, match="from 2 to 3"):
        sample_subsets(3, 4, 1, generator)


def test_sums_over_partners_are_recovered_from_a_few_subsets() -> None:
    single, double = family(8, pairs=False)
    generator = torch.Generator().manual_seed(1)
    some, others = (sample_subsets(8, 4, n, generator) for n in (24, 8))
    found = fit_surrogate(some, truth(some, single, double))
    wanted, guess = truth(others, single, double), found(others)
    assert guess.isnan().equal(wanted.isnan())
    error = (guess - wanted)[~wanted.isnan()]
    assert float(error.square().mean()) < 0.05 * float(wanted[~wanted.isnan()].var())
    assert bool((found.held_out > 0.8).all())


def test_products_are_used_where_they_foretell_more() -> None:
    single, double = family(5, pairs=True)
    subsets = torch.tensor([[(n >> t) % 2 == 1 for t in range(5)] for n in range(3, 32)])
    subsets = subsets[subsets.sum(1) > 1]
    gains = truth(subsets, single, 3 * double)
    with_pairs, without = (fit_surrogate(subsets, gains, order=n) for n in (2, 1))
    assert with_pairs.double is not None and without.double is None
    there = ~gains.isnan()
    errors = [(s(subsets) - gains)[there].square().mean() for s in (with_pairs, without)]
    assert float(errors[0]) < 0.3 * float(errors[1])


@pytest.mark.parametrize("columns", [3, 20])
def test_left_out_errors_are_those_of_leaving_out(columns: int) -> None:
    random = torch.Generator().manual_seed(0)
    terms = torch.randn(12, columns, generator=random).double() + 1
    wanted = torch.randn(12, generator=random).double()
    found = left_out_errors(terms, wanted, 0.7)
    for out in range(12):
        rest = torch.arange(12) != out
        middle, mean = terms[rest].mean(0), wanted[rest].mean()
        centred = terms[rest] - middle
        weights = torch.linalg.solve(
            centred.T @ centred + 0.7 * torch.eye(columns).double(),
            centred.T @ (wanted[rest] - mean),
        )
        guess = mean + (terms[out] - middle) @ weights
        assert float(found[out]) == pytest.approx(float(wanted[out] - guess))


def test_alone_is_nothing_and_absent_is_unknown() -> None:
    single, double = family(4, pairs=False)
    subsets = sample_subsets(4, 2, 6, torch.Generator().manual_seed(0))
    gains = truth(subsets, single, double)
    gains[:, 3] = torch.nan  # never measured
    found = fit_surrogate(subsets, gains)
    alone = found(torch.eye(4).bool())
    assert alone.diagonal().tolist() == [0, 0, 0, 0]
    assert int(alone.isnan().sum()) == 12
    assert float(found.constant[3]) == 0 and bool(found.held_out[3].isnan())


def test_refits_spread_with_the_noise() -> None:
    single, double = family(6, pairs=False)
    random = torch.Generator().manual_seed(0)
    subsets = sample_subsets(6, 3, 30, random)
    clean = truth(subsets, single, double)
    noisy = clean + 2 * torch.randn(clean.shape, generator=random).double()
    spread = [
        torch.stack([s(subsets) for s in refitted(subsets, g, 10, random, order=1)]).std(0)
        for g in (clean, noisy)
    ]
    there = ~clean.isnan()
    assert float(spread[0][there].mean()) < 0.5 * float(spread[1][there].mean())
