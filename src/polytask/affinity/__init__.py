"""Which tasks belong together: measures of affinity, and groups that follow from them."""

from polytask.affinity.exhaustive import every_set, looked_up
from polytask.affinity.grouping import Group, Grouping, best_grouping, pairwise_gains
from polytask.affinity.measures import averaged, first_order, gradient_cosine, lookahead
from polytask.affinity.surrogate import Surrogate, fit_surrogate, sample_subsets

__all__ = [
    "Group",
    "Grouping",
    "Surrogate",
    "averaged",
    "best_grouping",
    "every_set",
    "first_order",
    "fit_surrogate",
    "gradient_cosine",
    "lookahead",
    "looked_up",
    "pairwise_gains",
    "sample_subsets",
]
