"""Every balancer by the name that a configuration uses."""

from typing import TYPE_CHECKING, Any, cast

from polytask.balancing.alignment import IMTL, IMTLG, AlignedMTL, ConFIG
from polytask.balancing.bargaining import FairGrad, NashMTL
from polytask.balancing.base import Balancer
from polytask.balancing.bilevel import AutoLambda
from polytask.balancing.elementwise import GradDrop
from polytask.balancing.famo import FAMO
from polytask.balancing.fixed import ConstantWeights, EqualWeighting, RandomWeights
from polytask.balancing.loss_history import DynamicTaskPriority, DynamicWeightAverage
from polytask.balancing.min_norm import EDM, MGDA, CAGrad
from polytask.balancing.norms import GradNorm, MetaBalance
from polytask.balancing.online import OnlineCAGrad, OnlineMGDA
from polytask.balancing.online_cone import OnlineDualProj, OnlineUPGrad
from polytask.balancing.preference import (
    COSMOS,
    BoundaryIntersection,
    SmoothTchebycheff,
    Tchebycheff,
)
from polytask.balancing.projection import DualProj, GradVac, PCGrad, UPGrad
from polytask.balancing.remembering import DBMTL, ExcessMTL, MoCo
from polytask.balancing.robust import Krum, TrimmedMean
from polytask.balancing.scalarization import GeometricMean, ScaleInvariant
from polytask.balancing.smoothed import SmoothedWeights
from polytask.balancing.stochastic import MoDo, SDMGrad
from polytask.balancing.turns import MomentumConFIG
from polytask.balancing.uncertainty import (
    ImpartialLosses,
    SoftUncertaintyWeighting,
    UncertaintyWeighting,
)
from polytask.types import Catalogue

if TYPE_CHECKING:

    class NamedBalancer(Balancer):
        """What type checkers take a balancer of the table for: its name decides its keywords."""

        def __init__(self, num_tasks: int, **settings: Any) -> None: ...


_KINDS: dict[str, type[Balancer]] = {
    "equal": EqualWeighting,
    "constant": ConstantWeights,
    "uw": UncertaintyWeighting,
    "dwa": DynamicWeightAverage,
    "rlw": RandomWeights,
    "gls": GeometricMean,
    "si": ScaleInvariant,
    "uw-so": SoftUncertaintyWeighting,
    "imtl-l": ImpartialLosses,
    "famo": FAMO,
    "stch": SmoothTchebycheff,
    "tchebycheff": Tchebycheff,
    "cosmos": COSMOS,
    "pbi": BoundaryIntersection,
    "dtp": DynamicTaskPriority,
    "auto-lambda": AutoLambda,
    "mgda": MGDA,
    "pcgrad": PCGrad,
    "gradvac": GradVac,
    "cagrad": CAGrad,
    "edm": EDM,
    "imtl-g": IMTLG,
    "imtl": IMTL,
    "nash-mtl": NashMTL,
    "fairgrad": FairGrad,
    "aligned-mtl": AlignedMTL,
    "upgrad": UPGrad,
    "dualproj": DualProj,
    "config": ConFIG,
    "gradnorm": GradNorm,
    "metabalance": MetaBalance,
    "online-mgda": OnlineMGDA,
    "online-cagrad": OnlineCAGrad,
    "online-dualproj": OnlineDualProj,
    "online-upgrad": OnlineUPGrad,
    "modo": MoDo,
    "sdmgrad": SDMGrad,
    "krum": Krum,
    "cr-mogm": SmoothedWeights,
    "graddrop": GradDrop,
    "trimmed-mean": TrimmedMean,
    "db-mtl": DBMTL,
    "m-config": MomentumConFIG,
    "moco": MoCo,
    "excessmtl": ExcessMTL,
}
BALANCERS: "dict[str, type[NamedBalancer]]" = Catalogue(
    "balancer", cast("dict[str, type[NamedBalancer]]", _KINDS)
)
