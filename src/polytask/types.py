"""The two values that travel through every floor: features and batches.

Shapes: B examples, L frames or tokens, D features, C channels, H x W pixels, N samples of a wave.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from polytask.errors import nearest

Kind = TypeVar("Kind")
Pooling = Literal["mean", "max", "middle"]

# Per task: metric name -> value, None where there was no label to measure on.
Scores = Mapping[str, Mapping[str, float | None]]


def loss_of(source: str) -> str:
    """What a task's loss over one source's examples is called among its scores."""
    return f"loss of {source}"


class Features(NamedTuple):
    """A batch of one input, raw or encoded.

    Attributes:
        values: `[B, D]` vectors, `[B, C, H, W]` maps or `[B, L, D]` sequences. Raw waves are
            `[B, N]`, raw pictures `[B, 3, H, W]` of uint8.
        mask: `[B, L]` (`[B, N]` for waves), true where a sequence has content. None where every
            example is full length, and for everything that is not a sequence.
    """

    values: Tensor
    mask: Tensor | None = None

    def pooled(self, how: Pooling = "mean") -> Tensor:
        """One vector per example, `[B, D]`.

        `mean` and `max` go over pixels or valid frames; `middle` takes the pixel or frame in the
        middle, for examples that are a context around it. An example without a valid frame
        becomes zeros.
        """
        if self.values.ndim == 2:
            return self.values
        if self.values.ndim == 4:
            if how == "middle":
                return self.values[:, :, self.values.shape[2] // 2, self.values.shape[3] // 2]
            return self.values.mean((2, 3)) if how == "mean" else self.values.amax((2, 3))
        if self.mask is None:
            if how == "middle":
                return self.values[:, self.values.shape[1] // 2]
            return self.values.mean(1) if how == "mean" else self.values.amax(1)
        valid = self.mask.unsqueeze(-1)
        count = valid.sum(1).clamp(min=1)
        if how == "middle":
            place = (count // 2).unsqueeze(2).expand(-1, -1, self.values.shape[2])
            middle = self.values.gather(1, place.clamp(max=self.values.shape[1] - 1)).squeeze(1)
            return torch.where(valid.any(1), middle, 0.0)
        if how == "max":
            greatest = self.values.masked_fill(~valid, float("-inf")).amax(1)
            return torch.where(valid.any(1), greatest, 0.0)
        return self.values.masked_fill(~valid, 0.0).sum(1) / count

    def of_rows(self, rows: Tensor) -> "Features":
        """Those of some examples, by their places `[n]` (int64)."""
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Features(self.values.index_select(0, rows), mask)

    def to(self, device: torch.device, non_blocking: bool = False) -> "Features":
        """The same features on another device."""
        mask = None if self.mask is None else self.mask.to(device, non_blocking=non_blocking)
        return Features(self.values.to(device, non_blocking=non_blocking), mask)


@dataclass(frozen=True)
class Blend:
    """The other labels of examples that were blended from two, for one input.

    Attributes:
        targets: Per task that reads the input the other example's target, as in `Batch.targets`.
        present: Per task, `[B]` bool, true where the other example has a label.
        share: `[B]` float32 in 0..1, how much of an example is its own.
    """

    targets: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    share: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "Blend":
        """The same with every tensor changed."""
        return Blend(
            {k: change(v) for k, v in self.targets.items()},
            {k: change(v) for k, v in self.present.items()},
            change(self.share),
        )


@dataclass(frozen=True)
class Batch:
    """The examples of one step.

    Examples belong to an input: `inputs[i]` has its own number of rows, and every task that reads
    input `i` has one target per row of it. Two sources that feed the same input are concatenated;
    the rows of the one have no labels for the tasks of the other.

    Attributes:
        inputs: The raw values of each input.
        targets: Per task, one target per row of its input. Where a label is absent the value is a
            placeholder that no code may read.
        present: Per task, `[B]` bool, true where the example has a label.
        rows: Per input, `[B]` int64: which row of which source an example came from, for messages
            and predictions (`source_number * 2**40 + row`).
        blends: Per input whose examples were blended from two, the labels of the others.
    """

    inputs: Mapping[str, Features]
    targets: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    blends: Mapping[str, Blend] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            {k: v.to(device, non_blocking=True) for k, v in self.inputs.items()},
            {k: v.to(device, non_blocking=True) for k, v in self.targets.items()},
            {k: v.to(device, non_blocking=True) for k, v in self.present.items()},
            self.rows,
            {
                k: v.map(lambda values: values.to(device, non_blocking=True))
                for k, v in self.blends.items()
            },
        )

    def first(self, share: float) -> "Batch":
        """The first examples of each input, at least one, with the targets of its tasks.

        Args:
            share: The share of the examples, in (0, 1].
        """

        def cut(values: Tensor) -> Tensor:
            return values[: math.ceil(share * len(values))]

        return Batch(
            {
                k: Features(cut(v.values), None if v.mask is None else cut(v.mask))
                for k, v in self.inputs.items()
            },
            {k: cut(v) for k, v in self.targets.items()},
            {k: cut(v) for k, v in self.present.items()},
            {k: cut(v) for k, v in self.rows.items()},
            {k: v.map(cut) for k, v in self.blends.items()},
        )

    @property
    def size(self) -> int:
        """The number of examples, over all inputs."""
        return sum(len(v.values) for v in self.inputs.values())


class Catalogue(dict[str, Kind]):
    """Kinds by name; a name that is not there is an error that says which was perhaps meant.

    Args:
        what: What they are, in the singular.
        kinds: The kinds.
    """

    def __init__(self, what: str, kinds: Mapping[str, Kind]) -> None:
        super().__init__(kinds)
        self.what = what

    def __missing__(self, name: object) -> Kind:
        raise KeyError(f"There is no {self.what} {name!r}. {nearest(str(name), self)}")


class ByName(nn.Module):
    """Modules by the names that people gave their tasks and inputs.

    `nn.ModuleDict` refuses names such as `type` or `training`, which are attributes of its own.
    Here they are stored, and appear in weights' names, with an underscore at their end.

    Args:
        modules: The modules. Names hold no dots.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.stored_as: dict[str, str] = {}
        taken = set(dir(self))
        for name, module in modules.items():
            self.stored_as[name] = f"{name}_" if name.rstrip("_") in taken else name
            self.add_module(self.stored_as[name], module)

    def __getitem__(self, name: str) -> nn.Module:
        module = self._modules[self.stored_as[name]]
        assert module is not None
        return module

    def __contains__(self, name: object) -> bool:
        return name in self.stored_as

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored_as)
