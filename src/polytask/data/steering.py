"""Mixing by what validation measures: shares that are decided at the end of each epoch.

Letters: q the examples of a source per step.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import isfinite
from statistics import fmean
from typing import Any, Literal

from polytask.data.mixing import Mixing, Proportional, Uniform
from polytask.errors import ConfigError
from polytask.types import Scores, loss_of

Shares = dict[str, Fraction]

# Shares are whole multiples of this, so that sums over many epochs stay exact and short.
GRAIN = Fraction(1, 10**6)


class ValidationLoss(Mixing):
    """More of the sources whose validation losses have fallen least, epoch by epoch.

    After each epoch a source has of its losses the share `left` that is left: for each task with
    labels there, the validation loss over the one after the first epoch, at most 1, and of these
    the mean. The next epoch draws it in proportion to `base * left ** strength`; `floor` of its
    base share is certain. The first two epochs have the base shares. A source without validation
    labels keeps its base share for good.

    Gottumukkala et al. (2020, Dynamic Sampling Strategies for Multi-Task Reading Comprehension)
    and Jean et al. (2019, Adaptive Scheduling for Multi-Task Learning) draw more of the tasks whose
    validation score is far below that of a model of their own. That needs trained models of every
    task first, and scores that can be compared. Here a loss is compared with its own beginning, as
    Chen et al. (2018, GradNorm) do with training losses, whose exponent `strength` is. A loss above
    its first one counts as 1: more draws would help a source to be learnt by heart. Losses that
    are not above 0 at first (of densities) cannot be compared so, and are left out. What is hard
    cannot be told from noise: a source of thrown coins is drawn more and more.

    Args:
        base: Shares to begin with: as often as a source has rows, or every source the same.
        strength: 0 leaves the shares as they are; the larger, the further they move.
        smoothing: How much of what was left counts from the epochs before, in [0, 1).
        floor: How much of its base share a source keeps at least, in [0, 1].
    """

    follows = True

    def __init__(
        self,
        *,
        base: Literal["proportional", "uniform"] = "proportional",
        strength: float = 1.0,
        smoothing: float = 0.5,
        floor: float = 0.2,
    ) -> None:
        if strength < 0 or not 0 <= smoothing < 1 or not 0 <= floor <= 1:
            raise ConfigError(
                "`strength` should be at least 0, `smoothing` from 0 to below 1 and `floor` from 0 "
                f"to 1. Found {strength}, {smoothing} and {floor}."
            )
        self.base: Mixing = Uniform() if base == "uniform" else Proportional()
        self.strength, self.smoothing, self.floor = strength, smoothing, floor

    def shares(self, sizes: Mapping[str, int], batch_size: int) -> Shares:
        """Those of the first epoch: the base shares."""
        return self.base.shares(sizes, batch_size)


def by_progress(
    base: Mapping[str, Fraction], left: Mapping[str, float], *, strength: float, floor: float
) -> Shares:
    """`q = floor * base + (1 - floor) * base * left ** strength * c`, in grains.

    The number c is such that the sources in `left` have together what they had before; those that
    are not in it keep their base shares.

    Args:
        base: Shares to begin with.
        left: How much of its loss a source has left, from 0 to 1.
        strength: The exponent.
        floor: How much of its base share a source keeps at least.
    """
    pulls = {s: base[s] * Fraction(left[s] ** strength) for s in base if s in left}
    room, total = sum(base[s] for s in pulls), sum(pulls.values())
    if not total:
        return dict(base)
    kept = Fraction(floor)
    wanted = {s: kept * base[s] + (1 - kept) * room * pull / total for s, pull in pulls.items()}
    rounded = {s: share // GRAIN * GRAIN for s, share in wanted.items()}
    largest = max(rounded, key=lambda s: rounded[s])
    rounded[largest] += room - sum(rounded.values())
    return {s: rounded.get(s, share) for s, share in base.items()}


class Steering:
    """The shares of each epoch so far and of the next one, and what they rest on.

    Args:
        mixing: The rule.
        base: Shares of the first epoch.
    """

    def __init__(self, mixing: ValidationLoss, base: Mapping[str, Fraction]) -> None:
        self.mixing, self.base = mixing, dict(base)
        self.epochs: list[Shares] = [self.base]
        self._first: dict[str, dict[str, float]] = {}
        self._left: dict[str, float] = {}

    def end_epoch(self, scores: Scores) -> None:
        """Decide the shares of the next epoch.

        Args:
            scores: Of validation, with `loss_of(source)` beside a task's own metrics. Where
                nothing was measured, shares stay.
        """
        for source in self.base:
            now = self._left_of(source, scores)
            if now is not None:
                before = self._left.get(source, 1.0)
                kept = self.mixing.smoothing
                self._left[source] = kept * before + (1 - kept) * now
        self.epochs.append(
            by_progress(
                self.base, self._left, strength=self.mixing.strength, floor=self.mixing.floor
            )
        )

    def _left_of(self, source: str, scores: Scores) -> float | None:
        """How much of a source's losses is left, the mean over its tasks; None if unknown."""
        first = self._first.setdefault(source, {})
        left = []
        for task, measured in scores.items():
            loss = measured.get(loss_of(source))
            if loss is None or not isfinite(loss):
                continue
            begun = first.setdefault(task, loss)
            if begun > 0:
                left.append(min(1.0, max(0.0, loss / begun)))
        return fmean(left) if left else None

    def state_dict(self) -> dict[str, Any]:
        """Plain values: shares as numerators and denominators."""
        return {
            "shares": [
                {s: [q.numerator, q.denominator] for s, q in shares.items()}
                for shares in self.epochs
            ],
            "first": {source: dict(losses) for source, losses in self._first.items()},
            "left": dict(self._left),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: If it is of other sources.
        """
        epochs = [{s: Fraction(*pair) for s, pair in shares.items()} for shares in state["shares"]]
        if epochs[0] != self.base:
            raise ValueError("the shares of the sources that were saved are of another mixing")
        self.epochs = epochs
        self._first = {source: dict(losses) for source, losses in state["first"].items()}
        self._left = dict(state["left"])
