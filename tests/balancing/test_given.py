"""What people hand to `backward` by mistake, and what a loop forgets: told, not swallowed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polytask.balancing import (
    FAMO,
    IMTL,
    MGDA,
    ConstantWeights,
    DynamicWeightAverage,
    EqualWeighting,
    GradDrop,
    OnlineMGDA,
    SmoothTchebycheff,
    UncertaintyWeighting,
    backward,
)
from polytask.balancing.base import PATIENCE
from tests.balancing.toys import Toy, flat

KINDS: dict[str, Callable[[], Any]] = {
    "losses": lambda: ConstantWeights(3, weights=(0.5, 2.0, 0.25)),
    "gramian": lambda: MGDA(3),
    "gradients": lambda: GradDrop(3),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def losses_of(model: Toy) -> list[Tensor]:
    return model()[0]


MISTAKES: dict[str, tuple[Callable[[Toy], Any], type[Exception], str]] = {
    "summed": (lambda m: sum(losses_of(m)), ValueError, "before they are added up"),
    "per example": (
        lambda m: torch.stack([loss * torch.ones(8) for loss in losses_of(m)]),
        ValueError,
        "mean over the examples of each task",
    ),
    "per example, listed": (
        lambda m: [loss * torch.ones(8) for loss in losses_of(m)],
        ValueError,
        r"task 0 should be one real number.*shape \(8,\)",
    ),
    "by name": (
        lambda m: dict(zip("abc", losses_of(m), strict=True)),
        TypeError,
        r"Found dict.*losses\[task\]",
    ),
    "numbers": (lambda m: [loss.item() for loss in losses_of(m)], TypeError, "Found float"),
    "no graph": (lambda m: [loss.detach() for loss in losses_of(m)], ValueError, "no_grad"),
    "None, and called active": (
        lambda m: [None, *losses_of(m)[1:]],
        ValueError,
        r"tasks \[0\] depend on no parameter.*active=",
    ),
    "complex": (lambda m: torch.stack(losses_of(m)) * 1j, ValueError, "real numbers"),
    "the balancer first": (lambda m: MGDA(3), TypeError, "losses come first"),
}


@each_kind
@pytest.mark.parametrize("mistake", MISTAKES)
def test_losses_that_are_none(kind: str, mistake: str) -> None:
    make, error, message = MISTAKES[mistake]
    model = Toy()
    with pytest.raises(error, match=message):
        backward(make(model), KINDS[kind](), model.shared)
    assert all(p.grad is None for p in model.shared + model.others)


SHARED: dict[str, tuple[Callable[[Toy], Any], type[Exception], str]] = {
    "a module": (lambda m: m.trunk, TypeError, "Sequential: pass its"),
    "modules": (lambda m: [m.trunk, m.encoder], TypeError, "Found Sequential"),
    "names": (lambda m: m.trunk.named_parameters(), TypeError, "Found tuple"),
    "groups": (lambda m: [{"params": m.shared, "lr": 0.1}], TypeError, "Found dict"),
    "one tensor": (lambda m: m.trunk[0].weight, TypeError, "Found one tensor"),
    "made of others": (lambda m: [m.trunk[0].weight * 2], ValueError, "computed from others"),
}


@each_kind
@pytest.mark.parametrize("mistake", SHARED)
def test_shared_parameters_that_are_none(kind: str, mistake: str) -> None:
    make, error, message = SHARED[mistake]
    model = Toy()
    with pytest.raises(error, match=message):
        backward(losses_of(model), KINDS[kind](), make(model))


@each_kind
def test_a_generator_serves_one_step(kind: str) -> None:
    model = Toy()
    shared = model.trunk.parameters()
    backward(losses_of(model), KINDS[kind](), shared)
    with pytest.raises(ValueError, match="gone through before"):
        backward(losses_of(model), KINDS[kind](), shared)


@each_kind
def test_parameters_of_another_model_are_noticed(kind: str) -> None:
    model, copy = Toy(), Toy()
    with pytest.raises(ValueError, match="No loss depends on any of the `shared`"):
        backward(losses_of(model), KINDS[kind](), copy.shared)


def test_balancers_features_and_active_tasks_that_are_none() -> None:
    model = Toy()
    wrong: Any
    for wrong, message in (
        (MGDA, r"class MGDA: make one, MGDA\(num_tasks"),
        ("mgda", r"BALANCERS\['mgda'\]"),
        (nn.Linear(1, 1), "object of Linear"),
    ):
        with pytest.raises(TypeError, match=message):
            backward(losses_of(model), wrong, model.shared)
    wrong = torch.zeros(3, 6)
    with pytest.raises(TypeError, match="view_as"):
        backward(losses_of(model), MGDA(3), model.shared, features=wrong)
    wrong = [True, False, True]
    with pytest.raises(TypeError, match="Found list"):
        backward(losses_of(model), MGDA(3), model.shared, active=wrong)


@pytest.mark.parametrize("how", ["plain", "called"])
@pytest.mark.parametrize("form", ["None", "scaled", "joined", "squeezed"])
@each_kind
def test_an_absent_task_is_not_entered_whatever_its_loss(kind: str, form: str, how: str) -> None:
    """Its loss and its gradient are NaN, and the losses are no plain list."""
    forms: dict[str, Callable[[list[Tensor]], Any]] = {
        "None": lambda parts: [parts[0], None, parts[2]],
        "scaled": lambda parts: torch.stack(parts) / 4,
        "joined": lambda parts: torch.cat([part.view(1) for part in parts]) * 0.25,
        "squeezed": lambda parts: torch.stack([part.view(1) for part in parts]).squeeze(1) / 4,
    }
    active = torch.tensor([True, False, True])
    found = []
    for make in (lambda parts: [part / 4 for part in parts], forms[form]):
        model = Toy()
        parts = losses_of(model)
        parts[1] = (parts[1] * 0).sqrt() * float("nan")
        if form == "None":
            parts = [part / 4 for part in parts]
            make = forms["None"]
        call = Tensor.backward if how == "plain" else lambda t, **k: (t * 1.0).backward(**k)
        backward(make(parts), KINDS[kind](), model.shared, active=active, differentiate=call)
        found.append(flat(model.shared + model.others))
        assert found[-1].isfinite().all()
    torch.testing.assert_close(*found)


@each_kind
def test_nan_of_an_absent_task_in_one_computation_of_all_is_refused(kind: str) -> None:
    model = Toy()
    z = model.trunk(model.encoder(model.x[0]).tanh())
    outputs = torch.stack([head(z) for head in model.heads])
    labels = model.y.clone()
    labels[1] = float("nan")
    losses = (outputs - labels).square().mean((1, 2))  # [T]
    active = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match=r"torch.stack"):
        backward(losses, KINDS[kind](), model.shared, active=active)
    labels[1] = 0.0
    losses = (outputs - labels).square().mean((1, 2))
    backward(losses, KINDS[kind](), model.shared, active=active)
    assert flat(model.shared + model.others).isfinite().all()


def test_frozen_shared_parameters() -> None:
    """Heads learn as they do beside a trunk that moves: unweighted."""
    model = Toy()
    model.trunk.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen.*EqualWeighting"):
        backward(losses_of(model), MGDA(3), model.trunk.parameters())
    torch.stack(losses_of(model)).sum().backward()
    expected = flat(list(model.heads.parameters()))
    model.clear()
    backward(losses_of(model), KINDS["losses"](), model.trunk.parameters())
    torch.testing.assert_close(flat(list(model.heads.parameters())), expected)


@pytest.mark.parametrize("kind", ["gramian", "gradients"])
def test_a_part_that_recomputes_itself_gets_its_gradient(kind: str) -> None:
    """Reentrant checkpoints hide from the graph what they reach."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(6, 4, requires_grad=True)
    found = []
    for hidden in (None, True, False):
        trunk.zero_grad()
        z = trunk(x) if hidden is None else checkpoint(trunk, x, use_reentrant=hidden)
        backward([z.pow(t + 1).mean() for t in range(3)], KINDS[kind](), trunk.parameters())
        found.append(flat(list(trunk.parameters())))
    assert found[0].any()
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


