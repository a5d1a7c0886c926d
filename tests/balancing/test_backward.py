"""`backward` puts the right gradient on every parameter, whatever the road."""

import copy
import gc
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from polytask.balancing import (
    MGDA,
    ConstantWeights,
    EqualWeighting,
    GradientBalancer,
    GramianBalancer,
    UncertaintyWeighting,
    UPGrad,
    backward,
    outer,
)
from polytask.balancing.buffers import _KEPT, kept_buffers
from polytask.errors import TrainingError
from tests.balancing.toys import Toy, flat

WEIGHTS = (0.5, 2.0, 0.25)


class ByGramian(GramianBalancer):
    """The weights above, reached through the Gramian path."""

    seen: Tensor

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        self.seen = gramian
        return torch.tensor(WEIGHTS, dtype=torch.float64)[self.tasks]


class ByGradients(GradientBalancer):
    """The weights above, applied to the gradients."""

    def forward(self, jacobian: Tensor, losses: Tensor) -> Tensor:
        return torch.tensor(WEIGHTS).to(jacobian)[self.tasks] @ jacobian


def constant(weight_heads: bool = False) -> ConstantWeights:
    return ConstantWeights(3, weights=WEIGHTS, weight_heads=weight_heads)


ROADS: dict[str, Any] = {
    "losses": constant(),
    "gramian": ByGramian(3),
    "features": ByGramian(3, at="features"),
    "gradients": ByGradients(3),
}


def amplified(tensor: Tensor, **kwargs: Any) -> None:
    """What a gradient scaler does."""
    (tensor * 1024.0).backward(**kwargs)


@pytest.mark.parametrize("given", ["stack", "list", "product"])
@pytest.mark.parametrize("how", ["plain", "amplified"])
@pytest.mark.parametrize("toy", ["common", "private", "own_batches"])
@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("road", ROADS)
def test_every_road(road: str, features: bool, toy: str, how: str, given: str) -> None:
    if road == "features" and not features:
        return
    model = Toy(private=toy == "private", own_batches=toy == "own_batches")
    jacobian, others = model.gradients()
    for active in ([True, True, True], [True, False, True], [False, True, False]):
        model.clear()
        parts, aliases = model()
        mask = torch.tensor(active)
        if not all(active):
            kept = torch.where(mask, torch.tensor(WEIGHTS).double(), 0.0)
            others = own_gradients(model, mask)
            expected = kept @ jacobian
            parts = [p if on else p * float("nan") for p, on in zip(parts, active, strict=True)]
        else:
            expected = torch.tensor(WEIGHTS).double() @ jacobian
        losses: Any = {
            "stack": lambda p=parts: torch.stack(p),
            "list": lambda p=parts: p,
            "product": lambda p=parts: torch.stack(p) * 1.0,
        }[given]()
        if given == "product" and not all(active):
            continue
        factor = 1024.0 if how == "amplified" else 1.0
        weights = backward(
            losses,
            ROADS[road],
            model.shared,
            active=None if all(active) else mask,
            features=aliases if features else None,
            differentiate=amplified if how == "amplified" else Tensor.backward,
        )
        torch.testing.assert_close(flat(model.shared) / factor, expected)
        torch.testing.assert_close(
            flat(model.others) / factor, torch.cat([g.flatten() for g in others])
        )
        if road != "gradients":
            assert weights is not None
            torch.testing.assert_close(
                weights.double(), torch.where(mask, torch.tensor(WEIGHTS).double(), 0.0)
            )
        if road == "gramian":
            rows = jacobian[mask]
            torch.testing.assert_close(ROADS[road].seen, rows @ rows.T)


