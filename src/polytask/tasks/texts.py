"""Targets that are texts: their symbols, and what they have in common.

Shapes: N rows, B examples, L symbols of the longest text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from polytask.errors import DataError
from polytask.tasks import sequences
from polytask.tasks.base import Task
from polytask.tasks.labels import (
    Cells,
    LabelError,
    Unknown,
    UnknownLabel,
    is_missing,
    label_text,
    require_labels,
    sort_labels,
)

Unit = Literal["characters", "words"]


@dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """A text as the target, as a sequence of symbols.

    Attributes:
        unit: What a symbol is: a character, or a word (what stands between white space, such as a
            phone).
        classes: The symbols in order of their index. Empty: those of the training rows.
    """

    unit: Unit = "characters"
    classes: tuple[str, ...] = ()

    def symbols(self, cell: object) -> list[str]:
        """The symbols of a cell; a list of words is read as such."""
        if isinstance(cell, (list, tuple, np.ndarray)):
            words = [label_text(part) for part in cell]
            return words if self.unit == "words" else list(" ".join(words))
        text = label_text(cell)
        return text.split() if self.unit == "words" else list(text)

    def _said(self, cell: object, row: int) -> list[str]:
        """The symbols of a row's cell.

        Raises:
            LabelError: If it is neither a text nor a list of words.
        """
        parts = cell if isinstance(cell, (list, tuple, np.ndarray)) else [cell]
        for part in parts:
            if isinstance(part, (list, tuple, dict, np.ndarray)):
                raise LabelError(
                    row,
                    f"Task '{self.name}' ({type(self).__name__.lower()}) needs a text, or a list "
                    f"of words. Found {str(cell)[:60]}.",
                )
        return self.symbols(cell)

    def joined(self, symbols: Sequence[str]) -> str:
        """The text of some symbols."""
        return (" " if self.unit == "words" else "").join(symbols)

    def texts(self, numbers: Tensor) -> list[str]:
        """The texts of rows `[B, L]` of symbol numbers; negative ones are none."""
        return [self.joined([self.classes[k] for k in row if k >= 0]) for row in numbers.tolist()]

    def fit(self, values: Cells) -> Self:
        labelled = np.flatnonzero(require_labels(self, values)).tolist()
        seen = {symbol for row in labelled for symbol in self._said(values[row, 0], row)}
        classes = self.classes or sort_labels(list(seen))
        if not classes or len(set(classes)) < len(classes):
            raise DataError(
                f"Task '{self.name}' needs texts with symbols, all different. Found "
                f"{list(classes)}. Name another column under 'tasks.{self.name}.target', or mend "
                f"'tasks.{self.name}.classes'."
            )
        return replace(self, classes=classes)

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        index = {symbol: k for k, symbol in enumerate(self.classes)}
        rows: list[list[int]] = []
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            symbols = [] if is_missing(cell) else self._said(cell, row)
            strange = next((symbol for symbol in symbols if symbol not in index), None)
            if strange is not None and unknown == "error":
                raise UnknownLabel(row, self, strange, self.classes)
            present[row] = strange is None and not is_missing(cell)
            rows.append([] if strange is not None else [index[symbol] for symbol in symbols])
        return sequences.padded(rows, len(self.classes)), present

    def alike(self, targets: Sequence[Tensor]) -> list[Tensor]:
        return sequences.alike(targets)

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        return [{self.name: text} for text in self.texts(decoded)]

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}
