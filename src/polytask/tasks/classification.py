"""One of many classes; yes or no.

Shapes: B examples, C classes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError, nearest
from polytask.tasks.base import (
    FALSE,
    LOCAL,
    TRUE,
    Cells,
    LabelError,
    Task,
    Unknown,
    label_text,
    require_labels,
    sort_labels,
    truth_names,
    unknown_label,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Multiclass(Task):
    """Exactly one of C classes, by softmax and cross-entropy.

    Attributes:
        classes: The label names in order of their index. Empty: those of the training rows.
        class_weights: A factor per label name, or `balanced` for factors inversely proportional
            to the class's frequency in the training rows. Scaled so that the mean factor over the
            training rows is 1.
        label_smoothing: How much of the target probability is spread over all classes, in [0, 1).
    """

    classes: tuple[str, ...] = ()
    class_weights: Mapping[str, float] | Literal["balanced"] | None = None
    label_smoothing: float = 0.0
    counts: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def fit(self, values: Cells) -> Self:
        labelled = require_labels(self, values)
        seen = Counter(label_text(cell) for cell in values[labelled, 0])
        classes = self.classes or sort_labels(list(seen))
        fitted = replace(self, classes=classes, counts=tuple(seen[name] for name in classes))
        fitted._factors()
        return fitted

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        index = {name: i for i, name in enumerate(self.classes)}
        target = torch.zeros(len(values), dtype=torch.int64)
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if cell is None:
                continue
            found = index.get(label_text(cell))
            if found is not None:
                target[row], present[row] = found, True
            elif unknown == "error":
                raise LabelError(row, unknown_label(self, label_text(cell), self.classes))
        return target, present

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        factors = self._factors()
        loss = F.cross_entropy(
            output, target, reduction="none", label_smoothing=self.label_smoothing
        )
        return loss if factors is None else loss * factors.to(output.device)[target]

    def _factors(self) -> Tensor | None:
        """The factor of each class, `[C]`, or None."""
        if self.class_weights is None:
            return None
        counts = torch.tensor(self.counts, dtype=torch.float32)
        if self.class_weights == "balanced":
            factors = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
        else:
            for name in self.class_weights:
                if name not in self.classes:
                    raise DataError(
                        f"tasks.{self.name}.class_weights names '{name}', which is no class. "
                        + nearest(name, self.classes)
                    )
            factors = torch.tensor([self.class_weights.get(name, 1.0) for name in self.classes])
        return factors * counts.sum() / (factors * counts).sum()

    def decode(self, output: Tensor) -> Tensor:
        return output.float().softmax(1)

    def metrics(self) -> "MetricCollection":
        from torchmetrics import MetricCollection
        from torchmetrics.classification import (
            MulticlassAccuracy,
            MulticlassF1Score,
            MulticlassPrecision,
            MulticlassRecall,
        )

        size = self.outputs
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(size, average="micro", **LOCAL),
                "precision": MulticlassPrecision(size, average="macro", **LOCAL),
                "recall": MulticlassRecall(size, average="macro", **LOCAL),
                "f1": MulticlassF1Score(size, average="macro", **LOCAL),
            }
        )

    @property
    def score(self) -> str:
        return "accuracy"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for probabilities in decoded.tolist():
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            row: dict[str, Any] = {self.name: self.classes[best]}
            row |= {f"{self.name}.{c}": p for c, p in zip(self.classes, probabilities, strict=True)}
            rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "counts": list(self.counts)}


@dataclass(frozen=True, kw_only=True)
class Binary(Task):
    """Yes or no, by one logit and binary cross-entropy.

    Attributes:
        classes: The names of the negative and the positive class. Empty: `no` and `yes` style
            labels (0/1, true/false, no/yes) are understood, else the two labels of the training
            rows in sorted order.
        positive_weight: The factor of positive examples' loss.
    """

    classes: tuple[str, ...] = ()
    positive_weight: float = 1.0

    @property
    def outputs(self) -> int:
        return 1

    def fit(self, values: Cells) -> Self:
        labelled = require_labels(self, values)
        names = sort_labels([label_text(cell) for cell in values[labelled, 0]])
        if self.classes:
            classes = self.classes
        elif all(name.lower() in TRUE | FALSE for name in names):
            classes = truth_names(names)
        else:
            classes = names
        if len(classes) != 2:
            raise DataError(
                f"Task '{self.name}' is binary and needs two labels. Found {len(classes)} in the "
                f"training rows: {', '.join(classes[:10])}. Use 'kind: multiclass' for more than "
                f"two, or name both under 'tasks.{self.name}.classes'."
            )
        return replace(self, classes=classes)

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        target = torch.zeros(len(values))
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if cell is None:
                continue
            name = label_text(cell)
            if name in self.classes:
                target[row], present[row] = float(self.classes.index(name)), True
            elif name.lower() in TRUE | FALSE and self.classes[1].lower() in TRUE:
                target[row], present[row] = float(name.lower() in TRUE), True
            elif unknown == "error":
                raise LabelError(row, unknown_label(self, name, self.classes))
        return target, present

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(output.squeeze(1), target, reduction="none")
        return loss * torch.where(target > 0.5, self.positive_weight, 1.0)

    def decode(self, output: Tensor) -> Tensor:
        return output.float().squeeze(1).sigmoid()

    def metrics(self) -> "MetricCollection":
        from torchmetrics import MetricCollection
        from torchmetrics.classification import (
            BinaryAccuracy,
            BinaryF1Score,
            BinaryPrecision,
            BinaryRecall,
        )

        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(**LOCAL),
                "precision": BinaryPrecision(**LOCAL),
                "recall": BinaryRecall(**LOCAL),
                "f1": BinaryF1Score(**LOCAL),
            }
        )

    @property
    def score(self) -> str:
        return "accuracy"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        return [
            {self.name: self.classes[int(p > 0.5)], f"{self.name}.{self.classes[1]}": p}
            for p in decoded.tolist()
        ]

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}
