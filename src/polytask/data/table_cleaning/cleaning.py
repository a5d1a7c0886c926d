"""All that is done to the numbers of a table, in order.

Letters: N rows, D columns of numbers.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.columns import divisor
from polytask.data.table_cleaning.keeping import kept, opened
from polytask.data.table_cleaning.missing import Facts, Fill, Missing, Numbers
from polytask.data.table_cleaning.outliers import Outliers
from polytask.data.table_cleaning.pieces import edges, passed
from polytask.data.table_cleaning.selection import Selection
from polytask.errors import ConfigError, DataError, require

Scale = Literal["standard", "robust", "quantile", "none"]


@dataclass(frozen=True)
class Cleaned:
    """Rows that were cleaned.

    Attributes:
        values: `[N, ...]` the numbers, their pieces, indicators of blanks, the mark of outliers.
        imputed: `[N, D]` where a number was blank, or was emptied as an outlier.
        outliers: `[N]` which rows are outliers.
    """

    values: Numbers
    imputed: NDArray[np.bool_]
    outliers: NDArray[np.bool_]


class TableCleaning:
    """Outliers, then blanks, then scales of a table's numbers; last, which entries stay.

    All of it is learned from training rows, kept with the run, and applied alike in validation,
    test and prediction.

    Args:
        missing: How blank numbers are filled; the mean and an indicator if left out.
        outliers: What is far from the rest, and what becomes of it.
        scale: `standard` takes out mean and standard deviation, `robust` median and the distance
            of the quartiles, `quantile` makes every column normally distributed.
        pieces: Ranges with equally many training rows that each number is cut into, so that a
            network bends where the data does, as trees do; 8 to 96 are worth a try where there are
            thousands of rows. Each range is one entry more, beside the number itself. 0: none.
        select: Fewer entries of the whole vector, categories included.
    """

    def __init__(
        self,
        *,
        missing: Missing | None = None,
        outliers: Outliers | None = None,
        scale: Scale = "standard",
        pieces: int = 0,
        select: Selection | None = None,
    ) -> None:
        if pieces < 0:
            raise ConfigError(f"`pieces` should be at least 0. Found {pieces}.")
        self.missing = Fill() if missing is None else missing
        self.outliers, self.scale, self.pieces, self.select = outliers, scale, pieces, select

    def fit(self, values: Numbers, names: list[str]) -> tuple[Facts, NDArray[np.bool_]]:
        """Learn from training rows `[N, D]`.

        Args:
            values: The numbers, NaN where blank.
            names: What the columns are called.

        Returns:
            The facts, and which training rows stay, `[N]`.

        Raises:
            DataError: If no row, or no number of a column, stays.
        """
        stay = np.ones(len(values), bool)
        facts: Facts = {}
        if self.outliers is not None:
            facts["outliers"] = self.outliers.fit(values)
            if self.outliers.then == "drop":
                stay &= ~self.outliers.rows(values, facts["outliers"])
            values = self.outliers.mended(values, facts["outliers"])
        if self.missing.share is not None:
            stay &= np.isnan(values).mean(1) <= self.missing.share
        if not stay.any():
            raise DataError(
                f"No training row is left of {len(values)}: all were dropped as outliers or for "
                "their blanks. Fill blanks instead (clean.missing), or drop less."
            )
        values = values[stay]
        empty = np.flatnonzero(np.isnan(values).all(axis=0))
        if len(empty):
            raise DataError(
                f"Column '{names[empty[0]]}' has no number left in any training row: leave it out."
            )
        facts["missing"] = self.missing.fit(values)
        some_blank = np.flatnonzero(np.isnan(values).any(0))
        facts["indicated"] = some_blank.tolist() if self.missing.indicators else []
        filled = self.missing.fill(values, facts["missing"])
        facts["scale"] = self._fit_scale(filled)
        if self.pieces:
            facts["edges"] = [edges(column, self.pieces).tolist() for column in filled.T]
        return facts, stay

    def _fit_scale(self, values: Numbers) -> Facts:
        if self.scale == "none":
            return {}
        preprocessing = require("sklearn.preprocessing", "tables")
        if self.scale == "quantile":
            made = preprocessing.QuantileTransformer(
                n_quantiles=min(1000, len(values)), output_distribution="normal", random_state=0
            )
            return {"kept": kept(made.fit(values))}
        if self.scale == "standard":
            made = preprocessing.StandardScaler().fit(values)
            centre, spread = made.mean_, np.sqrt(made.var_)
        else:  # as RobustScaler, which takes what is narrower than 2e-15 for constant
            low, centre, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            spread = high - low
        width = [divisor(float(w), v) for w, v in zip(spread, values.T, strict=True)]
        return {"centre": centre.tolist(), "width": width}

    def apply(self, values: Numbers, facts: Facts) -> Cleaned:
        """Rows `[N, D]` as training rows were made."""
        outliers = np.zeros(len(values), bool)
        if self.outliers is not None:
            outliers = self.outliers.rows(values, facts["outliers"])
            values = self.outliers.mended(values, facts["outliers"])
        blank = np.isnan(values)
        values = self.missing.fill(values, facts["missing"]) if len(values) else values
        blocks: list[NDArray[Any]] = [self._scaled(values, facts["scale"])]
        if self.pieces:
            pairs = zip(values.T, facts["edges"], strict=True)
            blocks += [passed(column, np.array(ends)) for column, ends in pairs]
        blocks.append(blank[:, facts["indicated"]])
        if self.outliers is not None and self.outliers.then == "mark":
            blocks.append(outliers[:, None])
        return Cleaned(np.concatenate(blocks, 1).astype(np.float64), blank, outliers)

    def _scaled(self, values: Numbers, facts: Facts) -> Numbers:
        if "kept" in facts:
            return np.asarray(opened(facts["kept"]).transform(values)) if len(values) else values
        if not facts:
            return values
        scaled: Numbers = (values - np.array(facts["centre"])) / np.array(facts["width"])
        return scaled

    def names(self, names: list[str], facts: Facts) -> list[str]:
        """What the entries of `Cleaned.values` are."""
        result = list(names)
        if self.pieces:
            for name, ends in zip(names, facts["edges"], strict=True):
                result += [f"{name} {a:g} to {b:g}" for a, b in itertools.pairwise(ends)]
        result += [f"{names[k]} is blank" for k in facts["indicated"]]
        marks = self.outliers is not None and self.outliers.then == "mark"
        return [*result, "is an outlier"] if marks else result