@pytest.mark.filterwarnings("error")
def test_weights_that_nobody_moves_are_told_once() -> None:
    for balancer, remedy in (
        (UncertaintyWeighting(3), "parameters"),
        (IMTL(3), "parameters"),
        (FAMO(3), "`update`"),
        (OnlineMGDA(3), "`update`"),
    ):
        model = Toy()
        for _ in range(PATIENCE):
            backward(losses_of(model), balancer, model.shared)
        with pytest.warns(UserWarning, match=f"{type(balancer).__name__}.*{remedy}"):
            backward(losses_of(model), balancer, model.shared)
        backward(losses_of(model), balancer, model.shared)


@pytest.mark.filterwarnings("error")
def test_weights_that_are_moved_are_no_matter() -> None:
    learned, famo, equal = UncertaintyWeighting(3), FAMO(3), EqualWeighting(3)
    optimizer = torch.optim.SGD(learned.parameters(), lr=0.01)
    model = Toy()
    for _ in range(PATIENCE + 2):
        optimizer.zero_grad()
        for balancer in (learned, famo, equal):
            backward(losses_of(model), balancer, model.shared)
        optimizer.step()
        famo.update(torch.ones(3))


def test_what_is_told_after_steps_and_epochs_is_one_loss_per_task() -> None:
    for wrong in ([0.1, 0.2, 0.3], torch.tensor(0.3), torch.ones(2)):
        for balancer in (FAMO(3), OnlineMGDA(3)):
            with pytest.raises(ValueError, match=r"num_tasks=3"):
                balancer.update(wrong)  # type: ignore[arg-type]
        for after in (DynamicWeightAverage(3), SmoothTchebycheff(3)):
            with pytest.raises(ValueError, match=r"num_tasks=3"):
                after.end_epoch(wrong)  # type: ignore[arg-type]


def test_one_infinite_loss_after_a_step_does_not_end_famo() -> None:
    model, famo = Toy(), FAMO(3)
    for after in (torch.tensor([1.0, 2.0, float("inf")]), torch.tensor([1.0, 2.0, 0.5])):
        weights = backward(losses_of(model), famo, model.shared)
        assert weights is not None and weights.isfinite().all()
        famo.update(after)
    assert famo.logits.isfinite().all() and famo.logits.any()


def test_it_differentiates_where_nothing_is_recorded() -> None:
    model = Toy()
    parts = losses_of(model)
    with torch.no_grad():
        backward(parts, KINDS["gramian"](), model.shared)
    here = flat(model.shared + model.others)
    model.clear()
    backward(losses_of(model), KINDS["gramian"](), model.shared)
    torch.testing.assert_close(here, flat(model.shared + model.others))


def test_weights_by_name_are_refused() -> None:
    wrong: Any = {"a": 1.0, "b": 2.0}
    with pytest.raises(ValueError, match=r"one per task.*'a'"):
        ConstantWeights(2, weights=wrong)
