"""Tasks that come later, and tasks in another order, over every topology."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from polytask.backbones import Backbone, PerceptronBackbone
from polytask.config.catalogue import TRUNKS
from polytask.encoders import StackedEncoder, VectorEncoder
from polytask.errors import RunError
from polytask.model import MultiTaskModel
from polytask.sharing import MTAN, FiLM
from polytask.sharing.growing import Growing
from polytask.tasks import Regression
from polytask.transfer import start_from
from polytask.types import Features
from tests.sharing.kinds import KINDS, unsettle

NAMES = ["a", "type", "c"]
GROW: dict[str, Callable[..., Growing]] = {
    "film": FiLM,
    "film, own statistics": partial(FiLM, own_statistics=True),
    "mtan": MTAN,
}


@pytest.mark.parametrize("over", KINDS)
@pytest.mark.parametrize("kind", GROW)
def test_a_task_added_later_leaves_the_others_bit_for_bit(kind: str, over: str) -> None:
    torch.manual_seed(0)
    make, features = KINDS[over]
    trunk, given = GROW[kind](make, NAMES), features()
    unsettle(trunk)
    trunk.backbone.requires_grad_(False)
    trunk(given, NAMES)  # moves statistics
    before = {t: g.values.detach() for t, g in trunk.eval()(given, NAMES).items()}
    named = dict(trunk.named_parameters())
    trunk.train().add_task("training")
    new = {n: p for n, p in trunk.named_parameters() if n not in named}
    assert new and all("training_" in name for name in new)
    assert all(p is named[n] for n, p in trunk.named_parameters() if n in named)
    trunk.backbone.eval()
    optimizer = torch.optim.SGD(new.values(), lr=0.1)
    for _ in range(3):
        trunk(given, ["training"])["training"].values.square().sum().backward()
        optimizer.step()
    after = trunk.eval()(given, [*NAMES, "training"])
    assert all(torch.equal(after[task].values, before[task]) for task in NAMES)
    assert after["training"].values.isfinite().all()
    assert trunk.out_features["training"] == trunk.backbone.out_features
    assert all(len(table) == 4 for table in trunk.shares().values())
    with pytest.raises(ValueError, match="'a' is there already"):
        trunk.add_task("a")


@pytest.mark.parametrize("over", KINDS)
def test_a_task_added_to_film_begins_as_the_plain_backbone(over: str) -> None:
    torch.manual_seed(0)
    make, features = KINDS[over]
    trunk, given = FiLM(make, NAMES, own_statistics=True).eval(), features()
    unsettle(trunk)
    trunk.add_task("later")
    expected = trunk.backbone(given).values
    torch.testing.assert_close(trunk(given, ["later"])["later"].values, expected)


# Where a part is about all tasks together, a further one changes its shape.
REFUSING = {"shared-private", "cross-stitch", "ple", "pad-net", "joined", "nddr", "sluice"}


def model_of(kind: str, names: list[str], seed: int) -> tuple[MultiTaskModel, list[Regression]]:
    torch.manual_seed(seed)
    one = Regression(name="x", input="x", target={"a": "x"}, mean=(0.0,), std=(1.0,))
    tasks = [replace(one, name=name) for name in names]

    def make() -> Backbone:
        return PerceptronBackbone(4, widths=(4, 4), normalize=False)

    # Depths that are not stated follow from how many tasks there are.
    settings: dict[str, Any] = {"leaves": {"a": 1, "type": 1}} if kind == "joint" else {}
    encoders = {"x": StackedEncoder(VectorEncoder(3), width=4)}
    model = MultiTaskModel(encoders, partial(TRUNKS[kind], **settings)(make, names), tasks)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), tasks


def weights_of(model: nn.Module) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", TRUNKS)
def test_parts_mean_the_same_in_another_order_of_tasks_or_are_refused(kind: str) -> None:
    earlier, before = model_of(kind, NAMES, 0)
    model, tasks = model_of(kind, ["type", "c", "a"], 1)
    if model.trunk.by_order:
        with pytest.raises(RunError, match=r"was a, type, c in the run .* --fresh trunk\."):
            start_from(model, weights_of(earlier), tasks, before)
        return
    start_from(model, weights_of(earlier), tasks, before)
    given = {"x": Features(torch.randn(5, 3))}
    expected, found = earlier(given, NAMES), model(given, NAMES)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("kind", TRUNKS)
def test_a_run_with_a_further_task_keeps_what_the_others_had_or_says_what_does_not_fit(
    kind: str,
) -> None:
    earlier, before = model_of(kind, NAMES, 0)
    model, tasks = model_of(kind, [*NAMES, "later"], 1)
    given = {"x": Features(torch.randn(5, 3))}
    expected = earlier(given, NAMES)
    try:
        start_from(model, weights_of(earlier), tasks, before)
    except RunError as error:
        assert "other shapes" in str(error) and "--fresh trunk." in str(error)
        assert kind in REFUSING
        return
    assert kind not in REFUSING
    for name, values in model(given, NAMES).items():
        torch.testing.assert_close(values, expected[name])
