"""Yes or no.

Shapes: B examples.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import LOCAL, PooledTask, Task
from polytask.tasks.imbalance import (
    ByFrequency,
    best_threshold,
    binary_focal_factor,
    log_priors,
    positive_factor,
    require_settings,
    require_threshold,
)
from polytask.tasks.labels import (
    FALSE,
    TRUE,
    Cells,
    Unknown,
    UnknownLabel,
    is_missing,
    label_name,
    label_names,
    require_labels,
    sort_labels,
    truth_names,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Binary(PooledTask):
    """Yes or no, by one logit and binary cross-entropy.

    Attributes:
        classes: The names of the negative and the positive class. Empty: `no` and `yes` style
            labels (0/1, true/false, no/yes) are understood, else the two labels of the training
            rows in sorted order.
        positive_weight: The factor of positive examples' loss; `balanced` and `effective` make
            both sides weigh alike by the training rows, counted as they are or by their effective
            number (Cui et al. 2019).
        effective_beta: For `effective`: the nearer to 1, the nearer to `balanced`.
        focal: Above 0, what is already right with probability p counts `(1 - p) ** focal` (Lin et
            al. 2017, who take 2).
        logit_adjustment: Above 0, this times the log odds of the training rows is added to the
            logit in the loss, so that predictions fit sides that are equally frequent (Menon et
            al. 2021, who take 1).
        threshold: From which probability on an example is called positive; `tuned` chooses that
            of greatest F1 on the validation part once training has ended, and keeps it.
    """

    classes: tuple[str, ...] = ()
    positive_weight: float | ByFrequency = 1.0
    effective_beta: float = 0.999
    focal: float = 0.0
    logit_adjustment: float = 0.0
    threshold: float | Literal["tuned"] = 0.5
    counts: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_settings(self.effective_beta, self.focal, self.logit_adjustment)
        require_threshold(self.threshold)

    @property
    def outputs(self) -> int:
        return 1

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        seen = Counter(label_names(self, values))
        names = sort_labels(list(seen))
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
        fitted = replace(self, classes=classes)
        # What is the same is read once.
        different = np.array([[name] for name in seen], dtype=object)
        target, present = fitted.encode(different, unknown="skip")
        number = torch.tensor(list(seen.values())) * present
        positive = int((number * target).sum())
        return replace(fitted, counts=(int(number.sum()) - positive, positive))

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        negative, positive = (name.lower() for name in self.classes)
        truths = negative in FALSE and positive in TRUE
        target = torch.zeros(len(values))
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if is_missing(cell):
                continue
            name = label_name(self, cell, row)
            if name in self.classes:
                target[row], present[row] = float(self.classes.index(name)), True
            elif truths and name.lower() in TRUE | FALSE:
                target[row], present[row] = float(name.lower() in TRUE), True
            elif unknown == "error":
                raise UnknownLabel(row, self, name, self.classes)
        return target, present

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        logit = output.squeeze(1)
        if self.logit_adjustment:
            against, for_ = log_priors(torch.tensor(self.counts)).tolist()
            logit = logit + self.logit_adjustment * (for_ - against)
        loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        if self.focal:
            loss = loss * binary_focal_factor(logit, target, self.focal)
        return loss * torch.where(target > 0.5, self._factor(), 1.0)

    def _factor(self) -> float:
        """The factor of positive examples."""
        if not isinstance(self.positive_weight, str):
            return self.positive_weight
        negative, positive = torch.tensor(self.counts)
        how, beta = self.positive_weight, self.effective_beta
        return float(positive_factor(negative, positive, how, beta))

    @property
    def cut(self) -> float:
        """From which probability on an example is called positive."""
        if self.threshold != "tuned":
            return self.threshold
        return self.thresholds[0] if self.thresholds else 0.5

    @property
    def tunes(self) -> bool:
        return self.threshold == "tuned"

    def tuned(self, decoded: Tensor, target: Tensor) -> Self:
        best = best_threshold(decoded, target)
        return replace(self, thresholds=(0.5 if best is None else best,))

    def untuned(self) -> Self:
        return replace(self, thresholds=())

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

        from polytask.tasks.metrics import MajorityRate, Ranking

        return MetricCollection(
            {
                "accuracy": BinaryAccuracy(self.cut, **LOCAL),
                "precision": BinaryPrecision(self.cut, **LOCAL),
                "recall": BinaryRecall(self.cut, **LOCAL),
                "f1": BinaryF1Score(self.cut, **LOCAL),
                "auroc": Ranking("auroc"),
                "average_precision": Ranking("average_precision"),
                "majority": MajorityRate(2),
            },
            compute_groups=False,
        )

    @property
    def score(self) -> str:
        return "accuracy"

    def each(self, decoded: Tensor, target: Tensor) -> Tensor:
        return ((decoded > self.cut) == (target > 0.5)).float()

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        return [
            {self.name: self.classes[int(p > self.cut)], f"{self.name}.{self.classes[1]}": p}
            for p in decoded.tolist()
        ]

    def facts(self) -> dict[str, Any]:
        tuned = {"thresholds": list(self.thresholds)} if self.thresholds else {}
        return {"classes": list(self.classes), "counts": list(self.counts), **tuned}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Binary)
        if set(earlier.classes) != set(self.classes):
            raise DataError(
                f"Task '{self.name}' had the labels {' and '.join(earlier.classes)} in the run to "
                f"start from. Found {' and '.join(self.classes)}. Let it begin anew with --fresh "
                f"heads.{self.name}."
            )
        same = earlier.classes == self.classes
        counts = self.counts if same else self.counts[::-1]
        return replace(self, classes=earlier.classes, counts=counts)
