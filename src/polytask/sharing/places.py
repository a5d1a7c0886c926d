"""Layers at every place of features of any kind: vectors, pixels of maps, frames of sequences.

Shapes: B examples, L or M frames, C or D channels, H x W pixels.
"""

from torch import Tensor, nn

from polytask.types import Features


def at_every_place(layers: nn.Module, values: Tensor) -> Tensor:
    """Apply layers over the last dimension to each vector, frame or pixel.

    A linear layer is then a 1x1 convolution of maps.

    Args:
        layers: From `[..., C]` to `[..., D]`.
        values: `[B, C]`, `[B, L, C]` or `[B, C, H, W]`.
    """
    if values.ndim == 4:
        mapped: Tensor = layers(values.movedim(1, -1)).movedim(-1, 1)
        return mapped
    given: Tensor = layers(values)
    return given


def fitted(features: Features, like: Features) -> Tensor:
    """Features' values at the places of what a later stage gives; channels stay.

    Maps are averaged (adaptive pooling) to the other's size. A sequence that has become shorter
    is averaged in groups of `ceil(L / M)` neighbouring frames that have content, which are those
    that a stride joins. Where the kind has changed, as from maps to vectors, or a sequence has
    become longer, every place gets the mean over all places.

    Args:
        features: Vectors `[B, C]`, sequences `[B, L, C]` or maps `[B, C, H, W]`.
        like: What to fit to, of any kind and width.
    """
    values, wanted = features.values, like.values
    if values.ndim == wanted.ndim == 2:
        return values
    if values.ndim == wanted.ndim == 4:
        size = (wanted.shape[2], wanted.shape[3])
        if size == (values.shape[2], values.shape[3]):
            return values
        return nn.functional.adaptive_avg_pool2d(values, size)
    if values.ndim == wanted.ndim == 3 and values.shape[1] >= wanted.shape[1]:
        return shortened(features, wanted.shape[1])
    pooled = features.pooled()
    if wanted.ndim == 4:
        return pooled[:, :, None, None].expand(-1, -1, wanted.shape[2], wanted.shape[3])
    return pooled if wanted.ndim == 2 else pooled[:, None].expand(-1, wanted.shape[1], -1)


def shortened(features: Features, length: int) -> Tensor:
    """Means over groups of neighbouring frames with content: `[B, L, C]` to `[B, length, C]`.

    A group without any content becomes zeros.
    """
    values, mask = features
    if values.shape[1] == length:
        return values
    group = -(-values.shape[1] // length)
    missing = group * length - values.shape[1]
    valid = values.new_ones(values.shape[:2]) if mask is None else mask.to(values.dtype)
    if mask is not None:
        values = values.masked_fill(~mask.unsqueeze(2), 0.0)
    values = nn.functional.pad(values, (0, 0, 0, missing)).unflatten(1, (length, group))
    counts = nn.functional.pad(valid, (0, missing)).unflatten(1, (length, group)).sum(2)
    means: Tensor = values.sum(2) / counts.clamp(min=1).unsqueeze(2)
    return means
