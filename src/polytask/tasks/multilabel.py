"""Any number of labels at once.

Shapes: B examples, C labels, K target columns.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import (
    FALSE,
    TRUE,
    Cells,
    LabelError,
    PooledTask,
    Task,
    Unknown,
    is_missing,
    label_text,
    masked,
    mean_of_known,
    require_labels,
    sort_labels,
    unknown_label,
)

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Multilabel(PooledTask):
    """Any number of C labels at once, by C logits and binary cross-entropy.

    Labels come from one column whose cells list label names (`red|round`; an empty list is
    written as the separator alone), or from K columns of yes/no, one per label; then single cells
    may be missing and only the known ones count.

    Attributes:
        classes: The label names. Empty: those of the training rows, or the columns' names.
        separator: What stands between names in a cell.
        positive_weight: The factor of positive labels' loss.
    """

    classes: tuple[str, ...] = ()
    separator: str = "|"
    positive_weight: float = 1.0

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def fit(self, values: Cells) -> Self:
        labelled = require_labels(self, values)
        number = values.shape[1]
        classes = self.classes
        if not classes and number > 1:
            classes = tuple(next(iter(self.target.values())))
        elif not classes:
            classes = sort_labels([n for cell in values[labelled, 0] for n in self._names(cell)])
        if number > 1 and len(classes) != number:
            raise DataError(
                f"tasks.{self.name}.classes should name one label per target column ({number}). "
                f"Found {len(classes)}."
            )
        if len(set(classes)) < max(2, len(classes)):
            raise DataError(
                f"Task '{self.name}' is multilabel and needs at least two different labels. Found "
                f"{', '.join(classes) or 'none'}. Cells hold names separated by "
                f"'{self.separator}'; for a single label use 'kind: binary'."
            )
        return replace(self, classes=classes)

    def _names(self, cell: object) -> list[str]:
        if isinstance(cell, (list, tuple, np.ndarray)):
            return [label_text(part) for part in cell]
        return [part.strip() for part in label_text(cell).split(self.separator) if part.strip()]

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        if values.shape[1] > 1:
            return self._encode_columns(values, unknown)
        index = {name: i for i, name in enumerate(self.classes)}
        target = torch.zeros(len(values), len(self.classes))
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if is_missing(cell):
                continue
            names = self._names(cell)
            strange = [name for name in names if name not in index]
            if strange and unknown == "error":
                raise LabelError(row, unknown_label(self, strange[0], self.classes))
            present[row] = not strange
            for name in names:
                if name in index:
                    target[row, index[name]] = 1.0
        return target, present

    def _encode_columns(self, values: Cells, unknown: Unknown) -> tuple[Tensor, Tensor]:
        target = torch.full((len(values), values.shape[1]), float("nan"))
        for row, cells in enumerate(values):
            for column, cell in enumerate(cells):
                if is_missing(cell):
                    continue
                name = label_text(cell).lower()
                if name not in TRUE | FALSE and unknown == "skip":
                    continue
                if name not in TRUE | FALSE:
                    raise LabelError(
                        row,
                        f"Task '{self.name}' needs 0/1, true/false or yes/no in the column of "
                        f"'{self.classes[column]}'. Found {cell!r}.",
                    )
                target[row, column] = float(name in TRUE)
        return target, ~torch.isnan(target).all(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        value, known = masked(target)
        loss = F.binary_cross_entropy_with_logits(output, value, reduction="none")
        loss = loss * torch.where(value > 0.5, self.positive_weight, 1.0)
        return mean_of_known(loss, known)

    def decode(self, output: Tensor) -> Tensor:
        return output.float().sigmoid()

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.metrics import multilabel_metrics

        return multilabel_metrics(self.outputs)

    @property
    def score(self) -> str:
        return "f1"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for probabilities in decoded.tolist():
            pairs = list(zip(self.classes, probabilities, strict=True))
            chosen = self.separator.join(name for name, p in pairs if p > 0.5)
            rows.append({self.name: chosen, **{f"{self.name}.{n}": p for n, p in pairs}})
        return rows

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Multilabel)
        classes = tuple(dict.fromkeys((*earlier.classes, *self.classes)))
        named = next(iter(self.target.values()))
        if not isinstance(named, str) and len(named) > 1 and classes != self.classes:
            raise DataError(
                f"Task '{self.name}' has one target column per label, which should be those of "
                f"the run to start from and then new ones: {', '.join(earlier.classes)}. Found "
                f"{', '.join(self.classes)}."
            )
        return replace(self, classes=classes)
