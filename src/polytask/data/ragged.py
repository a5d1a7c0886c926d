"""Sequences of numbers of many lengths, in memory as one, gathered into padded batches.

Letters: N rows, B gathered rows, L entries of the longest of them, V kinds of word, K characters of
a word.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.data.stores import Rows, Store
from polytask.types import Features

Numbers = NDArray[np.int32]


class Ragged:
    """Rows of whole numbers, end to end.

    Args:
        rows: The numbers of each row.
    """

    def __init__(self, rows: Sequence[Sequence[int] | NDArray[np.integer]]) -> None:
        counts = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        self.ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        # The last entry is what lies past the end of every row.
        self.flat: Numbers = np.zeros(int(self.ends[-1]) + 1, np.int32)
        if self.ends[-1]:
            self.flat[:-1] = np.concatenate([np.asarray(row, np.int32) for row in rows])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """How many numbers each row has, `[B]`."""
        found: NDArray[np.int64] = self.ends[rows + 1] - self.ends[rows]
        return found

    def padded(
        self, rows: Rows, fill: int = 0, length: int = 1
    ) -> tuple[Numbers, NDArray[np.bool_]]:
        """Rows `[B, L]` filled up at their ends, and where they have entries.

        Args:
            rows: Which.
            fill: What stands past a row's end.
            length: The least L.
        """
        counts = self.counts(rows)
        places = np.arange(max(length, int(counts.max(initial=0))))[None, :]
        mask = places < counts[:, None]
        index = np.where(mask, self.ends[rows][:, None] + places, len(self.flat) - 1)
        return np.where(mask, self.flat[index], np.int32(fill)), mask

    def picked(self, rows: Rows) -> Numbers:
        """The numbers of some rows, end to end."""
        counts = self.counts(rows)
        starts = np.repeat(self.ends[rows] - np.cumsum(counts) + counts, counts)
        found: Numbers = self.flat[starts + np.arange(int(counts.sum()))]
        return found


class TextStore(Store):
    """Texts as numbers.

    Args:
        units: Of each row the words, pieces or characters; with `spelling` the kinds of word.
        spelling: `[V, 1 + K]`: of each kind of word its number and its characters, 0 where it has
            no more. Kind 0 is what pads.
        firsts: Of each row, where among the units its words begin; None where units are words, or
            words do not matter.
        unknown: The number of what is not in the vocabulary; None if everything is.
        tokens: `[N]` how many words (or other units that can have labels) each row had.
        truncated: `[N]` whether something was cut off.
        keys: `[N]` int64, equal where texts are.
    """

    def __init__(
        self,
        units: Ragged,
        *,
        spelling: Numbers | None = None,
        firsts: Ragged | None = None,
        unknown: int | None,
        tokens: NDArray[np.int64],
        truncated: NDArray[np.bool_],
        keys: NDArray[np.int64],
    ) -> None:
        self.units, self.spelling, self.firsts = units, spelling, firsts
        self.unknown, self.tokens = unknown, tokens
        self.truncated, self.keys = truncated, keys
        if spelling is not None:
            self._letters = (spelling[:, 1:] > 0).sum(1)

    def __len__(self) -> int:
        return len(self.units)

    def gather(self, rows: Rows) -> Features:
        """Numbers `[B, L]` and their mask, no longer than the longest of the rows.

        With characters `[B, L, 1 + K]`, the word's number first. With `firsts` `[B, L, 2]`: beside
        the units, entry w is the place of word w's first unit counted from 1, and 0 past the last
        word, as what pads is 0 everywhere.
        """
        numbers, mask = self.units.padded(rows)
        if self.spelling is not None:
            longest = int(self._letters[numbers].max(initial=0))
            numbers = self.spelling[:, : 1 + max(1, longest)][numbers]
        elif self.firsts is not None:
            firsts, _ = self.firsts.padded(rows, fill=-1, length=numbers.shape[1])
            numbers = np.stack([numbers, firsts + 1], axis=2)
        values = torch.from_numpy(numbers)
        return Features(values, None if mask.all() else torch.from_numpy(mask))

    def lengths(self) -> NDArray[np.int64]:
        """How many words each row had, whatever was cut off."""
        return self.tokens

    def kept(self) -> NDArray[np.int64]:
        """How many words are left of each row, `[N]`."""
        units = self.units if self.firsts is None else self.firsts
        return units.counts(np.arange(len(self)))

    def unknown_share(self, rows: Rows) -> float | None:
        """The share of units that the vocabulary lacks; None without units."""
        numbers = self.units.picked(rows)
        if self.spelling is not None:
            numbers = self.spelling[numbers, 0]
        return float((numbers == self.unknown).mean()) if len(numbers) else None
