"""Encoders that others trained, read from a folder of the `transformers` library.

Shapes: B examples, L frames or tokens, D features, W width of the pretrained network.
"""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.backbones.base import Backbone
from polytask.errors import ConfigError, require
from polytask.types import Features

# What a layer or a model raises that is called in another way than here.
_REFUSALS = (TypeError, ValueError, AttributeError, IndexError, RuntimeError, KeyError)


class PretrainedBackbone(Backbone):
    """A pretrained encoder over sequences: a stage that adds positions, then its layers.

    The sequence is already embedded, so the network's own words or convolutions are left out. Fits
    networks with layers in `model.encoder.layer` or `.layers` and either embeddings that take
    `inputs_embeds` (BERT, RoBERTa) or convolutions for positions (wav2vec 2.0, HuBERT). Whether the
    stages give what the network itself gives is tried when it is loaded. To keep it as it is, name
    it in `training.freeze`, as `trunk.backbone`.

    Args:
        in_features: D of the frames. Where it isn't W, a learned linear layer stands in front.
        path: A folder with config.json and weights as safetensors. A run needs it as long as the
            run is used.
    """

    def __init__(self, in_features: int, *, path: Path) -> None:
        super().__init__()
        model = load(path)
        width = model.config.hidden_size
        layers = [Layer(layer) for layer in layers_of(model, path)]
        positions = positions_of(model, path)
        after = getattr(model.encoder, "layer_norm", None)
        if after is not None and getattr(model.config, "do_stable_layer_norm", False):
            layers[-1].after = after
        require_equal(model, positions, layers, path)
        # Nobody asks for words here, and parameters without gradients stop parallel training.
        if hasattr(positions, "embeddings") and hasattr(positions.embeddings, "word_embeddings"):
            del positions.embeddings.word_embeddings
        project = nn.Identity() if in_features == width else nn.Linear(in_features, width)
        self.in_features = in_features
        self.stages = nn.ModuleList([Entry(project, positions), *layers]).train()
        self.widths = (width,) * len(self.stages)


class Embedded(nn.Module):
    """Positions as BERT's embeddings add them.

    Args:
        embeddings: A module that takes `inputs_embeds`.
    """

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, L, W]` to the same."""
        table = getattr(self.embeddings, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            # With a place for padding, positions are counted from the one after it.
            before = 0 if table.padding_idx is None else table.padding_idx + 1
            most = table.num_embeddings - before
            if tokens.shape[1] > most:
                raise ConfigError(
                    f"The pretrained network knows {most} places. Found a sequence of "
                    f"{tokens.shape[1]}. Shorten the input, such as with a recurrent body's stride."
                )
        found: Tensor = self.embeddings(inputs_embeds=tokens)
        return found


class Convolved(nn.Module):
    """Positions as the convolution of wav2vec 2.0 adds them.

    Args:
        encoder: The network's encoder.
        normalize: Whether tokens are normalised here, and not after the last layer.
    """

    def __init__(self, encoder: Any, *, normalize: bool) -> None:
        super().__init__()
        self.convolve, self.dropout = encoder.pos_conv_embed, encoder.dropout
        self.normalize = encoder.layer_norm if normalize else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, L, W]` to the same."""
        found: Tensor = self.dropout(self.normalize(tokens + self.convolve(tokens)))
        return found


class Entry(nn.Module):
    """Frames as tokens with positions; padding becomes zeros first.

    Args:
        project: From D to W.
        positions: Adds positions.
    """

    def __init__(self, project: nn.Module, positions: nn.Module) -> None:
        super().__init__()
        self.project, self.positions = project, positions

    def forward(self, features: Features) -> Features:
        """`[B, L, D]` with its mask to `[B, L, W]`."""
        values, mask = features
        if values.ndim != 3:
            raise ConfigError(
                "A pretrained encoder reads sequences. Found features "
                f"of shape {tuple(values.shape)}. Give the trunk another backbone."
            )
        # Before the projection for what padding may hold, after it for the projection's bias.
        if mask is not None:
            values = values.masked_fill(~mask.unsqueeze(2), 0.0)
        tokens = self.project(values)
        if mask is not None:
            tokens = tokens.masked_fill(~mask.unsqueeze(2), 0.0)
        return Features(self.positions(tokens), mask)


class Layer(nn.Module):
    """A layer of the pretrained encoder.

    Args:
        layer: From tokens and an attention mask to tokens.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.after: nn.Module = nn.Identity()

    def forward(self, features: Features) -> Features:
        """`[B, L, W]` with its mask to the same."""
        tokens, mask = features
        visible = None
        if mask is not None:
            # An example without content attends to everything: of nothing there is no mean.
            visible = (mask | ~mask.any(1, keepdim=True))[:, None, None]
            visible = visible.expand(-1, -1, tokens.shape[1], -1)
        found = self.layer(tokens, attention_mask=visible)
        return Features(self.after(found[0] if isinstance(found, tuple) else found), mask)


