"""Mending recordings before they are stored: noise, silence, level, emphasis.

Waves are mono, `[samples]` of float32 in -1..1. Formulas are functions of a wave alone, so that a
recording is cleaned alike wherever it comes from.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ConfigError, DataError, require

Wave = NDArray[np.float32]
Silence = Literal["keep", "trim", "remove"]
Level = Literal["as it is", "peak", "rms"]

_STRETCH = 0.01  # seconds whose energy is judged together
_MARGIN = 0.03  # seconds kept around what is heard, for soft beginnings and ends
_PEAK, _RMS = 0.9, 0.1  # of full scale


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What is done to a wave, in this order.

    Attributes:
        denoise: Whether steady noise is gated out.
        silence: What becomes of stretches without sound.
        silence_below: Decibels below the loudest stretch from which on it is silence.
        preemphasis: The share of the sample before that is taken away.
        level: To what every wave is scaled.
    """

    denoise: bool = False
    silence: Silence = "keep"
    silence_below: float = 40.0
    preemphasis: float = 0.0
    level: Level = "as it is"

    def __post_init__(self) -> None:
        if not 0 <= self.preemphasis < 1 or self.silence_below <= 0:
            raise ConfigError(
                "`preemphasis` should be in 0..1, `silence_below` above 0 decibels. Found "
                f"{self.preemphasis} and {self.silence_below}."
            )

    @property
    def shortens(self) -> bool:
        """Whether it changes when something is heard."""
        return self.silence != "keep"

    @property
    def needs_all(self) -> bool:
        """Whether what is done at the start depends on what comes later."""
        return self.shortens or self.denoise

    def __call__(self, wave: NDArray[Any], rate: int) -> NDArray[Any]:
        """The cleaned wave; the very same one if there is nothing to do.

        Raises:
            DataError: If it is too short for what is asked.
        """
        if self == Cleaning(silence_below=self.silence_below):
            return wave
        heard = as_float(wave)
        if self.denoise:
            heard = denoised(heard, rate)
        if self.silence != "keep":
            heard = heard[audible(heard, rate, below=self.silence_below, inside=self.silence)]
        if self.preemphasis:
            heard = preemphasized(heard, self.preemphasis)
        return heard if self.level == "as it is" else levelled(heard, self.level)


def as_float(wave: NDArray[Any]) -> Wave:
    """A wave of int16 or float as float32 in -1..1."""
    if wave.dtype == np.int16:
        return wave.astype(np.float32) / np.float32(32768)
    return wave.astype(np.float32, copy=False)


def audible(
    wave: Wave, rate: int, *, below: float, inside: Literal["trim", "remove"]
) -> NDArray[np.bool_]:
    """Which samples are not in silence, by the energy of stretches of 10 ms.

    Args:
        wave: The wave.
        rate: Samples per second.
        below: Decibels below the loudest stretch.
        inside: `trim` leaves pauses between sounds, `remove` does not.
    """
    size = max(1, round(_STRETCH * rate))
    count = -(-len(wave) // size)
    padded = np.zeros(count * size, np.float64)
    padded[: len(wave)] = wave
    energy = (padded.reshape(count, size) ** 2).mean(1)
    loud = energy >= energy.max(initial=0.0) * 10 ** (-below / 10)
    margin = round(_MARGIN / _STRETCH)
    near = np.convolve(loud, np.ones(2 * margin + 1), mode="full")[margin : margin + count] > 0
    if inside == "trim":
        found = np.flatnonzero(near)
        near[found[0] : found[-1] + 1] = True
    return np.repeat(near, size)[: len(wave)]


def levelled(wave: Wave, level: Literal["peak", "rms"]) -> Wave:
    """A wave at 0.9 of full scale at its peak, or 0.1 in the root of its mean square.

    With `rms` a wave whose peaks would then leave full scale stays as quiet as they demand.
    """
    peak = float(np.abs(wave).max(initial=0.0))
    if peak == 0:
        return wave
    factor = _PEAK / peak
    if level == "rms":
        factor = min(_RMS / math.sqrt(float(np.mean(wave.astype(np.float64) ** 2))), 1 / peak)
    return wave * np.float32(factor)


def preemphasized(wave: Wave, share: float) -> Wave:
    """`y[t] = x[t] - share x[t - 1]`, which lifts high frequencies; the first sample stays."""
    result = wave.copy()
    result[1:] -= np.float32(share) * wave[:-1]
    return result


def denoised(wave: Wave, rate: int) -> Wave:
    """Spectral gating by `noisereduce` with one threshold per frequency for the whole wave."""
    points = 2 ** round(math.log2(0.032 * rate))
    if len(wave) < points:
        raise DataError(
            f"the sound is too short to tell noise from it: {len(wave)} samples, and `denoise` "
            f"needs {points}"
        )
    reduced: Wave = require("noisereduce", "audio").reduce_noise(
        y=wave, sr=rate, stationary=True, n_fft=points, n_jobs=1
    )
    return reduced.astype(np.float32, copy=False)
