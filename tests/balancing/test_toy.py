"""On the published two-task problem, adaptive methods come to the Pareto set from every start."""

import pytest
import torch

from polytask.balancing import BALANCERS, backward
from tests.balancing.two_task_toy import STARTS, distance_to_pareto_set, toy_losses


@pytest.mark.parametrize("name", ["nash-mtl", "mgda"])
def test_the_pareto_set_is_reached(name: str) -> None:
    for start in STARTS:
        theta = torch.nn.Parameter(torch.tensor(start))
        optimizer = torch.optim.Adam([theta], lr=0.1)
        balancer = BALANCERS[name](2)
        for _ in range(400):
            optimizer.zero_grad()
            backward(toy_losses(theta), balancer, [theta])
            optimizer.step()
        assert distance_to_pareto_set(theta.detach()) < 1.5
