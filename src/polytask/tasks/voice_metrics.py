"""Metrics of spoken sounds; sums over examples, so that batches do not matter.

Shapes: B examples, R frames, M mel bands.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from polytask.tasks.base import LOCAL
from polytask.tasks.metrics import MeanOf
from polytask.tasks.synthesis import Synthesis

PerExample = Callable[[Tensor, Tensor], Tensor]


class SavedError(Metric):
    """D2: the share of a constant prediction's error that predictions save.

    Args:
        ours: The error of each example, `[B]`, of a prediction and a target.
        constant: That of the constant prediction.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, ours: PerExample, constant: PerExample) -> None:
        super().__init__(**LOCAL)
        self.errors = ours, constant
        self.add_state("sums", torch.zeros(2, dtype=torch.float64))

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch."""
        found = [error(predicted, target).double().sum() for error in self.errors]
        self.sums = self.sums + torch.stack(found)

    def compute(self) -> Tensor:
        """1 is perfect, 0 as good as the constant; NaN where that is perfect."""
        ours, constant = self.sums
        share = 1.0 - ours / constant
        return torch.where(constant > 0, share, torch.full_like(share, float("nan"))).float()


def synthesis_metrics(task: Synthesis) -> MetricCollection:
    """Errors of frames in decibels and of lengths in seconds, and what the mean frame is off more.

    Lengths are an error of their own: frames are compared once sounds are stretched to the true
    length.
    """
    return MetricCollection(
        {
            "mel_error": MeanOf(task.distance),
            "length_error": MeanOf(task.late),
            "d2": SavedError(task.distance, task.constant),
        },
        compute_groups=False,
    )
