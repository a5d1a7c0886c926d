"""What a task is: a frozen description that makes its head and scores one example.

Shapes: B examples, C classes, K columns or outputs, D features.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.errors import DataError
from polytask.tasks.labels import Cells, Unknown
from polytask.tasks.wide import Wide, WideLinear
from polytask.types import Features, Pooling

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


# Scores are computed where the examples are; a metric must not wait for other processes.
LOCAL: dict[str, Any] = {"sync_on_compute": False}


class Picture(NamedTuple):
    """A prediction that people look at.

    Attributes:
        pixels: `[H, W]` of uint8 or uint16, or `[H, W, 3]` of uint8.
        palette: For `[H, W]` of uint8 the colour of each number, `[256, 3]` of uint8; None for
            shades of grey.
    """

    pixels: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


class Sound(NamedTuple):
    """A prediction that people listen to.

    Attributes:
        wave: `[samples]` of int16.
        sample_rate: Samples per second.
    """

    wave: NDArray[np.int16]
    sample_rate: int


class PooledLinear(nn.Module):
    """The usual head: pool the task's features to one vector and map it linearly.

    Args:
        in_features: D of the features.
        out_features: Number of outputs.
        pool: How a map or sequence becomes a vector.
        dropout: Probability of zeroing an entry of the vector while training.
    """

    def __init__(
        self, in_features: int, out_features: int, *, pool: Pooling, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.pool: Pooling = pool
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, features: Features) -> Tensor:
        """Map features to outputs, `[B, out_features]`."""
        outputs: Tensor = self.linear(self.dropout(features.pooled(self.pool)))
        return outputs


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What to predict from which input, and how to judge it.

    Attributes:
        name: The name in scores and predictions.
        input: The input that it reads.
        target: Per source, the column (or columns) that hold the label. A source that is not
            named has no labels for this task.
        weight: The constant factor of its loss, on top of what a balancer does.
        dropout: Dropout in front of the head's last layer.
        blends: Whether an example may have two labels whose losses are weighted, which is so
            where a loss is of one answer for the whole of an example.
    """

    blends: ClassVar[bool] = False
    name: str
    input: str
    target: Mapping[str, str | tuple[str, ...]]
    weight: float = 1.0
    dropout: float = 0.0

    # What its target's column holds: plain values, or media that are decoded once into the cache.
    media: ClassVar[Literal["image", "map", "sound"] | None] = None
    # Whether one entry of its output is its answer, so that one can ask what speaks for it.
    single_answer: ClassVar[bool] = True
    # Whether its head is given the targets, where there are any, beside the features.
    reads_target: ClassVar[bool] = False

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of outputs of the head. Known once the task is fitted."""

    @abstractmethod
    def head(self, in_features: int) -> nn.Module:
        """A fresh head on features of width `in_features`; takes `Features`."""

    def beside(self) -> WideLinear | None:
        """A fresh part of the head that reads the numbers of a text's units, if it has one."""
        return None

    @abstractmethod
    def fit(self, values: Cells) -> Self:
        """Learn label names or scales from training rows.

        Args:
            values: `[N, K]` raw cells of the K target columns; None or NaN where missing.

        Returns:
            A copy that is ready to encode.

        Raises:
            DataError: If no row has a label.
        """

    @abstractmethod
    def encode(self, values: Cells, *, unknown: Unknown = "error") -> tuple[Tensor, Tensor]:
        """Turn raw cells into targets.

        Args:
            values: `[N, K]` raw cells; None or NaN where missing.
            unknown: Whether a label that `fit` never saw is an error, or counts as absent.

        Returns:
            Targets `[N, ...]` and present `[N]` (bool).

        Raises:
            LabelError: For the first cell that cannot be read.
        """

    def unknown_labels(self, values: Cells) -> Counter[str] | None:
        """How often each label is there that `fit` never saw, where a row is known without it.

        None where such rows count as absent as a whole.

        Args:
            values: `[N, K]` raw cells that `encode` can read.
        """
        return None

    def alike(self, targets: Sequence[Tensor]) -> list[Tensor]:
        """Targets of several sources, so that rows of all of them can stand in one batch."""
        return list(targets)

    def guide(self, target: Tensor) -> Tensor:
        """Targets `[B, ...]` as its head reads them, if it does; rows without a label are any."""
        return target

    def lengths(self, target: Tensor) -> Tensor | None:
        """How many tokens of its input each target is about, `[N]`; None if it is of the whole."""
        return None

    def counted(self, target: Tensor, present: Tensor) -> Tensor:
        """Which examples of a batch have a loss, `[B]` bool: those with a label.

        A task that compares examples with each other leaves out those that have none to be
        compared with; `loss` gives 0 for them.

        Args:
            target: `[B, ...]`.
            present: `[B]` bool.
        """
        return present

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each example, `[B]`; never reduced here."""

    @abstractmethod
    def decode(self, output: Tensor) -> Tensor:
        """Outputs in the target's own terms: probabilities, or values in the target's units."""

    def scores(self, output: Tensor) -> Tensor:
        """Outputs as scores by place, `[B, P, K]`: the greatest of K is what is predicted there, or
        a single one says it. Places are tokens, frames or pixels, and zeros where there are none;
        a task about the whole of an example has one.
        """
        return output.reshape(len(output), -1, output.shape[-1])

    @abstractmethod
    def metrics(self) -> "MetricCollection":
        """Fresh metrics; updated with `(decode(output), target)` of labelled examples."""

    @property
    @abstractmethod
    def score(self) -> str:
        """The metric by which this task is selected and compared."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a greater `score` is better."""
        return True

    def each(self, decoded: Tensor, target: Tensor) -> Tensor | None:
        """What each example adds to `score`, `[B]`, if that is their mean; None if it is not.

        Fewer than B where only some examples count, which targets alone decide.
        """
        return None

    @abstractmethod
    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """Decoded outputs as named columns for people, one mapping per example."""

    def pictures(self, decoded: Tensor) -> list[Picture] | None:
        """Decoded outputs as pictures, one per example; None for a task that predicts none."""
        return None

    def sounds(self, decoded: Tensor) -> list[Sound] | None:
        """Decoded outputs as sounds, one per example; None for a task that predicts none."""
        return None

    def unmirrored(self, output: Tensor) -> Tensor:
        """A head's output of mirrored pictures as one of the pictures themselves."""
        return output

    def facts(self) -> dict[str, Any]:
        """What `fit` learned, as plain values that survive JSON."""
        return {}

    @property
    def tunes(self) -> bool:
        """Whether something is chosen on validation rows once training has ended."""
        return False

    def tuned(self, decoded: Tensor, target: Tensor) -> Self:
        """The task with what is chosen on validation rows, such as thresholds.

        Args:
            decoded: Decoded outputs of labelled validation rows.
            target: Their targets.
        """
        return self

    def untuned(self) -> Self:
        """The task as it was before anything was chosen on validation rows."""
        return self

    def restored(self, facts: Mapping[str, Any]) -> Self:
        """The task with the facts of an earlier fit."""
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()
        }
        return replace(self, **frozen)

    def continuing(self, earlier: "Task") -> Self:
        """This fitted task with the outputs of an earlier fit, in their places.

        Labels that are new come after the known ones, where a kind can have more of them.

        Raises:
            DataError: If the earlier outputs cannot be these.
        """
        if self.outputs != earlier.outputs:
            raise DataError(
                f"Task '{self.name}' has {self.outputs} outputs, and {earlier.outputs} in the run "
                f"to start from. Let it begin anew with --fresh heads.{self.name}."
            )
        return self.restored(earlier.facts())


@dataclass(frozen=True, kw_only=True)
class PooledTask(Task):
    """A task about the whole of an example: its head sees one vector.

    Attributes:
        pool: How the head turns a map or a sequence into one vector.
        wide: Of a text, n-grams whose linear model answers together with the network.
    """

    blends: ClassVar[bool] = True
    pool: Pooling = "mean"
    wide: Wide | None = None

    def head(self, in_features: int) -> nn.Module:
        return PooledLinear(in_features, self.outputs, pool=self.pool, dropout=self.dropout)

    def beside(self) -> WideLinear | None:
        return None if self.wide is None else self.wide.made(self.outputs)


def masked(target: Tensor) -> tuple[Tensor, Tensor]:
    """Targets with NaN replaced by zero, and where they were not NaN; both of the same shape."""
    known = ~torch.isnan(target)
    return torch.where(known, target, 0.0), known


def mean_of_known(per_output: Tensor, known: Tensor) -> Tensor:
    """The mean over each example's known outputs, `[B, K] -> [B]`."""
    return (per_output * known).sum(1) / known.sum(1).clamp(min=1)
