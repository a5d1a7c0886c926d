"""Gains, ranks and the Pareto front."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.evaluation.ranking import gain, mean_gain, mean_ranks, pareto

NUMBERS = st.floats(-100, 100, allow_nan=False)


@given(NUMBERS, NUMBERS, st.booleans())
def test_a_gain_is_bounded_and_turns_its_sign_with_the_models(
    a: float, b: float, higher: bool
) -> None:
    forward = gain(a, b, higher_is_better=higher)
    assert -2 <= forward <= 2
    assert gain(b, a, higher_is_better=higher) == pytest.approx(-forward)
    if abs(a - b) > 1e-9:
        assert (forward > 0) == ((a > b) == higher)


def test_near_the_base_it_is_the_usual_share() -> None:
    assert gain(0.808, 0.8) == pytest.approx(0.01, rel=0.01)
    assert gain(1.01, 1.0, higher_is_better=False) == pytest.approx(-0.01, rel=0.01)


def test_bases_of_zero_and_below() -> None:
    assert gain(0.1, 0.0) == 2 and gain(0.0, 0.0) == 0
    assert gain(-0.1, -0.2) > 0 > gain(-0.3, -0.2)
    found = mean_gain({"a": 0.1, "b": 1.0}, {"a": 0.0, "b": 1.0}, {"a": True, "b": False})
    assert found == 1.0


def test_ranks_follow_each_task_and_equals_share() -> None:
    scores = {"x": [0.9, 1.0], "y": [0.8, 2.0], "z": [0.8, 3.0]}
    assert mean_ranks(scores, [True, False]) == {"x": 1.0, "y": 2.25, "z": 2.75}


def test_the_front_holds_what_nothing_beats() -> None:
    assert pareto([1, 2, 3, 2], [1, 3, 2, 3]) == [True, True, False, True]
    assert pareto([5], [0]) == [True]
