"""Language from a file to predictions: labels of words and of sentences in one network."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from polytask.config import load_config
from polytask.errors import ConfigError
from polytask.run import Run
from polytask.workflow import Silent, evaluate_run, predict_run, prepare_data, train

CONFIG = """\
name: small
sources:
  words:
    kind: columns
    path: {train: train.txt, validation: dev.txt, test: test.txt}
    columns: [words, kind]
    split: {fixed: true}
  films: {kind: table, path: films.csv, split: {test: 0.2, validation: 0.2}}
inputs:
  said:
    kind: text
    columns: {words: words, films: review}
    min_count: 1
    LEVEL
    encoder: {width: 12}
    BODY
tasks:
  kind: {kind: tagging, target: words.kind}
  liked: {kind: binary, target: films.liked, pool: max}
trunk: {kind: hard, backbone: {kind: recurrent, width: 8, layers: 1}}
batches: {size: 8}
optimizer: {kind: adamw, lr: 0.03}
training: {epochs: 6, threads: 1}
"""
LEVELS = {
    "words": ("characters: 4", ""),
    "pieces": (
        "level: subwords\n    vocabulary: 40",
        "body: {kind: transformer, width: 8, heads: 2, layers: 1}",
    ),
}


@pytest.fixture(params=LEVELS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A configuration, and data in which a word says its own label."""
    level, body = LEVELS[request.param]
    sentence = "the D\ncat N\nsat V\n\na D\ndog N\nran V\naway A\n\n"
    (tmp_path / "train.txt").write_text(sentence * 8)
    for name in ("dev.txt", "test.txt"):
        (tmp_path / name).write_text(sentence)
    films = [{"review": f"a {w} film!", "liked": w == "good"} for w in ("good", "bad") * 10]
    pd.DataFrame(films).to_csv(tmp_path / "films.csv", index=False)
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG.replace("LEVEL", level).replace("BODY", body))
    return path


def test_words_and_sentences_are_learned_and_predicted(config: Path, tmp_path: Path) -> None:
    assert train(load_config(config, ()), tmp_path / "runs", Silent(), sys.argv)
    run = Run.newest(tmp_path / "runs")
    scores = evaluate_run(run, "test")
    assert scores["kind"]["accuracy"] == 1.0 and scores["liked"]["accuracy"] == 1.0
    facts = json.loads((run.path / "data.json").read_text())["texts"]["said"]
    assert facts["repeated"]["test"] >= 2 and facts["truncated"] == 0
    (tmp_path / "new.txt").write_text("the dog sat\n\na bad cat!\n")
    lines = list(predict_run(run, tmp_path / "new.txt"))
    assert [line["said"] for line in lines] == ["the dog sat", "a bad cat !"]
    assert lines[0]["kind"] == "D N V" and len(str(lines[1]["kind"]).split()) == 4
    assert lines[1]["input"] == "new.txt line 3" and not says_yes(lines[1]["liked"])
    for column in ("review", "text"):
        table = pd.DataFrame({column: ["a good film"]})
        table.to_csv(tmp_path / "new.csv", index=False)
        (line,) = predict_run(run, tmp_path / "new.csv")
        assert says_yes(line["liked"]) and len(str(line["kind"]).split()) == 3


def says_yes(label: Any) -> bool:
    return str(label).lower() == "true"


def test_a_file_of_lines_is_for_one_input(tmp_path: Path) -> None:
    from polytask.data.predicting import read_unlabelled
    from polytask.data.text import TextInput

    (tmp_path / "new.txt").write_text("a line\n")
    two = {name: TextInput(columns={"s": name}) for name in ("title", "body")}
    with pytest.raises(ConfigError, match=r"Inputs title, body all read text: say which"):
        read_unlabelled(tmp_path / "new.txt", two)


def test_a_sentence_without_a_label_for_each_word_is_named(config: Path) -> None:
    (config.parent / "films.csv").write_text("review,liked\n" + "good film,D\nbad film,N\n" * 9)
    text = config.read_text().replace("{kind: binary,", "{kind: tagging,")
    config.write_text(text.replace("films.liked, pool: max", "films.liked"))
    with pytest.raises(Exception, match=r"films.csv row 2.*1 labels for 2 tokens"):
        prepare_data(load_config(config, ()), None)
