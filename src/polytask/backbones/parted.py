"""Networks for pictures of other libraries, taken apart.

Shapes: B examples, C channels, H x W pixels, P patches, N tokens (P and those in front of them),
W width of the network.
"""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.backbones.base import entering
from polytask.backbones.pretrained import load
from polytask.errors import ConfigError, nearest, require

# The side of a picture that shows what a convolutional network gives.
SIZE = 64
# What a Vision Transformer of timm does before its layers.
_ENTRY = ("patch_embed", "pos_drop", "patch_drop", "norm_pre")
_NEEDED = ("encoder.", "embeddings.", "embedder.", "layers.", "layernorm.")
_KNOWN = "Use one like ResNet, ConvNeXt, ViT, DeiT or DINOv2."


@dataclass(frozen=True)
class Parted:
    """A network for pictures in parts.

    Attributes:
        called: What the network is, for messages.
        entry: From pictures to what the first stage takes.
        stages: From tensor to tensor, in order.
        after: Applied to what the last stage gives.
        picture: A picture of noise, `[1, C, H, W]`.
        expected: What the network itself gives for it.
        tokens: Whether stages work on tokens `[B, N, W]`, else on maps.
        before: How many tokens stand in front of those of patches.
    """

    called: str
    entry: nn.Module
    stages: list[nn.Module]
    after: nn.Module
    picture: Tensor
    expected: Tensor
    tokens: bool
    before: int = 0

    @torch.no_grad()
    def require_whole(self) -> None:
        """Raise unless the parts together give what the network itself gives.

        Raises:
            ConfigError: If they do not, or cannot be called one by one.
        """
        try:
            values = self.entry(self.picture)
            for stage in self.stages:
                values = stage(values)
            torch.testing.assert_close(self.after(values), self.expected, rtol=1e-3, atol=1e-4)
        except (AssertionError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ConfigError(
                f"{self.called} can't be a backbone for pictures: its parts, run one by one, don't "
                f"give what it gives itself ({error}). {_KNOWN}"
            ) from error


class Stretched(nn.Module):
    """Embeddings of `transformers` that stretch their positions to the picture's size.

    Args:
        embeddings: A module that takes `interpolate_pos_encoding`.
    """

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, pictures: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, N, W]`."""
        found: Tensor = self.embeddings(pictures, interpolate_pos_encoding=True)
        return found


class TimmEntry(nn.Module):
    """What a Vision Transformer of timm does before its layers.

    Args:
        model: The network; what comes after its entry is taken out of it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name, _ in list(model.named_children()):
            if name not in _ENTRY:
                setattr(model, name, nn.Identity())
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, N, W]`."""
        found: Tensor = self.model.forward_features(pictures)
        return found


def parted(path: Path | None, name: str | None) -> Parted:
    """A network in parts, of which is known that together they give what it gives.

    Args:
        path: A folder of `transformers` or timm.
        name: A name of timm's, where there is no folder.

    Raises:
        ConfigError: If there is none, or it can't be taken apart.
        MissingDependency: If the library that it is of is not installed.
    """
    said: dict[str, Any] = {}
    if path is not None and (path / "config.json").is_file():
        said = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if path is not None and "architecture" not in said:
        parts = of_transformers(load(path, needed=_NEEDED, attention=None), path)
    else:
        parts = of_timm(path, str(said["architecture"]) if name is None else name, said)
    parts.require_whole()
    return parts


def noise(channels: int, size: int) -> Tensor:
    """A picture."""
    return torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def of_transformers(model: Any, path: Path) -> Parted:
    """A network of `transformers`.

    Raises:
        ConfigError: If it is not built like one that is known here.
    """
    called = f"The network in '{path}' ({type(model).__name__})"
    encoder = getattr(model, "encoder", None)
    entry = getattr(model, "embeddings", getattr(model, "embedder", None))
    channels = getattr(model.config, "num_channels", 3)
    if entry is not None and isinstance(getattr(encoder, "stages", None), nn.ModuleList):
        picture = noise(channels, SIZE)
        expected = model(picture).last_hidden_state
        stages = list(getattr(encoder, "stages", ()))
        return Parted(called, entry, stages, nn.Identity(), picture, expected, tokens=False)
    places = [(model, "layers"), (encoder, "layer"), (encoder, "layers")]
    layers = next(
        (
            some
            for owner, name in places
            if isinstance(some := getattr(owner, name, None), nn.ModuleList)
        ),
        None,
    )
    patches = getattr(getattr(entry, "patch_embeddings", None), "num_patches", None)
    if entry is None or layers is None or patches is None or not hasattr(model, "layernorm"):
        raise ConfigError(
            f"{called} can't be a backbone for pictures: it has neither stages of maps nor layers "
            f"over patches where they are looked for. {_KNOWN}"
        )
    size = model.config.image_size
    picture = noise(channels, size if isinstance(size, int) else size[0])
    expected = model(picture).last_hidden_state
    if "interpolate_pos_encoding" in inspect.signature(entry.forward).parameters:
        entry = Stretched(entry)
    return Parted(
        called,
        entry,
        list(layers),
        model.layernorm,
        picture,
        expected,
        tokens=True,
        before=expected.shape[1] - patches,
    )


@torch.no_grad()
def of_timm(path: Path | None, name: str, said: dict[str, Any]) -> Parted:
    """A network of `timm`, with its published weights or those of a folder.

    Raises:
        ConfigError: If timm has no such network, its weights don't fit, or it can't be parted.
        MissingDependency: If timm is not installed.
    """
    timm = require("timm", "timm")
    if not timm.is_model(name):
        raise ConfigError(f"timm has no network '{name}'. {nearest(name, timm.list_models())}")
    called = f"timm's '{name}'" + ("" if path is None else f" in '{path}'")
    model = made_by_timm(timm, path, name, said).eval()
    channels = entering(model) or 3
    if hasattr(model, "blocks") and hasattr(model, "_pos_embed"):
        picture = noise(channels, model.patch_embed.img_size[0])
        expected = model.forward_features(picture)
        before, blocks, norm = model.num_prefix_tokens, list(model.blocks), model.norm
        return Parted(
            called, TimmEntry(model), blocks, norm, picture, expected, tokens=True, before=before
        )
    info = getattr(model, "feature_info", None)
    if not info or not hasattr(model, "forward_intermediates"):
        raise ConfigError(
            f"{called} can't be a backbone for pictures: it does not say where its stages end "
            f"(feature_info). {_KNOWN}"
        )
    picture = noise(channels, SIZE)
    nested = any("." in stage["module"] for stage in info)
    try:
        expected = model.forward_intermediates(picture, intermediates_only=True)[-1]
        network = timm.models.FeatureListNet(
            model, out_indices=tuple(range(len(info))), flatten_sequential=nested
        )
    except AssertionError as error:
        raise ConfigError(
            f"{called} can't be a backbone for pictures: {error}. {_KNOWN}"
        ) from error
    groups: list[nn.Module] = []
    some: list[nn.Module] = []
    for key, module in network.items():
        some.append(module)
        if key in network.return_layers:
            groups.append(nn.Sequential(*some))
            some = []
    return Parted(called, groups[0], groups[1:], nn.Identity(), picture, expected, tokens=False)


def made_by_timm(timm: Any, path: Path | None, name: str, said: dict[str, Any]) -> Any:
    """The whole network, with its weights.

    Positions of Vision Transformers are made to stretch to the picture's size.

    Raises:
        ConfigError: If a folder's weights are not there, or not those of this network.
    """
    settings = {k: said[k] for k in ("num_classes", "global_pool") if k in said}
    settings |= said.get("model_args") or {}
    for flexible in ({"dynamic_img_size": True}, {}):
        try:
            model = timm.create_model(name, pretrained=path is None, **settings, **flexible)
        except TypeError as error:
            if not flexible or "dynamic_img_size" not in str(error):
                raise ConfigError(f"timm can't make '{name}': {error}") from error
            continue
        break
    if path is None:
        return model
    from safetensors.torch import load_file

    file = path / "model.safetensors"
    if not file.is_file():
        raise ConfigError(
            f"'{path}' has no model.safetensors. Pickled weights (.bin, .pt) can run code and are "
            "not read. Save the network anew: timm.models.save_for_hf(model, folder, "
            "safe_serialization=True)."
        )
    try:
        model.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise ConfigError(f"The weights in '{file}' are not those of '{name}': {error}") from error
    return model
