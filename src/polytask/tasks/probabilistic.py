"""Numbers with what is not known about them: quantiles, or a mean and a variance.

Shapes: B examples, K outputs, Q quantiles.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from polytask.tasks.base import mean_of_known
from polytask.tasks.labels import Cells
from polytask.tasks.numeric import Numeric

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

# Variances below this, on the scale that the loss sees, are taken as this.
LEAST_VARIANCE = 1e-6


def pinball(predicted: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """The loss whose minimum is the quantile (Koenker & Bassett 1978), `[..., Q]`.

    Args:
        predicted: `[..., Q]`.
        target: `[...]`.
        quantiles: `[Q]` in (0, 1).
    """
    error = target.unsqueeze(-1) - predicted
    return torch.maximum(quantiles * error, (quantiles - 1.0) * error)


def gaussian_nll(mean: Tensor, variance: Tensor, target: Tensor, beta: float) -> Tensor:
    """The negative log likelihood without its constant, times `variance ** beta` held fixed.

    With `beta` above 0 examples that the model calls uncertain count more than in the plain
    likelihood, which lets go of them (Seitzer et al. 2022, who recommend 0.5).
    """
    loss = 0.5 * (variance.log() + (target - mean).square() / variance)
    return loss if beta == 0 else loss * variance.detach().pow(beta)


@dataclass(frozen=True, kw_only=True)
class Quantile(Numeric):
    """Q quantiles of each of K numbers, by the pinball loss; predictions never cross.

    The head's outputs are free; decoding sorts them, which never makes the loss greater
    (Chernozhukov et al. 2010). The number that is predicted is the quantile nearest to a half.

    Attributes:
        quantiles: Which ones, ascending, between 0 and 1.
    """

    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        inside = all(0 < q < 1 for q in self.quantiles)
        if (
            not inside
            or len(self.quantiles) < 2
            or list(self.quantiles) != sorted(set(self.quantiles))
        ):
            raise ValueError(
                "`quantiles` should be at least two numbers between 0 and 1, ascending. Found "
                f"{list(self.quantiles)}."
            )

    @property
    def outputs(self) -> int:
        return len(self.mean) * len(self.quantiles)

    @property
    def middle(self) -> int:
        """Which quantile is nearest to a half."""
        return int(np.argmin([abs(q - 0.5) for q in self.quantiles]))

    def fit(self, values: Cells) -> Self:
        fitted = super().fit(values)
        target = self.encode(values)[0].double().numpy()
        levels = np.nanquantile(target, self.quantiles, axis=0).T  # [K, Q]
        return replace(fitted, levels=tuple(levels.ravel().tolist()))

    def _apart(self, output: Tensor) -> Tensor:
        """Outputs as `[B, K, Q]`."""
        return output.view(len(output), len(self.mean), len(self.quantiles))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        value, known = self.scaled(target)
        quantiles = torch.tensor(self.quantiles, device=output.device)
        return mean_of_known(pinball(self._apart(output), value, quantiles).mean(2), known)

    def decode(self, output: Tensor) -> Tensor:
        mean, std = self.scale(output)
        sorted_ = self._apart(output.float()).sort(dim=2).values
        return sorted_ * std.unsqueeze(1) + mean.unsqueeze(1)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.probabilistic_metrics import quantile_metrics

        each = len(self.quantiles)
        levels = [self.levels[k * each : (k + 1) * each] for k in range(len(self.mean))]
        return quantile_metrics(self.quantiles, levels, self.middle)

    @property
    def score(self) -> str:
        return "d2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for example in decoded.tolist():
            row: dict[str, Any] = {}
            for name, found in zip(self.output_names, example, strict=True):
                row[name] = found[self.middle]
                row |= {f"{name}.q{q:g}": v for q, v in zip(self.quantiles, found, strict=True)}
            rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "levels": list(self.levels)}


@dataclass(frozen=True, kw_only=True)
class Gaussian(Numeric):
    """A mean and a variance for each of K numbers, by the normal distribution's likelihood.

    The loss can be below zero; balancers that take logarithms of losses refuse it.

    Attributes:
        beta: 0 is the plain likelihood. Between 0 and 1 examples with a large predicted variance
            count more (Seitzer et al. 2022); at 1 the mean learns as with squared errors.
    """

    beta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ValueError(f"`beta` should be between 0 and 1. Found {self.beta}.")

    @property
    def outputs(self) -> int:
        return 2 * len(self.mean)

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance on the scale of the loss, each `[B, K]`."""
        mean, raw = output.view(len(output), len(self.mean), 2).unbind(2)
        return mean, F.softplus(raw) + LEAST_VARIANCE

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        value, known = self.scaled(target)
        return mean_of_known(gaussian_nll(*self._parts(output), value, self.beta), known)

    def decode(self, output: Tensor) -> Tensor:
        """Mean and standard deviation in the target's units, `[B, K, 2]`."""
        shift, std = self.scale(output)
        mean, variance = self._parts(output.float())
        return torch.stack([mean * std + shift, variance.sqrt() * std], 2)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.probabilistic_metrics import gaussian_metrics

        return gaussian_metrics(len(self.mean))

    @property
    def score(self) -> str:
        return "r2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        rows = []
        for example in decoded.tolist():
            row: dict[str, Any] = {}
            for name, (mean, std) in zip(self.output_names, example, strict=True):
                row |= {name: mean, f"{name}.std": std}
            rows.append(row)
        return rows
