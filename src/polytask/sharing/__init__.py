"""Sharing topologies: how tasks share a network."""

from polytask.sharing.adapters import LoRA
from polytask.sharing.adversarial import SharedPrivate
from polytask.sharing.attention import MTAN
from polytask.sharing.base import Trunk
from polytask.sharing.bottlenecks import Adapters
from polytask.sharing.conditioned import FiLM
from polytask.sharing.experts import DSelectK, MMoE
from polytask.sharing.extraction import CGC, PLE
from polytask.sharing.fused import NDDR
from polytask.sharing.hard import HardSharing, Independent
from polytask.sharing.hierarchical import Hierarchy, SharedThenSplit
from polytask.sharing.joined import Joined
from polytask.sharing.joint import JointMany
from polytask.sharing.making import MakeBackbone
from polytask.sharing.penalized import SoftSharing
from polytask.sharing.refined import PADNet
from polytask.sharing.sluice import Sluice
from polytask.sharing.soft import CrossStitch

__all__ = [
    "CGC",
    "MTAN",
    "NDDR",
    "PLE",
    "Adapters",
    "CrossStitch",
    "DSelectK",
    "FiLM",
    "HardSharing",
    "Hierarchy",
    "Independent",
    "Joined",
    "JointMany",
    "LoRA",
    "MMoE",
    "MakeBackbone",
    "PADNet",
    "SharedPrivate",
    "SharedThenSplit",
    "Sluice",
    "SoftSharing",
    "Trunk",
]
