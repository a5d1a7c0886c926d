"""Pictures of every mode, size and orientation, from files made here."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polytask.cli.options import mendable
from polytask.config import load_config
from polytask.data.decoding import FEW_SHADES, decode_picture
from polytask.data.inputs import ImageInput
from polytask.data.media import ArrayMedia
from polytask.data.preparing import prepare
from polytask.data.shapes import Shapes
from polytask.encoders.colors import rgb_to_hsv
from polytask.errors import ConfigError, DataError
from polytask.tasks import Multiclass
from polytask.workflow import prepare_data
from tests.data.conftest import own_cache

__all__ = ["own_cache"]


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def test_what_is_transparent_is_white() -> None:
    pixels = np.dstack([colours(), np.full((6, 4), 255, np.uint8)])
    pixels[0, 0, 3], pixels[1, 0] = 0, (0, 0, 0, 128)
    found = decode_picture(encoded(Image.fromarray(pixels)))
    assert found[0, 0].tolist() == [255, 255, 255] and found[1, 0].tolist() == [127, 127, 127]
    assert (found[2:] == pixels[2:, :, :3]).all()
    grey = Image.fromarray(pixels[..., 2:]).convert("LA")
    assert decode_picture(encoded(grey))[0, 0].tolist() == [255, 255, 255]


def test_palettes_cmyk_bits_and_16_bits_become_red_green_and_blue() -> None:
    picture = Image.fromarray(colours())
    palette = picture.quantize(24)
    assert (decode_picture(encoded(palette)) == np.asarray(palette.convert("RGB"))).all()
    clear = encoded(palette, transparency=palette.getpixel((0, 0)))
    assert decode_picture(clear)[0, 0].tolist() == [255, 255, 255]
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    found = decode_picture(encoded(ink, "TIFF"))
    assert found.shape == (8, 8, 3) and found[0, 0].tolist() == [255, 0, 0]
    assert abs(decode_picture(encoded(ink, "JPEG"))[4, 4].astype(int) - [255, 0, 0]).max() < 8
    deep = np.array([[0, 256, 65535]], np.uint16)
    assert decode_picture(encoded(Image.fromarray(deep)))[0, :, 1].tolist() == [0, 1, 255]
    assert decode_picture(encoded(Image.new("1", (3, 2), 1))).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_note_of_the_camera_turns_the_picture(kind: str) -> None:
    picture = Image.fromarray(colours())
    note = Image.Exif()
    note[0x0112] = 6  # a quarter turn
    assert decode_picture(encoded(picture, kind, exif=note)).shape == (4, 6, 3)
    deep = Image.fromarray(colours()[..., 0].astype(np.uint16) << 8)
    if kind in ("PNG", "TIFF"):
        found = decode_picture(encoded(deep, kind, exif=note))
        assert (found[..., 0] == np.rot90(colours()[..., 0], -1)).all()


def square(fit: str, pixels: np.ndarray) -> np.ndarray:
    media = ArrayMedia(1, lambda item: pixels)
    reader = ImageInput(columns={"s": "image"}, size=8, fit=fit)  # type: ignore[arg-type]
    return reader.decode(media, 0)


def test_pictures_are_stretched_padded_or_cropped_to_size() -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 200  # the middle half
    stretched, padded, cropped = (square(f, wide)[0] for f in ("stretch", "pad", "crop"))
    assert (cropped == 200).all()
    assert stretched[:, 4].min() > 150 and stretched[:, 0].max() == 0
    assert padded[:2].max() == 0 == padded[6:].max() and padded[4, 4] == 200
    assert (square("stretch", wide[:, 4:12])[0] == 200).all()


def test_an_inputs_color_is_what_its_statistics_are_of() -> None:
    task = Multiclass(name="shape", input="i", target={"s": "shape"})
    stores = {}
    for color in ("rgb", "grey", "hsv", "lab"):
        reader = ImageInput(columns={"s": "image"}, size=16, color=color)  # type: ignore[arg-type]
        ready = prepare({"s": Shapes(count=40, size=16)}, {"i": reader}, [task])
        values = ready.datasets["s"].gather(ready.parts["train"]["s"]).inputs["i"].values
        stores[color] = values
        assert len(reader.features["mean"]) == values.shape[1] == reader.channels
        if color == "hsv":
            hsv = rgb_to_hsv(values / 255)
            assert reader.features["mean"] == pytest.approx(hsv.mean((0, 2, 3)).tolist(), abs=1e-4)
            assert reader.features["std"] == pytest.approx(hsv.std((0, 2, 3)).tolist(), abs=1e-3)
    assert torch.equal(stores["rgb"], stores["lab"]) and stores["grey"].shape[1] == 1


def test_predicting_reads_pictures_as_training_did(tmp_path: Path) -> None:
    from polytask.data.predicting import read_unlabelled

    Image.fromarray(colours()).save(tmp_path / "a.png")
    reader = ImageInput(columns={"s": "image"}, size=8, color="grey", fit="pad")
    (batch,) = read_unlabelled(tmp_path, {"i": reader}).batches(4)
    assert batch.inputs["i"].values.shape == (1, 1, 8, 8)


def twelve_bits(folder: Path, *, count: int = 8, bright: int = 0) -> Path:
    """A table of grey ramps of 12 bits in 16, of which some have all 16."""
    lines = ["image,y"]
    for k in range(count):
        ramp = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (8, 1)) * (
            16 if k < bright else 1
        )
        Image.fromarray(ramp).save(folder / f"{k}.png")
        lines.append(f"{k}.png,{k}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "c.yaml").write_text(
        "sources: {t: {kind: table, path: t.csv, media: {image: image}}}\n"
        "inputs: {p: {kind: image, column: image, size: [8, 64], pool: mean}}\n"
        "tasks: {y: {kind: regression, target: y}}\n"
    )
    return folder / "c.yaml"


def test_twelve_bits_in_sixteen_are_said_and_read_by_their_white(tmp_path: Path) -> None:
    path = twelve_bits(tmp_path)
    prepared = prepare_data(load_config(path), None)
    (said,) = [d for d in prepared.summary()["doubts"] if "12 of its 16 bits" in d]
    assert said.endswith(f"set `white: 4095` at the input: 8, such as {tmp_path / '0.png'}")
    pixels = prepared.datasets["t"].stores["p"].gather(np.arange(1)).values
    assert int(pixels.max()) == 15  # 4095 of 65535
    told = prepare_data(load_config(path, ["inputs.p.white=4095"]), None)
    assert not any("bits" in doubt for doubt in told.summary()["doubts"])
    pixels = told.datasets["t"].stores["p"].gather(np.arange(1)).values[0, 0, 0]
    assert pixels.tolist() == (np.linspace(0, 4095, 64).astype(int) * 256 // 4096).tolist()


def test_a_few_dark_pictures_of_sixteen_bits_are_dark(tmp_path: Path) -> None:
    prepared = prepare_data(load_config(twelve_bits(tmp_path, bright=5)), None)
    assert not any("bits" in doubt for doubt in prepared.summary()["doubts"])


def deep_png(numbers: np.ndarray) -> bytes:
    """`[H, W, C]` numbers of 16 bits as a PNG, which Pillow cannot write."""
    height, width, channels = numbers.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        said = kind + body
        return struct.pack(">I", len(body)) + said + struct.pack(">I", zlib.crc32(said))

    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_tiff(numbers: np.ndarray, order: str, packed: bool) -> bytes:
    """`[H, W, 3]` numbers of 16 bits as a TIFF, turned by a quarter (orientation 6)."""
    height, width, _ = numbers.shape
    body = numbers.astype(f"{order}u2").tobytes()
    body = zlib.compress(body) if packed else body
    tags = [(256, width), (257, height), (258, 0), (259, 8 if packed else 1), (262, 2)]
    tags += [(273, 0), (274, 6), (277, 3), (278, height), (279, len(body))]
    end = 10 + 12 * len(tags) + 4
    values = {258: end, 273: end + 6}
    lines = b"".join(
        struct.pack(f"{order}HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1,
                    values.get(tag, value))
        for tag, value in tags
    )  # fmt: skip
    mark = b"II" if order == "<" else b"MM"
    start = mark + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return start + lines + bytes(4) + struct.pack(f"{order}HHH", 16, 16, 16) + body


def test_colours_of_16_bits_are_read_by_their_white() -> None:
    numbers = np.random.default_rng(0).integers(0, 4096, (5, 4, 3)).astype(np.uint16)
    numbers[0, 0] = (0, 4095, 255)
    right = (numbers.astype(int) * 256 // 4096).astype(np.uint8)
    files = {
        "png": (deep_png(numbers), 0),
        **{
            f"tiff {order} {packed}": (deep_tiff(numbers, order, packed), -1)
            for order in "<>"
            for packed in (False, True)
        },
    }
    for name, (content, turns) in files.items():
        notes: list[str] = []
        found = decode_picture(content, noting=notes.append)
        assert np.array_equal(found, np.rot90(numbers >> 8, turns)), name
        assert notes == [FEW_SHADES], name
        found = decode_picture(content, white=4095, noting=notes.append)
        assert np.array_equal(found, np.rot90(right, turns)), name
        assert len(notes) == 1, name


def test_colours_of_16_bits_that_use_them_are_as_they_are() -> None:
    numbers = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    notes: list[str] = []
    assert np.array_equal(decode_picture(deep_png(numbers), noting=notes.append), numbers >> 8)
    assert not notes
    found = decode_picture(deep_png(numbers), white=4095)
    assert np.array_equal(found, np.minimum(numbers // 16, 255))
    assert decode_picture(deep_png(np.zeros((2, 2, 3))), noting=notes.append).max() == 0
    assert not notes  # black is no mistake


def test_transparency_of_16_bits_is_white() -> None:
    numbers = np.full((2, 2, 4), 2048, np.uint16)
    numbers[..., 3] = [[0, 65535], [65535, 65535]]
    found = decode_picture(deep_png(numbers), white=4095)
    assert found[..., 0].tolist() == [[255, 128], [128, 128]]
    with pytest.raises(DataError, match=r"LA\) have 16 bits, of which 8 can be read: save it as"):
        decode_picture(deep_png(numbers[..., :2]), white=4095)


def test_a_white_is_for_pictures_of_files_and_at_most_of_16_bits() -> None:
    pixels = ArrayMedia(1, lambda _: np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match="bytes already: `white`"):
        ImageInput(columns={"s": "image"}, white=4095).decode(pixels, 0)
    with pytest.raises(ConfigError, match="`white` should be 1 to 65535"):
        ImageInput(columns={"s": "image"}, white=70000)
    grey = encoded(Image.fromarray(np.array([[0, 4095, 5000, 65535]], np.uint16)))
    assert decode_picture(grey, white=4095)[0, :, 0].tolist() == [0, 255, 255, 255]
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(decode_picture(encoded(Image.fromarray(ramp)))[..., 0], ramp >> 8)


def test_large_pictures_are_read_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with mendable():
        assert decode_picture(encoded(Image.fromarray(colours()))).shape == (6, 4, 3)
        warnings.warn("something else", stacklevel=1)
    said = capsys.readouterr().err
    assert "something else" in said and "bomb" not in said
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="exceeds limit of 20 pixels"):
        decode_picture(encoded(Image.fromarray(colours())))
