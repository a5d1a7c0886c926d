"""From encoded bytes to pixels, numbers and samples.

Shapes: H x W pixels, C channels.
"""

import io
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.disguises import disguise
from polytask.errors import DataError, require

# Pillow asks one format after the other, which takes longer than decoding a small picture.
_SIGNS = (
    (("WEBP",), re.compile(rb"RIFF....WEBP", re.DOTALL)),
    (("PNG",), re.compile(rb"\x89PNG\r\n\x1a\n")),
    (("JPEG", "MPO"), re.compile(rb"\xff\xd8\xff")),
)

# What Pillow raises for what it cannot read.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error)
_ORIENTATION = 0x0112  # the note of a camera that says how a picture is to be turned

# What is left of the energy of channels, of what unrelated ones keep, if they are opposed.
_CANCELLED = 0.02
_SLOWEST = 100  # samples a second, below which nothing can be heard
_MOST_CHANNELS = 16
OPPOSED = "its channels cancel each other out (opposite signs), so the louder one alone is read"

_TWELVE_BITS = 4096
FEW_SHADES = (
    "no more than 12 of its 16 bits are used, so that at most 16 shades are left; if 4095 is "
    "white, set `white: 4095` at the input"
)
SLOW = (
    f"it has fewer than {_SLOWEST} samples a second, of which nothing can be heard: is its header "
    "right?"
)
MANY_CHANNELS = (
    f"it has more than {_MOST_CHANNELS} channels, which are averaged: is its header right?"
)
SHORT = "it is shorter than a hundredth of a second, in which nothing can be heard: is it cut off?"
SILENT = "all of its samples are alike, so that there is silence from end to end"
TURNED_ALONE = (
    "a camera's note turns its picture, and none this map: if it was drawn on the picture as it is "
    "stored, they do not lie on one another; save the picture turned, and without a note"
)
FIRST_OF_SEVERAL = "it holds several pictures, of which the first is read"
# How Pillow unpacks colours of 16 bits, of which it keeps the upper byte, and how to get the other.
_DEEP = re.compile(r"(?P<kind>\w+);16(?P<order>[BLN])")
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

# Samples that are fractions: programs that mix and filter leave some beyond 1, which are clipped.
_LOUDEST = 32.0
_SLACK = 8  # bytes that headers may be wrong by: some recorders count their own length in


def decode_picture(
    content: bytes,
    *,
    white: int | None = None,
    noting: Callable[[str], None] | None = None,
) -> NDArray[np.uint8]:
    """Decodes an encoded picture to `[H, W, 3]`; what is transparent is white.

    Args:
        content: The bytes of a file.
        white: The number that is white in a picture of 16 bits, 65535 if None; greater ones are
            white, too.
        noting: Called with what people should know of it.

    Raises:
        DataError: If it cannot be decoded to the end.
    """
    image = require("PIL.Image", "image")
    turn = require("PIL.ImageOps", "image").exif_transpose
    try:
        with image.open(io.BytesIO(content), formats=_formats(content)) as opened:
            if opened.mode in ("F", "I"):
                raise DataError(
                    f"its pixels are 32 bits wide (mode {opened.mode}), so that black and white "
                    "are not known: save it with 8 or 16 bits"
                )
            if noting and _has_more(opened):
                noting(FIRST_OF_SEVERAL)
            deep = _deep(opened)
            exif = opened.format != "WEBP" or "exif" in opened.info
            upright = turn(opened) if exif else opened
            if upright.mode.startswith("I;16"):
                grey = _of_16_bits(np.asarray(upright), white, noting)
                return np.repeat(grey[..., None], 3, axis=2)
            if deep is not None:
                upright = _colours_of_16_bits(content, deep, upright, white, noting)
            if upright.has_transparency_data:
                ground = image.new("RGBA", upright.size, "white")
                upright = image.alpha_composite(ground, upright.convert("RGBA"))
            return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except (*_UNREADABLE, image.DecompressionBombError) as error:
        raise DataError(f"not a readable picture ({_found(content, error)})") from error


def _has_more(opened: Any) -> bool:
    """Whether a file moves, or has pages; previews beside a photograph (MPO) are no more of it."""
    if opened.format == "GIF":  # counts its pictures by reading all
        return bool(opened.is_animated)
    return opened.format in ("PNG", "WEBP", "TIFF", "AVIF") and getattr(opened, "n_frames", 1) > 1


def _of_16_bits(
    numbers: NDArray[np.integer[Any]], white: int | None, noting: Callable[[str], None] | None
) -> NDArray[np.uint8]:
    """Numbers of 16 bits as bytes, where `white` (65535 if None) and more are 255."""
    if noting and white is None and 0 < int(numbers.max(initial=0)) < _TWELVE_BITS:
        noting(FEW_SHADES)
    scaled = numbers.astype(np.uint32) * 256 // ((white or 65535) + 1)
    return np.minimum(scaled, 255).astype(np.uint8)


