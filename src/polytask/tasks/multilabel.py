"""Any number of labels at once.

Shapes: B examples, C labels, K target columns.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks.base import PooledTask, Task, masked, mean_of_known
from polytask.tasks.imbalance import (
    ByFrequency,
    best_threshold,
    binary_focal_factor,
    positive_factor,
    require_settings,
    require_threshold,
)
from polytask.tasks.labels import (
    FALSE,
    TRUE,
    Cells,
    LabelError,
    Unknown,
    UnknownLabel,
    is_missing,
    label_text,
    require_labels,
    sort_labels,
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
        positive_weight: The factor of positive labels' loss; `balanced` and `effective` make both
            sides of each label weigh alike by the training rows, counted as they are or by their
            effective number (Cui et al. 2019).
        effective_beta: For `effective`: the nearer to 1, the nearer to `balanced`.
        focal: Above 0, what is already right with probability p counts `(1 - p) ** focal` (Lin et
            al. 2017, who take 2).
        logit_adjustment: Above 0, this times each label's log odds in the training rows is added
            to its logit in the loss, so that predictions fit labels that are present as often as
            absent (Menon et al. 2021, who take 1).
        threshold: From which probability on a label is named; `tuned` chooses that of greatest F1
            for each label on the validation part once training has ended, and keeps it.
    """

    classes: tuple[str, ...] = ()
    separator: str = "|"
    positive_weight: float | ByFrequency = 1.0
    effective_beta: float = 0.999
    focal: float = 0.0
    logit_adjustment: float = 0.0
    threshold: float | Literal["tuned"] = 0.5
    counts: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_settings(self.effective_beta, self.focal, self.logit_adjustment)
        require_threshold(self.threshold)

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
            rows = np.flatnonzero(labelled).tolist()
            classes = sort_labels([n for row in rows for n in self._names(values[row, 0], row)])
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
        fitted = replace(self, classes=classes)
        target, present = fitted.encode(values, unknown="skip")
        value, known = masked(target[present])
        counts, number = (tuple(map(int, x.sum(0).tolist())) for x in (value, known))
        return replace(fitted, counts=counts, known=number)

    def _names(self, cell: object, row: int) -> list[str]:
        if isinstance(cell, str):
            return [part.strip() for part in cell.split(self.separator) if part.strip()]
        listed = isinstance(cell, (list, tuple, np.ndarray))
        parts = list(cell) if isinstance(cell, (list, tuple, np.ndarray)) else [cell]
        for part in parts:
            if is_missing(part) or isinstance(part, (list, tuple, dict, np.ndarray)):
                raise LabelError(
                    row,
                    f"Task '{self.name}' (multilabel) needs a list of label names, or names with "
                    f"'{self.separator}' between them. Found {str(part)[:60]}"
                    + (" in a list." if listed else "."),
                )
        return [label_text(part) for part in parts]

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        if values.shape[1] > 1:
            return self._encode_columns(values, unknown)
        index = {name: i for i, name in enumerate(self.classes)}
        target = torch.zeros(len(values), len(self.classes))
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if is_missing(cell):
                continue
            names = self._names(cell, row)
            strange = [name for name in names if name not in index]
            if strange and unknown == "error":
                raise UnknownLabel(row, self, strange[0], self.classes)
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

    def unknown_labels(self, values: Cells) -> Counter[str] | None:
        if values.shape[1] == 1:
            return None
        names = (label_text(c) for c in values.ravel() if not is_missing(c))
        return Counter(name for name in names if name.lower() not in TRUE | FALSE)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        value, known = masked(target)
        if self.logit_adjustment:
            output = output + self.logit_adjustment * self._log_odds().to(output.device)
        loss = F.binary_cross_entropy_with_logits(output, value, reduction="none")
        if self.focal:
            loss = loss * binary_focal_factor(output, value, self.focal)
        loss = loss * torch.where(value > 0.5, self._factors().to(output.device), 1.0)
        return mean_of_known(loss, known)

    def _sides(self) -> tuple[Tensor, Tensor]:
        """How many training rows lack and have each label, two of `[C]`."""
        positive = torch.tensor(self.counts)
        return torch.tensor(self.known) - positive, positive

    def _log_odds(self) -> Tensor:
        """The log of how much more often each label is present than absent, `[C]`."""
        negative, positive = (side.float().clamp(min=1) for side in self._sides())
        return (positive / negative).log()

    def _factors(self) -> Tensor:
        """The factor of each label where it is present, `[C]`."""
        if isinstance(self.positive_weight, str):
            return positive_factor(*self._sides(), self.positive_weight, self.effective_beta)
        return torch.full((len(self.classes),), float(self.positive_weight))

    @property
    def cuts(self) -> tuple[float, ...]:
        """From which probability on each label is named."""
        if self.threshold != "tuned":
            return (self.threshold,) * len(self.classes)
        return self.thresholds or (0.5,) * len(self.classes)

    @property
    def tunes(self) -> bool:
        return self.threshold == "tuned"

    def tuned(self, decoded: Tensor, target: Tensor) -> Self:
        found = [best_threshold(*pair) for pair in zip(decoded.T, target.T, strict=True)]
        return replace(self, thresholds=tuple(0.5 if t is None else t for t in found))

    def untuned(self) -> Self:
        return replace(self, thresholds=())

    def decode(self, output: Tensor) -> Tensor:
        return output.float().sigmoid()

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.label_metrics import multilabel_metrics

        return multilabel_metrics(self.cuts)

    @property
    def score(self) -> str:
        return "f1"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for probabilities in decoded.tolist():
            pairs = list(zip(self.classes, probabilities, strict=True))
            named = [p > cut for p, cut in zip(probabilities, self.cuts, strict=True)]
            chosen = self.separator.join(
                n for n, yes in zip(self.classes, named, strict=True) if yes
            )
            rows.append({self.name: chosen, **{f"{self.name}.{n}": p for n, p in pairs}})
        return rows

    def facts(self) -> dict[str, Any]:
        tuned = {"thresholds": list(self.thresholds)} if self.thresholds else {}
        counted = {"counts": list(self.counts), "known": list(self.known)}
        return {"classes": list(self.classes), **counted, **tuned}

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
        place = {name: k for k, name in enumerate(self.classes)}
        counts = tuple(self.counts[place[n]] if n in place else 0 for n in classes)
        known = tuple(self.known[place[n]] if n in place else max(self.known) for n in classes)
        return replace(self, classes=classes, counts=counts, known=known)
