"""Heads in one product are the same heads."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.balancing import BALANCERS, StackedHeads, backward

T, B, D, K = 5, 7, 4, 3


def gradients(
    kind: str, together: bool, aliased: bool = True, active: Tensor | None = None
) -> list[Tensor]:
    """Gradients of trunk, head weights and head biases after one step's backward."""
    torch.manual_seed(0)
    trunk, heads = nn.Linear(6, D).double(), StackedHeads(T, D, K).double()
    x, labels = torch.randn(B, 6).double(), torch.randint(K, (B, T))
    z = trunk(x).tanh()
    aliases = [z.view_as(z) for _ in range(T)]
    if together:
        logits = heads(aliases if aliased else z)  # [B, T, K]
        every = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = every.view(B, T).mean(0)
    else:
        losses = torch.stack(
            [
                F.cross_entropy(F.linear(a, heads.weight[t], heads.bias[t]), labels[:, t])
                for t, a in enumerate(aliases)
            ]
        )
    balancer = BALANCERS[kind](T)
    features = aliases if aliased else None
    backward(losses, balancer, trunk.parameters(), features=features, active=active)
    found = [*trunk.parameters(), heads.weight, heads.bias]
    return [p.grad.clone() for p in found if p.grad is not None]


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("kind", ["equal", "rlw", "upgrad", "graddrop"])
def test_stacked_heads_are_heads(kind: str, some: bool) -> None:
    active = torch.tensor([True, False, True, True, True]) if some else None
    expected = gradients(kind, together=False, active=active)
    if not some:
        torch.testing.assert_close(gradients(kind, together=True), expected)
    torch.testing.assert_close(gradients(kind, True, aliased=False, active=active), expected)


def test_they_start_like_linear_layers() -> None:
    torch.manual_seed(0)
    heads, one = StackedHeads(200, 16, 3), nn.Linear(16, 600)
    for ours, theirs in ((heads.weight, one.weight), (heads.bias, one.bias)):
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.02)
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)


def test_errors_say_what_to_do() -> None:
    heads, z = StackedHeads(3, 4, 2), torch.randn(5, 4)
    with pytest.raises(ValueError, match="one alias per head"):
        heads([z, z])
    with pytest.raises(ValueError, match="aliases of one tensor"):
        heads([z, z, z.clone()])
