"""What holds for every topology of the catalogue over every kind of backbone.

A new topology is covered by its line in the catalogue.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from polytask.backbones import (
    Backbone,
    PerceptronBackbone,
    RecurrentBackbone,
    ResidualBackbone,
    SequentialBackbone,
    TransformerBackbone,
)
from polytask.config.catalogue import TRUNKS
from polytask.sharing import Trunk
from polytask.types import Features

MASK = torch.arange(5) < torch.tensor([[5], [2], [1]])
NAMES = ["a", "type", "c"]


def own_modules() -> SequentialBackbone:
    """Somebody's own stages, which end as vectors where they began as maps."""
    stages = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Tanh()),
    )
    return SequentialBackbone(stages, (4, 5))


BACKBONES: dict[str, tuple[Callable[[], Backbone], Callable[[], Features]]] = {
    "vectors": (
        lambda: PerceptronBackbone(4, widths=(5, 3)),
        lambda: Features(torch.randn(3, 4)),
    ),
    "maps": (
        lambda: ResidualBackbone(3, widths=(4, 6), stem="conv3", stem_width=4),
        lambda: Features(torch.randn(3, 3, 8, 9)),
    ),
    "sequences": (
        lambda: RecurrentBackbone(4, width=3, stride=2),
        lambda: Features(torch.randn(3, 5, 4), MASK),
    ),
    "tokens": (
        lambda: TransformerBackbone(4, width=8, heads=2, layers=1, dropout=0.0),
        lambda: Features(torch.randn(3, 5, 4), MASK),
    ),
    "own modules": (own_modules, lambda: Features(torch.randn(3, 3, 6, 6))),
}
every_trunk = pytest.mark.parametrize("kind", TRUNKS)
every_backbone = pytest.mark.parametrize("over", BACKBONES)


def made(kind: str, over: str, tasks: Sequence[str] = NAMES) -> tuple[Trunk, Features]:
    """A topology whose parameters have left their first values, and features for it.

    At the start some gradients are zero by design (identities, gates that are all alike).
    """
    torch.manual_seed(0)
    backbone, features = BACKBONES[over]
    trunk = TRUNKS[kind](backbone, tasks)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return trunk, features()


def content(features: Features) -> Tensor:
    """The values, with what lies past a sequence's end zeroed."""
    if features.mask is None:
        return features.values
    return features.values.masked_fill(~features.mask.unsqueeze(2), 0.0)


def movers(trunk: Trunk, features: Features) -> dict[str, set[str]]:
    """Which tasks move each parameter, found by differentiating each task's features alone."""
    found: dict[str, set[str]] = {}
    names = [name for name, p in trunk.named_parameters() if p.requires_grad]
    for task, given in trunk(features, trunk.tasks).items():
        values = content(given)
        gradients = torch.autograd.grad(
            (values * torch.randn(values.shape)).sum(),
            [trunk.get_parameter(name) for name in names],
            retain_graph=True,
            allow_unused=True,
        )
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None and gradient.any():
                found.setdefault(name, set()).add(task)
    return found


@every_trunk
@every_backbone
@pytest.mark.parametrize("count", [1, 2, 20])
def test_gives_each_task_features_of_its_width(kind: str, over: str, count: int) -> None:
    names = [f"t{i}" for i in range(count)]
    trunk, features = made(kind, over, names)
    asked = names[::-2]
    given = trunk(features, asked)
    assert list(given) == asked
    assert set(trunk.out_features) == set(trunk.tasks) == set(names)
    for task, found in given.items():
        at = 1 if found.values.ndim == 4 else -1
        assert found.values.shape[at] == trunk.out_features[task]
        assert len(found.values) == len(features.values) and found.values.isfinite().all()
        assert (found.mask is None) == (features.mask is None)
        assert found.mask is None or found.mask.shape == found.values.shape[:2]


