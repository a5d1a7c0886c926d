"""The whole network: outputs, boundary, saving, export."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from polytask.backbones import PerceptronBackbone, RecurrentBackbone, ResidualBackbone
from polytask.backbones.convolutional import WhiteningStem
from polytask.encoders import LogMelEncoder, PixelEncoder, StackedEncoder, VectorEncoder
from polytask.errors import ConfigError
from polytask.model import Boundary, MultiTaskModel
from polytask.sharing import HardSharing
from polytask.tasks import Multiclass
from polytask.types import ByName, Features
from tests.networks import TASKS, TRUNKS, batch, network

NAMES = [task.name for task in TASKS]


def two_senses() -> MultiTaskModel:
    """Pictures through a convolutional encoder, sound through a recurrent one, a trunk above."""
    torch.manual_seed(0)
    pixels = PixelEncoder(3, [0.5] * 3, [0.25] * 3)
    encoders = {
        "picture": StackedEncoder(pixels, ResidualBackbone(3, widths=(8, 8)), pool="max", width=9),
        "sound": StackedEncoder(
            LogMelEncoder(8000, mels=8), RecurrentBackbone(8, width=5), pool="mean", width=9
        ),
    }
    tasks = [
        Multiclass(name="object", input="picture", target={}, classes=("a", "b", "c")),
        Multiclass(name="digit", input="sound", target={}, classes=("0", "1")),
        Multiclass(name="speaker", input="sound", target={}, classes=("u", "v", "w", "x")),
    ]
    trunk = HardSharing(lambda: PerceptronBackbone(9, widths=(9,)), [t.name for t in tasks])
    return MultiTaskModel(encoders, trunk, tasks)


def senses(rows: int = 3) -> dict[str, Features]:
    random = torch.Generator().manual_seed(0)
    lengths = torch.tensor([900, 400, 1])[:rows, None]
    return {
        "picture": Features(
            torch.randint(0, 256, (rows, 3, 16, 16), generator=random, dtype=torch.uint8)
        ),
        "sound": Features(
            0.1 * torch.randn(rows, 900, generator=random), torch.arange(900) < lengths
        ),
    }


def test_outputs_of_the_tasks_whose_input_is_there() -> None:
    model, examples = network(), batch()
    outputs = model(examples.inputs, NAMES)
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {
        "type": (8, 3),
        "values": (8, 2),
        "training": (8, 1),
        "tags": (8, 2),
    }
    sound = {"sound": examples.inputs["sound"]}
    assert list(model(sound, NAMES)) == ["training", "tags"]
    assert list(model(examples.inputs, ["values"])) == ["values"]
    assert torch.equal(model(sound, ["tags"])["tags"], outputs["tags"])


def test_a_network_that_sees_and_hears() -> None:
    model = two_senses()
    model.fit_to(senses())
    outputs = model(senses(), ["object", "digit", "speaker"])
    assert [tuple(o.shape) for o in outputs.values()] == [(3, 3), (3, 2), (3, 4)]
    sum(o.sum() for o in outputs.values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_outside_training_mirror_images_have_their_say() -> None:
    plain, mirrored = two_senses().eval(), two_senses().eval()
    front = mirrored.encoders["picture"].front
    assert isinstance(front, PixelEncoder)
    front.mirror = True
    pictures = torch.randint(0, 256, (4, 3, 16, 16)).to(torch.uint8)

    def seen(model: MultiTaskModel, pixels: Tensor) -> Tensor:
        return model({"picture": Features(pixels)}, ["object"])["object"]

    mean = (seen(plain, pictures) + seen(plain, pictures.flip(-1))) / 2
    torch.testing.assert_close(seen(mirrored, pictures), mean)
    torch.testing.assert_close(seen(mirrored, pictures), seen(mirrored, pictures.flip(-1)))
    assert not torch.allclose(seen(plain, pictures), mean)
    as_they_are, noted = Boundary(), Boundary()
    plain({"picture": Features(pictures)}, ["object"], as_they_are)
    mirrored({"picture": Features(pictures)}, ["object"], noted)
    assert torch.equal(noted.features["object"], as_they_are.features["object"])
    training = seen(mirrored.train(), pictures)
    assert torch.equal(training, seen(plain.train(), pictures))


def test_fitting_to_data_reaches_the_stem_and_leaves_the_mode() -> None:
    model = two_senses()
    (stem,) = (m for m in model.modules() if isinstance(m, WhiteningStem))
    before, norms = stem.weight.clone(), copy.deepcopy(model.state_dict())
    model.fit_to(senses())
    assert not torch.equal(before, stem.weight) and model.training
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, norms[k])}
    assert changed == {"encoders.picture.body.stages.0.module.weight"}


@pytest.mark.parametrize("trunk", TRUNKS)
def test_boundary_separates_the_tasks_gradients(trunk: str) -> None:
    model, examples = network(trunk=trunk), batch(missing=0.0)
    boundary = Boundary()
    outputs = model(examples.inputs, NAMES, boundary)
    plain = model(examples.inputs, NAMES)
    assert list(boundary.aliases) == NAMES
    assert len({id(alias) for alias in boundary.aliases.values()}) == len(NAMES)
    losses = {
        t.name: t.loss(outputs[t.name], examples.targets[t.name].nan_to_num()).sum() for t in TASKS
    }
    for name, loss in losses.items():
        assert torch.equal(outputs[name], plain[name])
        found = torch.autograd.grad(
            loss, list(boundary.aliases.values()), retain_graph=True, allow_unused=True
        )
        for other, gradient in zip(boundary.aliases, found, strict=True):
            assert (gradient is not None and bool(gradient.any())) == (other == name)


def test_boundary_gradients_sum_to_the_trunks_gradient() -> None:
    model, examples = network(), batch(missing=0.0)
    boundary = Boundary()
    outputs = model(examples.inputs, NAMES, boundary)
    total = torch.stack([o.square().sum() for o in outputs.values()]).sum()
    shared = list(model.shared_parameters())
    expected = torch.autograd.grad(total, shared, retain_graph=True)
    aliases = list(boundary.aliases.values())
    at_boundary = torch.autograd.grad(total, aliases, retain_graph=True)
    through = torch.autograd.grad(aliases, shared, at_boundary)
    for ours, theirs in zip(through, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_weights_travel_as_safetensors(tmp_path: Path) -> None:
    model = two_senses()
    model.fit_to(senses())
    model(senses(), ["object", "digit"])  # moves the running statistics
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "m")
    other = two_senses()
    other.load_state_dict(load_file(tmp_path / "m"))
    names = ["object", "digit", "speaker"]
    ours, theirs = model.eval()(senses(), names), other.eval()(senses(), names)
    assert all(torch.equal(ours[name], theirs[name]) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "type",
        "stored_as",
        "_modules",
        "values",
        "training",
        "forward",
        "keys",
        "a b",
        "zahl_ä",
    ],
)
def test_any_name_without_a_dot_will_do(name: str) -> None:
    holder = ByName({name: nn.Linear(2, 1), "other": nn.Linear(2, 1)})
    assert name in holder and list(holder) == [name, "other"]
    assert any(key.startswith(name) for key in holder.state_dict())
    assert holder[name].out_features == 1 and holder[name] is not holder["other"]
    again = copy.deepcopy(holder)
    again.load_state_dict(holder.state_dict())
    assert len(list(again.parameters())) == 4
    assert holder.training is True and not holder.eval().training


def test_widths_that_do_not_meet_are_an_error() -> None:
    encoders = {name: VectorEncoder(size) for name, size in (("picture", 5), ("sound", 3))}
    trunk = HardSharing(lambda: PerceptronBackbone(5), NAMES)
    with pytest.raises(ConfigError, match=r"inputs\.picture: 5, inputs\.sound: 3.*'width:'"):
        MultiTaskModel(encoders, trunk, TASKS)


def test_names_that_differ_by_an_underscore_stay_apart() -> None:
    holder = ByName({name: nn.Linear(1, i + 1) for i, name in enumerate(("type", "type_", "a_"))})
    assert [holder[name].out_features for name in holder] == [1, 2, 3]
    assert "a_.weight" in holder.state_dict()


class Exported(nn.Module):
    """What `torch.export` takes: tensors in, tensors out, the tasks fixed."""

    def __init__(self, model: MultiTaskModel, tasks: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.tasks = tuple(tasks)

    def forward(
        self, values: dict[str, Tensor], masks: dict[str, Tensor | None]
    ) -> dict[str, Tensor]:
        inputs = {name: Features(values[name], masks[name]) for name in values}
        return self.model(inputs, self.tasks)  # type: ignore[no-any-return]


def test_the_forward_pass_can_be_exported_with_any_number_of_rows() -> None:
    model = two_senses().eval()
    names = ["object", "digit", "speaker"]
    rows = torch.export.Dim("rows", min=1, max=64)
    inputs = senses()
    values = {name: f.values for name, f in inputs.items()}
    masks = {name: f.mask for name, f in inputs.items()}
    program = torch.export.export(
        Exported(model, names),
        (values, masks),
        dynamic_shapes=(
            {"picture": {0: rows}, "sound": {0: rows}},
            {"picture": None, "sound": {0: rows}},
        ),
    )
    fewer = senses(2)
    ours = model(fewer, names)
    theirs = program.module()(
        {name: f.values for name, f in fewer.items()}, {name: f.mask for name, f in fewer.items()}
    )
    for name in names:
        torch.testing.assert_close(theirs[name], ours[name])


def test_awkward_names_can_be_exported() -> None:
    model, examples = network().eval(), batch()
    values = {name: f.values for name, f in examples.inputs.items()}
    masks = dict.fromkeys(values)
    program = torch.export.export(Exported(model, NAMES), (values, masks))
    outputs = program.module()(values, masks)
    for name, output in model(examples.inputs, NAMES).items():
        torch.testing.assert_close(outputs[name], output)
