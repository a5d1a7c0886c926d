"""A Transformer over sequences, or over the numbers of a vector.

Shapes: B examples, L tokens, D features, W width of the network, H heads.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.backbones.base import ACTIVATIONS, Activation, Backbone
from polytask.errors import ConfigError
from polytask.types import Features

Positions = Literal["rotary", "sinusoidal", "none"]


class TransformerBackbone(Backbone):
    """An encoder: a stage that makes tokens, then layers of attention, each a stage.

    Layers are those of Vaswani et al. (2017) with normalisation before each part (Xiong et al.
    2020), and once more after the last layer. Every token attends to every valid one; what pads a
    sequence has no influence. Positions are sines and cosines added to the tokens (Vaswani et al.
    2017), or rotations of queries and keys, which show how far apart two tokens are (Su et al.
    2021, "RoFormer").

    A vector `[B, D]` becomes D tokens, each its number times a learned direction (as in Gorishniy
    et al. 2021, "FT-Transformer"). Sines and cosines say which number a token is, whatever
    `positions`; theirs has a learned vector for that, and a token of its own for the output, where
    heads take the mean here. So one network reads vectors and sequences.

    Args:
        in_features: D of the frames or vectors.
        width: W, the size of a token; a multiple of `heads`.
        layers: Number of layers.
        heads: H, ways of attending in each layer.
        expansion: Width of the layers' hidden part, in multiples of `width`.
        positions: How a sequence's order is told.
        activation: The nonlinearity.
        dropout: Dropout on tokens, attention and the layers' two branches.
    """

    def __init__(
        self,
        in_features: int,
        *,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        expansion: int = 4,
        positions: Positions = "rotary",
        activation: Activation = "gelu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"`heads` should be at least 1. Found {heads}.")
        if width % (2 * heads):
            raise ValueError(
                f"`width` should be a multiple of twice `heads` ({2 * heads}). Found {width}."
            )
        made = [
            EncoderLayer(
                width,
                heads,
                hidden=expansion * width,
                rotary=positions == "rotary",
                activation=ACTIVATIONS[activation](),
                dropout=dropout,
                last=i == layers - 1,
            )
            for i in range(layers)
        ]
        entry = Tokens(in_features, width, waves=positions == "sinusoidal", dropout=dropout)
        self.in_features = in_features
        self.stages = nn.ModuleList([entry, *made])
        self.widths = (width,) * len(self.stages)


class Tokens(nn.Module):
    """Frames or numbers as tokens.

    Args:
        in_features: D.
        width: W.
        waves: Whether the frames of a sequence are numbered by sines and cosines.
        dropout: Dropout on the tokens.
    """

    def __init__(self, in_features: int, width: int, *, waves: bool, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(in_features, width)
        self.waves = waves
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Features:
        """`[B, L, D]` with its mask to `[B, L, W]`; `[B, D]` to `[B, D, W]`."""
        values, mask = features
        if values.ndim == 4:
            raise ConfigError(
                "A Transformer reads sequences and vectors. Found maps "
                f"of shape {tuple(values.shape)}. Give the input 'pool: mean', or the trunk "
                "a residual backbone."
            )
        if values.ndim == 2:
            # The summands of the linear layer one by one, as large as their sum would be.
            scale = values.shape[1] ** 0.5
            tokens = scale * values.unsqueeze(2) * self.project.weight.T + self.project.bias
        else:
            if mask is not None:
                values = values.masked_fill(~mask.unsqueeze(2), 0.0)
            tokens = self.project(values)
        if self.waves or values.ndim == 2:
            tokens = tokens + sinusoids(tokens.shape[1], tokens.shape[2], tokens.device)
        return Features(self.dropout(tokens), mask)


class EncoderLayer(nn.Module):
    """Attention and a perceptron, each normalised before and added to what entered it.

    Args:
        width: W.
        heads: H.
        hidden: Width of the perceptron's hidden part.
        rotary: Whether queries and keys are turned by their position.
        activation: The nonlinearity.
        dropout: Dropout on attention and on both branches.
        last: Whether the result is normalised, as after the last layer.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        hidden: int,
        rotary: bool,
        activation: nn.Module,
        dropout: float,
        last: bool,
    ) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.before_attention = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, hidden), activation, nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.after = nn.LayerNorm(width) if last else nn.Identity()

    def forward(self, features: Features) -> Features:
        """`[B, L, W]` with its mask to the same."""
        tokens, mask = features
        tokens = tokens + self.dropout(self.attention(self.before_attention(tokens), mask))
        tokens = tokens + self.dropout(self.perceptron(self.before_perceptron(tokens)))
        return Features(self.after(tokens), mask)

    def attention(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Each token's mixture of the valid ones, `[B, L, W]`."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, L, W / H]
            for part in self.attend(tokens).chunk(3, dim=2)
        )
        if self.rotary:
            query, key = rotated(query), rotated(key)
        if mask is not None:
            # An example without content attends to everything: of nothing there is no mean.
            mask = (mask | ~mask.any(1, keepdim=True))[:, None, None]
        chance = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=chance)
        merged: Tensor = self.merge(mixed.transpose(1, 2).flatten(2))
        return merged


def angles(length: int, size: int, device: torch.device) -> Tensor:
    """`place / 10000^(2 i / size)`, `[length, size / 2]` (Vaswani et al. 2017)."""
    exponents = torch.arange(0, size, 2, device=device, dtype=torch.float32) / size
    places = torch.arange(length, device=device, dtype=torch.float32)
    return places[:, None] / 10000**exponents


def sinusoids(length: int, size: int, device: torch.device) -> Tensor:
    """Sines, then cosines, of each place, `[length, size]`."""
    at = angles(length, size, device)
    return torch.cat([at.sin(), at.cos()], 1)


def rotated(tokens: Tensor) -> Tensor:
    """Turn pairs of entries of `[..., L, E]` by angles that grow with the place.

    Entry i is paired with i + E/2. The product of two turned tokens depends on their places by
    the difference alone. Computed in float32.
    """
    at = angles(tokens.shape[-2], tokens.shape[-1], tokens.device)
    first, second = tokens.float().chunk(2, dim=-1)
    turned = [first * at.cos() - second * at.sin(), first * at.sin() + second * at.cos()]
    return torch.cat(turned, -1).to(tokens.dtype)
