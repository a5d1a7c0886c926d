"""Networks for pictures that others trained, from a folder or by a name of the `timm` library.

Shapes: B examples, C channels, H x W pixels, P patches, N tokens (P and those in front of them),
W width of the pretrained network.
"""

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from polytask.backbones.base import Backbone, OnValues
from polytask.backbones.parted import parted
from polytask.errors import ConfigError
from polytask.types import Features


class PretrainedPictures(Backbone):
    """A pretrained network for pictures: a stage that takes them in, then its own stages or layers.

    Of convolutional networks (ResNet, ConvNeXt) a stage is what lies between two sizes; it gives
    maps. Of Vision Transformers (ViT, DeiT, DINOv2) a stage is a layer over the tokens of square
    pictures' patches, and the last stage turns tokens into a map, or into the vector of the class
    token. Positions are stretched to pictures of another size than they were trained for. Poolers
    and heads are left out. Whether the stages give what the network itself gives is tried when it
    is loaded.

    A folder is one that `save_pretrained` of `transformers` wrote, or `save_for_hf` of `timm` with
    `safe_serialization=True`. Pictures are standardised by the input's own statistics, which are
    near those that such networks were trained with. To keep the network as it is, name it in
    `training.freeze`, as `trunk.backbone` or `encoders.picture.body`; `training.unfreeze` wakes its
    stages one after the other, and `optimizer.layer_decay` lets deep ones learn more slowly.

    Args:
        in_features: C of the pictures. Where the network takes another number, a learned 1x1
            convolution stands in front.
        path: A folder with config.json and weights as safetensors. A run needs it as long as the
            run is used.
        name: A name of timm's, such as `resnet18.a1_in1k`, in place of a folder; its weights are
            fetched once and kept in the cache of the Hugging Face hub.
        tokens: What a Vision Transformer gives: `patches` as a map, or the `class` token's vector.
    """

    def __init__(
        self,
        in_features: int,
        *,
        path: Path | None = None,
        name: str | None = None,
        tokens: Literal["patches", "class"] = "patches",
    ) -> None:
        super().__init__()
        if (path is None) == (name is None):
            raise ConfigError(
                "One of `path` (a folder) and `name` (of timm) says which network it is. Found "
                f"{'neither' if path is None else 'both'}."
            )
        parts = parted(path, name)
        if tokens == "class" and parts.before == 0:
            raise ConfigError(
                f"{parts.called} has no class token. Leave out 'tokens', and heads pool its map."
            )
        _, channels, side, _ = parts.picture.shape
        project: nn.Module = nn.Identity()
        if in_features != channels:
            project = nn.Conv2d(in_features, channels, 1)
        stages: list[nn.Module] = [PictureEntry(project, parts.entry, square=parts.tokens)]
        stages += [OnValues(stage) for stage in parts.stages]
        if parts.tokens:
            stages.append(Tokens(parts.after, parts.before, tokens))
        self.in_features = in_features
        self.stages = nn.ModuleList(stages)
        self.widths = widths_of(self.eval(), torch.zeros(1, in_features, side, side))
        self.train()


class PictureEntry(nn.Module):
    """Pictures as what the pretrained network's first stage or layer takes.

    Args:
        project: To the network's channels.
        entry: From pictures to maps or tokens.
        square: Whether pictures have to be square, because tokens don't say where they are.
    """

    def __init__(self, project: nn.Module, entry: nn.Module, *, square: bool) -> None:
        super().__init__()
        self.project, self.entry, self.square = project, entry, square

    def forward(self, features: Features) -> Features:
        """`[B, C, H, W]` to `[B, W, h, w]` or `[B, N, W]`."""
        values = features.values
        if values.ndim != 4:
            raise ConfigError(
                f"A network for pictures reads maps. Found features of shape {tuple(values.shape)}."
                " Leave out 'pool' in front of it, or choose another backbone."
            )
        if self.square and values.shape[2] != values.shape[3]:
            raise ConfigError(
                "This network reads square pictures. Found pictures of "
                f"{values.shape[2]}x{values.shape[3]}. Set the input's 'size' to one number."
            )
        return Features(self.entry(self.project(values)))


class Tokens(nn.Module):
    """Tokens as a map, or the first one as a vector.

    Args:
        after: Applied to tokens first, as the network does after its last layer.
        before: How many tokens stand in front of the patches.
        kept: What is kept.
    """

    def __init__(self, after: nn.Module, before: int, kept: Literal["patches", "class"]) -> None:
        super().__init__()
        self.after, self.before, self.kept = after, before, kept

    def forward(self, features: Features) -> Features:
        """`[B, N, W]` to `[B, W, sqrt(P), sqrt(P)]` or `[B, W]`."""
        tokens = self.after(features.values)
        if self.kept == "class":
            return Features(tokens[:, 0])
        side = math.isqrt(tokens.shape[1] - self.before)
        return Features(tokens[:, self.before :].transpose(1, 2).unflatten(2, (side, side)))


@torch.no_grad()
def widths_of(backbone: Backbone, pictures: Tensor) -> tuple[int, ...]:
    """C or D after each stage, as pictures `[B, C, H, W]` show them."""
    at, widths = Features(pictures), []
    for stage in backbone.stages:
        at = stage(at)
        widths.append(at.values.shape[1 if at.values.ndim == 4 else -1])
    return tuple(widths)
