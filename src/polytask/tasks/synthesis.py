"""Speech, or any short sound, made of features.

Shapes: N rows, B examples, R the most frames that a sound can have, M mel bands.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask.errors import ConfigError
from polytask.tasks.base import Sound
from polytask.tasks.labels import Cells, require_labels
from polytask.tasks.speaking import Speaker
from polytask.tasks.stored import StoredTask
from polytask.tasks.voices import MelFrames, stretched

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class Synthesis(StoredTask):
    """A sound, such as a spoken word, as log-mel frames that become a wave.

    The target is a column of sounds. The decoder decides on a length and then on all frames at
    once; in training frames are compared at the true length. The loss is the mean absolute error
    of the frames that are there, each band on the scale of the training rows, plus that of the
    logarithm of the length. Predictions and metrics are in decibels; predictions are written as
    sounds, too, for which `librosa` is needed.

    Attributes:
        sample_rate: Samples per second of the sounds; those of other rates are resampled.
        seconds: The greatest length; what is longer is cut at its end.
        silence: Whether silence at both ends of the training sounds stays (`keep`) or not
            (`trim`). With it a model has to guess how long a speaker waited.
        silence_below: Decibels below a recording's loudest stretch from which on it is silence.
        level: As in inputs of sounds: `peak` or `rms` scale every recording to one level.
        mels: The number of mel bands.
        window: Seconds that a frame is of.
        hop: Seconds from one frame to the next; at most half of `window`.
        width: The width of the decoder.
        length_weight: The factor of the error of the length in the loss.
        mean: Of each band over the training rows' frames.
        std: Of each band over the training rows' frames.
        pace: The geometric mean of the training rows' numbers of frames.
    """

    sample_rate: int = 8000
    seconds: float = 1.0
    silence: Literal["keep", "trim"] = "trim"
    silence_below: float = 40.0
    level: Literal["as it is", "peak", "rms"] = "peak"
    mels: int = 64
    window: float = 0.04
    hop: float = 0.01
    width: int = 128
    length_weight: float = 0.5
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    pace: float = 1.0

    media: ClassVar[Literal["image", "map", "sound"] | None] = "sound"
    reads_target: ClassVar[bool] = True
    # Sixteen bits resolve 0.03 dB in what sounds can have.
    dtype: ClassVar[type[np.generic]] = np.float16
    blank: ClassVar[float] = float("nan")

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.width) < 1 or self.seconds <= 0 or self.length_weight < 0:
            raise ConfigError(
                "`sample_rate` and `width` should be at least 1, `seconds` above 0, "
                f"`length_weight` at least 0. Found {self.sample_rate}, {self.width}, "
                f"{self.seconds} and {self.length_weight}."
            )
        assert self.description.step  # which refuses what cannot become a wave again

    @property
    def description(self) -> MelFrames:
        """How sounds are frames."""
        return MelFrames(
            sample_rate=self.sample_rate, mels=self.mels, window=self.window, hop=self.hop
        )

    @property
    def rows(self) -> int:
        """R."""
        return self.description.count(self.seconds)

    @property
    def outputs(self) -> int:
        return self.mels

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.rows, self.mels

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "mels": self.mels, "window": self.window, "hop": self.hop}

    def read(self, wave: NDArray[Any]) -> NDArray[Any]:
        """A wave of int16, cut to its greatest length, as its frames `[L, M]` in decibels."""
        return self.description.heard(wave)[: self.rows].astype(self.dtype)

    def known(self, target: Tensor) -> Tensor:
        return ~target[..., 0].isnan()

    def head(self, in_features: int) -> nn.Module:
        return Speaker(
            in_features,
            self.mels,
            width=self.width,
            rows=self.rows,
            pace=self.pace,
            dropout=self.dropout,
        )

    def fit(self, values: Cells) -> Self:
        require_labels(self, values)
        some = self.sampled(values)
        frames = some[self.known(some)].double()
        std = frames.std(0, correction=0)
        std = torch.where(std > 1e-3, std, 1.0)  # decibels: less is a band that never changes
        arrays = [cell for cell in values[:, 0] if isinstance(cell, np.ndarray)]
        counts = [int((~np.isnan(array[:, 0])).sum()) for array in arrays]
        pace = float(np.exp(np.log(counts).mean()))
        mean = frames.mean(0)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()), pace=pace)

    def guide(self, target: Tensor) -> Tensor:
        return self.known(target).sum(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if output.shape[1] not in (self.rows, 2 * self.rows + 1):
            raise ValueError(
                f"`output` should have {self.rows} rows of sounds of the true lengths. Found "
                f"{output.shape[1]}. Was the head given the targets?"
            )
        known = self.known(target)
        count = known.sum(1).clamp(min=1)
        value = torch.where(known[:, :, None], self._scaled(target.to(output.dtype)), 0.0)
        error = (output[:, : self.rows, :-1] - value).abs().mean(2)
        length = (count / self.pace).log().to(output.dtype)
        wrong = (output[:, 0, -1] - length).abs()
        return (error * known).sum(1) / count + self.length_weight * wrong

    def decode(self, output: Tensor) -> Tensor:
        """The frames that it spoke, `[B, R, M]` in decibels; NaN past the end."""
        spoken = output[:, -self.rows - 1 : -1].float()
        mean, std = spoken.new_tensor(self.mean), spoken.new_tensor(self.std)
        frames = spoken[:, :, :-1] * std + mean
        return frames.masked_fill(spoken[:, :, -1:] < 0.5, float("nan"))

    def distance(self, decoded: Tensor, target: Tensor) -> Tensor:
        """The mean absolute difference of frames stretched to the true length, `[B]` in dB."""
        known, found = self.known(target), self.known(decoded).sum(1).clamp(min=1)
        frames = stretched(decoded.nan_to_num(), found, known.sum(1), target.shape[1])
        wrong = (frames - target.float()).abs().mean(2)
        return torch.where(known, wrong, 0.0).sum(1) / known.sum(1).clamp(min=1)

    def constant(self, decoded: Tensor, target: Tensor) -> Tensor:
        """The same distance for a sound whose frames are all the training rows' mean, `[B]`."""
        mean = target.new_tensor(self.mean, dtype=torch.float32).expand(target.shape)
        return self.distance(mean, target)

    def late(self, decoded: Tensor, target: Tensor) -> Tensor:
        """By how many seconds a sound is too long or too short, `[B]`."""
        counts = self.known(decoded).sum(1) - self.known(target).sum(1)
        return counts.abs() * (self.description.step / self.sample_rate)

    def metrics(self) -> "MetricCollection":
        from polytask.tasks.voice_metrics import synthesis_metrics

        return synthesis_metrics(self)

    @property
    def score(self) -> str:
        return "d2"

    def describe(self, decoded: Tensor) -> list[dict[str, Any]]:
        """How long each sound is."""
        counts = self.known(decoded).sum(1).tolist()
        seconds = self.description.step / self.sample_rate
        return [{f"{self.name}.seconds": round(count * seconds, 4)} for count in counts]

    def sounds(self, decoded: Tensor) -> list[Sound]:
        """The sounds themselves, by Griffin and Lim (1984)."""
        said = (frames[known] for frames, known in zip(decoded, self.known(decoded), strict=True))
        return [Sound(self.description.spoken(frames), self.sample_rate) for frames in said]

    def facts(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std), "pace": self.pace}

    def _scaled(self, frames: Tensor) -> Tensor:
        return (frames - frames.new_tensor(self.mean)) / frames.new_tensor(self.std)
