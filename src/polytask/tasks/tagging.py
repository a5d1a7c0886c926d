"""A label for each token of a sequence, or for each frame of a sound.

Shapes: N rows, B examples, L tokens (or frames) of the longest example, C tags, D features.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import ConfigError, DataError
from polytask.tasks import sequences
from polytask.tasks.base import Task
from polytask.tasks.crf import best_tags, negative_log_likelihood
from polytask.tasks.intervals import Interval, at_frames, overlap, read_intervals, written
from polytask.tasks.labels import (
    Cells,
    LabelError,
    Unknown,
    UnknownLabel,
    columns,
    is_missing,
    label_text,
    require_labels,
    sort_labels,
)
from polytask.tasks.sequences import PADDING, UNKNOWN
from polytask.types import Features

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class TokenHead(nn.Module):
    """A linear layer at every token, and for a chain of tags the scores of transitions.

    The output is one tensor, so that it passes through everything that outputs of heads pass
    through: its last column is 1 where there is a token and 0 elsewhere; a chain's transitions and
    ends are the same `C + 2` further rows of every example.

    Args:
        in_features: D of the features.
        tags: C.
        chain: Whether there are transitions.
        dropout: Probability of zeroing an entry of a token's features while training.
        name: The task, for messages.
    """

    def __init__(
        self, in_features: int, tags: int, *, chain: bool, dropout: float, name: str
    ) -> None:
        super().__init__()
        self.name = name
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_features, tags)
        self.chain = nn.Parameter(torch.zeros(tags + 2, tags)) if chain else None

    def forward(self, features: Features) -> Tensor:
        """Sequences `[B, L, D]` to `[B, L, C + 1]`, or to `[B, L + C + 2, C + 1]` with a chain."""
        values, mask = features
        if values.ndim != 3:
            raise ConfigError(
                f"Task '{self.name}' labels every token and needs sequences [B, L, D]. Found "
                f"features of shape {tuple(values.shape)}. Leave out 'pool:' at its input, and "
                "give the trunk a backbone of sequences (recurrent or transformer)."
            )
        scores: Tensor = self.linear(self.dropout(values))
        if mask is None:
            mask = values.new_ones(values.shape[:2], dtype=torch.bool)
        output = torch.cat([scores, mask.unsqueeze(2).to(scores.dtype)], 2)
        if self.chain is None:
            return output
        rows = F.pad(self.chain, (0, 1)).expand(len(values), -1, -1)
        return torch.cat([output, rows.to(output.dtype)], 1)


@dataclass(frozen=True, kw_only=True)
class Tagging(Task):
    """A label for each token: parts of speech, names, chunks; or for each frame of a sound.

    A cell is a list of labels, one per token, or a text of labels with white space between them. A
    None or '' in the list is a token without a label; it is left out of loss and metrics. The loss
    is the mean over an example's labelled tokens; that of a chain is minus the log-probability of
    all its labels, divided by their number.

    With `frame` a cell says what is heard when: a list of `[start, end, label]` in seconds, or a
    text of these with white space between all of them (`0 0.13 sil 0.13 0.2 sh`), such as phones
    that were aligned by hand or events that were marked. A frame has the label that is there in
    its middle; where intervals overlap, that of the later one. An interval's label may be None or
    ''.

    Attributes:
        classes: The label names in order of their index. Empty: those of the training rows.
        decoder: `linear` labels each token by itself; `crf` learns which labels follow each other
            (a linear-chain conditional random field) and finds the best sequence.
        frame: Seconds from one frame that the trunk gives to the next, where cells say times: the
            `hop` of a sound's encoder times the strides behind it. 0: a label per token.
        outside: With `frame`, the label of frames that are in no interval; empty: they have none.
    """

    classes: tuple[str, ...] = ()
    decoder: Literal["linear", "crf"] = "linear"
    frame: float = 0.0
    outside: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.frame < float("inf"):
            raise ConfigError(f"`frame` should be a number of seconds. Found {self.frame}.")
        if self.outside and not self.frame:
            raise ConfigError("`outside` is of labels with times: say how long a `frame` is.")

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def spans(self) -> bool:
        """Whether labels mark the beginning, inside and outside of spans (IOB2)."""
        return (
            "O" in self.classes
            and any(name.startswith("B-") for name in self.classes)
            and all(name == "O" or name.startswith(("B-", "I-")) for name in self.classes)
        )

    def head(self, in_features: int) -> nn.Module:
        return TokenHead(
            in_features,
            self.outputs,
            chain=self.decoder == "crf",
            dropout=self.dropout,
            name=self.name,
        )

    def fit(self, values: Cells) -> Self:
        labelled = require_labels(self, values)
        seen = {n for r in np.flatnonzero(labelled) for n in self._said(values[r, 0], int(r)) if n}
        classes = self.classes or sort_labels(list(seen))
        if not seen:
            raise DataError(
                f"Task '{self.name}' has no label of a token in any training row (column "
                f"{', '.join(columns(self))}). Name another column under "
                f"'tasks.{self.name}.target', or remove the task."
            )
        if len(set(classes)) < max(2, len(classes)):
            raise DataError(
                f"Task '{self.name}' needs at least two different labels of tokens. Found "
                f"{', '.join(classes) or 'none'}. Remove the task, or list all labels under "
                f"'tasks.{self.name}.classes'."
            )
        return replace(self, classes=classes)

    def _said(self, cell: object, row: int) -> list[str]:
        """The labels that there are in a cell, those too short for any frame among them."""
        if not self.frame:
            return self._names(cell, row)
        return [*(interval.label for interval in self._intervals(cell, row)), self.outside]

    def _intervals(self, cell: object, row: int) -> list[Interval]:
        try:
            return read_intervals(cell)
        except ValueError as error:
            raise LabelError(
                row,
                f"Task '{self.name}' (tagging with a 'frame') needs a list of [start, end, label] "
                "in seconds, or a text of these with spaces between all of them: " + f"{error}.",
            ) from error

    def ends(self, values: Cells) -> list[float]:
        """With `frame`, the seconds at which each row's last interval ends; 0 without any.

        Args:
            values: `[N, 1]` raw cells.

        Raises:
            LabelError: For the first cell that cannot be read.
        """
        return [
            max((i.end for i in self._intervals(cell, row)), default=0.0)
            for row, cell in enumerate(["" if is_missing(c) else c for c in values[:, 0]])
        ]

    def overlaps(self, cell: object) -> bool:
        """With `frame`, whether two intervals of a readable cell are in one frame."""
        return not is_missing(cell) and overlap(read_intervals(cell), self.frame)

    def _names(self, cell: object, row: int) -> list[str]:
        """The labels of a cell, one per token or frame; empty where one has none."""
        if self.frame:
            return at_frames(self._intervals(cell, row), self.frame, self.outside)
        if isinstance(cell, str):
            return cell.split()
        if not isinstance(cell, (list, tuple, np.ndarray)):
            raise LabelError(
                row,
                f"Task '{self.name}' (tagging) needs a list of labels, one per token, or a text of "
                f"labels with spaces between them. Found {cell!r}.",
            )
        for part in cell:
            if isinstance(part, (list, tuple, dict, np.ndarray)):
                raise LabelError(
                    row,
                    f"Task '{self.name}' (tagging) needs one label per token. Found "
                    f"{str(part)[:60]} for one.",
                )
        return ["" if is_missing(part) else label_text(part) for part in cell]

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        index = {name: i for i, name in enumerate(self.classes)} | {"": UNKNOWN}
        rows: list[Sequence[int]] = []
        for row, cell in enumerate(values[:, 0]):
            names = [] if is_missing(cell) else self._names(cell, row)
            strange = next((name for name in names if name not in index), None)
            if strange is not None and unknown == "error":
                raise UnknownLabel(row, self, strange, self.classes)
            rows.append([index.get(name, UNKNOWN) for name in names])
        target = sequences.padded(rows, self.outputs)
        return target, (target >= 0).any(1)

    def unknown_labels(self, values: Cells) -> Counter[str]:
        known = {*self.classes, ""}
        labelled = ((row, c) for row, c in enumerate(values[:, 0]) if not is_missing(c))
        names = (name for row, cell in labelled for name in self._names(cell, row))
        return Counter(name for name in names if name not in known)

    def alike(self, targets: Sequence[Tensor]) -> list[Tensor]:
        return sequences.alike(targets)

    def lengths(self, target: Tensor) -> Tensor:
        return sequences.lengths(target)

    @property
    def rest(self) -> int:
        """The number of the label of frames that are in no interval."""
        return self.classes.index(self.outside) if self.outside in self.classes else UNKNOWN

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores `[B, L, C]`, mask `[B, L]` and chain `[C + 2, C]` of a head's output."""
        chain = output.new_zeros(self.outputs + 2, self.outputs)
        if self.decoder == "crf":
            size = output.shape[1] - self.outputs - 2
            if len(output):
                chain = output[0, size:, :-1]
            output = output[:, :size]
        return output[:, :, :-1], output[:, :, -1] > 0.5, chain

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        scores, mask, chain = self._parts(output)
        self._require_aligned(mask, target)
        target = sequences.widened(target, scores.shape[1]).long().masked_fill(~mask, PADDING)
        known = target >= 0
        count = known.sum(1).clamp(min=1)
        if self.decoder == "linear":
            loss = F.cross_entropy(
                scores.transpose(1, 2),
                target.clamp(min=UNKNOWN),
                ignore_index=UNKNOWN,
                reduction="none",
            )
            return loss.sum(1) / count
        return negative_log_likelihood(scores, mask, chain[2:], chain[:2], target) / count

    def _require_aligned(self, mask: Tensor, target: Tensor) -> None:
        """Raise unless each example has a label per token, but for those cut off at its end.

        Frames are counted from seconds, and a network may round them otherwise: one more or less.
        """
        tokens, labels = mask.sum(1), self.lengths(target)
        wrong = (tokens != labels) & (tokens != labels.clamp(max=mask.shape[1]))
        if self.frame:
            wrong = (tokens - labels).abs() > 1
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            if self.frame:
                right = self.frame * int(labels[row]) / max(1, int(tokens[row]))
                raise DataError(
                    f"Task '{self.name}' has {int(labels[row])} frames of {self.frame:g} s for an "
                    f"example of which the network gives {int(tokens[row])}. Set "
                    f"'tasks.{self.name}.frame' to the hop of the sound's encoder times the "
                    f"strides behind it, which is about {right:.2g}."
                )
            raise DataError(
                f"Task '{self.name}' has {int(labels[row])} labels for an example whose features "
                f"have {int(tokens[row])} places. Every token needs one label (None or '' where it "
                "is unknown), and no part of the network may shorten the sequence ('stride: 1')."
            )

    def decode(self, output: Tensor) -> Tensor:
        """The tag of every token, `[B, L]` int64; `UNKNOWN` where there is no token."""
        scores, mask, chain = self._parts(output.float())
        if self.decoder == "linear" or scores.shape[1] == 0:
            tags = scores.argmax(2)
        else:
            tags = best_tags(scores, mask, chain[2:], chain[:2])
        return tags.masked_fill(~mask, UNKNOWN)

    def scores(self, output: Tensor) -> Tensor:
        scores, mask, _ = self._parts(output)
        return scores * mask.unsqueeze(2)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.token_metrics import tagging_metrics

        return tagging_metrics(self.classes, spans=self.spans)

    @property
    def score(self) -> str:
        return "span_f1" if self.spans else "accuracy"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        names = [name.replace(" ", "\u00a0") for name in self.classes]  # one for each word
        rows = [[names[tag] for tag in tags if tag >= 0] for tags in decoded.tolist()]
        return [
            {self.name: written(row, self.frame) if self.frame else " ".join(row)} for row in rows
        ]

    def facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Tagging)
        return replace(self, classes=tuple(dict.fromkeys((*earlier.classes, *self.classes))))
