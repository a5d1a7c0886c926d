"""Polytask: one model for many tasks, trained, judged and shipped.

The package itself imports nothing: ``import polytask.balancing`` costs what ``import torch`` costs.
"""

__version__ = "0.1.0"
