"""Who is told that a balancer looks at the gradients of many tasks."""

import pytest

from polytask.balancing import BALANCERS
from polytask.balancing.base import GradientBalancer, GramianBalancer, TakesTurns
from polytask.balancing.costs import MANY, cost_of_many


@pytest.mark.parametrize("name", list(BALANCERS))
def test_it_is_said_of_those_that_take_a_gradient_per_task(name: str) -> None:
    kind = BALANCERS[name]
    few, many = kind(MANY - 1), kind(MANY)
    assert cost_of_many(few, 10**6) is None
    each = issubclass(kind, GramianBalancer | GradientBalancer) and not issubclass(kind, TakesTurns)
    said = cost_of_many(many, 10**6)
    assert (said is not None) == each
    if said is None:
        return
    assert said.startswith(f"{kind.__name__} takes the gradient of each of 40 tasks")
    assert "0.16 GB" in said and "famo" in said
    for setting, value in (("at", "features"), ("every", 8)):
        if f"balancer.{setting}: {value}" in said:
            assert cost_of_many(kind(MANY, **{setting: value}), 10**6) is None  # type: ignore[arg-type]


def test_what_is_offered_is_what_the_balancer_has() -> None:
    said = {name: cost_of_many(BALANCERS[name](MANY), 1) for name in ("mgda", "modo", "graddrop")}
    assert "balancer.at: features, balancer.every: 8 or" in (said["mgda"] or "")
    assert "balancer.at" not in (said["modo"] or "")
    assert "balancer.at: features or" in (said["graddrop"] or "")
