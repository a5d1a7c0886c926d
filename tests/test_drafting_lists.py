"""Lists of the files of each part beside these, read and drafted; folders that are no classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.config import load_config
from polytask.data.class_folders import ClassFolders
from polytask.errors import ConfigError, DataError
from polytask.survey.drafting import draft
from polytask.workflow import prepare_data
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]

WORDS = ("yes", "no", "up")


def drafted(data: Path, targets: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Any, str]:
    file = data.parent / "mine.yaml"
    text = draft(data, targets, file, names)
    file.write_text(text)
    return yaml.safe_load(text), text


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """As Speech Commands is published: folders of words, lists of two parts, a folder of noise."""
    folder = tmp_path / "commands"
    for word in (*WORDS, "_background_noise_"):
        (folder / word).mkdir(parents=True)
    for k in range(30):
        for word in WORDS:
            (folder / word / f"s{k:02}_nohash_0.wav").write_bytes(riff(wave()))
    for noise in ("running_tap", "white noise"):
        (folder / "_background_noise_" / f"{noise}.wav").write_bytes(riff(wave(0.3)))
    for part, numbers in (("validation", range(3)), ("testing", range(3, 9))):
        lines = [f"{word}/s{k:02}_nohash_0.wav" for word in WORDS for k in numbers]
        (folder / f"{part}_list.txt").write_text("\n".join(lines) + "\n")
    return folder


def sizes(config: Path) -> dict[str, int]:
    prepared = prepare_data(load_config(config), None)
    return {part: sum(map(len, rows.values())) for part, rows in prepared.parts.items()}


def test_lists_of_two_parts_leave_the_rest_to_train_on(commands: Path, tmp_path: Path) -> None:
    config, _ = drafted(commands)
    source = config["sources"]["data"]
    assert source["lists"] == "{part}_list.txt" and source["split"] == {"fixed": True}
    assert source["without"] == ["_background_noise_"]
    assert sizes(tmp_path / "mine.yaml") == {"train": 63, "validation": 9, "test": 18}
    config, _ = drafted(commands, ["folder"], ["speaker", "_", "_"])  # what names say, too
    assert config["sources"]["data"]["lists"] == "{part}_list.txt"


def test_files_in_no_list_are_left_out_where_one_says_what_to_train_on(tmp_path: Path) -> None:
    """As Food-101 is published: lists of another folder, with paths without endings."""
    folder = tmp_path / "food"
    (folder / "meta").mkdir(parents=True)
    for dish in ("soup", "apple pie"):
        (folder / "images" / dish).mkdir(parents=True)
        for k in range(20):
            (folder / "images" / dish / f"{k}.png").write_bytes(png(k))
    for part, numbers in (("train", range(12)), ("test", range(12, 18))):
        lines = [f"images/{dish}/{k}" for dish in ("soup", "apple pie") for k in numbers]
        (folder / "meta" / f"{part}.txt").write_text("\n".join(lines))
    source = ClassFolders(path=folder, pattern="images/(?P<dish>[^/]+)/.*", lists="meta/{part}.txt")
    with pytest.warns(UserWarning, match=r"left out 4 of 40 files .* that are in no list"):
        table = source.load()
    split = list(table.fixed_split) if table.fixed_split is not None else []
    assert (split.count("train"), split.count("test"), len(table)) == (24, 12, 36)
    paths = table.cells(["path"])[:, 0]
    assert {p for p, part in zip(paths, split, strict=True) if part == "test"} == {
        f"images/{dish}/{k}.png" for dish in ("soup", "apple pie") for k in range(12, 18)
    }


def test_wrong_lists_are_told(commands: Path) -> None:
    def load(lists: str, path: Path = commands) -> None:
        ClassFolders(path=path, without=["_background_noise_"], lists=lists).load()

    with pytest.raises(ConfigError, match=r"`lists` should have one '\{part\}'.*Found 'a.txt'"):
        load("a.txt")
    with pytest.raises(DataError, match="`lists` finds no file that lists any of them"):
        load("lists/{part}.txt")
    with (commands / "testing_list.txt").open("a") as file:
        file.write("yes/s99_nohash_0.wav\n")
    with pytest.warns(
        UserWarning, match=r"1 of the lines of `lists` name no file .*, such as 'yes/s99_noh"
    ):
        load("{part}_list.txt")
    with (commands / "testing_list.txt").open("a") as file:
        file.write("yes/s00_nohash_0.wav\n")
    with pytest.raises(
        DataError, match=r"validation_list.txt: 'yes/s00.*' is in the validation pa"
    ):
        load("{part}_list.txt")


def test_lists_of_two_parts_in_one_are_not_taken_for_either(commands: Path) -> None:
    (commands / "validation_list.txt").rename(commands / "train_val_list.txt")
    (commands / "testing_list.txt").rename(commands / "test_list.txt")
    config, _ = drafted(commands)
    source = config["sources"]["data"]
    assert source["lists"] == "{part}_list.txt"
    assert sizes(commands.parent / "mine.yaml") == {"train": 58, "validation": 14, "test": 18}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("Final_Test", "Final_Training"), "named for parts of a split, not for classes. Name one"),
        (("train_splits", "dev_splits_complete"), "named for parts of a split"),
        (("trainSet", "testSet"), "named for parts of a split"),
    ],
)
def test_folders_of_parts_are_no_classes(
    tmp_path: Path, folders: Sequence[str], message: str
) -> None:
    for name in folders:
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(10):
            (tmp_path / "data" / name / f"{k}.png").write_bytes(png(k))
    with pytest.raises(DataError, match=message):
        drafted(tmp_path / "data")


def test_classes_may_have_the_name_of_one_part_in_theirs(tmp_path: Path) -> None:
    for name in ("test_negative", "test_positive"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        for k in range(10):
            (tmp_path / "tests" / name / f"{k}.png").write_bytes(png(k))
    _, text = drafted(tmp_path / "tests")
    assert "two labels, test_negative and test_positive" in text


def test_numbered_folders_are_no_classes_where_a_table_says_more(tmp_path: Path) -> None:
    """As ChestX-ray14 is published: pictures in pieces of an archive, findings in a table."""
    for name in ("images_001", "images_002"):
        (tmp_path / "xray" / name / "images").mkdir(parents=True)
        for k in range(10):
            (tmp_path / "xray" / name / "images" / f"{name[-1]}_{k}.png").write_bytes(png(k))
    rows = [
        f"{n}_{k}.png,{'|'.join(['Mass', 'Edema'][: k % 3]) or 'none'}"
        for n in "12"
        for k in range(10)
    ]
    (tmp_path / "xray" / "Data_Entry_2017.csv").write_text("Image,Finding\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"numbered \(images_001, images_002\).*Data_Entry_2017"):
        drafted(tmp_path / "xray")
    config, _ = drafted(tmp_path / "xray", ["Finding"])
    assert config["sources"]["data"]["media"] == {"Image": "image"}


def test_pictures_with_maps_have_lists_beside_them(tmp_path: Path) -> None:
    for place in ("rgb", "labels"):
        (tmp_path / "nyu" / place).mkdir(parents=True)
        for k in range(20):
            (tmp_path / "nyu" / place / f"{k:04}.png").write_bytes(
                png(k if place == "rgb" else k % 3)
            )
    (tmp_path / "nyu" / "train.txt").write_text("\n".join(f"{k:04}" for k in range(14)))
    (tmp_path / "nyu" / "test.txt").write_text("\n".join(f"{k:04}" for k in range(14, 20)))
    config, _ = drafted(tmp_path / "nyu")
    assert config["sources"]["data"]["lists"] == "{part}.txt"
    assert sizes(tmp_path / "mine.yaml")["test"] == 6
