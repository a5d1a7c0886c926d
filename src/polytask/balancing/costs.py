"""What a person should know of a balancer's cost where there are many tasks."""

from polytask.balancing.base import (
    Balancer,
    DropsFeatures,
    GradientBalancer,
    GramianBalancer,
    TakesTurns,
    UsesIndependentBatches,
)

MANY = 40  # Tasks from which on a pass for each of them makes steps several times as long.


def cost_of_many(balancer: Balancer, numbers: int) -> str | None:
    """That each step looks at the gradient of each of many tasks, and what would cost less.

    Args:
        balancer: The balancer.
        numbers: P, how many numbers the shared parameters have.

    Returns:
        None where there are few tasks, or it does not.
    """
    if balancer.num_tasks < MANY or isinstance(balancer, TakesTurns):
        return None
    ways = ["a balancer that sees losses only, such as famo or online-mgda"]
    if isinstance(balancer, GramianBalancer):
        if balancer.at == "features" or balancer.every > 1:
            return None
        two = isinstance(balancer, UsesIndependentBatches)
        ways = [*(() if two else ("balancer.at: features", "balancer.every: 8")), *ways]
    elif not isinstance(balancer, GradientBalancer):
        return None
    elif isinstance(balancer, DropsFeatures):
        if balancer.at == "features":
            return None
        ways = ["balancer.at: features", *ways]
    size = 4 * balancer.num_tasks * numbers / 1e9
    return (
        f"{type(balancer).__name__} takes the gradient of each of {balancer.num_tasks:,} tasks in "
        f"every step, up to {size:.2g} GB of them. If that is too slow: "
        f"{', '.join(ways[:-1])}{' or ' if len(ways) > 1 else ''}{ways[-1]}."
    )
