"""Maps whose classes are colours.

Letters: N colours, H x W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ConfigError, DataError

Color = tuple[int, int, int]

_SHOWN = 6
_MANY = 256  # colours above which a picture has none for each class


def is_colored(array: NDArray[Any]) -> bool:
    """Whether an array is a picture of red, green and blue (and transparency), `[H, W, 3]`."""
    return array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8


def color_codes(array: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each pixel's colour, `[H, W]`.

    Raises:
        DataError: If pixels are transparent.
    """
    if array.shape[2] == 4 and int(array[..., 3].min(initial=255)) < 255:
        raise DataError("some of the map's pixels are transparent: save it without transparency")
    red, green, blue = (array[..., k].astype(np.int64) for k in range(3))
    return (red << 16) | (green << 8) | blue


def color_of(code: int) -> Color:
    """The colour of a code."""
    return (code >> 16, (code >> 8) & 255, code & 255)


def numbers_of_colors(array: NDArray[Any], colors: Sequence[Color], key: str) -> NDArray[np.uint16]:
    """The place of each pixel's colour among `colors`, `[H, W]`.

    Args:
        array: A picture, `[H, W, 3]` or `[H, W, 4]` of uint8.
        colors: Different ones.
        key: What lists them, for messages.

    Raises:
        DataError: If it is no such picture, or has another colour.
    """
    if not is_colored(array):
        raise DataError(
            f"a picture in the colours of {key} was expected. Found {array.dtype} of shape "
            f"{array.shape}: save it as RGB, or leave out `colors` where all maps hold numbers"
        )
    codes = color_codes(array)
    listed = np.array([red << 16 | green << 8 | blue for red, green, blue in colors])
    order = np.argsort(listed)
    place = np.searchsorted(listed[order], codes).clip(max=len(listed) - 1)
    found: NDArray[np.int64] = order[place]
    other = listed[found] != codes
    if other.any():
        raise DataError(
            f"{int(other.sum())} pixels have other colours than {key} lists: "
            f"{described_colors(array[other][None])}. List them there too; where they are no "
            "class, last, and their number (that of their place, from 0) under 'ignore'"
        )
    return found.astype(np.uint16)


def described_colors(array: NDArray[Any]) -> str:
    """How many colours a picture has, and which are the most frequent."""
    codes, counts = np.unique(color_codes(array), return_counts=True)
    most = codes[np.argsort(-counts, kind="stable")][:_SHOWN].tolist()
    shown = ", ".join(str(list(color_of(code))) for code in most)
    many = ", as smoothed edges or a photograph have them," if len(codes) > _MANY else ""
    more = "most " if len(codes) > _SHOWN else ""
    return f"{len(codes)} colour{'s' * (len(codes) > 1)}{many} ({more}{shown})"


def require_colors(colors: Sequence[Color]) -> None:
    """Make sure that colours are some, and different.

    Raises:
        ConfigError: If they are not.
    """
    for number, color in enumerate(colors):
        if not all(0 <= part <= 255 for part in color):
            raise ConfigError(
                f"`colors` should be red, green and blue from 0 to 255. Found {list(color)}."
            )
        if color in colors[:number]:
            raise ConfigError(f"`colors` should be different ones. Found {list(color)} twice.")
