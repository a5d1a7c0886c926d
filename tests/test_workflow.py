"""Train and predict without a process of their own."""

from pathlib import Path

import pytest

from polytask.config.load import load_config
from polytask.data.predicting import DataError
from polytask.run import Run
from polytask.workflow import Silent, predict_run, train
from tests.test_cli import newcomers_folder, only_run

TWO_INPUTS = """\
sources:
  mine: {kind: table, path: labels.csv, media: {photo: image}}
inputs:
  picture: {kind: image, column: photo, size: 8, body: {kind: residual, widths: [4]}, pool: mean}
  facts: {kind: table, columns: [level], body: {kind: perceptron, widths: [4]}}
tasks:
  light: {kind: multiclass, target: light, input: picture}
  ok: {kind: binary, target: ok, input: facts}
trunk: {kind: independent, backbone: {kind: perceptron, widths: [4]}}
training: {epochs: 1, threads: 1}
"""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of a picture and a number per row."""
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    home = newcomers_folder(tmp_path / "mine")
    (home / "two.yaml").write_text(TWO_INPUTS)
    assert train(load_config(home / "two.yaml"), home / "runs", Silent(), [])
    return Run.open(only_run(home / "runs"))


def test_a_row_of_several_inputs_is_one_line(trained: Run) -> None:
    lines = list(predict_run(trained, trained.path.parent.parent / "labels.csv"))
    assert len(lines) == 60
    assert [line["input"] for line in lines[:2]] == ["labels.csv row 2", "labels.csv row 3"]
    assert {"light", "light.day", "light.night", "ok", "ok.yes"} < set(lines[0])


def test_a_broken_picture_is_an_error_or_left_out_with_a_warning(trained: Run) -> None:
    photos = trained.path.parent.parent / "photos"
    (photos / "7.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"7\.png.*(?s:.*)--on-bad skip"):
        list(predict_run(trained, photos))
    with pytest.warns(UserWarning, match=r"left out .*7\.png"):
        assert len(list(predict_run(trained, photos, on_bad="skip"))) == 59
