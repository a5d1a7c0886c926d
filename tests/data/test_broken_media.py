"""Ways to break folders, pictures, sounds, maps and arrays."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.broken import Breaks, cases, let_in, put, refused
from tests.data.conftest import png, riff, wave

Case = tuple[Breaks, tuple[str, ...]]
REST = """\
tasks: {kind: {kind: multiclass, target: kind}}
trunk: {kind: hard, backbone: {kind: residual, widths: [4]}}
batches: {size: 8}
"""
SPLIT = "split: {test: 0.2, validation: 0.2}"
PICTURES = f"""\
sources: {{own: {{kind: table, path: t.csv, media: {{photo: image}}, {SPLIT}}}}}
inputs: {{photo: {{kind: image, column: photo, size: 8}}}}
{REST}"""
SOUNDS = f"""\
sources: {{own: {{kind: table, path: t.csv, media: {{clip: sound}}, {SPLIT}}}}}
inputs:
  clip: {{kind: sound, column: clip, sample_rate: 8000, seconds: 0.2, encoder: {{mels: 8}}}}
{REST.replace("residual", "perceptron")}"""
MAPS = f"""\
sources: {{own: {{kind: table, path: t.csv, media: {{photo: image, mask: map}}, {SPLIT}}}}}
inputs: {{photo: {{kind: image, column: photo, size: 8}}}}
tasks: {{mask: {{kind: segmentation, target: mask, classes: [ground, thing]}}}}
trunk: {{kind: hard, backbone: {{kind: unet, widths: [4, 8]}}}}
"""
FOLDERS = f"""\
sources: {{own: {{kind: folders, path: pics, {SPLIT}}}}}
inputs: {{photo: {{kind: image, column: image, size: 8}}}}
{REST.replace("target: kind", "target: label")}"""
ARRAYS = f"""\
sources: {{own: {{kind: npz, path: d.npz, columns: {{image: x, label: y}}, {SPLIT}}}}}
inputs: {{photo: {{kind: image, column: image, size: 8}}}}
{REST.replace("target: kind", "target: label")}"""
ROW_5 = "t.csv row 5: column "


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def colours(height: int = 9, width: int = 7) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def table(folder: Path, column: str, ending: str, content: Callable[[int], bytes]) -> None:
    """Twenty files and a table of them."""
    for k in range(20):
        put(folder, f"{k}.{ending}", content(k))
    lines = [f"{k}.{ending},{['cat', 'dog'][k % 2]}" for k in range(20)]
    put(folder, "t.csv", "\n".join([f"{column},kind", *lines]) + "\n")


def picture(content: bytes, *told: str, more: str = "", name: str = "3.png") -> Case:
    """A case with another content of the fourth picture."""

    def breaks(folder: Path) -> str:
        table(folder, "photo", "png", lambda k: png(10 * k))
        (folder / "3.png").unlink()
        put(folder, name, content)
        listed = (folder / "t.csv").read_text().replace("\n3.png", f"\n{name}")
        put(folder, "t.csv", listed)
        return PICTURES + more

    return breaks, told


def path(cell: str, *told: str, config: str = PICTURES) -> Case:
    """A case with another path in the fourth row."""

    def breaks(folder: Path) -> str:
        table(folder, "photo", "png", lambda k: png(10 * k))
        (folder / "folder.png").mkdir()
        (folder / "link.png").symlink_to("none.png")
        (folder / "loop.png").symlink_to("loop.png")
        put(folder, "\u00e9.png", png())
        listed = (folder / "t.csv").read_text().replace("\n3.png", f"\n{cell}")
        put(folder, "t.csv", listed.replace("HERE", str(folder)))
        return config

    return breaks, told


def sound(content: bytes, *told: str, old: str = "", new: str = "") -> Case:
    """A case with another content of the fourth sound."""

    def breaks(folder: Path) -> str:
        table(folder, "clip", "wav", lambda k: riff(wave(0.1, pitch=200.0 + 20 * k)))
        put(folder, "3.wav", content)
        return SOUNDS.replace(old, new) if old else SOUNDS

    return breaks, told


BOMB = encoded(Image.new("1", (20_000, 20_000)))
PHOTO, CLIP = f"{ROW_5}'photo': .*3.png: ", f"{ROW_5}'clip': .*3.wav: "
WAVE = wave(0.1)


def counted(samples: int, everything: int | None = None) -> bytes:
    """A sound whose header counts other bytes of samples, and other bytes in all."""
    made = bytearray(riff(WAVE))
    made[40:44] = struct.pack("<I", samples)
    if everything is not None:
        made[4:8] = struct.pack("<I", everything)
    return bytes(made)


def chunks(after: bytes) -> bytes:
    """A sound with something after its samples."""
    made = bytearray(riff(WAVE) + after)
    made[4:8] = struct.pack("<I", len(made) - 8)
    return bytes(made)


FILES: dict[str, Case] = {
    "picture that is text": picture(b"hello", PHOTO, "not a readable picture", "on_bad: skip"),
    "picture of no bytes": picture(b"", PHOTO, "the file is empty"),
    "picture cut off": picture(encoded(colours())[:90], PHOTO, "truncated"),
    "jpeg cut off": picture(encoded(colours(64, 64), "JPEG")[:400], PHOTO, "[Tt]runcated"),
    "picture of 32 bits": picture(encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
        PHOTO, "save it with 8 or 16 bits"),
    "picture of 400 million pixels": picture(BOMB, PHOTO, "exceeds limit"),
    "picture that is a web page": picture(b"<html>404</html>", PHOTO, "a web page"),
    "picture that is a pointer": picture(b"version https://git-lfs.github.com", PHOTO, "lfs pull"),
    "picture of a phone": picture(b"\0\0\0\x18ftypheic" + bytes(40), PHOTO, "HEIC: save it as PNG"),
    "drawing": picture(b"<svg xmlns=''></svg>", PHOTO, "SVG"),
    "sound of a phone": sound(b"\0\0\0\x20ftypM4A " + bytes(40), CLIP, "save it as WAV"),
    "fractions on the scale of whole numbers": sound(riff(np.float32(WAVE), subtype="FLOAT"), CLIP,
        r"in -1\.\.1\. Found 1\d{4}", "32768"),
    "sound that is text": sound(b"hello", CLIP, "not a readable sound"),
    "sound that is a picture": sound(png(), CLIP, "not a readable sound"),
    "sound of no bytes": sound(b"", CLIP, "the file is empty"),
    "header without a rate": sound(riff(WAVE)[:24] + bytes(4) + riff(WAVE)[28:], CLIP,
        "its header gives no sample rate, or no channels: write the file anew"),
    "header without its samples": sound(riff(WAVE)[:44], CLIP, "cut off: 1600 bytes are missing"),
    "header of no samples": sound(riff(WAVE[:0]), CLIP, "the sound has no samples"),
    "header that counts no samples": sound(counted(0), CLIP, "counts 0 bytes of samples, and 1600"),
    "header that counts nothing": sound(counted(0, 0), CLIP, "counts 0 bytes of samples, and 1600"),
    "header that counts too few": sound(counted(400), CLIP, "counts 400 bytes of samples, and 1200",
        "a program .* that broke off: write the file anew"),
    "sound cut off": sound(riff(WAVE)[:400], CLIP, "the sound is cut off"),
    "samples of nothing": sound(riff(np.full(800, np.nan), subtype="FLOAT"), CLIP, "finite"),
    "another rate": sound(riff(wave(0.1, 16000), 16000), CLIP, "16000 samples a second, where 8000",
        old="seconds: 0.2", new="seconds: 0.2, resample: false"),
    "too short": sound(riff(WAVE[:80]), CLIP, "80 samples are left", "'shortest' asks for 0.05",
        old="seconds: 0.2", new="seconds: 0.2, shortest: 0.05"),
}  # fmt: skip
PATHS: dict[str, Case] = {
    "blank": path("", ROW_5, "the cell is blank"),
    "nothing there": path("none.png", ROW_5, "none.png: there is no such file"),
    "capitals": path("3.PNG", ROW_5, "no such file; '3.png' is beside it"),
    "no ending": path("3", ROW_5, "no such file; '3.png' is beside it"),
    "letters in another way": path("e\u0301.png", ROW_5, r"no such file; '\\xe9.png' is beside it",
        r"written otherwise than in 'e\\u0301.png' .*NFC and NFD"),
    "capitals of a folder": path("Folder.png/3.png", ROW_5, "no folder 'Folder.png'; 'folder.png'"),
    "no folder": path("none/of/3.png", ROW_5, "there is no folder 'none'"),
    "a link to itself": path("loop.png", ROW_5, "a link to loop.png, which is not there"),
    "backslash": path("sub\\3.png", ROW_5, "with / between folders"),
    "on the web": path("https://example.org/3.png", ROW_5, "no such file: fetch it"),
    "too long": path("a" * 5000, ROW_5, "too long"),
    "no name of a file": path("3\0.png", "Column 'photo' of t.csv should hold paths"),
    "a folder": path("folder.png", ROW_5, "this is a folder"),
    "a link to nothing": path("link.png", ROW_5, "a link to none.png, which is not there"),
    "not declared": path("3.png", "holds plain values. Declare it under the source's `media`",
        config=PICTURES.replace("media: {photo: image}, ", "")),
    "declared as sounds": path("3.png", "Input 'photo' needs a column of pictures",
        config=PICTURES.replace("photo: image", "photo: sound")),
    "no such column": path("3.png", "`media` names column 'foto'.*Did you mean 'photo'",
        config=PICTURES.replace("photo: image", "foto: image")),
    "no such kind": path("3.png", "c.yaml:1: sources.own.media.photo: expected 'image'",
        config=PICTURES.replace("photo: image", "photo: picture")),
    "no pixels": path("3.png", "c.yaml:2: inputs.photo: `size`",
        config=PICTURES.replace("size: 8}}\n", "size: 0}}\n")),
}  # fmt: skip
SEVERAL = "photo of own: it holds several pictures, of which the first is read: 1, such as .*3.png"
FINE: dict[str, Case] = {
    "left out and listed": picture(b"hello", "left out 1 row of own", PHOTO, "not a readable",
        more="on_bad: skip\n"),
    "one pixel": picture(encoded(Image.new("RGB", (1, 1))), "labels of kind"),
    "ink": picture(encoded(Image.new("CMYK", (5, 5)), "JPEG"), "labels of kind"),
    "palette": picture(encoded(colours().quantize(8)), "labels of kind"),
    "16 bits": picture(encoded(Image.fromarray(np.full((4, 4), 300, np.uint16))), "labels of kind"),
    "moving": picture(encoded(colours().quantize(8), "GIF", save_all=True,
        append_images=[colours().quantize(4)]), SEVERAL),
    "moving png": picture(encoded(colours(), save_all=True, append_images=[colours().rotate(180)]),
        SEVERAL),
    "moving webp": picture(encoded(colours(), "WEBP", save_all=True,
        append_images=[colours().rotate(180)]), SEVERAL),
    "pages": picture(encoded(colours(), "TIFF", save_all=True, append_images=[colours()]), SEVERAL),
    "5,000 to 1": picture(encoded(Image.new("RGB", (5000, 1))), "labels of kind"),
    "jpeg called png": picture(encoded(colours(), "JPEG"), "labels of kind"),
    "umlauts and blanks": picture(png(), "labels of kind", name="für mich/3 ä.png"),
    "absolute path": path("HERE/3.png", "labels of kind"),
    "blanks around a path": path("  3.png  ", "labels of kind"),
    "one file in two parts": path("4.png", "files of column photo of own that are in two parts: 1"),
    "another rate": sound(riff(wave(0.1, 16000), 16000), "labels of kind"),
    "stereo": sound(riff(np.stack([WAVE, WAVE], 1)), "labels of kind"),
    "flac called wav": sound(riff(WAVE, kind="FLAC"), "labels of kind"),
    "fractions a little beyond one": sound(riff(np.float32(WAVE / 8000), subtype="FLOAT"),
        "labels of kind"),
    "24 bits": sound(riff(WAVE / 40000, subtype="PCM_24"), "labels of kind"),
    "chunks after the samples": sound(chunks(b"LIST\x04\0\0\0INFO" + bytes(20)), "labels of kind"),
    "no end in the header": sound(counted(2**32 - 1, 2**32 - 1), "labels of kind"),
    "one sample": sound(riff(WAVE[:1]), "labels of kind"),
    "silence": sound(riff(np.zeros(800, np.int16)), "labels of kind"),
}  # fmt: skip


@cases(FILES)
def test_files_that_cannot_be_decoded(
    tmp_path: Path, breaks: Breaks, told: tuple[str, ...]
) -> None:
    refused(tmp_path, breaks, told)


@cases(PATHS)
def test_paths_that_lead_nowhere(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(FINE)
def test_what_looks_odd_and_is_fine(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    let_in(tmp_path, breaks, told)


def test_nothing_but_broken_files_is_an_error_even_if_they_are_left_out(tmp_path: Path) -> None:
    def breaks(folder: Path) -> str:
        table(folder, "photo", "png", lambda k: b"no")
        return PICTURES + "on_bad: skip\n"

    refused(tmp_path, breaks, ["train part of own is empty: all of its 12 rows", "0.png"])


def folders(change: Callable[[Path], Any], *told: str, config: str = FOLDERS) -> Case:
    """A case that changes a folder of two classes."""

    def breaks(folder: Path) -> str:
        for kind, shade in (("cat", 0), ("dog", 100)):
            for k in range(10):
                put(folder, f"pics/{kind}/{k}.png", png(shade + 9 * k))
        change(folder / "pics")
        return config

    return breaks, told


def parted(root: Path, *parts: str) -> None:
    """Move the classes into a part, and make other parts of a single file of each class."""
    first, *others = parts
    classes = list(root.iterdir())
    (root / first).mkdir()
    for kind in classes:
        kind.rename(root / first / kind.name)
    for k, part in enumerate(others):
        for kind in classes:
            put(root, f"{part}/{kind.name}/0.png", png(k, (5, 9 + len(kind.name))))


def moved(root: Path) -> None:
    root.rename(root.with_name("others"))


def file_instead(root: Path) -> None:
    moved(root)
    root.write_text("x")


CLASSES: dict[str, Case] = {
    "class without files": folders(lambda p: (p / "cow").mkdir(), "cow holds no file", "remove"),
    "class of other files": folders(lambda p: put(p, "cow/a.heic", b"x"), "cow holds no file"),
    "nothing but a table": folders(lambda p: (moved(p), put(p, "a.data", b"1,2")),
        "pics holds no picture or sound.*It has a.data. If one of them is a table"),
    "file beside classes": folders(lambda p: put(p, "a.png", png()), "a.png should be in a folder"),
    "pictures and sounds": folders(lambda p: put(p, "cat/a.wav", riff(WAVE)), "under `media`"),
    "part misspelled": folders(lambda p: parted(p, "trian", "test"),
        "trian should be named for a part", "test beside it"),
    "new class to test on": folders(lambda p: (parted(p, "train", "test", "val"),
        put(p, "test/emu/0.png", png())), "emu/0.png", "'emu', which no training row has",
        config=FOLDERS.replace(SPLIT, "split: {fixed: true}")),
    "link to nothing": folders(lambda p: (p / "cat/a.png").symlink_to("none"), "cat/a.png: ",
        "a link to none, which is not there"),
    "name in another encoding": folders(lambda p: (p / "cat/0.png").rename(
        os.fsdecode(os.fsencode(p) + b"/cat/\xe4.png")), r"xe4.png' is not in UTF-8. Rename"),
    "no folder": folders(moved, "There is no folder .*pics"),
    "file": folders(file_instead, "pics is a file, where a folder is expected"),
    "one class": folders(lambda p: moved(p / "dog") or (p / "others").rename(p.parent / "gone"),
        "at least two different classes. Found cat"),
    "read as a table": folders(lambda p: None, "pics is a folder, where a file is expected",
        config=FOLDERS.replace("kind: folders", "kind: table")),
}  # fmt: skip
CLASSES_FINE: dict[str, Case] = {
    "other files": folders(lambda p: (put(p, "cat/notes.txt", b"x"), put(p, ".DS_Store", b"x")),
        r"rows of own +│ +12"),
    "a link to itself": folders(lambda p: (p / "cow").symlink_to("cow"), "labels of kind"),
    "links": folders(lambda p: ((p / "dog").rename(p.parent / "elsewhere"),
        (p / "dog").symlink_to("../elsewhere"), (p / "cat/up").symlink_to("..")),
        r"rows of own +│ +12"),
    "copies of a notebook": folders(lambda p: put(p, "cat/.ipynb_checkpoints/0-checkpoint.png",
        png(1)), r"rows of own +│ +12"),
    "capitals": folders(lambda p: [put(p, f"Cat/{k}.png", png(k, (5, 5))) for k in range(6)],
        "labels that are nearly the same are different: 'Cat' and 'cat'"),
    "parts that are not used": folders(lambda p: parted(p, "train", "test", "val"),
        "test rows of own's own split, which is not used"),
    "one picture in two parts": folders(lambda p: (parted(p, "train", "test", "val"),
        put(p, "test/dog/1.png", png(100))), "photo: rows of the test part .*like a training row",
        config=FOLDERS.replace(SPLIT, "split: {fixed: true}")),
}  # fmt: skip


@cases(CLASSES)
def test_folders_that_are_no_classes(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(CLASSES_FINE)
def test_folders_that_a_person_is_told_of(
    tmp_path: Path, breaks: Breaks, told: tuple[str, ...]
) -> None:
    let_in(tmp_path, breaks, told)


def test_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    from polytask.data.class_folders import ClassFolders

    for k, name in enumerate(("cat/1.png", "dog/1.png", "dog/2.heic", "cat/b.MOV", "cat/a.heic")):
        put(tmp_path, name, png(k))
    said = r"left out 3 files of .* \(\.heic 2, \.mov 1\), such as a\.heic\. Save pictures as PNG"
    with pytest.warns(UserWarning, match=said):
        assert len(ClassFolders(path=tmp_path).load()) == 2


def mask(content: bytes, *told: str) -> Case:
    """A case with another content of the fourth map."""

    def breaks(folder: Path) -> str:
        whole = encoded(Image.fromarray(np.tile(np.uint8([0, 1]), (8, 4))))
        for k in range(12):
            put(folder, f"{k}.png", png(10 * k))
            put(folder, f"m{k}.png", content if k == 3 else whole)
        lines = ["photo,mask", *(f"{k}.png,m{k}.png" for k in range(12))]
        put(folder, "t.csv", "\n".join(lines) + "\n")
        return MAPS

    return breaks, (f"{ROW_5}'mask': .*m3.png: ", *told)


def stored(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


MASKS: dict[str, Case] = {
    "text": mask(b"no", "not a readable map"),
    "jpeg": mask(encoded(colours(), "JPEG"), "save it as PNG"),
    "colours": mask(encoded(colours()), r"a map of class numbers \[H, W\] was expected"),
    "fractions": mask(stored(np.full((8, 8), 0.5)), "Found float64"),
    "below nothing": mask(stored(np.full((8, 8), -3)), "class numbers should be 0 to 254"),
    "no such class": mask(encoded(Image.fromarray(np.full((8, 8), 9, np.uint8))),
        "class 9 has no name", "list it under 'ignore'"),
    "400 million pixels": mask(BOMB, "not a readable map .*exceeds limit"),
    "array cut off": mask(stored(np.zeros((8, 8), np.uint8))[:-5], "readable array .*expected 64"),
    "objects": mask(stored(np.array([{}], object)), "not a readable array .*holds objects"),
    "no pixels": mask(stored(np.zeros((0, 8), np.uint8)), r"\[H, W\] was expected.*\(0, 8\)"),
    "that of another picture": mask(encoded(Image.fromarray(np.zeros((6, 9), np.uint8))),
        "the map has 9 x 6 pixels, and its picture 8 x 8", "turned"),
}  # fmt: skip


@cases(MASKS)
def test_maps_that_are_none(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


def cells(column: Callable[[], Any], *told: str, more: str = "") -> Case:
    """A case of pictures in a Parquet file."""

    def breaks(folder: Path) -> str:
        made = pa.table({"photo": column(), "kind": ["cat", "dog"] * 10})
        pq.write_table(made, folder / "t.parquet")
        for k in range(20):
            put(folder, f"{k}.png", png(10 * k))
        return PICTURES.replace("t.csv", "t.parquet") + more

    return breaks, told


def whole() -> list[Any]:
    return [png(10 * k) for k in range(20)]


CELLS: dict[str, Case] = {
    "one blank": cells(lambda: [None, *whole()[1:]], "t.parquet row 1", "the cell is blank"),
    "one broken": cells(lambda: [b"no", *whole()[1:]], "t.parquet row 1", "not a readable"),
    "structs of other things": cells(lambda: [{"data": b} for b in whole()], "t.parquet row 1",
        "a struct with a field 'bytes' was expected. Found data"),
    "paths to nothing": cells(lambda: [{"bytes": None, "path": "no.png"}] * 20, "no.png: there "),
    "pixels": cells(lambda: [[[0, 1], [2, 3]]] * 20, "should hold paths of files or their bytes"),
    "letters": cells(lambda: ["iVBORw0KGgo="] * 20, "t.parquet row 1", "there is no such file"),
}  # fmt: skip
CELLS_FINE: dict[str, Case] = {
    "structs": cells(lambda: [{"bytes": b, "path": None} for b in whole()], "labels of kind"),
    "structs of paths": cells(lambda: pa.array([{"bytes": None, "path": f"{k}.png"}
        for k in range(20)], pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "labels of kind"),
    "one left out": cells(lambda: [None, *whole()[1:]], "left out 1 row", "t.parquet row 1: ",
        more="on_bad: skip\n"),
}  # fmt: skip


@cases(CELLS)
def test_cells_that_are_no_pictures(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)


@cases(CELLS_FINE)
def test_cells_that_are_pictures(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    let_in(tmp_path, breaks, told)


def arrays(*told: str, old: str = "", new: str = "", **changed: Any) -> Case:
    """A case of an .npz file with other arrays; None leaves one out."""

    def breaks(folder: Path) -> str:
        made = {"x": np.zeros((20, 8, 8), np.uint8), "y": np.arange(20) % 2} | changed
        np.savez(folder / "d.npz", **{k: v for k, v in made.items() if v is not None})
        return ARRAYS.replace(old, new) if old else ARRAYS

    return breaks, told


def archive(content: bytes, *told: str) -> Case:
    def breaks(folder: Path) -> str:
        put(folder, "d.npz", content)
        return ARRAYS

    return breaks, told


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr(name, content)
    return buffer.getvalue()


NPZ: dict[str, Case] = {
    "no bytes": archive(b"", "d.npz cannot be read as .npz", "numpy.savez"),
    "text": archive(b"hello", "d.npz cannot be read as .npz: it begins with b'hello'"),
    "cut off": archive(zipped("x.npy", stored(np.zeros(99)))[:300], "d.npz cannot be read"),
    "one array": archive(stored(np.zeros(9)), "holds a single array: save it with numpy.savez"),
    "other files": archive(zipped("readme.txt", b"hi"), "holds no array 'x'. Valid names: readme"),
    "objects": arrays("array 'y' of d.npz holds objects", y=np.array([{}] * 20, object)),
    "other numbers of rows": arrays("as many rows. Found image: 19, label: 20",
        x=np.zeros((19, 8, 8), np.uint8)),
    "fractions": arrays("pictures .* of uint8. Found .* float64", x=np.zeros((20, 8, 8))),
    "flat pictures": arrays(r"an array \[N, 64\]", "'image.0' to", x=np.zeros((20, 64), np.uint8)),
    "no such array": arrays("holds no array 'x'. Valid names: y", x=None),
    "no rows": arrays("own has no rows", x=np.zeros((0, 8, 8), np.uint8), y=np.zeros(0, int)),
    "no labels": arrays("no label in any training row", y=np.full(20, np.nan)),
    "no parts": arrays("no array of any part", old="{image: x, label: y}",
        new="{image: '{part}_x', label: '{part}_y'}"),
    "no names for numbers": arrays("numbers from 0 to 1, and `labels` names 1", old="label: y}",
        new="label: y}, labels: {label: [cat]}"),
}  # fmt: skip


@cases(NPZ)
def test_arrays_that_are_no_rows(tmp_path: Path, breaks: Breaks, told: tuple[str, ...]) -> None:
    refused(tmp_path, breaks, told)
