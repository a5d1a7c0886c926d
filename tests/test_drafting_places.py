"""`init` for tables whose cells name files that are elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from polytask.config import load_config
from polytask.data.media import FileMedia
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.workflow import Silent, prepare_data, train
from tests.data.conftest import own_cache, png, riff, wave

ROWS = 30
__all__ = ["own_cache"]


def put(folder: Path, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(riff(wave(0.6)) if name.endswith(".wav") else png(200 * (k % 2)))


def drafted(table: Path, data: Path | None = None) -> tuple[dict[str, object], str]:
    text = draft(data or table, ["y"], table.parent / "mine.yaml")
    source: dict[str, object] = yaml.safe_load(text)["sources"]["data"]
    return source, text


def write(table: Path, cells: Sequence[str], header: str = "file") -> Path:
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{cell},{'ab'[k % 2]}" for k, cell in enumerate(cells)]
    table.write_text("\n".join([f"{header},y", *rows]))
    return table


@pytest.mark.parametrize(
    ("at", "cell", "file", "place"),
    [
        ("t.csv", "{k}.jpg", "pictures/{k}.jpg", "pictures/{file}"),
        ("t.csv", "id_{k}", "wavs/id_{k}.wav", "wavs/{file}.wav"),
        ("t.csv", "s{k}/x{k}.png", "clips/s{k}/x{k}.png", "clips/{file}"),
        ("meta/t.csv", "x{k}.wav", "audio/x{k}.wav", "../audio/{file}"),
        ("t.csv", "{k:04}", "pictures/{k:04}.png", "pictures/{file}.png"),
        ("t.csv", "{k}", "pictures/{k:04}.png", "pictures/{file:04}.png"),
        ("t.csv", "{k}", "pictures/{k:02}.png", "pictures/{file:02}.png"),
    ],
)
def test_files_are_found_where_cells_name_them(
    at: str, cell: str, file: str, place: str, tmp_path: Path
) -> None:
    put(tmp_path, [file.format(k=k) for k in range(ROWS)])
    table = write(tmp_path / at, [cell.format(k=k) for k in range(ROWS)])
    for data in (None, tmp_path):
        source, text = drafted(table, data)
        assert source["places"] == {"file": place}, text
        assert source["media"] == {"file": "sound" if file.endswith("wav") else "image"}
    (table.parent / "mine.yaml").write_text(text)
    config = load_config(table.parent / "mine.yaml", ["training.epochs=1", "training.threads=1"])
    assert train(config, tmp_path / "runs", Silent(), [])


def test_folders_that_another_column_names(tmp_path: Path) -> None:
    put(tmp_path, [f"audio/fold{k % 5}/{k}.wav" for k in range(ROWS)])
    table = write(tmp_path / "t.csv", [f"{k}.wav,{k % 5}" for k in range(ROWS)], "file,fold")
    source, _ = drafted(table)
    assert source["places"] == {"file": "audio/fold{fold}/{file}"}


def test_files_in_several_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    put(tmp_path, [f"part_{1 + k // 15}/x{k}.png" for k in range(ROWS - 6)])
    table = write(tmp_path / "t.csv", [f"x{k}" for k in range(ROWS)])
    source, text = drafted(table)
    assert source["places"] == {"file": ["part_1/{file}.png", "part_2/{file}.png"]}
    assert "6 of 30 looked at are not there" in text


def test_what_is_said_in_sounds_is_read_off_them(tmp_path: Path) -> None:
    put(tmp_path, [f"wavs/s{k}.wav" for k in range(ROWS)])
    rows = [f"s{k}|It is {chr(97 + k % 7)}{chr(97 + k // 7)}, you see" for k in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    text = draft(tmp_path / "t.csv", ["said"], tmp_path / "mine.yaml", ["file", "said"])
    drafted = yaml.safe_load(text)
    assert drafted["tasks"]["said"] == {"kind": "ctc", "target": {"data": "said"}}
    assert "pool" not in drafted["inputs"]["sound"]
    assert drafted["batches"] == {"size": 8} and drafted["schedule"]["kind"] == "one_cycle"
    (tmp_path / "mine.yaml").write_text(text)
    config = load_config(
        tmp_path / "mine.yaml",
        ["training.epochs=1", "training.threads=1"],
    )
    assert train(config, tmp_path / "runs", Silent(), [])


def test_many_texts_without_sounds_are_no_classes(tmp_path: Path) -> None:
    rows = [f"{k % 3},it is {k} today {'on and on ' * 40}" for k in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["x,said", *rows]))
    with pytest.raises(DataError, match="30 different texts, which are too many for classes, and"):
        draft(tmp_path / "t.csv", ["said"], tmp_path / "mine.yaml")
    text = draft(tmp_path / "t.csv", ["x"], tmp_path / "mine.yaml")  # texts too long for a path
    assert yaml.safe_load(text)["inputs"]["words"]["column"] == "said"


def test_numbers_are_no_names_of_files_beside_the_folder(tmp_path: Path) -> None:
    put(tmp_path, [f"photos/{k}.png" for k in range(ROWS)])
    rows = [f"{100 - k},{k * k}" for k in range(ROWS)]
    table = write(tmp_path / "tables" / "t.csv", rows, "x,z")
    (tmp_path / "loop").symlink_to("loop")
    source, _ = drafted(table)
    assert "media" not in source


ABOUT = ("a {} box, it seems", "there is a {} thing here", "something {} is seen")


def captions(folder: Path, header: str, row: str, file: str) -> None:
    put(folder, [f"Images/{k}_a.jpg" for k in range(ROWS)])
    rows = [
        row.format(k=k, n=n, text=f"{about.format(k)} {n}")
        for k in range(ROWS)
        for n, about in enumerate(ABOUT)
    ]
    (folder / file).write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(
    ("header", "row", "file"),
    [
        ("image,caption", '{k}_a.jpg,"{text}"', "captions.txt"),
        ("image| number| caption", "{k}_a.jpg| {n}| {text}", "results.csv"),
    ],
    ids=["Flickr8k", "Flickr30k"],
)
def test_all_rows_of_a_picture_are_in_one_part(
    header: str, row: str, file: str, tmp_path: Path
) -> None:
    captions(tmp_path, header, row, file)
    text = draft(tmp_path, ["caption"], tmp_path / "mine.yaml")
    drafted = yaml.safe_load(text)
    source = drafted["sources"]["data"]
    assert source["places"] == {"image": "Images/{image}"}, text
    assert source["split"] == {"test": 0.15, "validation": 0.15, "group": "image"}
    assert drafted["tasks"]["caption"]["kind"] == "generation"
    assert "pool" not in drafted["inputs"]["picture"] and "whose row" not in text
    (tmp_path / "mine.yaml").write_text(text)
    config = load_config(tmp_path / "mine.yaml", ["training.epochs=1", "training.threads=1"])
    prepared = prepare_data(config, None)
    paths = prepared.datasets["data"].table.media["image"]
    assert isinstance(paths, FileMedia)
    parts = [{paths.paths[row] for row in of["data"].tolist()} for of in prepared.parts.values()]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts)) == ROWS
    assert train(config, tmp_path / "runs", Silent(), [])


def test_labels_that_recur_are_no_names_of_files(tmp_path: Path) -> None:
    put(tmp_path, [f"wavs/{k}.wav" for k in range(ROWS)])
    rows = [f"{k % 7},{k % 5 + k % 3},{'ab'[k % 2]}" for k in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["digit,x,y", *rows]))
    source, _ = drafted(tmp_path / "t.csv")
    assert "media" not in source
