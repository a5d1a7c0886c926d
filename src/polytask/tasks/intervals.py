"""Labels with times, such as the phones of a sentence or the events in a recording.

A frame is a stretch of `seconds`; frame k is from k to k + 1 of them and has the label that is
there in its middle.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from polytask.tasks.labels import is_missing, label_text


class Interval(NamedTuple):
    """A label, and when it is there.

    Attributes:
        start: Seconds from the beginning.
        end: Seconds from the beginning; it is there no longer.
        label: Its name.
    """

    start: float
    end: float
    label: str


def read_intervals(cell: object) -> list[Interval]:
    """The intervals of a cell, in the order of their starts.

    Args:
        cell: A list of `(start, end, label)`, or a text of these with white space between all of
            them, such as `0 0.13 sil 0.13 0.2 sh`.

    Raises:
        ValueError: If it is something else, a time is no number of at least 0, or an interval ends
            before it begins; says which.
    """
    if isinstance(cell, str):
        words = cell.split()
        parts: list[object] = [words[k : k + 3] for k in range(0, len(words), 3)]
    elif isinstance(cell, (list, tuple, np.ndarray)):
        parts = list(cell)
    else:
        raise ValueError(f"found {cell!r}")
    return sorted(map(_interval, parts), key=lambda interval: interval.start)


def _interval(part: object) -> Interval:
    if not isinstance(part, (list, tuple, np.ndarray)) or len(part) != 3:
        raise ValueError(f"found {str(part)[:60]} for one")
    try:
        start, end = float(part[0]), float(part[1])
    except (TypeError, ValueError):
        start = end = math.nan
    if not 0 <= start <= end < math.inf:
        raise ValueError(f"found an interval from {part[0]} to {part[1]} seconds")
    return Interval(start, end, "" if is_missing(part[2]) else label_text(part[2]))


def at_frames(intervals: Sequence[Interval], seconds: float, outside: str = "") -> list[str]:
    """The label of each frame up to the last that has one, but of one frame at least.

    Args:
        intervals: In the order of their starts; where they overlap, the later one counts.
        seconds: Of a frame.
        outside: The label of frames in no interval.
    """
    spans = _spans(intervals, seconds)
    names = [outside] * max([1, *(last for _, last in spans)])
    for (first, last), interval in zip(spans, intervals, strict=True):
        names[first:last] = [interval.label] * (last - first)
    return names


def overlap(intervals: Sequence[Interval], seconds: float) -> bool:
    """Whether some frame is in two intervals of different labels, which are as for `at_frames`."""
    last, label = 0, ""
    for (first, end), interval in zip(_spans(intervals, seconds), intervals, strict=True):
        if first < min(last, end) and interval.label != label:
            return True
        if end > last:
            last, label = end, interval.label
    return False


def _spans(intervals: Sequence[Interval], seconds: float) -> list[tuple[int, int]]:
    """The first frame of each interval, and the one after its last."""
    places = [[math.ceil(t / seconds - 0.5) for t in (i.start, i.end)] for i in intervals]
    return [(first, end) for first, end in places]


def written(names: Sequence[str], seconds: float) -> str:
    """The labels of frames as the text of intervals that `read_intervals` reads.

    Neighbours that are equal are one interval.

    Args:
        names: Without white space.
        seconds: Of a frame.
    """
    said, place = [], 0
    for name, group in groupby(names):
        end = place + len(list(group))
        said.append(f"{place * seconds:.6g} {end * seconds:.6g} {name}")
        place = end
    return " ".join(said)
