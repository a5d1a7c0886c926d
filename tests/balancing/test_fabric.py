"""`fabric.backward` as `differentiate`, under mixed precision."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.balancing import MGDA, PCGrad, UncertaintyWeighting, backward

fabric_package = pytest.importorskip("lightning_fabric")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))
        self.heads = nn.ModuleList(nn.Linear(8, 3) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        z = self.trunk(x)
        self.features = [z.view_as(z) for _ in self.heads]
        return [h(f) for h, f in zip(self.heads, self.features, strict=True)]


def gradients(balancer: Any, precision: str | None, use_features: bool, list_: bool) -> Tensor:
    net = Net()
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    differentiate: Any = Tensor.backward
    trunk = list(net.trunk.parameters())
    model: Any = net
    if precision is not None:
        fabric = fabric_package.Fabric(accelerator="cpu", precision=precision)
        model = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))[0]
        differentiate = fabric.backward
    outputs = model(x)
    parts = [o.float().square().mean() * (t + 1) for t, o in enumerate(outputs)]
    backward(
        parts if list_ else torch.stack(parts),
        balancer,
        trunk,
        features=net.features if use_features else None,
        differentiate=differentiate,
    )
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("list_", [True, False])
@pytest.mark.parametrize("use_features", [True, False])
@pytest.mark.parametrize("kind", ["uw", "pcgrad", "mgda", "features"])
def test_mixed_precision(kind: str, use_features: bool, list_: bool) -> None:
    if kind == "features" and not use_features:
        return

    def make() -> Any:
        return {
            "uw": UncertaintyWeighting(3, init=0.5, scale="paper"),
            "pcgrad": PCGrad(3),
            "mgda": MGDA(3),
            "features": MGDA(3, at="features"),
        }[kind]

    plain = gradients(make(), None, use_features, list_)
    mixed = gradients(make(), "bf16-mixed", use_features, list_)
    assert (plain - mixed).norm() < 0.05 * plain.norm()
