"""Decoded inputs in memory or on disk, gathered into features by row.

Letters: N rows, B gathered rows, L samples of the longest wave gathered.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.types import Features

Rows = NDArray[np.int64]


class Store(ABC):
    """The decoded values of one input for every row of one source."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def gather(self, rows: Rows) -> Features:
        """The features of some rows, in their order."""

    def lengths(self) -> Rows | None:
        """The number of tokens of every row, `[N]`, before any are cut off; None without tokens."""
        return None


class PictureStore(Store):
    """Pictures of uint8, usually memory-mapped.

    Args:
        pictures: `[K, C, H, W]`.
        places: `[N]`, which of them each row has; None where row k has picture k.
    """

    def __init__(self, pictures: NDArray[np.uint8], places: Rows | None = None) -> None:
        self.pictures = pictures
        self.places = places

    def __len__(self) -> int:
        return len(self.pictures if self.places is None else self.places)

    def gather(self, rows: Rows) -> Features:
        """Pictures `[B, C, H, W]` of uint8."""
        places = rows if self.places is None else self.places[rows]
        return Features(torch.from_numpy(np.take(self.pictures, places, axis=0)))


class SoundStore(Store):
    """Waves as spans of one flat array of samples, usually memory-mapped.

    Args:
        samples: All samples, int16.
        spans: `[N, 2]` first sample and number of samples of every row.
        length: Pad (or cut) to this many samples; None pads to the longest of the rows gathered.
    """

    def __init__(
        self, samples: NDArray[np.int16], spans: NDArray[np.int64], *, length: int | None = None
    ) -> None:
        self.samples = samples
        self.spans = spans
        self.length = length

    def __len__(self) -> int:
        return len(self.spans)

    def gather(self, rows: Rows) -> Features:
        """Waves `[B, L]` of int16 and their mask; no mask where all are full length."""
        spans = self.spans[rows]
        counts = spans[:, 1]
        longest = self.length or int(counts.max(initial=1))
        waves = np.zeros((len(rows), longest), dtype=np.int16)
        for k, (first, count) in enumerate(spans.tolist()):
            count = min(count, longest)
            waves[k, :count] = self.samples[first : first + count]
        if (counts >= longest).all():
            return Features(torch.from_numpy(waves))
        mask = np.arange(longest)[None, :] < counts[:, None]
        return Features(torch.from_numpy(waves), torch.from_numpy(mask))


class VectorStore(Store):
    """Vectors `[N, D]` of float32 in memory."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def gather(self, rows: Rows) -> Features:
        """Vectors `[B, D]`."""
        return Features(torch.from_numpy(self.vectors[rows]))


def pack_waves(waves: list[NDArray[np.int16]], *, length: int | None = None) -> SoundStore:
    """A store in memory of a few waves."""
    counts = np.array([len(w) for w in waves], dtype=np.int64)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    flat = np.concatenate(waves) if waves else np.zeros(0, np.int16)
    return SoundStore(flat, np.stack([firsts, counts], axis=1), length=length)


def as_rows(indices: Tensor | Rows | Any) -> Rows:
    """Row numbers as an int64 array."""
    if isinstance(indices, Tensor):
        indices = indices.numpy()
    return np.asarray(indices, dtype=np.int64)


class SomeRows(Store):
    """Some rows of a store, as a store of their own."""

    def __init__(self, store: Store, rows: NDArray[np.int64]) -> None:
        self._store, self._rows = store, rows

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, rows: NDArray[np.int64]) -> Features:
        """The features of some of these rows."""
        return self._store.gather(self._rows[rows])
