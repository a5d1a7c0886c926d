"""Pretrained networks for pictures, against the networks' own forward passes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from polytask.backbones import PretrainedPictures
from polytask.config.catalogue import BODIES
from polytask.errors import ConfigError, MissingDependency
from polytask.sharing import CrossStitch, HardSharing, LoRA
from polytask.training.freezing import Freezing
from polytask.training.optim import SGD
from polytask.types import Features
from polytask.workflow import evaluate_run
from tests.backbones.saving import saved
from tests.report.conftest import made

transformers = pytest.importorskip("transformers")
PATCHES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "mlp_ratio": 2,
    "image_size": 16,
    "patch_size": 4,
}
STAGES: dict[str, Any] = {"hidden_sizes": [4, 6], "depths": [1, 1]}
RESNET: dict[str, Any] = {**STAGES, "embedding_size": 4, "layer_type": "basic"}
MADE = {
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**PATCHES)),
    "deit": lambda: transformers.DeiTModel(transformers.DeiTConfig(**PATCHES)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**PATCHES)),
    "classifier": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**PATCHES)),
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(**STAGES, num_stages=2)
    ),
    "resnet": lambda: transformers.ResNetModel(transformers.ResNetConfig(**RESNET)),
}
BEFORE = {"vit": 1, "deit": 2, "dinov2": 1, "classifier": 1}


def stored(kind: str, folder: Path) -> Any:
    torch.manual_seed(0)
    model = saved(MADE[kind](), folder)
    return getattr(model, "vit", model)


@pytest.mark.parametrize("kind", MADE)
def test_stages_give_what_the_network_gives(kind: str, tmp_path: Path) -> None:
    model = stored(kind, tmp_path)
    backbone = PretrainedPictures(3, path=tmp_path)
    assert backbone.training and all(stage.training for stage in backbone.stages)
    pictures = torch.randn(2, 3, 16, 16)
    found = backbone.eval()(Features(pictures)).values
    expected = model(pictures)[0]
    if kind in BEFORE:
        assert backbone.widths == (8,) * 4
        expected = expected[:, BEFORE[kind] :].transpose(1, 2).reshape(2, 8, 4, 4)
        first = PretrainedPictures(3, path=tmp_path, tokens="class").eval()
        torch.testing.assert_close(first(Features(pictures)).values, model(pictures)[0][:, 0])
        assert first.out_features == 8
    else:
        assert backbone.widths == (4, 4, 6)
    torch.testing.assert_close(found, expected)
    assert backbone.in_features == 3


@pytest.mark.parametrize("kind", ["vit", "dinov2", "convnext"])
def test_other_sizes_and_channels_are_taken_and_every_parameter_learns(
    kind: str, tmp_path: Path
) -> None:
    stored(kind, tmp_path)
    backbone = PretrainedPictures(1, path=tmp_path)
    given = backbone(Features(torch.randn(2, 1, 32, 32))).values
    assert given.ndim == 4 and given.shape[:2] == (2, backbone.out_features)
    assert kind == "convnext" or given.shape[2:] == (8, 8)
    given.square().sum().backward()
    idle = {name for name, p in backbone.named_parameters() if p.grad is None}
    assert all(name.endswith("mask_token") for name in idle)


def test_a_network_can_be_shared_adapted_and_unfrozen_stage_by_stage(tmp_path: Path) -> None:
    stored("vit", tmp_path)

    def make() -> PretrainedPictures:
        return PretrainedPictures(3, path=tmp_path)

    pictures = Features(torch.randn(2, 3, 16, 16))
    for trunk in (CrossStitch(make, ["a", "b"]), LoRA(make, ["a", "b"], rank=2, freeze=True)):
        given = trunk(pictures, ["a", "b"])
        assert given["b"].values.shape == (2, 8, 4, 4)
    model = HardSharing(make, ["a", "b"])
    freezing = Freezing(
        model, unfreeze={"backbone": 3, "backbone.stages.3": 0, "backbone.stages.2": 1}
    )
    learning = []
    for epoch in range(4):
        model.train()
        freezing.apply(epoch)
        names = [name for name, p in model.named_parameters() if p.requires_grad]
        learning.append({int(name.split(".")[2]) for name in names})
    assert learning == [{3}, {2, 3}, {2, 3}, {0, 1, 2, 3}]
    groups = SGD(lr=1.0, layer_decay=0.5).groups(model, [])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.5 ** (3 - int(name.split(".")[2])))


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"One of `path` .* Found neither"):
        PretrainedPictures(3)
    with pytest.raises(ConfigError, match=r"config\.json and safetensors"):
        PretrainedPictures(3, path=tmp_path)
    stored("vit", tmp_path / "vit")
    backbone = PretrainedPictures(3, path=tmp_path / "vit")
    with pytest.raises(ConfigError, match=r"square pictures\. Found pictures of 16x32"):
        backbone(Features(torch.randn(1, 3, 16, 32)))
    with pytest.raises(ConfigError, match="reads maps"):
        backbone(Features(torch.randn(1, 3)))
    stored("resnet", tmp_path / "resnet")
    with pytest.raises(ConfigError, match="no class token"):
        PretrainedPictures(3, path=tmp_path / "resnet", tokens="class")
    text = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    transformers.BertModel(text).save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"BertModel\) can't be a backbone for pictures"):
        PretrainedPictures(3, path=tmp_path / "bert")
    swin = transformers.SwinConfig(
        embed_dim=4, depths=[1], num_heads=[1], image_size=8, patch_size=2, window_size=2
    )
    transformers.SwinModel(swin).save_pretrained(tmp_path / "swin")
    with pytest.raises(ConfigError, match=r"SwinModel\) can't be a backbone for pictures"):
        PretrainedPictures(3, path=tmp_path / "swin")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingDependency, match=r"polytask\[timm\]"):
            PretrainedPictures(3, name="resnet18")


def test_maps_can_have_it_by_name() -> None:
    assert "pretrained-pictures" in BODIES["map"]
    assert "pretrained-pictures" not in BODIES["sequence"]


TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": ("resnet10t", {}),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 8)}),
    "vit": (
        "vit_tiny_patch16_224",
        {"img_size": 16, "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2},
    ),
}


def saved_by_timm(kind: str, folder: Path) -> Any:
    """A network as timm's `save_for_hf` writes it."""
    timm = pytest.importorskip("timm", reason="timm is an extra of its own")
    name, settings = TIMM[kind]
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=3, **settings).eval()
    timm.models.save_for_hf(model, folder, model_args=settings, safe_serialization=True)
    return model