def _deep(opened: Any) -> "re.Match[str] | None":
    """How the pixels of an opened picture are unpacked, if they are colours of 16 bits."""
    for _, _, _, args in opened.tile:
        said = args[0] if isinstance(args, tuple) and args else args
        match = _DEEP.fullmatch(said) if isinstance(said, str) else None
        if match is not None and match["kind"] != "I":
            return match
    return None


def _colours_of_16_bits(
    content: bytes,
    deep: "re.Match[str]",
    upper: Any,
    white: int | None,
    noting: Callable[[str], None] | None,
) -> Any:
    """A picture of which Pillow gave the upper bytes, with its lower bytes where they matter.

    Raises:
        DataError: If they do and cannot be had.
    """
    image = require("PIL.Image", "image")
    high = np.asarray(upper)
    if white is None and int(high[..., :3].max(initial=0)) * 256 >= _TWELVE_BITS:
        return upper
    if deep["kind"] not in ("RGB", "RGBX", "RGBA"):  # grey with transparency, CMYK
        if white is None:
            return upper
        raise DataError(
            f"its pixels ({deep['kind']}) have 16 bits, of which 8 can be read: save it as RGB, or "
            "leave out `white`"
        )
    with image.open(io.BytesIO(content), formats=_formats(content)) as again:
        swapped = f"{deep['kind']};16{_SWAPPED[deep['order']]}"
        for number, tile in enumerate(again.tile):
            of = type(tile) if hasattr(tile, "_fields") else _plain_tile
            args = (swapped, *tile[3][1:]) if isinstance(tile[3], tuple) else swapped
            again.tile[number] = of(*tile[:3], args)
        low = np.asarray(require("PIL.ImageOps", "image").exif_transpose(again))
    pixels = high.copy()
    numbers = high[..., :3].astype(np.uint16) * 256 + low[..., :3]
    pixels[..., :3] = _of_16_bits(numbers, white, noting)
    return image.fromarray(pixels, upper.mode)


def _plain_tile(*values: Any) -> tuple[Any, ...]:
    """Where a picture's pixels are, as Pillow before 11 has it."""
    return values


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of an encoded picture, upright as `decode_picture` gives it.

    Only its first bytes are read. None if it is none.
    """
    image = require("PIL.Image", "image")
    try:
        with image.open(io.BytesIO(content), formats=_formats(content)) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except (*_UNREADABLE, image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def is_turned(content: bytes) -> bool:
    """Whether a note in an encoded picture says that it is shown turned or mirrored.

    False if it is none.
    """
    image = require("PIL.Image", "image")
    try:
        with image.open(io.BytesIO(content), formats=_formats(content)) as opened:
            return opened.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except (*_UNREADABLE, image.DecompressionBombError):
        return False


def decode_map(content: bytes) -> NDArray[Any]:
    """Decodes a picture of numbers: their colours, if they have any, do not matter.

    It is turned upright where a note says so, as `decode_picture` does.

    Args:
        content: A PNG (or another lossless picture), whose shades, or numbers of a palette, are
            taken as they are; or a `.npy` file, or a `.npz` file of one array.

    Raises:
        DataError: If it cannot be decoded, or a picture's format changes numbers.
    """
    if content[:6] == b"\x93NUMPY" or content[:2] == b"PK":
        try:
            found = np.load(io.BytesIO(content), allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            if len(found.files) == 1:
                return np.asarray(found[found.files[0]])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            why = "it holds objects, not numbers" if "pickle" in str(error) else error
            raise DataError(f"not a readable array ({why})") from error
        raise DataError(f"an .npz file of one array was expected. Found {found.files}")
    image = require("PIL.Image", "image")
    try:
        with image.open(io.BytesIO(content)) as opened:
            if opened.format == "JPEG":
                raise DataError("JPEG changes the numbers of a map: save it as PNG")
            return np.array(require("PIL.ImageOps", "image").exif_transpose(opened))
    except (*_UNREADABLE, image.DecompressionBombError) as error:
        raise DataError(f"not a readable map ({_found(content, error)})") from error


def _formats(content: bytes) -> list[str] | None:
    """What a picture's first bytes say it is; None to let Pillow try all that it knows."""
    return next((list(names) for names, sign in _SIGNS if sign.match(content)), None)