def own_gradients(model: Toy, mask: Tensor) -> list[Tensor]:
    parts, _ = model()
    total = torch.stack([p for p, on in zip(parts, mask.tolist(), strict=True) if on]).sum()
    found = torch.autograd.grad(total, model.others, allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g for p, g in zip(model.others, found, strict=True)
    ]


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("road", ["losses", "gramian", "features"])
def test_weighted_heads(road: str, features: bool, private: bool) -> None:
    if road == "features" and not features:
        return
    balancer: Any = {
        "losses": constant(weight_heads=True),
        "gramian": ByGramian(3, weight_heads=True),
        "features": ByGramian(3, at="features", weight_heads=True),
    }[road]
    model = Toy(private=private)
    parts, _ = model()
    total = sum(w * p for w, p in zip(WEIGHTS, parts, strict=True))
    total.backward()
    expected = flat(model.shared + model.others)
    model.clear()
    parts, aliases = model()
    backward(parts, balancer, model.shared, features=aliases if features else None)
    torch.testing.assert_close(flat(model.shared + model.others), expected)


def test_a_zero_weight_leaves_private_parameters_their_gradient() -> None:
    model = Toy(private=True)
    _, others = model.gradients()
    parts, aliases = model()
    balancer = ConstantWeights(3, weights=(0.0, 1.0, 2.0))
    backward(parts, balancer, model.shared, features=aliases)
    torch.testing.assert_close(flat(model.others), torch.cat([g.flatten() for g in others]))


def test_a_parameter_of_two_tasks_that_is_not_declared_shared() -> None:
    model = Toy()
    for road, use in itertools.product(("losses", "gramian", "features"), (True, False)):
        if road == "features" and not use:
            continue
        model.clear()
        parts, _ = model()
        torch.stack(parts).sum().backward()
        expected = flat(list(model.encoder.parameters()))
        model.clear()
        parts, aliases = model()
        trunk = list(model.trunk.parameters())
        backward(parts, ROADS[road], trunk, features=aliases if use else None)
        torch.testing.assert_close(flat(list(model.encoder.parameters())), expected)


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("road", ROADS)
def test_gradients_accumulate(road: str, features: bool) -> None:
    if road == "features" and not features:
        return
    model = Toy()
    for _ in range(2):
        parts, aliases = model()
        backward(parts, ROADS[road], model.shared, features=aliases if features else None)
    twice = flat(model.shared + model.others)
    model.clear()
    parts, aliases = model()
    backward(parts, ROADS[road], model.shared, features=aliases if features else None)
    torch.testing.assert_close(twice, 2 * flat(model.shared + model.others))


def test_a_head_that_hides_its_parameters_from_the_graph() -> None:
    model = Toy()
    parts, _ = model()
    torch.stack(parts).sum().backward()
    expected = flat(model.others)
    model.clear()
    parts, aliases = model()
    part = checkpoint(model.heads[1], aliases[1], use_reentrant=True)
    parts[1] = (part - model.y[1]).square().mean()
    backward(parts, constant(), model.shared, features=aliases)
    torch.testing.assert_close(flat(model.others), expected)


@pytest.mark.parametrize("road", ["losses", "gramian", "gradients"])
def test_an_unreached_parameter_keeps_no_gradient(road: str) -> None:
    model = Toy()
    spare = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    parts, aliases = model()
    backward(parts, ROADS[road], [*model.shared, spare], features=aliases)
    assert spare.grad is None


def test_nothing_shared_weights_everything() -> None:
    model = Toy()
    parts, _ = model()
    backward(parts, constant())
    got = flat(model.shared + model.others)
    model.clear()
    parts, _ = model()
    sum(w * p for w, p in zip(WEIGHTS, parts, strict=True)).backward()
    torch.testing.assert_close(got, flat(model.shared + model.others))


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("road", ["gramian", "gradients"])
def test_channels_last_parameters(road: str, features: bool) -> None:
    torch.manual_seed(0)
    trunk = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 6, 6)
    z = trunk(x).mean((2, 3))
    aliases = [z.view_as(z) for _ in range(3)]
    parts = [a.pow(t + 1).sum() for t, a in enumerate(aliases)]
    sum(w * p for w, p in zip(WEIGHTS, parts, strict=True)).backward(retain_graph=True)
    expected = [p.grad.clone() for p in trunk.parameters()]
    trunk.zero_grad()
    backward(parts, ROADS[road], trunk.parameters(), features=aliases if features else None)
    for p, e in zip(trunk.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, e)
        assert p.grad.stride() == p.stride()


