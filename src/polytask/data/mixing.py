"""How several sources share the steps: examples per step of each, as exact fractions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction

from polytask.errors import ConfigError, nearest


class Mixing(ABC):
    """How many examples of a step come from each source.

    Attributes:
        settles: The epoch, from 0, from which on shares stay as they are.
        follows: Whether the shares of an epoch depend on what was measured after those before.
    """

    settles: int = 0
    follows: bool = False

    @abstractmethod
    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """Examples per step and source, as exact fractions that add up to the step's size.

        Args:
            sizes: Training rows per source.
            batch_size: Examples per step over all sources.
        """

    def shares_in(
        self, epoch: int, sizes: Mapping[str, int], batch_size: int
    ) -> dict[str, Fraction]:
        """Examples per step and source in an epoch, counted from 0."""
        return self.shares(sizes, batch_size)

    def drawn(self, shares: Mapping[str, Fraction], source: str, steps: int) -> int:
        """How many examples of a source the first steps draw; a whole number that never falls.

        Where shares change with the epoch, this is not asked.

        Args:
            shares: Examples per step and source.
            source: The source.
            steps: Number of steps.
        """
        return int(shares[source] * steps)


class Proportional(Mixing):
    """Each source as often as it has rows: all sources finish a pass together."""

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """`batch_size * N / sum(N)`."""
        total = sum(sizes.values())
        return {name: Fraction(batch_size * size, total) for name, size in sizes.items()}


class Uniform(Mixing):
    """Every source the same."""

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """`batch_size / sources`."""
        return {name: Fraction(batch_size, len(sizes)) for name in sizes}


class Temperature(Mixing):
    """Between the two: shares proportional to `N ** (1 / temperature)`.

    Args:
        temperature: 1 is proportional; the larger, the nearer to uniform.
    """

    def __init__(self, *, temperature: float = 2.0) -> None:
        if temperature <= 0:
            raise ConfigError(f"`temperature` should be above 0. Found {temperature}.")
        self.temperature = temperature

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """`batch_size * N ** (1 / T) / sum(N ** (1 / T))`."""
        powers = {n: Fraction(size ** (1 / self.temperature)) for n, size in sizes.items()}
        total = sum(powers.values())
        return {n: (batch_size * p / total).limit_denominator(10**6) for n, p in powers.items()}


class Annealed(Mixing):
    """From proportional towards uniform, epoch by epoch (Stickland and Murray 2019).

    Shares are proportional to `N ** a`, where `a` falls from 1 in the first epoch to `last` in
    epoch `epochs`, by the same amount each time; it stays there. The authors draw sources at random
    with these probabilities; here the shares are exact.

    Args:
        epochs: How many epochs it takes; usually `training.epochs`.
        last: The exponent in the end; 0 is uniform. The authors take 0.2.
    """

    def __init__(self, *, epochs: int, last: float = 0.2) -> None:
        if epochs < 2 or not 0 <= last <= 1:
            raise ConfigError(
                f"`epochs` should be at least 2 and `last` from 0 to 1. Found {epochs} and {last}."
            )
        self.epochs, self.last = epochs, last
        self.settles = epochs - 1

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """Those of the first epoch: `batch_size * N / sum(N)`."""
        return self.shares_in(0, sizes, batch_size)

    def shares_in(
        self, epoch: int, sizes: Mapping[str, int], batch_size: int
    ) -> dict[str, Fraction]:
        """`batch_size * N ** a / sum(N ** a)`."""
        exponent = 1 - (1 - self.last) * min(epoch / self.settles, 1.0)
        powers = {name: Fraction(size**exponent) for name, size in sizes.items()}
        total = sum(powers.values())
        return {n: (batch_size * p / total).limit_denominator(10**6) for n, p in powers.items()}


class Capped(Mixing):
    """As often as it has rows, up to a number: a huge source does not drown the others (T5).

    Args:
        cap: A source counts with at most so many rows.
    """

    def __init__(self, *, cap: int = 10_000) -> None:
        if cap < 1:
            raise ConfigError(f"`cap` should be at least 1. Found {cap}.")
        self.cap = cap

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """`batch_size * min(N, cap) / sum(min(N, cap))`."""
        capped = {name: min(size, self.cap) for name, size in sizes.items()}
        total = sum(capped.values())
        return {name: Fraction(batch_size * size, total) for name, size in capped.items()}


class RoundRobin(Mixing):
    """Every step is of one source, and they take turns."""

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """On average `batch_size / sources`."""
        return {name: Fraction(batch_size, len(sizes)) for name in sizes}

    def drawn(self, shares: Mapping[str, Fraction], source: str, steps: int) -> int:
        """A whole step's examples for each turn that the source has had."""
        turns = -(-(steps - list(shares).index(source)) // len(shares))
        return max(0, turns) * int(sum(shares.values()))


class Counts(Mixing):
    """Examples per step, source by source.

    Args:
        counts: Examples of each source in every step. They decide the size of a step.
    """

    def __init__(self, *, counts: dict[str, int]) -> None:
        if not counts or min(counts.values()) < 1:
            raise ConfigError(f"`counts` should be at least 1 for every source. Found {counts}.")
        self.counts = counts

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> dict[str, Fraction]:
        """The counts as given."""
        for name in {*self.counts, *sizes}:
            if name not in sizes:
                raise ConfigError(f"`counts` names source '{name}'. {nearest(name, sizes)}")
            if name not in self.counts:
                raise ConfigError(f"`counts` lacks source '{name}': say how many per step.")
        return {name: Fraction(self.counts[name]) for name in sizes}
