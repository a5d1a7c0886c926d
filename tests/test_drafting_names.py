"""`init` of tables whose files, headers and persons are not where one would look first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.config import load_config
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.persons import guess_group
from polytask.workflow import prepare_data
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]


def drafted(data: Path, targets: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Any, str]:
    home = data if data.is_dir() else data.parent
    file = home.parent / "mine.yaml"
    text = draft(data, targets, file, names)
    file.write_text(text)
    return yaml.safe_load(text)["sources"]["data"], text


def rows_read(home: Path) -> int:
    prepared = prepare_data(load_config(home / "mine.yaml"), None)
    return sum(len(rows["data"]) for rows in prepared.parts.values())


def test_paths_may_begin_with_the_folder_of_the_table(tmp_path: Path) -> None:
    """As CheXpert is published: `CheXpert-v1.0-small/train/patient1/view1.jpg`."""
    folder = tmp_path / "CheXpert-v1.0-small"
    lines = ["Path,Sex,Edema"]
    for k in range(30):
        (folder / "train" / f"patient{k:05}").mkdir(parents=True)
        (folder / "train" / f"patient{k:05}" / "view1_frontal.jpg").write_bytes(png(5 * k))
        label = ["1.0", "0.0", "-1.0", ""][k % 4]
        lines.append(f"{folder.name}/train/patient{k:05}/view1_frontal.jpg,Male,{label}")
    (folder / "train.csv").write_text("\n".join(lines))
    source, text = drafted(folder / "train.csv", ["Edema"])
    assert source["media"] == {"Path": "image"} and source["places"] == {"Path": "../{Path}"}
    assert "-1, 0 and 1 have an order; list -1 under `missing` if it is unknown" in text
    assert rows_read(tmp_path) == 30


def test_maps_of_the_same_names_are_no_pictures(tmp_path: Path) -> None:
    """As Oxford's pets are published: `annotations/trimaps` is nearer to the list than `images`."""
    home = tmp_path / "pets"
    for place in ("images", "annotations/trimaps"):
        (home / place).mkdir(parents=True)
        for k in range(30):
            (home / place / f"pug_{k}.png").write_bytes(png(k))
    rows = [f"pug_{k} {k % 3 + 1} {k % 2 + 1}" for k in range(30)]
    (home / "annotations" / "list.txt").write_text("\n".join(rows))
    source, _ = drafted(
        home / "annotations" / "list.txt", ["species"], ["name", "breed", "species"]
    )
    assert source["places"] == {"name": "../images/{name}.png"}


def test_paths_have_no_labels_in_them(tmp_path: Path) -> None:
    """As GTZAN is published: new sounds are in no folder that bears their label."""
    home = tmp_path / "gtzan"
    lines = ["filename,tempo,label"]
    for k in range(30):
        genre = ("jazz", "rock")[k % 2]
        (home / "genres" / genre).mkdir(parents=True, exist_ok=True)
        (home / "genres" / genre / f"{genre}.{k:05}.wav").write_bytes(riff(wave()))
        lines.append(f"{genre}.{k:05}.wav,{100 + k},{genre}")
    (home / "features.csv").write_text("\n".join(lines))
    source, _ = drafted(home / "features.csv", ["label"])
    assert source["places"]["filename"] == [f"genres/{g}/{{filename}}" for g in ("jazz", "rock")]
    assert rows_read(tmp_path) == 30


def test_the_header_of_a_table_of_texts_is_no_row(tmp_path: Path) -> None:
    home = tmp_path / "covost"
    (home / "clips").mkdir(parents=True)
    lines = ["path\tsentence\ttranslation\tclient_id"]
    for k in range(40):
        (home / "clips" / f"c_{k}.wav").write_bytes(riff(wave(0.5)))
        lines.append(f"c_{k}.wav\tle chat {k} mange\tthe cat {k} eats\tp{k % 10}")
    (home / "covost.tsv").write_text("\n".join(lines))
    source, text = drafted(home)
    assert "40 rows" in text and "columns" not in source
    assert list(yaml.safe_load(text)["tasks"]) == ["sentence"] and "group: client_id" in text


def test_of_several_ways_to_group_the_first_with_enough_counts() -> None:
    cells = {"Speaker": ["A", "B", "C"] * 20, "Dialogue_ID": [k // 3 for k in range(60)]}
    assert guess_group(cells) == "Dialogue_ID"
    assert guess_group({"Speaker": cells["Speaker"]}) == "Speaker"


def test_sounds_that_no_column_names_are_told(tmp_path: Path) -> None:
    home = tmp_path / "crema"
    (home / "AudioWAV").mkdir(parents=True)
    for k in range(4):
        (home / "AudioWAV" / f"{1000 + k}_ANG.wav").write_bytes(riff(wave()))
    people = [f"{2000 + k},{20 + k},{'Male' if k % 2 else 'Female'}" for k in range(30)]
    (home / "people.csv").write_text("Actor,Age,Sex\n" + "\n".join(people))
    _, text = drafted(home, ["Sex"])
    assert "# No column names any of the 4 sounds of the folder, such as AudioWAV/1000_ANG" in text


def test_folders_that_hold_several_things_are_told(tmp_path: Path) -> None:
    for kind, content in (("images", png()), ("sounds", riff(wave()))):
        for label in ("jazz", "rock"):
            (tmp_path / "both" / kind / label).mkdir(parents=True)
            suffix = "png" if kind == "images" else "wav"
            (tmp_path / "both" / kind / label / f"1.{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=r"holds pictures and sounds, .* name the folder of either"):
        drafted(tmp_path / "both")
    for language in ("hau", "yor"):
        (tmp_path / "ner" / language).mkdir(parents=True)
        for part in ("train", "dev", "test"):
            (tmp_path / "ner" / language / f"{part}.txt").write_text("Anna B-PER\n\nruns O\n")
    with pytest.raises(DataError, match=r"data of its own. Name one: .*ner/hau"):
        drafted(tmp_path / "ner")


def test_pictures_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    home = tmp_path / "stereo"
    for side in ("left", "right"):
        (home / side).mkdir(parents=True)
        for k in range(30):
            (home / side / f"{k:03}.png").write_bytes(png(k))
    rows = [f"left/{k:03}.png,right/{k:03}.png,{k % 2}" for k in range(30)]
    (home / "pairs.csv").write_text("left,right,near\n" + "\n".join(rows))
    source, _ = drafted(home / "pairs.csv", ["near"])
    assert source["media"] == {"left": "image", "right": "image"}
    ids = [f"{k},{k:03}.png,{k % 2}" for k in range(30)]
    (home / "left" / "ids.csv").write_text("number,file,near\n" + "\n".join(ids))
    source, text = drafted(home / "left" / "ids.csv", ["near"])
    assert len(source["media"]) == 1, text