def count_calls(model: Toy) -> dict[str, int]:
    """How often a gradient passes through the trunk and the heads."""
    calls = {"trunk": 0, "heads": 0, "zero": 0}

    def counter(name: str) -> Any:
        def hook(_: Any, gradients: Any) -> None:
            calls[name] += 1
            calls["zero"] += int(all(g is not None and not g.any() for g in gradients))

        return hook

    model.trunk[2].register_full_backward_pre_hook(counter("trunk"))
    for head in model.heads:
        head.register_full_backward_pre_hook(counter("heads"))
    return calls


@pytest.mark.parametrize(
    ("road", "features", "own", "trunk", "heads"),
    [
        ("losses", True, False, 1, 3),
        ("losses", False, False, 1, 3),
        ("gramian", True, False, 3, 3),
        ("gramian", False, False, 3, 3),
        ("gramian", True, True, 3, 3),
        ("gramian", False, True, 3, 3),
        ("features", True, False, 1, 3),
        ("gradients", True, False, 3, 3),
        ("equal", False, False, 1, 3),
    ],
)
@pytest.mark.parametrize("stack", [True, False])
def test_backward_calls(
    road: str, features: bool, own: bool, trunk: int, heads: int, stack: bool
) -> None:
    model = Toy(own_batches=own)
    calls = count_calls(model)
    balancer = EqualWeighting(3) if road == "equal" else ROADS[road]
    parts, aliases = model()
    losses = torch.stack(parts) if stack else parts
    backward(losses, balancer, model.shared, features=aliases if features else None)
    assert calls == {"trunk": trunk, "heads": heads, "zero": 0}


def test_own_parameters_of_a_balancer_learn_by_the_papers_formula() -> None:
    balancer = UncertaintyWeighting(3, init=0.3).double()
    model = Toy()
    parts, aliases = model()
    weights = backward(parts, balancer, model.shared, features=aliases)
    values = torch.stack(parts).detach()
    expected = 0.5 * (1 - torch.exp(torch.tensor(-0.3).double()) * values)
    torch.testing.assert_close(balancer.log_variance.grad, expected)
    torch.testing.assert_close(weights, torch.ones(3).double())


