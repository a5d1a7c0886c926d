"""Metrics of labels of tokens; all of them are counts that add up over batches.

Shapes: B examples, L tokens, M labels of the longest row, C tags.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from polytask.errors import require
from polytask.tasks.base import LOCAL
from polytask.tasks.sequences import widened


class TokenScore(Metric):
    """A score of which tag was given to tokens of which label.

    A labelled token without a prediction (beyond the greatest length that an input reads) counts
    as wrong; a token without a label does not count.

    Args:
        tags: C.
        of: `accuracy` over tokens; `f1`, the mean over all tags that occur in labels or
            predictions; `majority`, the accuracy of always giving the most frequent label.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, tags: int, of: Literal["accuracy", "f1", "majority"]) -> None:
        super().__init__(**LOCAL)
        self.of = of
        # Rows are labels; the last column is of tokens without a prediction.
        counts = torch.zeros(tags, tags + 1, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, L]`, negative where there is no token; `[B, M]`, negative without."""
        length = max(predicted.shape[1], target.shape[1])
        label, tag = widened(target, length).long(), widened(predicted, length).long()
        known = label >= 0
        width = self.counts.shape[1]
        tag = torch.where(tag >= 0, tag, width - 1)
        pairs = label[known] * width + tag[known]
        found = torch.bincount(pairs, minlength=self.counts.numel())
        self.counts += found.view_as(self.counts)

    def compute(self) -> Tensor:
        """The score; NaN without a labelled token."""
        right, labelled = self.counts.diagonal(), self.counts.sum(1)
        if self.of == "accuracy":
            return right.sum() / labelled.sum()
        if self.of == "majority":
            return labelled.max() / labelled.sum()
        either = labelled + self.counts.sum(0)[:-1]
        return (2 * right / either)[either > 0].mean()


class SpanScore(Metric):
    """Precision, recall or F1 of whole spans of labels in IOB2, over all kinds of spans.

    A span is right if its kind, beginning and end are. Spans are found as `seqeval` and the CoNLL
    evaluation find them: an inside label that continues nothing begins a span. Tokens without a
    label are outside in both.

    Args:
        names: The names of the C tags.
        of: Which score.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, names: Sequence[str], of: Literal["precision", "recall", "f1"]) -> None:
        super().__init__(**LOCAL)
        self.names = [*names, "O"]  # of negative numbers
        self.of = of
        self._spans = require("seqeval.metrics.sequence_labeling", "text").get_entities
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, L]`, negative where there is no token; `[B, M]`, negative without."""
        length = max(predicted.shape[1], target.shape[1])
        labels = widened(target, length).long().clamp(min=-1)
        tags = widened(predicted, length).long().masked_fill(labels < 0, -1).clamp(min=-1)
        for label, tag in zip(labels.tolist(), tags.tolist(), strict=True):
            true = set(self._spans([self.names[k] for k in label]))
            found = set(self._spans([self.names[k] for k in tag]))
            numbers = [len(true & found), len(found), len(true)]
            self.counts += torch.tensor(numbers, device=self.counts.device)

    def compute(self) -> Tensor:
        """The score; NaN where it divides by nothing."""
        right, found, true = self.counts.unbind()
        if self.of == "precision":
            return right / found
        return right / true if self.of == "recall" else 2 * right / (found + true)


def tagging_metrics(names: Sequence[str], *, spans: bool) -> MetricCollection:
    """Accuracy, macro F1 and the most frequent label's share; with spans their scores too."""
    made: dict[str, Metric | MetricCollection] = {
        "accuracy": TokenScore(len(names), "accuracy"),
        "f1": TokenScore(len(names), "f1"),
        "majority": TokenScore(len(names), "majority"),
    }
    if spans:
        made |= {
            "span_precision": SpanScore(names, "precision"),
            "span_recall": SpanScore(names, "recall"),
            "span_f1": SpanScore(names, "f1"),
        }
    # What counts the same is counted once.
    groups = [[n for n in made if not n.startswith("span")], [n for n in made if "span" in n]]
    return MetricCollection(made, compute_groups=[group for group in groups if group])
