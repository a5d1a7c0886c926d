"""`init` of JSON that holds several tables, as annotations of pictures do, and of named rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.config import load_config
from polytask.errors import DataError
from polytask.run import Run
from polytask.survey.drafting import draft
from polytask.workflow import Silent, predict_run, prepare_data, train
from tests.data.conftest import own_cache, png, riff, wave

__all__ = ["own_cache"]

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
PARTS = {"train2017": 36, "val2017": 24}


def drafted(data: Path, targets: Sequence[str], output: Path) -> tuple[Any, str]:
    text = draft(data, targets, output)
    output.write_text(text)
    return yaml.safe_load(text), text


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """As COCO is published: captions and objects of pictures, whose numbers are their names."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for at, (part, count) in enumerate(PARTS.items()):
        (folder / part).mkdir()
        ids = [1000 + 7 * k + 500_000 * at for k in range(count)]
        images = [{"license": 1, "file_name": f"{k:012}.jpg", "height": 12, "id": k} for k in ids]
        captions, objects = [], []
        for k, number in enumerate(ids):
            color = list(COLORS)[k % 3]
            (folder / part / f"{number:012}.jpg").write_bytes(png(COLORS[color]))
            for where in ("door", "wall"):
                text = f"a {color} thing {'very ' * (k // 3)}near the {where}."
                captions.append(
                    {"image_id": number, "id": len(captions) + 9000 * at, "caption": text}
                )
            objects.append({"image_id": number, "category_id": k % 3 + 1, "bbox": [1, 1, 4, 4]})
        common = {"info": {"year": 2017}, "licenses": [{"id": 1, "name": "A"}], "images": images}
        for name, rows in (("captions", captions), ("instances", objects)):
            content = json.dumps({**common, "annotations": rows})
            (folder / "annotations" / f"{name}_{part}.json").write_text(content)
    return folder


def test_captions_of_coco_find_their_pictures_and_parts(coco: Path, tmp_path: Path) -> None:
    config, text = drafted(coco, ["caption"], tmp_path / "mine.yaml")
    source = config["sources"]["data"]
    inside = "captions_{}.json#annotations"
    assert source["path"] == {
        part: f"coco/annotations/{inside.format(name)}"
        for part, name in (("train", "train2017"), ("validation", "val2017"))
    }
    assert source["places"] == {"image_id": [f"../{part}/{{image_id:012}}.jpg" for part in PARTS]}
    assert source["split"]["fixed"] and source["split"]["group"] == "image_id"
    assert config["tasks"]["caption"]["kind"] == "generation"
    assert "captions_train2017.json#images could be joined, 120 of 120 rows" in text
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), None)
    assert {part: len(rows["data"]) for part, rows in prepared.parts.items()} == {
        "train": 54, "validation": 48, "test": 18,
    }  # fmt: skip


def test_one_file_of_coco_is_joined_to_its_own_pictures(coco: Path, tmp_path: Path) -> None:
    file = coco / "annotations" / "captions_train2017.json"
    config, _ = drafted(file, ["caption"], tmp_path / "mine.yaml")
    source = config["sources"]["data"]
    (join,) = source["join"]
    assert source["path"] == "coco/annotations/captions_train2017.json#annotations"
    assert join == {
        "path": "coco/annotations/captions_train2017.json#images", "by": {"image_id": "id"},
    }  # fmt: skip
    assert source["places"] == {"file_name": "../train2017/{file_name}"}
    prepared = prepare_data(load_config(tmp_path / "mine.yaml"), None)
    assert sum(len(rows["data"]) for rows in prepared.parts.values()) == 72
    with pytest.raises(DataError, match=r"several tables: captions_train2017.json#images, capt"):
        draft(file, [], tmp_path / "other.yaml")


def test_sounds_that_an_object_describes_by_name(tmp_path: Path) -> None:
    """As NSynth is published: `examples.json` has an object for each sound, under its name."""
    folder = tmp_path / "nsynth-test"
    (folder / "audio").mkdir(parents=True)
    rows = {}
    for k in range(40):
        name = f"{['bass', 'flute'][k % 2]}_{k:03}-{40 + k % 5}"
        (folder / "audio" / f"{name}.wav").write_bytes(riff(wave(pitch=200 + 400 * (k % 2))))
        family = ["bass", "flute"][k % 2]
        rows[name] = {"note_str": name, "pitch": 40 + k % 5, "instrument_family_str": family}
    (folder / "examples.json").write_text(json.dumps(rows, indent=1))
    config, _ = drafted(folder, ["instrument_family_str"], tmp_path / "mine.yaml")
    source = config["sources"]["data"]
    assert source["path"] == "nsynth-test/examples.json"
    (column,) = source["media"]
    assert column in ("key", "note_str") and source["media"][column] == "sound"
    config["training"]["epochs"] = 1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    assert train(load_config(tmp_path / "mine.yaml"), tmp_path / "runs", Silent(), [])
    run = Run.newest(tmp_path / "runs")
    new = list(predict_run(run, folder / "examples.json"))
    assert len(new) == 40 and {line["instrument_family_str"] for line in new} <= {"bass", "flute"}
