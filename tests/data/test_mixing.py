"""Mixing: exact quotas, batches that depend on nothing but seed and step, collation."""

import threading
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data.collate import SOURCE_SHIFT, collate
from polytask.data.dataset import Dataset
from polytask.data.mixing import (
    Annealed,
    Capped,
    Counts,
    Mixing,
    Proportional,
    RoundRobin,
    Temperature,
    Uniform,
)
from polytask.data.sound_transforms import Gain
from polytask.data.sources import Table
from polytask.data.stores import PictureStore, SoundStore, VectorStore, pack_waves
from polytask.data.stream import BatchStream, Prefetcher, evaluation_batches
from polytask.data.transforms import HorizontalFlip, RandomCrop, Shrink
from polytask.errors import ConfigError, DataError
from polytask.types import Batch


def dataset(name: str, number: int, rows: int, kind: str = "vector") -> Dataset:
    rng = np.random.default_rng(number)
    frame = pd.DataFrame({"x": range(rows)})
    some = Dataset(name, number, Table(name, frame, {}, name, lambda r: f"{name} {r}"))
    if kind == "picture":
        pixels = rng.integers(0, 256, (rows, 3, 8, 8), dtype=np.uint8)
        some.stores["in"] = PictureStore(pixels)
    elif kind == "sound":
        waves = [rng.integers(-9, 9, n, dtype=np.int16) for n in rng.integers(5, 40, rows)]
        some.stores["in"] = pack_waves(waves)
    else:
        some.stores["in"] = VectorStore(np.arange(rows, dtype=np.float32)[:, None])
    some.targets["task"] = torch.arange(rows)
    some.present["task"] = torch.arange(rows) % 3 != number
    return some


def stream(sizes: dict[str, int], mixing: Mixing, batch: int = 16, **more: object) -> BatchStream:
    sets = {name: dataset(name, k, n) for k, (name, n) in enumerate(sizes.items())}
    rows = {name: torch.arange(n) for name, n in sizes.items()}
    return BatchStream(sets, rows, batch_size=batch, mixing=mixing, **more)  # type: ignore[arg-type]


def same(one: Batch, two: Batch) -> bool:
    def flat(batch: Batch) -> dict[str, torch.Tensor]:
        parts = {"targets": batch.targets, "present": batch.present, "rows": batch.rows}
        named = {f"{part} {k}": v for part, held in parts.items() for k, v in held.items()}
        return named | {f"input {k}": v.values for k, v in batch.inputs.items()}

    a, b = flat(one), flat(two)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


MIXINGS = st.sampled_from(
    [Proportional(), Uniform(), Temperature(), Temperature(temperature=5.0), Capped(cap=9)]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=4), MIXINGS, st.integers(1, 40))
def test_quotas_are_exact_in_the_long_run(sizes: list[int], mixing: Mixing, batch: int) -> None:
    named = {f"s{k}": n for k, n in enumerate(sizes)}
    some = stream(named, mixing, batch)
    assert abs(sum(some.quota.values()) - batch) < Fraction(1, 1000)
    counts = dict.fromkeys(named, 0)
    for step in range(12):
        for name in named:
            counts[name] += len(some._picked(name, step))
            assert counts[name] == int(some.quota[name] * (step + 1))
    for name, size in named.items():
        assert some.drawn(name, some.steps_per_epoch) >= size


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 3))
def test_a_batch_depends_on_seed_and_step_only(steps: list[int], seed: int) -> None:
    sizes = {"a": 50, "b": 7}
    used, fresh = (stream(sizes, Uniform(), seed=seed) for _ in range(2))
    asked = {step: used.batch(step) for step in steps}
    for step, batch in asked.items():
        fresh = stream(sizes, Uniform(), seed=seed)
        assert same(batch, fresh.batch(step))
        assert same(batch, used.batch(step))


