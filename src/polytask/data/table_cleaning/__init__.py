"""What is wrong with the numbers of a table, mended by what training rows say.

Each part is a description without state: `fit` gives facts that survive JSON, the other method
applies them to any rows.
"""

from polytask.data.table_cleaning.cleaning import Cleaned, TableCleaning
from polytask.data.table_cleaning.missing import (
    DropRows,
    Fill,
    IterativeFill,
    Missing,
    NearestFill,
)
from polytask.data.table_cleaning.outliers import Forest, LocalDensity, Outliers, RobustZ
from polytask.data.table_cleaning.selection import (
    ByModel,
    Components,
    Selection,
    Univariate,
    Variance,
)

__all__ = [
    "ByModel",
    "Cleaned",
    "Components",
    "DropRows",
    "Fill",
    "Forest",
    "IterativeFill",
    "LocalDensity",
    "Missing",
    "NearestFill",
    "Outliers",
    "RobustZ",
    "Selection",
    "TableCleaning",
    "Univariate",
    "Variance",
]
