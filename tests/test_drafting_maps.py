"""`polytask init` for folders of pictures with maps of their pixels, and the source of these."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polytask.config import load_config
from polytask.data.mapped_pictures import MappedPictures
from polytask.errors import ConfigError, DataError
from polytask.survey.drafting import draft
from polytask.tasks import Segmentation
from polytask.workflow import Silent, prepare_data, train
from tests.data.conftest import own_cache

__all__ = ["own_cache"]

SIZE = (24, 32)


def classes(k: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A map of the classes 0, 1 and 2, of which 2 is a place that moves with `k`."""
    numbers = np.zeros(size, np.uint8)
    numbers[:, :6] = 1
    numbers[4:14, 8 + k % 8 : 18 + k % 8] = 2
    return numbers


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def shown(file: Path, numbers: np.ndarray) -> None:
    """A picture in which classes are seen."""
    save(file, np.stack([numbers * 90, 200 - numbers * 60, numbers * 20], 2).astype(np.uint8))


def layout(
    folder: Path,
    pictures: str,
    maps: str,
    *,
    parts: tuple[str, ...] = ("",),
    how: Callable[[np.ndarray], np.ndarray] = lambda numbers: numbers,
) -> Path:
    """Twelve pictures of each part with their maps."""
    for at, part in enumerate(parts):
        for k in range(12):
            name = f"{part}{k}"
            shown(folder / pictures.format(part=part, name=name), classes(k + at))
            save(folder / maps.format(part=part, name=name), how(classes(k + at)))
    return folder


def drafted(folder: Path, *targets: str) -> tuple[dict[str, Any], Path, str]:
    """The configuration, its file and its text."""
    file = folder.parent / "x.yaml"
    file.write_text(draft(folder, targets, file))
    return yaml.safe_load(file.read_text()), file, file.read_text()


PARTS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("pictures", "maps", "parts", "found"),
    [
        ("images/{name}.jpg", "masks/{name}.png", ("",), ("images/{name}", "masks/{name}")),
        ("{part}/{name}.png", "{part}annot/{name}.png", PARTS, ("{part}/{name}",
         "{part}annot/{name}")),
        ("images/{part}/{name}.jpg", "labels/{part}/{name}.png", PARTS, ("images/{part}/{name}",
         "labels/{part}/{name}")),
        ("{part}/images/{name}.jpg", "{part}/masks/{name}_mask.png", PARTS,
         ("{part}/images/{name}", "{part}/masks/{name}_mask")),
        ("{name}.png", "{name}_mask.png", ("",), ("{name}", "{name}_mask")),
        ("images/{name}.jpg", "annotations/trimaps/{name}.png", ("",), ("images/{name}",
         "annotations/trimaps/{name}")),
    ],
)  # fmt: skip
def test_places_of_pictures_and_maps_are_found(
    pictures: str, maps: str, parts: tuple[str, ...], found: tuple[str, str], tmp_path: Path
) -> None:
    written, file, text = drafted(layout(tmp_path / "d", pictures, maps, parts=parts))
    source = written["sources"]["data"]
    assert (source["pictures"], source["maps"]) == (found[0], {"mask": found[1]})
    assert written["tasks"]["mask"]["classes"] == ["c0", "c1", "c2"]
    assert "numbers in" in text and "2 13.0%" in text  # 100 of 768 pixels
    prepared = prepare_data(load_config(file), None)
    rows = {part: by["data"] for part, by in prepared.summary()["rows"].items()}
    if len(parts) == 3:
        assert source["split"] == {"fixed": True} and rows == dict.fromkeys(rows, 12)
    assert sum(rows.values()) == 12 * len(parts)


