"""Metrics over pixels that have a label; what a pixel adds does not depend on its batch.

Shapes: B examples, H x W pixels.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAveragePrecision,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
    MulticlassJaccardIndex,
)
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

from polytask.tasks.base import LOCAL
from polytask.tasks.metrics import Explained


class _KnownPixels:
    """Gives a metric of torchmetrics the pixels that have a label, as one long row."""

    blank: float

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: both `[B, H, W]`."""
        known = ~torch.isnan(target) if self.blank != self.blank else target != self.blank
        if known.any():
            numbers = isinstance(self, (MeanAbsoluteError, MeanSquaredError, Explained))
            value = target[known].float() if numbers else target[known].long()
            super().update(predicted[known], value)  # type: ignore[misc]


def of_pixels(kind: type[Metric], *, blank: float = float("nan"), **settings: Any) -> Metric:
    """A metric of torchmetrics over labelled pixels.

    Args:
        kind: The metric, of flat predictions and targets.
        blank: What a target without a label is; NaN for numbers.
        **settings: The metric's.
    """
    name = f"Pixel{kind.__name__}"
    made: Metric = type(name, (_KnownPixels, kind), {"__module__": __name__, "blank": blank})(
        **settings, **({} if kind is Explained else LOCAL)
    )
    return made


def segmentation_metrics(classes: int, blank: int) -> MetricCollection:
    """Mean intersection over union, and accuracy over pixels and over classes."""
    return MetricCollection(
        {
            "miou": of_pixels(MulticlassJaccardIndex, blank=blank, num_classes=classes),
            "accuracy": of_pixels(
                MulticlassAccuracy, blank=blank, num_classes=classes, average="micro"
            ),
            "class_accuracy": of_pixels(
                MulticlassAccuracy, blank=blank, num_classes=classes, average="macro"
            ),
        },
        compute_groups=False,
    )


def edge_metrics(blank: int) -> MetricCollection:
    """Precision, recall and F1 at a probability of one half, and the average precision."""
    return MetricCollection(
        {
            "precision": of_pixels(BinaryPrecision, blank=blank),
            "recall": of_pixels(BinaryRecall, blank=blank),
            "f1": of_pixels(BinaryF1Score, blank=blank),
            "average_precision": of_pixels(BinaryAveragePrecision, blank=blank, thresholds=101),
        },
        compute_groups=False,
    )


def depth_metrics() -> MetricCollection:
    """MAE, RMSE and R2 over pixels."""
    return MetricCollection(
        {
            "mae": of_pixels(MeanAbsoluteError),
            "rmse": of_pixels(MeanSquaredError, squared=False),
            "r2": of_pixels(Explained),
        },
        compute_groups=False,
    )


class PeakRatio(MeanSquaredError):
    """The ratio of the greatest signal, 255, to the error, in decibels."""

    def compute(self) -> Tensor:
        """`10 log10(255^2 / MSE)`, over all pixels together."""
        return 20 * math.log10(255) - 10 * super().compute().log10()


def picture_metrics(blank: float) -> MetricCollection:
    """MAE, R2 and the peak signal-to-noise ratio over pixels and channels."""
    return MetricCollection(
        {
            "mae": of_pixels(MeanAbsoluteError, blank=blank),
            "psnr": of_pixels(PeakRatio, blank=blank),
            "r2": of_pixels(Explained, blank=blank),
        },
        compute_groups=False,
    )


class Angle(Metric):
    """The mean angle between predicted and true directions in degrees, or how often it is small.

    Args:
        within: If given, the share of pixels with at most this many degrees.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, within: float | None = None) -> None:
        super().__init__(**LOCAL)
        self.within = within
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: both `[B, 3, H, W]`, NaN in `target` without a label."""
        known = ~torch.isnan(target).any(1)
        cosine = (predicted * target).sum(1)[known].clamp(-1, 1)
        angle = torch.rad2deg(cosine.acos())
        self.total += (angle if self.within is None else (angle <= self.within)).double().sum()
        self.count += len(angle)

    def compute(self) -> Tensor:
        """The mean; NaN without a labelled pixel."""
        return (self.total / self.count).float()


def normal_metrics() -> MetricCollection:
    """The mean angle, and the shares of pixels within 11.25, 22.5 and 30 degrees."""
    return MetricCollection(
        {
            "angle": Angle(),
            "within_11": Angle(11.25),
            "within_22": Angle(22.5),
            "within_30": Angle(30.0),
        },
        compute_groups=False,
    )