@pytest.mark.parametrize("kind", TIMM)
def test_stages_give_what_a_network_of_timm_gives(kind: str, tmp_path: Path) -> None:
    model = saved_by_timm(kind, tmp_path)
    backbone = PretrainedPictures(3, path=tmp_path).eval()
    pictures = torch.randn(2, 3, 16 if kind == "vit" else 64, 16 if kind == "vit" else 64)
    expected = model.forward_features(pictures)
    if kind == "vit":
        expected = expected[:, 1:].transpose(1, 2).reshape(2, 8, 4, 4)
        assert backbone(Features(torch.randn(2, 3, 32, 32))).values.shape == (2, 8, 8, 8)
    torch.testing.assert_close(backbone(Features(pictures)).values, expected)
    assert len(backbone.stages) >= 3 and backbone.out_features == expected.shape[1]


def test_weights_of_timm_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    saved_by_timm("vit", tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | {"architecture": "resnet10t"}))
    with pytest.raises(ConfigError, match=r"timm can.t make|not those of .resnet10t"):
        PretrainedPictures(3, path=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(said | {"architecture": "resnet10"}))
    with pytest.raises(ConfigError, match=r"no network .resnet10.\. Did you"):
        PretrainedPictures(3, path=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(said))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"no model\.safetensors. Pickled"):
        PretrainedPictures(3, path=tmp_path)


def test_a_run_learns_over_the_last_stages_of_a_pretrained_network(tmp_path: Path) -> None:
    stored("vit", tmp_path / "vit")
    backbone = f"trunk.backbone={{kind: pretrained-pictures, path: {tmp_path / 'vit'}}}"
    unfreeze = "{trunk.backbone: 9, trunk.backbone.stages.2: 0, trunk.backbone.stages.3: 0}"
    settings = ["sources.shapes.count=60", "optimizer.layer_decay=0.5", "training.epochs=1"]
    run = made(tmp_path, backbone, f"training.unfreeze={unfreeze}", *settings)
    weights = run.weights()
    before = PretrainedPictures(3, path=tmp_path / "vit").state_dict()
    moved = {
        int(name.split(".")[1])
        for name, value in before.items()
        if not torch.equal(weights[f"trunk.backbone.{name}"], value)
    }
    assert moved == {2, 3}
    assert evaluate_run(run, "test")["color"]["count"]
