"""torchmetrics, for targets of which single entries may be missing (NaN).

Shapes: B examples, K outputs or labels.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MultilabelAccuracy,
    MultilabelExactMatch,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from polytask.tasks.base import LOCAL

MISSING = -1


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
        for column, metric in enumerate(self.outputs):
            known = ~torch.isnan(target[:, column])
            if known.any():
                metric.update(predicted[known, column], target[known, column])

    def compute(self) -> Tensor:
        """The mean over outputs that have met at least one target."""
        values = [m.compute() for m in self.outputs if m.update_called]
        return torch.stack(values).mean()

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        for metric in self.outputs:
            metric.reset()


def regression_metrics(outputs: int) -> MetricCollection:
    """MAE, RMSE and R2, each the mean over outputs."""
    return MetricCollection(
        {
            "mae": PerOutput([MeanAbsoluteError(**LOCAL) for _ in range(outputs)]),
            "rmse": PerOutput([MeanSquaredError(squared=False, **LOCAL) for _ in range(outputs)]),
            "r2": PerOutput([R2Score(**LOCAL) for _ in range(outputs)]),
        },
        compute_groups=False,
    )


class _KnownLabels:
    """Gives torchmetrics integer targets with `MISSING` where ours are NaN."""

    def update(self, predicted: Tensor, target: Tensor) -> None:
        whole = torch.where(torch.isnan(target), float(MISSING), target).long()
        super().update(predicted, whole)  # type: ignore[misc]


def _known(kind: type[Metric]) -> Any:
    return type(f"Known{kind.__name__}", (_KnownLabels, kind), {"__module__": __name__})


def multilabel_metrics(labels: int) -> MetricCollection:
    """Accuracy over single labels, exact matches, and macro precision, recall, F1."""
    macro = {"num_labels": labels, "average": "macro", "ignore_index": MISSING, **LOCAL}
    micro = {**macro, "average": "micro"}
    return MetricCollection(
        {
            "accuracy": _known(MultilabelAccuracy)(**micro),
            "exact_match": _known(MultilabelExactMatch)(
                num_labels=labels, ignore_index=MISSING, **LOCAL
            ),
            "precision": _known(MultilabelPrecision)(**macro),
            "recall": _known(MultilabelRecall)(**macro),
            "f1": _known(MultilabelF1Score)(**macro),
        },
        compute_groups=False,
    )
