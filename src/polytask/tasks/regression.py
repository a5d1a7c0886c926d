"""One or many numbers, each by one output.

Shapes: B examples, K outputs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor

from polytask.tasks.base import mean_of_known
from polytask.tasks.numeric import Numeric

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Regression(Numeric):
    """K numbers, learned on a standard scale and judged in their own units.

    Single cells may be missing: an example counts with the outputs that are known.

    Attributes:
        criterion: `mse`, `l1`, or `huber` (quadratic up to `delta`, then linear).
        delta: Where Huber's loss turns linear, in standard deviations if `standardize`.
    """

    criterion: Literal["mse", "l1", "huber"] = "mse"
    delta: float = 1.0

    @property
    def outputs(self) -> int:
        return len(self.mean)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        value, known = self.scaled(target)
        if self.criterion == "mse":
            loss = F.mse_loss(output, value, reduction="none")
        elif self.criterion == "l1":
            loss = F.l1_loss(output, value, reduction="none")
        else:
            loss = F.huber_loss(output, value, reduction="none", delta=self.delta)
        return mean_of_known(loss, known)

    def decode(self, output: Tensor) -> Tensor:
        mean, std = self.scale(output)
        return output.float() * std + mean

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.metrics import regression_metrics

        return regression_metrics(self.outputs)

    @property
    def score(self) -> str:
        return "r2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        return [dict(zip(self.output_names, row, strict=True)) for row in decoded.tolist()]
