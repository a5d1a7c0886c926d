"""Layers on channels that fit vectors, sequences and maps alike.

Shapes: B examples, C or D channels, L frames, T columns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.backbones.base import Backbone
from polytask.types import ByName, Features


class ChannelLinear(nn.Linear):
    """A linear layer on channels: per vector, per frame, or as a 1x1 convolution of a map."""

    def forward(self, input: Tensor) -> Tensor:
        """`[B, in]`, `[B, L, in]` or `[B, in, H, W]` to the same with `out` channels."""
        if input.ndim == 4:
            return F.conv2d(input, self.weight[:, :, None, None], self.bias)
        return F.linear(input, self.weight, self.bias)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors, maps, and sequences without their padding.

    In training it needs more than one vector, frame or pixel, as every batch normalisation does.
    """

    def normalized(self, features: Features) -> Tensor:
        """Values of the same shape; in training what lies past a sequence's end becomes zero."""
        values, mask = features
        if values.ndim == 3:
            if self.training and mask is not None:
                content = self(values[mask])
                padded: Tensor = content.new_zeros(values.shape)
                padded[mask] = content
                return padded
            found: Tensor = self(values.transpose(1, 2)).transpose(1, 2)
            return found
        found = self(values)
        return found

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions: `normalized` has put channels second."""


def joined(columns: Sequence[Features]) -> Features:
    """Features of several columns side by side, `[..., T C]`; the mask is the first one's."""
    at = 1 if columns[0].values.ndim == 4 else -1
    return Features(torch.cat([f.values for f in columns], at), columns[0].mask)


def stages_of(columns: ByName) -> list[list[nn.Module]]:
    """The stages of each column, in the order of the tasks."""
    return [list(c.stages) for c in columns.children() if isinstance(c, Backbone)]
