"""Metrics of embeddings: does an example find those of its identity among all others?

Shapes: N examples, Q of them that have another one of their identity, E entries of an embedding.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.functional.retrieval import retrieval_average_precision

from polytask.tasks.base import LOCAL

_ROWS = 512  # examples that are compared with all others at once


def compared(embeddings: Tensor, identity: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For some queries after others their cosines with all examples, and which of these are alike.

    Queries are the examples that have another one of their identity, in their order. Of an
    example with itself the cosine is -infinity.

    Args:
        embeddings: `[N, E]`, of length one.
        identity: `[N]`.
    """
    for begin in range(0, len(identity), _ROWS):
        rows = torch.arange(begin, min(begin + _ROWS, len(identity)), device=identity.device)
        own = rows[:, None] == torch.arange(len(identity), device=identity.device)
        alike = (identity[rows, None] == identity) & ~own
        cosines = (embeddings[rows] @ embeddings.T).masked_fill(own, float("-inf"))
        queries = alike.any(1)
        if bool(queries.any()):
            yield cosines[queries], alike[queries]


def nearest_is_alike(embeddings: Tensor, identity: Tensor) -> Tensor:
    """Whether the nearest other example is of the same identity, `[Q]` of 0 and 1."""
    found = [
        alike.gather(1, cosines.argmax(1, keepdim=True)).squeeze(1).float()
        for cosines, alike in compared(embeddings, identity)
    ]
    return torch.cat([embeddings.new_zeros(0), *found])


def average_precisions(embeddings: Tensor, identity: Tensor) -> Tensor:
    """The mean precision down to each example of the same identity, `[Q]`, by `torchmetrics`.

    It takes what has no positive score for not retrieved, so cosines are raised above 0.
    """
    found = [
        retrieval_average_precision(row.double() + 2, truth)
        for cosines, alike in compared(embeddings, identity)
        for row, truth in zip(cosines, alike, strict=True)
    ]
    return torch.stack(found) if found else embeddings.new_zeros(0)


def chances(embeddings: Tensor, identity: Tensor) -> Tensor:
    """How likely another example drawn at random is of the same identity, `[Q]`."""
    found = [alike.float().sum(1) for _, alike in compared(embeddings, identity)]
    return torch.cat([embeddings.new_zeros(0), *found]) / max(1, len(identity) - 1)


class Retrieval(Metric):
    """The mean over queries of what is said of each; NaN without a query.

    Embeddings are kept until the end, because each example is compared with all others.

    Args:
        score: Gives `[Q]` for embeddings `[N, E]` and identities `[N]`.
    """

    full_state_update = False
    embeddings: list[Tensor]
    identities: list[Tensor]

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(**LOCAL)
        self.score = score
        self.add_state("embeddings", [], dist_reduce_fx="cat")
        self.add_state("identities", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch: `[B, E]` and `[B]`."""
        self.embeddings.append(predicted)
        self.identities.append(target)

    def compute(self) -> Tensor:
        """The mean."""
        return self.score(torch.cat(list(self.embeddings)), torch.cat(list(self.identities))).mean()


def similarity_metrics() -> MetricCollection:
    """How often the nearest is of the same identity, mean average precision, and chance.

    `chance` is what a random order reaches in `recall_at_1`.
    """
    return MetricCollection(
        {
            "recall_at_1": Retrieval(nearest_is_alike),
            "map": Retrieval(average_precisions),
            "chance": Retrieval(chances),
        },
        compute_groups=False,
    )
