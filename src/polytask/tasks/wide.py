"""A linear model of n-grams beside the network of a task.

Shapes: B examples, L units, K outputs, R buckets.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import ConfigError, require_number
from polytask.types import Features

# Odd numbers that spread bits: of Knuth's multiplicative hashing, and of MurmurHash3's last steps.
_NEXT, _MIX = 2654435761, 2246822507
# What sums are multiplied by, so that the network's learning rate is one for this part too.
_GAIN = 3.0


@dataclass(frozen=True, kw_only=True)
class Wide:
    """A linear model of n-grams, which answers together with the task's network.

    Wide and deep, as Cheng et al. (2016, arXiv 1606.07792) have it, but for the loss: theirs is of
    the sum of both. Here each part learns from a loss of its own and the answer is the mean of
    their outputs (for classes the geometric mean of what both say), since a part that is told
    only what the other lacks learns nothing once that knows training examples by heart. The
    network gets the gradient that it would have alone (only `training.clip` measures both
    together), and balancers, teachers and reports of training see the network alone.

    Attributes:
        spans: How many units in a row are an n-gram: `[1, 2]` for words and pairs of words.
        buckets: How many numbers there are for each output. N-grams share them by hashing
            (Weinberger et al. 2009, without signs); single units share none with each other unless
            the vocabulary is larger. With fewer than four for each n-gram of the training rows,
            the part knows less.
        dropout: While training, the share of n-grams that are left out.
    """

    spans: tuple[int, ...] = (1, 2)
    buckets: int = 262144
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if not self.spans or min(self.spans) < 1 or len(set(self.spans)) < len(self.spans):
            raise ConfigError(
                "`spans` should be different numbers of units, at least 1 each. Found "
                f"{list(self.spans)}."
            )
        if not 1 <= self.buckets <= 1 << 24:
            raise ConfigError(f"`buckets` should be 1 to {1 << 24}. Found {self.buckets}.")
        require_number("dropout", self.dropout, 0, 1)

    def made(self, outputs: int) -> "WideLinear":
        """The part, with K outputs."""
        return WideLinear(outputs, spans=self.spans, buckets=self.buckets, dropout=self.dropout)


class WideLinear(nn.Module):
    """A number for each n-gram and output, added up over a text and divided by the root of how many
    n-grams it has, so that long texts are no louder than short ones.

    It starts at zero, so that it says nothing. What pads a batch is in no n-gram.

    Args:
        outputs: K.
        spans: How many units in a row are an n-gram.
        buckets: R.
        dropout: Share of n-grams that are left out while training.
    """

    def __init__(
        self, outputs: int, *, spans: tuple[int, ...], buckets: int, dropout: float
    ) -> None:
        super().__init__()
        self.spans, self.buckets = spans, buckets
        self.dropout = nn.Dropout(dropout)
        # Outputs first, as a linear layer has them: labels that are added to a task are new rows.
        self.weight = nn.Parameter(torch.zeros(outputs, buckets))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, units: Features) -> Tensor:
        """Numbers of units `[B, L]` and their mask to outputs `[B, K]`, in float32."""
        return self.by_unit(units).sum(1) + self.bias

    def by_unit(self, units: Features) -> Tensor:
        """What each unit adds to the outputs, `[B, L, K]`; n-grams count for their units alike."""
        numbers, mask = units
        mask = torch.ones_like(numbers, dtype=torch.bool) if mask is None else mask
        length = numbers.shape[1]
        table = self.weight.T  # [R, K]
        added = table.new_zeros(*numbers.shape, table.shape[1])
        count = torch.zeros_like(numbers[:, 0], dtype=table.dtype)
        for span in self.spans:
            rows, whole = self._rows(numbers.long(), mask, span)
            there = whole.to(table.dtype)  # [B, L]
            count = count + there.sum(1)
            found = F.embedding(rows, table)
            found = found * (self.dropout(there) / span).unsqueeze(2)  # [B, L, K]
            for behind in range(span):  # An n-gram stands at its first unit.
                added = added + F.pad(found, (0, 0, behind, 0))[:, :length]
        return added * (_GAIN / count.clamp(min=1).sqrt()).view(-1, 1, 1)

    def _rows(self, numbers: Tensor, mask: Tensor, span: int) -> tuple[Tensor, Tensor]:
        """The bucket of the n-gram that begins at each unit, and whether all of it is there."""
        length = numbers.shape[1]
        numbers, mask = (F.pad(some, (0, span - 1)) for some in (numbers, mask))
        mixed, whole = numbers[:, :length], mask[:, :length]
        for ahead in range(1, span):
            mixed = mixed * _NEXT + numbers[:, ahead : ahead + length]
            whole = whole & mask[:, ahead : ahead + length]
        if span > 1:
            mixed = (mixed ^ (mixed >> 29)) * _MIX
            mixed = mixed ^ (mixed >> 32)
        return mixed % self.buckets, whole
