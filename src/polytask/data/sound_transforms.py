"""Random changes of sounds: where they begin, how loud, how noisy and how fast they are.

Shapes: B examples, L samples, M frames that have labels.
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor

from polytask.data.transforms import Times, Transform, probability
from polytask.errors import ConfigError
from polytask.tasks import sequences
from polytask.tasks.sequences import PADDING
from polytask.types import Features

_NOISE = 2**16  # samples of noise that the waves of a batch take their stretches from


class RandomShift(Transform):
    """Moves every wave in time; silence comes in from the side that it leaves.

    Args:
        share: The greatest shift as a share of each wave's length, either way.
    """

    moves_times = True

    def __init__(self, *, share: float = 0.1) -> None:
        self.share = probability(share)

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Waves `[B, L]`, each shifted inside its own length."""
        waves = features.values
        lengths = _lengths(features)
        shifts = self._drawn(lengths, generator).tolist()
        result = torch.zeros_like(waves)
        source, moved = waves.numpy(), result.numpy()
        for k, (shift, count) in enumerate(zip(shifts, lengths.tolist(), strict=True)):
            if shift >= 0:
                moved[k, shift:count] = source[k, : count - shift]
            else:
                moved[k, : count + shift] = source[k, -shift:count]
        return Features(result, features.mask)

    def retimed(self, times: Times, sounds: Features, generator: Generator) -> Tensor:
        """By the same shifts; nothing is said of the silence that comes in."""
        shifts = self._drawn(_lengths(sounds), generator) / times.samples
        middles = torch.arange(times.values.shape[1]) + 0.5
        return _labels_at(times, middles - shifts.unsqueeze(1), sequences.lengths(times.values))

    def _drawn(self, lengths: Tensor, generator: Generator) -> Tensor:
        """How many samples each wave is moved by, `[B]`."""
        draw = torch.rand(len(lengths), generator=generator) * 2 - 1
        return (draw * self.share * lengths).round().long()


class Gain(Transform):
    """Makes every wave louder or softer.

    Args:
        decibels: The greatest change, either way; what gets too loud is clipped.
    """

    def __init__(self, *, decibels: float = 6.0) -> None:
        self.decibels = decibels

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Waves `[B, L]`, each with its own gain."""
        draw = torch.rand(len(features.values), generator=generator) * 2 - 1
        factors = 10 ** (draw * self.decibels / 20)
        return Features(_rounded(features.values * factors.unsqueeze(1)), features.mask)


class Noise(Transform):
    """Adds white noise.

    Args:
        snr_low: The strongest noise, as the ratio of sound to noise in decibels.
        snr_high: The weakest noise.
    """

    def __init__(self, *, snr_low: float = 10.0, snr_high: float = 40.0) -> None:
        if snr_low > snr_high:
            raise ConfigError(
                f"`snr_low` should not be above `snr_high`. Found {snr_low} and {snr_high}."
            )
        self.snr_low, self.snr_high = snr_low, snr_high

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Waves `[B, L]`, each with its own ratio and stretch of noise; padding stays silent."""
        waves, size = features.values.numpy(), features.values.shape[1]
        draw = torch.rand(len(waves), generator=generator)
        ratios = (self.snr_low + (self.snr_high - self.snr_low) * draw).tolist()
        noise = torch.randn(size + _NOISE, generator=generator).numpy()
        starts = torch.randint(0, _NOISE, (len(waves),), generator=generator).tolist()
        result = np.zeros_like(waves)
        for k, (start, count) in enumerate(zip(starts, _lengths(features).tolist(), strict=True)):
            sound = waves[k, :count].astype(np.float32)
            level = math.sqrt(float(sound @ sound) / max(count, 1) * 10 ** (-ratios[k] / 10))
            sound += level * noise[start : start + count]
            result[k, :count] = np.clip(np.rint(sound), -32768, 32767)
        return Features(torch.from_numpy(result), features.mask)


class Speed(Transform):
    """Plays every wave faster or slower, its pitch with it, by linear interpolation.

    Args:
        amount: Speeds lie in `1 - amount` to `1 + amount`. Slow waves are cut to the length of
            the batch.
    """

    moves_times = True

    def __init__(self, *, amount: float = 0.1) -> None:
        if not 0 <= amount < 1:
            raise ConfigError(f"`amount` should be in 0..1. Found {amount}.")
        self.amount = amount

    def __call__(self, features: Features, generator: Generator) -> Features:
        """Waves `[B, L]`, each with its own speed and so its own length."""
        size = features.values.shape[1]
        lengths = _lengths(features)
        speeds, kept = self._drawn(lengths, size, generator)
        result = torch.zeros_like(features.values)
        source, played, place = features.values.numpy(), result.numpy(), np.arange(size)
        for k, (speed, old, new) in enumerate(
            zip(speeds.tolist(), lengths.tolist(), kept.tolist(), strict=True)
        ):
            played[k, :new] = np.interp(place[:new] * speed, place[:old], source[k, :old])
        mask = torch.arange(size) < kept.unsqueeze(1)
        return Features(result, None if bool(mask.all()) else mask)

    def retimed(self, times: Times, sounds: Features, generator: Generator) -> Tensor:
        """At the same speeds, up to where each sound ends then."""
        speeds, kept = self._drawn(_lengths(sounds), sounds.values.shape[1], generator)
        middles = (torch.arange(times.values.shape[1]) + 0.5) * speeds.unsqueeze(1)
        return _labels_at(times, middles, (kept / times.samples - 1e-6).ceil().long())

    def _drawn(self, lengths: Tensor, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Each wave's speed and its new length in samples, `[B]` both."""
        speeds = 1 + self.amount * (torch.rand(len(lengths), generator=generator) * 2 - 1)
        return speeds, (lengths / speeds).long().clamp(min=1, max=size)


def _lengths(features: Features) -> Tensor:
    """The number of samples of every wave, `[B]` int64."""
    if features.mask is not None:
        return features.mask.sum(1)
    return torch.full((len(features.values),), features.values.shape[1])


def _labels_at(times: Times, places: Tensor, counts: Tensor) -> Tensor:
    """Labels `[B, M]` of the frames in which some places are; sounds without any stay so.

    Args:
        times: The labels.
        places: `[B, M]`, where each new frame's middle was before, in frames.
        counts: `[B]`, how many frames each sound has now.
    """
    had = sequences.lengths(times.values).unsqueeze(1)
    index = places.floor().long()
    found = times.values.gather(1, index.clamp(min=0, max=times.values.shape[1] - 1))
    found = found.masked_fill((index < 0) | (index >= had), times.rest)
    beyond = torch.arange(places.shape[1]) >= counts.unsqueeze(1)
    return found.masked_fill(beyond | (had == 0), PADDING)


def _rounded(waves: Tensor) -> Tensor:
    return waves.round().clamp_(-32768, 32767).to(torch.int16)
