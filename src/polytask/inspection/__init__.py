"""A look inside of a trained network: who shares what, who is like whom, who looks where."""

from polytask.inspection.conflict import conflicts, shared_layers
from polytask.inspection.similarity import cka, streams

__all__ = ["cka", "conflicts", "shared_layers", "streams"]
