"""Rows and cells that are far from the rest of the training rows.

Letters: N rows, D columns of numbers, blank where NaN.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.table_cleaning.keeping import kept, opened
from polytask.data.table_cleaning.missing import Facts, Numbers, centres, filled
from polytask.errors import ConfigError, require

Then = Literal["mark", "clip", "blank", "drop"]
Cells = NDArray[np.bool_]

_MAD = 1.4826  # median absolute deviations of a normal distribution in a standard deviation
_ENDS = (0.5, 99.5)  # percentiles between which a cell of a strange row is as usual


class Outliers(ABC):
    """What is far from the rest, and what becomes of it.

    Args:
        then: `mark` adds an entry that says so, `clip` moves strange cells to the nearest usual
            number, `blank` empties them, and `drop` leaves the rows out of training (elsewhere
            they stay as they are).
    """

    then: Then

    @abstractmethod
    def fit(self, values: Numbers) -> Facts:
        """What is usual, learned of training rows `[N, D]`."""

    @abstractmethod
    def strange(self, values: Numbers, facts: Facts) -> Cells:
        """Which cells are far from the rest, `[N, D]`; never a blank one."""

    @abstractmethod
    def rows(self, values: Numbers, facts: Facts) -> Cells:
        """Which rows are outliers, `[N]`."""

    def mended(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows as `then` wants them."""
        if self.then in ("mark", "drop"):
            return values
        cells = self.strange(values, facts)
        low, high = np.array(facts["low"]), np.array(facts["high"])
        if self.then == "blank":
            return np.where(cells, np.nan, values)
        return np.where(cells, np.clip(values, low, high), values)


class RobustZ(Outliers):
    """Cells more than some robust standard deviations from their column's median.

    The deviation is 1.4826 times the median absolute one (Iglewicz & Hoaglin 1993). A column
    whose median deviation is 0 has no outliers.

    Args:
        then: `mark` adds an entry that says so, `clip` moves strange cells to the nearest usual
            number, `blank` empties them, and `drop` leaves the rows out of training (elsewhere
            they stay as they are).
        threshold: From how many deviations on.
    """

    def __init__(self, *, then: Then = "clip", threshold: float = 5.0) -> None:
        if threshold <= 0:
            raise ConfigError(f"`threshold` should be above 0. Found {threshold}.")
        self.then: Then = then
        self.threshold = threshold

    def fit(self, values: Numbers) -> Facts:
        """The usual range of each column."""
        median = np.nanmedian(values, 0)
        spread = _MAD * np.nanmedian(np.abs(values - median), 0)
        reach = np.where(spread > 0, self.threshold * spread, np.inf)
        low, high = median - reach, median + reach
        return {"low": low.tolist(), "high": high.tolist()}

    def strange(self, values: Numbers, facts: Facts) -> Cells:
        """Cells out of their range."""
        low, high = np.array(facts["low"]), np.array(facts["high"])
        result: Cells = (values < low) | (values > high)
        return result

    def rows(self, values: Numbers, facts: Facts) -> Cells:
        """Rows with a strange cell."""
        return np.asarray(self.strange(values, facts).any(1), bool)


class _ByRow(Outliers):
    """A detector of scikit-learn's that judges whole rows.

    Strange cells of an outlier are those outside of the range of 99 % of the other rows.
    """

    @abstractmethod
    def make(self) -> Any:
        """The detector, not fitted."""

    def fit(self, values: Numbers) -> Facts:
        """The detector, fitted to rows with medians in place of blanks, on one scale."""
        facts: Facts = {"medians": centres(values, "median")}
        whole = filled(values, facts["medians"])
        std = whole.std(0)
        facts["std"] = np.where(std > 0, std, 1.0).tolist()
        detector = self.make().fit(self._scaled(values, facts))
        facts["kept"] = kept(detector)
        usual = whole[detector.predict(self._scaled(values, facts)) > 0]
        low, high = np.percentile(usual if len(usual) else whole, _ENDS, axis=0)
        return {**facts, "low": low.tolist(), "high": high.tolist()}

    def _scaled(self, values: Numbers, facts: Facts) -> Numbers:
        medians = np.array(facts["medians"])
        scaled: Numbers = (filled(values, facts["medians"]) - medians) / np.array(facts["std"])
        return scaled

    def rows(self, values: Numbers, facts: Facts) -> Cells:
        """Rows that the detector rejects."""
        if not len(values):
            return np.zeros(0, bool)
        found = opened(facts["kept"]).predict(self._scaled(values, facts))
        result: Cells = np.asarray(found) < 0
        return result

    def strange(self, values: Numbers, facts: Facts) -> Cells:
        """Cells of rejected rows that are out of the usual range."""
        low, high = np.array(facts["low"]), np.array(facts["high"])
        result: Cells = ((values < low) | (values > high)) & self.rows(values, facts)[:, None]
        return result


class Forest(_ByRow):
    """Rows that few random cuts set apart from the others (isolation forest, Liu et al. 2008).

    Args:
        then: `mark` adds an entry that says so, `clip` moves strange cells to the nearest usual
            number, `blank` empties them, and `drop` leaves the rows out of training (elsewhere
            they stay as they are).
        share: The share of training rows that are outliers; null takes the article's threshold.
        trees: Number of trees.
    """

    def __init__(
        self, *, then: Then = "mark", share: float | None = None, trees: int = 100
    ) -> None:
        self.then: Then = then
        self.share, self.trees = checked(share), trees
        if trees < 1:
            raise ConfigError(f"`trees` should be at least 1. Found {trees}.")

    def make(self) -> Any:
        """scikit-learn's forest."""
        share = "auto" if self.share is None else self.share
        ensemble = require("sklearn.ensemble", "tables")
        return ensemble.IsolationForest(
            n_estimators=self.trees, contamination=share, random_state=0
        )


class LocalDensity(_ByRow):
    """Rows in thinner surroundings than their neighbours' (local outlier factor, Breunig 2000).

    The run keeps the training rows' numbers. A training row is its own neighbour when it is judged.

    Args:
        then: `mark` adds an entry that says so, `clip` moves strange cells to the nearest usual
            number, `blank` empties them, and `drop` leaves the rows out of training (elsewhere
            they stay as they are).
        share: The share of training rows that are outliers; null takes the article's threshold.
        neighbours: Number of neighbours.
    """

    def __init__(
        self, *, then: Then = "mark", share: float | None = None, neighbours: int = 20
    ) -> None:
        self.then: Then = then
        self.share, self.neighbours = checked(share), neighbours
        if neighbours < 1:
            raise ConfigError(f"`neighbours` should be at least 1. Found {neighbours}.")

    def make(self) -> Any:
        """scikit-learn's factor."""
        share = "auto" if self.share is None else self.share
        made = require("sklearn.neighbors", "tables").LocalOutlierFactor
        return made(n_neighbors=self.neighbours, contamination=share, novelty=True)


def checked(share: float | None) -> float | None:
    """A share of outliers as it is, if it can be one."""
    if share is not None and not 0 < share <= 0.5:
        raise ConfigError(f"`share` should be above 0 and at most 0.5. Found {share}.")
    return share
