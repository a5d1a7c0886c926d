"""Embeddings in which examples of one identity are near each other.

Shapes: N rows, B examples, E entries of an embedding.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.errors import ConfigError, DataError
from polytask.tasks.base import PooledLinear, PooledTask
from polytask.tasks.labels import Cells, Unknown, is_missing, label_name, require_labels
from polytask.types import Features, Pooling

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

_BITS = 48  # which a float64 holds exactly; two of a million names meet once in 500 times


class Projection(nn.Module):
    """The head of Khosla et al. (2020): a hidden layer, then the embedding.

    Args:
        in_features: D of the features.
        width: The width of the hidden layer; 0 for none.
        out_features: E.
        pool: How a map or sequence becomes a vector.
        dropout: Probability of zeroing an entry of the pooled vector while training.
    """

    def __init__(
        self, in_features: int, width: int, out_features: int, *, pool: Pooling, dropout: float
    ) -> None:
        super().__init__()
        self.first = PooledLinear(in_features, width or out_features, pool=pool, dropout=dropout)
        self.last = nn.Linear(width, out_features) if width else None

    def forward(self, features: Features) -> Tensor:
        """Embeddings `[B, E]`, of any length."""
        found: Tensor = self.first(features)
        if self.last is not None:
            found = self.last(found.relu())
        return found


@dataclass(frozen=True, kw_only=True)
class Similarity(PooledTask):
    """A vector in which examples of one identity (a speaker, a product) lie close together.

    The target is a column that names the identity. The loss is the supervised contrastive loss
    (Khosla et al. 2020) among the examples of a batch: each example should find those of its own
    identity among all others. Predictions are embeddings of length one; scores ask, in the
    whole of a part and without the example itself, whether its nearest neighbour is of its
    identity. Identities need not have been seen in training, so that a split by group (`group:
    speaker`) measures new ones.

    What differs from the paper: an example comes into a batch once, so its positives are other
    examples, not a second view of itself, and what has none in a batch counts as absent there (it
    still is one that others should not be near); the head stays, and its output is the prediction,
    where the paper takes the features before it and trains a classifier on them; the loss is not
    scaled by the ratio of two temperatures that the authors' code has, which is 1 by default.

    Batches are drawn without regard to identities: where there are many, only large batches hold
    pairs. In several processes each one compares the examples of its own part of the batch. The
    loss grows with the number of examples that it is among, so that of a training step and that
    of a part, whose batches are larger, are not of one size.

    Attributes:
        dimensions: E, the entries of an embedding.
        width: The width of the head's hidden layer; 0 for none.
        temperature: What cosines are divided by; lower looks at the nearest ones more.
    """

    dimensions: int = 64
    width: int = 128
    temperature: float = 0.1

    blends: ClassVar[bool] = False
    single_answer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.wide is not None:
            raise ConfigError("`wide` goes with answers, and an embedding is none. Leave it out.")
        if self.dimensions < 2 or self.width < 0 or self.temperature <= 0:
            raise ConfigError(
                "`dimensions` should be at least 2, `width` at least 0, `temperature` above 0. "
                f"Found {self.dimensions}, {self.width} and {self.temperature}."
            )

    @property
    def outputs(self) -> int:
        return self.dimensions

    def head(self, in_features: int) -> nn.Module:
        return Projection(
            in_features, self.width, self.dimensions, pool=self.pool, dropout=self.dropout
        )

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        target, present = self.encode(values)
        _, counts = target[present].unique(return_counts=True)
        if len(counts) < 2 or int(counts.max()) < 2:
            raise DataError(
                f"Task '{self.name}' needs two identities at least, and one that two training rows "
                f"share. Found {len(counts)} in {int(counts.sum())} labelled rows. Name another "
                f"column under 'tasks.{self.name}.target', or remove the task."
            )
        return self

    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        """Numbers made of the names `[N]` int64, so that no list of them is needed."""
        target = torch.zeros(len(values), dtype=torch.int64)
        present = torch.zeros(len(values), dtype=torch.bool)
        for row, cell in enumerate(values[:, 0]):
            if not is_missing(cell):
                target[row], present[row] = numbered(label_name(self, cell, row)), True
        return target, present

    def counted(self, target: Tensor, present: Tensor) -> Tensor:
        return present & (others_alike(target) & present).any(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return contrastive(F.normalize(output, dim=1), target, self.temperature)

    def decode(self, output: Tensor) -> Tensor:
        """Embeddings of length one, `[B, E]`."""
        return F.normalize(output.float(), dim=1)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.retrieval import similarity_metrics

        return similarity_metrics()

    @property
    def score(self) -> str:
        return "recall_at_1"

    def each(self, decoded: Tensor, target: Tensor) -> Tensor | None:
        from polytask.tasks.retrieval import nearest_is_alike

        return nearest_is_alike(decoded, target)

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The embedding of each example, as a list."""
        return [{self.name: [round(x, 6) for x in row]} for row in decoded.tolist()]


def numbered(name: str) -> int:
    """A number that stands for a name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> (64 - _BITS)


def others_alike(identity: Tensor) -> Tensor:
    """Which other examples share an example's identity, `[B] -> [B, B]` bool."""
    alike = identity[:, None] == identity[None]
    return alike & ~torch.eye(len(identity), dtype=torch.bool, device=identity.device)


def contrastive(embeddings: Tensor, identity: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss of each example, `[B]`; 0 for one that has no positive.

    The mean is outside of the logarithm, `L_out` of Khosla et al. (2020, equation 2).

    Args:
        embeddings: `[B, E]`, of length one.
        identity: `[B]`.
        temperature: What products are divided by.
    """
    own = torch.eye(len(identity), dtype=torch.bool, device=identity.device)
    scores = (embeddings @ embeddings.T / temperature).masked_fill(own, -1e9)
    chances = scores - scores.logsumexp(1, keepdim=True)
    positive = others_alike(identity)
    total = torch.where(positive, chances, 0.0).sum(1)
    return -total / positive.sum(1).clamp(min=1)