def load(
    path: Path,
    *,
    needed: tuple[str, ...] = ("encoder.", "embeddings."),
    attention: str | None = "sdpa",
) -> Any:
    """The network of a folder; only safetensors, which cannot run code.

    Args:
        path: The folder.
        needed: Beginnings of the names of weights that it has to have.
        attention: How attention is computed; None leaves it to a network that may have none.

    Raises:
        ConfigError: If the folder is not one of a network, or weights are missing.
        MissingDependency: If transformers is not installed.
    """
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"`path` should be a folder with config.json and safetensors. Found none in '{path}'. "
            "Save a network there with its save_pretrained()."
        )
    if not list(path.glob("*.safetensors")):
        found = sorted(p.name for p in path.iterdir())
        raise ConfigError(
            f"'{path}' has no *.safetensors: {', '.join(found)}. Pickled weights (.bin, .pt) can "
            "run code and are not read. Save the network anew with save_pretrained()."
        )
    transformers = require("transformers", "pretrained")
    try:
        model, said = transformers.AutoModel.from_pretrained(
            path.absolute(),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, *_REFUSALS) as error:
        raise ConfigError(f"transformers can't load '{path}': {error}") from error
    lacking = [k for k in sorted(said["missing_keys"]) if k.startswith(needed) and "word" not in k]
    if lacking:
        raise ConfigError(
            f"The weights in '{path}' lack {', '.join(lacking[:5])} ({len(lacking)} in all). "
            "They are of another network than config.json says."
        )
    return model.eval()


def layers_of(model: Any, path: Path) -> list[nn.Module]:
    """The layers of a network's encoder.

    Raises:
        ConfigError: If it has none where they are looked for.
    """
    encoder = getattr(model, "encoder", None)
    for name in ("layer", "layers"):
        layers = getattr(encoder, name, None)
        if isinstance(layers, nn.ModuleList) and len(layers):
            return list(layers)
    raise unfit(model, path, "it has no layers in model.encoder.layer or model.encoder.layers")


def positions_of(model: Any, path: Path) -> nn.Module:
    """What gives a network's tokens their positions.

    Raises:
        ConfigError: If nothing is found that takes embedded tokens.
    """
    embeddings = getattr(model, "embeddings", None)
    if embeddings is not None:
        if "inputs_embeds" in inspect.signature(embeddings.forward).parameters:
            return Embedded(embeddings)
    elif all(hasattr(model.encoder, part) for part in ("pos_conv_embed", "layer_norm", "dropout")):
        stable = getattr(model.config, "do_stable_layer_norm", False)
        return Convolved(model.encoder, normalize=not stable)
    raise unfit(model, path, "its embeddings don't take sequences of features (inputs_embeds)")


def unfit(model: Any, path: Path, reason: str) -> ConfigError:
    """The error about a network of another build."""
    return ConfigError(
        f"The network in '{path}' ({type(model).__name__}) can't be a backbone: {reason}. "
        "Use one like BERT, RoBERTa, wav2vec 2.0 or HuBERT; for networks of pictures there is "
        "'kind: pretrained-pictures'."
    )


@torch.no_grad()
def require_equal(model: Any, positions: nn.Module, layers: list[Layer], path: Path) -> None:
    """Raise unless the stages give what the network itself gives, on three tokens (one pads).

    Raises:
        ConfigError: If they do not, or the layers cannot be called so.
    """
    made = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 3, model.config.hidden_size, generator=made)
    mask = torch.tensor([[True, True, False]])
    tokens[:, 2] = 0.0
    try:
        if isinstance(positions, Embedded):
            expected = model(inputs_embeds=tokens, attention_mask=mask.long())[0]
        else:
            expected = model.encoder(tokens.clone(), attention_mask=mask)[0]
        found = Features(positions(tokens), mask)
        for layer in layers:
            found = layer(found)
        torch.testing.assert_close(found.values[mask], expected[mask], rtol=1e-3, atol=1e-4)
    except (AssertionError, *_REFUSALS) as error:
        reason = f"its layers, run one by one, don't give what it gives itself ({error})"
        raise unfit(model, path, reason) from error