def decode_channels(content: bytes) -> tuple[NDArray[Any], int]:
    """Decodes an encoded sound to the waves of its channels `[samples, C]` and its sample rate.

    Raises:
        DataError: If it cannot be decoded, is cut off, has no samples or no finite ones.
    """
    soundfile = require("soundfile", "audio")
    missing = _missing_bytes(content)
    if missing > _SLACK:
        raise DataError(f"the sound is cut off: {missing} bytes are missing at its end")
    counted, more = _uncounted_bytes(content)
    if more > _SLACK:
        raise DataError(
            f"its header counts {counted} bytes of samples, and {more} more follow that belong to "
            "nothing, as a program leaves them that broke off: write the file anew"
        )
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            kind = "int16" if file.subtype in ("PCM_16", "PCM_U8", "PCM_S8") else "float32"
            declared, rate = file.frames, int(file.samplerate)
            wave = file.read(dtype=kind, always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, RuntimeError) as error:
        raise DataError(f"not a readable sound ({_found(content, error)})") from error
    if len(wave) < declared and declared < 2**40:
        raise DataError(f"the sound is cut off: {len(wave)} of {declared} samples can be read")
    if len(wave) == 0:
        raise DataError("the sound has no samples")
    if kind == "float32" and not np.isfinite(wave).all():
        raise DataError("the sound has samples that are not finite numbers")
    if kind == "float32" and np.abs(wave).max() > _LOUDEST:
        raise DataError(
            f"its samples are fractions, which should be in -1..1. Found {np.abs(wave).max():g}: "
            "divide them by what full scale is (32768 for 16 bits), or save them as whole numbers"
        )
    return wave, rate


def strange(channels: NDArray[Any], rate: int) -> str | None:
    """What people should know of a sound `[samples, C]`; None if nothing.

    Args:
        channels: Its samples.
        rate: How many there are a second.
    """
    if rate < _SLOWEST:
        return SLOW
    if channels.shape[1] > _MOST_CHANNELS:
        return MANY_CHANNELS
    if len(channels) < rate / 100:
        return SHORT
    return None if (channels != channels[0]).any() else SILENT


def mixed(channels: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """The mean of the channels `[samples, C]`, or the loudest where they cancel each other out.

    Two channels with opposite signs, as a cable with crossed wires or some effects make them, have
    a mean of nothing; a person hears either.

    Returns:
        The wave `[samples]`, and whether it is that of one channel for this reason.
    """
    if channels.shape[1] == 1:
        return channels[:, 0], False
    mean = channels.mean(axis=1, dtype=np.float32)
    energies = (channels.astype(np.float32) ** 2).mean(axis=0, dtype=np.float64)
    kept = float((mean**2).mean(dtype=np.float64)) / max(float(energies.mean()), 1e-30)
    # Channels that have nothing to do with each other keep one Cth.
    if energies.any() and kept * channels.shape[1] < _CANCELLED:
        return channels[:, int(energies.argmax())], True
    return mean.astype(channels.dtype), False


def _missing_bytes(content: bytes) -> int:
    """How many bytes a RIFF, AIFF or NIST SPHERE header promises beyond the content's end."""
    if content[:4] == b"FORM" and len(content) >= 8:
        return int(struct.unpack(">I", content[4:8])[0]) + 8 - len(content)
    if content[:4] == b"RIFF" and len(content) >= 8:
        promised = struct.unpack("<I", content[4:8])[0]
        return 0 if promised >= 2**32 - 256 else int(promised) + 8 - len(content) - promised % 2
    if content[:7] == b"NIST_1A":
        try:
            length = int(content[8:16])
            fields = [line.split() for line in content[16:length].decode("latin-1").splitlines()]
            values = {f[0]: f[2] for f in fields if len(f) == 3}
            coding = values.get("sample_coding", "pcm")
            if "," in coding:  # packed with a codec: the length says nothing
                return 0
            size = int(values["sample_count"]) * int(values.get("channel_count", "1"))
            return length + size * int(values.get("sample_n_bytes", "2")) - len(content)
        except (ValueError, KeyError):
            return 0
    return 0


def _uncounted_bytes(content: bytes) -> tuple[int, int]:
    """The bytes of samples that a WAV header counts, and those after them that are in no chunk."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return 0, 0
    promised = struct.unpack("<I", content[4:8])[0]
    end = min(len(content), promised + 8) if promised else len(content)
    at = 12
    while at + 8 <= end:
        size = struct.unpack("<I", content[at + 4 : at + 8])[0]
        if content[at : at + 4] == b"data":
            rests = [content[at + 8 + size + pad : end] for pad in {0, size % 2}]
            fine = any(not rest.strip(b"\0") or _is_chunk(rest) for rest in rests)
            return size, 0 if fine else len(rests[0])
        at += 8 + size + size % 2
    return 0, 0


def _is_chunk(content: bytes) -> bool:
    """Whether bytes begin with a chunk of a RIFF file: a name of four letters, and its length."""
    if len(content) < 8 or not re.match(rb"[ -~]{4}", content):
        return False
    return int(struct.unpack("<I", content[4:8])[0]) <= len(content) - 8 + _SLACK


def _found(content: bytes, error: Exception) -> str:
    if not content:
        return "the file is empty"
    said = disguise(content[:64])
    if said is not None:
        return said
    if "SF_INFO" in str(error):  # what libsndfile says of a header without a rate or channels
        return "its header gives no sample rate, or no channels: write the file anew"
    reason = re.sub(r" ?<_io\.BytesIO object at \w+>", "", str(error))
    return f"{len(content)} bytes that start with {content[:8]!r}: {reason}"
