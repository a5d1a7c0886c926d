"""Affinities against what they are defined by."""

import math

import pytest
import torch
from torch import Tensor

from polytask.affinity.measures import (
    averaged,
    first_order,
    gradient_cosine,
    label_correlation,
    label_overlap,
    linear_cka,
    lookahead,
    representation_similarity,
    resampled,
    rsa,
)

RATE = 1e-5


def losses_of(weights: Tensor) -> Tensor:
    """Three positive losses of five shared weights; the third works against the first."""
    goals = torch.tensor([[1.0, 0, 2, 0, 1], [1, 1, 2, 0, 0], [-1, 0, -2, 0, -1]]).double()
    return (weights - goals).square().sum(1) + 0.5


@pytest.fixture
def toy() -> tuple[Tensor, Tensor, Tensor]:
    """Weights, their losses and the task gradients."""
    weights = torch.tensor([0.3, -0.2, 0.1, 0.4, 0.0], dtype=torch.float64)
    return weights, losses_of(weights), torch.func.jacrev(losses_of)(weights)


def test_first_order_is_the_lookahead_of_a_small_step(
    toy: tuple[Tensor, Tensor, Tensor],
) -> None:
    weights, losses, rows = toy
    after = torch.stack([losses_of(weights - RATE * row) for row in rows])
    exact = lookahead(losses, after)
    near = first_order((rows @ rows.T)[None], losses[None], torch.tensor([RATE]).double())[0]
    assert torch.allclose(exact, near, rtol=1e-3)
    assert exact[0, 2] < 0 < exact[0, 1]  # who works against whom
    assert not torch.allclose(exact, exact.T)  # the losses differ


def test_cosines_are_those_of_the_gradients(toy: tuple[Tensor, Tensor, Tensor]) -> None:
    _, _, rows = toy
    found = gradient_cosine((rows @ rows.T)[None])[0]
    for i in range(3):
        for j in range(3):
            assert float(found[i, j]) == pytest.approx(
                float(torch.cosine_similarity(rows[i], rows[j], dim=0))
            )


def test_absent_tasks_leave_gaps_and_not_zeros() -> None:
    samples = torch.tensor([[[1.0, 2.0], [2.0, 1.0]], [[1.0, math.nan], [math.nan, math.nan]]])
    assert averaged(samples).tolist() == [[1, 2], [2, 1]]
    assert bool(averaged(samples[1:])[0, 1].isnan())
    gramian = torch.tensor([[[1.0, math.nan], [math.nan, math.nan]]])
    losses = torch.tensor([[0.5, math.nan]])
    found = first_order(gramian, losses, torch.tensor([0.1]))[0]
    assert float(found[0, 0]) == pytest.approx(0.2) and int(found.isnan().sum()) == 3
    assert bool(lookahead(torch.zeros(2), torch.zeros(2, 2)).isnan().all())


def test_resampled_means_spread_like_means_of_independent_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 2, 2, generator=generator)
    means = resampled(samples, 300, generator, block=1)
    assert float(means.std(0).mean()) == pytest.approx(1 / 20, rel=0.15)
    # Steps that repeat in runs of ten are worth a tenth: single draws would not notice.
    repeated = samples[:40].repeat_interleave(10, 0)
    single, blocks = (float(resampled(repeated, 300, generator, b).std(0).mean()) for b in (1, 20))
    assert blocks > 2 * single
    with pytest.raises(ValueError, match="no step was noted"):
        resampled(samples[:0], 1, generator)


def test_representations_are_alike_up_to_rotation_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(60, 5, generator=generator)
    turned = 3 * one @ torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q + 1
    other = torch.randn(60, 5, generator=generator)
    for how in (linear_cka, rsa):
        assert how(one, turned) == pytest.approx(1.0, abs=1e-5)
        assert abs(how(one, other)) < 0.3
        assert math.isnan(how(one, torch.ones(60, 5)))
    found = representation_similarity([one, turned, other], "rsa")
    assert found.equal(found.T) and float(found[0, 1]) > float(found[0, 2])
    with pytest.raises(ValueError, match="cka"):
        representation_similarity([one], "cca")  # type: ignore[arg-type]


def test_overlap_is_a_share_of_the_served_task() -> None:
    present = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0]]).bool()
    found = label_overlap(present)
    assert found[0, 1] == 1.0 and found[1, 0] == 0.5
    assert bool(found[:, 2].isnan().all()) and found[2, 0] == 0


def test_labels_correlate_where_both_are_there() -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(50, 1, generator=generator)
    opposite = -2 * value
    opposite[40:] = 1000.0  # absent there: never read
    classes = torch.nn.functional.one_hot((value[:, 0] > 0).long(), 2)
    present = torch.ones(50, 3, dtype=torch.bool)
    present[40:, 1] = False
    found = label_correlation([value, opposite, classes], present)
    assert float(found[0, 1]) == pytest.approx(-1.0)
    wanted = torch.corrcoef(torch.stack([value[:, 0], classes[:, 1].float()]))[0, 1]
    assert float(found[0, 2]) == pytest.approx(float(wanted), rel=1e-4)
    present[2:] = False
    assert bool(label_correlation([value, opposite, classes], present).isnan().all())