def test_a_draft_trains(tmp_path: Path) -> None:
    _, file, _ = drafted(layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png"), "mask")
    assert train(load_config(file, ["training.epochs=12"]), tmp_path / "runs", Silent(), [])
    (run,) = (tmp_path / "runs").iterdir()
    last = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    assert last["scores"]["mask"]["miou"] > 0.4


def test_voc_has_lists_objects_and_borders_without_a_label(tmp_path: Path) -> None:
    place = tmp_path / "VOC2012"
    for k in range(20):
        numbers = classes(k)
        numbers[0] = 255
        shown(place / "JPEGImages" / f"{k:03}.jpg", classes(k))
        for folder in ("SegmentationClass", "SegmentationObject") if k < 15 else ():
            indexed = Image.fromarray(numbers)
            indexed.putpalette([*range(256)] * 3)
            (place / folder).mkdir(exist_ok=True)
            indexed.save(place / folder / f"{k:03}.png")
    lists = place / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = {"train": range(8), "val": range(8, 14), "trainval": range(14)}
    for part, of in names.items():
        (lists / f"{part}.txt").write_text("".join(f"{k:03}\n" for k in of))
    with pytest.warns(UserWarning, match=r"left out 5 of .*without a map.*JPEGImages/015.jpg"):
        written, file, text = drafted(place)
    assert written["sources"]["data"]["lists"] == "ImageSets/Segmentation/{part}.txt"
    assert written["tasks"]["mask"]["ignore"] == [255]
    assert "SegmentationObject/{name} is left out: its numbers tell objects apart" in text
    with pytest.warns(UserWarning, match="left out 1 of 15 pictures .* in no list"):
        prepared = prepare_data(load_config(file, ["sources.data.split.test=0"]), None)
    assert prepared.summary()["rows"]["train"] == {"data": 8}
    assert prepared.summary()["rows"]["validation"] == {"data": 6}
    (lists / "val.txt").write_text("000\n")
    with pytest.raises(DataError, match=r"'000' is in the validation part, and in that of train"):
        prepare_data(load_config(file), None)


def test_masks_in_black_and_white_are_two_classes(tmp_path: Path) -> None:
    def white(numbers: np.ndarray) -> np.ndarray:
        return np.where(numbers == 2, 255, 0).astype(np.uint8)

    place = layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png", how=white)
    written, file, _ = drafted(place)
    task = written["tasks"]["mask"]
    assert (task["classes"], task["numbers"], task["ignore"]) == (["c0", "c255"], [0, 255], [])
    size = ["inputs.picture.size=[24, 32]", "sources.data.split={test: 0, validation: 0}"]
    data = prepare_data(load_config(file, size), None).datasets["data"]
    # rows are by name: 0, 1, 10, 11, 2, ...
    assert np.array_equal(data.maps["mask"].maps[2], classes(10) == 2)


COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def colored(numbers: np.ndarray) -> np.ndarray:
    return np.array(COLORS, np.uint8)[numbers]


def bordered(numbers: np.ndarray) -> np.ndarray:
    pixels = colored(numbers)
    pixels[0, :] = (224, 224, 192)
    return pixels


def test_colours_of_masks_are_classes(tmp_path: Path) -> None:
    place = layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png", how=bordered)
    written, file, text = drafted(place)
    assert written["tasks"]["mask"] == {
        **{"kind": "segmentation", "target": {"data": "mask"}, "classes": ["c0", "c1", "c2"]},
        **{"colors": [[0, 0, 0], [0, 128, 0], [128, 0, 0], [224, 224, 192]], "ignore": [3]},
    }
    assert "# 4 colours in 12 maps looked at: #000000 " in text
    assert "# pixels of #e0e0c0 are taken for such that nobody labelled" in text
    data = prepare_data(load_config(file, ["inputs.picture.size=[24,32]"]), None).datasets["data"]
    right = np.array([0, 2, 1])[classes(0)]
    right[0] = 255
    assert np.array_equal(data.maps["mask"].maps[0], right)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nVoid,9,9,9\nThe road,128,0,0\nSky,0,0,0\nTree,0,128,0\n"),
        ("label_colors.txt", "9 9 9\t\tVoid\n128 0 0\t\tThe road\n0 0 0\tSky\n0 128 0\tTree\n"),
        (
            "labels/labelmap.txt",
            "# label:color_rgb:parts:actions\nVoid:9,9,9::\nThe road:128,0,0::\nSky:0,0,0::\n"
            "Tree:0,128,0::\n",
        ),
    ],
)
def test_a_file_names_the_colours(tmp_path: Path, name: str, text: str) -> None:
    for part in ("train", "val"):
        for k in range(6):
            shown(tmp_path / f"d/{part}/{part}{k}.png", classes(k))
            save(tmp_path / f"d/{part}_labels/{part}{k}_L.png", colored(classes(k)))
    (tmp_path / "d/labels").mkdir()
    (tmp_path / "d" / name).write_text(text)
    (tmp_path / "d/class_counts.csv").write_text("name,n\nSky,7\n")
    written, file, said = drafted(tmp_path / "d")
    (task,) = written["tasks"].values()
    assert task["classes"] == ["The road", "Sky", "Tree"] and task["ignore"] == [3]
    assert task["colors"] == [[128, 0, 0], [0, 0, 0], [0, 128, 0], [9, 9, 9]]
    assert f"# classes are the colours that {name} names" in said
    assert written["sources"]["data"]["maps"] == {"mask": "{part}_labels/{name}_L"}
    assert load_config(file)


