"""Sharing topologies: how tasks share a network.

    def column():  # a network; most topologies make several
        stages = nn.Sequential(nn.Sequential(nn.Linear(20, 64), nn.ReLU()), nn.Linear(64, 32))
        return SequentialBackbone(stages, widths=(64, 32))

    trunk = CrossStitch(column, ["age", "income"])
    features = trunk(Features(rows), ["age", "income"])  # rows: [B, 20]; {task: Features}
    losses = [loss_of(heads[task](features[task].values)) for task in trunk.tasks]
    backward(losses, balancer, shared=trunk.shared_parameters())

`TRUNKS` has all of them by name. What each is for is in docs/sharing.md.
"""

from polytask.sharing.adapters import LoRA
from polytask.sharing.adversarial import SharedPrivate
from polytask.sharing.attention import MTAN
from polytask.sharing.base import Trunk
from polytask.sharing.bottlenecks import Adapters
from polytask.sharing.catalogue import TRUNKS
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
    "TRUNKS",
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
