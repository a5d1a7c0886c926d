"""`init` for recordings whose labels have times."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from polytask.config import load_config
from polytask.errors import DataError
from polytask.survey.drafting import draft
from polytask.survey.target_guesses import guess_target
from polytask.workflow import Silent, train
from tests.data.conftest import own_cache

CLIPS = 30
__all__ = ["own_cache"]


def clips(folder: Path) -> list[list[tuple[float, float, str]]]:
    """A second of noise each, with a tone where something is heard."""
    draw = np.random.default_rng(0)
    marks = []
    for k in range(CLIPS):
        sound = 0.01 * draw.standard_normal(8000)
        begin = draw.uniform(0.1, 0.4)
        name, pitch = (("low", 300), ("high", 1200))[k % 2]
        time = np.arange(8000) / 8000
        heard = (time >= begin) & (time < begin + 0.3)
        sound[heard] += 0.3 * np.sin(2 * np.pi * pitch * time[heard])
        soundfile.write(folder / f"{k}.wav", sound.astype(np.float32), 8000)
        marks.append([(round(begin, 3), round(begin + 0.3, 3), name)])
    return marks


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_times_are_drafted_for_the_frames_of_sounds(form: str, tmp_path: Path) -> None:
    marks, table = clips(tmp_path), tmp_path / f"marks.{form}"
    if form == "csv":
        lines = [f"{k}.wav,{s} {e} {n}" for k, [(s, e, n)] in enumerate(marks)]
        table.write_text("\n".join(["file,heard", *lines]), "utf-8")
    else:
        rows = [{"file": f"{k}.wav", "heard": some} for k, some in enumerate(marks)]
        table.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    text = draft(table, ["heard"], tmp_path / "mine.yaml")
    task = yaml.safe_load(text)["tasks"]["heard"]
    assert task == {
        "kind": "tagging",
        "target": {"data": "heard"},
        "frame": 0.02,
        "outside": "nothing",
    }
    assert "2 labels, each from a second to another" in text
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    config = load_config(tmp_path / "mine.yaml", ["training.epochs=1", "training.threads=1"])
    assert train(config, tmp_path / "runs", Silent(), [])


def test_times_need_a_sound(tmp_path: Path) -> None:
    table = tmp_path / "marks.csv"
    table.write_text("size,heard\n" + "3,0 0.5 a 0.5 1 b\n" * 9, "utf-8")
    with pytest.raises(DataError, match=r"'heard' says when something is heard, and no other col"):
        draft(table, ["heard"], tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("cells", "kind", "outside"),
    [
        (["0 1 a 1 2 b", "0 0.5 b 0.5 1 a"], "tagging", None),
        (["0.5 1 a", "0.2 0.4 b"], "tagging", "nothing"),
        (["0.5 1 nothing", "0.2 0.4 b"], "tagging", None),
        (["0 1 2", "1 2 3"] * 5, "binary", None),  # three numbers may be anything
        (["2 1 a", "0 1 b"] * 5, "binary", None),  # it would end before it begins
        (["a 1 2", "b 1 2"] * 5, "binary", None),
    ],
)
def test_what_is_taken_for_times(cells: list[str], kind: str, outside: str | None) -> None:
    found = guess_target("heard", cells)
    assert (found.kind, found.settings.get("outside")) == (kind, outside)
    assert found.timed == (kind == "tagging")
