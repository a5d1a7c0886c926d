"""Every balancer by the name that a configuration uses."""

from polytask.balancing.base import Balancer
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

BALANCERS: dict[str, type[Balancer]] = {
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
    "mgda": MGDA,
    "pcgrad": PCGrad,
}
