"""An encoder and decoder for tasks about pixels.

Shapes: B examples, C channels, H x W pixels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.backbones.base import ACTIVATIONS, Activation, Backbone, OnValues, require_widths
from polytask.backbones.convolutional import Normalization
from polytask.errors import ConfigError


class UNetBackbone(Backbone):
    """Down to small maps and up again, with shortcuts between maps of one size.

    A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597). On the way down each level halves
    the map (2x2 max pooling) and computes `depth` 3x3 convolutions with batch normalisation; on the
    way up the map is doubled by bilinear interpolation, put beside the map of that size from the
    way down, and convolved to its width. Theirs has no normalisation, convolves without padding and
    doubles by a learned convolution; here maps keep their size and any size goes in.

    There are two stages: the whole way down and up, and then a last 3x3 convolution, which a
    topology that splits gives to each task. Every topology that takes maps can have this backbone,
    but what tasks exchange between stages they exchange after the first and the second one, not
    between maps of other sizes.

    Args:
        in_features: C of the pictures.
        widths: Channels of each level, from the largest maps to the smallest.
        depth: Convolutions per level.
        stride: How many pixels in a row the features have one for; tasks scale their outputs up.
        activation: The nonlinearity.
    """

    def __init__(
        self,
        in_features: int,
        *,
        widths: Sequence[int] = (16, 32, 64, 128),
        depth: int = 2,
        stride: Literal[1, 2, 4] = 1,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        level = stride.bit_length() - 1  # at which the features come out
        require_widths(widths)
        if len(widths) <= level or depth < 1:
            raise ConfigError(
                f"`widths` should have more than {level} entries for a stride of {stride}, and "
                f"`depth` be at least 1. Found {list(widths)} and {depth}."
            )
        self.in_features = in_features
        out = widths[level]
        whole = DownAndUp(in_features, widths, depth=depth, level=level, activation=act)
        self.stages = nn.ModuleList([OnValues(whole), OnValues(convolutions(out, out, 1, act))])
        self.widths = (out, out)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class DownAndUp(nn.Module):
    """The two ways, with shortcuts.

    Args:
        ins: C of what enters.
        widths: Channels of each level.
        depth: Convolutions per level.
        level: The level at which the way up ends, 0 for the largest maps.
        activation: The class of the nonlinearity.
    """

    def __init__(
        self,
        ins: int,
        widths: Sequence[int],
        *,
        depth: int,
        level: int,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        before = [ins, *widths[:-1]]
        self.down = nn.ModuleList(
            convolutions(i, o, depth, activation) for i, o in zip(before, widths, strict=True)
        )
        self.up = nn.ModuleList(
            convolutions(widths[k] + widths[k + 1], widths[k], depth, activation)
            for k in reversed(range(level, len(widths) - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, ins, H, W]` to `[B, widths[level], H / 2^level, W / 2^level]`."""
        shortcuts: list[Tensor] = []
        for number, layers in enumerate(self.down):
            if number:
                if min(x.shape[2:]) < 2:
                    raise ConfigError(
                        f"Pictures are too small for this network: {x.shape[2]}x{x.shape[3]} "
                        "pixels are left in front of a level that halves them. Give 'widths:' "
                        "fewer entries, or make the pictures larger."
                    )
                x = F.max_pool2d(x, 2)
            x = layers(x)
            shortcuts.append(x)
        shortcuts.pop()
        for layers in self.up:
            beside = shortcuts.pop()
            x = F.interpolate(x, list(beside.shape[2:]), mode="bilinear", align_corners=False)
            x = layers(torch.cat([x, beside], 1))
        return x


def convolutions(ins: int, outs: int, depth: int, activation: type[nn.Module]) -> nn.Sequential:
    """3x3 convolutions, each with batch normalisation and activation."""
    layers: list[nn.Module] = []
    for before in [ins] + [outs] * (depth - 1):
        convolution = nn.Conv2d(before, outs, 3, padding=1, bias=False)
        layers += [convolution, Normalization(outs), activation()]
    return nn.Sequential(*layers)
