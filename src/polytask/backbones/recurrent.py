"""GRU and LSTM over sequences.

Shapes: B examples, L frames, D features.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from polytask.backbones.base import Backbone
from polytask.types import Features


class RecurrentBackbone(Backbone):
    """Layers of a GRU or LSTM, each a stage.

    Args:
        in_features: D of the frames.
        cell: `gru` or `lstm`. On a CPU an `lstm` is faster, in bf16 three times: PyTorch has
            oneDNN compute it whole, a `gru` step by step.
        width: D of the hidden state in each direction.
        layers: Number of layers.
        bidirectional: Whether each layer reads both ways (the output has 2 `width`).
        dropout: Dropout on each layer's input but the first's.
        stride: Neighbouring frames joined into one before the first layer; shortens the sequence.
    """

    def __init__(
        self,
        in_features: int,
        *,
        cell: Literal["gru", "lstm"] = "gru",
        width: int = 128,
        layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        out = width * (2 if bidirectional else 1)
        ins = [in_features * stride] + [out] * (layers - 1)
        self.stages = nn.ModuleList(
            RecurrentLayer(
                size,
                width,
                cell=cell,
                bidirectional=bidirectional,
                dropout=dropout if i else 0.0,
                stride=1 if i else stride,
            )
            for i, size in enumerate(ins)
        )
        self.widths = (out,) * layers


class RecurrentLayer(nn.Module):
    """One recurrent layer on padded sequences; what lies past a sequence's end has no influence.

    Padding comes last, so a forward reading meets it after the content, and the backward reading
    runs on sequences flipped within their own length. That needs no packing, whose sorted layout
    is slow on a CPU and stands in the way of export.

    Args:
        in_features: D of the input, after joining.
        width: D of the hidden state.
        cell: `gru` or `lstm`.
        bidirectional: Whether to read both ways.
        dropout: Dropout on the input.
        stride: Neighbouring frames joined into one.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        cell: Literal["gru", "lstm"],
        bidirectional: bool,
        dropout: float,
        stride: int,
    ) -> None:
        super().__init__()
        kind = nn.GRU if cell == "gru" else nn.LSTM
        self.stride = stride
        self.dropout = nn.Dropout(dropout)
        self.forwards = kind(in_features, width, batch_first=True)
        self.backwards = kind(in_features, width, batch_first=True) if bidirectional else None

    def forward(self, features: Features) -> Features:
        """`[B, L, D]` with its mask to `[B, L // stride, width]` (twice that if bidirectional)."""
        frames, mask = features
        if self.stride > 1:
            frames, mask = joined(frames, mask, self.stride)
        frames = self.dropout(frames)
        out = outputs(self.forwards, frames)
        if self.backwards is not None:
            order = reversal(frames, mask)
            back = outputs(self.backwards, frames.gather(1, order.expand_as(frames)))
            out = torch.cat([out, back.gather(1, order.expand_as(back))], dim=2)
        return Features(out, mask)


def outputs(cell: nn.GRU | nn.LSTM, frames: Tensor) -> Tensor:
    """A cell's outputs `[B, L, width]`.

    PyTorch has no LSTM in half precision for a CPU without AVX-512 and raises; there it computes
    in float32 within autocast, as autocast itself does with what it cannot halve.
    """
    if (
        isinstance(cell, nn.LSTM)
        and frames.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        with torch.autocast("cpu", enabled=False):
            found: Tensor = cell(frames.float())[0]
        return found
    found = cell(frames)[0]
    return found


def reversal(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Indices `[B, L, 1]` that flip each sequence within its own length (its own inverse)."""
    batch, length = frames.shape[:2]
    place = torch.arange(length, device=frames.device).expand(batch, length)
    if mask is None:
        return (length - 1 - place).unsqueeze(2)
    flipped = mask.sum(1, keepdim=True) - 1 - place
    return torch.where(flipped >= 0, flipped, place).unsqueeze(2)


def joined(frames: Tensor, mask: Tensor | None, stride: int) -> tuple[Tensor, Tensor | None]:
    """Join `stride` neighbouring frames: `[B, L, D] -> [B, ceil(L / stride), stride D]`.

    The last group of a sequence is filled up with zeros, whatever pads the batch.
    """
    if mask is not None:
        frames = frames.masked_fill(~mask.unsqueeze(2), 0.0)
    batch, length, size = frames.shape
    missing = -length % stride
    frames = nn.functional.pad(frames, (0, 0, 0, missing)).reshape(batch, -1, stride * size)
    if mask is not None:
        mask = nn.functional.pad(mask, (0, missing))[:, ::stride]
    return frames, mask
