"""One of many classes; yes or no.

Shapes: B examples, C classes.
"""

import math
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
    PooledTask,
    Task,
    Unknown,
    is_missing,
    label_text,
    require_labels,
    sort_labels,
    truth_names,
    unknown_label,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Multiclass(PooledTask):
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
        if len(set(classes)) < max(2, len(classes)):
            raise DataError(
                f"Task '{self.name}' needs at least two different classes. Found "
                f"{', '.join(classes)}. Remove the task, or list all labels under "
                f"'tasks.{self.name}.classes'."
            )
        fitted = replace(self, classes=classes, counts=tuple(seen[name] for name in classes))
        fitted._factors()
        return fitted

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        index = {name: i for i, name in enumerate(self.classes)}
        target = torch.zeros(len(values), dtype=torch.int64)
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if is_missing(cell):
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
        total = float((factors * counts).sum())
        if not math.isfinite(total) or total <= 0 or bool((factors < 0).any()):
            raise DataError(
                f"tasks.{self.name}.class_weights should be finite, at least 0, and above 0 for a "
                f"class that training rows have. Found {self.class_weights}."
            )
        return factors * (counts.sum() / total)

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

        from polytask.tasks.metrics import MajorityRate

        size = self.outputs
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(size, average="micro", **LOCAL),
                "precision": MulticlassPrecision(size, average="macro", **LOCAL),
                "recall": MulticlassRecall(size, average="macro", **LOCAL),
                "f1": MulticlassF1Score(size, average="macro", **LOCAL),
                "majority": MajorityRate(size),
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

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Multiclass)
        seen = dict(zip(self.classes, self.counts, strict=True))
        classes = dict.fromkeys((*earlier.classes, *self.classes))
        return replace(self, classes=tuple(classes), counts=tuple(seen.get(c, 0) for c in classes))


@dataclass(frozen=True, kw_only=True)
class Binary(PooledTask):
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
        else:
            one_sided = {n.lower() for n in names} <= TRUE or {n.lower() for n in names} <= FALSE
            classes = truth_names(names) or (() if one_sided else names)
        if len(classes) != 2 or classes[0] == classes[1]:
            raise DataError(
                f"Task '{self.name}' is binary and needs two different labels. Found "
                f"{', '.join(names[:10])} in the training rows. Use 'kind: multiclass' for more "
                f"than two, or name the negative and the positive one under "
                f"'tasks.{self.name}.classes'."
            )
        return replace(self, classes=classes)

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        negative, positive = (name.lower() for name in self.classes)
        truths = negative in FALSE and positive in TRUE
        target = torch.zeros(len(values))
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if is_missing(cell):
                continue
            name = label_text(cell)
            if name in self.classes:
                target[row], present[row] = float(self.classes.index(name)), True
            elif truths and name.lower() in TRUE | FALSE:
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

        from polytask.tasks.metrics import MajorityRate

        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(**LOCAL),
                "precision": BinaryPrecision(**LOCAL),
                "recall": BinaryRecall(**LOCAL),
                "f1": BinaryF1Score(**LOCAL),
                "majority": MajorityRate(2),
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

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Binary)
        if set(earlier.classes) != set(self.classes):
            raise DataError(
                f"Task '{self.name}' had the labels {' and '.join(earlier.classes)} in the run to "
                f"start from. Found {' and '.join(self.classes)}. Let it begin anew with --fresh "
                f"heads.{self.name}."
            )
        return replace(self, classes=earlier.classes)