def test_colours_that_no_file_names_are_counted(tmp_path: Path) -> None:
    place = layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png", how=bordered)
    (place / "class_dict.csv").write_text("a,0,0,0\nb,128,0,0\nc,0,128,0\n")
    written, _, text = drafted(place)
    assert "% of the pixels in 12 maps looked at have colours that it does not name: #e0" in text
    assert written["tasks"]["mask"]["ignore"] == [3]


def test_colours_without_classes_are_told(tmp_path: Path) -> None:
    one = layout(tmp_path / "a", "images/{name}.jpg", "masks/{name}.png",
                 how=lambda numbers: colored(numbers * 0))  # fmt: skip
    with pytest.raises(DataError, match=r"one colour \(#000000\) in 12 maps"):
        drafted(one)
    mixed = layout(tmp_path / "b", "images/{name}.jpg", "masks/{name}.png")
    save(mixed / "masks" / "3.png", colored(classes(3)))
    with pytest.raises(DataError, match="1 of 12 maps looked at are pictures of colours"):
        drafted(mixed)
    noise = np.random.default_rng(0)

    def blurred(numbers: np.ndarray) -> np.ndarray:
        return noise.integers(0, 256, (*numbers.shape, 3)).astype(np.uint8)

    with pytest.raises(DataError, match="or one of few colours, as PNG"):
        drafted(layout(tmp_path / "c", "images/{name}.jpg", "masks/{name}.png", how=blurred))


def test_depths_are_numbers_of_16_bits(tmp_path: Path) -> None:
    def deep(numbers: np.ndarray) -> np.ndarray:
        ramp = np.arange(numbers.size).reshape(numbers.shape)
        return np.where(numbers == 1, 0, ramp + 1000).astype(np.uint16)

    written, file, text = drafted(
        layout(tmp_path / "d", "rgb/{name}.jpg", "depth/{name}.png", how=deep)
    )
    assert written["tasks"]["depth"]["kind"] == "dense_regression"
    assert written["tasks"]["depth"]["unknown"] == 0 and "% are 0, which" in text
    assert prepare_data(load_config(file), None).summary()["labels"]["depth"]["train"] > 0


def test_pictures_of_all_proportions_are_filled_up(tmp_path: Path) -> None:
    for k in range(8):
        size = (24, 32) if k % 2 else (32, 24)
        shown(tmp_path / "d/images" / f"{k}.jpg", classes(k, size))
        save(tmp_path / "d/masks" / f"{k}.png", classes(k, size))
    written, _, _ = drafted(tmp_path / "d")
    assert written["inputs"]["picture"]["fit"] == "pad"


def test_class_folders_with_the_same_names_stay_class_folders(tmp_path: Path) -> None:
    for k in range(8):
        for label in ("cat", "dog"):
            shown(tmp_path / "d" / label / f"{k}.png", classes(k))
    assert "kind: folders" in drafted(tmp_path / "d")[2]


def test_maps_that_hold_one_number_are_told(tmp_path: Path) -> None:
    place = layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png", how=np.zeros_like)
    with pytest.raises(DataError, match=r"maps of 'mask' hold one number \(0\) in 12 maps"):
        drafted(place)


