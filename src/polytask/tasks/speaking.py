"""A decoder that speaks: log-mel frames, all at once, while it looks at features.

Shapes: B examples, T places of the features, D their width, W width of the decoder, L frames of the
longest sound, R the most frames it can have, M mel bands, P numbers that say where something is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.tasks.writing import as_places
from polytask.types import Features

WAVES = 16  # half waves from the start to the end of a sound, of which places are told


class Speaker(nn.Module):
    """A decoder without feedback: it decides on a length, then on the frames.

    Each frame knows its relative place in the sound and how long the sound is; it looks at the
    places of the features that a product of queries and keys picks out, which know their relative
    places too. What frames saw goes through a recurrent network forward in time. In that a length
    comes first it is like FastSpeech (Ren et al. 2019), but there is one length for the whole, and
    attention in place of a length for each symbol, so that nothing has to be aligned beforehand.

    Args:
        in_features: D.
        mels: M.
        width: W.
        rows: R.
        pace: Frames of a usual sound.
        dropout: Probability of zeroing an entry of what a frame is read off while training.
    """

    def __init__(
        self, in_features: int, mels: int, *, width: int, rows: int, pace: float, dropout: float
    ) -> None:
        super().__init__()
        self.rows, self.pace = rows, pace
        self.length = nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, 1))
        self.keys = nn.Linear(in_features + 2 * WAVES, width)
        self.query = nn.Sequential(
            nn.Linear(in_features + 2 * WAVES + 1, width), nn.Tanh(), nn.Linear(width, width)
        )
        self.enter = nn.Linear(2 * in_features + 2 * WAVES + 1, width)
        self.cells = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Sequential(
            nn.Linear(width + in_features, width), nn.ReLU(), nn.Linear(width, mels)
        )

    def forward(self, features: Features, target: Tensor | None = None) -> Tensor:
        """Frames on a standard scale, and a column about their number, `[B, rows, M + 1]`.

        With targets (the numbers of frames `[B]`) the first R rows are of sounds of the true
        lengths; their column is the logarithm of the length that it decided on, as a multiple of
        `pace`. Outside of training, or without targets, R + 1 further rows are of the sound of
        that length; their column is 1 for a frame and 0 past the end.
        """
        places, mask = as_places(features)
        whole = Features(places, mask).pooled()
        decided: Tensor = self.length(whole).squeeze(1)
        parts = []
        if target is not None:
            frames = self.frames(places, mask, whole, target.clamp(1, self.rows))
            column = decided[:, None, None].expand(-1, self.rows, 1)
            parts.append(torch.cat([frames, column], 2))
        if target is None or not self.training:
            counts = (decided.float().clamp(-8, 8).exp() * self.pace).round()
            counts = counts.clamp(1, self.rows).long()
            frames = F.pad(self.frames(places, mask, whole, counts), (0, 0, 0, 1))
            there = torch.arange(self.rows + 1, device=counts.device) < counts[:, None]
            parts.append(torch.cat([frames, there[:, :, None].to(frames.dtype)], 2))
        return torch.cat(parts, 1)

    def frames(self, places: Tensor, mask: Tensor, whole: Tensor, counts: Tensor) -> Tensor:
        """The frames of sounds with so many of them, `[B, R, M]`; zeros past the longest one."""
        longest = int(counts.max()) if len(counts) else 1
        length = (counts / self.pace).log()[:, None, None].expand(-1, longest, 1)
        always = whole[:, None].expand(-1, longest, -1)
        known = torch.cat([always, where(counts, longest), length.to(whole.dtype)], 2)
        keys = self.keys(torch.cat([places, where(mask.sum(1), places.shape[1])], 2))
        fit = self.query(known) @ keys.transpose(1, 2) / keys.shape[2] ** 0.5
        weights = fit.masked_fill(~mask[:, None], float("-inf")).softmax(2)
        seen = weights @ places
        state, _ = self.cells(self.enter(torch.cat([seen, known], 2)).relu())
        frames: Tensor = self.read(self.dropout(torch.cat([state, seen], 2)))
        return F.pad(frames, (0, 0, 0, self.rows - longest))


def where(counts: Tensor, rows: int) -> Tensor:
    """The relative places of the first `rows` of so many things, as waves, `[B, rows, P]`."""
    place = (torch.arange(rows, device=counts.device) + 0.5) / counts[:, None]
    angle = place[:, :, None] * (math.pi / 2 * torch.arange(1, WAVES + 1, device=place.device))
    return torch.cat([angle.sin(), angle.cos()], 2)
