"""Texts that are written about an example: translations, captions.

Shapes: B examples, L symbols of the longest text, V symbols with the end.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import ConfigError
from polytask.tasks import sequences
from polytask.tasks.base import Task
from polytask.tasks.labels import Cells
from polytask.tasks.sequences import UNKNOWN
from polytask.tasks.texts import TextTask
from polytask.tasks.writing import END, Writer

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Generation(TextTask):
    """A text, written symbol by symbol by a recurrent decoder with attention over the features.

    In training the decoder reads the true text up to each symbol (teacher forcing); outside it
    reads what it has written. The loss is the mean over the symbols and the end of the text.

    Attributes:
        width: The width of the decoder.
        beam: How many beginnings of texts the search keeps; 1 takes the likeliest symbol at each
            step.
        longest: How many symbols it writes at most; 0 for those of the longest training text.
    """

    width: int = 128
    beam: int = 1
    longest: int = 0

    reads_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.width, self.beam) < 1 or self.longest < 0:
            raise ConfigError(
                "`width` and `beam` should be at least 1, `longest` at least 0. Found "
                f"{self.width}, {self.beam}, {self.longest}."
            )

    @property
    def outputs(self) -> int:
        return len(self.classes) + 1

    @property
    def steps(self) -> int:
        """Rows of an output that say what the decoder has written, with the end."""
        return self.longest + 1

    def head(self, in_features: int) -> nn.Module:
        return Writer(
            in_features,
            self.outputs,
            width=self.width,
            steps=self.steps,
            beam=self.beam,
            dropout=self.dropout,
        )

    def fit(self, values: Cells) -> Self:
        fitted = super().fit(values)
        if self.longest:
            return fitted
        target, _ = fitted.encode(values)
        return replace(fitted, longest=int(sequences.lengths(target).max()))

    def guide(self, target: Tensor) -> Tensor:
        return target.long() + 1

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        rows = target.shape[1] + 1
        if output.shape[1] not in (rows, rows + self.steps):
            raise ValueError(
                f"`output` should have {rows} rows for texts of up to {target.shape[1]} symbols. "
                f"Found {output.shape[1]}. Was the head given the targets?"
            )
        length = sequences.lengths(target)
        following = F.pad(self.guide(target).clamp(min=END), (0, 1), value=END)
        counts = torch.arange(rows, device=target.device) <= length[:, None]
        loss = F.cross_entropy(output[:, :rows].transpose(1, 2), following, reduction="none")
        return (loss * counts).sum(1) / counts.sum(1)

    def decode(self, output: Tensor) -> Tensor:
        """The numbers of each text's symbols, `[B, steps]` int64; `UNKNOWN` past its end."""
        written = output[:, -self.steps :].argmax(2)
        ended = (written == END).cummax(1).values
        return (written - 1).masked_fill(ended, UNKNOWN)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.text_metrics import generation_metrics

        return generation_metrics(self)

    @property
    def score(self) -> str:
        return "chrf"

    def facts(self) -> dict[str, object]:
        return {**super().facts(), "longest": self.longest}

    def continuing(self, earlier: Task) -> Self:
        assert isinstance(earlier, Generation)
        classes = tuple(dict.fromkeys((*earlier.classes, *self.classes)))
        return replace(self, classes=classes, longest=max(self.longest, earlier.longest))
