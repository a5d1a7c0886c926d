"""What pictures and sounds are like, by a sample of them."""

import io
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from polytask.data.media import EncodedMedia, FileMedia
from polytask.data.sources import BlankCell, Media
from polytask.errors import DataError, require
from polytask.survey.guesses import FRAME, Target
from polytask.survey.lines import quoted

_LOOKED = 40  # sounds whose headers are read
_DECODED = 12  # pictures that are decoded
_PICTURE = 64.0  # pixels, of pictures that cannot be read
_LONGEST = 20.0  # seconds; a recurrent network is slow on more
_SPEECH = 16000  # samples a second that speech needs
_ENDLESS = 2**40  # samples; streams that do not know their end say more


@dataclass
class _Headers:
    """What the headers of some sounds say.

    Attributes:
        rates: Samples a second.
        seconds: Lengths.
        broken: How many cannot be read.
    """

    rates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    broken: int = 0


def sound_input(media: Media, column: str, *, heard: Target | None = None) -> list[str]:
    """An input of sounds, at the rate and the length that most of them have.

    Args:
        media: The column.
        column: Its name.
        heard: A target for which frames are kept apart: labels with times, one each `FRAME`
            seconds, or texts, for which sounds are read to their ends.
    """
    found = _headers(media)
    rate, kept = _SPEECH, 2.0
    said = [
        f"  # None of {found.broken} sounds looked at can be read: rate and length are guesses."
    ]
    if found.rates:  # each with its length
        rate = Counter(found.rates).most_common(1)[0][0]
        share = 95 if heard is None or heard.timed else 100
        kept = min(_LONGEST, rounded_up(float(np.percentile(found.seconds, share))))
        said = _reasons(found, rate, kept)
    how = "pool: mean, body: {kind: recurrent, width: 64}"
    if heard is not None:
        how = f"encoder: {{hop: {FRAME / 2:g}}}, body: {{kind: recurrent, width: 64, stride: 2}}"
    return [
        *said,
        "  sound:",
        f"    {{kind: sound, column: {quoted(column)}, sample_rate: {rate}, seconds: {kept:g},",
        f"     {how}}}",
    ]


def _reasons(found: _Headers, rate: int, kept: float) -> list[str]:
    """Why sounds are read so, as comments."""
    looked = len(found.rates) + found.broken
    said = (
        f"  # {found.rates.count(rate)} of {looked} sounds looked at have {rate} samples a second"
    )
    others = sorted(set(found.rates) - {rate})
    if others:
        said += f"; those with {', '.join(map(str, others))} are resampled"
    lines = [said]
    if rate > _SPEECH:
        lines.append(f"  # For speech {_SPEECH} would do, and is faster.")
    cut = sum(length > kept for length in found.seconds)
    lasting = f"  # They last {min(found.seconds):.1f} to {max(found.seconds):.1f} seconds"
    lines.append(lasting + (f"; {cut} are longer than is read, and cut" if cut else ""))
    if found.broken:
        lines.append(f"  # {found.broken} of them cannot be read; polytask check says which.")
    return lines


def rounded_up(seconds: float) -> float:
    """A length that people would write, not below another."""
    step = 0.1 if seconds <= 1 else 0.5 if seconds <= 10 else 1.0
    return round(max(1, math.ceil(round(seconds / step, 6))) * step, 1)


def picture_input(media: Media, column: str, *, written: bool = False) -> list[str]:
    """An input of pictures, at a usual size near theirs.

    Args:
        media: The column.
        column: Its name.
        written: Whether texts are written about them, for which their places are kept apart, in the
            trunk.
    """
    longer, broken = [], 0
    for item in spread(len(media), _DECODED):
        try:
            longer.append(max(media.picture(item).shape[:2]))
        except BlankCell:
            continue
        except (DataError, OSError):
            broken += 1
    middle = float(np.median(longer)) if longer else _PICTURE
    size = min((32, 64, 96, 128), key=lambda size: abs(size - middle))
    said = [f"  # Pictures are scaled to {size}x{size}; the longer sides of those looked at are"]
    if longer:
        said[0] += f" {min(longer)} to {max(longer)}."
        said += [f"  # {broken} of {len(longer) + broken} cannot be read."] if broken else []
    else:
        said = [f"  # None of {broken} pictures looked at can be read: the size is a guess."]
    if written:
        shown = f"{{kind: image, column: {quoted(column)}, size: {size}}}"
        return [*said, f"  picture: {shown}"]
    return [
        *said,
        "  picture:",
        f"    {{kind: image, column: {quoted(column)}, size: {size}, pool: mean,",
        "     body: {kind: residual, widths: [32, 64, 128]}}",
    ]


def _headers(media: Media) -> _Headers:
    soundfile = require("soundfile", "audio")
    found = _Headers()
    for item in spread(len(media), _LOOKED):
        try:
            header = soundfile.info(_opened(media, item))
        except BlankCell:
            continue
        except (DataError, soundfile.SoundFileError, OSError):
            found.broken += 1
            continue
        if header.frames > _ENDLESS:
            continue
        found.rates.append(int(header.samplerate))
        found.seconds.append(header.frames / header.samplerate)
    return found


def _opened(media: Media, item: int) -> str | io.BytesIO:
    """What a sound's header is read from: the file if there is one, for it may be long."""
    if isinstance(media, FileMedia):
        path = media.paths[item]
        if path is None:
            raise BlankCell
        return str(path)
    assert isinstance(media, EncodedMedia)
    return io.BytesIO(media.content(item))


def spread(count: int, most: int) -> list[int]:
    """Numbers of items, evenly over all."""
    return sorted(set(np.linspace(0, count - 1, most).astype(int).tolist())) if count else []
