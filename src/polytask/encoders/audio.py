"""Sound to log-mel frames, on `torch.stft`.

Shapes: B examples, N samples, L frames, M mel bands, K frequency bins.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from polytask.encoders.base import Encoder
from polytask.types import Features

Normalize = Literal["example", "training", "unit", "none"]


class LogMelEncoder(Encoder):
    """The logarithm of the energy in mel-spaced bands, frame by frame.

    Bands are triangles on the HTK mel scale, `2595 log10(1 + f / 700)` (O'Shaughnessy 1987), of
    equal height.

    Args:
        sample_rate: Samples per second of the waves.
        mels: M, the number of bands.
        window: Length of a frame in seconds.
        hop: Distance between frames in seconds.
        deltas: Whether to append the first differences over time (D = 2 M).
        normalize: `example` removes each example's own mean per band and divides by its standard
            deviation, which takes out the microphone and the distance to it; `training` does so
            by the statistics of training examples, which keeps loudness; `unit` scales each
            example to 0..1 between its least and greatest value; `none` leaves the logarithms.
        time_masks: While training, how many stretches of frames are blanked (SpecAugment, Park et
            al. 2019, without its time warping).
        frequency_masks: While training, how many stretches of bands are blanked.
        mask_share: The longest stretch as a share of the example's frames or bands, in [0, 1].
    """

    window_values: Tensor
    bands: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sample_rate: int,
        *,
        mels: int = 64,
        window: float = 0.025,
        hop: float = 0.01,
        deltas: bool = False,
        normalize: Normalize = "example",
        time_masks: int = 0,
        frequency_masks: int = 0,
        mask_share: float = 0.15,
    ) -> None:
        super().__init__()
        if min(round(window * sample_rate), round(hop * sample_rate)) < 1:
            raise ValueError(
                f"`window` ({window}) and `hop` ({hop}) should span at least one sample "
                f"at a `sample_rate` of {sample_rate}."
            )
        self.mels = mels
        self._set_width(mels, deltas=deltas, normalize=normalize)
        self.length = round(window * sample_rate)
        self.hop = round(hop * sample_rate)
        self.points = 2 ** math.ceil(math.log2(self.length))
        self.time_masks, self.frequency_masks = time_masks, frequency_masks
        self.mask_share = mask_share
        self.register_buffer("window_values", torch.hann_window(self.length), persistent=False)
        self.register_buffer(
            "bands", mel_bands(sample_rate, self.points // 2 + 1, mels), persistent=False
        )

    def _set_width(self, width: int, *, deltas: bool, normalize: Normalize) -> None:
        """Says how many numbers a frame has, before differences are appended."""
        self.out_features = width * (2 if deltas else 1)
        self.deltas = deltas
        self.normalize: Normalize = normalize
        if normalize == "training":
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("std", torch.ones(width))

    def forward(self, raw: Features) -> Features:
        """Waves `[B, N]` in -1..1 (or int16) with their mask, to frames `[B, L, D]`.

        Frames are those whose centre lies in the sound, L = ceil(N / hop), one at least.
        """
        frames, mask = self._log_frames(raw)
        if self.normalize == "example":
            frames = standardized(frames, mask)
        elif self.normalize == "training":
            frames = (frames - self.mean) / self.std
        elif self.normalize == "unit":
            frames = scaled_to_unit(frames, mask)
        if self.training and (self.time_masks or self.frequency_masks):
            frames = self._blank(frames, mask)
        if self.deltas:
            slope = torch.diff(frames, dim=1, prepend=frames[:, :1])
            frames = torch.cat([frames, slope], dim=2)
        return Features(frames, mask)

    def fit_to(self, raw: Features) -> None:
        """Take the statistics of training examples, if they are asked for."""
        if self.normalize == "training":
            frames, mask = self._log_frames(raw)
            valid = frames.flatten(0, 1) if mask is None else frames[mask]
            self.mean.copy_(valid.mean(0))
            self.std.copy_(valid.std(0, correction=0) + 0.1)  # 0.1: as in `standardized`

    def _log_frames(self, raw: Features) -> tuple[Tensor, Tensor | None]:
        """Log energies `[B, L, M]` and their mask `[B, L]`."""
        wave = raw.values
        if wave.dtype == torch.int16:
            wave = wave.float() / 32768.0
        if raw.mask is not None:
            wave = wave.masked_fill(~raw.mask, 0.0)
        with torch.autocast(wave.device.type, enabled=False):
            frames = self._in_other_terms(self._log_mel(wave.float()))
        if raw.mask is None:
            return frames, None
        valid = self.frames(raw.mask.sum(1))
        return frames, torch.arange(frames.shape[1], device=wave.device) < valid.unsqueeze(1)

    def _in_other_terms(self, frames: Tensor) -> Tensor:
        """What a frame's log energies `[B, L, M]` are turned into; themselves here."""
        return frames

    def frames(self, samples: Tensor) -> Tensor:
        """The number of frames of waves of so many samples."""
        return ((samples + self.hop - 1) // self.hop).clamp(min=1)

    def _log_mel(self, wave: Tensor) -> Tensor:
        """Waves `[B, N]` to log energies `[B, L, M]`."""
        spectrum = torch.stft(
            wave,
            self.points,
            hop_length=self.hop,
            win_length=self.length,
            window=self.window_values,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        # The transform has a frame more, centred on the end, if the hop divides the length.
        spectrum = spectrum[:, :, : max(1, -(-wave.shape[1] // self.hop))]
        power = spectrum.real.square() + spectrum.imag.square()  # [B, K, L]
        # 1e-8 lies below the rounding noise of 16-bit sound.
        return torch.log(power.transpose(1, 2) @ self.bands + 1e-8)

    def _blank(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Blank random stretches of frames and bands, each example its own."""
        batch, count, bands = frames.shape
        device = frames.device
        lengths = torch.full((batch,), count, device=device) if mask is None else mask.sum(1)
        keep = torch.ones(batch, count, bands, dtype=torch.bool, device=device)
        for axis, repeats in ((1, self.time_masks), (2, self.frequency_masks)):
            size = lengths if axis == 1 else torch.full((batch,), bands, device=device)
            place = torch.arange(frames.shape[axis], device=device)
            for _ in range(repeats):
                width = torch.rand(batch, device=device) * size * self.mask_share
                start = torch.rand(batch, device=device) * (size - width)
                blank = (place >= start.unsqueeze(1)) & (place < (start + width).unsqueeze(1))
                keep &= ~(blank.unsqueeze(2) if axis == 1 else blank.unsqueeze(1))
        # Blank is the example's mean, which is zero if it was taken out.
        blank = frames.new_zeros(()) if self.normalize == "example" else valid_mean(frames, mask)
        return torch.where(keep, frames, blank)


def mel_bands(sample_rate: int, bins: int, mels: int) -> Tensor:
    """Triangular bands, `[K, M]`: the weight of each frequency bin in each band."""
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, top, mels + 2, dtype=torch.float64) / 2595.0) - 1)
    frequency = torch.linspace(0.0, sample_rate / 2, bins, dtype=torch.float64).unsqueeze(1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequency - low) / (centre - low)
    falling = (high - frequency) / (high - centre)
    bands = torch.minimum(rising, falling).clamp(min=0.0)
    # With few bins the narrow low bands may fall between two: give such a band its nearest bin.
    empty = bands.sum(0) == 0
    nearest = (frequency - centre).abs().argmin(0)
    bands[nearest[empty], empty.nonzero().squeeze(1)] = 1.0
    return bands.float()


def valid_mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    """The mean per example and band over valid frames, `[B, 1, M]`; zero where there is none."""
    if mask is None:
        return frames.mean(1, keepdim=True)
    valid = mask.unsqueeze(2)
    return (frames * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)


def standardized(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Zero mean and unit variance per example and band over valid frames; zero elsewhere."""
    centred = frames - valid_mean(frames, mask)
    if mask is not None:
        centred = centred * mask.unsqueeze(2)
    std = valid_mean(centred.square(), mask).sqrt()
    return centred / (std + 0.1)  # 0.1: a silent band stays near zero


def scaled_to_unit(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Each example's valid frames between 0 (its least value) and 1 (its greatest)."""
    if mask is None:
        mask = frames.new_ones(frames.shape[:2], dtype=torch.bool)
    valid = mask.unsqueeze(2)
    low = frames.masked_fill(~valid, float("inf")).amin((1, 2), keepdim=True)
    high = frames.masked_fill(~valid, float("-inf")).amax((1, 2), keepdim=True)
    return (frames - low) / (high - low).clamp(min=1e-6) * valid
