"""From a configuration to objects."""

from pathlib import Path

import pytest
import torch

from polytask.config import (
    Config,
    build_augment,
    build_balancer,
    build_inputs,
    build_mixing,
    build_model,
    build_optimizer,
    build_schedule,
    build_settings,
    build_sources,
    build_splits,
    build_tasks,
    load_config,
)
from polytask.config.variants import varied
from polytask.data.inputs import ImageInput
from polytask.data.transforms import HorizontalFlip, RandomCrop
from polytask.errors import ConfigError
from polytask.model import MultiTaskModel
from polytask.tasks import Multiclass, Regression
from polytask.training.optim import SGD, OneCycle
from polytask.types import Features

from .conftest import FILES, Load

THREE = """\
sources:
  a: {kind: cifar10}
  b: {kind: fsdd}
  c: {kind: table, path: c.csv}
inputs:
  picture: {kind: image, columns: {a: image}, body: {kind: residual, widths: [16]}, pool: max}
  sound: {kind: sound, columns: {b: audio}, body: {kind: recurrent, width: 8}, pool: mean}
  numbers: {kind: table, columns: {c: [x, y]}, body: {kind: perceptron, widths: [16]}}
tasks:
  object: {kind: multiclass, input: picture, target: a.label}
  digit: {kind: multiclass, input: sound, target: b.digit}
  price: {kind: regression, input: numbers, target: c.price}
trunk: {kind: hard, backbone: {widths: [12]}}
"""


@pytest.fixture(scope="module")
def recipe() -> Config:
    """The recipe of pictures and speech."""
    return load_config(FILES / "cifar10-speech.yaml")


def fitted_model(config: Config) -> MultiTaskModel:
    """The model on made-up facts instead of training rows."""
    inputs = build_inputs(config)
    for given in inputs.values():
        if isinstance(given, ImageInput):
            given.load_state({"mean": [0.5] * 3, "std": [0.2] * 3})
    if "numbers" in inputs:
        number = {"kind": "number", "mean": 0.0, "std": 1.0, "blank": False}
        inputs["numbers"].load_state({"columns": [number | {"name": n} for n in "xy"]})
    facts = {Multiclass: {"classes": ["u", "v", "w"]}, Regression: {"mean": [0.0], "std": [1.0]}}
    tasks = [task.restored(facts[type(task)]) for task in build_tasks(config)]
    return build_model(config, inputs, tasks)


def test_the_parts_of_a_recipe(recipe: Config) -> None:
    assert list(build_sources(recipe)) == ["cifar10", "fsdd"]
    split = build_splits(recipe)["cifar10"]
    assert (split.test, split.validation, split.stratify) == (0.3, 0.05, "label")
    assert build_inputs(recipe)["picture"].columns == {"cifar10": "image"}
    crop, flip = build_augment(recipe)["picture"]
    assert isinstance(crop, RandomCrop) and isinstance(flip, HorizontalFlip)
    assert build_augment(recipe)["sound"] == []
    assert build_optimizer(recipe) == SGD(lr=0.4, momentum=0.9)
    assert build_schedule(recipe) == OneCycle(warmup=0.2)
    assert build_settings(recipe).epochs == 30
    assert build_balancer(recipe, 3).num_tasks == 3
    shares = build_mixing(recipe).shares({"cifar10": 50000, "fsdd": 2000}, recipe.batches.size)
    assert shares == {"cifar10": 512, "fsdd": 64}
    digit = build_tasks(recipe)[1]
    assert digit == Multiclass(
        name="digit", input="sound", target={"fsdd": "digit"}, label_smoothing=0.1
    )


@pytest.mark.parametrize("kind", ["hard", "independent"])
def test_a_model_of_three_inputs_runs(load: Load, kind: str) -> None:
    model = fitted_model(load(THREE, f"trunk.kind={kind}"))
    raw = {
        "picture": Features(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)),
        "sound": Features(torch.zeros(2, 8000, dtype=torch.int16)),
        "numbers": Features(torch.zeros(2, 2)),
    }
    outputs = model(raw, ["object", "digit", "price"])
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {
        "object": (2, 3),
        "digit": (2, 3),
        "price": (2, 1),
    }


def test_each_task_of_an_independent_trunk_has_fresh_weights(load: Load) -> None:
    trunk = fitted_model(load(THREE, "trunk.kind=independent")).trunk
    first, second, _ = (backbone.stages[0].module.linear.weight for backbone in trunk.backbones())
    assert first is not second and not torch.equal(first, second)


def test_inputs_of_different_widths_are_named(load: Load) -> None:
    config = load(THREE, "inputs.sound.body.width=10")
    with pytest.raises(ConfigError) as caught:
        fitted_model(config)
    assert str(caught.value) == (
        "Inputs that meet in one trunk need features of one width, and inputs.picture gives 16, "
        "inputs.sound gives 20, inputs.numbers gives 16. Give each of them the same 'width', such "
        "as 'width: 20'."
    )


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("trunk.backbone.widths=[-3]", "trunk.backbone"),
        ("trunk.backbone.widths=[]", "trunk.backbone"),
        ("inputs.sound.body.width=0", "inputs.sound.body"),
        ("inputs.sound.encoder.window=0.0", "inputs.sound.encoder"),
        ("inputs.sound.seconds=0.0", "inputs.sound"),
    ],
)
def test_what_a_constructor_refuses_is_found_before_data_is(
    load: Load, override: str, path: str
) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ConfigError, match=f": {path}: "):
        load(THREE, override)
    assert torch.equal(state, torch.get_rng_state())


def test_a_recipe_builds_without_data(tmp_path: Path) -> None:
    config = load_config(FILES / "own-table.yaml")
    assert [type(task).__name__ for task in build_tasks(config)] == [
        *("Multiclass", "Regression", "Binary")
    ]
    assert build_tasks(config)[1].target == {"mine": ("length", "width")}


@pytest.mark.parametrize(
    ("named", "numbered"),
    [
        ("{kind: auto-lambda, primary: [digit, object]}", (1, 0)),
        ("{kind: auto-lambda, primary: [2, digit]}", (2, 1)),
        ("{kind: auto-lambda}", (0, 1, 2)),
        ("{kind: metabalance, primary: price}", 2),
        ("{kind: metabalance, primary: 1}", 1),
        ("{kind: metabalance}", None),
    ],
)
def test_a_balancer_is_told_of_tasks_by_name(load: Load, named: str, numbered: object) -> None:
    config = load(f"{THREE}balancer: {named}\n")
    assert build_balancer(config, 3).primary == numbered
    assert varied(config, {}).balancer == config.balancer


def test_forms_of_uncertainty_by_name(load: Load) -> None:
    config = load(f"{THREE}balancer: {{kind: uw, classification: [object, digit]}}\n")
    assert build_balancer(config, 3).factor.tolist() == [1.0, 1.0, 0.5]
