"""What every balancer of the catalogue promises."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from polytask.balancing import BALANCERS, Balancer, EndsEpoch, LossBalancer, SolverError
from tests.balancing.toys import combine, make

everyone = pytest.mark.parametrize("name", BALANCERS)
RANDOM = {"rlw", "pcgrad", "gradvac", "graddrop"}
IN_TURN = {"online-upgrad"}  # A step is about one task, whichever comes first.
AT_ONCE: dict[str, dict[str, int]] = {"m-config": {"per_step": 9}}  # Else tasks take turns.


def problem(count: int = 3, size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gradients `[T, P]` in mild conflict, and losses `[T]`."""
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(count, size, generator=generator, dtype=torch.float64) + 0.3
    return jacobian, torch.rand(count, generator=generator, dtype=torch.float64) + 0.2


def run(balancer: Balancer, steps: range, active: Tensor | None = None) -> list[Tensor]:
    """Several steps over changing problems, with an epoch's end after every other one."""
    count = balancer.num_tasks
    updates = []
    for step in steps:
        jacobian, values = problem(count, seed=step)
        updates.append(combine(balancer, jacobian, values, active)[0])
        if isinstance(balancer, EndsEpoch) and step % 2:
            balancer.end_epoch(values, active)
    return updates


@everyone
def test_the_constructor_is_the_schema(name: str) -> None:
    cls = BALANCERS[name]
    first, *others = list(inspect.signature(cls).parameters.values())
    assert first.name == "num_tasks"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)
    assert all(p.annotation is not p.empty for p in others)
    doc = inspect.getdoc(cls) or ""
    for word in ("Needs:", "State:", "Cost:", "Args:"):
        assert word in doc, f"{cls.__name__} does not say: {word}"
    for parameter in others:
        assert f"    {parameter.name}: " in doc, f"{cls.__name__} does not explain {parameter.name}"


@everyone
def test_state_is_sized_at_construction(name: str) -> None:
    balancer = make(name, 3)
    before = {k: v.shape for k, v in balancer.state_dict().items()}
    run(balancer, range(4))
    after = {k: v.shape for k, v in balancer.state_dict().items()}
    assert set(before) == set(after)


@everyone
@pytest.mark.parametrize("kind", ["zero", "a zero row", "twins", "opposite", "rank one"])
@pytest.mark.parametrize("scale", [1.0, 1e15, 1e-15])
def test_finite_or_a_named_failure(name: str, kind: str, scale: float) -> None:
    jacobian, values = problem()
    if kind == "zero":
        jacobian = jacobian * 0
    elif kind == "a zero row":
        jacobian[1] = 0
    elif kind == "twins":
        jacobian[1] = jacobian[0]
    elif kind == "opposite":
        jacobian[1] = -jacobian[0]
    else:
        jacobian = torch.tensor([1.0, -2.0, 0.5])[:, None].double() * jacobian[:1]
    balancer = make(name, 3)
    try:
        update, _ = combine(balancer, jacobian * scale, values)
    except SolverError:
        assert balancer.failures == 1
        return
    assert update.isfinite().all()


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_of_numbers_is_kept(name: str, dtype: torch.dtype) -> None:
    jacobian, values = problem()
    update, weights = combine(BALANCERS[name](3), jacobian.to(dtype), values.to(dtype))
    assert update.dtype == dtype
    assert weights is None or (weights.dtype == dtype and not weights.requires_grad)


@everyone
def test_the_order_of_tasks_does_not_matter(name: str) -> None:
    if name in RANDOM | IN_TURN:
        pytest.skip("draws per task, or takes tasks in turn")
    order = torch.tensor([2, 0, 1])
    one, other = (make(name, 3, **AT_ONCE.get(name, {})) for _ in range(2))
    for step in range(3):
        jacobian, values = problem(seed=step)
        update, weights = combine(one, jacobian, values)
        shuffled, moved = combine(other, jacobian[order], values[order])
        torch.testing.assert_close(update, shuffled, rtol=1e-6, atol=1e-8)
        if weights is not None and moved is not None:
            torch.testing.assert_close(weights[order], moved, rtol=1e-6, atol=1e-8)
        if isinstance(one, EndsEpoch) and isinstance(other, EndsEpoch):
            one.end_epoch(values)
            other.end_epoch(values[order])


@everyone
def test_resuming_is_going_on(name: str) -> None:
    through = make(name, 3)
    expected = run(through, range(10))
    first = make(name, 3)
    run(first, range(5))
    second = make(name, 3)
    second.load_state_dict(first.state_dict())
    for got, want in zip(run(second, range(5, 10)), expected[5:], strict=True):
        assert torch.equal(got, want)


