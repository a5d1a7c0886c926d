"""Metrics over pixels that have a label; what a pixel adds does not depend on its batch.

Shapes: B examples, H x W pixels.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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

from polytask.errors import require
from polytask.tasks.base import LOCAL
from polytask.tasks.metrics import Explained


class _KnownPixels:
    """Gives a metric of torchmetrics the pixels that have a label, as one long row.

    Sums over them are in float64 where there is one: of a million pixels in float32 what a further
    picture adds to a sum of squares is rounded away.
    """

    blank: float
    set_dtype: Callable[[torch.dtype], Metric]  # the metric's

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: both `[B, H, W]`."""
        known = ~torch.isnan(target) if self.blank != self.blank else target != self.blank
        if known.any():
            numbers = isinstance(self, (MeanAbsoluteError, MeanSquaredError, Explained))
            found, value = predicted[known], target[known].long()
            if numbers:
                value = target[known].float()
                if found.device.type != "mps":
                    self.set_dtype(torch.float64)
                    found, value = found.double(), value.double()
            super().update(found, value)  # type: ignore[misc]


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


def near(edges: NDArray[np.bool_], distance: float) -> NDArray[np.bool_]:
    """Which pixels of `[H, W]` have an edge pixel at most `distance` pixels away, centre to centre.

    Without an edge there is none.
    """
    if distance == 0 or not edges.any():
        return edges
    image = require("scipy.ndimage", "train")
    distances: NDArray[np.float64] = image.distance_transform_edt(~edges)
    return distances <= distance + 1e-6


class NearEdges(Metric):
    """Precision, recall or F1 of edge pixels that may be some way off.

    Pixels without a label are left out, of the prediction and of the target.

    Args:
        what: Which of the three: `precision`, `recall` or `f1`.
        tolerance: The distance at which a pixel still counts, as a share of the diagonal.
        blank: What a target without a label is.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, what: str, *, tolerance: float, blank: int) -> None:
        super().__init__(**LOCAL)
        self.what, self.tolerance, self.blank = what, tolerance, blank
        # Predicted pixels near a true one, all predicted, true ones near a predicted one, all true.
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: probabilities and 0 or 1, both `[B, H, W]`."""
        known = target != self.blank
        found = ((predicted > 0.5) & known).cpu().numpy()
        true = ((target == 1) & known).cpu().numpy()
        distance = self.tolerance * math.hypot(*target.shape[1:])
        for f, t in zip(found, true, strict=True):
            counts = [f & near(t, distance), f, t & near(f, distance), t]
            self.counts += torch.tensor([int(some.sum()) for some in counts]).to(self.counts)

    def compute(self) -> Tensor:
        """The share or the harmonic mean of both; 0 where there is nothing to count."""
        right, found, met, true = self.counts.double()
        precision, recall = right / found.clamp(min=1), met / true.clamp(min=1)
        f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        value: Tensor = {"precision": precision, "recall": recall, "f1": f1}[self.what]
        return value.float()


def edge_metrics(blank: int, tolerance: float = 0.0) -> MetricCollection:
    """Precision, recall and F1 at a probability of one half, and the average precision.

    Args:
        blank: What a target without a label is.
        tolerance: How far off edges may be for the first three, as a share of the diagonal.
    """
    average = of_pixels(BinaryAveragePrecision, blank=blank, thresholds=101)
    if tolerance:
        near_ones: dict[str, Metric | MetricCollection] = {
            name: NearEdges(name, tolerance=tolerance, blank=blank)
            for name in ("precision", "recall", "f1")
        }
        # These three count the same, so one of them counts for all.
        groups = [[*near_ones], ["average_precision"]]
        return MetricCollection({**near_ones, "average_precision": average}, compute_groups=groups)
    return MetricCollection(
        {
            "precision": of_pixels(BinaryPrecision, blank=blank),
            "recall": of_pixels(BinaryRecall, blank=blank),
            "f1": of_pixels(BinaryF1Score, blank=blank),
            "average_precision": average,
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
