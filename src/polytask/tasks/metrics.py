"""torchmetrics, for targets of which single entries may be missing (NaN).

Shapes: B examples, K outputs or labels.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

from polytask.tasks.base import LOCAL


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

    Sums are in float64 where there is one: the squares of energies in joules, or of distances in
    space, are none in float32.

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
            found, wanted = predicted[known, column], target[known, column]
            if found.device.type != "mps":
                metric.set_dtype(torch.float64)
                found, wanted = found.double(), wanted.double()
            if len(wanted):
                metric.update(found, wanted)

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
            return (self.residual == 0).to(self.spread.dtype)
        return 1.0 - self.residual / self.spread


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
