"""Sound to cepstral coefficients, and to frames of learned filters.

Shapes: B examples, N samples, L frames, M mel bands, C coefficients, D filters.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polytask.encoders.audio import LogMelEncoder, Normalize
from polytask.encoders.base import Encoder
from polytask.types import Features


def cosines(mels: int, coefficients: int) -> Tensor:
    """The orthonormal discrete cosine transform of type II, `[M, C]`."""
    place = torch.arange(mels, dtype=torch.float64).unsqueeze(1) + 0.5
    basis = torch.cos(math.pi / mels * place * torch.arange(coefficients)) * math.sqrt(2 / mels)
    basis[:, 0] /= math.sqrt(2)
    return basis.float()


class MFCCEncoder(LogMelEncoder):
    """Mel-frequency cepstral coefficients: the shape of a frame's spectrum in few numbers.

    They are the first coefficients of a cosine transform of log-mel energies (Davis & Mermelstein
    1980), without liftering.

    Args:
        sample_rate: Samples per second of the waves.
        coefficients: C; the first of them is the frame's loudness.
        mels: M, the number of bands.
        window: Length of a frame in seconds.
        hop: Distance between frames in seconds.
        deltas: Whether to append the first differences over time (D = 2 C).
        normalize: As for log-mel frames.
        time_masks: While training, how many stretches of frames are blanked.
        mask_share: The longest stretch as a share of the example's frames, in [0, 1].
    """

    basis: Tensor

    def __init__(
        self,
        sample_rate: int,
        *,
        coefficients: int = 13,
        mels: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        deltas: bool = True,
        normalize: Normalize = "example",
        time_masks: int = 0,
        mask_share: float = 0.15,
    ) -> None:
        super().__init__(
            sample_rate,
            mels=mels,
            window=window,
            hop=hop,
            time_masks=time_masks,
            mask_share=mask_share,
        )
        if not 1 <= coefficients <= mels:
            raise ValueError(
                f"`coefficients` should be from 1 to the {mels} `mels`. Found {coefficients}."
            )
        self._set_width(coefficients, deltas=deltas, normalize=normalize)
        self.register_buffer("basis", cosines(mels, coefficients), persistent=False)

    def _in_other_terms(self, frames: Tensor) -> Tensor:
        """Log energies `[B, L, M]` to coefficients `[B, L, C]`."""
        return frames @ self.basis


class WaveEncoder(Encoder):
    """Frames of learned filters over the wave itself.

    A convolution as long as a frame takes the place of window, spectrum and bands; a second one
    sees a frame's neighbours. Each is followed by layer normalisation over the filters and a GELU,
    as in wav2vec 2.0 (Baevski et al. 2020), whose stack of seven this shortens. No filter sees
    what a mask leaves out.

    Args:
        sample_rate: Samples per second of the waves.
        width: D, the number of filters.
        window: Length of a filter in seconds.
        hop: Distance between frames in seconds.
        normalize: `example` takes out each wave's mean and divides by its standard deviation.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        width: int = 64,
        window: float = 0.025,
        hop: float = 0.01,
        normalize: Literal["example", "none"] = "example",
    ) -> None:
        super().__init__()
        self.length, self.hop = round(window * sample_rate), round(hop * sample_rate)
        if min(self.length, self.hop, width) < 1:
            raise ValueError(
                f"`window` ({window}) and `hop` ({hop}) should span at least one sample at a "
                f"`sample_rate` of {sample_rate}, and `width` be at least 1. Found {width}."
            )
        self.out_features = width
        self.normalize = normalize
        self.filters = nn.Conv1d(1, width, self.length, stride=self.hop)
        self.neighbours = nn.Conv1d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, raw: Features) -> Features:
        """Waves `[B, N]` in -1..1 (or int16) with their mask, to frames `[B, L, D]`.

        L = ceil(N / hop), as for log-mel frames; frame k is around sample k hop.
        """
        wave = raw.values.to(self.filters.weight.dtype)
        if raw.values.dtype == torch.int16:
            wave = wave / 32768
        if self.normalize == "example":
            wave = standardized_wave(wave, raw.mask)
        elif raw.mask is not None:
            wave = wave.masked_fill(~raw.mask, 0.0)
        count = max(1, -(-wave.shape[1] // self.hop))
        before = self.length // 2
        after = (count - 1) * self.hop + self.length - before - wave.shape[1]
        frames = self.filters(F.pad(wave, (before, max(0, after))).unsqueeze(1))[..., :count]
        mask = None
        if raw.mask is not None:
            valid = (raw.mask.sum(1) + self.hop - 1) // self.hop
            mask = torch.arange(count, device=wave.device) < valid.clamp(min=1).unsqueeze(1)
        frames = self._between(frames, 0, mask)
        return Features(self._between(self.neighbours(frames), 1, mask).transpose(1, 2), mask)

    def _between(self, frames: Tensor, place: int, mask: Tensor | None) -> Tensor:
        """Normalised and bent frames `[B, D, L]`, zero where there is no sound."""
        frames = F.gelu(self.norms[place](frames.transpose(1, 2))).transpose(1, 2)
        return frames if mask is None else frames.masked_fill(~mask.unsqueeze(1), 0.0)


def standardized_wave(wave: Tensor, mask: Tensor | None) -> Tensor:
    """Zero mean and unit variance of each wave's own samples, `[B, N]`; zero elsewhere."""
    if mask is None:
        mask = torch.ones_like(wave, dtype=torch.bool)
    count = mask.sum(1, keepdim=True).clamp(min=1)
    centred = (wave - (wave * mask).sum(1, keepdim=True) / count) * mask
    std = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / (std + 1e-4)  # 1e-4: silence of 16 bits stays silence
