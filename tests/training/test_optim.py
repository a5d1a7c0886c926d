"""Schedules as pure functions, parameter groups, and the average of weights."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from polytask.errors import ConfigError
from polytask.training.averaging import WeightAverage
from polytask.training.optim import (
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    OneCycle,
    RMSprop,
    Schedule,
    Step,
)
from tests.networks import network

every_schedule = st.sampled_from([made for made in SCHEDULES.values()])


@given(every_schedule, st.integers(1, 500), st.floats(0, 0.9), st.data())
def test_a_schedule_is_a_pure_function_between_zero_and_one(
    made: type[Schedule], steps: int, warmup: float, data: st.DataObject
) -> None:
    schedule = made(warmup=warmup)
    step = data.draw(st.integers(0, steps - 1))
    factor = schedule.factor(step, steps)
    assert 0.0 <= factor <= 1.0
    assert factor == made(warmup=warmup).factor(step, steps)


@given(every_schedule, st.integers(1, 500), st.floats(0, 0.9))
def test_it_rises_through_the_warm_up_to_the_peak_and_never_again(
    made: type[Schedule], steps: int, warmup: float
) -> None:
    factors = [made(warmup=warmup).factor(step, steps) for step in range(steps)]
    rising = round(warmup * steps)
    assert all(a < b for a, b in pairwise(factors[:rising]))
    if rising < steps:
        assert factors[rising] == pytest.approx(1.0)
    assert factors[0] > 0, "a first step of zero would be wasted"
    after = factors[rising:]
    assert all(a >= b for a, b in pairwise(after))


def test_the_courses_end_where_they_say() -> None:
    assert Constant().factor(99, 100) == 1.0
    assert Cosine(final=0.2).after(100, 100) == pytest.approx(0.2)
    assert Cosine().after(50, 100) == pytest.approx(0.5)
    assert OneCycle(final=0.1).after(100, 100) == pytest.approx(0.1)
    assert OneCycle(warmup=0.2).factor(60, 100) == pytest.approx(0.5)
    step = Step(milestones=(0.5, 0.75), gamma=0.1)
    assert [step.factor(i, 100) for i in (49, 50, 74, 75)] == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_decay_acts_on_matrices_only_and_every_parameter_is_there_once(kind: str) -> None:
    model, own = network(), nn.Parameter(torch.zeros(4, 4))
    frozen = next(model.parameters()).requires_grad_(False)
    groups = OPTIMIZERS[kind](weight_decay=0.1).groups(model, [own])
    found = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
    expected = [p for p in [*model.parameters(), own] if p is not frozen]
    assert sorted(map(id, found)) == sorted(map(id, expected))
    for group in groups:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            decays = parameter.ndim > 1 and parameter is not own
            assert group["weight_decay"] == (0.1 if decays else 0.0)


def test_the_longest_beginning_of_a_name_gives_the_factor() -> None:
    model = network()
    spec = SGD(lr=2.0, factors={"heads": 0.5, "heads.tags": 0.25, "encoders.sound": 3.0})
    rates = {
        id(p): group["lr"]
        for group in spec.groups(model, [])
        for p in group["params"]  # type: ignore[attr-defined]
    }
    for name, parameter in model.named_parameters():
        expected = 2.0
        if name.startswith("heads."):
            expected = 0.5 if name.startswith("heads.tags.") else 1.0
        elif name.startswith("encoders.sound."):
            expected = 6.0
        assert rates[id(parameter)] == expected, name
    assert all(g["peak"] == g["lr"] for g in spec.groups(model, []))


def test_a_factor_that_fits_nothing_is_an_error_that_lists_beginnings() -> None:
    with pytest.raises(ConfigError, match=r"\['head'\].*encoders\.picture.*heads\.tags"):
        SGD(factors={"head": 0.1}).groups(network(), [])


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        (SGD(lr=0.1, momentum=0.9, nesterov=True), torch.optim.SGD),
        (Adam(lr=0.1), torch.optim.Adam),
        (AdamW(lr=0.1, weight_decay=0.3), torch.optim.AdamW),
        (RMSprop(lr=0.1, momentum=0.5), torch.optim.RMSprop),
    ],
)
def test_optimisers_are_torchs(spec: object, theirs: type[torch.optim.Optimizer]) -> None:
    settings = {
        k: v for k, v in vars(spec).items() if k not in ("factors", "layer_decay", "weight_decay")
    }
    ours_weight, their_weight = (nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    holder = nn.Module()
    holder.weight = ours_weight
    ours = spec.make(spec.groups(holder, []))  # type: ignore[attr-defined]
    oracle = theirs([their_weight], weight_decay=spec.weight_decay, **settings)  # type: ignore[attr-defined, call-arg]
    for i in range(3):
        for weight, optimizer in ((ours_weight, ours), (their_weight, oracle)):
            weight.grad = torch.arange(6.0).view(3, 2) - i
            optimizer.step()
    torch.testing.assert_close(ours_weight, their_weight)


def test_the_average_is_the_recursion() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.5)
    expected = 1.0
    for n in range(1, 9):
        with torch.no_grad():
            model.weight.fill_(float(n))
            model.num_batches_tracked.fill_(n)
        average.update(model)
        keep = min(0.5, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * n
    assert float(average.average["weight"]) == pytest.approx(expected, rel=1e-6)
    assert int(average.average["num_batches_tracked"]) == 8
    assert math.isclose(model.weight.item(), 8.0)
    again = WeightAverage(nn.BatchNorm1d(1), 0.5)
    again.load_state_dict(average.state_dict())
    assert again.updates == 8 and torch.equal(again.average["weight"], average.average["weight"])
