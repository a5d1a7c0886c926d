"""Fewer entries of a vector: the most telling ones, or combinations of them.

Letters: N rows, D entries, T columns of targets.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.data.table_cleaning.missing import Facts, Numbers
from polytask.errors import ConfigError, DataError, require

# A column of targets, NaN where it is unknown, and whether it holds classes.
Target = tuple[NDArray[np.float64], bool]


class Selection(ABC):
    """How a vector becomes a shorter one."""

    supervised: bool = False

    @abstractmethod
    def fit(self, values: Numbers, targets: Sequence[Target]) -> Facts:
        """What is kept, learned of training rows `[N, D]` and, if `supervised`, their targets."""

    def apply(self, values: Numbers, facts: Facts) -> Numbers:
        """The shorter rows."""
        return values[:, facts["kept"]]

    def names(self, names: Sequence[str], facts: Facts) -> list[str]:
        """What the shorter vector's entries are."""
        return [names[k] for k in facts["kept"]]


class Components(Selection):
    """Principal components.

    Args:
        components: How many, or below 1 the share of the variance that they should explain.
    """

    def __init__(self, *, components: float = 0.95) -> None:
        if components <= 0 or (components > 1 and components != int(components)):
            raise ConfigError(
                f"`components` should be a whole number or a share below 1. Found {components}."
            )
        self.components = components

    def fit(self, values: Numbers, targets: Sequence[Target]) -> Facts:
        """Mean and directions."""
        wanted = self.components if self.components < 1 else int(self.components)
        if wanted > min(values.shape):
            raise DataError(
                f"`components` should be at most {min(values.shape)}: there are {len(values)} "
                f"training rows with {values.shape[1]} numbers. Found {wanted}."
            )
        made = require("sklearn.decomposition", "tables").PCA(wanted, random_state=0).fit(values)
        return {
            "mean": made.mean_.tolist(),
            "directions": made.components_.tolist(),
            "explained": float(made.explained_variance_ratio_.sum()),
        }

    def apply(self, values: Numbers, facts: Facts) -> Numbers:
        """The components of each row."""
        result: Numbers = (values - np.array(facts["mean"])) @ np.array(facts["directions"]).T
        return result

    def names(self, names: Sequence[str], facts: Facts) -> list[str]:
        """Numbers from 1."""
        return [f"component {k + 1}" for k in range(len(facts["directions"]))]


class Variance(Selection):
    """Entries that vary enough in training rows.

    Args:
        least: The variance above which an entry stays.
    """

    def __init__(self, *, least: float = 0.0) -> None:
        if least < 0:
            raise ConfigError(f"`least` should be at least 0. Found {least}.")
        self.least = least

    def fit(self, values: Numbers, targets: Sequence[Target]) -> Facts:
        """Which entries stay."""
        return _some(np.flatnonzero(values.var(0) > self.least), f"varies above {self.least}")


class Univariate(Selection):
    """The entries that tell most about the tasks, each by itself.

    Scores of each task (F statistic or mutual information) are divided by their greatest and
    averaged over tasks.

    Args:
        keep: How many entries stay.
        score: `f` is quick and sees straight lines, `mutual_information` sees any dependence.
    """

    supervised = True

    def __init__(self, *, keep: int = 50, score: Literal["f", "mutual_information"] = "f") -> None:
        if keep < 1:
            raise ConfigError(f"`keep` should be at least 1. Found {keep}.")
        self.keep, self.score = keep, score

    def fit(self, values: Numbers, targets: Sequence[Target]) -> Facts:
        """Which entries stay."""
        return _best(values, targets, self.keep, self._scores)

    def _scores(self, values: Numbers, target: NDArray[Any], classes: bool) -> NDArray[Any]:
        made = require("sklearn.feature_selection", "tables")
        if self.score == "f":
            with np.errstate(divide="ignore", invalid="ignore"):
                found = (made.f_classif if classes else made.f_regression)(values, target)[0]
        else:
            measure = made.mutual_info_classif if classes else made.mutual_info_regression
            found = measure(values, target, random_state=0)
        return np.asarray(found)


class ByModel(Selection):
    """The entries that randomised trees use most for the tasks (Geurts et al. 2006).

    Importances are averaged over tasks.

    Args:
        keep: How many entries stay.
        trees: Trees per column of targets.
    """

    supervised = True

    def __init__(self, *, keep: int = 50, trees: int = 100) -> None:
        if min(keep, trees) < 1:
            raise ConfigError(f"`keep` and `trees` should be at least 1. Found {keep}, {trees}.")
        self.keep, self.trees = keep, trees

    def fit(self, values: Numbers, targets: Sequence[Target]) -> Facts:
        """Which entries stay."""
        return _best(values, targets, self.keep, self._scores)

    def _scores(self, values: Numbers, target: NDArray[Any], classes: bool) -> NDArray[Any]:
        ensemble = require("sklearn.ensemble", "tables")
        made = ensemble.ExtraTreesClassifier if classes else ensemble.ExtraTreesRegressor
        forest = made(n_estimators=self.trees, min_samples_leaf=3, random_state=0)
        return np.asarray(forest.fit(values, target).feature_importances_)


def _best(values: Numbers, targets: Sequence[Target], keep: int, score: Any) -> Facts:
    total = np.zeros(values.shape[1])
    for target, classes in targets:
        known = ~np.isnan(target)
        if len(np.unique(target[known])) < 2:
            continue
        found = np.nan_to_num(score(values[known], target[known], classes), posinf=0.0)
        total += found / max(float(found.max()), 1e-12)
    kept = np.sort(np.argsort(-total, kind="stable")[:keep])
    return _some(kept, "is left")


def _some(kept: NDArray[Any], what: str) -> Facts:
    if not len(kept):
        raise DataError(f"No entry of the table input {what} in training rows: select fewer.")
    return {"kept": kept.tolist()}
