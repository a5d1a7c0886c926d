"""A decoder that writes a text, symbol by symbol, while it looks at features.

Shapes: B examples, T places of the features, D their width, W width of the decoder, L symbols of
the longest text, V symbols with the end, which is number 0, K beginnings that a search keeps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.types import Features

END = 0


class Writer(nn.Module):
    """A recurrent decoder with attention.

    A GRU whose input is the symbol before and what it attended to; it looks at the places that a
    product of queries and keys picks out (the dot product of Luong et al. 2015, with the order of
    Bahdanau et al. 2015: attention comes before the step).

    Args:
        in_features: D.
        symbols: V.
        width: W.
        steps: How many symbols it writes at most.
        beam: K; 1 writes the likeliest symbol at each step.
        dropout: Probability of zeroing an entry of what a symbol is read off while training.
    """

    def __init__(
        self,
        in_features: int,
        symbols: int,
        *,
        width: int,
        steps: int,
        beam: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.steps, self.beam = steps, beam
        self.embedding = nn.Embedding(symbols, width)
        self.start = nn.Linear(in_features, width)
        self.keys = nn.Linear(in_features, width)
        self.query = nn.Linear(width, width)
        self.cell = nn.GRUCell(width + in_features, width)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(width + in_features, symbols)

    def forward(self, features: Features, target: Tensor | None = None) -> Tensor:
        """Scores of symbols, `[B, rows, V]`.

        With targets `[B, L]` (symbols from 1, others past the end) the first L + 1 rows are of the
        symbols that follow the true ones. Outside of training `steps` further rows say what it
        writes by itself: 1 for the symbol and 0 for others.
        """
        places, mask = as_places(features)
        parts = []
        if target is not None:
            parts.append(self.guided(places, mask, target))
        if target is None or not self.training:
            written = F.one_hot(self.written(places, mask), self.embedding.num_embeddings)
            parts.append(written.to(places.dtype))
        return torch.cat(parts, 1)

    def guided(self, places: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        """What follows each beginning of the true texts, `[B, L + 1, V]`."""
        before = F.pad(target.long().clamp(min=END), (1, 0), value=END)
        keys, state = self.keys(places), self.first_state(places, mask)
        rows = []
        for symbols in before.unbind(1):
            scores, state = self.step(symbols, state, places, keys, mask)
            rows.append(scores)
        return torch.stack(rows, 1)

    @torch.no_grad()
    def written(self, places: Tensor, mask: Tensor) -> Tensor:
        """The text with the greatest probability that a beam search finds, `[B, steps]`."""
        count, keep = len(places), self.beam
        state = self.first_state(places, mask).repeat_interleave(keep, 0)
        places, mask = (x.repeat_interleave(keep, 0) for x in (places, mask))
        keys = self.keys(places)
        # At the start all beginnings of an example are one, so that only the first counts.
        total = places.new_full((count, keep), float("-inf"), dtype=torch.float32)
        total[:, 0] = 0.0
        texts = torch.zeros(count, keep, 0, dtype=torch.int64, device=places.device)
        last = texts.new_zeros(count, keep)
        for step in range(self.steps):
            scores, state = self.step(last.flatten(), state, places, keys, mask)
            chance = scores.float().log_softmax(1).view(count, keep, -1)
            if step:
                ended = F.one_hot(torch.zeros_like(last), chance.shape[2]).float().log()
                chance = torch.where((last == END)[:, :, None], ended, chance)
            total, best = (total[:, :, None] + chance).flatten(1).topk(keep)
            origin, last = best // chance.shape[2], best % chance.shape[2]
            texts = texts.gather(1, origin[:, :, None].expand(-1, -1, step))
            texts = torch.cat([texts, last[:, :, None]], 2)
            rows = (origin + keep * torch.arange(count, device=origin.device)[:, None]).flatten()
            state = state[rows]
        return texts[:, 0]

    def first_state(self, places: Tensor, mask: Tensor) -> Tensor:
        """The state before the first symbol, `[B, W]`."""
        state: Tensor = self.start(Features(places, mask).pooled()).tanh()
        return state

    def step(
        self, symbols: Tensor, state: Tensor, places: Tensor, keys: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores `[B, V]` of what follows the symbols `[B]`, and the state after them."""
        fit = (keys @ self.query(state)[:, :, None]).squeeze(2) / keys.shape[2] ** 0.5
        weights = fit.masked_fill(~mask, float("-inf")).softmax(1)
        seen = (weights[:, None] @ places).squeeze(1)
        state = self.cell(torch.cat([self.embedding(symbols), seen], 1), state)
        return self.read(self.dropout(torch.cat([state, seen], 1))), state


def as_places(features: Features) -> tuple[Tensor, Tensor]:
    """Features of any kind as places `[B, T, D]`, and which of them have content.

    The pixels of a map are places, a vector is one. An example without content keeps its first.
    """
    values, mask = features
    if values.ndim == 4:
        values = values.flatten(2).transpose(1, 2)
    elif values.ndim == 2:
        values = values.unsqueeze(1)
    if mask is None:
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    first = F.one_hot(torch.zeros_like(mask[:, 0], dtype=torch.int64), mask.shape[1]).bool()
    return values, mask | (first & ~mask.any(1, keepdim=True))
