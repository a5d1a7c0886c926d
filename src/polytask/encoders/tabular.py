"""Columns of a table, already numbers, as a vector.

Shapes: B examples, D numbers.
"""

from polytask.encoders.base import Encoder
from polytask.types import Features


class VectorEncoder(Encoder):
    """Numbers that need nothing more: standardised columns, indicators, one-hot categories.

    Args:
        width: D of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_features = width

    def forward(self, raw: Features) -> Features:
        """Vectors `[B, D]` as float32."""
        return Features(raw.values.float())
