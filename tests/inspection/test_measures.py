"""Measures against direct formulas, and every topology over three kinds of backbones."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.backbones import Backbone, PerceptronBackbone, RecurrentBackbone, ResidualBackbone
from polytask.config.catalogue import TRUNKS
from polytask.encoders import Encoder
from polytask.inspection.attribution import attribute
from polytask.inspection.conflict import conflicts, gramians, shared_layers
from polytask.inspection.similarity import HEAD, cka, similarities, streams, unbiased_hsic
from polytask.model import MultiTaskModel
from polytask.tasks import Multiclass, Regression, Task
from polytask.types import Batch, Features
from tests.networks import TASKS, batch, network


def by_sums(one: Tensor, other: Tensor) -> float:
    """HSIC as the mean over all choices of four different examples (Song et al. 2012, eq. 3)."""
    total = []
    for i, j, q, r in permutations(range(len(one)), 4):
        k, l = one[i, j], other  # noqa: E741
        total.append(float(k * (l[i, j] + l[q, r] - 2 * l[i, q])))
    return sum(total) / len(total)


def test_hsic_is_the_mean_over_four_different_examples() -> None:
    torch.manual_seed(0)
    one, other = (torch.randn(6, 3).double() for _ in range(2))
    grams = one @ one.T, other @ other.T
    assert float(unbiased_hsic(*grams)) == pytest.approx(by_sums(*grams))


def test_cka_knows_rotations_and_is_zero_of_strangers() -> None:
    torch.manual_seed(0)
    one = torch.randn(60, 40)
    turned = 3 * one @ torch.linalg.qr(torch.randn(40, 40))[0] + 5
    assert cka(one, turned) == pytest.approx(1.0, abs=1e-4)
    strange = [cka(torch.randn(60, 40), torch.randn(60, 40)) for _ in range(20)]
    known = [value for value in strange if value is not None]
    assert abs(sum(known) / 20) < 0.03  # the plain estimator gives 0.4 here
    assert cka(one, torch.ones(60, 2)) is None and cka(one[:3], one[:3]) is None


class Plain(Encoder):
    """Features as they come."""

    out_features = 4

    def forward(self, raw: Features) -> Features:
        return raw


BACKBONES: dict[str, tuple[Callable[[], Backbone], tuple[int, ...]]] = {
    "perceptron": (lambda: PerceptronBackbone(4, widths=(5, 3)), (6, 4)),
    "residual": (
        lambda: ResidualBackbone(4, widths=(4, 6), stem="conv3", stem_width=4),
        (6, 4, 6, 6),
    ),
    "recurrent": (lambda: RecurrentBackbone(4, width=3, stride=2), (6, 5, 4)),
}


def made(kind: str, over: str, count: int) -> tuple[MultiTaskModel, Batch, list[Task]]:
    torch.manual_seed(0)
    make, shape = BACKBONES[over]
    tasks: list[Task] = [
        Multiclass(
            name=name, input="x", target={"a": name}, classes=("p", "q", "r"), counts=(1, 1, 1)
        )
        for name in ("a", "type", "c")[:count]
    ]
    model = MultiTaskModel({"x": Plain()}, TRUNKS[kind](make, [t.name for t in tasks]), tasks)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    mask = torch.ones(6, 5, dtype=torch.bool) if over == "recurrent" else None
    given = Batch(
        {"x": Features(torch.randn(shape), mask)},
        {task.name: torch.randint(3, (6,)) for task in tasks},
        {task.name: torch.rand(6) < (0.6 if i else 2.0) for i, task in enumerate(tasks)},
        {"x": torch.arange(6)},
    )
    return model.eval(), given, tasks


@pytest.mark.parametrize("kind", TRUNKS)
@pytest.mark.parametrize("over", BACKBONES)
@pytest.mark.parametrize("count", [1, 3])
def test_every_topology_can_be_looked_into(kind: str, over: str, count: int) -> None:
    model, given, tasks = made(kind, over, count)
    names = [task.name for task in tasks]
    found = streams(model, given, names)
    assert list(found) == names
    for task, stream in found.items():
        assert all(f.shape[0] == 6 and f.ndim == 2 and f.isfinite().all() for f in stream)
        assert stream[-1].shape[1] == model.trunk.out_features[task]
    tables = similarities(found, dict.fromkeys(names, torch.arange(6)), names)
    assert HEAD in tables
    for table in tables.values():
        for i, row in enumerate(table):
            assert row[i] is None or row[i] == pytest.approx(1.0, abs=1e-6)
            assert [t[i] for t in table] == pytest.approx(row, nan_ok=True)
    for layer, of in conflicts(model, [given], tasks).items():
        assert layer in shared_layers(model)
        assert all(v is None or -1.000001 <= v <= 1.000001 for row in of["cosine"] for v in row)
    attributed = attribute(model, tasks[-1], given.inputs["x"])
    assert attributed.values.shape == given.inputs["x"].values.shape
    assert attributed.values.isfinite().all()


def test_layers_together_are_all_that_is_shared() -> None:
    model = network()
    layers = shared_layers(model)
    ids = [id(p) for parameters in layers.values() for p in parameters]
    assert sorted(ids) == sorted(id(p) for p in model.shared_parameters())
    assert {"encoder picture", "encoder sound", "stage 1", "stage 2"} <= set(layers)


def test_gramians_are_those_of_the_losses_gradients_where_labels_are_missing() -> None:
    model, given = network().eval(), batch(absent=["tags"])
    found = gramians(model, [given], TASKS).sum(1)[0]
    shared = list(model.shared_parameters())
    rows = []
    for task in TASKS[:3]:
        present = given.present[task.name]
        output = model(given.inputs, [task.name])[task.name][present]
        loss = task.loss(output, given.targets[task.name][present]).mean()
        gradients = torch.autograd.grad(loss, shared, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for p, g in zip(shared, gradients, strict=True)
                ]
            ).double()
        )
    expected = torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(found[:3, :3], expected, rtol=1e-4, atol=1e-7)
    assert not found[3].any()
    told = conflicts(model, [given], TASKS)["stage 1"]
    assert told["cosine"][0][3] is None and told["batches"][0][1] == 1


def test_tasks_of_different_inputs_are_not_compared() -> None:
    model, given = network().eval(), batch()
    names = [task.name for task in TASKS]
    found = streams(model, given, names)
    rows = {t.name: torch.arange(8) + 100 * (t.input == "sound") for t in TASKS}
    table = similarities(found, rows, names)[HEAD]
    assert table[0][1] == pytest.approx(1.0) and table[0][2] is None


def test_attributions_of_a_linear_network_are_weights_times_differences() -> None:
    torch.manual_seed(0)
    task = Regression(name="r", input="x", target={"a": "r"}, mean=(0.0,), std=(1.0,))
    model = MultiTaskModel({"x": Plain()}, TRUNKS["hard"](lambda: _Same(), ["r"]), [task]).eval()
    raw = Features(torch.randn(3, 4))
    found = attribute(model, task, raw, torch.zeros(1, 4))
    weight = model.heads["r"].get_parameter("linear.weight")
    torch.testing.assert_close(found.values, (raw.values * weight).detach(), atol=1e-5, rtol=1e-4)
    assert float(found.gap.max()) < 1e-3


class _Same(PerceptronBackbone):
    """A backbone that changes nothing."""

    def __init__(self) -> None:
        super().__init__(4, widths=(4,))
        self.stages = nn.ModuleList([nn.Identity()])


class Tokens(Encoder):
    """Token numbers to embeddings."""

    out_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, raw: Features) -> Features:
        return Features(self.table(raw.values), raw.mask)


def test_numbers_of_tokens_are_attributed_at_their_embeddings() -> None:
    torch.manual_seed(0)
    task = Multiclass(name="t", input="x", target={"a": "t"}, classes=("p", "q"), counts=(1, 1))
    trunk = TRUNKS["hard"](lambda: RecurrentBackbone(4, width=3), ["t"])
    model = MultiTaskModel({"x": Tokens()}, trunk, [task]).eval()
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    found = attribute(model, task, Features(torch.randint(9, (2, 5)), mask))
    assert found.values.shape == (2, 5, 4)
    assert found.values[0].any() and not found.values[1, 2:].any()
    assert float(found.gap.max()) < 0.05


@pytest.mark.parametrize("kind", ["mmoe", "dselect-k", "cgc", "ple"])
@pytest.mark.parametrize("over", BACKBONES)
def test_a_task_has_features_after_every_stage_of_its_experts(kind: str, over: str) -> None:
    model, given, tasks = made(kind, over, 3)
    backbone = next(model.trunk.backbones())
    found = streams(model, given, [task.name for task in tasks])
    assert {len(stream) for stream in found.values()} == {len(backbone.stages)}


def gated(kind: str, settings: dict[str, int]) -> tuple[MultiTaskModel, Batch]:
    """Experts over a perceptron of four stages, and examples."""
    torch.manual_seed(0)
    one = Multiclass(name="a", input="x", target={"a": "a"}, classes=("p", "q"), counts=(1, 1))
    tasks = [one, replace(one, name="b")]
    trunk = partial(TRUNKS[kind], **settings)(
        lambda: PerceptronBackbone(4, widths=(5, 5, 4, 3)), ["a", "b"]
    )
    given = Batch({"x": Features(torch.randn(6, 4))}, {}, {}, {"x": torch.arange(6)})
    return MultiTaskModel({"x": Plain()}, trunk, tasks).eval(), given


def test_features_between_stages_are_the_experts_by_their_weights_and_mixed_at_a_levels_end() -> (
    None
):
    model, given = gated("ple", {"levels": 2})
    trunk: Any = model.trunk
    assert trunk.bounds == (0, 2, 4)
    found = streams(model, given, ["a", "b"])
    x, own, shared = given.inputs["x"], trunk.private[1], trunk.shared[0]
    weights = trunk.gates[0]["b"].gate(x.values)
    first = [own.stages[0](x), shared.stages[0](x)]
    expected = torch.cat([weights[:, [e]] * first[e].values for e in range(2)], 1)
    torch.testing.assert_close(found["b"][0], expected)
    ends = [own.stages[1](first[0]).values, shared.stages[1](first[1]).values]
    level = weights[:, [0]] * ends[0] + weights[:, [1]] * ends[1]
    torch.testing.assert_close(found["b"][1], level)
    entered = trunk.gates[1]["b"].gate(level)[:, [0]] * own.stages[2](Features(level)).values
    torch.testing.assert_close(found["b"][2][:, :4], entered)
    assert found["b"][3].shape == (6, 3) and len(found["b"]) == 4


def test_tasks_that_take_the_same_of_each_expert_are_alike_inside() -> None:
    model, given = gated("mmoe", {"experts": 3})
    mixers: Any = model.trunk.mixers
    rows = dict.fromkeys("ab", torch.arange(6))
    apart = similarities(streams(model, given, ["a", "b"]), rows, ["a", "b"])
    mixers["b"].load_state_dict(mixers["a"].state_dict())
    alike = similarities(streams(model, given, ["a", "b"]), rows, ["a", "b"])
    assert list(alike) == ["after stage 1", "after stage 2", "after stage 3", HEAD]
    for name, table in alike.items():
        assert table[0][1] == pytest.approx(1.0)
        value = apart[name][0][1]
        assert value is not None and value < 0.9999


@pytest.mark.parametrize("shape", [(9, 6), (10, 6, 3, 3), (10,)])
def test_cka_compares_vectors_of_the_same_examples(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="same N examples"):
        cka(torch.randn(10, 4), torch.randn(shape))
