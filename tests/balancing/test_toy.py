"""On the published two-task problem, methods behave as published."""

import pytest
import torch
from benchmarks.toy import CAGRAD_STARTS, FRONT, STARTS, losses, on_front, train

UPPER = (9.0, 9.0)  # above a valley that ends in a wall


def published(x1: float, x2: float) -> tuple[float, float]:
    """Both losses as the papers write them, at one point."""
    x = torch.tensor([x1, x2], dtype=torch.float64)
    a, b = x
    f1 = ((0.5 * (-a - 7) - torch.tanh(-b)).abs().clamp_min(5e-6)).log() + 6
    f2 = ((0.5 * (-a + 3) + torch.tanh(-b) + 2).abs().clamp_min(5e-6)).log() + 6
    g1 = ((-a + 7) ** 2 + 0.1 * (-b - 8) ** 2) / 10 - 20
    g2 = ((-a - 7) ** 2 + 0.1 * (-b - 8) ** 2) / 10 - 20
    c1, c2 = torch.tanh(0.5 * b).clamp_min(0), torch.tanh(-0.5 * b).clamp_min(0)
    return float(f1 * c1 + g1 * c2), float(f2 * c1 + g2 * c2)


@pytest.mark.parametrize("point", [*STARTS, *CAGRAD_STARTS, (1.0, 0.5), (6.0, -8.0)])
def test_the_losses_are_the_published_ones(point: tuple[float, float]) -> None:
    ours = losses(torch.tensor(point, dtype=torch.float64), scale=1.0) - 21
    torch.testing.assert_close(ours, torch.tensor(published(*point), dtype=torch.float64))


def test_the_front_lies_where_it_is_said_to() -> None:
    """The mean of the losses is least in the middle of the front."""
    line = torch.linspace(-9, -8, 1001, dtype=torch.float64)
    values = losses(torch.stack([torch.zeros_like(line), line], -1), scale=1.0).sum(-1)
    assert float(line[values.argmin()]) == pytest.approx(FRONT, abs=0.02)


def test_equal_weighting_is_stuck_in_the_valley() -> None:
    end = train("equal", UPPER)[-1]
    assert float(end[1]) > 0
    assert on_front(train("equal", STARTS[1])[-1])  # From below the valleys it is not.


@pytest.mark.parametrize("name", ["nash-mtl", "famo", "mgda"])
def test_adaptive_methods_reach_the_front_from_there(name: str) -> None:
    assert on_front(train(name, UPPER)[-1])


def test_nash_and_imtl_agree_for_two_tasks() -> None:
    """For two tasks both are the bisector of the gradients."""
    one, other = (train(name, STARTS[1])[-1] for name in ("nash-mtl", "imtl-g"))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0)
    assert abs(float(one[0])) < 0.1  # Midway, although one loss is a tenth of the other.


@pytest.mark.timeout(900)
def test_with_losses_of_one_size_cagrad_finds_the_least_mean_and_the_sum_is_stuck() -> None:
    kind = {"scale": 1.0, "lr": 0.01, "beta2": 0.99}
    stuck = train("equal", CAGRAD_STARTS[0], steps=1500, **kind)[-1]  # type: ignore[arg-type]
    assert not on_front(stuck)
    end = train("cagrad", CAGRAD_STARTS[0], steps=5000, c=0.5, **kind)[-1]  # type: ignore[arg-type]
    assert on_front(end)
    assert abs(float(end[0])) < 0.1
