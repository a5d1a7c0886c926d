"""Tasks whose targets are more than a number, from files to a run and its predictions."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polytask.config import load_config
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, predict_run, train

PIXELS = """\
name: pixels
sources: {table: {kind: table, path: table.csv, media: {picture: image, map: map}}}
inputs:
  picture:
    kind: image
    column: picture
    size: [8, 12]
    augment: [{kind: flip}, {kind: crop, padding: 1}]
    encoder: {kind: pixels, mirror: true}
tasks:
  parts: {kind: segmentation, target: map, classes: [dark, bright]}
  borders: {kind: edges, target: map, of: regions}
  side: {kind: multiclass, target: side}
  again: {kind: reconstruction, target: picture}
trunk: {kind: split, shared_stages: 1, backbone: {kind: unet, widths: [4, 8]}}
batches: {size: 8}
optimizer: {kind: adam, lr: 0.01}
training: {epochs: 8, threads: 1}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))


def trained(folder: Path, text: str) -> Run:
    """The run of a configuration in a folder."""
    (folder / "mine.yaml").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train(load_config(folder / "mine.yaml"), folder / "runs", Silent(), ["test"])
    return Run.newest(folder / "runs")


def write_pixels(folder: Path, rows: int = 40) -> None:
    """Pictures with a bright part above or below; a row in five has no map."""
    rng = np.random.default_rng(0)
    lines = ["picture,map,side"]
    for k in range(rows):
        numbers = np.zeros((8, 12), np.uint8)
        rows_of = slice(0, 3 + k % 3) if k % 2 else slice(4 + k % 3, 8)
        numbers[rows_of] = 1
        shades = numbers[..., None] * 150 + rng.integers(0, 60, (8, 12, 3))
        Image.fromarray(shades.astype(np.uint8)).save(folder / f"{k}.png")
        numbers[0, 0] = 255
        Image.fromarray(numbers).save(folder / f"{k}-map.png")
        lines.append(f"{k}.png,{'' if k % 5 == 3 else f'{k}-map.png'},{'up' if k % 2 else 'down'}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def test_pixels_are_learned_and_predicted_as_pictures(tmp_path: Path) -> None:
    write_pixels(tmp_path)
    run = trained(tmp_path, PIXELS)
    scores: dict[str, Any] = evaluate_run(run, "test")  # type: ignore[assignment]
    assert scores["parts"]["miou"] > 0.9 and scores["borders"]["f1"] > 0.7
    assert scores["side"]["accuracy"] > 0.7 and scores["again"]["psnr"] > 12
    lines = list(predict_run(run, tmp_path / "table.csv", pictures=tmp_path / "out"))
    assert len(lines) == 40 and lines[7].keys() >= {"parts.dark", "borders.share", "side"}
    with Image.open(lines[7]["parts"]) as picture:
        assert picture.mode == "P" and picture.size == (12, 8)
        found = np.asarray(picture)
    truth = np.asarray(Image.open(tmp_path / "7-map.png"))
    assert (found == truth)[truth != 255].mean() > 0.9
    assert lines[7]["parts.bright"] == pytest.approx(float((found == 1).mean()))
    with Image.open(lines[7]["borders"]) as picture:
        assert picture.mode == "L"
    with Image.open(lines[7]["again"]) as picture:
        assert picture.mode == "RGB"
    assert len(list((tmp_path / "out").glob("*.png"))) == 120
    assert "parts" not in next(iter(predict_run(run, tmp_path / "0.png")))
