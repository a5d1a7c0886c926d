"""Momentum ConFIG: the paper's update, from one gradient per step."""

import pytest
import torch
import torchjd.aggregation as jd
from torch import Tensor

from polytask.balancing import Conflict, MomentumConFIG, backward
from tests.balancing.test_backward import count_calls
from tests.balancing.toys import Toy, combine, flat


def gradients(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)).double()


LOSSES = torch.ones(3).double()


@pytest.mark.parametrize("adam", [False, True])
def test_the_papers_algorithm(adam: bool) -> None:
    """All momenta by hand, the direction by another library; updates from the first full round."""
    b1, b2, count = 0.8, 0.95, 3
    balancer = MomentumConFIG(3, beta1=b1, beta2=b2 if adam else None).double()
    momenta, turns = torch.zeros(count, 8).double(), torch.zeros(count, 1).double()
    before, squares = torch.zeros(8).double(), torch.zeros(8).double()
    for step in range(9):
        jacobian, i = gradients(step), step % count
        momenta[i] = b1 * momenta[i] + (1 - b1) * jacobian[i]
        turns[i] += 1
        seen = turns[:, 0] > 0
        expected = jd.ConFIG()((momenta / (1 - b1**turns))[seen])
        if adam:
            now = expected * (1 - b1 ** (step + 1))
            squares = b2 * squares + (1 - b2) * ((now - b1 * before) / (1 - b1)) ** 2
            before = now
            expected = expected / ((squares / (1 - b2 ** (step + 1))).sqrt() + 1e-8)
        update, weights = combine(balancer, jacobian, LOSSES)
        assert weights is None
        torch.testing.assert_close(update, expected, rtol=1e-6, atol=1e-9)


def test_all_turns_in_every_step_and_no_inertia_is_config() -> None:
    balancer = MomentumConFIG(3, beta1=0.0, per_step=3).double()
    for seed in range(3):
        update, _ = combine(balancer, gradients(seed), LOSSES)
        torch.testing.assert_close(update, jd.ConFIG()(gradients(seed)))


def test_who_was_away_is_next() -> None:
    balancer = MomentumConFIG(3)
    turns = []
    for active in ([1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]):
        tasks = [t for t in range(3) if active[t]]
        with balancer.about(tasks):
            turns += [tasks[i] for i in balancer.turn()]
        combine(balancer, gradients(0), LOSSES, torch.tensor(active).bool())
    assert turns == [0, 2, 0, 1, 2, 0]


def test_resuming_with_scaled_entries() -> None:
    one, other = (MomentumConFIG(3, beta2=0.9, per_step=2).double() for _ in range(2))
    for step in range(3):
        combine(one, gradients(step), LOSSES)
    other.load_state_dict(one.state_dict())
    for step in range(3, 6):
        got, want = (combine(b, gradients(step), LOSSES)[0] for b in (other, one))
        assert torch.equal(got, want)


@pytest.mark.parametrize("kind", ["common", "private", "own_batches"])
@pytest.mark.parametrize("features", [True, False])
def test_one_trunk_backward_and_all_heads_learn(features: bool, kind: str) -> None:
    model = Toy(private=kind == "private", own_batches=kind == "own_batches")
    jacobian, others = model.gradients()
    balancer, by_hand = MomentumConFIG(3).double(), MomentumConFIG(3).double()
    calls = count_calls(model)
    for step in range(4):
        model.clear()
        calls.update(trunk=0)
        parts, aliases = model()
        backward(parts, balancer, model.shared, features=aliases if features else None)
        expected = by_hand(jacobian[[step % 3]], torch.stack(parts))
        torch.testing.assert_close(flat(model.shared), expected)
        torch.testing.assert_close(flat(model.others), torch.cat([g.flatten() for g in others]))
        assert calls["trunk"] == (1 if kind != "private" else 2)  # An encoder lies below it.
        assert calls["zero"] == 0


def test_notes_on_conflict_see_all_tasks() -> None:
    model, conflict = Toy(), Conflict(3, every=1)
    parts, _ = model()
    conflict.backward(parts, MomentumConFIG(3).double(), model.shared)
    jacobian, _ = model.gradients()
    pair = conflict.summary()["groups"]
    cosine = torch.nn.functional.cosine_similarity(jacobian[0], jacobian[1], dim=0)
    found = next(iter(pair.values()))["pairs"][0]
    assert found["cosine"] == pytest.approx(float(cosine), abs=1e-5)


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="in turn"):
        MomentumConFIG(3).double()(gradients(0), LOSSES)
    with pytest.raises(ValueError, match="per_step"):
        MomentumConFIG(3, per_step=0)
