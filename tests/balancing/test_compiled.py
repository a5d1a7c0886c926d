"""A compiled trunk gets the gradients that it gets uncompiled, as the page says."""

import pytest
import torch
import torch._functorch.config
from torch import Tensor, nn

from polytask.balancing import BALANCERS, backward


@pytest.mark.parametrize("use_features", [True, False])
def test_a_compiled_trunk(use_features: bool) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh())
    heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(3))
    x = torch.randn(6, 4)

    def gradients(name: str, through: nn.Module) -> Tensor:
        trunk.zero_grad()
        balancer = BALANCERS[name](3)
        z = through(x)
        aliases = [z.view_as(z) for _ in heads]
        losses = [
            (h(a) - t).square().mean() for t, (h, a) in enumerate(zip(heads, aliases, strict=True))
        ]
        features = aliases if use_features else None
        backward(losses, balancer, trunk.parameters(), features=features)
        return torch.cat([p.grad.flatten() for p in trunk.parameters() if p.grad is not None])

    with torch._functorch.config.patch(donated_buffer=False):
        compiled = torch.compile(trunk, backend="aot_eager")
        for name in ("gls", "mgda", "graddrop", "m-config"):
            torch.testing.assert_close(gradients(name, compiled), gradients(name, trunk))
