"""torchmetrics, for targets of which single entries may be missing (NaN).

Shapes: B examples, K outputs or labels.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCohenKappa,
    MultilabelAccuracy,
    MultilabelExactMatch,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

from polytask.tasks.base import LOCAL
from polytask.tasks.ordinal import median_rank
from polytask.tasks.probabilistic import pinball

MISSING = -1
NORMAL_90 = 1.6448536269514722  # deviations from the mean within which 90 % lie


class MajorityRate(Metric):
    """The accuracy of always naming the most frequent class among the labelled examples.

    Args:
        classes: The number of classes.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__(**LOCAL)
        self.add_state("counts", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch; only the targets `[B]` count."""
        self.counts += torch.bincount(target.long(), minlength=len(self.counts))

    def compute(self) -> Tensor:
        """The share of the most frequent class."""
        return self.counts.max() / self.counts.sum()


class PerOutput(Metric):
    """A regression metric for each of K outputs over its known targets, and their mean.

    Args:
        metrics: One fresh metric per output.
    """

    full_state_update = False

    def __init__(self, metrics: list[Metric]) -> None:
        super().__init__(**LOCAL)
        self.outputs = torch.nn.ModuleList(metrics)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: both `[B, K]`, NaN in `target` where a value is missing."""
        for column, metric in enumerate(self._metrics()):
            known = ~torch.isnan(target[:, column])
            if known.any():
                metric.update(predicted[known, column], target[known, column])

    def compute(self) -> Tensor:
        """The mean over outputs that can be measured; NaN if none can."""
        values = torch.stack([m.compute() for m in self._metrics() if m.update_called])
        return values.nanmean()

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        for metric in self._metrics():
            metric.reset()

    def _metrics(self) -> list[Metric]:
        return [metric for metric in self.outputs if isinstance(metric, Metric)]


class Explained(Metric):
    """R2: the share of the target's variance that predictions explain, for one output.

    Sums of squares are taken around a running mean (Chan et al. 1983): with targets such as years
    or prices, plain float32 sums of squares would lose the variance in the rounding.
    """

    full_state_update = False
    count: Tensor
    mean: Tensor
    spread: Tensor
    residual: Tensor

    def __init__(self) -> None:
        super().__init__(**LOCAL)
        for name in ("count", "mean", "spread", "residual"):
            self.add_state(name, torch.zeros(()))

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch, both `[B]`."""
        count = self.count + len(target)
        mean = target.mean()
        step = mean - self.mean
        self.spread = self.spread + (target - mean).square().sum()
        self.spread = self.spread + step.square() * self.count * len(target) / count
        self.mean = self.mean + step * len(target) / count
        self.residual = self.residual + (target - predicted).square().sum()
        self.count = count

    def compute(self) -> Tensor:
        """NaN with fewer than two targets; a constant target gives 1 if met exactly, else 0."""
        if self.count < 2:
            return torch.full_like(self.count, float("nan"))
        if self.spread == 0:
            return (self.residual == 0).float()
        return 1.0 - self.residual / self.spread


def regression_metrics(outputs: int) -> MetricCollection:
    """MAE, RMSE and R2, each the mean over outputs."""
    return MetricCollection(
        {
            "mae": PerOutput([MeanAbsoluteError(**LOCAL) for _ in range(outputs)]),
            "rmse": PerOutput([MeanSquaredError(squared=False, **LOCAL) for _ in range(outputs)]),
            "r2": PerOutput([Explained() for _ in range(outputs)]),
        },
        compute_groups=False,
    )


class _KnownLabels:
    """Gives torchmetrics decisions, and integer targets with `MISSING` where ours are NaN."""

    cuts: Sequence[float]

    def update(self, predicted: Tensor, target: Tensor) -> None:
        whole = torch.where(torch.isnan(target), float(MISSING), target).long()
        named = predicted > predicted.new_tensor(self.cuts)
        super().update(named.long(), whole)  # type: ignore[misc]


class _Ranked:
    """Gives torchmetrics the rank that class probabilities stand for."""

    def update(self, predicted: Tensor, target: Tensor) -> None:
        super().update(median_rank(predicted), target)  # type: ignore[misc]


class _Means:
    """Gives torchmetrics the mean of a mean and a deviation, `[B, 2]`."""

    def update(self, predicted: Tensor, target: Tensor) -> None:
        super().update(predicted[:, 0], target)  # type: ignore[misc]


def _known(kind: type[Metric], cuts: Sequence[float]) -> Any:
    own = {"__module__": __name__, "cuts": tuple(cuts)}
    return type(f"Known{kind.__name__}", (_KnownLabels, kind), own)


def _ranked(kind: type[Metric]) -> Any:
    return type(f"Ranked{kind.__name__}", (_Ranked, kind), {"__module__": __name__})


def _means(kind: type[Metric]) -> Any:
    return type(f"Means{kind.__name__}", (_Means, kind), {"__module__": __name__})


class Ranking(Metric):
    """Area under the ROC curve, or average precision, of each label; their mean.

    Not defined (NaN) where known targets are all of one side; the mean leaves such labels out.

    Args:
        kind: Which of the two.
    """

    full_state_update = False
    scores: list[Tensor]
    truths: list[Tensor]

    def __init__(self, kind: Literal["auroc", "average_precision"]) -> None:
        super().__init__(**LOCAL)
        self.kind = kind
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("truths", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: both `[B]` or `[B, K]`; NaN in `target` where it is unknown."""
        self.scores.append(predicted.reshape(len(predicted), -1))
        self.truths.append(target.reshape(len(target), -1))

    def compute(self) -> Tensor:
        """The mean over labels."""
        scores, truths = torch.cat(list(self.scores)), torch.cat(list(self.truths))
        found = [scores.new_tensor(float("nan"))]
        for score, truth in zip(scores.T, truths.T, strict=True):
            known = ~truth.isnan()
            side = truth[known].long()
            if len(side.unique()) == 2:
                made = binary_auroc if self.kind == "auroc" else binary_average_precision
                found.append(made(score[known], side))
        return torch.stack(found).nanmean()


class MeanOf(Metric):
    """The mean over examples of a function of prediction and target.

    Args:
        score: Gives `[B]` for a prediction `[B, ...]` and a target `[B]`.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(**LOCAL)
        self.score = score
        self.add_state("total", torch.zeros((), dtype=torch.float64))
        self.add_state("count", torch.zeros((), dtype=torch.float64))

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self.total = self.total + self.score(predicted, target).double().sum()
        self.count = self.count + len(target)

    def compute(self) -> Tensor:
        """The mean."""
        return (self.total / self.count).float()


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


def multilabel_metrics(cuts: Sequence[float]) -> MetricCollection:
    """Accuracy over single labels, exact matches, macro precision, recall, F1, and rankings.

    Args:
        cuts: From which probability on each label is named.
    """
    macro = {"num_labels": len(cuts), "average": "macro", "ignore_index": MISSING, **LOCAL}
    micro = {**macro, "average": "micro"}
    exact = {"num_labels": len(cuts), "ignore_index": MISSING, **LOCAL}
    return MetricCollection(
        {
            "accuracy": _known(MultilabelAccuracy, cuts)(**micro),
            "exact_match": _known(MultilabelExactMatch, cuts)(**exact),
            "precision": _known(MultilabelPrecision, cuts)(**macro),
            "recall": _known(MultilabelRecall, cuts)(**macro),
            "f1": _known(MultilabelF1Score, cuts)(**macro),
            "auroc": Ranking("auroc"),
            "average_precision": Ranking("average_precision"),
        },
        compute_groups=False,
    )


def ordinal_metrics(classes: int) -> MetricCollection:
    """Accuracy, mean absolute error of ranks, quadratic kappa, and the majority's share."""
    return MetricCollection(
        {
            "accuracy": _ranked(MulticlassAccuracy)(classes, average="micro", **LOCAL),
            "mae": _ranked(MeanAbsoluteError)(**LOCAL),
            "kappa": _ranked(MulticlassCohenKappa)(classes, weights="quadratic", **LOCAL),
            "majority": MajorityRate(classes),
        },
        compute_groups=False,
    )


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
