"""Which tasks belong together: measures of affinity, and groups that follow from them."""

from polytask.affinity.grouping import Group, Grouping, best_grouping, pairwise_gains
from polytask.affinity.measures import averaged, first_order, gradient_cosine, lookahead
from polytask.affinity.surrogate import Surrogate, fit_surrogate, sample_subsets

__all__ = [
    "Group",
    "Grouping",
    "Surrogate",
    "averaged",
    "best_grouping",
    "first_order",
    "fit_surrogate",
    "gradient_cosine",
    "lookahead",
    "pairwise_gains",
    "sample_subsets",
]
