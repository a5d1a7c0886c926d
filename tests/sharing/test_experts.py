"""Mixtures of experts against their formulas, on features of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from polytask.backbones import Backbone, PerceptronBackbone, SequentialBackbone
from polytask.sharing import CGC, PLE, DSelectK, MMoE, Trunk
from polytask.sharing.gates import selected, smooth_step
from polytask.types import Features
from tests.sharing.kinds import KINDS, movers, shared_names, unsettle

NAMES = ["a", "type", "c"]
SETTINGS: dict[str, tuple[type[Trunk], dict[str, Any]]] = {
    "mmoe": (MMoE, {"experts": 4}),
    "cgc": (CGC, {"shared": 2, "private": 1}),
    "ple": (PLE, {"shared": 1, "private": 2}),
    "ple of three levels": (PLE, {"levels": 3}),
    "dselect-k": (DSelectK, {}),
    "dselect-k per example": (DSelectK, {"experts": 3, "per_example": True, "entropy": 0.1}),
}
every_setting = pytest.mark.parametrize("which", SETTINGS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(which: str, kind: str, names: list[str] = NAMES) -> tuple[Any, Features]:
    torch.manual_seed(0)
    topology, settings = SETTINGS[which]
    make, features = KINDS[kind]
    return topology(make, names, **settings), features()


@every_setting
@every_kind
def test_features_of_every_kind(which: str, kind: str) -> None:
    trunk, features = made(which, kind)
    plain = KINDS[kind][0]()(features)
    given = trunk(features, ["c", "a"])
    assert list(given) == ["c", "a"]
    for task in given:
        assert given[task].values.shape == plain.values.shape
        assert plain.mask is given[task].mask is None or torch.equal(given[task].mask, plain.mask)


@every_setting
@every_kind
def test_shared_is_what_several_tasks_move(which: str, kind: str) -> None:
    trunk, features = made(which, kind)
    moved = movers(trunk, features, NAMES)
    assert shared_names(trunk) == {name for name, who in moved.items() if len(who) > 1}
    assert set(moved) == {name for name, _ in trunk.named_parameters()}
    assert not list(made(which, kind, ["a"])[0].shared_parameters())


@every_setting
def test_padding_has_no_influence(which: str) -> None:
    trunk, features = made(which, "sequences")
    trunk.eval()
    assert features.mask is not None
    noise = torch.where(features.mask.unsqueeze(2), features.values, torch.randn(4, 6, 4))
    changed = trunk(Features(noise, features.mask), NAMES)
    for task, before in trunk(features, NAMES).items():
        where = before.mask.unsqueeze(2)
        assert torch.equal(before.values * where, changed[task].values * where)


def test_mmoe_is_its_formula() -> None:
    trunk, features = made("mmoe", "vectors")
    for task, given in trunk(features, NAMES).items():
        logits = features.values @ trunk.mixers[task].gate.linear.weight.T
        total = 0.0
        for e, expert in enumerate(trunk.experts):
            share = logits[:, e].exp() / logits.exp().sum(1)
            total = total + share.unsqueeze(1) * expert(features).values
        torch.testing.assert_close(given.values, total)


def test_ple_of_two_levels_is_its_formula() -> None:
    torch.manual_seed(0)
    trunk = PLE(lambda: PerceptronBackbone(4, widths=(5, 3)), ["a", "b"])
    unsettle(trunk)
    x = Features(torch.randn(6, 4))

    def mixture(mixer: Any, stream: Features, outputs: list[Features]) -> Features:
        weights = mixer.gate(stream.values)
        return Features(sum(weights[:, [e]] * o.values for e, o in enumerate(outputs)))  # type: ignore[misc]

    (shared,), (a, b) = trunk.shared, trunk.private
    low_a, low_b, low_s = (column.stages[0](x) for column in (a, b, shared))
    stream_a = mixture(trunk.gates[0]["a"], x, [low_a, low_s])
    common = mixture(trunk.common[0], x, [low_a, low_b, low_s])
    high = [a.stages[1](stream_a), shared.stages[1](common)]
    expected = mixture(trunk.gates[1]["a"], stream_a, high)
    torch.testing.assert_close(trunk(x, ["a"])["a"].values, expected.values)


def test_cgc_is_ple_of_one_level() -> None:
    cgc, features = made("cgc", "maps")
    torch.manual_seed(0)
    ple = PLE(KINDS["maps"][0], NAMES, shared=2, private=1, levels=1)
    ple.load_state_dict(cgc.state_dict())
    for task, given in cgc(features, NAMES).items():
        assert torch.equal(given.values, ple(features, NAMES)[task].values)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_smooth_step_is_flat_at_its_ends(gamma: float) -> None:
    t = torch.tensor([-gamma, -gamma / 2, 0.0, gamma / 4, gamma / 2, gamma], requires_grad=True)
    value = smooth_step(t, gamma)
    (slope,) = torch.autograd.grad(value.sum(), t)
    assert value.tolist() == pytest.approx([0, 0, 0.5, 27 / 32, 1, 1])  # 1/2 + 3/8 - 1/32
    assert slope.tolist() == pytest.approx([0, 0, 1.5 / gamma, 1.125 / gamma, 0, 0])


def test_binary_digits_name_one_expert() -> None:
    codes = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool()
    assert selected(torch.tensor([0.0, 1.0]), codes).tolist() == [0, 0, 1, 0]
    assert float(selected(torch.rand(3, 2), codes).sum()) == pytest.approx(3.0)


def test_decided_selectors_take_at_most_k_experts_and_stay() -> None:
    trunk, features = made("dselect-k", "vectors")
    gate = trunk.mixers["a"].gate
    with torch.no_grad():
        gate.digits.copy_(torch.tensor([1.0, -1.0, 1.0, 1.0]))  # selects experts 1 and 3
    trunk.train()(features, ["a"])["a"].values.sum().backward()
    assert gate.digits.grad.eq(0).all()
    table = trunk.shares()["gates"][0]
    assert table.nonzero().flatten().tolist() == [1, 3]
    expected = gate.weights.softmax(0)
    torch.testing.assert_close(table[[1, 3]], expected.detach())


def test_the_penalty_is_the_selectors_entropy_and_hangs_on_the_latest_pass() -> None:
    torch.manual_seed(0)
    trunk = DSelectK(KINDS["vectors"][0], ["a", "b"], experts=2, selectors=1, entropy=0.3)
    features = KINDS["vectors"][1]()
    assert trunk.penalty() is None
    trunk(features, ["a", "b"])
    trunk(features, ["a", "b"])
    penalty = trunk.penalty()
    assert penalty is not None
    expected = 0.0
    for task in ("a", "b"):
        p = smooth_step(trunk.mixers[task].gate.digits, 1.0)  # type: ignore[union-attr]
        expected = expected - 0.3 * (p * p.log() + (1 - p) * (1 - p).log()).sum()
    torch.testing.assert_close(penalty, expected, atol=1e-5, rtol=1e-5)
    assert trunk.penalty() is None
    trunk.eval()(features, ["a", "b"])
    assert trunk.penalty() is None


def test_numbers_that_no_expert_has_cost() -> None:
    trunk = DSelectK(KINDS["vectors"][0], ["a"], experts=3, selectors=1)
    gate = trunk.mixers["a"].gate
    trunk(KINDS["vectors"][1](), ["a"])
    undecided = trunk.penalty()
    with torch.no_grad():
        gate.digits.copy_(torch.tensor([1.0, 0.4]))  # nearly the number 3
    trunk(KINDS["vectors"][1](), ["a"])
    lost = trunk.penalty()
    assert undecided is not None and lost is not None and lost > undecided
    lost.backward()
    assert gate.digits.grad[1] > 0  # a step down leads to expert 1


def test_what_gates_take_is_noted_in_training_only() -> None:
    trunk, features = made("mmoe", "vectors")
    trunk.eval()(features, NAMES)
    assert not trunk.shares()["gates"].any() and trunk.unused_experts() == ()
    trunk.train()
    first, second = features, Features(torch.randn(4, 4))
    trunk(first, ["a"])
    trunk(second, ["a"])
    gate = trunk.mixers["a"].gate
    weights = torch.cat([gate(f.values) for f in (first, second)]).detach()
    torch.testing.assert_close(trunk.shares()["gates"][0], weights.mean(0))
    leads = torch.bincount(weights.argmax(1), minlength=4) / len(weights)
    torch.testing.assert_close(trunk.shares()["load"][0], leads)
    assert not trunk.shares()["gates"][1:].any()


@pytest.mark.parametrize("which", ["mmoe", "ple"])
def test_an_expert_that_nobody_takes_is_named(which: str) -> None:
    torch.manual_seed(0)
    make, features = KINDS["vectors"]
    expected: tuple[str, ...]
    if which == "mmoe":
        trunk: Any = MMoE(make, ["a", "b"], experts=2)
        gates = [trunk.mixers[task].gate for task in ("a", "b")]
        expected = ("expert 1",)
    else:
        trunk = PLE(make, ["a", "b"], levels=1)
        gates = [trunk.gates[0][task].gate for task in ("a", "b")]
        expected = ("level 0: shared 0",)
    given = Features(features().values.abs())
    trunk(given, ["a", "b"])
    assert trunk.unused_experts() == ()
    for gate in gates:
        torch.nn.init.zeros_(gate.linear.weight)
        gate.linear.weight.data[1] = -100.0
    for _ in range(600):
        for mixer in [m for m in trunk.modules() if hasattr(m, "_note")]:
            mixer(given.pooled(), torch.zeros(4, 2, 1))
    assert trunk.unused_experts() == expected


def test_tables_have_a_row_per_task_and_a_name_per_expert() -> None:
    trunk, features = made("ple", "vectors")
    trunk(features, NAMES)
    tables = trunk.shares()
    assert set(tables) == {"gates.0", "load.0", "gates.1", "load.1", "common.0"}
    assert trunk.expert_names == ("a 0", "a 1", "type 0", "type 1", "c 0", "c 1", "shared 0")
    assert tables["gates.1"].shape == (3, 7)
    torch.testing.assert_close(tables["gates.0"].sum(1), torch.ones(3))
    assert not tables["gates.0"][1, [0, 1, 4, 5]].any() and tables["gates.0"][1, [2, 3, 6]].all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda m: MMoE(m, NAMES, experts=0), "`experts`"),
        (lambda m: DSelectK(m, NAMES, experts=1), "`experts`"),
        (lambda m: DSelectK(m, NAMES, selectors=5), "`selectors`"),
        (lambda m: DSelectK(m, NAMES, gamma=0.0), "`gamma`"),
        (lambda m: CGC(m, NAMES, private=0), "'mmoe'"),
        (lambda m: PLE(m, NAMES, levels=4), "`levels`.*3.*Found 4"),
    ],
)
def test_settings_that_cannot_be(build: Callable[..., Trunk], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(KINDS["vectors"][0])


def test_experts_that_cannot_be_mixed_are_refused() -> None:
    widths = iter([(5, 3), (5, 4)])
    with pytest.raises(ValueError, match="same widths"):
        MMoE(lambda: PerceptronBackbone(4, widths=next(widths)), NAMES, experts=2)


def test_who_does_not_say_what_enters_is_told() -> None:
    def silent() -> Backbone:
        return SequentialBackbone([torch.nn.Flatten()], (8,))

    with pytest.raises(ValueError, match="in_features"):
        MMoE(silent, NAMES)
    told = SequentialBackbone([torch.nn.Flatten()], (8,), in_features=2)
    with pytest.raises(ValueError, match=r"width 2.*width 8"):
        MMoE(lambda: told, NAMES, experts=1)(Features(torch.randn(4, 8)), ["a"])
