"""Scores of tasks with several labels, or with classes in an order.

Shapes: B examples, K labels or classes.
"""

from collections.abc import Sequence
from typing import Any

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
from torchmetrics.regression import MeanAbsoluteError

from polytask.tasks.base import LOCAL
from polytask.tasks.metrics import MajorityRate, Ranking
from polytask.tasks.ordinal import median_rank

MISSING = -1


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


def _known(kind: type[Metric], cuts: Sequence[float]) -> Any:
    own = {"__module__": __name__, "cuts": tuple(cuts)}
    return type(f"Known{kind.__name__}", (_KnownLabels, kind), own)


def _ranked(kind: type[Metric]) -> Any:
    return type(f"Ranked{kind.__name__}", (_Ranked, kind), {"__module__": __name__})


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
