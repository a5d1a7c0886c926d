"""How the losses of several tasks become one update.

losses = torch.stack([loss_a, loss_b])
backward(losses, MGDA(num_tasks=2), shared=trunk.parameters())
optimizer.step()
"""

from polytask.balancing.backward import backward
from polytask.balancing.base import (
    Balancer,
    EndsEpoch,
    GradientBalancer,
    GramianBalancer,
    LossBalancer,
    RecomputesLosses,
    SolverError,
)
from polytask.balancing.catalogue import BALANCERS
from polytask.balancing.famo import FAMO
from polytask.balancing.fixed import ConstantWeights, EqualWeighting, RandomWeights
from polytask.balancing.loss_history import DynamicTaskPriority, DynamicWeightAverage
from polytask.balancing.min_norm import MGDA
from polytask.balancing.preference import (
    COSMOS,
    BoundaryIntersection,
    SmoothTchebycheff,
    Tchebycheff,
)
from polytask.balancing.projection import PCGrad
from polytask.balancing.scalarization import GeometricMean, ScaleInvariant
from polytask.balancing.uncertainty import (
    ImpartialLosses,
    SoftUncertaintyWeighting,
    UncertaintyWeighting,
)

__all__ = [
    "BALANCERS",
    "COSMOS",
    "FAMO",
    "MGDA",
    "Balancer",
    "BoundaryIntersection",
    "ConstantWeights",
    "DynamicTaskPriority",
    "DynamicWeightAverage",
    "EndsEpoch",
    "EqualWeighting",
    "GeometricMean",
    "GradientBalancer",
    "GramianBalancer",
    "ImpartialLosses",
    "LossBalancer",
    "PCGrad",
    "RandomWeights",
    "RecomputesLosses",
    "ScaleInvariant",
    "SmoothTchebycheff",
    "SoftUncertaintyWeighting",
    "SolverError",
    "Tchebycheff",
    "UncertaintyWeighting",
    "backward",
]
