"""Quantiles and normal distributions against scikit-learn and torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as oracle

from polytask.tasks import Gaussian, Quantile
from polytask.tasks.probabilistic import LEAST_VARIANCE, gaussian_nll, pinball
from tests.tasks.kinds import cells

COMMON = {"name": "price", "input": "x", "target": {"t": "label"}}
VALUES = [10.0, 12.0, 15.0, 40.0, 3.0]


def quantile(**settings: object) -> Quantile:
    return Quantile(**COMMON, **settings).fit(cells(*VALUES))  # type: ignore[arg-type]


def test_the_pinball_loss_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth, found = random.normal(size=20), random.normal(size=(20, 3))
    ours = pinball(torch.from_numpy(found), torch.from_numpy(truth), torch.tensor([0.1, 0.5, 0.8]))
    for k, alpha in enumerate((0.1, 0.5, 0.8)):
        theirs = oracle.mean_pinball_loss(truth, found[:, k], alpha=alpha)
        assert float(ours[:, k].mean()) == pytest.approx(theirs, rel=1e-6)


def test_decoded_quantiles_never_cross_and_never_lose_by_it() -> None:
    task = quantile(quantiles=(0.1, 0.3, 0.9))
    output = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    decoded = task.decode(output)
    assert decoded.shape == (50, 1, 3) and (decoded.diff(dim=2) >= 0).all()
    target = torch.full((50,), 11.0)
    levels = torch.tensor(task.quantiles)
    plain = output * task.std[0] + task.mean[0]
    kept = pinball(decoded[:, 0], target, levels).sum(1)
    assert (kept <= pinball(plain, target, levels).sum(1) + 1e-4).all()


def test_quantile_metrics_by_hand() -> None:
    task = quantile(quantiles=(0.1, 0.5, 0.9))
    assert task.levels == pytest.approx(np.quantile(VALUES, [0.1, 0.5, 0.9]))
    decoded = torch.tensor([[[5.0, 10.0, 20.0]]]).repeat(5, 1, 1)
    collection = task.metrics()
    collection.update(decoded, torch.tensor(VALUES)[:, None])
    found = {k: float(v) for k, v in collection.compute().items()}
    losses = [
        oracle.mean_pinball_loss(VALUES, [q] * 5, alpha=a)
        for q, a in ((5, 0.1), (10, 0.5), (20, 0.9))
    ]
    constant = [
        oracle.mean_pinball_loss(VALUES, [q] * 5, alpha=a)
        for q, a in zip(task.levels, task.quantiles, strict=True)
    ]
    assert found == pytest.approx(
        {
            "pinball": np.mean(losses),
            "d2": 1 - np.sum(losses) / np.sum(constant),
            "mae": np.mean(np.abs(np.array(VALUES) - 10)),
            "coverage": 3 / 5,
            "width": 15.0,
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("quantiles", [(0.5,), (0.9, 0.1), (0.0, 0.5), (0.5, 0.5)])
def test_quantiles_that_are_none_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        Quantile(**COMMON, quantiles=quantiles)  # type: ignore[arg-type]


def test_the_likelihood_is_torchs_and_beta_weighs_its_gradient() -> None:
    mean, raw = torch.randn(2, 9, generator=torch.Generator().manual_seed(0)).double()
    variance = F.softplus(raw).requires_grad_()
    target = torch.linspace(-1, 1, 9).double()
    ours = gaussian_nll(mean, variance, target, 0.0)
    theirs = F.gaussian_nll_loss(mean, target, variance, reduction="none")
    torch.testing.assert_close(ours, theirs)
    (plain,) = torch.autograd.grad(ours.sum(), variance, retain_graph=True)
    weighted = gaussian_nll(mean, variance, target, 0.5).sum()
    torch.testing.assert_close(
        torch.autograd.grad(weighted, variance)[0], plain * variance.detach().sqrt()
    )


def test_gaussian_metrics_are_in_the_targets_units() -> None:
    task = Gaussian(**COMMON).fit(cells(*VALUES))  # type: ignore[arg-type]
    output = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    decoded, target = task.decode(output), torch.tensor(VALUES)[:, None]
    collection = task.metrics()
    collection.update(decoded, target)
    found = {k: float(v) for k, v in collection.compute().items()}
    normal = torch.distributions.Normal(decoded[:, 0, 0], decoded[:, 0, 1])
    assert found["nll"] == pytest.approx(float(-normal.log_prob(target[:, 0]).mean()), rel=1e-5)
    assert found["r2"] == pytest.approx(oracle.r2_score(VALUES, decoded[:, 0, 0]), rel=1e-4)
    likely = normal.cdf(target[:, 0])
    assert found["coverage"] == pytest.approx(
        float(((likely > 0.05) & (likely < 0.95)).float().mean())
    )
    assert float(task.decode(torch.full((1, 2), -300.0))[0, 0, 1]) == pytest.approx(
        LEAST_VARIANCE**0.5 * task.std[0], rel=1e-4
    )
