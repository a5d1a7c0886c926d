"""The diagnosis of conflict: what it sees, what it leaves alone, what it says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.balancing import (
    MGDA,
    Conflict,
    ConstantWeights,
    EqualWeighting,
    GradDrop,
    UncertaintyWeighting,
    backward,
)
from polytask.balancing.conflict_report import cosines_of, norms_of
from tests.balancing.toys import Linear, Toy, flat, make


def truth(toy: Toy) -> Tensor:
    jacobian, _ = toy.gradients()
    return jacobian @ jacobian.T


@pytest.mark.parametrize("name", ["equal", "uw", "mgda", "graddrop"])
def test_it_sees_the_true_gramian_and_changes_nothing(name: str) -> None:
    plain, watched = Toy(), Toy()
    one, other = make(name, 3), make(name, 3)
    conflict = Conflict(3, every=1)
    for _ in range(2):
        weights = backward(plain()[0], one, plain.shared)
        again = conflict.backward(watched()[0], other, watched.shared)
        assert torch.equal(flat(plain.shared + plain.others), flat(watched.shared + watched.others))
        assert (weights is None and again is None) or torch.equal(weights, again)
    assert not other._forward_pre_hooks
    found = conflict.history()["gramians"][:, 0]
    torch.testing.assert_close(found, truth(plain).expand(2, 3, 3))


def test_a_balancers_own_gramian_costs_no_pass() -> None:
    toy = Toy()
    calls = {"plain": 0, "watched": 0}
    for kind, run in (("plain", backward), ("watched", Conflict(3, every=1).backward)):

        def counting(tensor: Tensor, kind: str = kind, **kwargs: object) -> None:
            calls[kind] += 1
            tensor.backward(**kwargs)  # type: ignore[arg-type]

        run(toy()[0], MGDA(3).double(), toy.shared, differentiate=counting)
    assert calls["plain"] == calls["watched"]


def test_layer_groups_add_up_and_count_only_what_they_reach() -> None:
    toy = Toy(private=True)
    groups = {"encoder": toy.encoder.parameters(), "trunk": toy.trunk.parameters()}
    conflict = Conflict(3, groups=groups, every=1)
    conflict.backward(toy()[0], MGDA(3).double(), toy.shared)
    (both,) = conflict.history()["gramians"]
    torch.testing.assert_close(both.sum(0), truth(toy))
    assert both[0, 0].count_nonzero() == 0  # Task 0 has an encoder of its own.
    summary = conflict.summary()
    assert list(summary["groups"]) == ["all", "encoder", "trunk"]
    assert summary["groups"]["encoder"]["norms"]["0"] == 0.0
    first = summary["groups"]["encoder"]["pairs"][0]
    assert first == {
        "tasks": ["0", "1"],
        "noted": 0,
        "conflict_rate": None,
        "cosine": None,
        "lowest": None,
    }


def test_a_group_need_not_be_all_that_is_shared() -> None:
    """The last shared layer alone: the passes stop there."""
    toy = Toy()
    conflict = Conflict(3, groups={"last": toy.trunk[2].parameters()}, every=1)
    conflict.backward(toy()[0], EqualWeighting(3).double(), toy.shared)
    rows = []
    for loss in toy()[0]:
        found = torch.autograd.grad(loss, list(toy.trunk[2].parameters()), retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in found]))
    expected = torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(conflict.history()["gramians"][0, 0], expected)


def test_absent_tasks_leave_gaps() -> None:
    jacobian = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, 2.0]]).double()
    conflict = Conflict(3, names=("a", "b", "c"), every=1)
    for active in ([True, True, True], [True, False, True]):
        problem = Linear(jacobian, torch.ones(3).double())
        conflict.backward(
            problem.losses(), EqualWeighting(3), [problem.theta], active=torch.tensor(active)
        )
    history = conflict.history()
    assert history["gramians"][1, 0, 1].isnan().all()
    assert history["gramians"][1, 0, :, 1].isnan().all()
    assert history["weights"][1].isnan().tolist() == [False, True, False]
    summary = conflict.summary()
    pairs = {tuple(p["tasks"]): p for p in summary["groups"]["shared"]["pairs"]}
    assert pairs["a", "b"]["noted"] == 1
    assert pairs["a", "b"]["conflict_rate"] == 1.0
    assert pairs["a", "b"]["cosine"] == pytest.approx(-(0.5**0.5))
    assert pairs["a", "c"] == {
        "tasks": ["a", "c"],
        "noted": 2,
        "conflict_rate": 0.0,
        "cosine": 0.0,
        "lowest": 0.0,
    }
    assert summary["tasks"]["b"] == {"weight": 1.0, "set_back": 0.0}
    json.dumps(summary, allow_nan=False)


def test_who_is_set_back_depends_on_the_weights() -> None:
    """Small gradients lose against a large opponent under equal weights, not under MGDA's."""
    jacobian = torch.tensor([[4.0, 0.0], [-1.0, 1.0]]).double()
    found = {}
    for name in ("equal", "mgda"):
        problem, conflict = Linear(jacobian, torch.ones(2).double()), Conflict(2)
        conflict.backward(problem.losses(), make(name, 2), [problem.theta])
        found[name] = [task["set_back"] for task in conflict.summary()["tasks"].values()]
    assert found == {"equal": [0.0, 1.0], "mgda": [0.0, 0.0]}


