"""From the scores of frames to symbols: collapsing, and the search for the likeliest text.

Shapes: T frames, V symbols with the blank, which is number 0.
"""

import math
from collections import defaultdict

import torch
from torch import Tensor


def collapsed(path: Tensor) -> list[int]:
    """The symbols of a path `[T]`: repetitions are one, then blanks are left out."""
    return [int(k) for k in torch.unique_consecutive(path).tolist() if k != 0]


def likeliest(scores: Tensor, beam: int) -> list[int]:
    """The text with the greatest probability that a prefix beam search finds.

    Graves and Jaitly (2014), in the form of Hannun et al. (2014, arXiv 1408.2873) without a
    language model: the probability of a prefix is summed over all of its paths, apart for those
    that end in a blank and those that do not.

    Args:
        scores: `[T, V]`, log-probabilities.
        beam: How many prefixes are kept after each frame. With as many as there are texts the
            search is exact.
    """
    nothing = -math.inf
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}
    for frame in scores.double().tolist():
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [nothing, nothing])
        for prefix, (blank, symbol) in kept.items():
            total = _sum(blank, symbol)
            here = grown[prefix]
            here[0] = _sum(here[0], total + frame[0])
            for number in range(1, len(frame)):
                if prefix and number == prefix[-1]:
                    here[1] = _sum(here[1], symbol + frame[number])
                    added = blank  # a repetition needs a blank between
                else:
                    added = total
                longer = grown[(*prefix, number)]
                longer[1] = _sum(longer[1], added + frame[number])
        best = sorted(grown.items(), key=lambda item: (-_sum(*item[1]), item[0]))[:beam]
        kept = {prefix: (ends[0], ends[1]) for prefix, ends in best}
    return list(max(kept.items(), key=lambda item: _sum(*item[1]))[0])


def _sum(one: float, other: float) -> float:
    """The logarithm of the sum of two probabilities that are given by theirs."""
    if one < other:
        one, other = other, one
    return one if other == -math.inf else one + math.log1p(math.exp(other - one))
