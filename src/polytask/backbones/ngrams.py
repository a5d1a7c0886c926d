"""Convolutions over sequences, for texts whose words count more than their order.

Shapes: B examples, L words, D features.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.backbones.base import ACTIVATIONS, Activation, Backbone
from polytask.errors import ConfigError
from polytask.types import Features


class NgramBackbone(Backbone):
    """Filters over neighbouring words, side by side: one stage.

    With `pool: max` this is the network of Kim (2014, "Convolutional Neural Networks for Sentence
    Classification"). His filters stay inside the text; here texts are framed by zeros, so that
    there is a response for each word and short texts have one too.

    Args:
        in_features: D of the words.
        spans: How many neighbouring words a filter sees, each with filters of its own.
        filters: Filters of each span.
        activation: The nonlinearity.
        dropout: Dropout on the responses.
    """

    def __init__(
        self,
        in_features: int,
        *,
        spans: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not spans or min(spans) < 1:
            raise ValueError(f"`spans` should be numbers of at least 1. Found {list(spans)}.")
        if filters < 1:
            raise ValueError(f"`filters` should be at least 1. Found {filters}.")
        self.in_features = in_features
        self.stages = nn.ModuleList(
            [Ngrams(in_features, spans, filters, ACTIVATIONS[activation](), dropout)]
        )
        self.widths = (filters * len(spans),)


class Ngrams(nn.Module):
    """The responses of filters over neighbouring words.

    Args:
        in_features: D before.
        spans: How many words a filter sees.
        filters: Filters of each span.
        activation: The nonlinearity.
        dropout: Dropout on the responses.
    """

    def __init__(
        self,
        in_features: int,
        spans: Sequence[int],
        filters: int,
        activation: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(in_features, filters, span) for span in spans)
        self.spans = tuple(spans)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Features:
        """`[B, L, D]` with its mask to `[B, L, filters of all spans]`."""
        words, mask = features
        if words.ndim != 3:
            raise ConfigError(
                f"Neighbouring words are those of a sequence. Found features of shape "
                f"{tuple(words.shape)}. Leave out 'pool', or choose another backbone."
            )
        if mask is not None:
            words = words.masked_fill(~mask.unsqueeze(2), 0.0)
        channels = words.transpose(1, 2)
        found: list[Tensor] = [
            convolve(F.pad(channels, ((span - 1) // 2, span // 2)))
            for span, convolve in zip(self.spans, self.convolutions, strict=True)
        ]
        responses = self.activation(torch.cat(found, dim=1).transpose(1, 2))
        return Features(self.dropout(responses), mask)
