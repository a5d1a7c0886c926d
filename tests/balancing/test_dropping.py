"""GradDrop at the features: the paper's rule, feature by feature."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.balancing import Conflict, GradDrop, backward
from polytask.balancing.dropping import _agreed
from polytask.balancing.graph import Losses, Shared
from polytask.balancing.passes import Passes
from tests.balancing.test_backward import amplified, count_calls
from tests.balancing.toys import Toy, flat


def rule(model: Toy, draws: Tensor, leak: float, tasks: list[int]) -> None:
    """What enters the trunk, by hand: gradients of features, one task after the other."""
    losses, features = model()
    found = [torch.autograd.grad(losses[t], features[t], retain_graph=True)[0] for t in tasks]
    signed = [(features[t].sign() * g).sum(0) for t, g in zip(tasks, found, strict=True)]
    for d, draw in enumerate(draws):
        purity = 0.5 * (1 + sum(s[d] for s in signed) / sum(s[d].abs() for s in signed))
        for s, g in zip(signed, found, strict=True):
            if not (s[d] > 0 if purity > draw else s[d] < 0):
                g[:, d] *= leak
    torch.autograd.backward([features[t] for t in tasks], found)


@pytest.mark.parametrize("active", [[0, 1, 2], [0, 2], [1]])
@pytest.mark.parametrize("leak", [0.0, 0.3])
@pytest.mark.parametrize("toy", ["common", "private", "own_batches"])
@pytest.mark.parametrize("how", ["plain", "amplified"])
def test_the_papers_rule(how: str, toy: str, leak: float, active: list[int]) -> None:
    model = Toy(private=toy == "private", own_batches=toy == "own_batches")
    balancer = GradDrop(3, at="features", leak=leak, seed=5)
    draws = torch.rand(6, generator=GradDrop(3, seed=5).generator()).double()
    rule(model, draws, leak, active)
    expected = flat(model.shared)
    model.clear()
    losses, _ = model()
    torch.stack([losses[t] for t in active]).sum().backward()
    private = flat(model.others)  # Heads and an encoder of one's own: nothing is dropped.
    plain = flat(model.shared)
    model.clear()
    calls = count_calls(model)
    losses, features = model()
    mask = torch.tensor([t in active for t in range(3)])
    more: Any = {"differentiate": amplified} if how == "amplified" else {}
    factor = 1024.0 if how == "amplified" else 1.0
    weights = backward(losses, balancer, model.shared, features=features, active=mask, **more)
    assert weights is None
    torch.testing.assert_close(flat(model.shared) / factor, expected)
    torch.testing.assert_close(flat(model.others) / factor, private)
    assert len(active) == 1 or not torch.allclose(expected, plain)
    if toy == "common":
        assert calls["trunk"] == 1
        assert calls["heads"] == len(active)


def test_a_leak_of_one_is_equal_weighting() -> None:
    model = Toy()
    jacobian, _ = model.gradients()
    losses, features = model()
    backward(losses, GradDrop(3, at="features", leak=1.0), model.shared, features=features)
    torch.testing.assert_close(flat(model.shared), jacobian.sum(0))


def test_maps_are_decided_place_by_place() -> None:
    """Two tasks of opposite wishes at one place and the same at another."""
    torch.manual_seed(0)
    trunk = nn.Conv2d(1, 1, 1, bias=False).double()
    nn.init.ones_(trunk.weight)
    z = trunk(torch.ones(4, 1, 1, 2, dtype=torch.float64))
    one, two = z.view_as(z), z.view_as(z)
    losses = [one.sum(), (two * torch.tensor([1.0, -1.0])).sum()]
    backward(losses, GradDrop(2, at="features"), trunk.parameters(), features=[one, two])
    assert trunk.weight.grad is not None
    agreed, contested = 4 * 2.0, 4 * 1.0
    assert float(trunk.weight.grad) in (agreed + contested, agreed - contested)


def test_what_is_refused() -> None:
    model = Toy()
    losses, _ = model()
    with pytest.raises(ValueError, match="features="):
        backward(losses, GradDrop(3, at="features"), model.shared)
    wide, narrow = nn.Linear(4, 6), nn.Linear(4, 5)
    shared = [*wide.parameters(), *narrow.parameters()]
    a, b = wide(torch.ones(2, 4)), narrow(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"\(5,\), \(6,\)"):
        backward([a.sum(), b.sum()], GradDrop(2, at="features"), shared, features=[a, b])
    with pytest.raises(ValueError, match="`at`"):
        GradDrop(2, at="loss")  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(6, 6, 0), (6, 6, 5), (0, 0, 0)])
def test_processes_agree_on_the_number_of_features(sizes: tuple[int, ...]) -> None:
    """The reduction that three processes with these sizes would share."""
    rows = torch.tensor([[s > 0, s, s**2] for s in sizes], dtype=torch.float64)
    losses = Losses([torch.ones(())])
    passes = Passes(losses, [0], Shared([]), None, Tensor.backward, lambda _: rows.mean(0))
    for size in sizes:
        if sizes[-1] == 5:
            with pytest.raises(ValueError, match="different numbers"):
                _agreed(passes, size)
        else:
            assert _agreed(passes, size) == max(sizes)


def test_overflow_under_a_scaler_and_notes_of_conflict() -> None:
    def overflowing(tensor: Tensor, **kwargs: Any) -> None:
        (tensor * 1e38).backward(**kwargs)

    model = Toy(dtype=torch.float32)
    balancer = GradDrop(3, at="features")
    losses, features = model()
    losses = [loss * 1e6 for loss in losses]
    backward(losses, balancer, model.shared, features=features, differentiate=overflowing)
    assert not flat(model.shared).isfinite().all()
    assert balancer.draws == 0
    model.clear()
    conflict = Conflict(3, every=1)
    losses, features = model()
    conflict.backward(losses, balancer, model.shared, features=features)
    assert conflict.summary()["groups"]