def test_errors_say_what_to_do() -> None:
    model = Toy()
    parts, aliases = model()
    with pytest.raises(ValueError, match="num_tasks=2"):
        backward(parts, EqualWeighting(2), model.shared)
    with pytest.raises(TrainingError, match="No task is active"):
        backward(parts, EqualWeighting(3), model.shared, active=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(TrainingError, match=r"\{1: nan\}"):
        bad = [parts[0], parts[1] * float("nan"), parts[2]]
        backward(bad, EqualWeighting(3), model.shared)
    with pytest.raises(ValueError, match="depend on no parameter"):
        backward([parts[0], parts[1], torch.zeros(())], EqualWeighting(3), model.shared)
    with pytest.raises(ValueError, match="shared="):
        backward(parts, MGDA(3))
    with pytest.raises(ValueError, match="features="):
        backward(parts, MGDA(3, at="features"), model.shared)
    with pytest.raises(ValueError, match="other than through"):
        mixed = [parts[0] + model.trunk[0].weight.sum(), *parts[1:]]
        backward(mixed, MGDA(3), model.shared, features=aliases)
    for balancer in (MGDA(3), MGDA(3, at="features"), constant()):
        with pytest.raises(ValueError, match="its entry of `features`"):
            parts, aliases = model()
            copies = [a * 1.0 for a in aliases]
            backward(parts, balancer, model.shared, features=copies)
    with pytest.raises(ValueError, match="very same tensor"):
        parts, aliases = model()
        backward(parts, MGDA(3), model.shared, features=[aliases[0], aliases[0], aliases[1]])
    with pytest.raises(ValueError, match="bool"):
        backward(parts, EqualWeighting(3), model.shared, active=torch.ones(3))


def test_refused_steps_leave_gradients_as_they_were() -> None:
    model = Toy()
    parts, _ = model()
    bad = [parts[0], torch.sqrt(parts[1] * 0), parts[2]]
    with pytest.raises(TrainingError, match=r"tasks \[1\]"):
        backward(bad, MGDA(3), model.shared)
    assert all(p.grad is None for p in model.shared)


def test_every_k_steps() -> None:
    model = Toy()
    balancer = MGDA(3, every=3)
    calls = count_calls(model)
    trunk = []
    for _ in range(7):
        parts, aliases = model()
        before = calls["trunk"]
        backward(parts, balancer, model.shared, features=aliases)
        trunk.append(calls["trunk"] - before)
    assert trunk == [3, 1, 1, 3, 1, 1, 3]
    parts, aliases = model()
    before = calls["trunk"]
    two = torch.tensor([True, False, True])
    backward(parts, balancer, model.shared, features=aliases, active=two)
    assert calls["trunk"] - before == 2  # Other tasks: fresh weights.


def test_every_k_steps_of_other_tasks_each_is_told_once() -> None:
    model, balancer = Toy(), MGDA(3, every=2)
    with pytest.warns(UserWarning, match="every=2 of MGDA saves nothing") as told:
        for step in range(220):
            active = torch.tensor([True, step % 2 == 0, True])
            parts, aliases = model()
            backward(parts, balancer, model.shared, features=aliases, active=active)
    assert len(told) == 1


@pytest.mark.parametrize("road", ["gramian", "gradients"])
def test_overflow_under_a_scaler_is_left_to_the_scaler(road: str) -> None:
    """The gradients come out infinite, so that the scaler skips the step; no state moves."""

    def overflowing(tensor: Tensor, **kwargs: Any) -> None:
        (tensor * 1e38).backward(**kwargs)

    model = Toy(dtype=torch.float32)
    balancer = MGDA(3, every=2) if road == "gramian" else ByGradients(3)
    before = {k: v.clone() for k, v in balancer.state_dict().items() if "extra" not in k}
    parts, aliases = model()
    parts = [p * 1e6 for p in parts]
    backward(parts, balancer, model.shared, features=aliases, differentiate=overflowing)
    assert not flat(model.shared).isfinite().all()
    for key, value in before.items():
        assert torch.equal(balancer.state_dict()[key].nan_to_num(-1), value.nan_to_num(-1))


def test_gradients_at_features_are_those_at_parameters_where_these_are_the_features() -> None:
    torch.manual_seed(0)
    theta = torch.nn.Parameter(torch.randn(4, 3).double())
    found = []
    for at in ("parameters", "features"):
        theta.grad = None
        aliases = [theta.view_as(theta) for _ in range(3)]
        parts = [(a - t).square().sum() * (t + 1) for t, a in enumerate(aliases)]
        balancer = MGDA(3, at=at)  # type: ignore[arg-type]
        backward(parts, balancer, [theta], features=aliases)
        assert theta.grad is not None
        found.append(theta.grad.clone())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("weight_heads", [True, False])
@pytest.mark.parametrize("features", [True, False])
def test_a_gramian_of_some_parameters(features: bool, weight_heads: bool) -> None:
    model = Toy(private=True)
    rows, _ = model.gradients()
    last = list(model.trunk[2].parameters())
    start = sum(p.numel() for p in model.trunk[0].parameters())
    part = rows[:, start : start + sum(p.numel() for p in last)]
    expected = MGDA(3)(part @ part.T, torch.ones(3)) * 3
    parts, aliases = model()
    weights = backward(
        parts,
        MGDA(3, weight_heads=weight_heads),
        model.shared,
        features=aliases if features else None,
        measured=last,
    )
    assert weights is not None
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(flat(model.shared), expected @ rows)
    model.clear()
    parts, _ = model()
    everything = MGDA(3, weight_heads=weight_heads)
    backward(parts, everything, model.shared, measured=model.shared)
    one = flat(model.shared + model.others)
    model.clear()
    parts, _ = model()
    backward(parts, everything, model.shared)
    torch.testing.assert_close(flat(model.shared + model.others), one)


def test_a_gramian_of_other_losses() -> None:
    model = Toy()
    rows, others = model.gradients()
    parts, aliases = model()
    z = model.trunk(model.encoder(model.x[0, :3]).tanh())
    few = [(h(z) - y[:3]).square().mean() for h, y in zip(model.heads, model.y, strict=True)]
    some = []
    for loss in few:
        found = torch.autograd.grad(loss, model.shared, retain_graph=True)
        some.append(torch.cat([g.flatten() for g in found]))
    gramian = torch.stack(some) @ torch.stack(some).T
    expected = MGDA(3)(gramian, torch.ones(3)) * 3
    weights = backward(parts, MGDA(3), model.shared, features=aliases, estimate=few)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(flat(model.shared), expected @ rows)
    torch.testing.assert_close(flat(model.others), torch.cat([g.flatten() for g in others]))
    parts, aliases = model()
    with pytest.raises(ValueError, match="see the Gramian"):
        backward(parts, constant(), model.shared, estimate=few)
    with pytest.raises(ValueError, match="among `shared`"):
        backward(parts, MGDA(3), model.shared, measured=model.heads.parameters())


@pytest.mark.parametrize("groups", [2, 3, 50])
@pytest.mark.parametrize("features", [True, False])
def test_a_gramian_summed_over_groups_of_parameters(features: bool, groups: int) -> None:
    model = Toy(private=True)
    parts, _ = model()
    once = backward(parts, MGDA(3), model.shared)
    expected = flat(model.shared + model.others)
    model.clear()
    parts, aliases = model()
    held: list[int] = []

    def counted(
        owner: object, device: torch.device, *wanted: tuple[torch.dtype, tuple[int, ...]]
    ) -> list[torch.Tensor]:
        held.append(sum(math.prod(shape[1:]) for _, shape in wanted))
        return kept_buffers(owner, device, *wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer, "kept_buffers", counted)
        again = backward(
            parts,
            MGDA(3),
            model.shared,
            features=aliases if features else None,
            groups=groups,
        )
    torch.testing.assert_close(again, once)
    torch.testing.assert_close(flat(model.shared + model.others), expected)
    size, most = sum(p.numel() for p in model.shared), max(p.numel() for p in model.shared)
    assert sum(held) == size
    assert max(held) <= size / groups + most
    parts, aliases = model()
    with pytest.raises(ValueError, match="at='parameters'"):
        backward(parts, MGDA(3, at="features"), model.shared, features=aliases, groups=2)


def test_memory_of_gradients_is_kept_from_step_to_step() -> None:
    """Whatever an earlier step left there, with more or fewer tasks, counts for nothing."""
    balancer, model = UPGrad(3), Toy(private=True)
    one_place = torch.device("cpu"), (torch.float32, (3, 10))
    places: set[int] = set()
    for active in ([1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]):
        present = torch.tensor(active, dtype=torch.bool)
        found = []
        for one in (balancer, UPGrad(3)):
            model.clear()
            parts, _ = model()
            weights = backward(parts, one, model.shared, active=present)
            found.append((weights, flat(model.shared + model.others)))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        places.add(kept_buffers(balancer, *one_place)[0].data_ptr())
    assert len(places) == 1
    assert kept_buffers(copy.deepcopy(balancer), *one_place)[0].data_ptr() not in places
    before = len(_KEPT)
    del balancer, one
    gc.collect()
    assert len(_KEPT) < before


def test_a_gramian_in_bf16_gives_nearly_the_same_weights() -> None:
    """Rows and losses of a network in bf16; weights within 1e-2, the update in full precision."""
    model = Toy(dtype=torch.float32)
    parts, aliases = model()
    exact = backward(parts, UPGrad(3), model.shared, features=aliases)
    model.clear()
    parts, aliases = model()
    with torch.autocast("cpu", torch.bfloat16):
        rough = [loss.float() for loss in model()[0]]
    weights = backward(parts, UPGrad(3), model.shared, features=aliases, estimate=rough)
    assert weights is not None
    torch.testing.assert_close(weights, exact, rtol=1e-2, atol=1e-2)
    rows, _ = model.gradients()
    torch.testing.assert_close(flat(model.shared), weights @ rows, rtol=1e-4, atol=1e-6)
