"""Sharing topologies: how tasks share a network."""

from polytask.sharing.base import MakeBackbone, Trunk
from polytask.sharing.hard import HardSharing, Independent

__all__ = ["HardSharing", "Independent", "MakeBackbone", "Trunk"]
