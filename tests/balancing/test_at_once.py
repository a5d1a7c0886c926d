"""Passes of several tasks that are made as one give what passes one by one give."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polytask.balancing import BALANCERS, MGDA, EqualWeighting, backward
from polytask.errors import TrainingError
from tests.balancing.toys import Given, Toy, flat

ALONE, TASKS = 1, 4


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x.mean(2).transpose(1, 2).repeat(1, 1, 2))[0].mean(1)
        return out


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(3, 1, 8, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(2).transpose(1, 2)).mean(1)
        return out


class Unused(nn.Module):
    """A layer and a parameter that no task reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 5)
        self.left = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(1))
        return out


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
        nn.Linear(4, 5), nn.Dropout(0.3),
    )  # fmt: skip


TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": convolutions,
    "channels last": lambda: convolutions().to(memory_format=torch.channels_last),
    "a recurrence": Recurrent,
    "attention": Attentive,
    "unused": Unused,
    "tied": lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 48), nn.Linear(48, 5)),
}


def gradients(
    trunk: nn.Module, heads: nn.ModuleList, x: Tensor, at_once: int, **call: Any
) -> tuple[Tensor, Tensor, list[bool]]:
    """The Gramian, all gradients, and which parameters have none."""
    everything = [*trunk.parameters(), *heads.parameters()]
    for p in everything:
        p.grad = None
    torch.manual_seed(3)
    z = trunk(x)
    aliases = [z.view_as(z) for _ in heads]
    losses = [
        (h(a) - t).square().mean() for t, (h, a) in enumerate(zip(heads, aliases, strict=True))
    ]
    balancer = Given([0.5, 2.0, 0.25, 1.5], scale="paper")
    backward(losses, balancer, trunk.parameters(), features=aliases, at_once=at_once, **call)
    return balancer.seen, flat(everything), [p.grad is None for p in everything]


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own, of fallbacks.
@pytest.mark.parametrize("at_once", [2, 3, 9])
@pytest.mark.parametrize("name", TRUNKS)
def test_of_any_network(name: str, at_once: int) -> None:
    torch.manual_seed(0)
    trunk = TRUNKS[name]().double()
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    wide = trunk(x).shape[1]
    heads = nn.ModuleList(nn.Linear(wide, 2) for _ in range(TASKS)).double()
    expected = gradients(trunk, heads, x, ALONE)
    found = gradients(trunk, heads, x, at_once)
    assert found[2] == expected[2]
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("at_once", [2, 5])
@pytest.mark.parametrize("active", [[1, 1, 1], [1, 0, 1], [0, 1, 1]])
@pytest.mark.parametrize("kind", ["one batch", "private", "own_batches"])
@pytest.mark.parametrize("name", ["upgrad", "pcgrad", "trimmed-mean", "moco"])
def test_of_any_tasks(name: str, kind: str, active: list[int], at_once: int) -> None:
    """Absent ones, one with an encoder of its own below the trunk, and tasks with own batches."""
    found = []
    for several in (ALONE, at_once):
        toy = Toy(private=kind == "private", own_batches=kind == "own_batches")
        balancer = BALANCERS[name](toy.num_tasks)
        for _ in range(2):
            losses, features = toy()
            backward(
                losses,
                balancer,
                toy.shared,
                features=features,
                active=torch.tensor(active, dtype=torch.bool),
                at_once=several,
            )
        found.append(flat([*toy.shared, *toy.others]))
    assert bool(found[0].any())
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


def test_one_pass_takes_the_place_of_several() -> None:
    """As many passes through the trunk as there are groups of tasks."""
    for at_once, passes in ((1, 3), (2, 2), (3, 1)):
        toy, seen = Toy(), []
        losses, features = toy()
        node = features[0].grad_fn.next_functions[0][0]  # type: ignore[union-attr]
        assert node is not None
        node.register_prehook(lambda _, seen=seen: seen.append(1))  # type: ignore[misc]
        backward(losses, MGDA(3), toy.shared, features=features, at_once=at_once)
        assert len(seen) == passes


def test_a_scaler_is_divided_out() -> None:
    found = []
    for at_once in (ALONE, 3):
        toy = Toy()
        losses, features = toy()

        def scaled(tensor: Tensor, gradient: Tensor | None = None, **more: Any) -> None:
            one = torch.ones_like(tensor) if gradient is None else gradient
            tensor.backward(1024 * one, **more)

        balancer = Given([0.5, 2.0, 0.25])
        backward(
            losses, balancer, toy.shared, features=features, differentiate=scaled, at_once=at_once
        )
        found.append((balancer.seen, flat([*toy.shared, *toy.others])))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-9)  # A scaler's is float32.


def test_what_can_not_be_made_as_one_says_so() -> None:
    toy = Toy()
    losses, features = toy()
    wanted = {"features": features, "at_once": 2}
    with pytest.raises(ValueError, match="EqualWeighting does not"):
        backward(losses, EqualWeighting(3), toy.shared, **wanted)
    with pytest.raises(ValueError, match="MGDA does not"):
        backward(losses, MGDA(3, at="features"), toy.shared, **wanted)
    with pytest.raises(ValueError, match="MoDo does not"):
        backward(losses, BALANCERS["modo"](3), toy.shared, independent=toy()[0], **wanted)
    with pytest.raises(ValueError, match="at least 1"):
        backward(losses, MGDA(3), toy.shared, features=features, at_once=0)
    with pytest.raises(ValueError, match="needs `features`"):
        backward(losses, MGDA(3), toy.shared, at_once=2)
    with pytest.raises(ValueError, match="no `estimate`"):
        backward(losses, MGDA(3), toy.shared, estimate=toy()[0], **wanted)


def test_what_hides_parameters_from_the_graph_says_so() -> None:
    body, heads = nn.Linear(4, 5), nn.ModuleList(nn.Linear(5, 2) for _ in range(2))
    x = torch.randn(6, 4, requires_grad=True)
    z = checkpoint(body, x, use_reentrant=True)
    aliases = [z.view_as(z) for _ in heads]
    losses = [head(a).square().mean() for head, a in zip(heads, aliases, strict=True)]
    with pytest.raises(TrainingError, match="CheckpointFunctionBackward, a function of Python's"):
        backward(losses, MGDA(2), body.parameters(), features=aliases, at_once=2)


def test_an_operation_that_has_no_such_pass_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Callable[..., Any]:
        def call(*_: Any) -> None:
            raise RuntimeError("vmap: it looks like you're calling .item()")

        return call

    monkeypatch.setattr(torch, "vmap", refuse)
    toy = Toy()
    losses, features = toy()
    with pytest.raises(TrainingError, match=r"3 tasks .* could not be made as one: vmap"):
        backward(losses, MGDA(3), toy.shared, features=features, at_once=3)
