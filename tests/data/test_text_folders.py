"""Texts in files, whose folders are their labels."""

from pathlib import Path

import pytest
import yaml

from polytask.config import load_config
from polytask.data.class_folders import ClassFolders
from polytask.data.inputs import Input
from polytask.data.predicting import read_unlabelled
from polytask.data.text import TextInput
from polytask.errors import ConfigError, DataError
from polytask.survey.drafting import draft
from polytask.workflow import Silent, prepare_data, train
from tests.data.conftest import own_cache, png

__all__ = ["own_cache"]


def reviews(folder: Path) -> Path:
    for part, count in (("train", 12), ("test", 6)):
        for label, word in (("pos", "fine"), ("neg", "dull")):
            for k in range(count):
                file = folder / part / label / f"{k}_{k % 5}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"The film was {word},\nall of it {k}.", "utf-8")
        (folder / part / "urls.txt").write_text("http://somewhere\n")
    (folder / "train" / "unsup").mkdir()
    for k in range(30):
        (folder / "train" / "unsup" / f"{k}_0.txt").write_text("The film was shown.")
    (folder / "readme.txt").write_text("A large set of films.")
    return folder


def test_folders_of_texts_are_drafted_and_trained(tmp_path: Path) -> None:
    text = draft(reviews(tmp_path / "films"), [], tmp_path / "mine.yaml")
    drafted = yaml.safe_load(text)
    assert drafted["sources"]["data"] == {
        "kind": "folders",
        "path": "films",
        "without": ["unsup"],
        "split": {"fixed": True, "validation": 0.15, "stratify": "label"},
    }
    assert drafted["tasks"]["label"]["kind"] == "binary"
    (tmp_path / "mine.yaml").write_text(text)
    config = load_config(tmp_path / "mine.yaml", ["training.epochs=1", "training.threads=1"])
    assert train(config, tmp_path / "runs", Silent(), [])
    parts = prepare_data(config, None).parts
    counts = {part: len(of["data"]) for part, of in parts.items()}
    assert counts["test"] == 12 and counts["train"] + counts["validation"] == 24


def test_each_file_is_a_row_and_is_named(tmp_path: Path) -> None:
    table = ClassFolders(path=reviews(tmp_path), without=["unsup"]).load()
    assert sorted(set(table.cells(["label"])[:, 0])) == ["neg", "pos"] and len(table) == 36
    assert table.cells(["text"])[0, 0].startswith("The film was dull,\nall")
    assert table.describe(0).endswith("test/neg/0_0.txt")
    with pytest.raises(DataError, match=r"`without` names a folder 'unsub'.*Did you mean 'unsup'"):
        ClassFolders(path=tmp_path, without=["unsub"]).load()


def test_pictures_come_before_texts_unless_these_are_meant(tmp_path: Path) -> None:
    reviews(tmp_path)
    for part in ("train", "test"):
        for label in ("pos", "neg"):
            (tmp_path / part / label / "1.png").write_bytes(png())
    (tmp_path / "train" / "unsup" / "1.png").write_bytes(png())
    assert "image" in ClassFolders(path=tmp_path).load().media
    assert len(ClassFolders(path=tmp_path, media="text").load()) == 66
    with pytest.raises(ConfigError, match="'text', which is what files hold"):
        ClassFolders(path=tmp_path, media="text", pattern="(?P<text>[a-z]+)/.*").load()


def test_other_letters_are_told_and_drafted(tmp_path: Path) -> None:
    (reviews(tmp_path / "films") / "test" / "neg" / "0_0.txt").write_bytes("trüb".encode("cp1252"))
    with pytest.raises(DataError, match=r"test/neg/0_0.txt line 1 should be text in utf-8"):
        ClassFolders(path=tmp_path / "films").load()
    assert "encoding: cp1252" in draft(tmp_path / "films", [], tmp_path / "mine.yaml")


def test_a_folder_of_texts_is_predicted_file_by_file(tmp_path: Path) -> None:
    words = TextInput(columns={"own": "text"})
    words.load_state({"words": ["film", "was"]} | words.state)
    inputs: dict[str, Input] = {"words": words}
    (tmp_path / "b.txt").write_text("was\nfilm")
    (tmp_path / "a.txt").write_text("film")
    found = read_unlabelled(tmp_path, inputs)
    assert len(found) == 2