def test_every_pass_sees_every_row_once() -> None:
    some = stream({"a": 10, "b": 30}, Uniform(), 8)
    seen = torch.cat([some.batch(k).rows["in"] for k in range(10)])
    first = seen[seen < SOURCE_SHIFT].tolist()
    assert len(first) == 40
    orders = [first[k : k + 10] for k in range(0, 40, 10)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert seen[seen >= SOURCE_SHIFT].max() == SOURCE_SHIFT + 29


def test_ranks_share_the_batch_of_one_process() -> None:
    sets = {"p": dataset("p", 0, 40, "picture"), "s": dataset("s", 1, 20, "picture")}
    rows = {"p": torch.arange(40), "s": torch.arange(20)}

    def make(rank: int, size: int) -> BatchStream:
        return BatchStream(
            sets,
            rows,
            batch_size=15,
            mixing=Proportional(),
            augment={"in": [RandomCrop(padding=2), HorizontalFlip()]},
            rank=rank,
            world_size=size,
        )

    for step in range(4):
        whole = make(0, 1).batch(step)
        shares = [make(rank, 2).batch(step) for rank in range(2)]
        pixels = {
            int(r): v for r, v in zip(whole.rows["in"], whole.inputs["in"].values, strict=True)
        }
        numbers = torch.cat([s.rows["in"] for s in shares])
        assert sorted(numbers.tolist()) == sorted(whole.rows["in"].tolist())
        for share in shares:
            for row, value in zip(share.rows["in"], share.inputs["in"].values, strict=True):
                assert torch.equal(value, pixels[int(row)])


def test_an_epoch_is_said() -> None:
    some = stream({"cifar10": 42000, "fsdd": 2100}, Counts(counts={"cifar10": 512, "fsdd": 64}))
    assert some.describe_epoch() == (
        "one epoch = 83 steps = 42,496 of cifar10 (1.0 pass) + 5,312 of fsdd (2.5 passes)"
    )
    assert stream({"a": 100}, Uniform(), 10, epoch_examples=25).steps_per_epoch == 3
    assert Temperature(temperature=1.0).shares({"a": 1, "b": 3}, 8) == {"a": 2, "b": 6}


def test_mixing_mistakes() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'fsdd'"):
        stream({"fsdd": 5}, Counts(counts={"fsd": 2, "fsdd": 1}))
    with pytest.raises(ConfigError, match="lacks source 'b'"):
        stream({"a": 5, "b": 5}, Counts(counts={"a": 2}))
    with pytest.raises(ConfigError):
        Temperature(temperature=0)
    with pytest.raises(DataError, match="'a' has no rows"):
        stream({"a": 0}, Proportional())


def test_collate_pads_waves_and_keeps_targets_with_their_rows() -> None:
    sets = [dataset("a", 0, 9, "sound"), dataset("b", 1, 5, "sound")]
    parts = [sets[0].gather(torch.tensor([3, 1])), sets[1].gather(torch.tensor([4]))]
    batch = collate(parts)
    values, mask = batch.inputs["in"]
    assert mask is not None and values.shape == mask.shape
    assert batch.rows["in"].tolist() == [3, 1, SOURCE_SHIFT + 4]
    assert batch.targets["task"].tolist() == [3, 1, 4]
    assert batch.present["task"].tolist() == [False, True, False]
    for k, (some, row) in enumerate([(sets[0], 3), (sets[0], 1), (sets[1], 4)]):
        store = some.stores["in"]
        assert isinstance(store, SoundStore)
        first, count = store.spans[row]
        assert mask[k].sum() == count and not mask[k, count:].any()
        assert values[k, :count].tolist() == store.samples[first : first + count].tolist()
        assert (values[k, count:] == 0).all()


def test_inputs_that_do_not_fit_together_are_named() -> None:
    one, two = dataset("a", 0, 4), dataset("b", 1, 4)
    two.stores["in"] = VectorStore(np.zeros((4, 2), np.float32))
    with pytest.raises(DataError, match=r"Input 'in' .*\[1\], \[2\]"):
        collate([one.gather(torch.arange(2)), two.gather(torch.arange(2))])


def test_evaluation_reads_every_row_once_in_order() -> None:
    sets = {"a": dataset("a", 0, 7), "b": dataset("b", 1, 5)}
    rows = {"a": torch.tensor([6, 0, 3]), "b": torch.arange(5)}
    batches = list(evaluation_batches(sets, rows, 2))
    assert [b.size for b in batches] == [2, 1, 2, 2, 1]
    read = torch.cat([b.rows["in"] for b in batches]).tolist()
    assert read == [6, 0, 3, *(SOURCE_SHIFT + k for k in range(5))]


def test_the_prefetcher_gives_the_same_and_raises_here() -> None:
    some = stream({"a": 20, "b": 30}, Uniform())
    before = threading.active_count()
    with Prefetcher(some) as ahead:
        for step in (0, 1, 2, 7, 8, 3):
            assert same(ahead.batch(step), some.batch(step))
        some.datasets["a"].stores["in"].vectors = None  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            for step in range(20, 23):
                ahead.batch(step)
    assert threading.active_count() == before


def test_the_prefetcher_makes_no_second_team_of_threads() -> None:
    class Counting:
        def batch(self, step: int) -> int:
            torch.rand(1 << 20).add(1)
            return torch.get_num_threads()

        def decided(self, step: int) -> bool:
            return True

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with Prefetcher(Counting()) as ahead:  # type: ignore[arg-type]
            assert [ahead.batch(step) for step in range(3)] == [1, 1, 1]
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_augmentation_changes_with_the_step_and_not_the_store() -> None:
    some = dataset("s", 0, 4, "sound")
    made = BatchStream(
        {"s": some},
        {"s": torch.arange(4)},
        batch_size=4,
        mixing=Uniform(),
        augment={"in": [Gain(decibels=20)]},
    )
    before = some.gather(torch.arange(4)).inputs["in"].values.clone()
    sums = {int(made.batch(k).inputs["in"].values.abs().sum()) for k in range(5)}
    assert len(sums) > 1
    assert torch.equal(some.gather(torch.arange(4)).inputs["in"].values, before)


def test_small_pictures_in_the_first_epochs_only() -> None:
    sets = {"a": dataset("a", 0, 20, "picture")}
    some = BatchStream(
        sets,
        {"a": torch.arange(20)},
        batch_size=10,
        mixing=Proportional(),
        augment={"in": [HorizontalFlip(), Shrink(size=4, epochs=2)]},
    )
    sizes = [some.batch(step).inputs["in"].values.shape[-1] for step in range(6)]
    assert sizes == [4, 4, 4, 4, 8, 8]


def test_a_cap_keeps_a_huge_source_from_drowning_the_others() -> None:
    assert Capped(cap=30).shares({"a": 1000, "b": 10}, 8) == {"a": 6, "b": 2}
    with pytest.raises(ConfigError, match="`cap`"):
        Capped(cap=0)


def test_sources_take_turns_step_by_step() -> None:
    turns = stream({"a": 40, "b": 12, "c": 16}, RoundRobin(), batch=8)
    sources = [set((turns.batch(step).rows["in"] // SOURCE_SHIFT).tolist()) for step in range(7)]
    assert sources == [{0}, {1}, {2}, {0}, {1}, {2}, {0}]
    assert all(len(turns.batch(step).rows["in"]) == 8 for step in range(7))
    assert turns.steps_per_epoch == 15
    rows = torch.cat([turns.batch(step).rows["in"] for step in range(15)])
    assert len(set(rows[rows < SOURCE_SHIFT].tolist())) == 40  # an epoch sees every row


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.integers(2, 6),
    st.floats(0, 1),
    st.integers(1, 24),
)
def test_annealing_goes_from_proportional_towards_uniform(
    sizes: list[int], epochs: int, last: float, batch: int
) -> None:
    named = {f"s{k}": n for k, n in enumerate(sizes)}
    some = stream(named, Annealed(epochs=epochs, last=last), batch)
    length, total = some.steps_per_epoch, sum(sizes)
    exponents = [1 - (1 - last) * min(e / (epochs - 1), 1) for e in range(epochs + 2)]
    for name, size in named.items():
        assert abs(some.quota[name] - Fraction(batch * size, total)) < Fraction(1, 1000)
        expected, before = 0.0, 0
        for epoch, exponent in enumerate(exponents):
            share = batch * size**exponent / sum(n**exponent for n in sizes)
            expected += share * length
            after = some.drawn(name, (epoch + 1) * length)
            assert abs(after - expected) < 1 + 1e-3 * (epoch + 1) * length
            places = sorted({*range(0, length, max(1, length // 40)), length})
            steps = [some.drawn(name, epoch * length + k) for k in places]
            assert steps == sorted(steps) and steps[0] == before and steps[-1] == after
            before = after
            seen = sum(
                batch * size**e / sum(n**e for n in sizes) for e in exponents[: epoch + 1]
            ) / (epoch + 1)
            assert abs(some.per_step(name, (epoch + 1) * length) - seen) < 1 / length + 1e-3


def test_examples_per_step_are_the_shares_where_these_stay() -> None:
    some = stream({"a": 30, "b": 7}, Proportional(), 5)
    for steps in (1, 3, 1000):
        assert some.per_step("a", steps) == float(some.quota["a"]) == 5 * 30 / 37


def test_annealed_batches_depend_on_seed_and_step_only() -> None:
    sizes = {"a": 60, "b": 6}
    used = stream(sizes, Annealed(epochs=3, last=0.0), 6)
    assert used.steps_per_epoch == 11
    asked = {step: used.batch(step) for step in (40, 3, 25, 11, 12)}
    for step, batch in asked.items():
        assert same(batch, stream(sizes, Annealed(epochs=3, last=0.0), 6).batch(step))
    ends = [len(used._picked("b", step)) for step in range(30, 40)]
    assert sum(ends) == 30
    assert used.describe_epoch() == (
        "one epoch = 11 steps = 60 of a (1.0 pass) + 6 of b (1.0 pass) at first, "
        "33 of a (0.6 passes) + 33 of b (5.5 passes) from epoch 3 on"
    )
    with pytest.raises(ConfigError, match="at least 2"):
        Annealed(epochs=1)
