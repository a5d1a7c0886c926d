"""Several groupings that are predicted to be good, so that trying them can decide.

T tasks.
"""

import heapq

from torch import Tensor

from polytask.affinity.grouping import (
    EXACT,
    Gains,
    Grouping,
    clustered_groupings,
    every_subset,
    gains_of_pairs,
    scored,
)


def best_groupings(
    num_tasks: int, gains: Gains, *, most: int, count: int, similarity: Tensor | None = None
) -> list[Grouping]:
    """The partitions with the greatest sums of predicted gains, the best first.

    Up to `EXACT` tasks all partitions are looked at; with more, those at which a search ends.

    Args:
        num_tasks: T.
        gains: Predicted gains of candidates.
        most: The most groups.
        count: How many partitions; there may be fewer.
        similarity: As for `best_grouping`.
    """
    if num_tasks > EXACT:
        if similarity is None:
            similarity = gains_of_pairs(num_tasks, gains)
        return clustered_groupings(similarity, gains, most=most)[:count]
    masks = every_subset(num_tasks)  # row k - 1 holds the tasks whose bits are set in k
    worth = [0.0, *gains(masks).nan_to_num(nan=0.0).sum(1).tolist()]  # by the subset's bits
    ends: list[tuple[float, tuple[int, ...]]] = []

    def extend(left: int, groups: tuple[int, ...], total: float) -> None:
        if not left:
            ends.append((total, groups))
        elif len(groups) < most:
            first = left & -left
            rest = subset = left ^ first
            while True:  # all subsets of the rest, each with the first task that is left
                extend(rest ^ subset, (*groups, first | subset), total + worth[first | subset])
                if not subset:
                    break
                subset = (subset - 1) & rest

    extend(2**num_tasks - 1, (), 0.0)
    chosen = heapq.nlargest(count, ends, key=lambda end: end[0])
    found = [scored(masks[[group - 1 for group in groups]], gains) for _, groups in chosen]
    return [Grouping(one.groups, one.gains, place == 0) for place, one in enumerate(found)]
