"""One of many classes.

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

from polytask.errors import DataError, nearest, require_number
from polytask.tasks.base import LOCAL, PooledTask, Task
from polytask.tasks.imbalance import (
    ByFrequency,
    binary_focal_factor,
    focal_factor,
    frequency_factors,
    log_priors,
    require_settings,
)
from polytask.tasks.labels import (
    Cells,
    Unknown,
    composed,
    encode_classes,
    label_names,
    require_classes,
    require_labels,
    sort_labels,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def one_vs_rest_loss(output: Tensor, target: Tensor, focal: float = 0.0) -> Tensor:
    """The sum over classes of "is it this one?", `[B]`.

    Args:
        output: `[B, C]` logits.
        target: `[B]` class numbers.
        focal: The exponent of each question's focal factor; 0 for none.
    """
    truth = F.one_hot(target, output.shape[1]).to(output.dtype)
    loss = F.binary_cross_entropy_with_logits(output, truth, reduction="none")
    return (loss * binary_focal_factor(output, truth, focal) if focal else loss).sum(1)


@dataclass(frozen=True, kw_only=True)
class Multiclass(PooledTask):
    """Exactly one of C classes, by softmax and cross-entropy, or by C yes-no questions.

    Attributes:
        classes: The label names in order of their index. Empty: those of the training rows.
        criterion: `softmax`, or `one-vs-rest`: the sum of C binary cross-entropies, whose
            probabilities are divided by their sum.
        class_weights: A factor per label name, or `balanced` for factors inversely proportional
            to the class's frequency in the training rows, or `effective` for the inverse of its
            effective number of examples (Cui et al. 2019). Scaled so that the mean factor over
            the training rows is 1.
        effective_beta: For `effective`: the nearer to 1, the nearer to `balanced`.
        focal: Above 0, what is already right with probability p counts `(1 - p) ** focal` (Lin et
            al. 2017, who take 2).
        logit_adjustment: Above 0, this times the log of each class's share is added to its logit
            in the loss, so that predictions fit classes that are equally frequent (Menon et al.
            2021, who take 1).
        label_smoothing: How much of the target probability is spread over all classes, in [0, 1).
        parent: The task, of the same input, of whose classes these are kinds: `coarse` of `fine`.
            Which class is a kind of which is read off training rows with both labels. Heads learn
            by themselves; predictions and scores are of what they say together, and then the
            probabilities of a class's kinds add up to the class's own (`Hierarchies`).
    """

    classes: tuple[str, ...] = ()
    criterion: Literal["softmax", "one-vs-rest"] = "softmax"
    class_weights: Mapping[str, float] | ByFrequency | None = None
    effective_beta: float = 0.999
    focal: float = 0.0
    logit_adjustment: float = 0.0
    label_smoothing: float = 0.0
    parent: str | None = None
    counts: tuple[int, ...] = ()
    above: tuple[str, ...] = ()  # The parent's class of which each class is a kind.

    def __post_init__(self) -> None:
        require_settings(self.effective_beta, self.focal, self.logit_adjustment)
        require_number("label_smoothing", self.label_smoothing, 0, 1)
        if self.criterion == "one-vs-rest" and (self.label_smoothing or self.logit_adjustment):
            raise ValueError(
                "`label_smoothing` and `logit_adjustment` go with `criterion: softmax`."
            )
        if self.criterion == "one-vs-rest" and self.parent is not None:
            raise ValueError("`parent` goes with `criterion: softmax`.")

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        seen = Counter(label_names(self, values))
        classes = self.classes or sort_labels(list(seen))
        require_classes(self, classes)
        fitted = replace(self, classes=classes, counts=tuple(seen[name] for name in classes))
        fitted._factors()
        return fitted

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        return encode_classes(self, self.classes, values, unknown)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if self.logit_adjustment:
            counts = torch.tensor(self.counts, device=output.device)
            output = output + self.logit_adjustment * log_priors(counts)
        if self.criterion == "softmax":
            loss = F.cross_entropy(
                output, target, reduction="none", label_smoothing=self.label_smoothing
            )
            if self.focal:
                loss = loss * focal_factor(output, target, self.focal)
        else:
            loss = one_vs_rest_loss(output, target, self.focal)
        factors = self._factors()
        return loss if factors is None else loss * factors.to(output.device)[target]

    def _factors(self) -> Tensor | None:
        """The factor of each class, `[C]`, or None."""
        if self.class_weights is None:
            return None
        counts = torch.tensor(self.counts, dtype=torch.float32)
        if isinstance(self.class_weights, str):
            factors = frequency_factors(counts, self.class_weights, self.effective_beta)
        else:
            given = {composed(name): factor for name, factor in self.class_weights.items()}
            classes = [composed(name) for name in self.classes]
            for name in self.class_weights:
                if composed(name) not in classes:
                    raise DataError(
                        f"tasks.{self.name}.class_weights names '{name}', which is no class. "
                        + nearest(name, self.classes)
                    )
            factors = torch.tensor([given.get(name, 1.0) for name in classes])
        total = float((factors * counts).sum())
        if not math.isfinite(total) or total <= 0 or bool((factors < 0).any()):
            raise DataError(
                f"tasks.{self.name}.class_weights should be finite, at least 0, and above 0 for a "
                f"class that training rows have. Found {self.class_weights}."
            )
        return factors * (counts.sum() / total)

    def decode(self, output: Tensor) -> Tensor:
        if self.criterion == "softmax":
            return output.float().softmax(1)
        return F.logsigmoid(output.float()).softmax(1)  # sigmoids divided by their sum

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

    def each(self, decoded: Tensor, target: Tensor) -> Tensor:
        return (decoded.argmax(1) == target).float()

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for probabilities in decoded.tolist():
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            row: dict[str, Any] = {self.name: self.classes[best]}
            row |= {f"{self.name}.{c}": p for c, p in zip(self.classes, probabilities, strict=True)}
            rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        above = {} if self.parent is None else {"above": list(self.above)}
        return {"classes": list(self.classes), "counts": list(self.counts), **above}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Multiclass)
        seen = dict(zip(self.classes, self.counts, strict=True))
        classes = dict.fromkeys((*earlier.classes, *self.classes))
        counts = tuple(seen.get(c, 0) for c in classes)
        return replace(self, classes=tuple(classes), counts=counts, above=earlier.above)