@everyone
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_task_is_not_there(name: str, absent: int) -> None:
    """Two of three tasks give the step of the two-task problem, several steps long."""
    if name == "rlw" and absent != 2:
        pytest.skip("draws per task")
    kept = [t for t in range(3) if t != absent]
    active = torch.tensor([t != absent for t in range(3)])
    three, two = make(name, 3), make(name, 2)
    for step in range(3):
        jacobian, values = problem(seed=step)
        jacobian[absent], values[absent] = float("nan"), float("nan")
        update, weights = combine(three, jacobian, values, active)
        expected, expected_weights = combine(two, jacobian[kept], values[kept])
        torch.testing.assert_close(update, expected, rtol=1e-9, atol=1e-12)
        if weights is not None and expected_weights is not None:
            torch.testing.assert_close(weights[kept], expected_weights, rtol=1e-9, atol=1e-12)
            assert weights[absent] == 0
        if isinstance(three, EndsEpoch) and isinstance(two, EndsEpoch):
            three.end_epoch(values, active)
            two.end_epoch(values[kept])


@everyone
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_the_state_of_an_absent_task_stands_still(name: str, absent: int) -> None:
    balancer = make(name, 3)
    run(balancer, range(2))
    before = state_of(balancer, absent)
    run(balancer, range(2, 5), torch.tensor([t != absent for t in range(3)]))
    for key, value in state_of(balancer, absent).items():
        if key.split(".")[-2] != "cached" and key != "before.0":  # Of one step only.
            assert torch.equal(value.nan_to_num(-7.0), before[key].nan_to_num(-7.0)), key


def state_of(balancer: Balancer, task: int) -> dict[str, Tensor]:
    """All entries of the state that belong to one task."""
    found = {}
    for key, value in balancer.state_dict().items():
        if key.endswith("_extra_state"):
            continue
        for axis, length in enumerate(value.shape):
            if length == balancer.num_tasks:
                found[f"{key}.{axis}"] = value.select(axis, task).clone()
    return found


@everyone
def test_a_task_may_come_and_go(name: str) -> None:
    balancer = make(name, 3)
    patterns = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]]
    for step, pattern in enumerate(patterns):
        jacobian, values = problem(seed=step)
        active = torch.tensor(pattern, dtype=torch.bool)
        update, weights = combine(balancer, jacobian, values, active)
        assert update.isfinite().all()
        assert update.any()
        if weights is not None:
            assert not weights[~active].any()


@everyone
@pytest.mark.parametrize("size", [1.0, 1e-3, 50.0])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_tasks_that_are_alike_have_weight_one(name: str, size: float, count: int) -> None:
    balancer = make(name, count, **AT_ONCE.get(name, {}))
    jacobian = size * torch.eye(count, count + 2, dtype=torch.float64)
    values = torch.full((count,), size, dtype=torch.float64)
    update, weights = combine(balancer, jacobian, values)
    if name == "trimmed-mean":
        pytest.skip("entries, not tasks, are alike for it")
    if name == "rlw" or name in IN_TURN:
        assert weights is not None
        assert weights.sum() == pytest.approx(count)
        return
    torch.testing.assert_close(update, jacobian.sum(0), rtol=1e-6, atol=1e-9)
    if weights is not None:
        torch.testing.assert_close(weights, torch.ones(count).double(), rtol=1e-6, atol=1e-9)


@everyone
def test_the_learning_rate_of_a_lone_task_is_its_own(name: str) -> None:
    balancer = make(name, 1)
    jacobian, values = problem(1)
    update, _ = combine(balancer, jacobian, values)
    torch.testing.assert_close(update, jacobian[0], rtol=1e-6, atol=1e-9)


@everyone
def test_the_papers_scale(name: str) -> None:
    if "scale" not in inspect.signature(BALANCERS[name]).parameters:
        return
    jacobian, values = problem()
    unit, weights = combine(make(name, 3, scale="unit"), jacobian, values)
    paper, others = combine(make(name, 3, scale="paper"), jacobian, values)
    cosine = torch.nn.functional.cosine_similarity(unit, paper, dim=0)
    assert cosine == pytest.approx(1.0)
    if weights is not None and others is not None:
        torch.testing.assert_close(weights * others.sum(), others * weights.sum())


@everyone
def test_wrong_settings_are_refused(name: str) -> None:
    cls: Any = BALANCERS[name]
    with pytest.raises(ValueError, match="num_tasks"):
        cls(0)
    with pytest.raises(TypeError):
        cls(2, no_such_setting=1)
    if "scale" in inspect.signature(cls).parameters:
        with pytest.raises(ValueError, match="'unit' or 'paper'"):
            cls(2, scale="big")
    balancer = cls(3)
    if isinstance(balancer, LossBalancer):
        with pytest.raises(ValueError, match="active="):
            balancer(torch.ones(2))
