"""Augmentation: shapes and types kept, nothing in place, the same from the same state."""

import pytest
import torch

from polytask.data.sound_transforms import Gain, Noise, RandomShift, Speed
from polytask.data.transforms import (
    Brightness,
    Cutout,
    HorizontalFlip,
    RandomCrop,
    Shrink,
    Transform,
)
from polytask.errors import ConfigError
from polytask.types import Features

PICTURES = [
    RandomCrop(),
    RandomCrop(padding=2, mode="zero"),
    HorizontalFlip(),
    Cutout(),
    Brightness(amount=0.5),
]
WAVES = [RandomShift(), Gain(), Noise(), Speed()]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 16) -> Features:
    return Features(torch.randint(0, 256, (count, 3, 12, 10), generator=seeded()).to(torch.uint8))


def waves(masked: bool) -> Features:
    values = torch.randint(-9000, 9000, (16, 200), generator=seeded()).to(torch.int16)
    if not masked:
        return Features(values)
    mask = torch.arange(200) < torch.randint(20, 200, (16, 1), generator=seeded())
    return Features(values * mask, mask)


@pytest.mark.parametrize("transform", PICTURES, ids=lambda t: type(t).__name__)
def test_pictures(transform: Transform) -> None:
    given, kept = pictures(), pictures()
    out, again = transform(given, seeded()), transform(given, seeded())
    assert torch.equal(given.values, kept.values)
    assert out.values.dtype == torch.uint8 and out.values.shape == given.values.shape
    assert torch.equal(out.values, again.values)
    assert not torch.equal(out.values, transform(given, seeded(1)).values)
    assert not torch.equal(out.values, given.values)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("transform", WAVES, ids=lambda t: type(t).__name__)
def test_waves(transform: Transform, masked: bool) -> None:
    given, kept = waves(masked), waves(masked)
    out, again = transform(given, seeded()), transform(given, seeded())
    assert torch.equal(given.values, kept.values)
    assert out.values.dtype == torch.int16 and out.values.shape == given.values.shape
    assert torch.equal(out.values, again.values)
    assert not torch.equal(out.values, given.values)
    if out.mask is not None:
        assert (out.values[~out.mask] == 0).all()


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_a_crop_is_a_part_of_the_padded_picture(mode: str) -> None:
    given = pictures(8)
    out = RandomCrop(padding=3, mode=mode)(given, seeded()).values  # type: ignore[arg-type]
    kind = "reflect" if mode == "reflect" else "constant"
    padded = torch.nn.functional.pad(given.values.float(), (3, 3, 3, 3), mode=kind).byte()
    offsets = torch.randint(0, 7, (2, 8), generator=seeded()).tolist()
    for k, (y, x) in enumerate(zip(*offsets, strict=True)):
        assert torch.equal(out[k], padded[k, :, y : y + 12, x : x + 10])


def test_flips_and_cutouts_are_what_they_say() -> None:
    given = pictures()
    assert torch.equal(HorizontalFlip(p=1.0)(given, seeded()).values, given.values.flip(-1))
    assert torch.equal(HorizontalFlip(p=0.0)(given, seeded()).values, given.values)
    white = Features(torch.full((200, 3, 12, 10), 255, dtype=torch.uint8))
    black = (Cutout(size=4)(white, seeded()).values == 0).sum((1, 2, 3))
    assert black.max() == 4 * 4 * 3 and black.min() >= 2 * 2 * 3


def test_shrinking_is_the_mean_of_what_it_joins_and_ends_with_its_epochs() -> None:
    shrink = Shrink(size=(6, 5), epochs=2)
    steps = Features(torch.arange(12).view(1, 1, 12, 1).expand(2, 3, 12, 10).to(torch.uint8) * 20)
    small = shrink(steps, seeded()).values
    assert small.shape == (2, 3, 6, 5) and small.dtype == torch.uint8
    inner = torch.arange(6)[1:-1] * 40 + 10
    assert (small[0, 0, 1:-1, 0].int() - inner).abs().max() <= 1
    assert [shrink.applies(epoch) for epoch in range(4)] == [True, True, False, False]
    assert Shrink(size=8)(pictures(), seeded()).values.shape == (16, 3, 8, 8)


def test_noise_has_its_ratio_and_gain_its_decibels() -> None:
    time = torch.arange(8000) / 8000
    tone = (torch.sin(2 * torch.pi * 440 * time) * 8000).to(torch.int16).repeat(20, 1)
    noisy = Noise(snr_low=20, snr_high=20)(Features(tone), seeded()).values
    power = (noisy.float() - tone.float()).square().mean()
    ratio = 10 * torch.log10(tone.float().square().mean() / power)
    assert abs(float(ratio) - 20) < 0.3
    louder = Gain(decibels=6)(Features(tone), seeded()).values.float().abs().amax(1) / 8000
    assert 0.49 < float(louder.min()) < float(louder.max()) < 2.0


def test_mistakes_in_options() -> None:
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        Shrink(size=0)
    for make in (
        lambda: RandomCrop(padding=0),
        lambda: HorizontalFlip(p=2),
        lambda: Cutout(size=0),
        lambda: Brightness(amount=3),
        lambda: Noise(snr_low=9, snr_high=1),
        lambda: RandomCrop(padding=12)(pictures(), seeded()),
    ):
        with pytest.raises(ConfigError):
            make()
