"""Small shared networks for the tests: T tasks, B examples, D features."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.balancing import (
    BALANCERS,
    AutoLambda,
    Balancer,
    GramianBalancer,
    RecomputesLosses,
    UsesIndependentBatches,
    backward,
)


@dataclass
class Toy:
    """One input, one trunk, T heads, and one encoder that is task 0's own, below the trunk."""

    num_tasks: int = 3
    private: bool = False
    own_batches: bool = False
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.encoder = nn.Linear(4, 5).to(self.dtype)
        self.own = nn.Linear(4, 5).to(self.dtype)
        self.trunk = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6)).to(self.dtype)
        self.heads = nn.ModuleList(nn.Linear(6, 2) for _ in range(self.num_tasks)).to(self.dtype)
        self.x = torch.randn(self.num_tasks, 8, 4, dtype=self.dtype)
        self.y = torch.randn(self.num_tasks, 8, 2, dtype=self.dtype)
        self.y *= torch.arange(1, self.num_tasks + 1, dtype=self.dtype)[:, None, None]

    @property
    def shared(self) -> list[Tensor]:
        return list(self.trunk.parameters()) + list(self.encoder.parameters())

    @property
    def others(self) -> list[Tensor]:
        return list(self.heads.parameters()) + list(self.own.parameters())

    def __call__(self) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and features."""
        common = self.trunk(self.encoder(self.x[0]).tanh())
        losses, features = [], []
        for t, head in enumerate(self.heads):
            z = common
            if self.private and t == 0:
                z = self.trunk(self.own(self.x[t]).tanh())
            elif self.own_batches:
                z = self.trunk(self.encoder(self.x[t]).tanh())
            features.append(z.view_as(z))
            losses.append((head(features[t]) - self.y[t]).square().mean())
        return losses, features

    def clear(self) -> None:
        for p in self.shared + self.others:
            p.grad = None

    def gradients(self) -> tuple[Tensor, list[Tensor]]:
        """The Jacobian `[T, P]` at shared parameters and every other parameter's plain gradient."""
        losses, _ = self()
        rows = []
        for loss in losses:
            found = torch.autograd.grad(loss, self.shared, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if g is None else g).flatten()
                        for p, g in zip(self.shared, found, strict=True)
                    ]
                )
            )
        total = torch.stack(losses).sum()
        others = torch.autograd.grad(total, self.others, allow_unused=True)
        zero = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self.others, others, strict=True)
        ]
        return torch.stack(rows), zero


def flat(parameters: list[Tensor]) -> Tensor:
    """Their gradients as one vector."""
    return torch.cat([(p.grad if p.grad is not None else p * 0).flatten() for p in parameters])


def make(name: str, num_tasks: int, **settings: object) -> Balancer:
    """A balancer of the catalogue, in float64."""
    return BALANCERS[name](num_tasks, **settings).double()


class Linear:
    """Losses `values + J (theta - theta0)`, so that gradients `[T, P]` and losses are given."""

    def __init__(self, jacobian: Tensor, values: Tensor) -> None:
        self.jacobian, self.values = jacobian, values
        self.theta = nn.Parameter(torch.zeros(jacobian.shape[1], dtype=jacobian.dtype))

    def losses(self) -> list[Tensor]:
        return [v + row @ self.theta for v, row in zip(self.values, self.jacobian, strict=True)]


def combine(
    balancer: Balancer, jacobian: Tensor, values: Tensor, active: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The update `[P]` and the weights `[T]` for given gradients `[T, P]` and losses `[T]`.

    Balancers that look at losses again are shown losses that have fallen a little.
    """
    problem = Linear(jacobian, values)
    parts = problem.losses()
    if isinstance(balancer, AutoLambda):
        safe = Linear(jacobian.nan_to_num(), values.nan_to_num())

        def losses() -> Tensor:
            return torch.stack(safe.losses())

        balancer.look_ahead([safe.theta], losses, losses, lr=0.1, active=active)
    second = problem.losses() if isinstance(balancer, UsesIndependentBatches) else None
    weights = backward(parts, balancer, [problem.theta], active=active, independent=second)
    assert problem.theta.grad is not None
    for p in balancer.parameters():  # A plain step of the balancer's own parameters.
        if p.grad is not None:
            p.data.sub_(0.05 * p.grad)
            p.grad = None
    if isinstance(balancer, RecomputesLosses):
        fallen = values * (0.8 + 0.1 * values.tanh())
        balancer.update(fallen, active)
    return problem.theta.grad, weights


class Given(GramianBalancer):
    """Given weights; keeps the Gramian that it saw."""

    seen: Tensor

    def __init__(self, weights: list[float], **settings: Any) -> None:
        super().__init__(len(weights), **settings)
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def forward(self, gramian: Tensor, losses: Tensor) -> Tensor:
        self.seen = gramian
        return self.weights[self.tasks]
