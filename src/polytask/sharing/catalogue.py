"""The sharing topologies by name."""

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
from polytask.sharing.penalized import SoftSharing
from polytask.sharing.refined import PADNet
from polytask.sharing.sluice import Sluice
from polytask.sharing.soft import CrossStitch
from polytask.types import Catalogue

TRUNKS: dict[str, type[Trunk]] = Catalogue(
    "way to share",
    {
        "hard": HardSharing,
        "independent": Independent,
        "shared-private": SharedPrivate,
        "soft": SoftSharing,
        "split": SharedThenSplit,
        "hierarchy": Hierarchy,
        "cross-stitch": CrossStitch,
        "mmoe": MMoE,
        "cgc": CGC,
        "ple": PLE,
        "dselect-k": DSelectK,
        "lora": LoRA,
        "film": FiLM,
        "mtan": MTAN,
        "pad-net": PADNet,
        "adapters": Adapters,
        "joined": Joined,
        "nddr": NDDR,
        "sluice": Sluice,
        "joint": JointMany,
    },
)
