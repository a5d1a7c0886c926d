"""Two processes make the step that one process makes on the joined batch."""

import inspect
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from polytask.balancing import (
    BALANCERS,
    ConstantWeights,
    EndsEpoch,
    RecomputesLosses,
    backward,
    factored,
)
from tests.processes import grouped, in_two_processes

WORLD = 2


class Net(nn.Module):
    """A trunk, three heads, and labels of which some are missing; task 2 has none on rank 1."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
        self.heads = nn.ModuleList(nn.Linear(5, 1) for _ in range(3))
        self.x = torch.randn(12, 4)
        self.y = torch.randn(3, 12) * torch.tensor([1.0, 2.0, 4.0])[:, None]
        self.present = torch.rand(3, 12) > 0.3
        self.present[2, 6:] = False
        self.double()
        self.x, self.y = self.x.double(), self.y.double()

    def losses(self, rows: slice, world: int) -> tuple[list[Tensor], list[Tensor]]:
        z = self.trunk(self.x[rows])
        parts, features = [], []
        for t, head in enumerate(self.heads):
            features.append(z.view_as(z))
            each = (head(features[t])[:, 0] - self.y[t, rows]).square()
            present = self.present[t, rows]
            if present.any():
                parts.append(each[present].sum() / self.present[t].sum() * world)
            else:
                parts.append(torch.zeros((), dtype=torch.float64))
        return parts, features

    def step(
        self,
        name: str,
        rows: slice,
        world: int,
        reduce: Callable[[Tensor], Tensor] | None,
        use_features: bool,
        at: str,
    ) -> Tensor:
        """Two steps (the second with the state of the first); gradients and weights as one."""
        settings = {"at": at} if at == "features" else {}
        balancer = BALANCERS[name](3, **settings).double()
        found = []
        for _ in range(2):
            self.zero_grad()
            parts, features = self.losses(rows, world)
            more = {"reduce": reduce} if reduce else {}
            weights = backward(
                parts,
                balancer,
                self.trunk.parameters(),
                features=features if use_features else None,
                independent=self.losses(rows, world)[0] if name in ("modo", "sdmgrad") else None,
                **more,
            )
            values = torch.stack([p.detach() for p in parts])
            values = reduce(values) if reduce else values
            if isinstance(balancer, RecomputesLosses):
                balancer.update(values * 0.9)
            if isinstance(balancer, EndsEpoch):
                balancer.end_epoch(values)
            for p in self.trunk.parameters():
                assert p.grad is not None
                found.append(p.grad.flatten())
            for p in self.heads.parameters():
                grad = torch.zeros_like(p) if p.grad is None else p.grad
                found.append((reduce(grad) if reduce else grad).flatten())
            for p in balancer.parameters():
                assert p.grad is not None
                found.append(p.grad.clone())
                p.grad = None
            if weights is not None:
                found.append(weights)
        return torch.cat(found)


def mean(tensor: Tensor) -> Tensor:
    """Mean over processes."""
    total = tensor.clone()
    dist.all_reduce(total)
    return total / WORLD


def worker(rank: int, port: int, worth: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WORTH", worth), ("EACH", worth), ("SEVERAL", 8 if worth else 1)):
            patch.setattr(factored, name, value)
        every_balancer(rank, port)


def every_balancer(rank: int, port: int) -> None:
    grouped(rank, port)
    net = Net()
    half = slice(0, 6) if rank == 0 else slice(6, 12)
    for name, cls in BALANCERS.items():
        if name == "auto-lambda":  # Learns outside of `backward`.
            continue
        roads = [(True, "parameters"), (False, "parameters")]
        if "at" in inspect.signature(cls).parameters:
            roads.append((True, "features"))
        for use_features, at in roads:
            alone = net.step(name, slice(0, 12), 1, None, use_features, at)
            together = net.step(name, half, WORLD, mean, use_features, at)
            torch.testing.assert_close(
                together, alone, rtol=1e-8, atol=1e-10, msg=lambda m, n=name, a=at: f"{n} {a}: {m}"
            )


@pytest.mark.parametrize("worth", [0, factored.WORTH])
def test_two_processes_equal_one(worth: int) -> None:
    """Whether or not loss balancers weight factors of linear heads."""
    in_two_processes(worker, worth)


class Many(nn.Module):
    """A trunk and ten linear heads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(6, 2) for _ in range(10))
        self.double()

    def forward(self, x: Tensor) -> list[Tensor]:
        z = self.trunk(x)
        return [head(z) for head in self.heads]


def copies(rank: int, port: int) -> None:
    """Copies that PyTorch averages as gradients arrive, with weights of losses: no `reduce`."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    x, y = torch.randn(12, 4).double(), torch.randn(10, 12, 2).double()
    balancer = ConstantWeights(10, weights=[0.25 * (t + 1) for t in range(10)])

    def step(model: nn.Module, rows: slice) -> list[Tensor | None]:
        model.zero_grad()
        outputs = model(x[rows])
        losses = [(o - y[t, rows]).square().mean() for t, o in enumerate(outputs)]
        backward(losses, balancer, net.trunk.parameters())
        return [p.grad for p in net.parameters()]

    net = Many()
    alone = step(net, slice(0, 12))
    grouped(rank, port)
    model = nn.parallel.DistributedDataParallel(net)
    for _ in range(2):
        together = step(model, slice(0, 6) if rank == 0 else slice(6, 12))
        torch.testing.assert_close(together, alone)


def test_copies_that_are_averaged_as_gradients_arrive() -> None:
    in_two_processes(copies)
