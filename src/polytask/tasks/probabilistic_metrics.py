"""Scores of predictions that say how sure they are: quantiles, or a mean and a deviation.

Shapes: B examples, Q quantiles.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.regression import MeanSquaredError

from polytask.tasks.base import LOCAL
from polytask.tasks.metrics import Explained, MeanOf, PerOutput
from polytask.tasks.probabilistic import pinball

NORMAL_90 = 1.6448536269514722  # deviations from the mean within which 90 % lie


class _Means:
    """Gives torchmetrics the mean of a mean and a deviation, `[B, 2]`."""

    def update(self, predicted: Tensor, target: Tensor) -> None:
        super().update(predicted[:, 0], target)  # type: ignore[misc]


def _means(kind: type[Metric]) -> Any:
    return type(f"Means{kind.__name__}", (_Means, kind), {"__module__": __name__})


class Saved(Metric):
    """D2: the share of the pinball loss of constant quantiles that predictions save.

    Args:
        quantiles: `[Q]`.
        levels: `[Q]` the constants.
    """

    full_state_update = False
    ours: Tensor
    constant: Tensor

    def __init__(self, quantiles: Sequence[float], levels: Sequence[float]) -> None:
        super().__init__(**LOCAL)
        self.quantiles, self.levels = tuple(quantiles), tuple(levels)
        self.add_state("ours", torch.zeros((), dtype=torch.float64))
        self.add_state("constant", torch.zeros((), dtype=torch.float64))

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: predictions `[B, Q]`, targets `[B]`."""
        levels = predicted.new_tensor(self.levels).expand_as(predicted)
        self.ours = self.ours + _pinball(self.quantiles, predicted, target).double().sum()
        self.constant = self.constant + _pinball(self.quantiles, levels, target).double().sum()

    def compute(self) -> Tensor:
        """1 is perfect, 0 as good as the constants; NaN where those are perfect."""
        return (
            (1.0 - self.ours / self.constant).float()
            if self.constant > 0
            else torch.full_like(self.ours, float("nan")).float()
        )


def inside(predicted: Tensor, target: Tensor) -> Tensor:
    """Whether targets `[B]` lie between the outermost of predictions `[B, Q]`."""
    return (target >= predicted[:, 0]) & (target <= predicted[:, -1])


def width(predicted: Tensor, target: Tensor) -> Tensor:
    """How far apart the outermost of predictions `[B, Q]` are."""
    return predicted[:, -1] - predicted[:, 0]


def _pinball(quantiles: Sequence[float], predicted: Tensor, target: Tensor) -> Tensor:
    return pinball(predicted, target, predicted.new_tensor(quantiles)).mean(1)


def _absolute(column: int, predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted[:, column] - target).abs()


def _normal_nll(predicted: Tensor, target: Tensor) -> Tensor:
    mean, std = predicted.unbind(1)
    return 0.5 * (((target - mean) / std).square() + math.log(2 * math.pi)) + std.log()


def _within_90(predicted: Tensor, target: Tensor) -> Tensor:
    return (target - predicted[:, 0]).abs() <= NORMAL_90 * predicted[:, 1]


def quantile_metrics(
    quantiles: Sequence[float], levels: Sequence[Sequence[float]], middle: int
) -> MetricCollection:
    """Pinball loss, what it saves over constants, and the interval between the outermost.

    Args:
        quantiles: `[Q]`.
        levels: Per output the quantiles of training rows, the constants to compare with.
        middle: Which quantile is the prediction; `mae` is its.
    """
    ends = MeanOf(inside), MeanOf(width)
    each = range(len(levels))
    return MetricCollection(
        {
            "pinball": PerOutput([MeanOf(partial(_pinball, quantiles)) for _ in each]),
            "d2": PerOutput([Saved(quantiles, levels[k]) for k in each]),
            "mae": PerOutput([MeanOf(partial(_absolute, middle)) for _ in each]),
            "coverage": PerOutput([deepcopy(ends[0]) for _ in each]),
            "width": PerOutput([deepcopy(ends[1]) for _ in each]),
        },
        compute_groups=False,
    )


def gaussian_metrics(outputs: int) -> MetricCollection:
    """Errors of the mean, the likelihood, and how often the target is within an interval.

    `coverage` is the share of targets within the central interval of 90 %; calibrated is 0.9.
    """

    def each(make: Callable[[], Metric]) -> PerOutput:
        return PerOutput([make() for _ in range(outputs)])

    return MetricCollection(
        {
            "mae": each(lambda: MeanOf(partial(_absolute, 0))),
            "rmse": each(lambda: _means(MeanSquaredError)(squared=False, **LOCAL)),
            "r2": each(lambda: _means(Explained)()),
            "nll": each(lambda: MeanOf(_normal_nll)),
            "coverage": each(lambda: MeanOf(_within_90)),
        },
        compute_groups=False,
    )
