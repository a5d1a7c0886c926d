"""A small residual network for pictures.

Shapes: B examples, C channels, H x W pixels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.backbones.base import ACTIVATIONS, Activation, Backbone, OnValues, require_widths
from polytask.errors import ConfigError
from polytask.types import Features


class ResidualBackbone(Backbone):
    """Stages of a pooled convolution followed by residual convolutions.

    Each stage halves the picture: 3x3 convolution, 2x2 max pooling, batch normalisation,
    activation; then `depth - 1` further 3x3 convolutions with normalisation and activation,
    added to what they started from. The layout and the stem follow the speed records for
    CIFAR-10 (Page 2018, "How to train your ResNet"; Jordan 2024, arXiv 2404.00498); the
    convolutions start as identities where they can (Dirac initialisation, as in Jordan 2024).

    Stems: `whiten` is a frozen 2x2 convolution that whitens the training pictures' patches,
    computed once by `fit_to`; `conv3` a learned 3x3 convolution, for pictures around 32x32;
    `conv7` a learned 7x7 convolution of stride 2 and a pooling, for pictures around 224x224.

    Args:
        in_features: C of the pictures.
        widths: Channels of each stage. Three stages suit 32x32, five suit 224x224.
        depth: Convolutions per stage, at least 1.
        stem: How pictures enter.
        stem_width: Channels after a learned stem (a whitening stem has 8 C).
        activation: The nonlinearity.
    """

    def __init__(
        self,
        in_features: int,
        *,
        widths: Sequence[int] = (64, 256, 256),
        depth: int = 2,
        stem: Literal["whiten", "conv3", "conv7"] = "whiten",
        stem_width: int = 32,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.in_features = in_features
        act = ACTIVATIONS[activation]
        first: nn.Module
        if stem == "whiten":
            first, stem_width = WhiteningStem(in_features, act()), 8 * in_features
        elif stem == "conv3":
            first = nn.Sequential(_convolution(in_features, stem_width, 3), act())
        else:
            first = nn.Sequential(
                _convolution(in_features, stem_width, 7, stride=2), act(), nn.MaxPool2d(2)
            )
        require_widths(widths)
        ins = [stem_width, *widths[:-1]]
        stages = [PooledStage(i, o, depth, act) for i, o in zip(ins, widths, strict=True)]
        self.stages = nn.ModuleList(OnValues(m) for m in (first, *stages))
        self.widths = (stem_width, *widths)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fit_to(self, features: Features) -> None:
        """Compute a whitening stem from training pictures `[B, C, H, W]`."""
        stem = self.stages[0].module
        if isinstance(stem, WhiteningStem):
            stem.fit_to(features.values)


class WhiteningStem(nn.Module):
    """A frozen 2x2 convolution onto whitened principal directions of patches, and their negatives.

    Args:
        channels: C of the pictures; the stem has 8 C outputs.
        activation: Applied after the convolution.
    """

    weight: Tensor

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        directions = torch.eye(4 * channels).view(4 * channels, channels, 2, 2)
        self.register_buffer("weight", torch.cat([directions, -directions]))
        self.bias = nn.Parameter(torch.zeros(8 * channels))
        self.activation = activation

    def fit_to(self, pictures: Tensor) -> None:
        """Whiten the 2x2 patches of `pictures`, `[B, C, H, W]`."""
        channels = pictures.shape[1]
        products = torch.zeros(4 * channels, 4 * channels, dtype=torch.float64)
        count = 0
        for some in pictures.split(64):  # patches are four times as large as their pictures
            patches = F.unfold(some.contiguous().double(), 2).transpose(1, 2).flatten(0, 1)
            products += (patches.T @ patches).cpu()
            count += len(patches)
        values, vectors = torch.linalg.eigh(products / count)
        # 5e-4 (Jordan 2024) keeps flat directions from being blown up.
        directions = (vectors / (values + 5e-4).sqrt()).T.reshape(-1, channels, 2, 2)
        self.weight.copy_(torch.cat([directions, -directions]))

    def forward(self, pictures: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, 8 C, H - 1, W - 1]`."""
        whitened: Tensor = self.activation(F.conv2d(pictures, self.weight, self.bias))
        return whitened


class PooledStage(nn.Module):
    """A convolution that halves the picture, and residual convolutions on the result.

    Args:
        ins: C before.
        outs: C after.
        depth: Number of convolutions.
        activation: The class of the nonlinearity.
    """

    def __init__(self, ins: int, outs: int, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            _convolution(ins, outs, 3), nn.MaxPool2d(2), Normalization(outs), activation()
        )
        rest = [
            layer
            for _ in range(depth - 1)
            for layer in (_convolution(outs, outs, 3), Normalization(outs), activation())
        ]
        self.residual = nn.Sequential(*rest) if rest else None

    def forward(self, x: Tensor) -> Tensor:
        """`[B, ins, H, W]` to `[B, outs, H // 2, W // 2]`."""
        if min(x.shape[2:]) < 2:
            raise ConfigError(
                f"Pictures are too small for this network: {x.shape[2]}x{x.shape[3]} pixels are "
                "left in front of a stage that halves them. Give 'widths:' fewer entries, or make "
                "the pictures larger."
            )
        x = self.enter(x)
        return x if self.residual is None else x + self.residual(x)


class Normalization(nn.BatchNorm2d):
    """Batch normalisation that survives a last batch of one example.

    A single value per channel has no variance; it is then normalised as in evaluation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, H, W]` per channel."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def _convolution(ins: int, outs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps its input's first channels at the start."""
    layer = nn.Conv2d(ins, outs, size, stride=stride, padding=size // 2, bias=False)
    if stride == 1:
        with torch.no_grad():
            nn.init.dirac_(layer.weight[: min(ins, outs)])
    return layer
