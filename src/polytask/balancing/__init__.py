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
from polytask.balancing.fixed import ConstantWeights, EqualWeighting, RandomWeights
from polytask.balancing.loss_history import DynamicWeightAverage
from polytask.balancing.min_norm import MGDA
from polytask.balancing.projection import PCGrad
from polytask.balancing.scalarization import GeometricMean, UncertaintyWeighting

__all__ = [
    "BALANCERS",
    "MGDA",
    "Balancer",
    "ConstantWeights",
    "DynamicWeightAverage",
    "EndsEpoch",
    "EqualWeighting",
    "GeometricMean",
    "GradientBalancer",
    "GramianBalancer",
    "LossBalancer",
    "PCGrad",
    "RandomWeights",
    "RecomputesLosses",
    "SolverError",
    "UncertaintyWeighting",
    "backward",
]