def test_notes_are_bounded_and_span_the_whole_training() -> None:
    conflict = Conflict(2, every=2, capacity=8)
    problem = Linear(torch.eye(2).double(), torch.ones(2).double())
    for _ in range(100):
        conflict.backward(problem.losses(), EqualWeighting(2), [problem.theta])
    steps = conflict.history()["steps"]
    assert 4 <= len(conflict) <= 8
    assert steps[0] == 1 and steps[-1] > 75
    assert len(set(steps.diff().tolist())) == 1


def test_due_waits_for_weights_that_are_computed() -> None:
    """A balancer that refreshes its weights each three steps shows nothing in between."""
    conflict, toy = Conflict(3, every=2), Toy()
    balancer = MGDA(3, every=3).double()
    for _ in range(8):
        conflict.backward(toy()[0], balancer, toy.shared)
    assert conflict.history()["steps"].tolist() == [1, 4, 7]


def test_resuming_is_going_on() -> None:
    def run(conflict: Conflict, steps: int) -> Conflict:
        problem = Linear(torch.eye(2).double(), torch.ones(2).double())
        for _ in range(steps):
            conflict.backward(problem.losses(), EqualWeighting(2), [problem.theta])
        return conflict

    through = run(Conflict(2, every=3, capacity=4), 50)
    again = Conflict(2, every=3, capacity=4)
    again.load_state_dict(run(Conflict(2, every=3, capacity=4), 25).state_dict())
    run(again, 25)
    for key, value in through.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, equal_nan=True)
    with pytest.raises(ValueError, match="another number of groups or tasks"):
        Conflict(3).load_state_dict(through.state_dict())


def test_observe_is_for_any_other_loop() -> None:
    toy, conflict = Toy(), Conflict(3, every=2)
    for step in range(3):
        losses = toy()[0]
        assert conflict.observe(losses, toy.shared, weights=torch.ones(3)) == (step % 2 == 0)
        assert all(p.grad is None for p in toy.shared + toy.others)
        torch.stack(losses).sum().backward()
        toy.clear()
    assert len(conflict) == 2
    torch.testing.assert_close(conflict.history()["gramians"][0, 0], truth(toy))


def test_gradients_that_are_not_finite_are_counted() -> None:
    theta = nn.Parameter(torch.zeros(1))
    conflict = Conflict(2)
    conflict.observe([theta.sqrt().sum(), theta.sum()], [theta])
    assert len(conflict) == 0 and conflict.summary()["unusable"] == 1
    conflict.observe([theta.sum(), theta.sum()], [theta])
    assert len(conflict) == 1


def test_before_the_first_step_nothing_is_known() -> None:
    conflict = Conflict(2, groups={"a": [], "b": []})
    summary = conflict.summary()
    assert summary["noted"] == 0
    assert summary["groups"]["all"]["norm_ratio"] is None
    assert summary["tasks"]["0"] == {"weight": None, "set_back": None}
    json.dumps(summary, allow_nan=False)
    with pytest.raises(ValueError, match="nothing to draw"):
        conflict.plot("nowhere.png")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="names"):
        Conflict(2, names=("a",))
    with pytest.raises(ValueError, match="every"):
        Conflict(2, every=0)
    with pytest.raises(ValueError, match="'all'"):
        Conflict(2, groups={"all": []})
    with pytest.raises(ValueError, match="nothing is shared"):
        Conflict(2).observe([torch.ones(()), torch.ones(())])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_plot_is_drawn(count: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    toy = Toy(num_tasks=count)
    groups = {"encoder": toy.encoder.parameters(), "trunk": toy.trunk.parameters()}
    conflict = Conflict(count, groups=groups, every=1)
    for step in range(6):
        active = torch.tensor([t == 0 or (t + step) % 3 > 0 for t in range(count)])
        conflict.backward(toy()[0], UncertaintyWeighting(count).double(), toy.shared, active=active)
    conflict.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_without_weights_the_plot_has_no_weights(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    toy, conflict = Toy(), Conflict(3)
    conflict.backward(toy()[0], GradDrop(3).double(), toy.shared)
    conflict.plot(tmp_path / "picture.svg")
    assert "weight" not in (tmp_path / "picture.svg").read_text()


def test_the_formulas_leave_gaps() -> None:
    gramian = torch.tensor([[4.0, -2.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert norms_of(gramian).tolist() == [2.0, 1.0, 0.0]
    angles = cosines_of(gramian)
    assert angles[0, 1] == -1.0 and angles[2].isnan().all()


def test_importing_it_loads_no_plotting() -> None:
    code = "import sys, polytask.balancing.conflict; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_weights_are_those_of_the_step() -> None:
    toy, conflict = Toy(), Conflict(3)
    weights = (2.0, 0.5, 0.5)
    conflict.backward(toy()[0], ConstantWeights(3, weights=weights).double(), toy.shared)
    assert [t["weight"] for t in conflict.summary()["tasks"].values()] == list(weights)


def test_what_it_is_handed_is_looked_at_as_backward_does() -> None:
    toy = Toy()
    parts, _ = toy()
    wrong: Any = toy.trunk
    with pytest.raises(TypeError, match=r"The group 'trunk' should be parameters"):
        Conflict(3, groups={"trunk": wrong})
    with pytest.raises(ValueError, match="names"):
        Conflict(3, names="abc")
    conflict, shared = Conflict(3, every=1), toy.trunk.parameters()
    conflict.observe(parts, shared)
    with pytest.raises(ValueError, match="gone through before"):
        conflict.observe(parts, shared)
    wrong = [True, False, True]
    with pytest.raises(TypeError, match="Found list"):
        conflict.observe(parts, toy.shared, active=wrong)
    assert conflict.observe(
        [*parts[:2], None], toy.shared, active=torch.tensor([True, True, False])
    )
