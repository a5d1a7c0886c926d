"""Targets of pixels from files to batches: decoded once, and moved with their pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polytask.data.camvid import CamVid
from polytask.data.dataset import Prepared
from polytask.data.decoding import decode_map
from polytask.data.inputs import ImageInput
from polytask.data.mapped_pictures import MappedPictures
from polytask.data.mixing import Proportional
from polytask.data.preparing import prepare
from polytask.data.random_augment import RandAugment
from polytask.data.splits import Split
from polytask.data.stream import BatchStream
from polytask.data.tables import TableFile
from polytask.data.tabular import TableInput
from polytask.data.transforms import (
    Brightness,
    Cutout,
    HorizontalFlip,
    Maps,
    RandomCrop,
    Shrink,
    Transform,
)
from polytask.data.warping import Affine
from polytask.errors import ConfigError, DataError
from polytask.tasks import DenseRegression, Normals, Segmentation, Task
from polytask.types import Features
from tests.data.conftest import png

SIZE = (6, 8)


def numbered(k: int) -> np.ndarray:
    """A map of class numbers that tells every example and its halves."""
    numbers = np.full(SIZE, k % 3, np.uint8)
    numbers[:, 4:] = (k + 1) % 3
    numbers[0, 0] = 255
    return numbers


def write(folder: Path, rows: int = 6) -> Path:
    """A table with pictures whose red is ten times the class number, maps and depths."""
    lines = ["picture,classes,depth,normal"]
    for k in range(rows):
        numbers = numbered(k)
        shades = np.stack([np.where(numbers == 255, 0, numbers) * 10] * 3, 2).astype(np.uint8)
        Image.fromarray(shades).save(folder / f"{k}.png")
        Image.fromarray(numbers).save(folder / f"{k}-classes.png")
        np.savez(folder / f"{k}.npz", numbers.astype(np.float64) + 0.5)
        np.save(folder / f"{k}.npy", np.stack([np.ones(SIZE), *np.zeros((2, *SIZE))]))
        cells = [f"{k}.png", f"{k}-classes.png", f"{k}.npz", f"{k}.npy"]
        lines.append(",".join(cells if k != 2 else [cells[0], "", "", ""]))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def tasks() -> list[Task]:
    """A task for each column of maps."""
    return [
        Segmentation(name="seg", input="pic", target={"t": "classes"}, classes=("a", "b", "c")),
        DenseRegression(name="depth", input="pic", target={"t": "depth"}),
        Normals(name="normal", input="pic", target={"t": "normal"}),
    ]


def prepared(path: Path, *, size: tuple[int, int] = SIZE) -> Prepared:
    """All rows for training."""
    media = {"picture": "image", "classes": "map", "depth": "map", "normal": "map"}
    return prepare(
        {"t": TableFile(path=path, media=media)},  # type: ignore[arg-type]
        {"pic": ImageInput(columns={"t": "picture"}, size=size)},
        tasks(),
        splits=Split(test=0.0, validation=0.0),
    )


def test_maps_are_targets_and_a_blank_cell_is_no_label(tmp_path: Path) -> None:
    found = prepared(write(tmp_path))
    batch = found.datasets["t"].gather(torch.tensor([3, 2, 4]))
    for task in ("seg", "depth", "normal"):
        assert batch.present[task].tolist() == [True, False, True]
    assert batch.targets["seg"][0].tolist() == numbered(3).tolist()
    assert batch.targets["depth"][2, 5, 0] == 1.5
    assert batch.targets["normal"][0, :, 3, 3].tolist() == [1, 0, 0]
    seg = found.tasks[0]
    assert isinstance(seg, Segmentation) and seg.size == SIZE
    assert found.summary()["labels"]["seg"] == {"train": 5, "validation": 0, "test": 0}
    # Five labelled rows with 23 and 24 labelled pixels in their halves.
    assert sum(seg.counts) == 5 * 47


def test_maps_get_the_size_of_the_pictures_and_are_cached(tmp_path: Path) -> None:
    path = write(tmp_path)
    small = prepared(path, size=(3, 4))
    assert small.datasets["t"].targets["seg"].shape == (6, 3, 4)
    for file in tmp_path.glob("*classes.png"):
        file.touch()
    again = prepared(path, size=(3, 4)).datasets["t"]
    assert torch.equal(again.targets["seg"], small.datasets["t"].targets["seg"])
    assert again.present["seg"].tolist() == [True, True, False, True, True, True]


def test_a_broken_map_names_its_row_and_column(tmp_path: Path) -> None:
    path = write(tmp_path)
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(tmp_path / "3-classes.png")
    (tmp_path / "4.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError) as caught:
        prepared(path)
    told = str(caught.value)
    assert "row 5: column 'classes'" in told and "class 7 has no name" in told
    assert "row 6: column 'depth'" in told and "not a readable array" in told


def test_a_picture_is_no_map_and_a_vector_has_no_pixels(tmp_path: Path) -> None:
    path = write(tmp_path)
    table = TableFile(path=path, media={"picture": "image"})
    with pytest.raises(DataError, match=r"needs a column of maps.*under the source's `media`"):
        prepare({"t": table}, {"pic": ImageInput(columns={"t": "picture"}, size=SIZE)}, tasks()[:1])
    table = TableFile(path=path, media={"classes": "map"})
    with pytest.raises(ConfigError, match="about every pixel, and its input 'pic' has none"):
        prepare({"t": table}, {"pic": TableInput(columns={"t": ["depth"]})}, tasks()[:1])


def test_numbers_of_a_palette_are_taken_as_they_are_and_jpeg_is_refused() -> None:
    picture = Image.fromarray(np.array([[3, 1]], np.uint8))
    picture.putpalette([9] * 768)
    files = {}
    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        picture.convert("L" if kind == "JPEG" else "P").save(buffer, kind)
        files[kind] = buffer.getvalue()
    assert decode_map(files["PNG"]).shape == (1, 2)
    with pytest.raises(DataError, match="JPEG changes the numbers"):
        decode_map(files["JPEG"])
    with pytest.raises(DataError, match="not a readable map"):
        decode_map(b"nothing")


@pytest.mark.parametrize(
    "transform",
    [
        RandomCrop(padding=2),
        RandomCrop(padding=2, mode="zero"),
        HorizontalFlip(),
        Brightness(amount=0.0),
        Affine(degrees=0.0, shift=0.0, scale=0.0),
        Shrink(size=(3, 4), epochs=1),
    ],
)
def test_targets_move_with_their_pictures(transform: Transform) -> None:
    """Pictures that show their own targets still do after the change."""
    numbers = torch.randint(1, 5, (40, 3, 4), generator=torch.Generator().manual_seed(1)) * 20
    numbers = numbers.to(torch.uint8).repeat_interleave(2, 1).repeat_interleave(2, 2)
    pictures = numbers.unsqueeze(1).repeat(1, 3, 1, 1)
    g = torch.Generator().manual_seed(3)
    state = g.get_state()
    changed = transform(Features(pictures), g).values
    g.set_state(state)
    moved = transform.moved(Maps(numbers, 255), g)
    assert moved.dtype == torch.uint8
    labelled = moved != 255
    assert labelled.float().mean() > 0.5
    shown = changed[:, 0].to(torch.int16)
    if isinstance(transform, Shrink):  # antialiasing mixes neighbours of different pixels
        assert moved.shape == (40, 3, 4) and ((shown - moved) == 0).float().mean() > 0.05
        assert torch.equal(moved, numbers[:, 1::2, 1::2])
    else:
        assert torch.equal(shown[labelled], moved[labelled].to(torch.int16))
        assert (shown[~labelled] == 0).all()


def test_a_mirror_turns_what_points_to_the_right() -> None:
    vectors = torch.zeros(2, 3, 4, 4)
    vectors[:, 0, :, 0], vectors[:, 2, :, 1:] = 1.0, 1.0
    moved = HorizontalFlip(p=1.0).moved(Maps(vectors, float("nan"), True), torch.Generator())
    assert (moved[:, 0, :, 3] == -1).all() and (moved[:, 2, :, :3] == 1).all()
    with pytest.raises(ConfigError, match="mode: zero"):
        RandomCrop().moved(Maps(vectors, float("nan"), True), torch.Generator())


def test_what_has_no_way_to_move_targets_says_so() -> None:
    maps = Maps(torch.zeros(1, 2, 2), 255)
    with pytest.raises(ConfigError, match="RandAugment can't change targets of pixels"):
        RandAugment().moved(maps, torch.Generator())
    assert RandAugment(moving=False).moved(maps, torch.Generator()) is maps.values


def test_a_turn_takes_labels_along() -> None:
    """A bright square that is labelled is where its label is, but for its interpolated border."""
    numbers = torch.zeros(20, 16, 16, dtype=torch.uint8)
    numbers[:, 2:9, 5:12] = 200
    transform, g = Affine(degrees=40.0, shift=0.2, scale=0.2, shear=0.2), torch.Generator()
    state = g.get_state()
    shown = transform(Features(numbers.unsqueeze(1)), g).values[:, 0]
    g.set_state(state)
    moved = transform.moved(Maps(numbers, 255), g)
    assert set(moved.unique().tolist()) == {0, 200}
    sure = (shown == 0) | (shown == 200)
    assert sure.float().mean() > 0.6 and torch.equal(shown[sure], moved[sure])
    assert not torch.equal(moved, numbers)
    with pytest.raises(ConfigError, match="directions of pixels"):
        transform.moved(Maps(torch.zeros(1, 3, 4, 4), 0, True), g)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_targets_are_fitted_as_their_pictures_are(fit: Any, tmp_path: Path) -> None:
    """A picture that shows its own target still does at a size of other proportions."""
    numbers = np.zeros((24, 48), np.uint8)
    numbers[8:, 16:28], numbers[:8, 40:] = 1, 2
    Image.fromarray(np.stack([numbers * 100] * 3, 2)).save(tmp_path / "0.png")
    Image.fromarray(numbers).save(tmp_path / "0-map.png")
    (tmp_path / "table.csv").write_text("picture,map\n0.png,0-map.png\n")
    task = Segmentation(name="s", input="pic", target={"t": "map"}, classes=("a", "b", "c"))
    found = (
        prepare(
            {"t": TableFile(path=tmp_path / "table.csv", media={"picture": "image", "map": "map"})},
            {"pic": ImageInput(columns={"t": "picture"}, size=(20, 20), fit=fit)},
            [task],
            splits=Split(test=0.0, validation=0.0),
        )
        .datasets["t"]
        .gather(torch.tensor([0]))
    )
    shown, moved = found.inputs["pic"].values[0, 0].long(), found.targets["s"][0].long()
    outside = moved == 255
    assert outside.any() == (fit == "pad") and (shown[outside] == 0).all()
    # Antialiasing mixes shades at borders.
    assert ((shown - moved * 100).abs()[~outside] < 40).float().mean() > 0.85
    assert {1, 2} <= set(moved.unique().tolist()) or fit == "crop"


def test_a_stream_changes_targets_with_pictures_and_pictures_as_without_targets(
    tmp_path: Path,
) -> None:
    found = prepared(write(tmp_path))
    augment = [RandomCrop(padding=1, mode="zero"), HorizontalFlip(), Cutout(size=1)]

    def batches(some: Prepared) -> list[torch.Tensor]:
        stream = BatchStream(
            some.datasets,
            some.parts["train"],
            batch_size=6,
            mixing=Proportional(),
            augment={"pic": augment},
        )
        return [stream.batch(k) for k in range(4)]  # type: ignore[misc]

    for batch in batches(found):
        shades = batch.inputs["pic"].values[:, 0].long()  # type: ignore[attr-defined]
        numbers = batch.targets["seg"].long()  # type: ignore[attr-defined]
        # Cutout blackens a pixel of a picture and leaves its label.
        shown = (numbers != 255) & (shades > 0)
        assert shown.any() and torch.equal(shades[shown], numbers[shown] * 10)
    found.datasets["t"].blanks.clear()
    plain = batches(found)
    for one, other in zip(batches(prepared(tmp_path / "table.csv")), plain, strict=True):
        assert torch.equal(one.inputs["pic"].values, other.inputs["pic"].values)  # type: ignore[attr-defined]


def test_camvid_in_the_form_of_segnet(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        for folder in (part, f"{part}annot"):
            (tmp_path / "CamVid" / folder).mkdir(parents=True)
        for k in range(count):
            name = f"0016E5_{part}{k}.png"
            numbers = np.full(SIZE, k, np.uint8)
            numbers[0] = 11
            Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "CamVid" / part / name)
            Image.fromarray(numbers).save(tmp_path / "CamVid" / f"{part}annot" / name)
    table = CamVid(path=tmp_path).load()
    assert table.frame["present"].tolist() == ["Sky", "Building", "Pole", "Sky", "Sky", "Building"]
    assert table.fixed_split is not None
    assert table.fixed_split.tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert table.media["label"].array(1)[1, 1] == 1
    with pytest.raises(DataError, match=r"neither trainannot nor train\.parquet"):
        CamVid(path=tmp_path / "CamVid" / "train").load()


def test_camvid_as_it_is_here(real_data: Path) -> None:
    table = CamVid().load()
    assert table.fixed_split is not None
    counts = table.fixed_split.value_counts()
    assert counts.to_dict() == {"train": 367, "test": 233, "validation": 101}
    numbers = table.media["label"].array(400)
    assert numbers.shape == (180, 240) and numbers.max() <= 11
    assert table.frame["present"].str.contains("Road").mean() > 0.99


@pytest.mark.parametrize("turn", [3, 6])
@pytest.mark.parametrize("both", [True, False])
def test_a_note_turns_a_map_as_it_turns_its_picture(turn: int, both: bool, tmp_path: Path) -> None:
    path = write(tmp_path, rows=2)
    note = Image.Exif()
    note[0x0112] = turn
    square = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    Image.fromarray(np.stack([square * 10] * 3, 2)).save(tmp_path / "0.png", exif=note)
    Image.fromarray(square).save(tmp_path / "0-classes.png", **({"exif": note} if both else {}))
    found = prepare(
        {"t": TableFile(path=path, media={"picture": "image", "classes": "map"})},
        {"pic": ImageInput(columns={"t": "picture"}, size=(8, 8))},
        tasks()[:1],
        splits=Split(test=0.0, validation=0.0),
    )
    batch = found.datasets["t"].gather(torch.tensor([0]))
    shown = batch.inputs["pic"].values[0, 0].round().long()
    assert len(shown.unique()) == 3
    classes = torch.bucketize(shown, shown.unique())
    assert torch.equal(classes, batch.targets["seg"][0].long()) == both
    doubts = [d for d in found.summary()["doubts"] if "none this map" in d]
    assert len(doubts) == (not both)
    assert all(d.endswith(f"1, such as {tmp_path / '0-classes.png'}") for d in doubts)


def test_a_word_in_braces_is_a_column_by_which_parts_can_be_grouped(tmp_path: Path) -> None:
    """As Taskonomy is published: views of one building are in one folder, for each kind of map."""
    for kind in ("rgb", "depth"):
        for building in ("allen", "beech"):
            folder = tmp_path / kind / building
            folder.mkdir(parents=True)
            for k in range(3):
                (folder / f"point_{k}_domain_{kind}.png").write_bytes(png(k))
    source = MappedPictures(
        path=tmp_path,
        pictures="rgb/{building}/{name}_domain_rgb",
        maps={"depth": "depth/{building}/{name}_domain_depth"},
    )
    table = source.load()
    assert table.cells(["building", "name"]).tolist() == [
        [building, f"{building}/point_{k}"] for building in ("allen", "beech") for k in range(3)
    ]
    for pictures, message in (
        ("rgb/{house}/{name}_domain_rgb", r"same words in braces. Found 'rgb/\{house\}"),
        ("rgb/{a b}/{name}_domain_rgb", r"letters, and be there once. Found '\{a b\}'"),
        ("rgb/{depth}/{name}", r"same words in braces"),
    ):
        with pytest.raises(ConfigError, match=message):
            MappedPictures(
                path=tmp_path, pictures=pictures, maps={"depth": "depth/{building}/{name}"}
            )
    with pytest.raises(ConfigError, match="none 'image', 'path', 'name' or what is in braces"):
        MappedPictures(
            path=tmp_path, pictures="a/{depth}/{name}", maps={"depth": "b/{depth}/{name}"}
        )
