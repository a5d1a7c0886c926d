"""Gains, ranks and the Pareto front."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.evaluation.ranking import gain, mean_gain, mean_ranks, pareto, slope

NUMBERS = st.floats(-100, 100, allow_nan=False)


@given(NUMBERS, NUMBERS, st.booleans())
def test_a_gain_is_bounded_and_turns_its_sign_with_the_models(
    a: float, b: float, higher: bool
) -> None:
    forward = gain(a, b, higher_is_better=higher)
    assert -2 <= forward <= 2
    assert gain(b, a, higher_is_better=higher) == pytest.approx(-forward)
    if abs(a - b) > 1e-9 and (not higher or max(a, b) > 1e-9):
        assert (forward > 0) == ((a > b) == higher)


@given(st.floats(-1, 1), st.booleans())
def test_the_slope_is_that_of_the_gain(base: float, higher: bool) -> None:
    if not higher:
        base = abs(base) + 0.01
    step = 1e-6
    ends = [gain(base + s * step, base, higher_is_better=higher) for s in (-1, 1)]
    steep = slope(base, higher_is_better=higher)
    assert max(map(abs, ends)) <= steep * step * 1.001
    if not higher or base > step:
        assert max(map(abs, ends)) == pytest.approx(steep * step, rel=1e-3)


def test_near_the_base_it_is_the_usual_share() -> None:
    assert gain(0.808, 0.8) == pytest.approx(0.01, rel=0.01)
    assert gain(1.01, 1.0, higher_is_better=False) == pytest.approx(-0.01, rel=0.01)


def test_bases_of_zero_and_below() -> None:
    assert gain(0.3, 0.0) == 2 and gain(0.0, 0.0) == 0 and gain(-0.5, 0.3) == -2
    assert gain(-0.003, -0.059) == 0  # both are no better than the mean
    assert gain(0.01, -0.05) == pytest.approx(0.1)  # by the floor: 2 * 0.01 / 0.2
    assert gain(0.0, 0.1, higher_is_better=False) == 2
    found = mean_gain({"a": 0.3, "b": 1.0}, {"a": 0.0, "b": 1.0}, {"a": True, "b": False})
    assert found == 1.0


def test_ranks_follow_each_task_and_equals_share() -> None:
    scores = {"x": [0.9, 1.0], "y": [0.8, 2.0], "z": [0.8, 3.0]}
    assert mean_ranks(scores, [True, False]) == {"x": 1.0, "y": 2.25, "z": 2.75}


def test_the_front_holds_what_nothing_beats() -> None:
    assert pareto([1, 2, 3, 2], [1, 3, 2, 3]) == [True, True, False, True]
    assert pareto([5], [0]) == [True]
