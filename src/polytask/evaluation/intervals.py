"""Whether one model is better than another, over seeds and over test examples.

Two things make a measured difference stray from the true one: the seed of the training, and the
examples that happened to be in the test part. More seeds make the first smaller and leave the
second as it is, since all of them are scored on the same examples. So they are measured apart:

    difference = truth + seeds + examples
    seeds    / a ~ t with S - 1 degrees of freedom,  a^2 = variance over seeds / S
    examples / b ~ t with N - 1 degrees of freedom,  b^2 = variance over examples / N

The interval is that of the sum of both (Behrens and Fisher's solution for two unknown variances).
What belongs to one seed and one example together is counted in both, which makes the interval
wider, never narrower. `b^2` is what a paired bootstrap over examples converges to; resampling
three seeds would say too little of them (their variance comes out a third too small, and nothing
says that three values hardly know it), so seeds are not resampled. `benchmarks/verdicts.py`
measures how often all this is wrong.

S seeds, N units (test examples, or groups of them), T tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polytask.errors import require

Array = NDArray[np.float64]
Verdict = Literal["helps", "hurts", "cannot tell"]

LEVEL = 0.95
# More seeds than this are not promised: the variance that they are computed from is a guess.
MOST_SEEDS = 30
POWER = 0.8
# Degrees of freedom above which a t variable over examples is taken as normal, which is faster.
NEARLY_NORMAL = 300


@dataclass(frozen=True)
class Spread:
    """How far a mean difference strays.

    Attributes:
        seeds: Standard error from seeds (a).
        seed_count: S; below 2 nothing is known of seeds.
        examples: Standard error from test examples (b); 0 where they are not counted.
        example_count: N; 0 where they are not counted.
    """

    seeds: float
    seed_count: int
    examples: float = 0.0
    example_count: int = 0

    @property
    def known(self) -> bool:
        """Whether anything can be said."""
        return self.seed_count >= 2 and self.seeds + self.examples > 0

    def below(self, value: Array | float) -> Array:
        """The probability that what strays is below each value; 0.5 everywhere if unknown."""
        values = np.asarray(value, dtype=np.float64)
        if not self.known:
            return np.full(values.shape, 0.5)
        return sum_below(
            values, self.seeds, self.seed_count - 1, self.examples, self.example_count - 1
        )

    def width(self, alpha: float) -> float:
        """Half of the interval that holds all but `alpha`; infinite if unknown."""
        if not self.known:
            return math.inf
        brentq = require("scipy.optimize", "study").brentq
        high = self.seeds + self.examples
        while self._outside(high) > alpha:
            high *= 2
        return float(brentq(lambda width: self._outside(width) - alpha, 0.0, high, rtol=1e-9))

    def _outside(self, width: float) -> float:
        """The probability of straying further than `width`."""
        return 2 * float(self.below(-width))


@dataclass(frozen=True)
class Difference:
    """A mean difference with what is known of it; greater is better.

    Attributes:
        mean: The mean over seeds.
        low: Lower end of its interval.
        high: Upper end.
        probability: That the true difference is above 0.
        p: How likely a difference of this size would be if there were none; 1 if unknown.
        spread: How far it strays.
    """

    mean: float
    low: float
    high: float
    probability: float
    p: float
    spread: Spread


def difference(
    by_seed: Sequence[float], by_example: Array | None = None, *, level: float = LEVEL
) -> Difference:
    """The mean of paired differences, with its interval.

    Args:
        by_seed: `[S]`, the difference of two scores for each seed.
        by_example: `[S, N]`, what each test example (or group of them) adds to it; their mean over
            N is the difference, or near it. None leaves the examples' part out.
        level: How much the interval holds.
    """
    seeds = np.asarray(by_seed, dtype=np.float64)
    spread = spread_of(seeds, by_example)
    mean = float(seeds.mean())
    width = spread.width(1 - level)
    probability = float(spread.below(mean))
    p = min(1.0, 2 * float(spread.below(-abs(mean)))) if spread.known else 1.0
    return Difference(mean, mean - width, mean + width, probability, p, spread)


def spread_of(by_seed: Array, by_example: Array | None = None) -> Spread:
    """How far a mean over seeds strays. Arguments as for `difference`."""
    count = len(by_seed)
    seeds = float(by_seed.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    if by_example is None or by_example.shape[1] < 2:
        return Spread(seeds, count)
    units = by_example.mean(0)
    examples = float(units.std(ddof=1)) / math.sqrt(len(units))
    return Spread(seeds, count, examples, len(units))


def sum_below(values: Array, a: float, dof_a: int, b: float, dof_b: int) -> Array:
    """The distribution function of `a t(dof_a) + b t(dof_b)`, of two independent t variables."""
    special = require("scipy.special", "study")
    if b == 0 or dof_b < 1:
        return np.asarray(special.stdtr(dof_a, values / a))
    if a == 0:
        return np.asarray(special.stdtr(dof_b, values / b))
    places, weights = _grid(dof_a)
    inner = (values[..., None] - a * places) / b
    many = dof_b > NEARLY_NORMAL
    return np.asarray((special.ndtr(inner) if many else special.stdtr(dof_b, inner)) @ weights)


@lru_cache
def _grid(dof: int) -> tuple[Array, Array]:
    """Places of a t variable and their weights: dense in the middle, reaching far into the tails.

    With `t = sinh(x)` the trapezoid rule converges exponentially also for one degree of freedom.
    """
    x = np.linspace(-16.0, 16.0, 641)
    places = np.sinh(x)
    log = -(dof + 1) / 2 * np.log1p(places**2 / dof)
    weights = np.exp(log) * np.cosh(x)
    return places, weights / weights.sum()


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values: comparing them with 0.05 is wrong about any of them in 5 % of cases.

    Holm, *A simple sequentially rejective multiple test procedure* (1979). It holds however the
    tasks depend on each other.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [1.0] * len(p)
    so_far = 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = so_far
    return adjusted


def verdicts(
    differences: Sequence[Difference], *, level: float = LEVEL, looks: int = 1
) -> list[Verdict]:
    """What can be said of each task, so that all of it is true together with probability `level`.

    Args:
        differences: One per task (or per task and candidate: all that is said at once).
        level: The probability.
        looks: Which look it is, counted from 1, where seeds were added after each because of what
            it told; see `error_of`.
    """
    adjusted = holm([d.p for d in differences])
    return [
        "cannot tell" if p > error_of(level, looks) else "helps" if d.mean > 0 else "hurts"
        for d, p in zip(differences, adjusted, strict=True)
    ]


def error_of(level: float, looks: int) -> float:
    """How often a look may be wrong: half as often as the one before.

    Over any number of looks that adds up to at most twice as often as a single one.
    """
    return (1 - level) * 0.5 ** (looks - 1)


def seeds_wanted(
    found: Difference,
    *,
    statements: int = 1,
    level: float = LEVEL,
    most: int = MOST_SEEDS,
    looks: int = 1,
) -> int | Literal["more", "examples"] | None:
    """How many seeds it would take to tell, if the true difference is the one that was found.

    "To tell" is a verdict with a probability of 0.8, after correction for `statements` statements
    and at the `looks`-th look.

    Returns:
        The number of seeds in all; `more` if it is above `most`; `examples` if no number of seeds
        would do, since the test part is too small for so small a difference; None where nothing
        honest can be said: two seeds hardly know how much seeds matter.
    """
    normal = require("scipy.special", "study").ndtri
    spread = found.spread
    if spread.seed_count < 3 or not spread.known:
        return None
    alpha = error_of(level, looks) / statements
    size, reserve = abs(found.mean), float(normal(POWER))
    if size < (float(-normal(alpha / 2)) + reserve) * spread.examples:
        return "examples"
    deviation = spread.seeds * math.sqrt(spread.seed_count)
    for count in range(spread.seed_count, most + 1):
        then = Spread(deviation / math.sqrt(count), count, spread.examples, spread.example_count)
        sigma = math.hypot(then.seeds, then.examples)
        if size >= then.width(alpha) + reserve * sigma:
            return max(count, spread.seed_count + 1)
    return "more"
