"""Merging weights: properties, a computed example, and runs that become one run."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.errors import RunError
from polytask.merging import average, largest, task_arithmetic, ties

Merge = Callable[..., dict[str, Tensor]]
METHODS: dict[str, Merge] = {
    "average": average,
    "task-arithmetic": task_arithmetic,
    "ties": lambda *given, **more: ties(*given, keep=1.0, **more),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"a.w": torch.randn(2, 3), "b": torch.randn(()), "n": torch.tensor(seed)}


@every_method
@given(seed=st.integers(1, 99))
@settings(max_examples=10, deadline=None)
def test_one_model_is_itself_and_no_change_is_the_start(method: Merge, seed: int) -> None:
    start, model = state(0), state(seed)
    torch.testing.assert_close(method(start, [model], scale=1.0), model, rtol=0, atol=0)
    torch.testing.assert_close(method(start, [start, start], scale=1.0), start, rtol=0, atol=0)
    kept = {name: value for name, value in start.items() if name != "n"}
    still = method(start, [model, state(3)], scale=0.0)
    torch.testing.assert_close({k: still[k] for k in kept}, kept, rtol=0, atol=0)


@every_method
def test_the_order_of_models_does_not_matter(method: Merge) -> None:
    start, models = state(0), [state(n) for n in (1, 2, 3)]
    torch.testing.assert_close(method(start, models), method(start, models[::-1]))


@pytest.mark.parametrize("method", [average, METHODS["ties"]])
def test_equal_models_are_each_of_them(method: Merge) -> None:
    torch.testing.assert_close(method(state(0), [state(5)] * 3), state(5))


def test_average_and_sum_are_what_they_say() -> None:
    start, models = state(0), [state(1), state(2)]
    mean = (models[0]["a.w"] + models[1]["a.w"]) / 2
    torch.testing.assert_close(average(start, models)["a.w"], mean)
    summed = start["a.w"] + 0.3 * 2 * (mean - start["a.w"])
    torch.testing.assert_close(task_arithmetic(start, models, scale=0.3)["a.w"], summed)
    assert average(start, models)["n"] == 2


def test_ties_by_hand() -> None:
    start = {"w": torch.tensor([1.0, 1.0]), "v": torch.tensor([1.0, 1.0])}
    changes = [([4.0, -3.0], [0.1, 2.0]), ([-1.0, -5.0], [0.2, -2.0]), ([2.0, 0.3], [3.0, 0.1])]
    models = [{"w": 1 + torch.tensor(w), "v": 1 + torch.tensor(v)} for w, v in changes]
    # Kept at 1/2: (4, -3, 0, 0), (0, -5, 0, -2), (2, 0, 3, 0). Number 1 of the second is trimmed.
    found = ties(start, models, keep=0.5)
    torch.testing.assert_close(found["w"], torch.tensor([1 + 3.0, 1 - 4.0]))
    torch.testing.assert_close(found["v"], torch.tensor([1 + 3.0, 1 - 2.0]))
    # Kept whole: signs of (5, -7.7, 3.3, 0.1); the mean is over those of that sign alone.
    found = ties(start, models, keep=1.0, scale=2.0)
    torch.testing.assert_close(found["w"], torch.tensor([1 + 2 * 3.0, 1 - 2 * 4.0]))
    torch.testing.assert_close(found["v"], torch.tensor([1 + 2 * 1.1, 1 + 2 * 1.05]))


@given(count=st.integers(1, 40), keep=st.floats(0.01, 1.0))
@settings(max_examples=30, deadline=None)
def test_trimming_keeps_the_largest_share(count: int, keep: float) -> None:
    change = torch.linspace(-1.0, 0.77, count, dtype=torch.float64) + 0.01
    kept = largest(change, keep)
    stays = kept != 0
    assert stays.sum() == -(-keep * count // 1)
    assert torch.equal(kept[stays], change[stays])
    assert not (~stays).any() or change[stays].abs().min() > change[~stays].abs().max()


@every_method
def test_models_that_are_built_otherwise_are_refused(method: Merge) -> None:
    start = state(0)
    less = {"b": start["b"], "n": start["n"]}
    with pytest.raises(RunError, match=r"model 2 .*a\.w: only in the start"):
        method(start, [start, less])
    with pytest.raises(RunError, match=r"a\.w: not in the start"):
        method(less, [start])
    with pytest.raises(RunError, match=r"a\.w: \[2, 3\] in the start, \[3, 2\] here"):
        method(start, [{**start, "a.w": start["a.w"].T}])
    with pytest.raises(RunError, match="nothing to merge"):
        method(start, [])
    with pytest.raises(RunError, match=r"share above 0.*Found 1\.5"):
        ties(start, [start], keep=1.5)
