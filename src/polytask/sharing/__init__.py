"""Sharing topologies: how tasks share a network."""

from polytask.sharing.adversarial import SharedPrivate
from polytask.sharing.base import MakeBackbone, Trunk
from polytask.sharing.hard import HardSharing, Independent
from polytask.sharing.penalized import SoftSharing

__all__ = [
    "HardSharing",
    "Independent",
    "MakeBackbone",
    "SharedPrivate",
    "SoftSharing",
    "Trunk",
]
