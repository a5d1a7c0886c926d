"""Blank numbers, filled by what training rows say of them.

Letters: N rows, D columns of numbers, blank where NaN.
"""

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.table_cleaning.keeping import kept, opened
from polytask.errors import ConfigError, require

Numbers = NDArray[np.float64]
Facts = dict[str, Any]


class Missing(ABC):
    """How blank numbers are filled.

    Args:
        indicators: Whether a second entry says where a number was blank, for columns with a blank
            training row.
    """

    indicators: bool
    share: ClassVar[float | None] = None

    @abstractmethod
    def fit(self, values: Numbers) -> Facts:
        """What fills blanks, learned of training rows `[N, D]`; each column has a number."""

    @abstractmethod
    def fill(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows without blanks, `[N, D]`."""


def centres(values: Numbers, strategy: str) -> list[float]:
    """The number that stands for each column, `[D]`, by scikit-learn's imputer."""
    imputer = require("sklearn.impute", "tables").SimpleImputer(strategy=strategy)
    found: list[float] = imputer.fit(values).statistics_.tolist()
    return found


def filled(values: Numbers, numbers: list[float]) -> Numbers:
    """Rows with one number per column in place of blanks."""
    return np.where(np.isnan(values), np.array(numbers)[None, :], values)


class Fill(Missing):
    """One number per column.

    Args:
        indicators: Whether a second entry says where a number was blank, for columns with a blank
            training row.
        strategy: The column's `mean`, `median` or `most_frequent` number in training rows.
    """

    def __init__(
        self,
        *,
        indicators: bool = True,
        strategy: Literal["mean", "median", "most_frequent"] = "mean",
    ) -> None:
        self.indicators, self.strategy = indicators, strategy

    def fit(self, values: Numbers) -> Facts:
        """The numbers."""
        return {"numbers": centres(values, self.strategy)}

    def fill(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows without blanks."""
        return filled(values, facts["numbers"])


class NearestFill(Missing):
    """The mean of the nearest training rows, by the columns that both have (k-NN imputation).

    Columns are brought to one scale first. The run keeps the training rows' numbers.

    Args:
        indicators: Whether a second entry says where a number was blank, for columns with a blank
            training row.
        neighbours: How many rows.
        rows: At most so many training rows to choose among, evenly spaced.
    """

    def __init__(self, *, indicators: bool = True, neighbours: int = 5, rows: int = 5000) -> None:
        if neighbours < 1 or rows < neighbours:
            raise ConfigError(
                "`neighbours` should be at least 1 and at most `rows`. Found "
                f"{neighbours} and {rows}."
            )
        self.indicators, self.neighbours, self.rows = indicators, neighbours, rows

    def fit(self, values: Numbers) -> Facts:
        """The rows to choose among."""
        mean, std = np.nanmean(values, 0), np.nanstd(values, 0)
        std = np.where(std > 0, std, 1.0)
        some = ((values - mean) / std)[:: -(-len(values) // self.rows)]
        known = ~np.isnan(some).all(0)
        some = np.where(known, some, 0.0)  # a column that these few rows lack: its mean
        imputer = require("sklearn.impute", "tables").KNNImputer(n_neighbors=self.neighbours)
        return {"mean": mean.tolist(), "std": std.tolist(), "kept": kept(imputer.fit(some))}

    def fill(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows without blanks."""
        mean, std = np.array(facts["mean"]), np.array(facts["std"])
        result: Numbers = opened(facts["kept"]).transform((values - mean) / std)
        return np.where(np.isnan(values), result * std + mean, values)


class IterativeFill(Missing):
    """Each column predicted of the others by Bayesian ridge regression, round after round.

    scikit-learn's `IterativeImputer`, after MICE (van Buuren & Groothuis-Oudshoorn 2011).

    Args:
        indicators: Whether a second entry says where a number was blank, for columns with a blank
            training row.
        rounds: At most so many rounds.
    """

    def __init__(self, *, indicators: bool = True, rounds: int = 10) -> None:
        if rounds < 1:
            raise ConfigError(f"`rounds` should be at least 1. Found {rounds}.")
        self.indicators, self.rounds = indicators, rounds

    def fit(self, values: Numbers) -> Facts:
        """The regressions."""
        require("sklearn.experimental.enable_iterative_imputer", "tables")
        made = require("sklearn.impute", "tables").IterativeImputer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that more rounds would change it a little
            return {"kept": kept(made(max_iter=self.rounds, random_state=0).fit(values))}

    def fill(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows without blanks."""
        require("sklearn.experimental.enable_iterative_imputer", "tables")
        result: Numbers = opened(facts["kept"]).transform(values)
        return result


class DropRows(Missing):
    """Training rows with too many blanks are left out; elsewhere the column's mean fills them.

    Rows of validation, test and prediction always stay: they are asked for.

    Args:
        indicators: Whether a second entry says where a number was blank, for columns with a blank
            training row.
        share: Rows stay whose share of blank numbers is not greater than this.
    """

    def __init__(self, *, indicators: bool = False, share: float = 0.0) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"`share` should be at least 0 and below 1. Found {share}.")
        self.indicators = indicators
        self.share = share  # type: ignore[misc]

    def fit(self, values: Numbers) -> Facts:
        """The means."""
        return {"numbers": centres(values, "mean")}

    def fill(self, values: Numbers, facts: Facts) -> Numbers:
        """The rows without blanks."""
        return filled(values, facts["numbers"])
