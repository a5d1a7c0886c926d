"""Which balancer a step goes by, and what its Gramian is made of."""

from polytask.balancing import (
    Balancer,
    EqualWeighting,
    GramianBalancer,
    LossBalancer,
    UsesIndependentBatches,
)
from polytask.balancing.needs import makes_rows
from polytask.errors import ConfigError
from polytask.model import MultiTaskModel
from polytask.training.settings import MEASURED, Settings
from polytask.training.step import Measurement


def acting(balancer: Balancer, shares: bool) -> Balancer:
    """The balancer that a step goes by.

    Where nothing that tasks share learns (it is frozen, for good or for now, or there is nothing),
    each task's own parameters get its own gradient, and a balancer has nothing to say; unless it
    is one of losses that weights heads too.
    """
    weights_heads = isinstance(balancer, LossBalancer) and balancer.weight_heads
    if shares or weights_heads:
        return balancer
    return EqualWeighting(balancer.num_tasks).to(balancer.tasks.device)


def measurement(settings: Settings, balancer: Balancer, model: MultiTaskModel) -> Measurement:
    """What the balancer's Gramian is made of.

    Raises:
        ConfigError: If something was set that this balancer has no use for.
    """
    usual = Settings()
    if settings.at_once > 1:
        _need_rows(settings, balancer)
    given = [f"training.{n}" for n in MEASURED if getattr(settings, n) != getattr(usual, n)]
    if not given:
        return Measurement(at_once=settings.at_once)
    sees = isinstance(balancer, GramianBalancer) and balancer.at == "parameters"
    if not sees or isinstance(balancer, UsesIndependentBatches):
        raise ConfigError(
            f"{' and '.join(given)}: for a balancer that sees the Gramian at parameters, of one "
            f"batch. {type(balancer).__name__} does not. Leave it out, or choose another balancer."
        )
    last = model.last_stage() if settings.measured == "last_stage" else None
    if last is not None and not last:
        raise ConfigError("training.measured: the trunk has no stage that tasks share.")
    return Measurement(last, settings.subsample, settings.groups, settings.at_once)


def _need_rows(settings: Settings, balancer: Balancer) -> None:
    """Raise unless gradients of several tasks can be made at once."""
    if not makes_rows(balancer):
        raise ConfigError(
            "training.at_once: for a balancer that takes each task's gradient at shared "
            f"parameters, of one batch. {type(balancer).__name__} does not. Leave it out, or "
            "choose another balancer."
        )
    if settings.subsample < 1:
        raise ConfigError(
            "training.at_once: where a part of the batch is measured (`training.subsample`), "
            "passes are made one by one. Leave one of the two out."
        )