@every_trunk
@pytest.mark.parametrize(
    ("over", "count"),
    [(over, count) for over in BACKBONES for count in (1, 3)] + [("vectors", 20)],
)
def test_what_is_shared_is_exactly_what_several_tasks_move(
    kind: str, over: str, count: int
) -> None:
    trunk, features = made(kind, over, (NAMES + [f"t{i}" for i in range(17)])[:count])
    shared = list(trunk.shared_parameters())
    ids = {id(p) for p in shared}
    assert len(ids) == len(shared)
    moved = {name for name, who in movers(trunk, features).items() if len(who) > 1}
    assert moved == {name for name, p in trunk.named_parameters() if id(p) in ids}


@every_trunk
@every_backbone
def test_a_task_alone_gets_the_features_it_gets_in_company(kind: str, over: str) -> None:
    trunk, features = made(kind, over)
    together = trunk.eval()(features, NAMES)
    for task in NAMES:
        alone = content(trunk(features, [task])[task])
        torch.testing.assert_close(alone, content(together[task]))


@every_trunk
@every_backbone
def test_padding_and_neighbours_have_no_say_in_evaluation(kind: str, over: str) -> None:
    trunk, features = made(kind, over)
    whole = trunk.eval()(features, NAMES)
    if features.mask is not None:
        features.values[~features.mask] = 9.0
    first = Features(features.values[1:2], None if features.mask is None else features.mask[1:2])
    for task, found in trunk(first, NAMES).items():
        torch.testing.assert_close(content(found), content(whole[task])[1:2])


@every_trunk
@every_backbone
def test_is_saved_and_loaded(kind: str, over: str, tmp_path: Path) -> None:
    trunk, features = made(kind, over)
    trunk(features, NAMES)  # moves running statistics
    save_file({k: v.contiguous() for k, v in trunk.state_dict().items()}, tmp_path / "weights")
    other, _ = made(kind, over)
    nn.init.ones_(next(other.parameters()))
    other.load_state_dict(load_file(tmp_path / "weights"))
    ours, theirs = trunk.eval()(features, NAMES), other.eval()(features, NAMES)
    assert all(torch.equal(ours[task].values, theirs[task].values) for task in NAMES)


@every_trunk
@every_backbone
def test_computes_in_half_precision(kind: str, over: str) -> None:
    trunk, features = made(kind, over)
    exact = trunk.eval()(features, NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        rough = trunk(features, NAMES)
    for task in NAMES:
        size = float(content(exact[task]).detach().abs().max())
        torch.testing.assert_close(
            content(rough[task]).float(), content(exact[task]), rtol=0.1, atol=0.1 * size
        )


class Exported(nn.Module):
    """What `torch.export` takes: tensors in, tensors out, the tasks fixed."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, values: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        given = self.trunk(Features(values, mask), self.trunk.tasks)
        return {task: content(found) for task, found in given.items()}


# An export takes its time: every topology over features of each form (maps, masked sequences,
# maps that become vectors), and every backbone under one.
EXPORTED = [
    *((kind, over) for kind in TRUNKS for over in ("maps", "sequences", "own modules")),
    *(("hard", over) for over in BACKBONES if over not in ("maps", "sequences", "own modules")),
]


@pytest.mark.parametrize(("kind", "over"), EXPORTED)
def test_can_be_exported_with_any_number_of_rows(kind: str, over: str) -> None:
    trunk, (values, mask) = made(kind, over, NAMES[:2])  # few: unrolled cells take their time
    if mask is not None:
        values, mask = values[:, :2], mask[:, :2]
    rows = {0: torch.export.Dim("rows", min=1, max=64)}
    module = Exported(trunk.eval())
    program = torch.export.export(
        module, (values, mask), dynamic_shapes=(rows, None if mask is None else rows)
    )
    fewer = values[:2], None if mask is None else mask[:2]
    ours, theirs = module(*fewer), program.module()(*fewer)
    assert list(theirs) == NAMES[:2]
    for task, found in ours.items():
        torch.testing.assert_close(theirs[task], found)


@every_trunk
@every_backbone
def test_what_it_says_of_sharing_is_small_finite_and_off_the_graph(kind: str, over: str) -> None:
    trunk, features = made(kind, over)
    trunk(features, NAMES)
    for name, table in trunk.shares().items():
        assert table.isfinite().all() and not table.requires_grad, name
        assert table.numel() <= 1000, name
