"""One of several classes that have an order.

Shapes: B examples, C classes, D features.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import DataError
from polytask.tasks.base import PooledLinear, PooledTask, Task
from polytask.tasks.labels import (
    Cells,
    Unknown,
    encode_classes,
    label_names,
    require_classes,
    require_labels,
    sort_labels,
    spells_a_number,
)
from polytask.types import Features

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def coral_loss(output: Tensor, target: Tensor) -> Tensor:
    """The sum of C - 1 binary losses, "above rank k?", `[B]` (Cao et al. 2020).

    Args:
        output: `[B, C - 1]` logits.
        target: `[B]` ranks.
    """
    ranks = torch.arange(output.shape[1], device=output.device)
    above = (target.unsqueeze(1) > ranks).to(output.dtype)
    return F.binary_cross_entropy_with_logits(output, above, reduction="none").sum(1)


def corn_loss(output: Tensor, target: Tensor) -> Tensor:
    """The sum of the binary losses "above rank k, given at least k?" that apply (Shi et al. 2021).

    The authors divide by the number of questions that apply in the batch; here an example's are
    added up, so that the loss of an example does not depend on its neighbours.

    Args:
        output: `[B, C - 1]` logits.
        target: `[B]` ranks.
    """
    ranks = torch.arange(output.shape[1], device=output.device)
    above = (target.unsqueeze(1) > ranks).to(output.dtype)
    asked = target.unsqueeze(1) >= ranks
    loss = F.binary_cross_entropy_with_logits(output, above, reduction="none")
    return (loss * asked).sum(1)


def median_rank(probabilities: Tensor) -> Tensor:
    """How many thresholds are passed with a probability above a half, `[B]`.

    Args:
        probabilities: `[B, C]` of the classes in their order.
    """
    above = probabilities.flip(1).cumsum(1).flip(1)[:, 1:]  # P(rank > k)
    return (above > 0.5).sum(1)


class OneSlope(PooledLinear):
    """A head with one direction for all thresholds and a bias for each, so that they never cross.

    Args:
        in_features: D of the features.
        thresholds: Number of thresholds, C - 1.
        pool: How a map or sequence becomes a vector.
        dropout: Probability of zeroing an entry of the vector while training.
    """

    def __init__(self, in_features: int, thresholds: int, *, pool: Any, dropout: float) -> None:
        super().__init__(in_features, 1, pool=pool, dropout=dropout)
        # As the authors begin: the first threshold is the easiest to pass.
        start = torch.arange(thresholds, 0, -1.0) / thresholds
        self.thresholds = nn.Parameter(start)

    def forward(self, features: Features) -> Tensor:
        """Map features to logits, `[B, C - 1]`."""
        return super().forward(features) + self.thresholds


@dataclass(frozen=True, kw_only=True)
class Ordinal(PooledTask):
    """One of C classes in an order, by C - 1 questions "is it above class k?".

    `coral` (Cao et al. 2020) has one direction in feature space for all questions, so that their
    probabilities keep the order. `corn` (Shi et al. 2021) asks each question of those who passed
    the one before, with a direction of its own. The predicted class is the median.

    Attributes:
        classes: The labels from lowest to highest. Empty: those of the training rows, if all of
            them are numbers.
        method: `coral` or `corn`.
    """

    classes: tuple[str, ...] = ()
    method: Literal["coral", "corn"] = "coral"
    counts: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        return len(self.classes) - 1

    def head(self, in_features: int) -> nn.Module:
        made = OneSlope if self.method == "coral" else PooledLinear
        return made(in_features, self.outputs, pool=self.pool, dropout=self.dropout)

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        seen = Counter(label_names(self, values))
        words = [name for name in seen if not spells_a_number(name)]
        if words and not self.classes:
            raise DataError(
                f"Task '{self.name}' is ordinal and its labels are words, such as '{words[0]}': "
                f"list them from lowest to highest under 'tasks.{self.name}.classes'."
            )
        classes = self.classes or sort_labels(list(seen))
        require_classes(self, classes)
        return replace(self, classes=classes, counts=tuple(seen[name] for name in classes))

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        return encode_classes(self, self.classes, values, unknown)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (coral_loss if self.method == "coral" else corn_loss)(output, target)

    def decode(self, output: Tensor) -> Tensor:
        """The probability of each class, `[B, C]`."""
        passed = output.float().sigmoid()
        above = passed.cummin(1).values if self.method == "coral" else passed.cumprod(1)
        ends = above.new_ones(len(above), 1), above.new_zeros(len(above), 1)
        return torch.cat([ends[0], above], 1) - torch.cat([above, ends[1]], 1)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.label_metrics import ordinal_metrics

        return ordinal_metrics(len(self.classes))

    @property
    def score(self) -> str:
        return "kappa"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for rank, likely in zip(median_rank(decoded).tolist(), decoded.tolist(), strict=True):
            row: dict[str, Any] = {self.name: self.classes[rank]}
            row |= {f"{self.name}.{c}": p for c, p in zip(self.classes, likely, strict=True)}
            rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "counts": list(self.counts)}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Ordinal)
        if (earlier.classes, earlier.method) != (self.classes, self.method):
            raise DataError(
                f"Task '{self.name}' had the labels {', '.join(earlier.classes)} and the method "
                f"{earlier.method} in the run to start from. Found {', '.join(self.classes)} and "
                f"{self.method}. Let it begin anew with --fresh heads.{self.name}."
            )
        return self
