"""Examples that are two in one: what they show, and whose labels they have."""

from dataclasses import replace

import pytest
import torch

from polytask.data.blending import Blending, CutMix, MixUp
from polytask.data.collate import collate, take
from polytask.data.inputs import ImageInput
from polytask.data.mixing import Uniform
from polytask.data.preparing import prepare
from polytask.data.shapes import Shapes
from polytask.data.stream import BatchStream
from polytask.errors import ConfigError
from polytask.tasks import Multiclass
from polytask.types import Batch, Features

TASKS = [
    Multiclass(name="shape", input="i", target={"a": "shape", "b": "shape"}),
    Multiclass(name="color", input="i", target={"a": "color"}),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures() -> Features:
    return Features(torch.randint(0, 256, (32, 3, 12, 10), generator=seeded()).to(torch.uint8))


def stream(blend: Blending | None, **more: int) -> BatchStream:
    sources = {"a": Shapes(count=40, size=16), "b": Shapes(count=40, size=16, seed=1)}
    inputs = {"i": ImageInput(columns={"a": "image", "b": "image"}, size=16)}
    ready = prepare(sources, inputs, TASKS)
    return BatchStream(
        ready.datasets,
        ready.parts["train"],
        batch_size=16,
        mixing=Uniform(),
        blend={"i": blend} if blend else {},
        **more,
    )


@pytest.mark.parametrize("blending", [MixUp(alpha=1.0), CutMix(), CutMix(p=0.5)])
def test_the_same_seed_blends_the_same(blending: Blending) -> None:
    one, two = blending(pictures(), seeded()), blending(pictures(), seeded())
    assert torch.equal(one[0].values, two[0].values) and torch.equal(one[2], two[2])
    assert not torch.equal(one[0].values, blending(pictures(), seeded(1))[0].values)
    assert sorted(one[1].tolist()) == list(range(32))
    assert one[0].values.dtype == torch.uint8
    assert ((one[2] >= 0) & (one[2] <= 1)).all() and one[2].unique().numel() > 8


def test_mixed_up_examples_are_weighted_sums() -> None:
    given = pictures()
    blended, order, share = MixUp(alpha=1.0, p=0.7)(given, seeded())
    weight = share.view(-1, 1, 1, 1)
    sums = weight * given.values + (1 - weight) * given.values[order]
    assert (blended.values - sums).abs().max() <= 0.5 + 1e-3
    assert torch.equal(blended.values[share == 1], given.values[share == 1])
    assert 3 < (share == 1).sum() < 20


def test_waves_are_as_long_as_the_longer_of_two() -> None:
    mask = torch.arange(50) < torch.tensor([[50], [20], [10], [30]])
    waves = Features(torch.full((4, 50), 1000, dtype=torch.int16) * mask, mask)
    blended, order, _ = MixUp(alpha=1.0)(waves, seeded())
    assert blended.mask is not None and blended.values.dtype == torch.int16
    assert torch.equal(blended.mask.sum(1), torch.maximum(mask.sum(1), mask[order].sum(1)))
    assert (blended.values[~blended.mask] == 0).all()


def test_the_share_of_a_cut_is_that_of_its_pixels() -> None:
    given = Features(torch.arange(32).view(-1, 1, 1, 1).expand(32, 3, 12, 10).to(torch.uint8))
    blended, order, share = CutMix()(given, seeded())
    own = (blended.values == given.values).float().mean((1, 2, 3))
    other = order != torch.arange(32)
    assert torch.allclose(own[other], share[other], atol=1e-6)
    box = (blended.values[:, 0] != given.values[:, 0])[other & (share < 1)]
    rows, columns = box.any(2).sum(1), box.any(1).sum(1)
    assert torch.equal(box.sum((1, 2)), rows * columns), "the cut is a box"


def test_labels_are_those_of_the_other_example_of_the_same_source() -> None:
    plain, blended = stream(None).batch(3), stream(MixUp(alpha=1.0)).batch(3)
    assert not plain.blends
    blend = blended.blends["i"]
    assert torch.equal(plain.targets["shape"], blended.targets["shape"])
    values, mixed = plain.inputs["i"].values.float(), blended.inputs["i"].values.float()
    for k, share in enumerate(blend.share.tolist()):
        if not 0.1 < share < 0.9:
            continue
        shown = (mixed[k] - share * values[k]) / (1 - share)
        partner = int((values - shown).abs().mean((1, 2, 3)).argmin())
        assert (partner < 8) == (k < 8), "sources are not blended with each other"
        for task in ("shape", "color"):
            assert blend.targets[task][k] == plain.targets[task][partner]
            assert blend.present[task][k] == plain.present[task][partner]
    assert not blend.present["color"][8:].any()


def test_processes_share_one_blend_and_batches_join_and_part() -> None:
    whole = stream(CutMix()).batch(0)
    halves = [stream(CutMix(), rank=rank, world_size=2).batch(0) for rank in (0, 1)]
    joined = collate(
        [take(h, slice(0, 4)) for h in halves] + [take(h, slice(4, 8)) for h in halves]
    )
    assert torch.equal(joined.inputs["i"].values, whole.inputs["i"].values)
    for name in ("share",):
        assert torch.equal(getattr(joined.blends["i"], name), getattr(whole.blends["i"], name))
    assert torch.equal(joined.blends["i"].targets["shape"], whole.blends["i"].targets["shape"])
    first = whole.first(0.25).blends["i"]
    assert torch.equal(first.share, whole.blends["i"].share[:4])
    moved = whole.to(torch.device("cpu"))
    assert torch.equal(moved.blends["i"].present["color"], whole.blends["i"].present["color"])
    assert isinstance(replace(whole, rows={}), Batch)


def test_mistakes_in_settings() -> None:
    for make in (lambda: MixUp(alpha=0), lambda: CutMix(p=2)):
        with pytest.raises(ConfigError):
            make()
