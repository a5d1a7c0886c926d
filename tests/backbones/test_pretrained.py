"""Pretrained encoders, against the networks' own forward passes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.backbones import PretrainedBackbone
from polytask.config.catalogue import BODIES
from polytask.errors import ConfigError, MissingDependency
from polytask.training.freezing import Freezing
from polytask.types import Features
from tests.backbones.saving import saved

transformers = pytest.importorskip("transformers")
SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
TEXT: dict[str, Any] = {**SMALL, "vocab_size": 11, "max_position_embeddings": 12}
SOUND: dict[str, Any] = {
    **SMALL,
    "conv_dim": (4,),
    "conv_stride": (2,),
    "conv_kernel": (3,),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
MADE = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**TEXT)),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**TEXT)),
    "wav2vec2": lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SOUND)),
    "stable": lambda: transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(**SOUND, do_stable_layer_norm=True)
    ),
}
MASK = torch.arange(5) < torch.tensor([[5], [2]])


def stored(kind: str, folder: Path) -> Any:
    torch.manual_seed(0)
    return saved(MADE[kind](), folder)


@pytest.mark.parametrize("kind", MADE)
def test_stages_give_what_the_network_gives(kind: str, tmp_path: Path) -> None:
    model = stored(kind, tmp_path)
    backbone = PretrainedBackbone(8, path=tmp_path).eval()
    assert len(backbone.stages) == 3 and backbone.widths == (8, 8, 8)
    values = torch.randn(2, 5, 8).masked_fill(~MASK.unsqueeze(2), 0.0)

    def theirs(mask: Tensor | None) -> Tensor:
        if "bert" in kind:
            whole = None if mask is None else mask.long()
            out: Tensor = model(inputs_embeds=values, attention_mask=whole)[0]
        else:
            out = model.encoder(values.clone(), attention_mask=mask)[0]
        return out

    with torch.no_grad():
        found = backbone(Features(values, MASK)).values
        torch.testing.assert_close(found[MASK], theirs(MASK)[MASK])
        torch.testing.assert_close(backbone(Features(values)).values, theirs(None))
        alone = backbone(Features(values[1:, :2])).values
        noise = values.masked_fill(~MASK.unsqueeze(2), float("nan"))
        padded = backbone(Features(noise, MASK)).values
    torch.testing.assert_close(padded[MASK], found[MASK])
    torch.testing.assert_close(alone[0], found[1, :2])


def test_another_width_is_projected_and_every_parameter_learns(tmp_path: Path) -> None:
    stored("bert", tmp_path)
    backbone = PretrainedBackbone(3, path=tmp_path)
    mask = torch.tensor([[True, True], [False, False]])
    out = backbone(Features(torch.randn(2, 2, 3), mask)).values
    assert out.shape == (2, 2, 8) and out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
    assert not any("word" in name for name, _ in backbone.named_parameters())


def test_a_frozen_part_is_as_in_evaluation(tmp_path: Path) -> None:
    stored("bert", tmp_path)
    backbone = PretrainedBackbone(3, path=tmp_path)
    Freezing(backbone, ("stages.1", "stages.2")).apply(0)
    learns = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert learns == {"0"} and not backbone.stages[1].training


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"config\.json and safetensors"):
        PretrainedBackbone(8, path=tmp_path)
    stored("bert", tmp_path)
    backbone = PretrainedBackbone(8, path=tmp_path)
    with pytest.raises(ConfigError, match=r"knows 12 places\. Found a sequence of 13"):
        backbone(Features(torch.randn(1, 13, 8)))
    with pytest.raises(ConfigError, match="reads sequences"):
        backbone(Features(torch.randn(1, 8)))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="Pickled weights"):
        PretrainedBackbone(8, path=tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingDependency, match=r"polytask\[pretrained\]"):
            PretrainedBackbone(8, path=tmp_path)
    vit = transformers.ViTConfig(**SMALL, image_size=8, patch_size=4)
    transformers.ViTModel(vit).save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match=r"ViTModel.*no layers in model\.encoder"):
        PretrainedBackbone(8, path=tmp_path / "vit")


def test_sequences_can_have_it_by_name() -> None:
    assert "pretrained" in BODIES["sequence"] and "pretrained" not in BODIES["vector"]
