"""Every balancer by the name that a configuration uses."""

from polytask.balancing.base import Balancer
from polytask.balancing.fixed import ConstantWeights, EqualWeighting, RandomWeights
from polytask.balancing.loss_history import DynamicWeightAverage
from polytask.balancing.min_norm import MGDA
from polytask.balancing.projection import PCGrad
from polytask.balancing.scalarization import GeometricMean, UncertaintyWeighting

BALANCERS: dict[str, type[Balancer]] = {
    "equal": EqualWeighting,
    "constant": ConstantWeights,
    "uw": UncertaintyWeighting,
    "dwa": DynamicWeightAverage,
    "rlw": RandomWeights,
    "gls": GeometricMean,
    "mgda": MGDA,
    "pcgrad": PCGrad,
}
