"""A class for every pixel, and the edges between regions.

Shapes: B examples, C classes, H x W pixels of a target, h x w of the features.
"""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from polytask.errors import ConfigError, DataError, nearest
from polytask.tasks.base import Picture
from polytask.tasks.colors import Color, numbers_of_colors, require_colors
from polytask.tasks.dense import (
    DenseTask,
    label_map,
    mean_of_pixels,
    require_whole,
)
from polytask.tasks.labels import Cells
from polytask.tasks.stored import Stored

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

BLANK = 255


@dataclass(frozen=True, kw_only=True)
class Segmentation(DenseTask):
    """One of C classes for every pixel, by softmax and cross-entropy; scored by mean IoU.

    Attributes:
        classes: The names of the class numbers 0, 1, and so on.
        ignore: Numbers that mean that a pixel has no label.
        numbers: The number of each class in the maps, where they are not 0, 1, and so on:
            `[0, 255]` for masks in black and white, whose `ignore` is then `[]`. Predicted maps
            have them too.
        colors: The colours of the numbers 0, 1, and so on, where maps are pictures of colours:
            `[[128, 0, 0], [0, 128, 0]]`. Those that are no class come last, and `ignore` has their
            numbers. Predicted maps have these colours too.
        class_weights: A factor per class name, or `balanced` for factors inversely proportional to
            the class's share of the training pixels. Scaled so that the mean factor over the
            training pixels is 1.
    """

    classes: tuple[str, ...]
    ignore: tuple[int, ...] = (BLANK,)
    numbers: tuple[int, ...] = ()
    colors: tuple[Color, ...] = ()
    class_weights: Mapping[str, float] | Literal["balanced"] | None = None
    counts: tuple[int, ...] = ()

    blank: ClassVar[float] = BLANK

    def __post_init__(self) -> None:
        if len(set(self.classes)) < max(2, len(self.classes)) or len(self.classes) >= BLANK:
            raise ConfigError(
                f"`classes` should be at least two different names. Found {list(self.classes)}."
            )
        if self.numbers and len(set(self.numbers)) != len(self.classes):
            raise ConfigError(
                f"`numbers` should be a different number for each of the {len(self.classes)} "
                f"classes. Found {list(self.numbers)}."
            )
        if self.numbers and not 0 <= min(self.numbers) <= max(self.numbers) < 2**16:
            raise ConfigError(f"`numbers` should be from 0 to 65535. Found {list(self.numbers)}.")
        both = sorted(set(self.numbers) & set(self.ignore))
        if both:
            raise ConfigError(
                f"`numbers` and `ignore` both have {both[0]}. Take it out of one of them; `ignore` "
                f"is [{BLANK}] unless it is given."
            )

        require_colors(self.colors)
        greatest = max(self.numbers, default=len(self.classes) - 1)
        if self.colors and len(self.colors) <= greatest:
            raise ConfigError(
                f"`colors` should list a colour for each number up to {greatest}, the greatest of "
                f"a class. Found {len(self.colors)} colours."
            )

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def settings(self) -> dict[str, Any]:
        numbers = {"numbers": list(self.numbers)} if self.numbers else {}
        how = {"ignore": list(self.ignore), "classes": len(self.classes)}
        colors = {"colors": [list(color) for color in self.colors]} if self.colors else {}
        return {**super().settings, **how, **numbers, **colors}

    def read(self, array: NDArray[Any]) -> Stored:
        if self.colors:
            array = numbers_of_colors(array, self.colors, f"tasks.{self.name}.colors")
        if self.numbers:
            return self._numbered(array)
        found = label_map(array, self.ignore, BLANK)
        greatest = int(np.where(found == BLANK, 0, found).max(initial=0))
        if greatest >= len(self.classes):
            raise DataError(
                f"class {greatest} has no name: tasks.{self.name}.classes names "
                f"{len(self.classes)}, from 0. Name it there, or list it under 'ignore'"
            )
        return found

    def _numbered(self, array: NDArray[Any]) -> Stored:
        """Class numbers 0, 1 and so on from those of `numbers`.

        Raises:
            DataError: If there is another one.
        """
        require_whole(array)
        found = np.full(array.shape, BLANK, np.uint8)
        named = np.isin(array, list(self.ignore))
        for k, number in enumerate(self.numbers):
            here = array == number
            found[here] = k
            named |= here
        if not named.all():
            others, counts = np.unique(array[~named], return_counts=True)
            raise DataError(
                f"{int((~named).sum())} pixels have other numbers than tasks.{self.name}.numbers "
                f"({', '.join(map(str, self.numbers))}), most {others[counts.argmax()]}. Name them "
                "there, or list them under 'ignore'"
            )
        return found

    def known(self, target: Tensor) -> Tensor:
        return target != BLANK

    def fit(self, values: Cells) -> Self:
        fitted = super().fit(values)
        counts = torch.zeros(BLANK + 1, dtype=torch.int64)
        for cell in values[:, 0]:
            if isinstance(cell, np.ndarray):
                counts += torch.from_numpy(np.bincount(cell.ravel(), minlength=BLANK + 1))
        if not bool(counts[:BLANK].any()):
            raise DataError(f"Task '{self.name}' has no labelled pixel in any training row.")
        fitted = replace(fitted, counts=tuple(counts[: len(self.classes)].tolist()))
        fitted._factors()
        return fitted

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        logits = self.scaled(output, target.shape[1:])
        factors, known = self._factors(), self.known(target)
        loss = F.cross_entropy(
            logits,
            target.long(),
            None if factors is None else factors.to(output.device),
            ignore_index=BLANK,
            reduction="none",
        )
        return mean_of_pixels(loss, known)

    def _factors(self) -> Tensor | None:
        """The factor of each class, `[C]`, or None."""
        if self.class_weights is None:
            return None
        counts = torch.tensor(self.counts, dtype=torch.float64)
        if self.class_weights == "balanced":
            factors = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
        else:
            for name in self.class_weights:
                if name not in self.classes:
                    raise DataError(
                        f"tasks.{self.name}.class_weights names '{name}', which is no class. "
                        + nearest(name, self.classes)
                    )
            given = [self.class_weights.get(name, 1.0) for name in self.classes]
            factors = torch.tensor(given, dtype=torch.float64)
        total = float((factors * counts).sum())
        if not 0 < total < float("inf") or bool((factors < 0).any()):
            raise DataError(
                f"tasks.{self.name}.class_weights should be finite, at least 0, and above 0 for a "
                f"class that training rows have. Found {self.class_weights}."
            )
        return (factors * (counts.sum() / total)).float()

    def decode(self, output: Tensor) -> Tensor:
        """The class of every pixel, `[B, H, W]` of uint8."""
        return self.scaled(output.float()).argmax(1).to(torch.uint8)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.dense_metrics import segmentation_metrics

        return segmentation_metrics(self.outputs, BLANK)

    @property
    def score(self) -> str:
        return "miou"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The share of the pixels that each class has."""
        size = decoded[0].numel() if len(decoded) else 1
        counts = [torch.bincount(d.flatten().long(), minlength=self.outputs) for d in decoded]
        return [
            {f"{self.name}.{c}": n / size for c, n in zip(self.classes, some.tolist(), strict=True)}
            for some in counts
        ]

    def pictures(self, decoded: Tensor) -> list[Picture]:
        """The numbers that the maps have for the classes, each in a colour of its own.

        Numbers above 255 have no colours: 16 bits. Classes that are colours in the maps are these.
        """
        numbers = np.array(self.numbers or range(self.outputs))
        if self.colors:
            shown = np.array(self.colors, np.uint8)[numbers]
            return [Picture(shown[classes]) for classes in decoded.cpu().numpy()]
        small = numbers.max() <= 255
        palette = _palette(numbers.tolist()) if small else None
        named = numbers.astype(np.uint8 if small else np.uint16)
        return [Picture(named[classes], palette) for classes in decoded.cpu().numpy()]

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "counts": list(self.counts)}


@dataclass(frozen=True, kw_only=True)
class Edges(DenseTask):
    """Edge or no edge for every pixel, by one logit.

    The loss is the class-balanced cross-entropy of Xie and Tu (2015, arXiv 1504.06375): edges and
    the rest have the same part in an image's loss, whatever their number. Theirs is a sum over
    pixels, here each part is a mean.

    Scores are over pixels. A tolerance of 0.0075 is that of the Berkeley benchmark (BSDS, Martin
    et al. 2004, Arbelaez et al. 2011): precision is then the share of predicted edge pixels that
    have a true one as near as that, and recall the share of true ones that have a predicted one.
    Their code pairs pixels off one to one, after thinning the prediction to lines; here several may
    have the same partner and nothing is thinned, so thick edges are not punished as there, and
    numbers cannot be compared with that benchmark's. The usual tolerance is none, for the same
    reason.

    Attributes:
        of: Whether the target holds edges (0: none, another number: edge), or `regions`, class
            numbers between which edges are: then a pixel is an edge if one of its four neighbours
            has another class.
        ignore: Numbers that mean that a pixel has no label; there is no edge beside them.
        balanced: Whether edges and the rest have the same part in the loss.
        tolerance: How far a predicted edge may be from a true one for precision, recall and F1, as
            a share of the picture's diagonal; average precision has none.
    """

    of: Literal["edges", "regions"] = "edges"
    ignore: tuple[int, ...] = (BLANK,)
    balanced: bool = True
    tolerance: float = 0.0

    blank: ClassVar[float] = BLANK

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ConfigError(
                "`tolerance` should be a share of the picture's diagonal, from 0 to below 1, such "
                f"as 0.0075. Found {self.tolerance}."
            )

    @property
    def outputs(self) -> int:
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "ignore": list(self.ignore), "of": self.of}

    def read(self, array: NDArray[Any]) -> Stored:
        return label_map(array, self.ignore, BLANK)

    def finished(self, fitted: Stored) -> Stored:
        edges = region_edges(fitted) if self.of == "regions" else fitted > 0
        return np.where(fitted == BLANK, BLANK, edges).astype(np.uint8)

    def known(self, target: Tensor) -> Tensor:
        return target != BLANK

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        logits = self.scaled(output, target.shape[1:]).squeeze(1)
        known = self.known(target)
        edge = (target == 1) & known
        loss = F.binary_cross_entropy_with_logits(logits, edge.float(), reduction="none")
        if not self.balanced:
            return mean_of_pixels(loss, known)
        parts = [mean_of_pixels(loss, part) for part in (edge, known & ~edge)]
        there = sum(part.flatten(1).any(1).long() for part in (edge, known & ~edge))
        return (parts[0] + parts[1]) / torch.as_tensor(there).clamp(min=1)

    def decode(self, output: Tensor) -> Tensor:
        """The probability of an edge, `[B, H, W]`."""
        return self.scaled(output.float()).squeeze(1).sigmoid()

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.dense_metrics import edge_metrics

        return edge_metrics(BLANK, self.tolerance)

    @property
    def score(self) -> str:
        return "f1"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """The share of the pixels that are edges."""
        return [{f"{self.name}.share": float((d > 0.5).float().mean())} for d in decoded]

    def pictures(self, decoded: Tensor) -> list[Picture]:
        """Probabilities from black to white."""
        return [Picture(p) for p in (decoded * 255).round().to(torch.uint8).cpu().numpy()]


def region_edges(numbers: Stored) -> NDArray[np.bool_]:
    """Which pixels of `[H, W]` have one of four neighbours with another known number."""
    edges = np.zeros(numbers.shape, dtype=np.bool_)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = numbers[one] != numbers[other]
        differ &= (numbers[one] != BLANK) & (numbers[other] != BLANK)
        edges[one] |= differ
        edges[other] |= differ
    return edges


def _palette(numbers: Sequence[int]) -> NDArray[np.uint8]:
    """A colour for each number, as different as a walk around the circle of hues makes them."""
    colours = np.zeros((256, 3), np.uint8)
    for k, number in enumerate(numbers):
        hue, light = (k * 0.61803) % 1.0, (0.95, 0.65)[k % 2]
        colours[number] = [round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, light)]
    return colours
