"""Texts that are read off a longer sequence, without knowing where in it each symbol is.

Shapes: B examples, T frames, L symbols of the longest text, S symbols, D features.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import ConfigError, DataError
from polytask.tasks import sequences
from polytask.tasks.base import Task
from polytask.tasks.prefixes import collapsed, likeliest
from polytask.tasks.sequences import UNKNOWN
from polytask.tasks.tagging import TokenHead
from polytask.tasks.texts import TextTask

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Recognition(TextTask):
    """A text, by connectionist temporal classification over frames (Graves et al. 2006).

    Every frame says a symbol or the blank; repetitions are one symbol, then blanks are left out.
    The loss is minus the log-probability of the text, summed over all ways to say it, divided by
    the number of its symbols. A text needs a frame for each symbol and one more between two that
    are equal: an example with fewer is an error, because no way to say it exists.

    Attributes:
        search: How texts are found: `greedy` takes each frame's likeliest symbol, `beam` sums over
            ways to say a text (prefix beam search).
        beam: How many beginnings of texts a beam search keeps.
    """

    search: Literal["greedy", "beam"] = "greedy"
    beam: int = 8

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ConfigError(f"`beam` should be at least 1. Found {self.beam}.")

    @property
    def outputs(self) -> int:
        return len(self.classes) + 1

    def head(self, in_features: int) -> nn.Module:
        return TokenHead(
            in_features, self.outputs, chain=False, dropout=self.dropout, name=self.name
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if not len(output):
            return output.sum((1, 2))
        scores, frames = output[:, :, :-1].log_softmax(2), (output[:, :, -1] > 0.5).sum(1)
        symbols = sequences.lengths(target)
        self._require_room(frames, target, symbols)
        loss = F.ctc_loss(
            scores.transpose(0, 1),
            (target.long() + 1).clamp(min=0),
            frames,
            symbols,
            reduction="none",
        )
        return loss / symbols.clamp(min=1)

    def _require_room(self, frames: Tensor, target: Tensor, symbols: Tensor) -> None:
        """Raise unless each text can be said in its example's frames."""
        doubled = ((target[:, 1:] == target[:, :-1]) & (target[:, 1:] >= 0)).sum(1)
        short = frames < symbols + doubled
        if bool(short.any()):
            row = int(short.nonzero()[0])
            raise DataError(
                f"Task '{self.name}' has a text of {int(symbols[row])} symbols, "
                f"{int(doubled[row])} of them doubled, for {int(frames[row])} frames: "
                f"'{self.texts(target[row : row + 1])[0]}'. Each symbol needs a frame, and a "
                "doubled one another: let the network shorten sequences less ('stride'), or leave "
                "such rows out."
            )

    def decode(self, output: Tensor) -> Tensor:
        """The numbers of each text's symbols, `[B, L]` int64; `UNKNOWN` past its end."""
        scores = output[:, :, :-1].float().log_softmax(2).cpu()
        frames = (output[:, :, -1] > 0.5).sum(1).tolist()
        found = [
            collapsed(row[:count].argmax(1))
            if self.search == "greedy"
            else likeliest(row[:count], self.beam)
            for row, count in zip(scores, frames, strict=True)
        ]
        texts = torch.full((len(found), max(map(len, found), default=0)), UNKNOWN)
        for row, numbers in enumerate(found):
            texts[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int64) - 1
        return texts.to(output.device)

    def scores(self, output: Tensor) -> Tensor:
        return output[:, :, :-1] * (output[:, :, -1:] > 0.5)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.text_metrics import recognition_metrics

        return recognition_metrics(self)

    @property
    def score(self) -> str:
        return "accuracy"

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Recognition)
        return replace(self, classes=tuple(dict.fromkeys((*earlier.classes, *self.classes))))
