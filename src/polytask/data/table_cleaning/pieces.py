"""Numbers cut into ranges: the piecewise linear encoding of Gorishniy et al. (2022).

"On Embeddings for Numerical Features in Tabular Deep Learning", arXiv 2203.05556. A network sees
how far a number got through each range, and so bends where ranges meet. Two differences: the first
and last range end where training rows do, since the number itself is an entry too; and a value
that is very frequent does not use up the ranges (there, quantiles that coincide are merged, which
leaves a column of nine tenths zeros one range or two for all the rest).

Letters: N rows, K ranges.
"""

import numpy as np
from numpy.typing import NDArray

from polytask.data.table_cleaning.missing import Numbers


def edges(column: Numbers, pieces: int) -> Numbers:
    """Where ranges of about equally many rows begin and end, `[K + 1]`, all different.

    Each edge is a value of the column. A value more frequent than a range should be, such as a
    zero that means "none", counts as no more than one range, and leaves the others to the rest.

    Args:
        column: `[N]`, without blanks.
        pieces: The most ranges, at least 1. K is less where the column has fewer values; 0 where
            it has one.
    """
    values, counts = np.unique(column, return_counts=True)
    reached = np.minimum(counts, _share(counts, pieces)).cumsum()
    # A range that a frequent value fills ends at the next value, so that it tells them apart.
    bounds = (np.linspace(0.0, 1.0, pieces + 1)[:-1] + 1e-9) * reached[-1]
    at = np.searchsorted(reached, bounds)
    found: Numbers = values[np.unique(np.append(at, len(values) - 1))]
    return found


def _share(counts: NDArray[np.int64], pieces: int) -> float:
    """Rows per range once every value that has more rows than that is a range by itself."""
    share, light = float(counts.sum()) / pieces, counts
    while (light > share).any() and not (light > share).all():
        light = light[light <= share]
        share = float(light.sum()) / (pieces - len(counts) + len(light))
    return share


def passed(column: Numbers, ends: Numbers) -> Numbers:
    """How far each value of `[N]` got through each range between `ends` `[K + 1]`.

    Returns:
        `[N, K]` in 0..1: 0 below the range, 1 above it.
    """
    far: Numbers = np.clip((column[:, None] - ends[:-1]) / np.diff(ends), 0.0, 1.0)
    return far
