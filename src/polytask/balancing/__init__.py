"""How the losses of several tasks become one update.

    balancer = MGDA(num_tasks=2)  # once; `BALANCERS` has all of them by name
    losses = torch.stack([loss_a, loss_b])
    backward(losses, balancer, shared=trunk.parameters())  # in place of losses.sum().backward()
    optimizer.step()

`backward` says what else it takes. Which balancer to choose is in docs/balancing/how-to-choose.md.
"""

from polytask.balancing.alignment import IMTL, IMTLG, AlignedMTL, ConFIG
from polytask.balancing.backward import backward
from polytask.balancing.bargaining import FairGrad, NashMTL
from polytask.balancing.base import (
    Balancer,
    DropsFeatures,
    EndsEpoch,
    GradientBalancer,
    GramianBalancer,
    LooksAhead,
    LossBalancer,
    RecomputesLosses,
    SolverError,
    TakesTurns,
    UsesIndependentBatches,
    WeighingBalancer,
)
from polytask.balancing.bilevel import AutoLambda
from polytask.balancing.catalogue import BALANCERS
from polytask.balancing.conflict import Conflict
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
from polytask.balancing.stacked import StackedHeads
from polytask.balancing.stochastic import MoDo, SDMGrad
from polytask.balancing.turns import MomentumConFIG
from polytask.balancing.uncertainty import (
    ImpartialLosses,
    SoftUncertaintyWeighting,
    UncertaintyWeighting,
)

__all__ = [
    "BALANCERS",
    "COSMOS",
    "DBMTL",
    "EDM",
    "FAMO",
    "IMTL",
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "AutoLambda",
    "Balancer",
    "BoundaryIntersection",
    "CAGrad",
    "ConFIG",
    "Conflict",
    "ConstantWeights",
    "DropsFeatures",
    "DualProj",
    "DynamicTaskPriority",
    "DynamicWeightAverage",
    "EndsEpoch",
    "EqualWeighting",
    "ExcessMTL",
    "FairGrad",
    "GeometricMean",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GradientBalancer",
    "GramianBalancer",
    "ImpartialLosses",
    "Krum",
    "LooksAhead",
    "LossBalancer",
    "MetaBalance",
    "MoCo",
    "MoDo",
    "MomentumConFIG",
    "NashMTL",
    "OnlineCAGrad",
    "OnlineDualProj",
    "OnlineMGDA",
    "OnlineUPGrad",
    "PCGrad",
    "RandomWeights",
    "RecomputesLosses",
    "SDMGrad",
    "ScaleInvariant",
    "SmoothTchebycheff",
    "SmoothedWeights",
    "SoftUncertaintyWeighting",
    "SolverError",
    "StackedHeads",
    "TakesTurns",
    "Tchebycheff",
    "TrimmedMean",
    "UPGrad",
    "UncertaintyWeighting",
    "UsesIndependentBatches",
    "WeighingBalancer",
    "backward",
]
