"""Sounds as log-mel frames, and frames as sounds.

Shapes: N samples of a wave, L frames, M mel bands, K frequency bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polytask.encoders.audio import LogMelEncoder
from polytask.errors import ConfigError, require
from polytask.types import Features

DECIBELS = 10 / np.log(10)  # of a power's natural logarithm
_ROUNDS = 60  # after which Griffin-Lim changes little


@dataclass(frozen=True, kw_only=True)
class MelFrames:
    """How a wave is described, frame by frame.

    Attributes:
        sample_rate: Samples per second.
        mels: M.
        window: Seconds that a frame is of.
        hop: Seconds from one frame to the next.
    """

    sample_rate: int
    mels: int
    window: float
    hop: float

    def __post_init__(self) -> None:
        if self.mels < 1 or not 0 < self.hop <= self.window / 2 or self.step < 1:
            raise ConfigError(
                "`mels` should be at least 1, and `hop` at least a sample and at most half of "
                f"`window`, so that frames can become a wave again. Found {self.mels}, {self.hop} "
                f"and {self.window} at a `sample_rate` of {self.sample_rate}."
            )

    @property
    def step(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop * self.sample_rate)

    def count(self, seconds: float) -> int:
        """The number of frames of a sound of so many seconds."""
        return max(1, -(-round(seconds * self.sample_rate) // self.step))

    def heard(self, wave: NDArray[Any]) -> NDArray[np.float32]:
        """The frames `[L, M]` of a wave `[N]` of int16, in decibels of a band's energy."""
        values = torch.from_numpy(np.ascontiguousarray(wave))[None]
        frames: Tensor = self._encoder()(Features(values)).values[0]
        found: NDArray[np.float32] = (frames * DECIBELS).numpy().astype(np.float32)
        return found

    def spoken(self, frames: Tensor) -> NDArray[np.int16]:
        """A wave `[L hop]` whose frames are near those given, `[L, M]` in decibels.

        Bins are found from bands by non-negative least squares, phases by the fast variant
        (Perraudin et al. 2013) of Griffin and Lim (1984), both by `librosa`. A wave that would
        leave full scale is made quieter.

        Raises:
            MissingDependency: If `librosa` is not installed.
        """
        librosa = require("librosa", "synthesis")
        encoder = self._encoder()
        power = np.power(10.0, frames.double().cpu().numpy().T / 10)
        bins = librosa.util.nnls(encoder.bands.double().numpy().T, power)
        bins = np.pad(bins, ((0, 0), (0, 1)))  # the frame centred on the end, which is silent
        wave = librosa.griffinlim(
            np.sqrt(bins),
            n_iter=_ROUNDS,
            hop_length=encoder.hop,
            win_length=encoder.length,
            n_fft=encoder.points,
            length=frames.shape[0] * encoder.hop,
            random_state=0,
        )
        loudest = max(1.0, float(np.abs(wave).max(initial=0.0)))
        samples: NDArray[np.int16] = np.rint(wave / loudest * 32767).astype(np.int16)
        return samples

    def _encoder(self) -> LogMelEncoder:
        return LogMelEncoder(
            self.sample_rate,
            mels=self.mels,
            window=self.window,
            hop=self.hop,
            normalize="none",
        ).eval()


def stretched(frames: Tensor, lengths: Tensor, wanted: Tensor, rows: int) -> Tensor:
    """Frames at other lengths, by linear interpolation between neighbours in time.

    Args:
        frames: `[B, L, M]`; what stands past an example's length does not matter.
        lengths: `[B]`, how many frames each example has, at least 1.
        wanted: `[B]`, how many it is to have.
        rows: How many rows the result has.

    Returns:
        `[B, rows, M]`; rows past an example's end repeat its last frame.
    """
    places = torch.arange(rows, device=frames.device) + 0.5
    last = (lengths - 1)[:, None]
    found = places * (lengths / wanted.clamp(min=1))[:, None] - 0.5
    found = torch.minimum(found.clamp(min=0), last)
    below = found.floor()
    share = (found - below)[:, :, None].to(frames.dtype)
    index = below.long()[:, :, None].expand(-1, -1, frames.shape[2])
    after = torch.minimum(index + 1, last[:, :, None])
    return frames.gather(1, index) * (1 - share) + frames.gather(1, after) * share
