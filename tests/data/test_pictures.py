"""Pictures of every mode, size and orientation, from files made here."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polytask.data.inputs import ImageInput
from polytask.data.media import ArrayMedia, decode_picture
from polytask.data.preparing import prepare
from polytask.data.shapes import Shapes
from polytask.encoders.colors import rgb_to_hsv
from polytask.tasks import Multiclass


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