def test_what_cannot_be_paired_is_told(tmp_path: Path) -> None:
    place = layout(tmp_path / "d", "images/{name}.jpg", "masks/{name}.png")

    def source(pictures: str = "images/{name}", mask: str = "masks/{name}") -> MappedPictures:
        return MappedPictures(path=place, pictures=pictures, maps={"mask": mask})

    with pytest.raises(DataError, match=r"no picture has a map.*`pictures` finds 12, `maps.mask` "
                                        r"0.*first picture is images/0.jpg"):  # fmt: skip
        source(mask="labels/{name}").load()
    save(place / "images" / "3.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DataError, match=r"images/3.jpg and 3.png have the same name"):
        source().load()
    (place / "images" / "3.png").unlink()
    (place / "images" / "4.jpg").unlink()
    with pytest.warns(UserWarning, match=r"left out 1 of .*\(mask: no picture\).*masks/4.png"):
        assert len(source().load()) == 11
    with pytest.raises(ConfigError, match=r"`pictures` should have one '\{name\}'"):
        source(pictures="images/*")


def task(**settings: Any) -> Segmentation:
    return Segmentation(name="s", input="x", target={}, classes=("a", "b"), **settings)


def test_numbers_of_classes_are_read_in_their_order_and_others_told() -> None:
    array = np.array([[7, 3], [3, 255]], np.int32)
    assert task(numbers=(7, 3)).read(array).tolist() == [[0, 1], [1, 255]]
    with pytest.raises(DataError, match=r"2 pixels have other numbers than .*\(7, 9\), most 3"):
        task(numbers=(7, 9)).read(array)
    with pytest.raises(ConfigError, match="a different number for each of the 2 classes"):
        task(numbers=(1, 2, 3))
    with pytest.raises(ConfigError, match="`numbers` and `ignore` both have 255"):
        task(numbers=(0, 255))
    assert task().settings == {k: v for k, v in task().settings.items() if k != "numbers"}


@given(
    colors=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=3, max_size=9, unique=True),
    seed=st.integers(0, 99),
)
def test_colours_come_back_as_their_numbers(colors: list[tuple[int, int, int]], seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, len(colors), (5, 7))
    of = task(colors=tuple(colors), ignore=tuple(range(2, len(colors))))
    found = of.read(np.array(colors, np.uint8)[numbers])
    assert np.array_equal(found, np.where(numbers < 2, numbers, 255))
    shown = of.pictures(torch.from_numpy(found.clip(max=1)[None]))[0].pixels
    assert np.array_equal(of.read(shown), found.clip(max=1))


def test_colours_that_are_not_right_are_told() -> None:
    of = task(colors=COLORS[:2])
    with pytest.raises(DataError, match=r"1 pixels .*s.colors lists: 1 colour \(\[0, 128, 0\]"):
        of.read(colored(np.array([[0, 1], [1, 2]])))
    with pytest.raises(DataError, match=r"colours of tasks.s.colors was expected. Found uint8"):
        of.read(np.zeros((2, 2), np.uint8))
    clear = np.zeros((2, 2, 4), np.uint8)
    with pytest.raises(DataError, match="some of the map's pixels are transparent"):
        of.read(clear)
    clear[..., 3] = 255
    assert of.read(clear).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match=r"a picture of 3 colours \(\[0, 128, 0\], .*`colors`"):
        task().read(colored(np.array([[2, 2], [0, 1]])))
    for colors, said in (
        (COLORS[:1], "a colour for each number up to 1, the greatest of a class. Found 1"),
        ((*COLORS, COLORS[0]), r"different ones. Found \[0, 0, 0\] twice"),
        (((0, 0, 300), (0, 0, 1)), r"from 0 to 255. Found \[0, 0, 300\]"),
    ):
        with pytest.raises(ConfigError, match=said):
            task(colors=colors)


def test_predicted_masks_have_the_numbers_of_the_files() -> None:
    """Black and white in, black and white out; numbers that no colour has are 16 bits."""
    decoded = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    mask = task(numbers=(0, 255), ignore=()).pictures(decoded)[0]
    assert mask.pixels.tolist() == [[0, 255], [255, 0]] and mask.pixels.dtype == np.uint8
    assert mask.palette is not None and tuple(mask.palette[255]) != tuple(mask.palette[0])
    deep = task(numbers=(7, 1000)).pictures(decoded)[0]
    assert deep.pixels.tolist() == [[7, 1000], [1000, 7]] and deep.pixels.dtype == np.uint16
    assert deep.palette is None
    assert task().pictures(decoded)[0].pixels.tolist() == decoded[0].tolist()
