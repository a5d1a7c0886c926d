"""Mixing by validation losses: the rule, and a stream that waits for what it needs."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data.collate import SOURCE_SHIFT
from polytask.data.mixing import Proportional, Uniform
from polytask.data.steering import GRAIN, Steering, ValidationLoss, by_progress
from polytask.data.stream import BatchStream, Prefetcher
from polytask.errors import ConfigError
from polytask.types import Scores, loss_of
from tests.data.test_mixing import same, stream

LEFT = st.lists(st.tuples(st.integers(1, 500), st.none() | st.floats(0, 1)), min_size=1, max_size=5)
STRENGTH = st.floats(0, 4)
FLOOR = st.floats(0, 1)


def measured(**losses: float | None) -> Scores:
    """Scores of one task per source, called as its source with a dash."""
    return {f"{s}-task": {"loss": loss, loss_of(s): loss} for s, loss in losses.items()}


@settings(max_examples=80, deadline=None)
@given(LEFT, STRENGTH, FLOOR, st.integers(1, 64))
def test_shares_add_up_keep_a_floor_and_follow_what_is_left(
    sources: list[tuple[int, float | None]], strength: float, floor: float, batch: int
) -> None:
    sizes = {f"s{k}": rows for k, (rows, _) in enumerate(sources)}
    left = {f"s{k}": some for k, (_, some) in enumerate(sources) if some is not None}
    base = Proportional().shares(sizes, batch)
    shares = by_progress(base, left, strength=strength, floor=floor)
    grains = len(sizes) * GRAIN
    assert sum(shares.values()) == batch and list(shares) == list(sizes)
    for name in sizes:
        if name not in left:
            assert shares[name] == base[name]
        else:
            assert shares[name] >= Fraction(floor) * base[name] - grains
    for one in left:
        for other in left:
            if left[one] >= left[other]:  # never moved less than one that has less left
                grown = shares[one] / base[one] - shares[other] / base[other]
                assert grown >= -grains / min(base[one], base[other])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=5), st.floats(0, 1), STRENGTH, FLOOR)
def test_sources_that_are_alike_keep_their_shares(
    rows: list[int], left: float, strength: float, floor: float
) -> None:
    base = Proportional().shares({f"s{k}": n for k, n in enumerate(rows)}, 16)
    shares = by_progress(base, dict.fromkeys(base, left), strength=strength, floor=floor)
    assert all(abs(shares[s] - base[s]) <= len(base) * GRAIN for s in base)
    different = {s: (k + 1) / len(rows) for k, s in enumerate(base)}
    for still in ({"strength": 0.0, "floor": floor}, {"strength": strength, "floor": 1.0}):
        shares = by_progress(base, different, **still)
        assert all(abs(shares[s] - base[s]) <= len(base) * GRAIN for s in base)


def test_a_loss_counts_by_what_is_left_of_its_first_value() -> None:
    steering = Steering(
        ValidationLoss(smoothing=0.0, floor=0.0), {"a": Fraction(6), "b": Fraction(2)}
    )
    steering.end_epoch(measured(a=2.0, b=0.5))
    assert steering.epochs == [{"a": 6, "b": 2}] * 2
    steering.end_epoch(measured(a=0.5, b=1.5))  # a quarter of a is left, and b has risen
    assert steering.epochs[-1] == by_progress(
        steering.base, {"a": 0.25, "b": 1.0}, strength=1.0, floor=0.0
    )
    assert steering.epochs[-1]["b"] == pytest.approx(8 * 2 / 3.5)
    steering.end_epoch(measured(a=None, b=float("nan")))  # nothing new is known
    assert steering.epochs[-1] == steering.epochs[-2]
    steering.end_epoch(measured(a=0.0, b=0.5))
    assert steering.epochs[-1] == {"a": 0, "b": 8}
    steering.end_epoch({})
    assert len(steering.epochs) == 6


def test_tasks_of_a_source_count_alike_and_the_past_counts_too() -> None:
    steering = Steering(ValidationLoss(smoothing=0.5), {"a": Fraction(4), "b": Fraction(4)})

    def scores(first: float, second: float, negative: float) -> Scores:
        return {
            "one": {loss_of("a"): first, loss_of("b"): 3.0},
            "two": {loss_of("a"): second},
            "density": {loss_of("a"): negative},
        }

    steering.end_epoch(scores(2.0, 10.0, -1.0))
    steering.end_epoch(scores(1.0, 2.0, -5.0))  # a half and a fifth are left, 0.35; of 1 before
    expected = by_progress(steering.base, {"a": 0.675, "b": 1.0}, strength=1.0, floor=0.2)
    assert steering.epochs[-1] == {s: pytest.approx(q, abs=1e-5) for s, q in expected.items()}


def test_mistakes() -> None:
    for wrong in ({"strength": -1.0}, {"smoothing": 1.0}, {"floor": 1.1}):
        with pytest.raises(ConfigError, match="`strength` should be at least 0"):
            ValidationLoss(**wrong)  # type: ignore[arg-type]


SIZES = {"a": 30, "b": 10}
RULE = ValidationLoss(base="uniform", smoothing=0.0)


def followed() -> BatchStream:
    return stream(SIZES, RULE, 7)


def test_a_batch_is_of_seed_step_and_the_shares_so_far() -> None:
    some = followed()
    assert some.steps_per_epoch == 9 and some.changes
    assert some.quota == Uniform().shares(SIZES, 7)
    epochs = [measured(a=1.0, b=1.0), measured(a=0.1, b=0.9), measured(a=0.01, b=0.8)]
    batches = []
    for epoch, scores in enumerate(epochs):
        batches += [some.batch(9 * epoch + k) for k in range(9)]
        for early in (some.batch, lambda step: some.drawn("a", step + 1)):
            with pytest.raises(ValueError, match="decided when its epoch begins"):
                early(9 * epoch + 9)
        some.end_epoch(scores)
    middle = followed()  # as a training that goes on in the middle of the last epoch
    middle.load_state_dict(some.state_dict())
    assert all(same(middle.batch(step), batches[step]) for step in (20, 3, 26, 11))
    assert middle.state_dict() == some.state_dict()
    assert same(middle.batch(30), some.batch(30))

    drawn = [some.drawn_in(epoch) for epoch in range(4)]
    seen = torch.cat([batch.rows["in"] for batch in batches[18:]])
    assert drawn[2] == {
        "a": int((seen < SOURCE_SHIFT).sum()),
        "b": int((seen >= SOURCE_SHIFT).sum()),
    }
    assert drawn[:2] == [{"a": 31, "b": 31}, {"a": 32, "b": 32}]
    assert drawn[2] is not None and drawn[3] is not None
    assert drawn[2]["b"] > 40 and drawn[3]["b"] > drawn[2]["b"]
    assert followed().drawn_in(0) == {"a": 31, "b": 31}
    assert stream(SIZES, Uniform(), 7).drawn_in(0) is None


def test_shares_of_another_mixing_are_refused() -> None:
    with pytest.raises(ValueError, match="another mixing"):
        followed().load_state_dict(stream(SIZES, ValidationLoss(), 7).state_dict())
    with pytest.raises(KeyError):
        followed().load_state_dict(stream(SIZES, Uniform(), 7).state_dict())


def test_an_epoch_is_said_and_planned_by_its_first_shares() -> None:
    some = followed()
    assert some.describe_epoch() == (
        "one epoch = 9 steps = 31 of a (1.0 pass) + 31 of b (3.1 passes) at first, "
        "then by validation losses"
    )
    assert some.per_step("b", 1000) == 3.5


def test_the_prefetcher_waits_for_the_end_of_the_epoch() -> None:
    some, alone = followed(), followed()
    with Prefetcher(some) as ahead:
        for epoch, scores in enumerate([measured(a=1.0, b=1.0), measured(a=0.2, b=1.0)]):
            for step in range(9 * epoch, 9 * epoch + 9):
                assert same(ahead.batch(step), alone.batch(step))
            with pytest.raises(ValueError, match="decided"):
                ahead.batch(9 * epoch + 9)
            ahead.end_epoch(scores)
            alone.end_epoch(scores)
        assert same(ahead.batch(18), alone.batch(18))
        assert ahead.follows and ahead.state_dict() == alone.state_dict()
        assert ahead.drawn_in(2) == alone.drawn_in(2)
        ahead.load_state_dict(followed().state_dict())
        assert not some.decided(9)
