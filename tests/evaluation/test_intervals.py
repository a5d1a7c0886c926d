"""Statistics of differences: oracles from scipy and by simulation, properties."""

import math

import numpy as np
import pytest
from scipy import stats

from polytask.evaluation.intervals import (
    Difference,
    Spread,
    difference,
    holm,
    seeds_wanted,
    sum_below,
    verdicts,
)

RNG = np.random.default_rng(0)


def test_without_examples_it_is_the_paired_t_interval() -> None:
    ours, theirs = RNG.normal(0.8, 0.1, 5), RNG.normal(0.7, 0.1, 5)
    found = difference(list(ours - theirs))
    oracle = stats.ttest_rel(ours, theirs)
    interval = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.probability == pytest.approx(1 - oracle.pvalue / 2, abs=1e-9)


def test_where_seeds_agree_it_is_the_interval_over_examples() -> None:
    examples = RNG.normal(0.1, 1.0, 200)
    found = difference([float(examples.mean())] * 3, np.stack([examples] * 3))
    oracle = stats.ttest_1samp(examples, 0.0)
    interval = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


@pytest.mark.parametrize("dof_a", [1, 2, 9])
@pytest.mark.parametrize("ratio", [1e-3, 0.05, 1.0, 30.0])
def test_the_sum_of_both_parts_is_what_sampling_gives(dof_a: int, ratio: float) -> None:
    draws = ratio * RNG.standard_t(dof_a, 400_000) + RNG.standard_t(99, 400_000)
    for value in np.quantile(draws, [0.001, 0.025, 0.3, 0.9]):
        expected = (draws < value).mean()
        error = 4 * math.sqrt(expected * (1 - expected) / len(draws))
        got = float(sum_below(np.array(value), ratio, dof_a, 1.0, 99))
        assert got == pytest.approx(expected, abs=error)


def test_each_source_of_variation_widens_the_interval() -> None:
    narrow = Spread(0.01, 5).width(0.05)
    both = Spread(0.01, 5, 0.02, 100).width(0.05)
    assert narrow < both and Spread(0.0, 5, 0.02, 100).width(0.05) < both


def test_one_seed_says_nothing() -> None:
    found = difference([0.3], RNG.normal(0.3, 0.1, (1, 500)))
    assert found.p == 1 and found.probability == 0.5 and math.isinf(found.high)
    assert verdicts([found]) == ["cannot tell"]
    assert seeds_wanted(found) is None


def test_two_models_that_do_the_same_are_not_told_apart() -> None:
    assert verdicts([difference([0.0] * 4, np.zeros((4, 50)))]) == ["cannot tell"]


def test_holm_is_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def _found(mean: float, seeds: float, count: int, examples: float = 0.0) -> Difference:
    deviations = np.linspace(-1, 1, count)
    deviations *= seeds * math.sqrt(count) / deviations.std(ddof=1)
    units = np.linspace(-1, 1, 400)
    units *= examples * math.sqrt(400) / units.std(ddof=1)
    return difference(list(mean + deviations), np.stack([mean + units] * count))


def test_the_direction_is_that_of_the_mean_and_many_statements_ask_for_more() -> None:
    better, worse = _found(0.1, 0.01, 6), _found(-0.1, 0.01, 6)
    assert verdicts([better, worse]) == ["helps", "hurts"]
    near = _found(0.03, 0.01, 6)
    assert verdicts([near]) == ["helps"]
    assert verdicts([near, *[_found(0.0, 0.01, 6)] * 30])[0] == "cannot tell"


def test_seeds_that_are_wanted_bring_the_verdict() -> None:
    found = _found(0.02, 0.01, 3, 0.002)
    assert verdicts([found]) == ["cannot tell"]
    wanted = seeds_wanted(found)
    assert isinstance(wanted, int) and wanted > 3
    deviation = found.spread.seeds * math.sqrt(3)
    told = 0
    for _ in range(150):
        by_seed = RNG.normal(0.02 + RNG.normal(0, 0.002), deviation, wanted)
        units = RNG.normal(0, 0.002 * 20, 400)
        told += verdicts(
            [difference(list(by_seed), np.stack([units - units.mean()] * wanted))]
        ) == ["helps"]
    assert 0.7 < told / 150 < 0.97


def test_who_looks_again_and_again_is_seldom_wrong() -> None:
    """Of two models that are alike, with seeds added until something is told."""
    repeats, looks = 1500, (3, 6, 10)
    plain = corrected = 0
    for _ in range(repeats):
        by_seed = list(RNG.normal(0, 0.01, looks[-1]))
        found = [difference(by_seed[:count]) for count in looks]
        plain += any(verdicts([d]) != ["cannot tell"] for d in found)
        corrected += any(
            verdicts([d], looks=look) != ["cannot tell"] for look, d in enumerate(found, 1)
        )
    assert plain > 0.09 * repeats  # what the correction is for
    assert corrected < 0.1 * repeats and corrected < 0.8 * plain


def test_seeds_for_another_look_are_more() -> None:
    found = _found(0.02, 0.01, 3, 0.002)
    first, second = (seeds_wanted(found, looks=looks) for looks in (1, 2))
    assert isinstance(first, int) and isinstance(second, int) and first < second


def test_no_number_of_seeds_is_promised_that_would_not_do() -> None:
    assert seeds_wanted(_found(0.02, 0.005, 3, 0.02)) == "examples"
    assert seeds_wanted(_found(0.0005, 0.01, 3)) == "more"
    assert seeds_wanted(_found(0.02, 0.01, 2)) is None
    few, many = _found(0.03, 0.01, 4), 40
    a, b = seeds_wanted(few), seeds_wanted(few, statements=many)
    assert isinstance(a, int) and isinstance(b, int) and a < b
