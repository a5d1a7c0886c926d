"""Every balancer in a loop as people write it: no trainer, no configuration, a network of layers.

Batch normalisation, dropout and operations in place; clipping, weight decay and bf16; a task whose
first label comes late; copies and files amid training.
"""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.balancing import (
    BALANCERS,
    AutoLambda,
    Balancer,
    EndsEpoch,
    RecomputesLosses,
    UsesIndependentBatches,
    backward,
)

every_balancer = pytest.mark.parametrize("name", BALANCERS)


class Loop:
    """A network, three unlike tasks and an optimizer."""

    def __init__(self, balancer: Balancer) -> None:
        torch.manual_seed(0)
        self.trunk = nn.Sequential(
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Linear(8, 5),
            nn.ReLU(inplace=True),
        )
        self.heads = nn.ModuleList([nn.Linear(5, 1), nn.Linear(5, 4), nn.Linear(5, 1)])
        self.balancer = balancer
        self.network = [*self.trunk.parameters(), *self.heads.parameters()]
        own = {"params": list(balancer.parameters()), "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([{"params": self.network}, own], lr=1e-2)

    def losses(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        z = self.trunk(torch.randn(12, 6, generator=generator))
        value, kind, truth = (head(z) for head in self.heads)
        return torch.stack(
            [
                F.mse_loss(value, torch.randn(12, 1, generator=generator)),
                F.cross_entropy(kind, torch.randint(0, 4, (12,), generator=generator)),
                F.binary_cross_entropy_with_logits(truth, torch.ones(12, 1)),
            ]
        )

    def step(self, seed: int, active: Tensor | None = None, half: bool = False) -> Tensor | None:
        balancer, second = self.balancer, None
        if isinstance(balancer, AutoLambda):
            balancer.look_ahead(
                self.network,
                lambda: self.losses(seed),
                lambda: self.losses(seed + 50),
                lr=1e-2,
                active=active,
            )
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses = self.losses(seed)
            if isinstance(balancer, UsesIndependentBatches):
                second = self.losses(seed + 100)
        if active is not None:
            losses = torch.stack(
                [
                    loss if here else loss * float("nan")
                    for loss, here in zip(losses, active.tolist(), strict=True)
                ]
            )
        shared = self.trunk.parameters()
        weights = backward(losses, balancer, shared, active=active, independent=second)
        nn.utils.clip_grad_norm_(self.network, 1.0)
        self.optimizer.step()
        if isinstance(balancer, RecomputesLosses):
            with torch.no_grad():
                balancer.update(self.losses(seed), active)
        if isinstance(balancer, EndsEpoch) and seed % 2:
            balancer.end_epoch(losses.detach().float(), active)
        return weights


@every_balancer
def test_a_task_may_begin_late_and_half_precision_is_no_matter(name: str) -> None:
    loop = Loop(BALANCERS[name](3))
    before = [p.detach().clone() for p in loop.network]
    for seed in range(8):
        late = torch.tensor([True, seed % 3 != 1, seed >= 5])
        weights = loop.step(seed, None if late.all() else late, half=seed == 7)
        assert weights is None or not weights[~late].any()
    for old, new in zip(before, loop.network, strict=True):
        assert new.isfinite().all() and not torch.equal(old, new)


@every_balancer
def test_a_copy_and_a_file_go_on_as_the_balancer_does(name: str) -> None:
    loop = Loop(BALANCERS[name](3))
    for seed in range(3):
        loop.step(seed)
    file = io.BytesIO()
    torch.save(loop.balancer, file)
    file.seek(0)
    found = []
    weights = [p.detach().clone() for p in loop.network]
    for balancer in (
        copy.deepcopy(loop.balancer),
        torch.load(file, weights_only=False),
        loop.balancer,
    ):
        with torch.no_grad():
            for parameter, value in zip(loop.network, weights, strict=True):
                parameter.copy_(value)
        loop.balancer = balancer
        loop.trunk.eval()  # Neither masks nor statistics are the balancer's.
        loop.optimizer = torch.optim.SGD([*loop.network, *balancer.parameters()], lr=0.1)
        for seed in range(3, 6):
            loop.step(seed)
        found.append(torch.cat([p.detach().flatten() for p in loop.network]))
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[2])
