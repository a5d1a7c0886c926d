"""Tasks that predict something for every pixel.

Shapes: N rows, B examples, C classes, K values per pixel, D features, H x W pixels of a target,
h x w of the features.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.errors import ConfigError, DataError
from polytask.tasks.colors import described_colors, is_colored
from polytask.tasks.labels import Cells, require_labels
from polytask.tasks.stored import Stored, StoredTask
from polytask.types import Features


class DenseHead(nn.Module):
    """A 1x1 convolution; whoever reads its output scales it to the size of the target.

    Args:
        in_features: C of the features.
        out_features: Values per pixel.
        dropout: Probability of zeroing a whole channel while training.
        name: The task, for messages.
    """

    def __init__(self, in_features: int, out_features: int, *, dropout: float, name: str) -> None:
        super().__init__()
        self.name = name
        self.dropout = nn.Dropout2d(dropout)
        self.convolution = nn.Conv2d(in_features, out_features, 1)

    def forward(self, features: Features) -> Tensor:
        """Maps `[B, D, h, w]` to `[B, out_features, h, w]`."""
        if features.values.ndim != 4:
            raise ConfigError(
                f"Task '{self.name}' is about every pixel and needs maps [B, C, h, w]. Found "
                f"features of shape {tuple(features.values.shape)}. Leave out 'pool:' at its "
                "input, and give the trunk a backbone of maps (unet or residual)."
            )
        output: Tensor = self.convolution(self.dropout(features.values))
        return output


@dataclass(frozen=True, kw_only=True)
class DenseTask(StoredTask):
    """Something for every pixel of a picture.

    The target's column holds pictures of numbers (`media: {column: map}` of a table): PNG files
    whose numbers are taken as they are, or `.npy` and `.npz` arrays. They are brought to the size
    of the input's pictures, by the nearest pixel, and change with them where an augmentation moves
    pixels. A blank cell is an example without a label; a pixel can be without one, too.

    Attributes:
        size: Height and width of the targets.
    """

    size: tuple[int, ...] = ()

    media: ClassVar[Literal["image", "map"] | None] = "map"
    dtype: ClassVar[type[np.generic]] = np.uint8
    blank: ClassVar[float] = 255
    # The values of a pixel (none for one without an axis of its own), and whether the first of
    # them points to the right.
    channels: ClassVar[tuple[int, ...]] = ()
    vectors: ClassVar[bool] = False

    @abstractmethod
    def read(self, array: NDArray[Any]) -> Stored:
        """A decoded file as `[H, W]` or `[K, H, W]` with `blank` where there is no label.

        Raises:
            DataError: If the file holds something else.
        """

    def finished(self, fitted: Stored) -> Stored:
        """What `read` gave, after it has got the size of the pictures, as the target is stored."""
        return fitted

    def stored(self, array: NDArray[Any], size: tuple[int, int]) -> Stored:
        """A decoded file as its target is stored, stretched to a size."""
        return self.finished(nearest_pixels(self.read(array), size))

    @abstractmethod
    def known(self, target: Tensor) -> Tensor:
        """Which pixels have a label: `[N, H, W]` bool of stored targets `[N, ...]`."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return (*self.channels, *self.size)

    def head(self, in_features: int) -> nn.Module:
        return DenseHead(in_features, self.outputs, dropout=self.dropout, name=self.name)

    def fit(self, values: Cells) -> Self:
        labelled = require_labels(self, values)
        first = values[np.flatnonzero(labelled)[0], 0]
        return replace(self, size=tuple(first.shape[-2:]))

    def scaled(self, output: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """A head's output `[B, K, h, w]` at a size, by bilinear interpolation."""
        wanted = list(size or self.size)
        if list(output.shape[2:]) == wanted:
            return output
        return F.interpolate(output, wanted, mode="bilinear", align_corners=False)

    def scores(self, output: Tensor) -> Tensor:
        return output.flatten(2).transpose(1, 2)

    def unmirrored(self, output: Tensor) -> Tensor:
        return output.flip(-1)

    def facts(self) -> dict[str, Any]:
        return {"size": list(self.size)}


def nearest_pixels(array: Stored, size: tuple[int, int]) -> Stored:
    """`[..., H, W]` at another size: each pixel is the old one in which its centre lies."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(size, array.shape[-2:], strict=True)
    )
    return array[..., rows[:, None], columns]


def label_map(array: NDArray[Any], ignore: Sequence[int], blank: int) -> Stored:
    """A map of class numbers `[H, W]` of uint8, with `blank` for the numbers to ignore.

    Raises:
        DataError: If it is no map of whole numbers that fit.
    """
    require_whole(array)
    unknown = np.isin(array, list(ignore))
    if array.size and bool(((array < 0) | (array >= blank))[~unknown].any()):
        raise DataError(
            f"class numbers should be 0 to {blank - 1}, or be listed under 'ignore'. Found "
            f"{int(array[~unknown].min())} to {int(array[~unknown].max())}"
        )
    return np.where(unknown, blank, array).astype(np.uint8)


def require_whole(array: NDArray[Any]) -> None:
    """Make sure that an array is a map of whole numbers `[H, W]`.

    Raises:
        DataError: If it is not.
    """
    if is_colored(array):
        raise DataError(
            "a map of class numbers [H, W] was expected, such as a PNG of one channel. Found a "
            f"picture of {described_colors(array)}. Where each class has a colour, list them, in "
            "the order of the classes, under `colors` of a task of kind segmentation"
        )
    if array.ndim != 2 or array.dtype.kind not in "bui" or not array.size:
        raise DataError(
            "a map of class numbers [H, W] was expected, such as a PNG of one channel. Found "
            f"{array.dtype} of shape {array.shape}"
        )


def number_map(array: NDArray[Any], channels: int) -> Stored:
    """A map of numbers `[channels, H, W]` of float32 from one with channels first or last.

    Raises:
        DataError: If it has another number of channels.
    """
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] != channels and array.shape[2] == channels:
        array = array.transpose(2, 0, 1)
    if (
        array.ndim != 3
        or array.shape[0] != channels
        or array.dtype.kind not in "buif"
        or not array.size
    ):
        raise DataError(
            f"a map of {channels} number{'s' if channels > 1 else ''} per pixel was expected. "
            f"Found {array.dtype} of shape {array.shape}"
        )
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite: no label
        return array.astype(np.float32)


def mean_of_pixels(per_pixel: Tensor, known: Tensor) -> Tensor:
    """The mean over each example's known pixels, `[B, H, W] -> [B]`; 0 without any."""
    total = torch.where(known, per_pixel, 0.0).flatten(1).sum(1)
    return total / known.flatten(1).sum(1).clamp(min=1)
